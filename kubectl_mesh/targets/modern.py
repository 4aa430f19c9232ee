"""What the targets of today's Istio share: what their clusters may ask for, and how Istio leaves
them.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.istio import versions
from kubectl_mesh.istio.east_west_gateway import HBONE_PORT, TLS_PORT
from kubectl_mesh.model import Cluster, Topology
from kubectl_mesh.model.address import is_address
from kubectl_mesh.model.commands import address_command
from kubectl_mesh.plan import Traits, peers_of
from kubectl_mesh.text import shown


def traits(kind: str, topology: Topology) -> Traits:
    """The plan's traits where istiod finds gateways by labels."""
    return Traits(
        gateway_port=HBONE_PORT if topology.ambient else TLS_PORT,
        gateway_command=address_command,
        labels=True,
        gateway_kind=kind,
    )


def stated_versions(topology: Topology) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every version in the topology, with its path."""
    value: Any = topology.document.value
    entries = [(("istio",), value.get("istio", {}))] + [
        (("contexts", c, "istio"), e.get("istio", {})) for c, e in value["contexts"].items()
    ]
    for path, entry in entries:
        if "version" in entry:
            yield (*path, "version"), entry["version"]
        if "canary" in entry:
            yield (*path, "canary", "version"), entry["canary"]["version"]


ISSUERS = {
    "cert-manager": (versions.TLS_CACERTS, "reads cacerts as cert-manager writes it"),
    "istio-csr": (versions.ISTIO_CSR, "loads what istio-csr gives it"),
}
"""Since when istiod works with an issuer in its cluster, and what it does then."""


def issuers(topology: Topology) -> Iterator[Problem]:
    """An issuer in the cluster that Istio is too old for."""
    if topology.own_intermediates:
        return
    place = topology.document.place
    since, does = ISSUERS[topology.issuer]
    for path, version in stated_versions(topology):
        if versions.minor(version) < since:
            what = f"istiod {does} since 1.{since}, and {version} is older"
            yield Problem(
                place(*path),
                what,
                f"write issuer: local or csr, or take Istio 1.{since} or newer",
                "istio-version",
            )


def problems(
    topology: Topology,
    kind: str,
    oldest: int,
    tools: tuple[str, ...],
    gateways: tuple[str, ...],
    *,
    exact: bool,
) -> Iterator[Problem]:
    """What the topology asks for that this kind of control plane, or Istio itself, cannot give.

    `oldest` is the first minor that reads the kind, `tools` may deliver it, `gateways` it can make;
    `exact` wants whole versions.
    """
    place = topology.document.place
    yield from issuers(topology)
    for path, version in stated_versions(topology):
        minor = versions.minor(version)
        if minor < oldest:
            other = (
                "use a base.yaml of kind IstioControlPlane (1.4) or IstioOperator (1.5 and later)"
            )
            yield Problem(
                place(*path),
                f"nothing reads an {kind} in Istio {version}; it is for 1.{oldest} and later",
                other,
                "istio-version",
            )
        elif exact and not versions.exact(version):
            what = f"Istio {version} is a line of releases, and a chart is pinned to one"
            yield Problem(
                place(*path),
                what,
                f'write the whole version, such as "{version}.0"',
                "istio-version",
            )
        elif topology.ambient and minor < versions.AMBIENT and len(topology.clusters) > 1:
            what = f"ambient over several clusters begins with Istio 1.{versions.AMBIENT}"
            yield Problem(
                place(*path), what, "write a later version, or dataPlane: sidecar", "ambient"
            )
    if topology.delivery.tool not in tools:
        what = f"{topology.delivery.tool} does not deliver a control plane of kind {kind}"
        why = (
            "nothing in a cluster reads it"
            if kind == "IstioOperator"
            else f"its objects are for {'Argo CD' if kind == 'Application' else 'Flux'}"
        )
        yield Problem(
            place("delivery", "tool"),
            f"{what}: {why}",
            f"write tool: {' or '.join(tools)}, or use a base.yaml of another kind",
            "delivery-target",
        )
    yield from _gateways(topology, kind, gateways)
    yield from _ambient(topology)
    yield from _namespaces(topology)
    yield from _remotes(topology)


def _stated_gateways(topology: Topology) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    value: Any = topology.document.value
    for path, entry in [((), value), *((("contexts", c), e) for c, e in value["contexts"].items())]:
        if "eastWestGateway" in entry:
            yield (*path, "eastWestGateway"), entry["eastWestGateway"]


def _gateways(topology: Topology, kind: str, gateways: tuple[str, ...]) -> Iterator[Problem]:
    place = topology.document.place
    for path, entry in _stated_gateways(topology):
        wanted = entry.get("kind")
        if topology.ambient:
            if wanted not in (None, "Gateway"):
                yield Problem(
                    place(*path, "kind"),
                    f"ambient has east-west gateways of kind Gateway only, not {wanted}",
                    "remove it",
                    "ambient",
                )
            if "port" in entry:
                yield Problem(
                    place(*path, "port"),
                    "ambient has one port between networks, 15008, which cannot be changed",
                    "remove it",
                    "ambient",
                )
        elif wanted is not None and wanted not in gateways:
            fix = f"write one of {', '.join(gateways)}"
            yield Problem(
                place(*path, "kind"),
                f"with a base.yaml of kind {kind} nothing makes a gateway of kind {wanted}",
                fix,
                "gateway-kind",
            )
        if wanted in (None, "Gateway") and topology.ambient and "replicas" in entry:
            what = (
                "istiod makes the pods of a Gateway, and how many is for a HorizontalPodAutoscaler"
                " to say"
            )
            yield Problem(place(*path, "replicas"), what, "remove it", "gateway-kind")
        elif wanted == "Gateway" and "replicas" in entry:
            what = (
                "istiod makes the pods of a Gateway, and how many is for a HorizontalPodAutoscaler"
                " to say"
            )
            yield Problem(
                place(*path, "replicas"),
                what,
                "remove it, or write kind: Deployment",
                "gateway-kind",
            )
    joined = [c for c in topology.clusters if c.joined]
    served = {c.primary for c in joined if c.primary is not None}
    networks: dict[str, list[Cluster]] = {}
    for cluster in joined:
        networks.setdefault(cluster.network, []).append(cluster)
        declared = (
            cluster.gateways
            or topology.networks.get(cluster.network)
            or cluster.network in topology.awaited
        )
        if (
            declared
            and cluster.east_west.kind == "Gateway"
            and cluster.east_west.enabled
            and not topology.ambient
        ):
            what = (
                "has declared gateways, and one of the Gateway API would be found beside them, for"
                " the label that it needs"
            )
            yield Problem(
                cluster.place,
                what,
                "write another kind of eastWestGateway for it, or enabled: false",
                "gateway-kind",
            )
        if cluster.name in served and cluster.east_west.kind == "Gateway":
            what = (
                "serves clusters without a control plane, and a gateway of the Gateway API cannot"
                " expose istiod to them"
            )
            yield Problem(
                cluster.place, what, "write another kind of eastWestGateway for it", "gateway-kind"
            )
        elif cluster.name in served and not cluster.east_west.enabled:
            what = (
                "serves clusters without a control plane, which reach its istiod by the east-west"
                " gateway"
            )
            yield Problem(
                cluster.place, what, "remove enabled: false of its eastWestGateway", "gateway-kind"
            )
    if len(networks) > 1:
        for network, clusters in sorted(networks.items()):
            declared = (
                topology.networks.get(network)
                or any(c.gateways for c in clusters)
                or network in topology.awaited
            )
            if not declared and not any(c.east_west.enabled for c in clusters):
                what = (
                    f"the network {shown(network)} has no gateway: none of its clusters has one,"
                    " and no address is declared"
                )
                yield Problem(
                    clusters[0].place,
                    what,
                    f"enable an eastWestGateway there, or state networks.{network}.gateways",
                    "gateway-pending",
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
    networks: dict[str, list[Cluster]] = {}
    for cluster in topology.clusters:
        if cluster.joined:
            networks.setdefault(cluster.network, []).append(cluster)
    if len(networks) < 2:
        return
    found: dict[tuple[Place, str], list[str]] = {}
    for network, clusters in sorted(networks.items()):
        enabled = [c for c in clusters if c.east_west.enabled]
        declared = (
            topology.networks.get(network)
            or any(c.gateways for c in clusters)
            or network in topology.awaited
        )
        service = {
            c.name: (
                chart or {}
                if (c.east_west.kind or default) == "Chart" and not topology.ambient
                else {}
            )
            for c in enabled
        }
        faults = {
            c.name: _address_fault(c, service[c.name], ambient=topology.ambient) for c in enabled
        }
        if declared or not all(faults.values()):
            continue
        for cluster in enabled:
            named = found.setdefault(
                (_service_type_place(topology, cluster), faults[cluster.name]), []
            )
            named += [network] if network not in named else []
    for (place, fault), named in found.items():
        fix = f"state networks.{named[0]}.gateways, or write serviceType: LoadBalancer"
        if NODE_SELECTOR in fault:
            fix += (
                f", or add the annotation {NODE_SELECTOR}: '{{}}' if the nodes have an ExternalIP"
            )
        yield Problem(
            place, f"{fault}, so that {some(named)} cannot be reached", fix, "gateway-found"
        )


def _address_fault(cluster: Cluster, service: Mapping[str, Any], *, ambient: bool) -> str:
    """Why istiod finds no address of a cluster's gateway, or nothing."""
    wanted = cluster.east_west
    annotations = {
        **(stated if isinstance(stated := service.get("annotations"), dict) else {}),
        **dict(wanted.annotations),
    }
    if wanted.service_type == "LoadBalancer" or service.get("externalIPs"):
        return ""
    if wanted.service_type == "NodePort" and not ambient:
        selector = annotations.get(NODE_SELECTOR)
        if selector is None:
            return (
                "istiod reads no address from a Service of type NodePort without the annotation"
                f" {NODE_SELECTOR}"
            )
        return (
            ""
            if _is_selector(selector)
            else (
                f"the annotation {NODE_SELECTOR} is not a JSON object of node labels, such as"
                " '{}'"
            )
        )
    if wanted.service_type == "NodePort":
        return "istiod does not map the port 15008 of an ambient gateway to a node port"
    return (
        f"istiod reads no address from a Service of type {wanted.service_type} without externalIPs"
    )


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
    return topology.document.place(
        *(("contexts", cluster.context) if own else ()), "eastWestGateway", "serviceType"
    )


