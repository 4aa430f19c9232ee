"""What several checks cannot know offline, with the command that shows it."""

import shlex
from collections.abc import Mapping

from kubectl_mesh.checks.check import Unknown
from kubectl_mesh.checks.context import InputFacts
from kubectl_mesh.credentials.accounts import reader_secret
from kubectl_mesh.credentials.logins import parse_claims
from kubectl_mesh.model import Topology
from kubectl_mesh.model.commands import cluster_command
from kubectl_mesh.stores import store_of
from kubectl_mesh.text import count_text, mesh_command, work_path


def version_unknown(topology: Topology) -> Unknown | None:
    """Whether what is judged by Istio's version holds; None if every version is stated."""
    silent = [
        c
        for c in topology.clusters
        if c.primary is None and any(r.version is None for r in c.releases)
    ]
    if not silent:
        return None
    what = (
        f"no version of Istio is stated for {count_text(len(silent), 'cluster')}, and the newest"
        " known"
        " version is assumed"
    )
    return Unknown(what, f"istioctl version --context={shlex.quote(silent[0].context)}")


def cacerts_unknown(inputs: InputFacts) -> Unknown | None:
    """Whether the `cacerts` of clusters are right; None if the tree has them in clear, or the seal
    key proves them.
    """
    topology = inputs.topology
    own = next((c for c in topology.clusters if c.primary is None), None)
    if own is None:
        return None
    root = 'go-template={{index .data "root-cert.pem" | base64decode}}'
    command = cluster_command(own, "-n", own.namespace, "get", "secret", "cacerts", "-o", root)
    if not topology.has_intermediate_files:
        what = f"{topology.issuer} issues the certificates in the clusters, and the tree has none"
        return Unknown(what, command)
    if store_of(topology).OUTSIDE:
        return Unknown("the tree only names entries of the secret store", command)
    return sealed_unknown(inputs)


def sealed_unknown(inputs: InputFacts) -> Unknown | None:
    """Whether encrypted Secrets are right; None if there are none, or the seal key proves them."""
    topology = inputs.topology
    if (
        not store_of(topology).ENCRYPTS
        or inputs.has_seal_key
        or not topology.has_intermediate_files
        or all(c.primary is not None for c in topology.clusters)
    ):
        return None
    what = (
        f"the Secrets in the tree are encrypted, and {work_path('certs/seal-key')}, by which they"
        " are compared, is missing"
    )
    return Unknown(what, mesh_command("verify --identity FILE"))


def tokens_unknown(inputs: InputFacts) -> Unknown | None:
    """How old tokens are. A token that is not a JWT has no date, and one that is not here cannot be
    read; whether Kubernetes still accepts one is in no file.
    """
    if inputs.plan is None:
        return None
    members = inputs.plan.members
    unread = sorted(
        m.cluster.name
        for m in members.values()
        if m.sealed_logins
        or any(_has_no_date(login) for login in m.logins.values())
        or (m.readers and not m.logins)
    )
    if not unread:
        return None
    cluster = members[unread[0]].cluster
    path = "jsonpath={.metadata.creationTimestamp}"
    secret = reader_secret(cluster)
    what = (
        f"the tokens of {count_text(len(unread), 'cluster')}"
        f" ({', '.join(unread[:3])}{', …' if len(unread) > 3 else ''}) have no date, or are not"
        " here"
    )
    return Unknown(
        what, cluster_command(cluster, "-n", cluster.namespace, "get", "secret", secret, "-o", path)
    )


def _has_no_date(login: Mapping[str, object]) -> bool:
    token = login.get("token")
    return isinstance(token, str) and parse_claims(token) is None
