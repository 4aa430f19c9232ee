"""Target IstioControlPlane: Istio 1.4, as `istioctl x multicluster generate` of its time made it,
less its faults.

What the overlay sets and why is in Istio 1.4's istioctl/pkg/multicluster/generate.go;
`pilot.meshNetworks` is what the chart reads (with its `networks:`), `global.meshNetworks` stands
beside it as it did. Endpoints of the cluster itself are those of the registry `Kubernetes`, the
name under which Pilot 1.4 knows its own.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kubectl_mesh.errors import Problem
from kubectl_mesh.model import Cluster, Document, Json, Member, Network, Pki, Plan, Topology
from kubectl_mesh.model.address import is_address
from kubectl_mesh.model.commands import address_command
from kubectl_mesh.plan import Traits
from kubectl_mesh.targets import images, modern, values
from kubectl_mesh.targets.replaced import replaced_problems
from kubectl_mesh.text import near, shown
from kubectl_mesh.yaml_io.manifest import block, document
from kubectl_mesh.yaml_io.merge_patch import Whole, merge, shared
from kubectl_mesh.yaml_io.write import Block

KIND = "IstioControlPlane"
API_VERSION = "install.istio.io/v1alpha2"
HUB = False
APPLIED = True
SCHEMAS = {"IstioControlPlane": "kinds/istiocontrolplane-install-v1alpha2.json"}
VERSION = ("spec", "tag")
VALUES = ("spec", "values")
"""Where a document of base.yaml states a version."""
KEY_TYPE = "rsa-4096"
OPERATOR_NAMESPACE = "istio-operator"
"""Where the operator of 1.4 lives. It reconciles every namespace; an object in Istio's own would
keep that from being deleted.
"""
OWN_REGISTRY = "Kubernetes"
PROFILES = ("default", "demo", "minimal", "remote", "sds")

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
DEFAULT_BASE: Json = {"spec": {"profile": "default", "values": {"security": {"selfSigned": False}}}}


def traits(topology: Topology) -> Traits:
    """Pilot 1.4 knows networks by meshNetworks alone, and their gateways by address."""
    return Traits(
        gateway_port=443,
        gateway_command=lambda cluster: address_command(cluster, "istio-ingressgateway"),
        labels=False,
    )


def part(value: Mapping[str, Any]) -> str:
    """What a document of base.yaml customises."""
    return str(value.get("kind"))


def version(base: Mapping[str, Document]) -> str | None:
    """The version that base.yaml states: the kind has but one."""
    return "1.4"


def can_detect_platform(base: Mapping[str, Document]) -> bool:
    """Whether an operator in the cluster chooses the ztunnel that istiod trusts."""
    return False


def component_accounts(
    base: Mapping[str, Document], topology: Topology, cluster: Cluster
) -> dict[str, str]:
    """The namespace and the account of each component on the nodes, of which there is none in a
    namespace of its own.
    """
    return {}


def problems(topology: Topology) -> Iterator[Problem]:
    """What the topology asks for that Istio 1.4, or this version of kubectl mesh, cannot give."""
    place = topology.document.place
    value: Any = topology.document.value
    for path, version in modern.stated_versions(topology):
        if version.split(".")[:2] != ["1", "4"] and path[-2] != "canary":
            what = (
                f"nothing reads an {KIND} in Istio {version}; it is the control plane of Istio 1.4"
            )
            yield Problem(
                place(*path),
                what,
                'write version: "1.4.10", or a base.yaml of another kind',
                "istio-version",
            )
    for where, entry in [
        ((), value),
        *((("contexts", c), e) for c, e in value["contexts"].items()),
    ]:
        for key in ("revision", "canary"):
            if key in entry.get("istio", {}):
                yield Problem(
                    place(*where, "istio", key),
                    "Istio 1.4 has no revisions",
                    "remove it",
                    "istio-version",
                )
        if "eastWestGateway" in entry:
            what = "Istio 1.4 has its ingress gateway for the traffic of other networks"
            yield Problem(
                place(*where, "eastWestGateway"),
                what,
                "remove it, and customise istio-ingressgateway in base.yaml",
                "istio-version",
            )
        if "controlPlane" in entry:
            what = "kubectl mesh makes clusters without a control plane from Istio 1.8 on"
            yield Problem(place(*where, "controlPlane"), what, "remove it", "istio-version")
    if topology.data_plane != "sidecar":
        yield Problem(
            place("istio", "dataPlane"), "Istio 1.4 has sidecars only", "remove it", "istio-version"
        )
    if topology.charts is not None:
        yield Problem(
            place("istio", "charts"),
            "is for base.yaml of kind Application or HelmRelease",
            "remove it",
            "delivery-target",
        )
    if topology.trust_domain not in (None, "cluster.local"):
        what = (
            "Citadel of Istio 1.4 issues identities of cluster.local whatever the trust domain,"
            " once it signs with cacerts"
        )
        yield Problem(place("trustDomain"), what, "remove it", "istio-version")
    if not topology.own_intermediates:
        what = f"Istio 1.4 signs with a cacerts of its own, which {topology.issuer} does not make"
        yield Problem(
            place("certificates", "issuer"), what, "write issuer: local or csr", "istio-version"
        )
    for cluster in topology.clusters:
        if cluster.credential.way == "exec":
            what = "Pilot of Istio 1.4 has no way to allow it; its image holds no such command"
            yield Problem(
                place("contexts", cluster.context, "credential", "exec"),
                what,
                "write credential: {tokenFile: FILE}",
                "istio-version",
            )


def warnings(topology: Topology, pki: Pki) -> Iterator[Problem]:
    """What Istio 1.4 takes, but not as one might think."""
    yield from modern.credential_costs(topology)
    value: Any = topology.document.value
    paths: list[tuple[str | int, ...]] = []
    for top in ("networks", "contexts"):
        for name, entry in value.get(top, {}).items():
            paths += [
                (top, name, "gateways", i, "address")
                for i, g in enumerate(entry.get("gateways", ()))
                if _is_name(g["address"])
            ]
    for path in paths:
        what = (
            "is a host name: Istio 1.4 takes gateways by IP, and looks a name up once, when it"
            " starts"
        )
        yield Problem(
            topology.document.place(*path), what, "give the IP addresses", "gateway-address"
        )
    weak = [
        name for name, i in pki.intermediates.items() if i.certificate.key_type.startswith("ec-")
    ]
    if weak:
        what = (
            "Istio 1.4 loads an EC key but cannot sign workload certificates with it"
            f" ({modern.some(weak)})"
        )
        yield Problem(
            topology.document.place("certificates", "keyType"),
            what,
            "use rsa-4096, and renew the intermediates with `kubectl mesh certs renew --all`",
            "certs-key-type",
        )


def _is_name(address: str) -> bool:
    return address != "pending" and not is_address(address)


def checked(
    part: str, topology: Topology, read: Any
) -> Iterator[tuple[tuple[str, ...], Mapping[str, object]]]:
    """What in a document of base.yaml the schema of its kind leaves open: nothing."""
    return iter(())


def base_problems(documents: Mapping[str, Document], topology: Topology) -> Iterator[Problem]:
    """What is wrong with a base.yaml beyond its schema."""
    base = documents[KIND]
    value: Any = base.value
    if not isinstance(value.get("spec"), dict):
        yield Problem(
            base.place("spec"),
            "is missing, and istioctl stops on a file without it",
            "write spec: {profile: default}",
            "base-valid",
        )
        return
    profile = value["spec"].get("profile")
    if isinstance(profile, str) and profile not in PROFILES and not any(c in profile for c in "/."):
        what = f"{shown(profile)} is no profile of Istio 1.4{near(profile, PROFILES)}"
        yield Problem(
            base.place("spec", "profile"),
            what,
            f"name one of {', '.join(PROFILES)}, or a file",
            "base-valid",
        )


class _Overlays:
    """The overlays of a plan; what clusters share is written once."""

    def __init__(self, plan: Plan, base: Json) -> None:
        self.plan, self.base = plan, base
        self._whole: dict[int, dict[str, Block]] = {}
        self._endpoints: dict[str, Block] = {}

    def of(self, member: Member) -> dict[str, object]:
        """What the mesh sets in the control plane of one cluster."""
        cluster, mesh = member.cluster, self.plan.topology.mesh_id
        networks: object = {}
        if cluster.joined:
            networks = block(
                {"networks": {n.name: self._network(n, member) for n in member.networks}}
            )
        made: dict[str, object] = {
            "gateways": {"istio-ingressgateway": {"env": {"ISTIO_MESH_NETWORK": cluster.network}}},
            "global": {
                "controlPlaneSecurityEnabled": True,
                "meshNetworks": Whole(networks),
                "multiCluster": {"clusterName": cluster.name},
                "network": cluster.network,
            },
            "pilot": {"meshNetworks": Whole(networks)},
            "security": {"selfSigned": False},
        }
        # istioctl lays these over the values, so that what the mesh sets has to be set here too.
        unvalidated: dict[str, Any] = shared(
            values.stated(self.base, ("spec",)).get("unvalidatedValues"), made
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
            dict(values.stated(self.base, ("spec",))),
            self.plan.topology,
            needed=False,
        )
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": "default", "namespace": OPERATOR_NAMESPACE},
            "spec": images.with_hub(spec, hub),
        }

    def _network(self, network: Network, member: Member) -> object:
        if network.name == member.cluster.network:
            return self._made(network, member.cluster.name)
        shared = self._whole.setdefault(id(member.networks), {})
        if network.name not in shared:
            shared[network.name] = block(self._made(network, None))
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
            self._endpoints[registry] = block({"fromRegistry": registry})
        return self._endpoints[registry]


def lost_settings(plan: Plan, documents: Mapping[str, Document]) -> list[Problem]:
    """The values of base.yaml that the mesh replaces, each with its line."""
    overlays = _Overlays(plan, documents[KIND].value)
    return replaced_problems(
        documents, ((KIND, overlays.of(member)) for member in plan.members.values()), plan, STARTER
    )


def control_plane(
    plan: Plan, base: Mapping[str, Document]
) -> Callable[[Member], Iterator[tuple[str, str]]]:
    """For a cluster the files of its control plane, each with its text."""
    value = base[KIND].value if KIND in base else DEFAULT_BASE
    overlays = _Overlays(plan, value)

    def of(member: Member) -> Iterator[tuple[str, str]]:
        yield "istiocontrolplane.yaml", document(merge(value, overlays.of(member)))

    return of