def _ambient(topology: Topology) -> Iterator[Problem]:
    if not topology.ambient:
        return
    place = topology.document.place
    joined = [c for c in topology.clusters if c.joined]
    for cluster in joined:
        if cluster.primary is not None:
            where = place("contexts", cluster.context, "controlPlane")
            what = (
                "ambient has no clusters without a control plane of their own: ztunnel is served by"
                " istiod of its cluster"
            )
            yield Problem(
                where, what, "remove controlPlane, or write dataPlane: sidecar", "ambient"
            )
        document: Any = topology.document.value
        for index, gateway in enumerate(document["contexts"][cluster.context].get("gateways", ())):
            if gateway.get("port") not in (None, 15008):
                where = place("contexts", cluster.context, "gateways", index, "port")
                yield Problem(
                    where,
                    "ambient has one port between networks, 15008, which cannot be changed",
                    "remove it",
                    "ambient",
                )
    if len(joined) > 1 and len({c.network for c in joined}) == 1:
        what = "ambient joins clusters of several networks only; nobody has tried it on one"
        yield Problem(
            place("istio", "dataPlane"),
            what,
            "give every cluster a network of its own, or write dataPlane: sidecar",
            "ambient",
        )


def _remotes(topology: Topology) -> Iterator[Problem]:
    """Who is served by another's istiod is served by one."""
    served = {c.primary for c in topology.clusters if c.primary is not None}
    for cluster in topology.clusters:
        if len(cluster.releases) > 1 and (cluster.primary is not None or cluster.name in served):
            whom = "has" if cluster.primary is not None else "serves clusters that have"
            what = (
                f"{whom} no control plane of its own, and a canary would leave open which of two"
                " istiods serves"
            )
            yield Problem(
                cluster.place,
                what,
                "state istio.canary under the contexts that it is for, and not for this one",
                "istio-version",
            )


