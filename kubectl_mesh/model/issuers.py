"""Who issues the intermediates, by the word of `certificates.issuer`."""

from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT_ISSUER, CERT_MANAGER, ISTIO_CSR = "local", "cert-manager", "istio-csr"


@dataclass(frozen=True, slots=True)
class Issuer:
    """What an issuer does, and where it is."""

    signs_here: bool = False
    """Whether the root in `certs/` signs."""
    takes_requests: bool = False
    """Whether somebody else signs the requests in `certs/`."""
    in_clusters: bool = False
    """Whether it is in each cluster, where `issuerRef` names it."""
    creates_cacerts: bool = False
    """Whether it creates the intermediates in the clusters."""
    signs_workloads: bool = False
    """Whether it signs the certificates of workloads itself, so that there are no intermediates."""
    description: str = ""
    """The state of the intermediates in the words of `describe`, where they are in the clusters."""


ISSUERS: Mapping[str, Issuer] = {
    DEFAULT_ISSUER: Issuer(signs_here=True),
    "csr": Issuer(takes_requests=True),
    CERT_MANAGER: Issuer(
        in_clusters=True,
        creates_cacerts=True,
        description="made in the cluster, by cert-manager",
    ),
    ISTIO_CSR: Issuer(in_clusters=True, signs_workloads=True, description="none: istio-csr signs"),
}
"""Every issuer by the name that topology.yaml has for it."""
