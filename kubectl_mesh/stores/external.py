"""Objects of the External Secrets Operator (external-secrets.io): the tree says where secrets are,
a store of the user holds them.

The layout in the store, below `secrets.path`: `NAME/cacerts` holds the four files of a cluster's
intermediate, each a property of its own; `NAME/reader` holds the token by which peers read the
cluster, as the property `token` (`NAME/reader-PEER`, where every peer has its own). Each cluster
pushes its own token there, so nobody copies one.
"""

import re
from collections.abc import Callable, Mapping
from typing import Self

from kubectl_mesh.credentials.accounts import SHARED_READER, reader_secret
from kubectl_mesh.model import Cluster, SecretManifest, Topology
from kubectl_mesh.model.commands import cluster_command
from kubectl_mesh.stores.store import Health, Store, StoreInputs
from kubectl_mesh.yaml_io.manifest import document_text

FILES = ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")
CRL = "ca-crl.pem"
REFRESH = "1h"
_REFRESHED = "jsonpath={.status.refreshTime}"
"""The time at which the operator last did what an object says."""
# Only where a login has something secret: what a person states elsewhere is never taken for a mark.
_MARK = re.compile(
    r"^( +(?:client-certificate-data|client-key-data|client-secret|id-token|refresh-token|token):"
    r" )kubectlMesh-([A-Za-z]+)$",
    re.MULTILINE,
)
# Base64 of what is PEM in the store; all else as it is, white space around it aside.
_ENCODED = ("certificate", "key")


def cacerts_path(topology: Topology, cluster: Cluster) -> str:
    """Where the intermediate of a cluster is in the store."""
    return f"{topology.secret_path}/{cluster.name}/cacerts"


def reader_path(topology: Topology, cluster: Cluster, peer: str = SHARED_READER) -> str:
    """Where the login of a cluster's reader is in the store."""
    return f"{topology.secret_path}/{cluster.name}/reader" + (
        f"-{peer}" if peer != SHARED_READER else ""
    )


def property_mark(prop: str) -> str:
    """What stands for a property of the store in a text, until `remote_secret` makes a template of
    it.
    """
    return f"kubectlMesh-{prop}"


def _store(topology: Topology) -> dict[str, str]:
    assert topology.secret_store is not None
    kind, name = topology.secret_store
    return {"kind": kind, "name": name}


def cacerts_text(
    topology: Topology, cluster: Cluster, annotations: Mapping[str, str], crl: bytes | None = None
) -> str:
    """The ExternalSecret that makes `cacerts`; all four files come from one entry, so they always
    belong together.

    What is revoked is no secret: it stands here in clear, and comes with the tree.
    """
    key = cacerts_path(topology, cluster)
    # Whoever deletes this object by mistake does not delete the CA of a running mesh with it.
    target: dict[str, object] = {
        "creationPolicy": "Orphan",
        "deletionPolicy": "Retain",
        "name": "cacerts",
    }
    if crl is not None:
        target["template"] = {
            "data": {CRL: crl.decode()},
            "engineVersion": "v2",
            "mergePolicy": "Merge",
        }
    return document_text(
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "metadata": {
                "name": "cacerts",
                "namespace": cluster.namespace,
                **({"annotations": dict(annotations)} if annotations else {}),
            },
            "spec": {
                "data": [
                    {"remoteRef": {"key": key, "property": name}, "secretKey": name}
                    for name in FILES
                ],
                "refreshInterval": REFRESH,
                "secretStoreRef": _store(topology),
                "target": target,
            },
        }
    )


def _literal(text: str) -> str:
    """A text as a template of Go that gives it again; what looks like a template in it is none."""
    return text.replace("{{", '{{ "{{" }}')


def _template(text: str) -> str:
    """A text with marks as a template of Go that puts the properties of the store in their
    places.
    """
    return _MARK.sub(
        lambda m: f"{m[1]}{{{{ .{m[2]} | {'b64enc' if m[2] in _ENCODED else 'trim'} | toJson }}}}",
        _literal(text),
    )