def _namespaces(topology: Topology) -> Iterator[Problem]:
    """Unequal namespaces: istiod looks for a peer's network label in the namespace that it has
    itself (controller/multicluster.go).
    """
    joined = [c for c in topology.clusters if c.joined]
    if not joined:
        return
    first = joined[0]
    peers = peers_of(topology)
    for cluster in joined[1:]:
        linked = any(
            cluster.name in peers[c.name] or c.name in peers[cluster.name]
            for c in joined
            if c.namespace != cluster.namespace
        )
        if cluster.namespace != first.namespace and linked:
            where = topology.document.place("contexts", cluster.context, "namespace")
            what = (
                f"is not {shown(first.namespace)} as in {shown(first.context)}: istiod looks for a"
                " peer's settings in a namespace of its own name"
            )
            yield Problem(
                where,
                what,
                "give all clusters that discover each other the same namespace",
                "namespace-equal",
            )


def warnings(topology: Topology) -> Iterator[Problem]:
    """What Istio takes, but not as one might think."""
    yield from version_skew_problems(topology)
    yield from host_names(topology)
    if topology.ambient:
        seen: dict[str, str] = {}
        for cluster in topology.clusters:
            first = (
                seen.setdefault(cluster.network, cluster.name) if cluster.joined else cluster.name
            )
            if first != cluster.name:
                what = (
                    f'shares its network with "{first}"; ambient is tried over several networks,'
                    " hardly on one"
                )
                yield Problem(cluster.place, what, "give it a network of its own", "ambient-shared")
    yield from addresses(topology)
    yield from credential_costs(topology)


