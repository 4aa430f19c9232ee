"""What the topology says of gateways that this kind of control plane, or istiod, cannot do."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.istio import versions
from kubectl_mesh.model import Cluster, Topology
from kubectl_mesh.model.address import is_address
from kubectl_mesh.text import first_names, value_text


def _stated_gateways(topology: Topology) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    value: Any = topology.document.value
    for path, entry in [((), value), *((("contexts", c), e) for c, e in value["contexts"].items())]:
        if "eastWestGateway" in entry:
            yield (*path, "eastWestGateway"), entry["eastWestGateway"]


def gateway_problems(topology: Topology, kind: str, gateways: tuple[str, ...]) -> Iterator[Problem]:
    """Gateways of a kind that nothing makes, and clusters and networks without the gateway that
    they need; `gateways` are the kinds that a base.yaml of `kind` can have.
    """
    for path, entry in _stated_gateways(topology):
        yield from _kind_problems(topology, path, entry, (kind, gateways))
        yield from _replica_problems(topology, path, entry)
    joined = [c for c in topology.clusters if c.is_joined]
    serving = {c.primary for c in joined}
    for cluster in joined:
        yield from _cluster_problems(topology, cluster, serves=cluster.name in serving)
    networks = _clusters_by_network(topology)
    if len(networks) > 1:
        for network, clusters in sorted(networks.items()):
            yield from _network_problems(topology, network, clusters)


Entry = Mapping[str, Any]
KeyPath = tuple[str | int, ...]


def _kind_problems(
    topology: Topology, path: KeyPath, entry: Entry, known: tuple[str, tuple[str, ...]]
) -> Iterator[Problem]:
    """A stated kind of gateway that the control plane does not make."""
    place = topology.document.field_place
    wanted, (kind, gateways) = entry.get("kind"), known
    if topology.is_ambient:
        if wanted not in (None, "Gateway"):
            yield Problem(
                place(*path, "kind"),
                f"ambient has east-west gateways of kind Gateway only, not {wanted}",
                "remove it",
                "ambient",
                code="gateway-kind-not-ambient",
            )
        if "port" in entry:
            yield ambient_port_problem(place(*path, "port"))
    elif wanted is not None and wanted not in gateways:
        yield Problem(
            place(*path, "kind"),
            f"with a base.yaml of kind {kind} nothing makes a gateway of kind {wanted}",
            f"write one of {', '.join(gateways)}",
            "gateway-kind",
            code="gateway-kind-not-made",
        )


def ambient_port_problem(place: Place) -> Problem:
    """A port of a gateway of ambient."""
    return Problem(
        place,
        "ambient has one port between networks, 15008, which cannot be changed",
        "remove it",
        "ambient",
        code="ambient-port-fixed",
    )


def _replica_problems(topology: Topology, path: KeyPath, entry: Entry) -> Iterator[Problem]:
    """A number of pods for a gateway whose pods istiod makes."""
    wanted = entry.get("kind")
    by_default = wanted is None and topology.is_ambient
    if "replicas" not in entry or not (wanted == "Gateway" or by_default):
        return
    yield Problem(
        topology.document.field_place(*path, "replicas"),
        "istiod makes the pods of a Gateway, and how many is for a HorizontalPodAutoscaler to say",
        "remove it" if topology.is_ambient else "remove it, or write kind: Deployment",
        "gateway-kind",
        code="gateway-replicas-not-settable",
    )


def _clusters_by_network(topology: Topology) -> dict[str, list[Cluster]]:
    """The clusters that take part in the mesh, by their network."""
    found: dict[str, list[Cluster]] = {}
    for cluster in topology.clusters:
        if cluster.is_joined:
            found.setdefault(cluster.network, []).append(cluster)
    return found


def _is_declared(topology: Topology, network: str, clusters: list[Cluster]) -> bool:
    """Whether the topology states gateways of a network."""
    return bool(
        topology.networks.get(network)
        or any(c.gateways for c in clusters)
        or network in topology.pending_networks
    )


def _cluster_problems(topology: Topology, cluster: Cluster, *, serves: bool) -> Iterator[Problem]:
    """A gateway of a cluster that cannot do what the cluster needs it for; `serves`: others have
    their control plane from it.
    """
    wanted = cluster.east_west
    if (
        _is_declared(topology, cluster.network, [cluster])
        and wanted.kind == "Gateway"
        and wanted.enabled
        and not topology.is_ambient
    ):
        yield Problem(
            cluster.place,
            "has declared gateways, and one of the Gateway API would be found beside them, for the"
            " label that it needs",
            "write another kind of eastWestGateway for it, or enabled: false",
            "gateway-kind",
            code="gateway-found-next-to-declared",
        )
    if serves and wanted.kind == "Gateway":
        yield Problem(
            cluster.place,
            "serves clusters without a control plane, and a gateway of the Gateway API cannot"
            " expose istiod to them",
            "write another kind of eastWestGateway for it",
            "gateway-kind",
            code="gateway-cannot-expose-istiod",
        )
    elif serves and not wanted.enabled:
        yield Problem(
            cluster.place,
            "serves clusters without a control plane, which reach its istiod by the east-west"
            " gateway",
            "remove enabled: false of its eastWestGateway",
            "gateway-kind",
            code="gateway-needed-by-served-clusters",
        )


def _network_problems(
    topology: Topology, network: str, clusters: list[Cluster]
) -> Iterator[Problem]:
    """A network without a way in."""
    if _is_declared(topology, network, clusters) or any(c.east_west.enabled for c in clusters):
        return
    yield Problem(
        clusters[0].place,
        f"the network {value_text(network)} has no gateway: none of its clusters has one, and no"
        " address"
        " is declared",
        f"enable an eastWestGateway there, or state networks.{network}.gateways",
        "gateway-pending",
        code="network-without-gateway",
    )


NODE_SELECTOR = "traffic.istio.io/nodeSelector"
"""The annotation that makes istiod take the ExternalIPs of nodes for a Service of type NodePort
(pilot/pkg/serviceregistry/kube/conversion.go).
"""


def gateway_address_problems(
    topology: Topology, default: str, chart: Mapping[str, Any] | None = None
) -> Iterator[Problem]:
    """Networks whose gateways give istiod no address: istiod reads one from a load balancer,
    `externalIPs`, or the nodes that an annotation selects.

    `default` is the kind of a gateway that states none, `chart` what base.yaml states for the
    Service of the gateway chart.
    """
    networks = _clusters_by_network(topology)
    if len(networks) < 2:
        return
    found: dict[tuple[Place, _Fault], list[str]] = {}
    for network, clusters in sorted(networks.items()):
        enabled = [c for c in clusters if c.east_west.enabled]
        service = {
            c.name: (
                chart or {}
                if (c.east_west.kind or default) == "Chart" and not topology.is_ambient
                else {}
            )
            for c in enabled
        }
        faults = {
            c.name: fault
            for c in enabled
            if (fault := _address_fault(c, service[c.name], ambient=topology.is_ambient))
            is not None
        }
        if _is_declared(topology, network, clusters) or len(faults) < len(enabled):
            continue
        for cluster in enabled:
            named = found.setdefault(
                (_service_type_place(topology, cluster), faults[cluster.name]), []
            )
            named += [network] if network not in named else []
    for (place, fault), named in found.items():
        fix = f"state networks.{named[0]}.gateways, or write serviceType: LoadBalancer"
        if fault.selects_nodes:
            fix += (
                f", or add the annotation {NODE_SELECTOR}: '{{}}' if the nodes have an ExternalIP"
            )
        yield Problem(
            place,
            f"{fault.text}, so that {first_names(named)} cannot be reached",
            fix,
            "gateway-found",
            code="gateway-without-address",
        )


class _Fault(NamedTuple):
    """Why istiod finds no address of a gateway."""

    text: str
    selects_nodes: bool = False
    """The annotation that selects nodes is missing or invalid."""


def _address_fault(cluster: Cluster, service: Mapping[str, Any], *, ambient: bool) -> _Fault | None:
    """Why istiod finds no address of a cluster's gateway; None where it finds one."""
    wanted = cluster.east_west
    annotations = {
        **(stated if isinstance(stated := service.get("annotations"), dict) else {}),
        **dict(wanted.annotations),
    }
    if wanted.service_type == "LoadBalancer" or service.get("externalIPs"):
        return None
    if wanted.service_type != "NodePort":
        return _Fault(
            f"istiod reads no address from a Service of type {wanted.service_type} without"
            " externalIPs"
        )
    if ambient:
        return _Fault("istiod does not map the port 15008 of an ambient gateway to a node port")
    selector = annotations.get(NODE_SELECTOR)
    if selector is None:
        what = "istiod reads no address from a Service of type NodePort without the annotation"
        return _Fault(f"{what} {NODE_SELECTOR}", selects_nodes=True)
    if _is_selector(selector):
        return None
    what = f"the annotation {NODE_SELECTOR} is not a JSON object of node labels, such as '{{}}'"
    return _Fault(what, selects_nodes=True)