def remote_secret_text(
    topology: Topology, other: Cluster, namespace: str, peer: str, kubeconfig: str
) -> str:
    """The ExternalSecret that makes a remote secret; `kubeconfig` has marks where the store has
    what is secret.
    """
    name = f"istio-remote-secret-{other.name}"
    key = reader_path(topology, other, peer)
    annotations = {
        "istio.io/clusterContext": _literal(other.context),
        "networking.istio.io/cluster": other.name,
    }
    return document_text(
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "data": [
                    {"remoteRef": {"key": key, "property": prop}, "secretKey": prop}
                    for prop in sorted({prop for _, prop in _MARK.findall(kubeconfig)})
                ],
                "refreshInterval": REFRESH,
                "secretStoreRef": _store(topology),
                "target": {
                    "creationPolicy": "Owner",
                    "deletionPolicy": "Retain",
                    "name": name,
                    "template": {
                        "data": {other.name: _template(kubeconfig)},
                        "engineVersion": "v2",
                        # istiod takes every key of the Secret for a cluster: nothing but the
                        # template's may be in it.
                        "mergePolicy": "Replace",
                        "metadata": {
                            "annotations": annotations,
                            "labels": {"istio/multiCluster": "true"},
                        },
                        "type": "Opaque",
                    },
                },
            },
        }
    )


def push_secret_text(topology: Topology, cluster: Cluster, peer: str = SHARED_READER) -> str:
    """The PushSecret by which a cluster puts its reader's token into the store; the same object for
    every generation, for only one may push.
    """
    name, secret = reader_secret(cluster, peer, 1), reader_secret(cluster, peer)
    where = {"property": "token", "remoteKey": reader_path(topology, cluster, peer)}
    return document_text(
        {
            "apiVersion": "external-secrets.io/v1alpha1",
            "kind": "PushSecret",
            "metadata": {"name": name, "namespace": cluster.namespace},
            "spec": {
                "data": [{"match": {"remoteRef": where, "secretKey": "token"}}],
                "deletionPolicy": "None",
                "refreshInterval": REFRESH,
                "secretStoreRefs": [_store(topology)],
                "selector": {"secret": {"name": secret}},
                "updatePolicy": "Replace",
            },
        }
    )


class External(Store):
    """The tree says where secrets are; the External Secrets Operator gets them."""

    NAME = "external"
    OUTSIDE = True
    CONTROLLER = "externalsecrets.external-secrets.io"
    WRITER = "the External Secrets Operator"
    HEALTH = Health("external-secrets.io/v1", "ExternalSecret", "Ready")
    DESCRIPTION = "in a store of yours; the tree says where"
    SHOWS_KUBECONFIGS = True
    OBJECT_KIND = HEALTH.kind
    METADATA = ("spec", "target", "template", "metadata")
    DATA = ("spec", "target", "template", "data")
    SECRET_FIELDS = (".".join(DATA),)

    @classmethod
    def open_store(cls, inputs: StoreInputs) -> Self:
        """The store of a run."""
        return cls()

    def render_file(
        self, directory: str, path: str, secret: SecretManifest
    ) -> tuple[bytes, str | None]:
        """Nothing secret comes into the tree."""
        raise AssertionError(f"{directory}/{path} is secret, and the store is external")

    @classmethod
    def arrival_command(cls, cluster: Cluster, name: str) -> tuple[str, str] | None:
        """The command that shows when the operator last wrote a remote secret."""
        command = cluster_command(
            cluster, "-n", cluster.namespace, "get", "externalsecret", name, "-o", _REFRESHED
        )
        return command, "a time after that of the push"

    @classmethod
    def push_command(cls, cluster: Cluster, peer: str) -> str | None:
        """The command that shows when the operator last pushed the token of a peer."""
        name = reader_secret(cluster, peer, 1)
        return cluster_command(
            cluster, "-n", cluster.namespace, "get", "pushsecret", name, "-o", _REFRESHED
        )

    @classmethod
    def has_login(cls, cluster: Cluster) -> bool:
        """A command has nothing that is secret."""
        return cluster.credential.kind != "exec"

    @classmethod
    def cacerts_object(
        cls,
        topology: Topology,
        cluster: Cluster,
        annotations: Mapping[str, str],
        crl: bytes | None,
    ) -> str | None:
        """The ExternalSecret that makes `cacerts`."""
        return cacerts_text(topology, cluster, annotations, crl)

    @classmethod
    def remote_secret_object(
        cls,
        topology: Topology,
        cluster: Cluster,
        holder: tuple[str, str],
        kubeconfig: Callable[[Callable[[str], str]], str],
    ) -> str | None:
        """The ExternalSecret that makes a remote secret."""
        namespace, peer = holder
        return remote_secret_text(topology, cluster, namespace, peer, kubeconfig(property_mark))

    @classmethod
    def token_object(cls, topology: Topology, cluster: Cluster, peer: str) -> str | None:
        """The PushSecret by which a cluster puts its token into the store."""
        return push_secret_text(topology, cluster, peer)
