"""Shows what `init` wrote, and what comes next."""

from typing import Any

from kubectl_mesh import targets
from kubectl_mesh.operations.init import InitResult
from kubectl_mesh.reports.file_actions import actions_json, actions_text
from kubectl_mesh.text import mesh_command


def init_text(result: InitResult) -> str:
    """The report for people."""
    return actions_text(result.directory, result.files)


def init_notes(result: InitResult) -> list[str]:
    """What to know about the files, and what comes next."""
    words = "render" if result.has_clusters else "add CONTEXT --network NETWORK"
    following = f"next: {mesh_command(words)}"
    if not result.added_kind:
        return [following]
    note = (
        f"note: base.yaml is new, and of kind {result.added_kind}; without it a render is for Istio"
        f" 1.4 (kind {targets.OLD})"
    )
    return [note, following]


def init_json(result: InitResult) -> dict[str, Any]:
    """The report for programs."""
    return {"directory": result.directory, "files": actions_json(result.files)}
