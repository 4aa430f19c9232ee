"""Target IstioControlPlane: Istio 1.4, as `istioctl x multicluster generate` of its time made it,
less its faults.

What the overlay sets and why is in Istio 1.4's istioctl/pkg/multicluster/generate.go;
`pilot.meshNetworks` is what the chart reads (with its `networks:`), `global.meshNetworks` stands
beside it as it did. Endpoints of the cluster itself are those of the registry `Kubernetes`, the
name under which Pilot 1.4 knows its own.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from kubectl_mesh.delivery.removal import LAST, Installation, PlaneRemoval, kubectl_command
from kubectl_mesh.errors import Problem
from kubectl_mesh.model import Json, Member, Network, Pki, Plan, Topology
from kubectl_mesh.plan import TargetTraits
from kubectl_mesh.targets import cluster_rules, images, values
from kubectl_mesh.targets.gateway_rules import host_name_places, host_name_problem
from kubectl_mesh.targets.old_istio import (
    INGRESS_TRAITS,
    OWN_REGISTRY,
    profile_problem,
    stated_entries,
    weak_key_problem,
)
from kubectl_mesh.targets.target import Base, PlaneFile, Target
from kubectl_mesh.targets.uninstall import component_commands
from kubectl_mesh.yaml_io.manifest import build_block
from kubectl_mesh.yaml_io.merge_patch import Replacement, overlapping_fields
from kubectl_mesh.yaml_io.write import Block

OPERATOR_NAMESPACE = "istio-operator"
"""Where the operator of 1.4 lives. It reconciles every namespace; an object in Istio's own would
keep that from being deleted.
"""
PROFILES = ("default", "demo", "minimal", "remote", "sds")


class IstioControlPlane(Target):
    """The control plane of Istio 1.4."""

    KIND = "IstioControlPlane"
    API_VERSION = "install.istio.io/v1alpha2"
    SCHEMAS: ClassVar[Mapping[str, str]] = {KIND: "kinds/istiocontrolplane-install-v1alpha2.json"}
    VERSION = ("spec", "tag")
    KEY_TYPE = "rsa-4096"
    FIXED_VERSION = "1.4"
    GATEWAY_PORT = 443
    HAS_RELEASES = False
    STARTER = """\
# The control plane, customised once for all clusters (Istio 1.4).
# `kubectl mesh render` lays what makes the mesh over it; \
its report names the settings that are lost by that.
apiVersion: install.istio.io/v1alpha2
kind: IstioControlPlane
spec:
  profile: default
  values:
    security:
      # false: Citadel signs with the intermediate in the Secret cacerts.
      selfSigned: false
    global:
      mtls:
        enabled: true
