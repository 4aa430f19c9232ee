"""What the mesh sets in istiod's values, the same whether Sail, istioctl or a Helm chart reads
them.

Istio's operator/pkg/apis/values_types.proto and
manifests/charts/istio-control/istio-discovery/values.yaml.
"""

from collections.abc import Callable, Mapping
from typing import Any

from kubectl_mesh.istio import versions
from kubectl_mesh.istio.east_west_gateway import remote_networks
from kubectl_mesh.model import Json, Member, Plan, Topology
from kubectl_mesh.yaml_io.manifest import build_block
from kubectl_mesh.yaml_io.merge_patch import Replacement
from kubectl_mesh.yaml_io.write import Block

ALLOWED = "PILOT_INSECURE_MULTICLUSTER_KUBECONFIG_OPTIONS"
"""istiod's environment variable that lists what a remote secret may ask for beyond a token
(pkg/kube/util.go).
"""
NEEDED = {"exec": "exec"}
"""What a way to log in needs to be listed there; the others are embedded, and pass."""

MULTIROOT, XDS_AGENT = "ISTIO_MULTIROOT_MESH", "PROXY_CONFIG_XDS_AGENT"
"""What makes istiod take another bundle of roots without a restart, and the proxies with it
(pilot/pkg/features, pkg/istio-agent).
"""

CA_ADDRESS = "cert-manager-istio-csr.cert-manager.svc:443"
"""Where istio-csr is reached in its cluster, as its chart has it."""

Path = tuple[str | int, ...]


