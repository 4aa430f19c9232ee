"""The values that travel from stage to stage. They are frozen, and no repr contains a secret."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model.issuers import ISSUERS, Issuer
from kubectl_mesh.text import keep_values, path_text

Json = object
"""The value of a YAML document: dict, list, str, int, float, bool or None."""

DEFAULT_READER_ACCOUNT = "istio-reader-service-account"
PRIVATE_MODE, PRIVATE_FOLDER = 0o600, 0o700
PRIVATE_ENDINGS = ("key.pem", "seal-key")
"""The endings of the names of private files in `certs/`."""
MESH_LOCK = "mesh.lock"
STAGES = ("1-trust", "2-control-plane", "3-mesh")
"""The parts of a cluster's directory, in the order in which they are applied."""
BUNDLE_FOLDER = "_remote-secrets"
"""The directory with the remote secrets of all clusters, under `remoteSecrets: bundle`."""
CACERTS_PATH = "1-trust/cacerts.yaml"
COMPONENT_NAMESPACE_PREFIX = "1-trust/namespace-"
"""The beginning of the file names for the namespaces of node components; Istio's own file is
`1-trust/namespace.yaml`.
"""
REMOTE_SECRETS_PREFIX = "3-mesh/remote-secrets/"


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file: its value, and the position of each field (path -> line and column, both from
    1).
    """

    name: str
    value: Json = field(repr=False)
    positions: Mapping[tuple[str | int, ...], tuple[int, int]] = field(repr=False)
    problems: tuple[Problem, ...] = ()
    """YAML problems that did not keep the rest from being read."""
    variants: tuple["Document", ...] = ()
    """For duplicate keys: one document for each later value, which it has in place of the first
    value.
    """
    replaced_path: tuple[str | int, ...] = ()
    """In a variant: the path of the later value."""

    def field_place(self, *path: str | int) -> Place:
        """The place of a field, or of its nearest existing parent."""
        known = path
        while known and known not in self.positions:
            known = known[:-1]
        line, column = self.positions.get(known, (1, 1))
        return Place(self.name, line, column, path_text(path))

    def later_value_problems(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        """The problems of a variant that concern its later value."""
        path = path_text(self.replaced_path)
        return (
            p
            for p in problems
            if p.where.path == path or p.where.path.startswith((f"{path}.", f"{path}["))
        )


@dataclass(frozen=True, slots=True, order=True)
class Gateway:
    """An address at which a network accepts traffic. `port` None means the default of the
    target.
    """

    address: str
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """A control plane that runs in a cluster: Istio's version (None: not stated) and revision
    (None: the default revision).
    """

    version: str | None = None
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class EastWestGateway:
    """The east-west gateway of a cluster as the topology states it. `kind` and `replicas` None mean
    the default of the target.
    """

    enabled: bool = True
    kind: str | None = None
    port: int | None = None
    """The port of the Service for traffic of other networks; None: Istio's default."""
    service_type: str = "LoadBalancer"
    annotations: tuple[tuple[str, str], ...] = ()
    replicas: int | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """How peers log in to a cluster: the kind is `tokenFile`, `exec`, `oidc` or
    `clientCertificate`, with its settings in topology.yaml.
    """

    kind: str = "tokenFile"
    settings: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cluster:
    """An entry of `contexts`. `peers` None means all peers; `gateways` are those of this cluster
    alone.
    """

    name: str
    context: str
    network: str
    namespace: str
    reader_account: str
    is_joined: bool
    server: str | None
    tls_server_name: str | None
    certificate_authority: str | None
    """The value of `certificateAuthority`: PEM text, or the name of a file in the working
    directory.
    """
    token_file: str
    gateways: tuple[Gateway, ...]
    peers: tuple[str, ...] | None
    place: Place
    releases: tuple[Release, ...] = (Release(),)
    """The control planes here: the stable one, then the canary if there is one."""
    primary: str | None = None
    """The cluster whose istiod serves this cluster, which has no istiod."""
    istiod_address: str | None = None
    """The address of the istiod here for clusters without one: an IP address or a host name."""
    east_west: EastWestGateway = EastWestGateway()
    credential: Credential = Credential()
    recipients: tuple[str, ...] = ()
    """The age recipients whose identities only this cluster has."""
    token_generation: int = 1
    """The generation of the token with which peers log in here."""
    second_generation: int | None = None
    """The generation of a second token, while peers move from one token to the other."""
    highest_generation: int = 1
    """The highest generation so far, as topology.yaml states it."""

    @property
    def token_generations(self) -> tuple[int, ...]:
        """The generations of the cluster's tokens, the oldest first."""
        return tuple(
            sorted({self.token_generation, self.second_generation or self.token_generation})
        )

    @property
    def next_generation(self) -> int | None:
        """The generation to which peers will move."""
        return (
            self.second_generation
            if self.second_generation is not None and self.second_generation > self.token_generation
            else None
        )

    @property
    def version(self) -> str | None:
        """The version of the stable control plane."""
        return self.releases[0].version

    @property
    def revision(self) -> str | None:
        """The revision of the stable control plane."""
        return self.releases[0].revision


