"""A mesh as it runs: its clusters as the dumps show them, and what was said beside the dumps."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubectl_mesh.adopt.evidence import Evidence
from kubectl_mesh.observed.cacerts import SigningCa
from kubectl_mesh.observed.control_dumps import DumpedControlPlane
from kubectl_mesh.observed.kubeconfigs import Login
from kubectl_mesh.observed.networks import DeclaredNetwork
from kubectl_mesh.observed.objects import PlacedObject
from kubectl_mesh.observed.remote_dumps import Remote

DEFAULT_NAMESPACE = "istio-system"
OWN_REGISTRY = "Kubernetes"
AGAIN = "dump it again, or take what is out of date away"


@dataclass(slots=True)
class Running:
    """A cluster as the dumps show it; made complete step by step."""

    context: str
    objects: tuple[PlacedObject, ...] = field(repr=False)
    planes: tuple[DumpedControlPlane, ...] = ()
    authority: SigningCa | None = None
    remotes: tuple[Remote, ...] = ()
    namespace: str = DEFAULT_NAMESPACE
    name: str = ""
    network: str = ""
    version: str | None = None
    revision: str | None = None
    login: Login | None = None
    primary: str | None = None
    """The context whose istiod serves this one."""
    address: str | None = None
    peers: tuple[str, ...] | None = None
    joined: bool = True
    said: dict[str, list[Evidence]] = field(default_factory=dict)
    tables: list[tuple[PlacedObject, tuple[DeclaredNetwork, ...]]] = field(default_factory=list)
    """What declares networks (meshNetworks), and what it declares."""

    @property
    def main(self) -> DumpedControlPlane | None:
        """Its control plane, less what stands beside it."""
        return next((p for p in self.planes if p.main), None)


@dataclass(frozen=True, slots=True)
class Given:
    """What was said on the command line, and goes before what the dumps say."""

    mesh_id: str | None = None
    networks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mesh:
    """The mesh as it runs."""

    mesh_id: str
    trust_domain: str | None
    clusters: tuple[Running, ...]
    gateways: Mapping[str, tuple[tuple[str, int | None], ...]]
    """Of each network the gateways that are declared by address."""
    charts: str | None = None
    """Where Istio's charts come from, if from elsewhere than Istio itself."""
    own_images: bool = False
    """Whether istiod runs with an image of another registry than Istio's: that of a mirror, or of a
    vendor whose operator brings it.
    """
