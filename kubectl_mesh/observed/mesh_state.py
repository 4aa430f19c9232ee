"""The state of a mesh as its manifests describe it. Each value names the file that states it;
secrets appear only as digests (`Opaque`).
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
"""A tree: directory -> path -> bytes. The key "" holds the files next to the directories."""
Fields = Mapping[str, Json]
"""Values by the text of their path: `global.network` -> `east`. An empty mapping or list is a value
too.
"""


@dataclass(frozen=True, slots=True)
class Opaque:
    """The digest of a secret or of a ciphertext. Compare it; never print it."""

    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StatedValue:
    """A text, the file that states it, and its path in that file."""

    value: str
    file: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class LockState:
    """The lock of a directory, and the differences between the directory and its lock."""

    file: str
    contents: LockFile = field(default_factory=LockFile)
    is_damaged: bool = False
    """The lock exists and cannot be read."""
    edited_files: tuple[str, ...] = ()
    """Files whose content differs from the lock."""
    missing_files: tuple[str, ...] = ()
    """Files that the lock lists and that do not exist."""
    foreign_files: tuple[str, ...] = ()
    """Files that the lock does not list."""


@dataclass(frozen=True, slots=True)
class TreeObject:
    """A Kubernetes object of a tree. For another YAML file `kind` is empty and `name` is the path.

    `digest` covers the content, not its formatting. `fields` omits secret and encrypted values.
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
    """The CA of a cluster and the roots that it trusts. Certificates are set if the tree contains
    them in clear; fingerprints also if only the lock records them.
    """

    file: str
    store: str
    """`plain`, `sops`, `sealed`, `external`; `cert-manager` or `istio-csr` if the intermediate is
    created in the cluster; `none`.
    """
    kind: str = ""
    """The kind of the object that contains or creates it."""
    intermediate: Certificate | None = None
    chain: tuple[Certificate, ...] = ()
    roots: tuple[Certificate, ...] = ()
    intermediate_fingerprint: str | None = None
    root_fingerprints: tuple[str, ...] = ()
    signer: str | None = None
    """The fingerprint of the root that signs the intermediate's chain."""
    root_pem: bytes | None = field(default=None, repr=False)
    """The trust bundle as PEM; istiod before 1.30 compares its bytes."""
    key: Opaque | None = None
    has_matching_key: bool | None = None
    """Whether the key belongs to the intermediate; None if unknown."""
    ciphertext: Opaque | None = None
    """The digest of the encrypted part."""
    recipients: tuple[str, ...] = ()
    sealed_for: str | None = None
    issuer: Fields = field(default_factory=dict)
    """The fields of the object that requests or references the CA, if it is not in the tree."""
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """The public files of `cacerts`, by name, if they are in clear."""
    other_keys: Mapping[str, Opaque] = field(default_factory=dict)
    """The digests of the other keys of `cacerts`, by name."""

    @property
    def is_clear(self) -> bool:
        """Whether the tree contains `cacerts` unencrypted."""
        store = STORES.get(self.store)
        return store is not None and store.CLEAR

    @property
    def trust(self) -> Trust:
        """The trusted roots and the signer, for the rules about roots."""
        return Trust(self.root_fingerprints, self.signer, self.intermediate_fingerprint)


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A document that installs a component of Istio. `values` are the values of Istio's chart,
    `settings` all other fields by path.
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
        """Its kind and name, for messages."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class ObservedGateway:
    """A gateway, or an object that belongs to one. `addresses` are the stated ones, as `(address,
    port)`.
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
    """For an entry of meshNetworks: the clusters whose endpoints are on the network."""


