"""The class of a store: how what is secret stands in the tree. A store is a file with one class and
a line in `stores.STORES`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from kubectl_mesh.errors import Problem
from kubectl_mesh.model import Cluster, FolderOnDisk, Json, Pending, SecretManifest, Topology

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey


@dataclass(frozen=True, slots=True)
class Certificate:
    """The certificate of a Sealed Secrets controller: its key, the SHA-256 of it in hex."""

    key: "RSAPublicKey" = field(repr=False)
    fingerprint: str


Path = tuple[str, ...]
Certificates = Mapping[str, Certificate]
"""The certificates of the Sealed Secrets controllers, by cluster."""


class Health(NamedTuple):
    """An object that makes a Secret, and the condition that says that the Secret is there."""

    api_version: str
    kind: str
    condition: str


class StoreInputs(NamedTuple):
    """What a store of a run is made from."""

    topology: Topology
    out: str
    key: bytes | None
    """The seal key; None: it is not here."""
    before: Callable[[str], FolderOnDisk | None]
    """Gives a directory of `out` as it is on disk."""
    certificates: Certificates


class Store(ABC):
    """How what is secret stands in the tree; an instance is for one run."""

    NAME: ClassVar[str]
    """What topology.yaml calls it."""
    private: ClassVar[bool] = False
    """Whether its files may be read by their owner only."""
    ENCRYPTS: ClassVar[bool] = False
    """Whether it encrypts what is secret, for a tree that others read."""
    OUTSIDE: ClassVar[bool] = False
    """Whether secrets are outside of the tree and of the working directory."""
    NEEDS_DECRYPTION: ClassVar[bool] = False
    """Whether what applies the tree has to decrypt it."""
    CONTROLLER: ClassVar[str] = ""
    """The resource by which something in the cluster creates a Secret again; empty: nothing
    does.
    """
    WRITER: ClassVar[str] = ""
    """What writes the Secrets in a cluster, as people call it; empty: what applies the tree."""
    HEALTH: ClassVar[Health | None] = None
    """The object that makes `cacerts`; None: the tree holds the Secret itself."""
    DESCRIPTION: ClassVar[str] = ""
    """How the tree holds what is secret, in the words of `describe`; empty: in clear."""
    CLEAR: ClassVar[bool] = False
    """Whether the tree holds what is secret in clear."""
    SHOWS_KUBECONFIGS: ClassVar[bool] = False
    """Whether the kubeconfig of a remote secret can be read, but for what is secret in it."""
    OBJECT_KIND: ClassVar[str] = "Secret"
    """The kind of the objects that hold what is secret, or say where it is."""
    MARK: ClassVar[str] = ""
    """The field that it adds to a Secret; empty: none."""
    METADATA: ClassVar[Path] = ("metadata",)
    """Where such an object has the metadata of the Secret."""
    DATA: ClassVar[Path] = ("data",)
    """Where such an object has the data of the Secret."""
    SECRET_FIELDS: ClassVar[tuple[str, ...]] = ("data", "stringData")
    """The fields of such an object that no report shows."""

    @classmethod
    @abstractmethod
    def open_store(cls, inputs: StoreInputs) -> Self:
        """The store of a run."""

    @abstractmethod
    def render_file(
        self, directory: str, path: str, secret: SecretManifest
    ) -> tuple[bytes, str | None]:
        """The bytes of a file, and what the lock says of what they were made from."""

    def lock_fields(self, directory: str) -> dict[str, object]:
        """What the lock says of the directory, as fields of a `LockFile`."""
        return {}

    def extra_files(self, directory: str) -> dict[str, str]:
        """Files of the store's own in a directory that holds secrets, by path."""
        return {}

    @classmethod
    def find_recipients(cls, value: Json) -> tuple[str, ...]:
        """The recipients that an object names."""
        return ()

    @classmethod
    def arrival_command(cls, cluster: Cluster, name: str) -> tuple[str, str] | None:
        """The command that shows when a cluster last took a remote secret from the store, and what
        it prints; None: the digest of the Secret shows that.
        """
        return None

    @classmethod
    def push_command(cls, cluster: Cluster, peer: str) -> str | None:
        """The command that shows when a cluster put the token of a peer into the store; None: no
        cluster does.
        """
        return None

    @classmethod
    def has_login(cls, cluster: Cluster) -> bool:
        """Whether the login of a cluster has something secret for the store."""
        return True

    @classmethod
    def remote_secret_controller(cls, cluster: Cluster) -> str:
        """The resource that would create the remote secret of a cluster again; empty: nothing
        would.
        """
        return cls.CONTROLLER if cls.has_login(cluster) else ""

    @classmethod
    def cacerts_object(
        cls,
        topology: Topology,
        cluster: Cluster,
        annotations: Mapping[str, str],
        crl: bytes | None,
    ) -> str | None:
        """The object that makes `cacerts` from what the store has; None: the tree has a Secret."""
        return None

    @classmethod
    def remote_secret_object(
        cls,
        topology: Topology,
        cluster: Cluster,
        holder: tuple[str, str],
        kubeconfig: Callable[[Callable[[str], str]], str],
    ) -> str | None:
        """The object that makes the remote secret of a cluster in a namespace for a peer, which are
        `holder`; None: the tree has a Secret.

        `kubeconfig` gives the text, with marks for what is secret.
        """
        return None

    @classmethod
    def token_object(cls, topology: Topology, cluster: Cluster, peer: str) -> str | None:
        """The object by which a cluster puts the token of a peer into the store; None: none
        does.
        """
        return None

    @classmethod
    def topology_problems(cls, topology: Topology) -> Iterator[Problem]:
        """What of a topology the store cannot work with."""
        return iter(())

    @classmethod
    def recipient_warnings(
        cls, topology: Topology, certificates: Certificates, *, shared_identity: bool
    ) -> Iterator[Problem]:
        """Clusters of which one opens the secrets of another; `shared_identity`: what applies the
        tree opens all of them by one identity.
        """
        return iter(())

    @classmethod
    def pending_certificates(
        cls, topology: Topology, certificates: Certificates, directory: str
    ) -> list[Pending]:
        """What clusters wait for before anything can be sealed for them."""
        return []
