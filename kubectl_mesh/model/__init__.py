"""The values that travel from stage to stage; frozen, and with no repr of anything secret."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model.issuers import ISSUERS, Issuer
from kubectl_mesh.text import keep_values, path_text

Json = object
"""What a YAML document of ours holds: dict, list, str, int, float, bool or None."""

DEFAULT_READER_ACCOUNT = "istio-reader-service-account"
PRIVATE_MODE, PRIVATE_FOLDER = 0o600, 0o700
PRIVATE_ENDINGS = ("key.pem", "seal-key")
"""How the names of the private files in `certs/` end."""
MESH_LOCK = "mesh.lock"
STAGES = ("1-trust", "2-control-plane", "3-mesh")
"""The parts of a cluster's directory, in the order in which they are applied."""
BUNDLE_FOLDER = "_remote-secrets"
"""The directory with the remote secrets of all clusters, under `remoteSecrets: bundle`."""
CACERTS_PATH = "1-trust/cacerts.yaml"
COMPONENT_NAMESPACE_PREFIX = "1-trust/namespace-"
"""How the files of the namespaces of components on the nodes begin; Istio's own is
`1-trust/namespace.yaml`.
"""
REMOTE_SECRETS_PREFIX = "3-mesh/remote-secrets/"


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file: its value, and where each of its fields stands (path -> line, column; both from
    1).
    """

    name: str
    value: Json = field(repr=False)
    positions: Mapping[tuple[str | int, ...], tuple[int, int]] = field(repr=False)
    problems: tuple[Problem, ...] = ()
    """What is wrong with it as YAML, where the rest could be read all the same."""
    variants: tuple["Document", ...] = ()
    """Where keys stand twice: for each later value the document that has it in the place of the
    first.
    """
    replaced_path: tuple[str | int, ...] = ()
    """In a variant: the path of that value."""

    def field_place(self, *path: str | int) -> Place:
        """The place of a field, or of the nearest one above it that is really there."""
        known = path
        while known and known not in self.positions:
            known = known[:-1]
        line, column = self.positions.get(known, (1, 1))
        return Place(self.name, line, column, path_text(path))

    def later_value_problems(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        """Those problems of a variant that concern the value by which it differs."""
        path = path_text(self.replaced_path)
        return (
            p
            for p in problems
            if p.where.path == path or p.where.path.startswith((f"{path}.", f"{path}["))
        )


@dataclass(frozen=True, slots=True, order=True)
class Gateway:
    """An address at which a network takes traffic in; `port` None stands for the target's own
    default.
    """

    address: str
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """A control plane that runs in a cluster: Istio's version (None: not stated anywhere) and its
    revision (None: the default one).
    """

    version: str | None = None
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class EastWestGateway:
    """The east-west gateway of a cluster as the topology wants it. `kind` and `replicas` None leave
    it to the target.
    """

    enabled: bool = True
    kind: str | None = None
    port: int | None = None
    """Of its Service, for the traffic of other networks; None: Istio's own."""
    service_type: str = "LoadBalancer"
    annotations: tuple[tuple[str, str], ...] = ()
    replicas: int | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """How the peers log in to a cluster: `tokenFile`, `exec`, `oidc` or `clientCertificate`, and
    what was stated for it.
    """

    kind: str = "tokenFile"
    settings: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cluster:
    """One entry under `contexts`. `peers` None means all; `gateways` are those of this cluster
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
    """What `certificateAuthority` says: PEM text, or the name of a file in the working directory.
    """
    token_file: str
    gateways: tuple[Gateway, ...]
    peers: tuple[str, ...] | None
    place: Place
    releases: tuple[Release, ...] = (Release(),)
    """What runs here: the stable control plane, then the canary if there is one."""
    primary: str | None = None
    """The cluster whose istiod serves this one, where it has none of its own."""
    istiod_address: str | None = None
    """Where istiod here is reached by clusters that have none: an IP address or a host name."""
    east_west: EastWestGateway = EastWestGateway()
    credential: Credential = Credential()
    recipients: tuple[str, ...] = ()
    """The age recipients whose identities this cluster has, and no other."""
    token_generation: int = 1
    """Of the token by which the peers log in here."""
    second_generation: int | None = None
    """The generation of a second token, while the peers move from one to the other."""
    highest_generation: int = 1
    """The highest generation that there has been, as far as it is stated."""

    @property
    def token_generations(self) -> tuple[int, ...]:
        """The tokens that the cluster has, the oldest first."""
        return tuple(
            sorted({self.token_generation, self.second_generation or self.token_generation})
        )

    @property
    def next_generation(self) -> int | None:
        """The generation that the peers are to move to."""
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
    """The alerts that are rendered: where the object goes (None: Istio's namespace), and the labels
    by which Prometheus finds it.
    """

    namespace: str | None = None
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Delivery:
    """What applies the tree, and where that finds it: a git repository, a branch or tag, and the
    folder that `out/` is there.
    """

    tool: str = "kubectl"
    repo: str | None = None
    revision: str | None = None
    path: str = "out"
    namespace: str | None = None
    """Where the objects of the tool live; None: where the tool itself lives."""
    project: str = "default"
    """The AppProject of Argo CD."""
    secret: str | None = None
    """The Secret by which Flux reads the repository."""


@dataclass(frozen=True, slots=True)
class Topology:
    """A valid topology.yaml; clusters by name, every default filled in but those that a target
    decides.
    """

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
    """Networks with a gateway whose address is stated as `pending`."""
    image_hub: str | None = None
    """Where Istio's images are pulled from; `built-in`: what the operator, the charts or istioctl
    have built in. None: not stated.
    """
    chart_repository: str | None = None
    """Where Istio's Helm charts are taken from: the URL of a chart repository or of an OCI
    registry.
    """
    has_remote_secret_bundle: bool = False
    """The remote secrets of all clusters stand once, in a directory that all share."""
    reader_per_peer: bool = False
    """Every peer reads a cluster as an account of its own."""
    recipients: tuple[str, ...] = ()
    """The age recipients that open the secrets of every cluster."""
    secret_store: tuple[str, str] | None = None
    """Kind and name of the store that the External Secrets Operator reads."""
    secret_path: str = ""
    """Where in that store the secrets of this mesh are."""
    issuer_ref: tuple[str, str, str] | None = None
    """Name, kind and group of cert-manager's issuer, the same in every cluster."""
    alerts: Alerts | None = None
    """None: no alerts are rendered."""
    warnings: tuple[Problem, ...] = ()
    has_stated_organization: bool = True
    """False: topology.yaml has no `organization`; certificates get the O= of an existing root, else
    `mesh_id`.
    """

    @property
    def is_ambient(self) -> bool:
        """Whether the data plane is ambient."""
        return self.data_plane == "ambient"

    @property
    def has_intermediate_files(self) -> bool:
        """Whether the intermediates stand in `certs/`; else they are made in the clusters."""
        return not self.issuer_kind.in_clusters

    @property
    def issuer_kind(self) -> Issuer:
        """What the issuer does, and where it is."""
        return ISSUERS[self.issuer]


@dataclass(frozen=True, slots=True)
class Server:
    """The API server of a cluster as its peers reach it. `ca` is PEM, as it stood in its source."""

    url: str
    ca: bytes
    tls_server_name: str | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """Something not known yet: what it is, whose, what it holds back, and the command that gets
    it. Our own commands in the last two are values, as in a `Problem`.
    """

    kind: str
    """`token`, `next-token`, `server`, `gateway`, `address` (where istiod is reached), `sealing` (a
    controller's certificate) or `certificate` (an intermediate).
    """
    subject: str
    """The cluster's name; for a gateway the network's."""
    what: str
    holds_back: str
    command: str
    peer: str = ""
    """The one peer that waits for it, where not all do."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "holds_back", keep_values(self.holds_back))
        object.__setattr__(self, "command", keep_values(self.command))

    def pending_json(self) -> dict[str, str]:
        """For programs; its schema is part of `report/render` and `report/describe`."""
        return {
            "kind": self.kind,
            "subject": self.subject,
            "what": self.what,
            "holdsBack": self.holds_back,
            "command": self.command,
        }


@dataclass(frozen=True, slots=True)
class Network:
    """A network as one cluster sees it: the registries on it and the gateways into it."""

    name: str
    clusters: tuple[str, ...]
    gateways: tuple[Gateway, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """A cluster with all that a render of it needs: its peers (sorted), how it is reached, and how
    the peers log in.
    """

    cluster: Cluster
    peers: tuple[str, ...]
    networks: tuple[Network, ...]
    server: Server | None
    logins: Mapping[str, Mapping[str, Json]] = field(repr=False)
    """The `user` of a kubeconfig by peer; under "" the one that all peers share."""
    primary: Cluster | None = None
    """The cluster whose istiod serves this one."""
    gateway_kind: str | None = None
    """What makes the east-west gateway here; None: there is none."""
    static_gateways: bool = False
    """The gateways of this cluster are those whose addresses are stated, not those that istiod
    would find.
    """
    readers: tuple[str, ...] = ()
    """The clusters that discover this one."""
    is_primary: bool = False
    """Whether istiod here serves clusters that have none."""
    lacks_intermediate: bool = False
    """There is no intermediate for this cluster yet, or none that could be sealed: an istiod that
    starts without it makes a root of its own.
    """
    sealed_logins: frozenset[str] = frozenset()
    """The peers of whose login only the public part is here, for what is secret in it was sealed by
    an earlier run.
    """

    def peer_login(self, peer: str) -> Mapping[str, Json] | None:
        """How a peer logs in here, None while that is not known or it may not."""
        found = self.logins.get(peer) or self.logins.get("")
        return found if self.cluster.is_joined and self.server is not None else None

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages of this cluster's directory."""
        return STAGES[:1] if self.trust_stage_only else STAGES

    @property
    def trust_stage_only(self) -> bool:
        """Whether the control plane here waits: for its intermediate, or for the address of the one
        that serves it.
        """
        return self.lacks_intermediate or (
            self.primary is not None and self.primary.istiod_address is None
        )


@dataclass(frozen=True, slots=True, order=True)
class Expiry:
    """When something ends (UTC): its name, which stays the same when it is renewed, its kind, whose
    it is, what to call it, and what to do.
    """

    expires: datetime
    id: str
    kind: str
    """`root`, `intermediate`, `crl`, `server-ca` or `token`."""
    subject: str
    """The cluster's name, or `mesh`."""
    what: str
    fix: str
    issued: datetime | None = field(default=None, compare=False)
    """None: it does not say."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The mesh as it will be: members by name, what is pending, what deserves a warning."""

    topology: Topology
    members: Mapping[str, Member]
    pending: tuple[Pending, ...]
    warnings: tuple[Problem, ...]
    has_several_networks: bool = False
    sealed_token_expiries: Mapping[str, Expiry] = field(default_factory=dict)
    """The dates of tokens that are sealed and not here, as the tree tells them, by their names."""
    is_rotating_root: bool = False
    """Whether the roots that the clusters trust are about to change."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What people want to know of a certificate; times in UTC, the fingerprint is SHA-256 in
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
    """The four files of `certs/intermediate-NAME/`, PEM, and what the certificate says."""

    ca_cert: bytes
    cert_chain: bytes
    root_cert: bytes
    ca_key: bytes | None = field(repr=False)
    """None: it is not here, and was sealed by an earlier run."""
    certificate: Certificate
    signer: str = ""
    """The fingerprint of the root that it leads to, where several are trusted."""


@dataclass(frozen=True, slots=True)
class Crl:
    """What is revoked: the CRLs of all CAs in PEM, the number of the last one, their validity, and
    what they list (serial in hex, since when).
    """

    pem: bytes
    number: int
    issued: datetime
    next_update: datetime
    revoked: tuple[tuple[str, datetime], ...] = ()


@dataclass(frozen=True, slots=True)
class Pki:
    """Root and intermediates of a mesh. `new` holds the files still to be written, by path below
    `certs/`.
    """

    root_cert: bytes
    roots: tuple[Certificate, ...]
    intermediates: Mapping[str, Intermediate]
    new_files: Mapping[str, bytes] = field(repr=False)
    warnings: tuple[Problem, ...] = ()
    crl: Crl | None = None
    """None: nothing is or was revoked, and no proxy asks."""


@dataclass(frozen=True, slots=True)
class CertsChange:
    """`certs/` as it is to be instead; paths below it. It happens as a whole or not at all."""

    write: Mapping[str, bytes] = field(repr=False)
    """Files that are written."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Files and folders that get another name."""
    delete: frozenset[str] = frozenset()
    """Public files that go."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of the tree: what it holds, whether it is secret, and the SHA-256 of its bytes in
    hex.
    """

    body: bytes = field(repr=False)
    is_private: bool
    digest: str


@dataclass(frozen=True, slots=True)
class SecretManifest:
    """A manifest with something secret in it, before a store puts it into the tree."""

    text: str | None = field(repr=False)
    """None: what is secret in it is not here."""
    public_text: str
    """The same with `SEALED` in the place of what is secret; empty where the store has no use for
    it.
    """
    source_file: str
    """The file of the working directory that holds what is secret."""


SEALED_PLACEHOLDER = "sealed"
"""What stands for a secret where only the public part of a manifest counts."""

Folder = Mapping[str, File]
"""One cluster's directory: path below `out/NAME/` -> file; `mesh.lock` among them."""
Tree = Mapping[str, Folder]
"""Everything that is rendered: the name of a directory in `out/` -> what it holds."""


@dataclass(frozen=True, slots=True)
class FolderOnDisk:
    """One directory of `out/` as it is: regular files (bytes, mode), folders (mode), other things,
    and what its lock says.
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
    """What each sealed file was made from, as far as it is public: path -> digest."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a render does to one path of a directory: create, update, tighten (its mode), remove or
    identical.
    """

    path: str
    action: str
    was_edited: bool = False
    """A person changed or deleted this file of ours since it was rendered."""


@dataclass(frozen=True, slots=True)
class FolderChange:
    """What a render does to one directory of `out/`."""

    name: str
    action: str
    """create, update, tighten (modes alone, which git does not keep), remove or identical"""
    changes: tuple[Change, ...]
    foreign_files: tuple[str, ...]
    """Files that are not ours: they stay."""
    foreign_folders: tuple[str, ...] = ()
    """Folders that are not ours, empty ones among them: they stay too."""
    repairs_lock: bool = False
    """The lock was damaged, as a power loss leaves it."""

    @property
    def has_differences(self) -> bool:
        """Whether a render would change any byte here."""
        return self.action not in ("identical", "tighten")
