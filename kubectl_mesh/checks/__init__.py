"""checks: every check with its stable id, and the findings of a run sorted under them."""

from kubectl_mesh.checks import (
    cacerts,
    certificates,
    credentials,
    gateways,
    git,
    identity,
    remotes,
    servers,
    topology,
    tree,
)
from kubectl_mesh.checks.asked import Asked, files_of, listed
from kubectl_mesh.checks.cacerts import cacerts_findings
from kubectl_mesh.checks.certificates import expiry_findings
from kubectl_mesh.checks.gateways import pending_findings
from kubectl_mesh.checks.homes import home_findings
from kubectl_mesh.checks.identity import identity_findings
from kubectl_mesh.checks.remotes import remote_findings
from kubectl_mesh.checks.result import ERROR, PAGE, WARNING, Check, Result, Unknown, results
from kubectl_mesh.checks.topology import near_networks
from kubectl_mesh.checks.tree import tree_findings
from kubectl_mesh.checks.unknown import unknown_checks

__all__ = [
    "CATEGORIES",
    "CHECKS",
    "ERROR",
    "IDS",
    "PAGE",
    "WARNING",
    "Asked",
    "Check",
    "Result",
    "Unknown",
    "cacerts_findings",
    "expiry_findings",
    "files_of",
    "home_findings",
    "identity_findings",
    "listed",
    "near_networks",
    "pending_findings",
    "remote_findings",
    "results",
    "tree_findings",
    "unknown_checks",
]

CHECKS: tuple[Check, ...] = tuple(
    check
    for part in (
        topology,
        servers,
        credentials,
        gateways,
        certificates,
        tree,
        cacerts,
        remotes,
        identity,
        git,
    )
    for check in part.CHECKS
)
"""Every check, by category in the order in which a mesh comes to be."""
IDS = {check.id for check in CHECKS}
CATEGORIES = tuple(dict.fromkeys(check.category for check in CHECKS))