@dataclass(frozen=True, slots=True)
class Alerts:
    """The rendered alerts: the namespace of the object (None: Istio's namespace), and the labels
    with which Prometheus finds it.
    """

    namespace: str | None = None
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Delivery:
    """The tool that applies the tree, and where it reads the tree: a git repository, a branch or
    tag, and the path of `out/` in the repository.
    """

    tool: str = "kubectl"
    repo: str | None = None
    revision: str | None = None
    path: str = "out"
    namespace: str | None = None
    """The namespace of the tool's objects; None: the namespace of the tool."""
    project: str = "default"
    """The AppProject of Argo CD."""
    secret: str | None = None
    """The Secret with which Flux reads the repository."""


@dataclass(frozen=True, slots=True)
class Topology:
    """A valid topology.yaml with every default filled in, except the defaults of targets."""

    mesh_id: str
    organization: str
    trust_domain: str | None
    data_plane: str
    key_type: str | None
    root_days: int
    intermediate_days: int
    issuer: str
    store: str
    has_stated_store: bool
    delivery: Delivery
    networks: Mapping[str, tuple[Gateway, ...]]
    clusters: tuple[Cluster, ...]
    document: Document = field(repr=False)
    pending_networks: frozenset[str] = frozenset()
    """Networks with a gateway whose address is `pending`."""
    image_hub: str | None = None
    """The registry of Istio's images; `built-in`: the default of the operator, the charts or
    istioctl. None: not stated.
    """
    chart_repository: str | None = None
    """The URL of the chart repository or OCI registry with Istio's Helm charts."""
    has_remote_secret_bundle: bool = False
    """All clusters share one directory with the remote secrets."""
    reader_per_peer: bool = False
    """Each peer reads a cluster with an account of its own."""
    recipients: tuple[str, ...] = ()
    """The age recipients that open the secrets of every cluster."""
    secret_store: tuple[str, str] | None = None
    """Kind and name of the store that the External Secrets Operator reads."""
    secret_path: str = ""
    """The path of the mesh's secrets in that store."""
    issuer_ref: tuple[str, str, str] | None = None
    """Name, kind and group of cert-manager's issuer, the same in every cluster."""
    alerts: Alerts | None = None
    """None: no alerts are rendered."""
    warnings: tuple[Problem, ...] = ()
    has_stated_organization: bool = True
    """False: topology.yaml has no `organization`, and certificates get the O= of an existing root
    or `mesh_id`.
    """

    @property
    def is_ambient(self) -> bool:
        """Whether the data plane is ambient."""
        return self.data_plane == "ambient"

    @property
    def has_intermediate_files(self) -> bool:
        """Whether the intermediates are in `certs/`; otherwise they are created in the clusters."""
        return not self.issuer_kind.in_clusters

    @property
    def issuer_kind(self) -> Issuer:
        """What the issuer does, and where it is."""
        return ISSUERS[self.issuer]


