"""The targets of today's Istio: what their topologies may ask for, and how Istio leaves them."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.istio import versions
from kubectl_mesh.istio.east_west_gateway import HBONE_PORT, TLS_PORT
from kubectl_mesh.model import Json, Pki, Topology
from kubectl_mesh.model.commands import address_command
from kubectl_mesh.plan import TargetTraits
from kubectl_mesh.targets import cluster_rules, gateway_rules, node_components
from kubectl_mesh.targets.target import Base, Target
from kubectl_mesh.targets.values import stated_values


class ModernTarget(Target):
    """A kind of base.yaml for an Istio with istiod."""

    OLDEST: ClassVar[int]
    """The first minor version of Istio that reads the kind."""
    EXACT: ClassVar[bool] = False
    """A version has to be whole, because it pins a chart."""
    TOOLS: ClassVar[tuple[str, ...] | None] = None
    """What may deliver it; None: every tool."""
    READ_BY: ClassVar[str] = ""
    """Why other tools cannot deliver it."""
    OWN_CHARTS: ClassVar[str] = ""
    """What brings its charts along, so that none are chosen; empty: the topology may choose."""

    @abstractmethod
    def stated_platform(self, base: Base, topology: Topology) -> str | None:
        """The platform that base.yaml states, or that its profile implies."""

    def plan_traits(self, topology: Topology) -> TargetTraits:
        """Istiod finds networks and gateways by labels."""
        return TargetTraits(
            gateway_port=HBONE_PORT if topology.is_ambient else TLS_PORT,
            gateway_command=address_command,
            finds_gateways_by_label=True,
            gateway_kind=self.GATEWAYS[0],
        )

    def topology_problems(self, topology: Topology) -> Iterator[Problem]:
        """What the topology asks for that this kind of control plane, or Istio itself, cannot
        give.
        """
        yield from cluster_rules.issuer_problems(topology)
        for path, version in cluster_rules.stated_versions(topology):
            yield from self._version_problems(
                topology, topology.document.field_place(*path), version
            )
        yield from self._delivery_problems(topology)
        yield from gateway_rules.gateway_problems(topology, self.KIND, self.GATEWAYS)
        yield from cluster_rules.ambient_problems(topology)
        yield from cluster_rules.namespace_problems(topology)
        yield from cluster_rules.canary_problems(topology)
        if self.OWN_CHARTS and topology.chart_repository is not None:
            yield Problem(
                topology.document.field_place("istio", "charts"),
                f"{self.OWN_CHARTS} brings its charts along",
                "remove it",
                "delivery-target",
                code="charts-not-settable",
            )

    def _version_problems(
        self, topology: Topology, where: Place, version: str
    ) -> Iterator[Problem]:
        minor = versions.minor_version(version)
        if minor < self.OLDEST:
            yield Problem(
                where,
                f"nothing reads an {self.KIND} in Istio {version}; it is for 1.{self.OLDEST} and"
                " later",
                "use a base.yaml of kind IstioControlPlane (1.4) or IstioOperator (1.5 and later)",
                "istio-version",
                code="kind-not-read-by-istio",
            )
        elif self.EXACT and not versions.is_exact(version):
            yield Problem(
                where,
                f"Istio {version} is a line of releases, and a chart is pinned to one",
                f'write the whole version, such as "{version}.0"',
                "istio-version",
                code="version-not-exact",
            )
        elif topology.is_ambient and minor < versions.SINCE_AMBIENT and len(topology.clusters) > 1:
            yield Problem(
                where,
                f"ambient over several clusters begins with Istio 1.{versions.SINCE_AMBIENT}",
                "write a later version, or dataPlane: sidecar",
                "ambient",
                code="istio-too-old-for-ambient",
            )

    def _delivery_problems(self, topology: Topology) -> Iterator[Problem]:
        tool = topology.delivery.tool
        if self.TOOLS is None or tool in self.TOOLS:
            return
        yield Problem(
            topology.document.field_place("delivery", "tool"),
            f"{tool} does not deliver a control plane of kind {self.KIND}: {self.READ_BY}",
            f"write tool: {' or '.join(self.TOOLS)}, or use a base.yaml of another kind",
            "delivery-target",
            code="kind-not-delivered-by-tool",
        )

    def topology_warnings(self, topology: Topology, pki: Pki) -> Iterator[Problem]:
        """What Istio takes, but not as one might think."""
        yield from cluster_rules.version_skew_problems(topology)
        yield from gateway_rules.host_name_warnings(topology)
        yield from cluster_rules.shared_network_warnings(topology)
        yield from cluster_rules.address_warnings(topology)
        yield from cluster_rules.credential_cost_warnings(topology)

    def ztunnel_problems(self, base: Base, topology: Topology) -> Iterator[Problem]:
        """A ztunnel that istiod does not trust."""
        main = base[self.main_part]
        accounts = {
            c.name: self.component_accounts(base, topology, c).get("ztunnel", "")
            for c in topology.clusters
        }
        yield from node_components.trust_problems(
            topology,
            stated_values(main.value, self.VALUES),
            self.stated_platform(base, topology),
            accounts,
            main.field_place(*self.VALUES, "pilot"),
            ".".join(self.VALUES),
        )


def ambient_profile(base: Json, topology: Topology, *, is_served: bool) -> dict[str, object]:
    """The profile that the mesh sets, as fields of a spec; a platform's own profile of ambient
    stays. `is_served`: the cluster has no control plane of its own.
    """
    if is_served:
        return {"profile": "remote"}
    profile = stated_values(base, ("spec",)).get("profile")
    return (
        {"profile": "ambient"}
        if topology.is_ambient and not str(profile).endswith("ambient")
        else {}
    )
