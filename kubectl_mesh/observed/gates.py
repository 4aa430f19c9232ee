"""The gateways of a cluster: Services, Gateways of both kinds, charts, components, and what
meshNetworks declares.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from kubectl_mesh.model import Json
from kubectl_mesh.observed.values import Gate, Object
from kubectl_mesh.yaml_io.lookup import items_at, mapping_at, text_at, texts_at, value_at

LABEL = "topology.istio.io/network"
_MESH_NETWORKS = (
    ("spec", "values", "global", "meshNetworks"),
    ("spec", "values", "pilot", "meshNetworks"),
    ("spec", "source", "helm", "valuesObject", "global", "meshNetworks"),
)


def gates(objects: tuple[tuple[Object, Json], ...]) -> Iterator[Gate]:
    """Every gateway that the objects of a cluster make, are, or declare."""
    for seen, value in objects:
        labels = texts_at(value, "metadata", "labels")
        if seen.kind == "Service" and (LABEL in labels or "istio" in labels):
            spec = mapping_at(value, "spec")
            yield Gate(
                seen.file,
                "Service",
                seen.name,
                labels.get(LABEL),
                text_at(spec, "type") or "ClusterIP",
                _ports(spec, "ports"),
                labels,
            )
        elif seen.kind == "Gateway" and seen.api.startswith("gateway.networking.k8s.io/"):
            yield _gateway_api(seen, value, labels)
        elif seen.kind == "Gateway":
            servers = items_at(value, "spec", "servers")
            ports = tuple(
                n for s in servers if (n := _number(value_at(s, "port", "number"))) is not None
            )
            yield Gate(
                seen.file,
                "Gateway (networking.istio.io)",
                seen.name,
                labels.get(LABEL),
                None,
                ports,
                labels,
            )
        elif seen.kind in ("Application", "HelmRelease"):
            yield from _chart(seen, value)
        elif seen.kind == "IstioOperator":
            yield from _components(seen, value)
        yield from _mesh_networks(seen, value)


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _ports(value: Json, *path: str) -> tuple[int, ...]:
    return tuple(
        n for port in items_at(value, *path) if (n := _number(value_at(port, "port"))) is not None
    )


def _gateway_api(seen: Object, value: Json, labels: Mapping[str, str]) -> Gate:
    ports = _ports(value, "spec", "listeners")
    found = tuple(
        (text, ports[0] if ports else None)
        for item in items_at(value, "spec", "addresses")
        if (text := text_at(item, "value")) is not None
    )
    kind = text_at(value, "metadata", "annotations", "networking.istio.io/service-type")
    given = mapping_at(value, "spec", "infrastructure")
    # istiod labels the Service as the Gateway is labelled, unless `infrastructure` says which
    # labels it gets.
    network = (
        texts_at(given, "labels").get(LABEL)
        if "labels" in given and not found
        else labels.get(LABEL)
    )
    return Gate(
        seen.file,
        "Gateway (gateway.networking.k8s.io)",
        seen.name,
        network,
        kind,
        ports,
        labels,
        found,
    )


def _chart(seen: Object, value: Json) -> Iterator[Gate]:
    argo = seen.kind == "Application"
    chart = (
        text_at(value, "spec", "source", "chart")
        if argo
        else text_at(value, "spec", "chart", "spec", "chart")
    )
    if chart is None or chart.rsplit("/", 1)[-1] != "gateway":
        return
    values = (
        mapping_at(value, "spec", "source", "helm", "valuesObject")
        if argo
        else mapping_at(value, "spec", "values")
    )
    labels = texts_at(values, "labels")
    network = labels.get(LABEL) or text_at(values, "networkGateway")
    yield Gate(
        seen.file,
        "chart gateway",
        seen.name,
        network,
        text_at(values, "service", "type"),
        _ports(values, "service", "ports"),
        labels,
    )


def _components(seen: Object, value: Json) -> Iterator[Gate]:
    for item in items_at(value, "spec", "components", "ingressGateways"):
        if value_at(item, "enabled") is False:
            continue
        labels = texts_at(item, "label")
        service = mapping_at(item, "k8s", "service")
        name = text_at(item, "name") or ""
        yield Gate(
            seen.file,
            "IstioOperator component",
            name,
            labels.get(LABEL),
            text_at(service, "type"),
            _ports(service, "ports"),
            labels,
        )


def _mesh_networks(seen: Object, value: Json) -> Iterator[Gate]:
    """What is declared; the same twice, as Istio 1.4 wants it, counts once."""
    stated: dict[str, Any] = {}
    for path in (
        _MESH_NETWORKS
        if seen.kind in ("Istio", "IstioOperator", "IstioControlPlane", "Application")
        else ()
    ):
        stated |= mapping_at(value, *path, "networks") or mapping_at(value, *path)
    if seen.kind == "HelmRelease":
        stated = dict(mapping_at(value, "spec", "values", "global", "meshNetworks"))
    for network, entry in stated.items():
        found = tuple(
            (address, _number(value_at(item, "port")))
            for item in items_at(entry, "gateways")
            if (address := text_at(item, "address") or text_at(item, "registryServiceName"))
            is not None
        )
        registries = tuple(
            name
            for item in items_at(entry, "endpoints")
            if (name := text_at(item, "fromRegistry")) is not None
        )
        yield Gate(
            seen.file, "meshNetworks", str(network), str(network), None, (), {}, found, registries
        )
