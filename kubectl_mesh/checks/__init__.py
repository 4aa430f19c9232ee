"""checks: every check with its stable id, and the findings of a run sorted under them."""

from kubectl_mesh.checks import certificates, credentials, gateways, git, servers, topology, tree
from kubectl_mesh.checks.certificates import expiry_findings
from kubectl_mesh.checks.credentials import token_findings
from kubectl_mesh.checks.gateways import pending_findings
from kubectl_mesh.checks.result import ERROR, PAGE, WARNING, Check, Result, results
from kubectl_mesh.checks.show import text, value
from kubectl_mesh.checks.topology import near_networks
from kubectl_mesh.checks.tree import tree_findings

__all__ = [
    "CATEGORIES",
    "CHECKS",
    "ERROR",
    "IDS",
    "PAGE",
    "WARNING",
    "Check",
    "Result",
    "expiry_findings",
    "near_networks",
    "pending_findings",
    "results",
    "text",
    "token_findings",
    "tree_findings",
    "value",
]

CHECKS: tuple[Check, ...] = tuple(check for part in (topology, servers, credentials, gateways, certificates, tree, git) for check in part.CHECKS)
"""Every check, by category in the order in which a mesh comes to be."""
IDS = {check.id for check in CHECKS}
CATEGORIES = tuple(dict.fromkeys(check.category for check in CHECKS))
