"""Dumps of running clusters that `adopt` reads."""

import base64
import json

import yaml

from tests.conftest import SEED
from tests.support.authorities import secret

TODAY = {"east": "cluster1", "west": "cluster2"}


def api_server(context: str) -> tuple[str, str]:
    """The server of a context of the page's kubeconfig, and its CA in base64."""
    value = yaml.safe_load((SEED / "kubeconfig.yaml").read_text())
    cluster = {c["name"]: c["cluster"] for c in value["clusters"]}[
        {c["name"]: c["context"]["cluster"] for c in value["contexts"]}[context]
    ]
    return cluster["server"], cluster["certificate-authority-data"]


def token(name: str, account: str = "istio-reader-service-account") -> str:
    """A token of a reader, as Kubernetes makes them."""
    parts = (
        {"alg": "RS256"},
        {"sub": f"system:serviceaccount:istio-system:{account}", "name": name},
    )
    return (
        ".".join(
            base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts
        )
        + "."
        + "c2ln" * 85
        + "cw"
    )


def kubeconfig(name: str, context: str, *, old: bool = False, user: object = None) -> str:
    """A kubeconfig as istioctl writes it: everything in it named for the context by 1.4, for the cluster by today's."""
    server, ca = api_server(context)
    value = {
        "apiVersion": "v1",
        "clusters": [
            {"cluster": {"certificate-authority-data": ca, "server": server}, "name": name}
        ],
        "contexts": [{"context": {"cluster": name, "user": name}, "name": name}],
        "current-context": name,
        "kind": "Config",
        **({"preferences": {}} if old else {}),
        "users": [{"name": name, "user": user or {"token": token(name)}}],
    }
    return yaml.safe_dump(value)


def todays_remote(
    name: str, context: str, user: object = None, **parts: object
) -> dict[str, object]:
    """A remote secret of `istioctl create-remote-secret` as applied and printed again."""
    labels, annotations = {"istio/multiCluster": "true"}, {"networking.istio.io/cluster": name}
    return secret(
        f"istio-remote-secret-{name}",
        {name: kubeconfig(name, context, user=user)},
        labels=labels,
        annotations=annotations,
        **parts,
    )
