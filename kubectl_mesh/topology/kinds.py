"""What stores and tools ask of a topology.yaml; their classes are above this package.

A store or a tool without a line asks nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kubectl_mesh.model.git_url import flux_url, is_argocd_url


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What a store asks of topology.yaml, and reads of the working directory."""

    needs_recipients: bool = False
    """Whether each cluster has age recipients."""
    needs_secret_store: bool = False
    """Whether `secretStore` names a store outside of the tree; `path` is a path in it."""
    needs_sealing_certificates: bool = False
    """Whether the controller of each cluster has a certificate in `clusters/`."""
    can_bundle: bool = True
    """Whether one file can be for all clusters."""


STORE_FACTS: Mapping[str, StoreFacts] = {
    "sops": StoreFacts(needs_recipients=True),
    "sealed": StoreFacts(needs_sealing_certificates=True, can_bundle=False),
    "external": StoreFacts(needs_secret_store=True),
}


@dataclass(frozen=True, slots=True)
class ToolFacts:
    """What a tool that applies the tree asks of `delivery`."""

    title: str = ""
    """What people call it."""
    reads_git: bool = True
    """Whether it reads the tree from a git repository."""
    own_keys: tuple[str, ...] = ()
    """The keys of `delivery` that no other tool has."""
    accepts_url: Callable[[str], bool] = bool
    """Whether it can read a repository from a URL."""


TOOL_FACTS: Mapping[str, ToolFacts] = {
    "kubectl": ToolFacts("kubectl", reads_git=False),
    "argocd": ToolFacts("Argo CD", own_keys=("project",), accepts_url=is_argocd_url),
    "flux": ToolFacts("Flux", own_keys=("secret",), accepts_url=lambda u: flux_url(u) is not None),
}


def store_facts(name: object) -> StoreFacts:
    """What a store asks."""
    return STORE_FACTS.get(name, StoreFacts()) if isinstance(name, str) else StoreFacts()


def tool_facts(name: object) -> ToolFacts | None:
    """What a tool asks; None: nothing."""
    return TOOL_FACTS.get(name) if isinstance(name, str) else None