@dataclass(frozen=True, slots=True)
class RemoteSecret:
    """A key of a remote secret. istiod takes the key as the cluster ID; name and annotation are
    informational.
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
    """`token`, `exec`, `oidc`, `clientCertificate`, `none`; None if unknown."""
    login_digest: Opaque | None
    """The digest of the credential; None if it is not in clear."""
    kubeconfig_digest: Opaque
    """The digest of the kubeconfig's bytes, because istiod reconnects when a byte changes; of the
    ciphertext if it is encrypted.
    """
    source: Source | None = None
    """The inputs that the lock records for it."""
    sealed_digest: str | None = None
    """The digest that the lock records for a sealed one: of its public part and of its
    recipients.
    """
    is_insecure: bool = False
    """The server's certificate is not verified."""
    expires: datetime | None = None
    """When the token expires; None if the token does not state it."""
    token_secret: str | None = None
    """The Secret that holds the token in the cluster that is read, by its claims."""


@dataclass(frozen=True, slots=True)
class ReaderAccount:
    """An account that peers use to read this cluster, as named by its token Secret, ServiceAccount,
    binding or PushSecret.
    """

    file: str
    kind: str
    name: str
    namespace: str | None
    account: str | None


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory of a tree. `files` are the SHA-256 of all files in hex, by path; empty for files
    that were not read.
    """

    name: str
    files: Mapping[str, str] = field(repr=False)
    lock: LockState | None
    objects: tuple[TreeObject, ...]
    remote_secrets: tuple[RemoteSecret, ...]


@dataclass(frozen=True, slots=True)
class ObservedCluster(Directory):
    """The directory of a cluster, with what its manifests state."""

    cluster_names: tuple[StatedValue, ...]
    """`multiCluster.clusterName`, in each document that has one."""
    mesh_ids: tuple[StatedValue, ...]
    network_label: StatedValue | None
    """The network in the label of the namespace."""
    network_values: tuple[StatedValue, ...]
    """The network in the values, one for each document that states it."""
    namespace: StatedValue | None
    """Istio's namespace, from the Namespace object."""
    namespace_values: tuple[StatedValue, ...]
    """Istio's namespace, from the documents of the control plane."""
    served_by: StatedValue | None
    cacerts: Cacerts
    control_plane: tuple[ControlPlane, ...]
    gateways: tuple[ObservedGateway, ...]
    reader_accounts: tuple[ReaderAccount, ...]
    has_bundle: bool
    """The cluster applies the bundle with the remote secrets of all clusters."""

    @property
    def releases(self) -> tuple[ControlPlane, ...]:
        """The documents that install istiod."""
        return tuple(c for c in self.control_plane if c.component == "istiod")

    @property
    def network(self) -> str | None:
        """The network that istiod uses: the label of the namespace, else the values."""
        return (
            self.network_label.value
            if self.network_label is not None
            else self.network_values[0].value
            if self.network_values
            else None
        )


@dataclass(frozen=True, slots=True)
class MeshState:
    """The state of a tree: its clusters and shared directories by name, its other entries, and
    problems of files that cannot be read.
    """

    clusters: Mapping[str, ObservedCluster]
    shared_directories: Mapping[str, Directory]
    foreign_entries: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    tree: RawTree = field(default_factory=dict, repr=False, compare=False)
    """The files of the tree."""
    locks: Mapping[str, LockFile] = field(default_factory=dict, compare=False)
    """The lock of each directory; empty if it is missing or cannot be read."""

    @property
    def bundle(self) -> tuple[RemoteSecret, ...]:
        """The remote secrets that all clusters share."""
        return tuple(s for d in self.shared_directories.values() for s in d.remote_secrets)

    def applied_remote_secrets(self, name: str) -> tuple[RemoteSecret, ...]:
        """The remote secrets applied in a cluster, without its own from the bundle, which istiod
        ignores.
        """
        cluster = self.clusters[name]
        return (
            *cluster.remote_secrets,
            *(s for s in self.bundle if cluster.has_bundle and s.peer != name),
        )

    @property
    def discovery_edges(self) -> frozenset[tuple[str, str]]:
        """Pairs of clusters: the first discovers the second."""
        return frozenset(
            (name, secret.peer)
            for name in self.clusters
            for secret in self.applied_remote_secrets(name)
        )
