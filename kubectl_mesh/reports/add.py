"""Shows a cluster that was added."""

from typing import Any

from kubectl_mesh.operations.add import AddResult
from kubectl_mesh.reports.file_actions import actions_json, actions_text


def add_text(result: AddResult) -> str:
    """The report for people."""
    return actions_text(result.directory, result.files) or "nothing to add\n"


def add_json(result: AddResult) -> dict[str, Any]:
    """The report for programs."""
    return {
        "directory": result.directory,
        "cluster": result.cluster.name,
        "files": actions_json(result.files),
    }
