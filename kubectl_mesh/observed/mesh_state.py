"""What a mesh state is made of: the mesh as its manifests say it, each value with the file that
says so, and nothing secret but as `Opaque`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from kubectl_mesh.errors import Problem
from kubectl_mesh.model import Certificate, Json
from kubectl_mesh.model.trust import Trust
from kubectl_mesh.stores import STORES
from kubectl_mesh.tree.lock_file import LockFile, Source

Files = Mapping[str, bytes | None]
RawTree = Mapping[str, Files]
"""A tree: directory -> path -> bytes; under "" what lies next to the directories."""
Fields = Mapping[str, Json]
"""Values by the text of their path: `global.network` -> `east`; an empty mapping or list is a value
too.
"""


@dataclass(frozen=True, slots=True)
class Opaque:
    """A digest of something secret, or of a ciphertext: to be compared, never to be shown."""

    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StatedValue:
    """A text, the file that says it, and where in that."""

    value: str
    file: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class LockState:
    """The lock of a directory, and how the directory differs from it."""

    file: str
    contents: LockFile = field(default_factory=LockFile)
    is_damaged: bool = False
    """It is there and cannot be read."""
    edited_files: tuple[str, ...] = ()
    """Files that are there, but not as the lock lists them."""
    missing_files: tuple[str, ...] = ()
    """Files that the lock lists and that are not there."""
    foreign_files: tuple[str, ...] = ()
    """Files that the lock does not list."""


@dataclass(frozen=True, slots=True)
class TreeObject:
    """An object of Kubernetes, or a file of YAML that is none (then `kind` is empty and `name` the
    path).

    `digest` is that of what it says, however it is written. Of what is encrypted or secret,
    `fields` says nothing.
    """

    file: str
    kind: str
    api_version: str
    name: str
    namespace: str | None
    digest: Opaque
    fields: Fields = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cacerts:
    """What istiod signs with, and what is trusted. Certificates are there where they can be read,
    fingerprints wherever something tells them.
    """

    file: str
    store: str
    """`plain`, `sops`, `sealed`, `external`; `cert-manager` or `istio-csr` where the intermediate
    is made in the cluster; `none`.
    """
    kind: str = ""
    """The kind of the object that holds or makes it."""
    intermediate: Certificate | None = None
    chain: tuple[Certificate, ...] = ()
    roots: tuple[Certificate, ...] = ()
    intermediate_fingerprint: str | None = None
    root_fingerprints: tuple[str, ...] = ()
    signer: str | None = None
    """The fingerprint of the root that the intermediate leads to."""
    root_pem: bytes | None = field(default=None, repr=False)
    """The text of the bundle, which istiod before 1.30 compares as such."""
    key: Opaque | None = None
    has_matching_key: bool | None = None
    """Whether the key is the intermediate's; None where that cannot be told."""
    ciphertext: Opaque | None = None
    """All that is encrypted."""
    recipients: tuple[str, ...] = ()
    sealed_for: str | None = None
    issuer: Fields = field(default_factory=dict)
    """What asks for it, or says where it is, where it is not in the tree."""
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """The public files of `cacerts` in clear, by name."""
    other_keys: Mapping[str, Opaque] = field(default_factory=dict)
    """What else stands in `cacerts`, by name."""

    @property
    def is_clear(self) -> bool:
        """Whether the tree holds `cacerts` in clear."""
        store = STORES.get(self.store)
        return store is not None and store.CLEAR

    @property
    def trust(self) -> Trust:
        """What is trusted and who signs, for the rules about roots."""
        return Trust(self.root_fingerprints, self.signer, self.intermediate_fingerprint)


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A document that says how a part of Istio is installed; `values` as Istio's charts have them,
    `settings` all else by path.
    """

    file: str
    kind: str
    name: str
    component: str
    """`istiod`, `base`, `cni`, `ztunnel`, `gateway` or `eastwest`."""
    version: str | None
    revision: str | None
    values: Fields = field(repr=False)
    settings: Fields = field(repr=False)

    @property
    def title(self) -> str:
        """As people name it."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class ObservedGateway:
    """A gateway, or an object that is one side of it. `addresses` are those that are stated, as
    `(address, port)`.
    """

    file: str
    kind: str
    """Service, Gateway (networking.istio.io), Gateway (gateway.networking.k8s.io), chart gateway,
    IstioOperator component, or meshNetworks.
    """
    name: str
    network: str | None
    """The label topology.istio.io/network; under meshNetworks the network's name."""
    service_type: str | None
    ports: tuple[int, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    addresses: tuple[tuple[str, int | None], ...] = ()
    registries: tuple[str, ...] = ()
    """Of an entry in meshNetworks: the clusters whose endpoints are on the network."""


@dataclass(frozen=True, slots=True)
class RemoteSecret:
    """A key of a Secret by which istiod reads a cluster. For istiod the key is the cluster; name
    and annotation are for people and tools.
    """

    file: str
    store: str
    peer: str
    name: str
    namespace: str | None
    cluster_annotation: str | None
    context: str | None
    has_label: bool
    server: str | None
    ca_digest: str | None
    """The SHA-256 of the CA's PEM in hex."""
    tls_server_name: str | None
    login_kind: str | None
    """`token`, `exec`, `oidc`, `clientCertificate`, `none`; None where it cannot be told from
    outside.
    """
    login_digest: Opaque | None
    """Of what is secret in it; None where that is not in clear."""
    kubeconfig_digest: Opaque
    """Of the kubeconfig as it stands, since istiod reconnects when a byte changes; of the
    ciphertext where it is encrypted.
    """
    source: Source | None = None
    """What the lock says that it is made from."""
    sealed_digest: str | None = None
    """What the lock says of a sealed one: the digest of what is public of it, and for whom."""
    is_insecure: bool = False
    """The server's certificate is not looked at."""
    expires: datetime | None = None
    """When the token in it ends; None where it does not say."""


@dataclass(frozen=True, slots=True)
class ReaderAccount:
    """An account by which peers read this cluster, as its token Secret, its ServiceAccount, its
    binding or its PushSecret names it.
    """

    file: str
    kind: str
    name: str
    namespace: str | None
    account: str | None


@dataclass(frozen=True, slots=True)
class Directory:
    """What every directory of a tree has. `files` are the SHA-256 of all files in hex, by path;
    empty for those that were not asked for.
    """

    name: str
    files: Mapping[str, str] = field(repr=False)
    lock: LockState | None
    objects: tuple[TreeObject, ...]
    remote_secrets: tuple[RemoteSecret, ...]


@dataclass(frozen=True, slots=True)
class ObservedCluster(Directory):
    """A cluster's directory."""

    cluster_names: tuple[StatedValue, ...]
    """`multiCluster.clusterName`, in each document that has one."""
    mesh_ids: tuple[StatedValue, ...]
    network_label: StatedValue | None
    """The network by the label of the namespace."""
    network_values: tuple[StatedValue, ...]
    """The network by the values, in each document that has it."""
    namespace: StatedValue | None
    """Istio's namespace, by the Namespace."""
    namespace_values: tuple[StatedValue, ...]
    """Istio's namespace, by the control plane."""
    served_by: StatedValue | None
    cacerts: Cacerts
    control_plane: tuple[ControlPlane, ...]
    gateways: tuple[ObservedGateway, ...]
    reader_accounts: tuple[ReaderAccount, ...]
    has_bundle: bool
    """The remote secrets of all clusters are applied here."""

    @property
    def releases(self) -> tuple[ControlPlane, ...]:
        """What runs here: the documents of istiod."""
        return tuple(c for c in self.control_plane if c.component == "istiod")

    @property
    def network(self) -> str | None:
        """The network that istiod goes by: the label of the namespace, else the values."""
        return (
            self.network_label.value
            if self.network_label is not None
            else self.network_values[0].value
            if self.network_values
            else None
        )


@dataclass(frozen=True, slots=True)
class MeshState:
    """What a tree says: its clusters, and the directories of the mesh as a whole, by name; other
    files in it, and what could not be read.
    """

    clusters: Mapping[str, ObservedCluster]
    shared_directories: Mapping[str, Directory]
    foreign_entries: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    tree: RawTree = field(default_factory=dict, repr=False, compare=False)
    """The files that it is read from."""
    locks: Mapping[str, LockFile] = field(default_factory=dict, compare=False)
    """What the lock of each directory says; nothing where it is missing or cannot be read."""

    @property
    def bundle(self) -> tuple[RemoteSecret, ...]:
        """The remote secrets that all clusters share."""
        return tuple(s for d in self.shared_directories.values() for s in d.remote_secrets)

    def applied_remote_secrets(self, name: str) -> tuple[RemoteSecret, ...]:
        """The remote secrets that are applied in a cluster; istiod passes over that of its own."""
        cluster = self.clusters[name]
        return (
            *cluster.remote_secrets,
            *(s for s in self.bundle if cluster.has_bundle and s.peer != name),
        )

    @property
    def discovery_edges(self) -> frozenset[tuple[str, str]]:
        """Who discovers whom."""
        return frozenset(
            (name, secret.peer)
            for name in self.clusters
            for secret in self.applied_remote_secrets(name)
        )
