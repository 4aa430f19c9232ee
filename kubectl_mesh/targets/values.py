"""What the mesh sets in istiod's values, the same whether Sail, istioctl or a Helm chart reads
them.

Istio's operator/pkg/apis/values_types.proto and
manifests/charts/istio-control/istio-discovery/values.yaml.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.istio import versions
from kubectl_mesh.istio.east_west_gateway import elsewhere
from kubectl_mesh.model import DEFAULT_READER, Document, Json, Member, Plan, Topology
from kubectl_mesh.text import shown
from kubectl_mesh.yaml_io.manifest import block
from kubectl_mesh.yaml_io.merge_patch import Whole
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
            n: NEEDED[m.cluster.credential.way]
            for n, m in plan.members.items()
            if m.cluster.credential.way in NEEDED
        }

    def of(self, member: Member, base: Json) -> dict[str, object]:
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
            overall["remotePilotAddress"] = member.primary.address
            path = "/".join(
                part.replace("/", "--slash--")
                for part in ("cluster", cluster.name, "net", cluster.network)
            )
            values["istiodRemote"] = {"injectionPath": f"/inject/{path}"}
        if member.serves:
            overall["externalIstiod"] = True
        declared = elsewhere(member)
        if declared and not topology.ambient:
            overall["meshNetworks"] = Whole({n.name: self._network(n.name, n) for n in declared})
        env: dict[str, object] = {}
        if topology.issuer == "istio-csr":
            overall["caAddress"] = CA_ADDRESS
            env["ENABLE_CA_SERVER"] = "false"
        if topology.ambient and self.plan.several_networks:
            env["AMBIENT_ENABLE_MULTI_NETWORK"] = "true"
        needed = (
            {way for name, way in self._needed.items() if name in set(member.peers)}
            if self._needed
            else set()
        )
        if needed:
            stated = _at(base, ("pilot", "env", ALLOWED))
            already = (
                {part.strip() for part in stated.split(",") if part.strip()}
                if isinstance(stated, str)
                else set()
            )
            env[ALLOWED] = ",".join(sorted(needed | already))
        mesh: dict[str, object] = (
            {} if topology.trust_domain is None else {"trustDomain": topology.trust_domain}
        )
        if (
            self.plan.rotating
            and member.primary is None
            and all(versions.minor(r.version) >= versions.ROOTS for r in cluster.releases)
        ):
            env[MULTIROOT] = "true"
            mesh["defaultConfig"] = {"proxyMetadata": {XDS_AGENT: "true"}}
        if env:
            values["pilot"] = {"env": env}
        if mesh:
            values["meshConfig"] = mesh
        return values

    def _network(self, name: str, network: Any) -> Block:
        if name not in self._networks:
            gateways = [{"address": g.address, "port": g.port} for g in network.gateways]
            self._networks[name] = block(
                {"endpoints": [{"fromRegistry": c} for c in network.clusters], "gateways": gateways}
            )
        return self._networks[name]


def ztunnel(topology: Topology) -> dict[str, Json]:
    """What ztunnel has to be told beyond where it is."""
    return {"caAddress": CA_ADDRESS} if topology.issuer == "istio-csr" else {}


def _at(value: Json, path: Path) -> Json:
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


def problems(
    base: Document, path: Path, topology: Topology, mesh: Path | None = None
) -> Iterator[Problem]:
    """Values that Istio takes, and that break a mesh of several clusters.

    `path` is where the values stand in `base`, `mesh` where a meshConfig stands that is not among
    them.
    """

    def where(keys: tuple[str | int, ...]) -> Path:
        beside = (
            mesh is not None and keys[0] == "meshConfig" and _at(base.value, (*path, *keys)) is None
        )
        return (*(mesh or ()), *keys[1:]) if beside else (*path, *keys)

    def at(*keys: str) -> Any:
        return _at(base.value, where(keys))

    def place(*keys: str | int) -> Any:
        return base.place(*where(keys))

    if at("global", "enableReaderRBAC") is False:
        what = (
            "takes away the account as which the peers read a cluster, so that none discovers"
            " another"
        )
        yield Problem(place("global", "enableReaderRBAC"), what, "remove it", "base-reader")
    charts = isinstance(base.value, dict) and base.value.get("kind") in (
        "Application",
        "HelmRelease",
    )
    yield from reader_problems(base, path, topology, creates=not charts)
    yield from _tag_problems(at("revisionTags"), place("revisionTags"), topology)
    networks = at("global", "meshNetworks")
    for name, network in networks.items() if isinstance(networks, dict) else ():
        endpoints = network.get("endpoints") if isinstance(network, dict) else None
        for index, endpoint in enumerate(endpoints if isinstance(endpoints, list) else []):
            if isinstance(endpoint, dict) and endpoint.get("fromRegistry") == "Kubernetes":
                found = place("global", "meshNetworks", name, "endpoints", index, "fromRegistry")
                what = (
                    '"Kubernetes" is what a cluster called itself up to Istio 1.5; istiod refuses'
                    " the whole of meshNetworks for it"
                )
                yield Problem(
                    found,
                    what,
                    "name the cluster; or remove it, for the mesh sets what is needed",
                    "base-registry",
                )
    mesh_id = at("meshConfig", "defaultConfig", "meshId")
    if isinstance(mesh_id, str) and mesh_id != topology.mesh_id:
        what = (
            f"gives the proxies another mesh than {shown(topology.mesh_id)}, which is the mesh_id"
            " of the topology"
        )
        yield Problem(
            place("meshConfig", "defaultConfig", "meshId"), what, "remove it", "base-identity"
        )
    for key in ("ISTIO_META_NETWORK", "ISTIO_META_CLUSTER_ID", "ISTIO_META_MESH_ID"):
        if at("meshConfig", "defaultConfig", "proxyMetadata", key) is not None:
            what = (
                "gives the proxies of all clusters the same, so that they contradict what istiod"
                " knows of their cluster"
            )
            yield Problem(
                place("meshConfig", "defaultConfig", "proxyMetadata", key),
                what,
                "remove it: the mesh sets it for each cluster",
                "base-identity",
            )
    for key in ("CLUSTER_ID", "EXTERNAL_ISTIOD"):
        if at("pilot", "env", key) is not None:
            yield Problem(
                place("pilot", "env", key),
                "gives istiod of all clusters the same",
                "remove it: the mesh sets it where it is needed",
                "base-identity",
            )
    yield from _contradictions(at, place, topology)
    domain, aliases = at("meshConfig", "trustDomain"), at("meshConfig", "trustDomainAliases")
    known = aliases if isinstance(aliases, list) else []
    if (
        isinstance(domain, str)
        and topology.trust_domain not in (None, domain)
        and domain not in known
    ):
        what = (
            f"is another trust domain than {shown(topology.trust_domain)} of the topology;"
            " workloads that still have it would be refused"
        )
        yield Problem(
            place("meshConfig", "trustDomain"),
            what,
            f"remove one of the two, or list {shown(domain)} in meshConfig.trustDomainAliases",
            "trust-domain",
        )
    secrets = at("pilot", "env", "PILOT_MULTICLUSTER_KUBECONFIG_PATH")
    if secrets is not None:
        what = "makes istiod read kubeconfigs from files and pass over every remote secret"
        yield Problem(
            place("pilot", "env", "PILOT_MULTICLUSTER_KUBECONFIG_PATH"),
            what,
            "remove it",
            "base-reader",
        )


def _contradictions(
    at: Callable[..., Any], place: Callable[..., Any], topology: Topology
) -> Iterator[Problem]:
    """Settings that take away what every cluster with a control plane of its own needs."""
    own = "remove it: the mesh sets it where it is needed"
    if at("pilot", "enabled") is False:
        yield Problem(
            place("pilot", "enabled"),
            "leaves every cluster without istiod",
            "remove it, and use contexts.CTX.controlPlane",
            "base-identity",
        )
    if at("global", "remotePilotAddress") not in (None, ""):
        what = "gives every cluster the istiod of another one"
        yield Problem(
            place("global", "remotePilotAddress"),
            what,
            f"{own} (contexts.CTX.controlPlane)",
            "base-identity",
        )
    server = at("pilot", "env", "ENABLE_CA_SERVER")
    if str(server).lower() == "false" and topology.issuer != "istio-csr":
        what = "keeps istiod from signing with the intermediates of the mesh"
        yield Problem(
            place("pilot", "env", "ENABLE_CA_SERVER"),
            what,
            "remove it; certificates.issuer: istio-csr sets it",
            "base-identity",
        )


def reader_problems(
    base: Document, path: Path, topology: Topology, *, creates: bool
) -> Iterator[Problem]:
    """A reader account in values (Istio 1.31) that does not leave the topology's reader with its
    rights.

    The charts bind the readers' role to it, and `creates` says whether these values also stop the
    default account from being created.
    """
    where = (*path, "global", "readerServiceAccount")
    account = _at(base.value, where)
    name = account.get("name") if isinstance(account, dict) else None
    if not isinstance(account, dict) or not name:
        return
    for cluster in topology.clusters:
        reader = f"{cluster.namespace}/{cluster.reader}"
        what = ""
        if (name, account.get("namespace")) != (cluster.reader, cluster.namespace):
            what = (
                f"gives the readers' rights to another account than {reader}, which the peers of"
                f" {cluster.name} use"
            )
        elif creates and name == DEFAULT_READER and not topology.reader_per_peer:
            what = f"stops the charts from creating {reader}, which the peers of {cluster.name} use"
        if what:
            fix = (
                "remove it; if the account has another name, state"
                f" contexts.{cluster.context}.serviceAccountReader"
            )
            yield Problem(base.place(*where), what, fix, "base-reader")
            return


def _tag_problems(tags: Json, place: Place, topology: Topology) -> Iterator[Problem]:
    """Revision tags that each control plane of a cluster would claim: base.yaml is for all of
    them.
    """
    names = [str(tag) for tag in tags] if isinstance(tags, list) else []
    if not names:
        return
    for cluster in topology.clusters:
        revisions = [release.revision or "default" for release in cluster.releases]
        same = sorted(set(names) & set(revisions))
        if len(revisions) > 1:
            what = f"is claimed by the revisions {' and '.join(revisions)} of {cluster.name}"
            fix = (
                f"remove it, and run: istioctl --context={cluster.context} tag set {names[0]}"
                f" --revision {revisions[0]}"
            )
        elif same:
            what, fix = (
                f"has the tag {shown(same[0])}, which is a revision of {cluster.name}",
                "give the tag another name",
            )
        else:
            continue
        yield Problem(place, what, fix, "revision-tag")
        return


def stated(value: Json, path: Path) -> Mapping[str, Any]:
    """The values at a path of a base, or none."""
    found = _at(value, path)
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


def schema(read: Read, *, chart: bool, more: Mapping[str, object]) -> dict[str, object]:
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


def mesh_config(read: Read) -> Mapping[str, object]:
    """The schema of Istio's MeshConfig."""
    found: Mapping[str, object] = read(_ISTIO)["properties"]["spec"]["properties"]["values"][
        "properties"
    ]["meshConfig"]
    return found
