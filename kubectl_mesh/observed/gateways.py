"""The gateways of a cluster in a tree: Services, both kinds of Gateway, charts, components, and
meshNetworks.
"""

from collections.abc import Iterator, Mapping

from kubectl_mesh.model import Json
from kubectl_mesh.observed.install_kinds import (
    INSTALL_KINDS,
    chart_values,
    component_name,
)
from kubectl_mesh.observed.mesh_state import ObservedGateway, TreeObject
from kubectl_mesh.observed.networks import (
    MESH_NETWORKS,
    NETWORK_LABEL,
    list_gateway_addresses,
    parse_mesh_networks,
)
from kubectl_mesh.targets import KINDS, is_applied
from kubectl_mesh.yaml_io.lookup import items_at, mapping_at, number_at, text_at, texts_at, value_at


def find_gateways(objects: tuple[tuple[TreeObject, Json], ...]) -> Iterator[ObservedGateway]:
    """The gateways that the objects of a cluster create or declare."""
    for seen, value in objects:
        labels = texts_at(value, "metadata", "labels")
        if seen.kind == "Service" and (NETWORK_LABEL in labels or "istio" in labels):
            spec = mapping_at(value, "spec")
            yield ObservedGateway(
                seen.file,
                "Service",
                seen.name,
                labels.get(NETWORK_LABEL),
                text_at(spec, "type") or "ClusterIP",
                _ports(spec, "ports"),
                labels,
            )
        elif seen.kind == "Gateway" and seen.api_version.startswith("gateway.networking.k8s.io/"):
            yield _gateway_api(seen, value, labels)
        elif seen.kind == "Gateway":
            servers = items_at(value, "spec", "servers")
            ports = tuple(n for s in servers if (n := number_at(s, "port", "number")) is not None)
            yield ObservedGateway(
                seen.file,
                "Gateway (networking.istio.io)",
                seen.name,
                labels.get(NETWORK_LABEL),
                None,
                ports,
                labels,
            )
        elif seen.kind in INSTALL_KINDS and INSTALL_KINDS[seen.kind].chart_path:
            yield from _chart_gateways(seen, value)
        elif not is_applied(seen.kind):
            yield from _component_gateways(seen, value)
        yield from _declared_gateways(seen, value)


def _ports(value: Json, *path: str) -> tuple[int, ...]:
    return tuple(n for port in items_at(value, *path) if (n := number_at(port, "port")) is not None)


def _gateway_api(seen: TreeObject, value: Json, labels: Mapping[str, str]) -> ObservedGateway:
    ports = _ports(value, "spec", "listeners")
    port = ports[0] if ports else None
    found = tuple((address, port) for address in list_gateway_addresses(value))
    kind = text_at(value, "metadata", "annotations", "networking.istio.io/service-type")
    given = mapping_at(value, "spec", "infrastructure")
    # istiod labels the Service as the Gateway is labelled, unless `infrastructure` says which
    # labels it gets.
    network = (
        texts_at(given, "labels").get(NETWORK_LABEL)
        if "labels" in given and not found
        else labels.get(NETWORK_LABEL)
    )
    return ObservedGateway(
        seen.file,
        "Gateway (gateway.networking.k8s.io)",
        seen.name,
        network,
        kind,
        ports,
        labels,
        found,
    )


def _chart_gateways(seen: TreeObject, value: Json) -> Iterator[ObservedGateway]:
    if component_name(seen.kind, value) != "gateway":
        return
    values = chart_values(seen.kind, value)
    labels = texts_at(values, "labels")
    network = labels.get(NETWORK_LABEL) or text_at(values, "networkGateway")
    yield ObservedGateway(
        seen.file,
        "chart gateway",
        seen.name,
        network,
        text_at(values, "service", "type"),
        _ports(values, "service", "ports"),
        labels,
    )


def _component_gateways(seen: TreeObject, value: Json) -> Iterator[ObservedGateway]:
    for item in items_at(value, "spec", "components", "ingressGateways"):
        if value_at(item, "enabled") is False:
            continue
        labels = texts_at(item, "label")
        service = mapping_at(item, "k8s", "service")
        name = text_at(item, "name") or ""
        yield ObservedGateway(
            seen.file,
            "IstioOperator component",
            name,
            labels.get(NETWORK_LABEL),
            text_at(service, "type"),
            _ports(service, "ports"),
            labels,
        )


def _declared_gateways(seen: TreeObject, value: Json) -> Iterator[ObservedGateway]:
    """The gateways in meshNetworks. Istio 1.4 needs them twice; duplicates count once."""
    if seen.kind not in KINDS:
        return
    kind = INSTALL_KINDS[seen.kind]
    stated = {
        network.name: network
        for path in (MESH_NETWORKS[:1] if kind.chart_path else MESH_NETWORKS)
        for network in parse_mesh_networks(mapping_at(value, *kind.values_path, *path))
    }
    for network in stated.values():
        found = tuple(
            (address, gateway.port)
            for gateway in network.gateways
            if (address := gateway.address or gateway.service) is not None
        )
        yield ObservedGateway(
            seen.file,
            "meshNetworks",
            network.name,
            network.name,
            None,
            (),
            {},
            found,
            network.registries,
        )