"""
    DEFAULT_BASE: ClassVar[Json] = {
        "spec": {"profile": "default", "values": {"security": {"selfSigned": False}}}
    }

    def plan_traits(self, topology: Topology) -> TargetTraits:
        """Pilot 1.4 knows networks by meshNetworks alone, and their gateways by address."""
        return INGRESS_TRAITS

    def topology_problems(self, topology: Topology) -> Iterator[Problem]:
        """What the topology asks for that Istio 1.4, or this version of kubectl mesh, cannot
        give.
        """
        yield from self._version_problems(topology)
        yield from _entry_problems(topology)
        yield from _mesh_problems(topology)
        for cluster in topology.clusters:
            if cluster.credential.kind == "exec":
                yield Problem(
                    topology.document.field_place(
                        "contexts", cluster.context, "credential", "exec"
                    ),
                    "Pilot of Istio 1.4 has no way to allow it; its image holds no such command",
                    "write credential: {tokenFile: FILE}",
                    "istio-version",
                    code="exec-login-not-supported",
                )

    def _version_problems(self, topology: Topology) -> Iterator[Problem]:
        for path, version in cluster_rules.stated_versions(topology):
            if version.split(".")[:2] != ["1", "4"] and path[-2] != "canary":
                yield Problem(
                    topology.document.field_place(*path),
                    f"nothing reads an {self.KIND} in Istio {version}; it is the control plane of"
                    " Istio 1.4",
                    'write version: "1.4.10", or a base.yaml of another kind',
                    "istio-version",
                    code="kind-not-read-by-istio",
                )

    def topology_warnings(self, topology: Topology, pki: Pki) -> Iterator[Problem]:
        """What Istio 1.4 takes, but not as one might think."""
        yield from cluster_rules.credential_cost_warnings(topology)
        what = (
            "is a host name: Istio 1.4 takes gateways by IP, and looks a name up once, when it"
            " starts"
        )
        for place in host_name_places(topology):
            yield host_name_problem(place, what)
        yield from weak_key_problem(topology, pki, "Istio 1.4")

    def base_problems(self, base: Base, topology: Topology) -> Iterator[Problem]:
        """What is wrong with a base.yaml beyond its schema."""
        main = base[self.KIND]
        value: Any = main.value
        if isinstance(value.get("spec"), dict):
            yield from profile_problem(main, PROFILES, "Istio 1.4")
        else:
            yield Problem(
                main.field_place("spec"),
                "is missing, and istioctl stops on a file without it",
                "write spec: {profile: default}",
                "base-valid",
                code="spec-missing",
            )

    def plane_removal(self, cluster: Installation) -> PlaneRemoval:
        """The object of the operator, where there is one, then what creates webhooks again."""
        kind = "istiocontrolplanes.install.istio.io"
        # Only where an operator was installed its kind is known.
        get = ("get", "customresourcedefinitions", kind, "--ignore-not-found", "-o", "name")
        found = kubectl_command(cluster.context, *get)
        delete = kubectl_command(
            cluster.context, "-n", OPERATOR_NAMESPACE, "delete", kind, "default", *LAST
        )
        # While Galley and the injector run, they create their webhooks again.
        words = ("delete", "deployments", "istio-galley", "istio-sidecar-injector")
        deployments = kubectl_command(
            cluster.context, "-n", cluster.namespace, *words, "--cascade=foreground", *LAST
        )
        return PlaneRemoval((f'if [ -n "$({found})" ]; then {delete}; fi', deployments))

    def webhook_commands(self, cluster: Installation) -> tuple[str, ...]:
        """The commands that delete what istioctl and Galley install outside of namespaces."""
        # Galley gives its webhook no label.
        words = ("delete", "validatingwebhookconfigurations", "istio-galley")
        galley = kubectl_command(cluster.context, *words, "--ignore-not-found")
        return (*component_commands(cluster), galley)

    def plane_files(self, plan: Plan, base: Base) -> Callable[[Member], Iterator[PlaneFile]]:
        """Gives for each cluster its IstioControlPlane."""
        value = self.main_value(base)
        overlays = _Overlays(plan, value)

        def of(member: Member) -> Iterator[PlaneFile]:
            overlay = {
                "apiVersion": self.API_VERSION,
                "kind": self.KIND,
                "metadata": {"name": "default", "namespace": OPERATOR_NAMESPACE},
                "spec": overlays.spec(member),
            }
            yield PlaneFile("istiocontrolplane.yaml", overlay, self.KIND, value)

        return of


def _entry_problems(topology: Topology) -> Iterator[Problem]:
    """What the topology, or one of its contexts, states that came with later versions."""
    place = topology.document.field_place
    for where, entry in stated_entries(topology):
        for key in ("revision", "canary"):
            if key in entry.get("istio", {}):
                yield Problem(
                    place(*where, "istio", key),
                    "Istio 1.4 has no revisions",
                    "remove it",
                    "istio-version",
                    code="revisions-not-supported",
                )
        if "eastWestGateway" in entry:
            yield Problem(
                place(*where, "eastWestGateway"),
                "Istio 1.4 has its ingress gateway for the traffic of other networks",
                "remove it, and customise istio-ingressgateway in base.yaml",
                "istio-version",
                code="istio-too-old",
            )
        if "controlPlane" in entry:
            yield Problem(
                place(*where, "controlPlane"),
                "kubectl mesh makes clusters without a control plane from Istio 1.8 on",
                "remove it",
                "istio-version",
                code="istio-too-old",
            )


def _mesh_problems(topology: Topology) -> Iterator[Problem]:
    """What the topology states for the whole mesh that Istio 1.4 does not have."""
    place = topology.document.field_place
    if topology.data_plane != "sidecar":
        yield Problem(
            place("istio", "dataPlane"),
            "Istio 1.4 has sidecars only",
            "remove it",
            "istio-version",
            code="istio-too-old-for-ambient",
        )
    if topology.chart_repository is not None:
        yield Problem(
            place("istio", "charts"),
            "is for base.yaml of kind Application or HelmRelease",
            "remove it",
            "delivery-target",
            code="charts-not-settable",
        )
    if topology.trust_domain not in (None, "cluster.local"):
        yield Problem(
            place("trustDomain"),
            "Citadel of Istio 1.4 issues identities of cluster.local whatever the trust domain,"
            " once it signs with cacerts",
            "remove it",
            "istio-version",
            code="trust-domain-not-supported",
        )
    if not topology.has_intermediate_files:
        yield Problem(
            place("certificates", "issuer"),
            f"Istio 1.4 signs with a cacerts of its own, which {topology.issuer} does not make",
            "write issuer: local or csr",
            "istio-version",
            code="istio-too-old-for-issuer",
        )


class _Overlays:
    """The overlays of a plan; what clusters share is written once."""

    def __init__(self, plan: Plan, base: Json) -> None:
        self.plan, self.base = plan, base
        self._whole: dict[int, dict[str, Block]] = {}
        self._endpoints: dict[str, Block] = {}

    def spec(self, member: Member) -> dict[str, object]:
        """What the mesh sets in the control plane of one cluster."""
        cluster, mesh = member.cluster, self.plan.topology.mesh_id
        networks: object = {}
        if cluster.is_joined:
            networks = build_block(
                {"networks": {n.name: self._network(n, member) for n in member.networks}}
            )
        made: dict[str, object] = {
            "gateways": {"istio-ingressgateway": {"env": {"ISTIO_MESH_NETWORK": cluster.network}}},
            "global": {
                "controlPlaneSecurityEnabled": True,
                "meshNetworks": Replacement(networks),
                "multiCluster": {"clusterName": cluster.name},
                "network": cluster.network,
            },
            "pilot": {"meshNetworks": Replacement(networks)},
            "security": {"selfSigned": False},
        }
        # istioctl lays these over the values, so that what the mesh sets has to be set here too.
        unvalidated: dict[str, Any] = overlapping_fields(
            values.stated_values(self.base, ("spec",)).get("unvalidatedValues"), made
        )
        spec: dict[str, object] = {
            "defaultNamespace": cluster.namespace,
            "unvalidatedValues": {
                **unvalidated,
                "global": {**unvalidated.get("global", {}), "meshID": mesh},
            },
            "values": made,
        }
        hub = images.hub_overlay(
            images.CONTROL_PLANE_1_4,
            dict(values.stated_values(self.base, ("spec",))),
            self.plan.topology,
            needed=False,
        )
        return images.with_hub(spec, hub)

    def _network(self, network: Network, member: Member) -> object:
        if network.name == member.cluster.network:
            return self._made(network, member.cluster.name)
        shared = self._whole.setdefault(id(member.networks), {})
        if network.name not in shared:
            shared[network.name] = build_block(self._made(network, None))
        return shared[network.name]

    def _made(self, network: Network, own: str | None) -> dict[str, object]:
        endpoints = [
            self._endpoint(OWN_REGISTRY if name == own else name) for name in network.clusters
        ]
        made: dict[str, object] = {"endpoints": endpoints}
        if network.gateways:
            made["gateways"] = [{"address": g.address, "port": g.port} for g in network.gateways]
        return made

    def _endpoint(self, registry: str) -> Block:
        if registry not in self._endpoints:
            self._endpoints[registry] = build_block({"fromRegistry": registry})
        return self._endpoints[registry]
