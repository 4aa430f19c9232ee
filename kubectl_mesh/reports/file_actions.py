"""Shows what a command did with the files of the working directory."""

from collections.abc import Sequence

from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.operations.file_actions import FileAction


def actions_text(directory: str, actions: Sequence[FileAction]) -> str:
    """A line for each file."""
    return "".join(f"{a.action:7} {join_path(directory, a.path)}\n" for a in actions)


def actions_json(actions: Sequence[FileAction]) -> list[dict[str, str]]:
    """The files for programs."""
    return [{"path": a.path, "action": a.action} for a in actions]
