"""What Istio before 1.8 has in common, whatever installs it."""

from collections.abc import Iterator, Mapping
from typing import Any

from kubectl_mesh.errors import Problem
from kubectl_mesh.model import Document, Pki, Topology
from kubectl_mesh.model.commands import address_command
from kubectl_mesh.plan import TargetTraits
from kubectl_mesh.targets.values import stated_values
from kubectl_mesh.text import did_you_mean, first_names, mesh_command, value_text

OWN_REGISTRY = "Kubernetes"
"""The name under which Pilot knows its own registry, up to Istio 1.5."""
INGRESS_TRAITS = TargetTraits(
    gateway_port=443,
    gateway_command=lambda cluster: address_command(cluster, "istio-ingressgateway"),
    finds_gateways_by_label=False,
)
"""Networks are known by meshNetworks alone, and their gateways, the ingress gateways, by
address.
"""


def stated_entries(
    topology: Topology,
) -> Iterator[tuple[tuple[str | int, ...], Mapping[str, Any]]]:
    """The topology itself and each of its contexts, with the path."""
    value: Any = topology.document.value
    yield (), value
    for context, entry in value["contexts"].items():
        yield ("contexts", context), entry


def profile_problem(base: Document, profiles: tuple[str, ...], owner: str) -> Iterator[Problem]:
    """A profile that `owner` does not have; one may also be a file."""
    profile = stated_values(base.value, ("spec",)).get("profile")
    if isinstance(profile, str) and profile not in profiles and not any(c in profile for c in "/."):
        yield Problem(
            base.field_place("spec", "profile"),
            f"{value_text(profile)} is no profile of {owner}{did_you_mean(profile, profiles)}",
            f"name one of {', '.join(profiles)}, or a file",
            "base-valid",
            code="profile-unknown",
        )


def weak_key_problem(
    topology: Topology, pki: Pki, istio: str, until: str = ""
) -> Iterator[Problem]:
    """Intermediates whose keys an old Istio cannot sign with."""
    weak = [
        name for name, i in pki.intermediates.items() if i.certificate.key_type.startswith("ec-")
    ]
    if weak:
        yield Problem(
            topology.document.field_place("certificates", "keyType"),
            f"{istio} loads an EC key but cannot sign workload certificates with it{until}"
            f" ({first_names(weak)})",
            f"use rsa-4096, and renew the intermediates with `{mesh_command('certs renew --all')}`",
            "certs-key-type",
            code="key-type-cannot-sign",
        )
