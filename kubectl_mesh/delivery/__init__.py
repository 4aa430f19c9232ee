"""What applies the tree besides kubectl, each a module: `DIRECTORY` in `out/`, and `files(plan, hub)`, the objects of the tool by path."""

from types import ModuleType

TOOLS = {"argocd": "kubectl_mesh.delivery.argocd", "flux": "kubectl_mesh.delivery.flux"}
"""Every tool that wants objects of its own, and the module that makes them."""


def module(tool: str) -> ModuleType | None:
    """The module of a tool; None for kubectl, which wants nothing."""
    from importlib import import_module

    return import_module(TOOLS[tool]) if tool in TOOLS else None
