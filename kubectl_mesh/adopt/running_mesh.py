"""A running mesh: its clusters as the dumps describe them, and the overrides of the command
line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubectl_mesh.adopt.evidence import Evidence
from kubectl_mesh.observed.dumped_control_planes import DumpedControlPlane
from kubectl_mesh.observed.dumped_objects import DumpedObject
from kubectl_mesh.observed.dumped_remote_secrets import DumpedRemoteSecret
from kubectl_mesh.observed.kubeconfigs import Login
from kubectl_mesh.observed.networks import DeclaredNetwork
from kubectl_mesh.observed.signing_ca import SigningCa

DEFAULT_NAMESPACE = "istio-system"
LOCAL_REGISTRY = "Kubernetes"
DUMP_AGAIN = "dump it again, or take what is out of date away"


@dataclass(slots=True)
class RunningCluster:
    """A cluster as the dumps describe it; filled in step by step."""

    context: str
    objects: tuple[DumpedObject, ...] = field(repr=False)
    control_planes: tuple[DumpedControlPlane, ...] = ()
    signing_ca: SigningCa | None = None
    remote_secrets: tuple[DumpedRemoteSecret, ...] = ()
    namespace: str = DEFAULT_NAMESPACE
    name: str = ""
    network: str = ""
    version: str | None = None
    revision: str | None = None
    login: Login | None = None
    primary: str | None = None
    """The context whose istiod serves this one."""
    istiod_address: str | None = None
    peers: tuple[str, ...] | None = None
    is_joined: bool = True
    evidence: dict[str, list[Evidence]] = field(default_factory=dict)
    network_declarations: list[tuple[DumpedObject, tuple[DeclaredNetwork, ...]]] = field(
        default_factory=list
    )
    """What declares networks (meshNetworks), and what it declares."""

    @property
    def istiod_install(self) -> DumpedControlPlane | None:
        """The control plane that installs its istiod."""
        return next((p for p in self.control_planes if p.is_istiod), None)


@dataclass(frozen=True, slots=True)
class Overrides:
    """Settings of the command line, which override the dumps."""

    mesh_id: str | None = None
    networks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunningMesh:
    """The mesh as it runs."""

    mesh_id: str
    trust_domain: str | None
    clusters: tuple[RunningCluster, ...]
    gateways: Mapping[str, tuple[tuple[str, int | None], ...]]
    """Of each network the gateways that are declared by address."""
    chart_repository: str | None = None
    """Where Istio's charts come from, if from elsewhere than Istio itself."""
    has_own_images: bool = False
    """Whether istiod runs with an image of another registry than Istio's: that of a mirror, or of a
    vendor whose operator brings it.
    """