def version_skew_problems(topology: Topology) -> Iterator[Problem]:
    """Control planes of the mesh that are further apart than Istio supports; what states no version
    counts for nothing here.
    """
    known = [
        (versions.minor(r.version), r.version, c)
        for c in topology.clusters
        if c.joined and c.primary is None
        for r in c.releases
        if r.version
    ]
    if not known:
        return
    (oldest, old, first), (newest, new, last) = (
        min(known, key=lambda k: k[0]),
        max(known, key=lambda k: k[0]),
    )
    if newest - oldest > versions.SKEW:
        what = (
            f"runs Istio {old} and {last.name} runs {new}: Istio supports {versions.SKEW} minor"
            " version between the parts of a mesh"
        )
        yield Problem(
            first.place, what, f"upgrade {first.name} one minor version at a time", "version-skew"
        )


def addresses(topology: Topology) -> Iterator[Problem]:
    """A remote's webhook calls port 443 of istiod's Service, which a host name cannot map to
    15017.
    """
    for cluster in topology.clusters:
        if cluster.address is not None and not is_address(cluster.address):
            where = topology.document.place("contexts", cluster.context, "controlPlaneAddress")
            what = (
                "is a host name: a cluster without istiod calls its webhook at port 443 there, for"
                " an ExternalName maps no ports"
            )
            yield Problem(
                where,
                what,
                "give an IP address, or have 443 lead to 15017 there",
                "control-plane-address",
            )


def host_names(topology: Topology) -> Iterator[Problem]:
    """Host names of gateways, where Istio looks them up once or never."""
    value: Any = topology.document.value
    old = min(
        (versions.minor(r.version) for c in topology.clusters for r in c.releases),
        default=versions.NEWEST,
    )
    if old >= versions.HOST_NAMES:
        return
    for top in ("networks", "contexts"):
        for name, entry in value.get(top, {}).items():
            for index, gateway in enumerate(entry.get("gateways", ())):
                if gateway["address"] != "pending" and not is_address(gateway["address"]):
                    what = (
                        f"is a host name, which Istio 1.{old} drops or looks up once; since"
                        f" 1.{versions.HOST_NAMES} it looks names up again and again"
                    )
                    yield Problem(
                        topology.document.place(top, name, "gateways", index, "address"),
                        what,
                        "give the IP addresses",
                        "gateway-address",
                    )


COSTS = {
    "exec": (
        (
            "istiod runs this command for every peer: its image has to hold it, and the remote"
            " secret decides what it runs"
        ),
        (
            "build an image with it for every cluster that discovers this one (values.pilot.image),"
            " or use a token"
        ),
    ),
    "oidc": (
        (
            "istiod gets new ID tokens by a refresh token that it cannot write back: where the"
            " issuer gives each only once, it is locked out after a restart"
        ),
        "have the issuer give refresh tokens that last, or use a token",
    ),
    "clientCertificate": (
        (
            "Kubernetes cannot revoke a client certificate: who has it reads the cluster until it"
            " expires"
        ),
        "make it short-lived, or use a token",
    ),
}
"""What each way to log in costs beside a token, and what to do."""


def credential_costs(topology: Topology) -> Iterator[Problem]:
    """What ways to log in cost."""
    for cluster in topology.clusters:
        way = cluster.credential.way
        if way in COSTS and cluster.joined:
            what, fix = COSTS[way]
            yield Problem(
                topology.document.place("contexts", cluster.context, "credential", way),
                what,
                fix,
                "credential-cost",
            )


def some(names: list[str]) -> str:
    """The first names of a list, and how many more."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
