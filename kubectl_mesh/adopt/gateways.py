"""The gateways of networks that a mesh declares by their addresses."""

from collections.abc import Iterator, Sequence

from kubectl_mesh.adopt.evidence import Notes
from kubectl_mesh.adopt.running import Running
from kubectl_mesh.observed.networks import (
    NETWORK_LABEL,
    gateway_addresses,
    load_balancer_addresses,
)

Address = tuple[str, int | None]
"""The address of a gateway, and its port where one is stated."""


def declared_gateways(running: Sequence[Running], notes: Notes) -> dict[str, tuple[Address, ...]]:
    """The gateways that are declared by address, by network; those of networks that istiod does not
    find by the label of a Service.
    """
    is_old = any(_minor(c.version) < 8 for c in running)
    labelled = {
        o.words("labels").get(NETWORK_LABEL)
        for c in running
        for o in c.objects
        if o.kind == "Service"
    }
    found: dict[str, dict[Address, None]] = {}
    for network, address in _in_mesh_networks(running, notes):
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


def _in_mesh_networks(running: Sequence[Running], notes: Notes) -> Iterator[tuple[str, Address]]:
    for cluster in running:
        for source, table in cluster.tables:
            for network in table:
                for gateway in network.gateways:
                    if gateway.address:
                        yield network.name, (gateway.address, gateway.port)
                    else:
                        what = f"a gateway of {network.name} in meshNetworks"
                        notes.leave(source, "it has no address; only those are declared here", what)


def _remote_gateways(
    running: Sequence[Running], notes: Notes
) -> Iterator[tuple[str, list[Address]]]:
    """The addresses of Gateways that stand for the gateways of another network."""
    for cluster in running:
        for gateway in cluster.objects:
            if (
                gateway.kind == "Gateway"
                and gateway.at("spec", "gatewayClassName") == "istio-remote"
                and (beyond := gateway.words("labels").get(NETWORK_LABEL))
            ):
                notes.use(gateway)
                yield beyond, [(address, None) for address in gateway_addresses(gateway.value)]


def _add_ingress_gateways(
    running: Sequence[Running], found: dict[str, dict[Address, None]]
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
                for address in load_balancer_addresses(service.value):
                    found.setdefault(cluster.network, {})[address, None] = None


def _minor(version: str | None) -> int:
    return 99 if version is None else int(version.split(".")[1])