class Values:
    """The overlays of a plan on istiod's values; what clusters share is written once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._networks: dict[str, Block] = {}
        self._needed = {
            n: NEEDED[m.cluster.credential.kind]
            for n, m in plan.members.items()
            if m.cluster.credential.kind in NEEDED
        }

    def build_overlay(self, member: Member, base: Json) -> dict[str, object]:
        """What the mesh sets for one cluster. `base` are the values it is laid over, for a list is
        replaced as a whole.
        """
        cluster, topology = member.cluster, self.plan.topology
        overall: dict[str, object] = {
            "istioNamespace": cluster.namespace,
            "meshID": topology.mesh_id,
            "multiCluster": {"clusterName": cluster.name},
            "network": cluster.network,
        }
        values: dict[str, object] = {"global": overall}
        if member.primary is not None:
            overall["remotePilotAddress"] = member.primary.istiod_address
            path = "/".join(
                part.replace("/", "--slash--")
                for part in ("cluster", cluster.name, "net", cluster.network)
            )
            values["istiodRemote"] = {"injectionPath": f"/inject/{path}"}
        if member.is_primary:
            overall["externalIstiod"] = True
        declared = remote_networks(member)
        if declared and not topology.is_ambient:
            overall["meshNetworks"] = Replacement(
                {n.name: self._network(n.name, n) for n in declared}
            )
        if topology.issuer_kind.signs_workloads:
            overall["caAddress"] = CA_ADDRESS
        if env := self._environment(member, base):
            values["pilot"] = {"env": env}
        mesh: dict[str, object] = (
            {} if topology.trust_domain is None else {"trustDomain": topology.trust_domain}
        )
        if self._reloads_roots(member):
            mesh["defaultConfig"] = {"proxyMetadata": {XDS_AGENT: "true"}}
        if mesh:
            values["meshConfig"] = mesh
        return values

    def _environment(self, member: Member, base: Json) -> dict[str, object]:
        """The environment of istiod in one cluster."""
        topology = self.plan.topology
        env: dict[str, object] = {}
        if topology.issuer_kind.signs_workloads:
            env["ENABLE_CA_SERVER"] = "false"
        if topology.is_ambient and self.plan.has_several_networks:
            env["AMBIENT_ENABLE_MULTI_NETWORK"] = "true"
        needed = (
            {way for name, way in self._needed.items() if name in set(member.peers)}
            if self._needed
            else set()
        )
        if needed:
            stated = value_at(base, ("pilot", "env", ALLOWED))
            already = (
                {part.strip() for part in stated.split(",") if part.strip()}
                if isinstance(stated, str)
                else set()
            )
            env[ALLOWED] = ",".join(sorted(needed | already))
        if self._reloads_roots(member):
            env[MULTIROOT] = "true"
        return env

    def _reloads_roots(self, member: Member) -> bool:
        """Whether istiod takes another bundle of roots while it runs."""
        return (
            self.plan.is_rotating_root
            and member.primary is None
            and all(
                versions.minor_version(r.version) >= versions.SINCE_ROOTS
                for r in member.cluster.releases
            )
        )

    def _network(self, name: str, network: Any) -> Block:
        if name not in self._networks:
            gateways = [{"address": g.address, "port": g.port} for g in network.gateways]
            self._networks[name] = build_block(
                {"endpoints": [{"fromRegistry": c} for c in network.clusters], "gateways": gateways}
            )
        return self._networks[name]


def ztunnel_values(topology: Topology) -> dict[str, Json]:
    """What ztunnel has to be told beyond where it is."""
    return {"caAddress": CA_ADDRESS} if topology.issuer_kind.signs_workloads else {}


def value_at(value: Json, path: Path) -> Json:
    """What is at a path of a value; None where nothing is."""
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


def stated_values(value: Json, path: Path) -> Mapping[str, Any]:
    """The values at a path of a base, or none."""
    found = value_at(value, path)
    return found if isinstance(found, dict) else {}


_ISTIO = "kinds/istio-sailoperator-v1.json"
_ANY: dict[str, object] = {}
_CHART: tuple[tuple[str, ...], ...] = (
    ("pilot", "deploymentAnnotations"),
    ("pilot", "initContainers"),
    ("pilot", "pdb"),
    ("pilot", "sidecarInjectorWebhookAnnotations"),
    ("pilot", "terminationMessagePolicy"),
    ("pilot", "trafficDistribution"),
    ("pilot", "trustedZtunnelName"),
    ("base", "enableCRDTemplates"),
    ("base", "enableIstioConfigCRDs"),
    ("base", "validateGateway"),
    ("base", "validationFailurePolicy"),
    ("global", "profile"),
    ("global", "proxy", "capNetBindService"),
    ("global", "proxy", "variant"),
    ("global", "proxy_init", "forceApplyIptables"),
    ("global", "trustDomain"),
    ("global", "waypoint", "nodeSelector"),
    ("global", "waypoint", "tolerations"),
)
"""What istiod's chart reads and the typed schema of Istio's values does not list (manifests/charts
of 1.30 and 1.31).
"""
_ISTIOCTL: tuple[tuple[str, ...], ...] = (
    ("base", "enableCRDTemplates"),
    ("base", "enableIstioConfigCRDs"),
    ("base", "validateGateway"),
    ("pilot", "cni", "chained"),
)
"""What istioctl reads and the typed schema does not list (operator/pkg/apis/values_types.proto)."""
Read = Callable[[str], Mapping[str, Any]]


def values_schema(read: Read, *, chart: bool, more: Mapping[str, object]) -> dict[str, object]:
    """The schema of istiod's values: those of the kind Istio, and `more`; `chart` for what the Helm
    chart takes beyond istioctl.

    The chart takes what is below `pilot` at the top as well (its zzy_descope_legacy.yaml).
    """
    typed = read(_ISTIO)["properties"]["spec"]["properties"]["values"]
    known: dict[str, Any] = dict(typed["properties"])
    top: Mapping[str, object] = {}
    for path in _CHART if chart else _ISTIOCTL:
        known = _with_field(known, path)
    if chart:
        top = known["pilot"]["properties"]
    beside = {
        "gateways": _GATEWAYS,
        "ownerName": {"type": "string"},
        "revisionTags": {"type": "array"},
        **({"platform": {"type": "string"}} if chart else {}),
    }
    return {
        "additionalProperties": False,
        "properties": {**top, **beside, **known, **more},
        "type": "object",
    }


def _with_field(known: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The properties of a schema with one more field, whatever its type; those above it that take
    any field stay as they are.
    """
    key, rest = path[0], path[1:]
    if not rest:
        return {**known, key: known.get(key, _ANY)}
    inner = known.get(key)
    if inner is None or "properties" not in inner:
        return dict(known)
    return {**known, key: {**inner, "properties": _with_field(inner["properties"], rest)}}


_GATEWAYS = {
    "additionalProperties": False,
    "properties": {"securityContext": _ANY, "seccompProfile": _ANY},
    "type": "object",
}


def mesh_config_schema(read: Read) -> Mapping[str, object]:
    """The schema of Istio's MeshConfig."""
    found: Mapping[str, object] = read(_ISTIO)["properties"]["spec"]["properties"]["values"][
        "properties"
    ]["meshConfig"]
    return found
