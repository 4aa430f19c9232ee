"""The gateways of networks that a mesh declares by their addresses."""

from collections.abc import Iterator, Sequence

from kubectl_mesh.adopt.evidence import Notes
from kubectl_mesh.adopt.running_mesh import RunningCluster
from kubectl_mesh.observed.networks import (
    NETWORK_LABEL,
    list_gateway_addresses,
    list_load_balancer_addresses,
)

GatewayAddress = tuple[str, int | None]
"""The address of a gateway, and its port where one is stated."""


def find_declared_gateways(
    running: Sequence[RunningCluster], notes: Notes
) -> dict[str, tuple[GatewayAddress, ...]]:
    """The gateways that are declared by address, by network; those of networks that istiod does not
    find by the label of a Service.
    """
    is_old = any(_minor_version(c.version) < 8 for c in running)
    labelled = {
        o.metadata_strings("labels").get(NETWORK_LABEL)
        for c in running
        for o in c.objects
        if o.kind == "Service"
    }
    found: dict[str, dict[GatewayAddress, None]] = {}
    for network, address in _mesh_network_gateways(running, notes):
        if is_old or network not in labelled:
            found.setdefault(network, {})[address] = None
    for network, addresses in _remote_gateways(running, notes):
        found.setdefault(network, {}).update(dict.fromkeys(addresses))
    if is_old:
        _add_ingress_gateways(running, found)
    used = {c.network for c in running}
    return {
        name: tuple(sorted(each, key=str)) for name, each in sorted(found.items()) if name in used
    }


def _mesh_network_gateways(
    running: Sequence[RunningCluster], notes: Notes
) -> Iterator[tuple[str, GatewayAddress]]:
    for cluster in running:
        for source, table in cluster.network_declarations:
            for network in table:
                for gateway in network.gateways:
                    if gateway.address:
                        yield network.name, (gateway.address, gateway.port)
                    else:
                        what = f"a gateway of {network.name} in meshNetworks"
                        notes.add_unused(
                            source, "it has no address; only those are declared here", what
                        )


def _remote_gateways(
    running: Sequence[RunningCluster], notes: Notes
) -> Iterator[tuple[str, list[GatewayAddress]]]:
    """The addresses of Gateways that stand for the gateways of another network."""
    for cluster in running:
        for gateway in cluster.objects:
            if (
                gateway.kind == "Gateway"
                and gateway.value_at("spec", "gatewayClassName") == "istio-remote"
                and (beyond := gateway.metadata_strings("labels").get(NETWORK_LABEL))
            ):
                notes.mark_used(gateway)
                yield beyond, [(address, None) for address in list_gateway_addresses(gateway.value)]


def _add_ingress_gateways(
    running: Sequence[RunningCluster], found: dict[str, dict[GatewayAddress, None]]
) -> None:
    """Adds the ingress gateways of old clusters whose networks have no gateway yet."""
    for cluster in running:
        if not cluster.network or cluster.network in found:
            continue
        for service in cluster.objects:
            if (service.kind, service.name, service.namespace) == (
                "Service",
                "istio-ingressgateway",
                cluster.namespace,
            ):
                for address in list_load_balancer_addresses(service.value):
                    found.setdefault(cluster.network, {})[address, None] = None


def _minor_version(version: str | None) -> int:
    return 99 if version is None else int(version.split(".")[1])
