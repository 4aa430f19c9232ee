"""Networks and their gateways as objects state them: labels, addresses, and meshNetworks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_mesh.model import Json
from kubectl_mesh.yaml_io.lookup import items_at, mapping_at, number_at, text_at

NETWORK_LABEL = "topology.istio.io/network"
SERVED_BY_ANNOTATION = "topology.istio.io/controlPlaneClusters"
"""The annotation of a namespace that names the clusters whose istiod serves it."""
MESH_NETWORKS = (("global", "meshNetworks"), ("pilot", "meshNetworks"))
"""Where the values of Istio's chart declare networks; under `pilot` for Istio 1.4."""


@dataclass(frozen=True, slots=True)
class DeclaredGateway:
    """A gateway of a declared network: its address, or the Service that has the addresses."""

    address: str | None
    service: str | None
    port: int | None


@dataclass(frozen=True, slots=True)
class DeclaredNetwork:
    """A network in meshNetworks: its gateways, and the clusters whose endpoints are on it."""

    name: str
    gateways: tuple[DeclaredGateway, ...]
    registries: tuple[str, ...]


def parse_mesh_networks(mesh_networks: Mapping[str, Any]) -> tuple[DeclaredNetwork, ...]:
    """The networks of a meshNetworks value. Istio 1.4 nests them below `networks`, which is
    accepted for all versions.
    """
    inner = mesh_networks.get("networks")
    is_nested = isinstance(inner, dict) and set(mesh_networks) == {"networks"}
    return tuple(
        DeclaredNetwork(
            str(name),
            tuple(
                DeclaredGateway(
                    text_at(item, "address"),
                    text_at(item, "registryServiceName"),
                    number_at(item, "port"),
                )
                for item in items_at(entry, "gateways")
            ),
            tuple(
                registry
                for item in items_at(entry, "endpoints")
                if (registry := text_at(item, "fromRegistry")) is not None
            ),
        )
        for name, entry in (
            mapping_at(mesh_networks, "networks") if is_nested else mesh_networks
        ).items()
    )


def list_gateway_addresses(gateway: Json) -> tuple[str, ...]:
    """The addresses that a Gateway of the Gateway API states."""
    return tuple(
        address
        for item in items_at(gateway, "spec", "addresses")
        if (address := text_at(item, "value")) is not None
    )


def list_load_balancer_addresses(service: Json) -> Iterator[str]:
    """The addresses of a Service's load balancer."""
    for entry in items_at(service, "status", "loadBalancer", "ingress"):
        address = text_at(entry, "ip") or text_at(entry, "hostname")
        if address:
            yield address
