"""The content of topology.yaml as input for the rules."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kubectl_mesh.model import Document
from kubectl_mesh.text import Suggestions
from kubectl_mesh.topology.names import derive_cluster_name

if TYPE_CHECKING:
    from kubectl_mesh.errors import Problem

Path = tuple[str | int, ...]


class StatedTopology:
    """A topology whose shape is right, or right but for the fields in `invalid_paths`."""

    def __init__(self, document: Document, invalid_paths: set[str]) -> None:
        self.document, self.invalid_paths = document, invalid_paths
        self.value: dict[str, Any] = document.value if isinstance(document.value, dict) else {}
        self.contexts: dict[str, dict[str, Any]] = {
            context: entry
            for context, entry in self.value.get("contexts", {}).items()
            if isinstance(entry, dict)
        }
        self.warnings: list[Problem] = []
        self.suggestions = Suggestions()

    def cluster_name(self, context: str) -> str:
        """The cluster's name of a context."""
        stated = self.contexts[context].get("clusterName")
        return stated if isinstance(stated, str) else derive_cluster_name(context)

    def suggest_context(self, word: str, other_than: str) -> str:
        """A suggestion for a misspelt context."""
        return self.suggestions.did_you_mean(word, lambda: set(self.contexts) - {other_than})

    def list_gateways(self) -> Iterator[tuple[str, Path, dict[str, Any]]]:
        """Every gateway with its network and its path."""
        described = self.value.get("networks")
        entries: list[tuple[Any, Path, Any]] = [
            (name, ("networks", name), value)
            for name, value in (described if isinstance(described, dict) else {}).items()
        ]
        entries += [
            (entry.get("network"), ("contexts", context), entry)
            for context, entry in self.contexts.items()
        ]
        for network, path, entry in entries:
            listed = entry.get("gateways") if isinstance(entry, dict) else None
            for index, gateway in enumerate(listed if isinstance(listed, list) else []):
                if isinstance(gateway, dict):
                    yield network, (*path, "gateways", index), gateway