@dataclass(frozen=True, slots=True)
class Server:
    """The API server of a cluster as its peers reach it. `ca` is the PEM of its source,
    unchanged.
    """

    url: str
    ca: bytes
    tls_server_name: str | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """A value that is not known yet: what it is, whose, what it holds back, and the command that
    provides it. Commands of kubectl mesh in the last two are values, as in a `Problem`.
    """

    kind: str
    """`token`, `next-token`, `server`, `gateway`, `address` (of istiod), `sealing` (a controller's
    certificate) or `certificate` (an intermediate).
    """
    subject: str
    """The name of the cluster; for a gateway, of the network."""
    what: str
    holds_back: str
    command: str
    peer: str = ""
    """The peer that waits for it, if not all peers do."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "holds_back", keep_values(self.holds_back))
        object.__setattr__(self, "command", keep_values(self.command))

    def pending_json(self) -> dict[str, str]:
        """The JSON value; its schema is part of `report/render` and `report/describe`."""
        return {
            "kind": self.kind,
            "subject": self.subject,
            "what": self.what,
            "holdsBack": self.holds_back,
            "command": self.command,
        }


@dataclass(frozen=True, slots=True)
class Network:
    """A network as one cluster sees it: the clusters on it, and the gateways into it."""

    name: str
    clusters: tuple[str, ...]
    gateways: tuple[Gateway, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """A cluster with all that its render needs: the peers (sorted), how they reach it, and how they
    log in.
    """

    cluster: Cluster
    peers: tuple[str, ...]
    networks: tuple[Network, ...]
    server: Server | None
    logins: Mapping[str, Mapping[str, Json]] = field(repr=False)
    """The `user` of a kubeconfig by peer; "" is the one that all peers share."""
    primary: Cluster | None = None
    """The cluster whose istiod serves this cluster."""
    gateway_kind: str | None = None
    """The kind of object that creates the east-west gateway; None: no gateway."""
    static_gateways: bool = False
    """The gateways of this cluster are the stated addresses, not those that istiod finds."""
    readers: tuple[str, ...] = ()
    """The clusters that discover this cluster."""
    is_primary: bool = False
    """The istiod here serves clusters that have none."""
    lacks_intermediate: bool = False
    """No intermediate of this cluster exists or can be sealed yet. An istiod that starts without
    one creates a root of its own.
    """
    sealed_logins: frozenset[str] = frozenset()
    """The peers whose logins are known only in their public part, because an earlier run sealed the
    secret part.
    """

    def peer_login(self, peer: str) -> Mapping[str, Json] | None:
        """The login of a peer; None while it is not known, or if the peer has no access."""
        login = self.logins.get(peer) or self.logins.get("")
        return login if self.cluster.is_joined and self.server is not None else None

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages of this cluster's directory."""
        return STAGES[:1] if self.trust_stage_only else STAGES

    @property
    def trust_stage_only(self) -> bool:
        """Whether the control plane waits for its intermediate, or for the address of its
        primary.
        """
        return self.lacks_intermediate or (
            self.primary is not None and self.primary.istiod_address is None
        )


@dataclass(frozen=True, slots=True, order=True)
class Expiry:
    """The end of a certificate, a CRL or a token (UTC). `id` stays the same after a renewal; `what`
    is its name in texts, `fix` the remedy.
    """

    expires: datetime
    id: str
    kind: str
    """`root`, `intermediate`, `crl`, `server-ca` or `token`."""
    subject: str
    """The name of the cluster, or `mesh`."""
    what: str
    fix: str
    issued: datetime | None = field(default=None, compare=False)
    """None: not known."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The mesh to be rendered: members by name, pending values and warnings."""

    topology: Topology
    members: Mapping[str, Member]
    pending: tuple[Pending, ...]
    warnings: tuple[Problem, ...]
    has_several_networks: bool = False
    sealed_token_expiries: Mapping[str, Expiry] = field(default_factory=dict)
    """The ends of tokens that are only in the tree, sealed; by the id of the `Expiry`."""
    is_rotating_root: bool = False
    """Whether a rotation of the root is in progress."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The facts of a certificate for reports. Times are in UTC; the fingerprint is SHA-256 in
    lower-case hex.
    """

    subject: str
    issuer: str
    serial: str
    fingerprint: str
    key_type: str
    not_before: datetime
    not_after: datetime
    organization: str | None = None
    """The O= of the subject."""