def _is_selector(text: object) -> bool:
    try:
        value = json.loads(str(text))
    except ValueError:
        return False
    return isinstance(value, dict) and all(isinstance(v, str) for v in value.values())


def _service_type_place(topology: Topology, cluster: Cluster) -> Place:
    """Where the type of a cluster's gateway Service is stated."""
    value: Any = topology.document.value
    own = "serviceType" in value["contexts"][cluster.context].get("eastWestGateway", {})
    return topology.document.field_place(
        *(("contexts", cluster.context) if own else ()), "eastWestGateway", "serviceType"
    )


def host_name_places(topology: Topology) -> Iterator[Place]:
    """The places of gateway addresses that are host names."""
    value: Any = topology.document.value
    for top in ("networks", "contexts"):
        for name, entry in value.get(top, {}).items():
            for index, gateway in enumerate(entry.get("gateways", ())):
                if gateway["address"] != "pending" and not is_address(gateway["address"]):
                    yield topology.document.field_place(top, name, "gateways", index, "address")


def host_name_warnings(topology: Topology) -> Iterator[Problem]:
    """Host names of gateways, where Istio looks them up once or never."""
    old = min(
        (versions.minor_version(r.version) for c in topology.clusters for r in c.releases),
        default=versions.NEWEST_MINOR,
    )
    if old >= versions.SINCE_HOST_NAMES:
        return
    what = (
        f"is a host name, which Istio 1.{old} drops or looks up once; since"
        f" 1.{versions.SINCE_HOST_NAMES} it looks names up again and again"
    )
    for place in host_name_places(topology):
        yield host_name_problem(place, what)


def host_name_problem(place: Place, what: str) -> Problem:
    """A host name that Istio does not look up again."""
    return Problem(
        place,
        what,
        "give the IP addresses",
        "gateway-address",
        code="gateway-address-is-host-name",
    )
