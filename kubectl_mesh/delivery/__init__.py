"""What applies the tree besides kubectl. `Delivery` says what these are; a new one is a module and
a line in `TOOLS`.
"""

from collections.abc import Mapping
from typing import Protocol

from kubectl_mesh.delivery import argocd, flux
from kubectl_mesh.model import Plan


class Delivery(Protocol):
    """A tool that wants objects of its own in the tree."""

    @property
    def DIRECTORY(self) -> str:  # noqa: N802  the constant of a module
        """The directory of these objects in `out/`."""

    def files(self, plan: Plan, *, hub: bool) -> dict[str, str]:
        """The objects of the tool by their path; `hub`: the control plane is for the cluster of the
        tool.
        """


TOOLS: Mapping[str, Delivery] = {"argocd": argocd, "flux": flux}
"""Every tool that wants objects of its own."""


def module(tool: str) -> Delivery | None:
    """The delivery of a tool; None for kubectl, which wants nothing."""
    return TOOLS.get(tool)