@dataclass(frozen=True, slots=True)
class Intermediate:
    """The four files of `certs/intermediate-NAME/` in PEM, and the facts of the certificate."""

    ca_cert: bytes
    cert_chain: bytes
    root_cert: bytes
    ca_key: bytes | None = field(repr=False)
    """None: only the tree has it, sealed by an earlier run."""
    certificate: Certificate
    signer: str = ""
    """The fingerprint of its root, where several roots are trusted."""


@dataclass(frozen=True, slots=True)
class Crl:
    """The revoked certificates: the CRLs of all CAs in PEM, the number of the last one, their
    validity, and the entries (serial in hex, time of revocation).
    """

    pem: bytes
    number: int
    issued: datetime
    next_update: datetime
    revoked: tuple[tuple[str, datetime], ...] = ()


@dataclass(frozen=True, slots=True)
class Pki:
    """Root and intermediates of a mesh. `new_files` are the files to be written, by path below
    `certs/`.
    """

    root_cert: bytes
    roots: tuple[Certificate, ...]
    intermediates: Mapping[str, Intermediate]
    new_files: Mapping[str, bytes] = field(repr=False)
    warnings: tuple[Problem, ...] = ()
    crl: Crl | None = None
    """None: nothing was ever revoked, and no proxy needs a CRL."""


@dataclass(frozen=True, slots=True)
class CertsChange:
    """A change of `certs/` that happens as a whole or not at all; paths are below `certs/`."""

    write: Mapping[str, bytes] = field(repr=False)
    """Files to write, by path."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Files and folders to rename: old path -> new path."""
    delete: frozenset[str] = frozenset()
    """Public files to delete."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of the tree: its bytes, whether it is secret, and the SHA-256 of the bytes in hex."""

    body: bytes = field(repr=False)
    is_private: bool
    digest: str


@dataclass(frozen=True, slots=True)
class SecretManifest:
    """A manifest with a secret, before a store writes it into the tree."""

    text: str | None = field(repr=False)
    """None: the secret is not available here."""
    public_text: str
    """The same manifest with `SEALED_PLACEHOLDER` in place of the secrets; empty where the store
    does not use it.
    """
    source_file: str
    """The file of the working directory that contains the secret."""


SEALED_PLACEHOLDER = "sealed"
"""Takes the place of a secret where only the public part of a manifest counts."""

Folder = Mapping[str, File]
"""The directory of a cluster: path below `out/NAME/` -> file, including `mesh.lock`."""
Tree = Mapping[str, Folder]
"""All rendered files: name of a directory in `out/` -> its files."""


@dataclass(frozen=True, slots=True)
class FolderOnDisk:
    """A directory of `out/` on the disk: regular files (bytes, mode), folders (mode), other
    entries, and the facts of its lock.
    """

    files: Mapping[str, tuple[bytes, int]] = field(repr=False)
    folders: Mapping[str, int]
    other_entries: frozenset[str]
    locked_digests: Mapping[str, str]
    has_lock: bool
    has_damaged_lock: bool
    cluster: str
    mesh: str
    sealed_digests: Mapping[str, str] = field(default_factory=dict)
    """The digest of the public source of each sealed file, by path."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a render does to a path of a directory: create, update, tighten (its mode), remove or
    identical.
    """

    path: str
    action: str
    was_edited: bool = False
    """A person changed or deleted the rendered file."""


@dataclass(frozen=True, slots=True)
class FolderChange:
    """What a render does to a directory of `out/`."""

    name: str
    action: str
    """create, update, tighten (only modes, which git does not keep), remove or identical"""
    changes: tuple[Change, ...]
    foreign_files: tuple[str, ...]
    """Files that the lock does not list; they stay."""
    foreign_folders: tuple[str, ...] = ()
    """Folders that the lock does not account for, including empty ones; they stay."""
    repairs_lock: bool = False
    """The lock is damaged, as after a power loss."""

    @property
    def has_differences(self) -> bool:
        """Whether a render changes any byte here."""
        return self.action not in ("identical", "tighten")
