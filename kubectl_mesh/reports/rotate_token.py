"""Shows a step of the rotation of a token: what was decided, what comes next, and what must be seen
before that.
"""

from collections.abc import Callable
from typing import Any

from kubectl_mesh.credentials import token_rotation
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.operations.rotate_token import TokenRotationResult
from kubectl_mesh.safety import reconnections
from kubectl_mesh.text import count_text, mesh_command
from kubectl_mesh.workdir.places import TOPOLOGY_FILE


def rotation_json(result: TokenRotationResult, render: Callable[[str], str]) -> dict[str, Any]:
    """The report for programs; `render` gives commands the options of this run."""
    cluster = result.cluster
    is_steady = result.step == token_rotation.STEADY
    return {
        "cluster": cluster.name,
        "step": result.step,
        "generation": cluster.token_generation,
        "beside": cluster.second_generation,
        "files": [{"path": TOPOLOGY_FILE, "action": "update"}],
        "notes": _list_notes(result),
        "render": render(_render_command(result)),
        "look": [{"command": c, "prints": p} for c, p in result.checks],
        "then": None if is_steady else render(_advance_command(result)),
    }


def rotation_text(result: TokenRotationResult) -> str:
    """The report for people."""
    lines = [
        f"update  {join_path(result.directory, TOPOLOGY_FILE)}",
        *_list_notes(result),
        f"next: {_render_command(result)}; review and apply it, in any order of the clusters",
        *(f"  {line}" for line in result.restarts),
    ]
    if result.step != token_rotation.STEADY:
        lines.append(f"then: {_advance_command(result)}")
    if result.is_going_back:
        abort = mesh_command(f"tokens rotate {result.cluster.name} abort{_seen_flag(result)}")
        lines.append(
            f"or: {abort}, and the Secret of generation {result.cluster.second_generation} goes"
        )
    if result.checks:
        lines.append(
            "but not before each of these has printed what stands below it:"
            if result.has_moved_peers
            else "before that:"
        )
    for command, printed in result.checks:
        lines += [f"  {command}", *([f"    {printed}"] if printed else [])]
    return "\n".join(lines) + "\n"


def _render_command(result: TokenRotationResult) -> str:
    return mesh_command(f"render{' --with-restarts' if result.restarts else ''}")


def _advance_command(result: TokenRotationResult) -> str:
    seen_for = "" if result.is_going_back else _seen_flag(result)
    return mesh_command(f"tokens rotate {result.cluster.name} advance{seen_for}")


def _seen_flag(result: TokenRotationResult) -> str:
    """The option that the next step needs, where a token goes with it."""
    if not result.has_moved_peers:
        return ""
    return f" --seen-for {'2h' if result.is_external else '0h'}"


def _list_notes(result: TokenRotationResult) -> list[str]:
    """What the step changes."""
    cluster = result.cluster
    if result.step == token_rotation.BEGUN and result.requested_action == "begin":
        what = (
            f"a Secret for the token of generation {cluster.second_generation} comes beside that"
            " of generation"
            f" {cluster.token_generation}; no peer changes"
        )
        return [f"{cluster.name}: {what}"]
    if result.step != token_rotation.STEADY:
        return _list_moves(result)
    what = (
        f"the Secret of generation {result.removed_generation} goes, and its token is void; the"
        " peers keep"
        f" generation {cluster.token_generation}"
    )
    notes = [f"{cluster.name}: {what}"]
    if result.removed_files:
        notes.append(f"of no use any more: {', '.join(result.removed_files)}")
    return notes


def _list_moves(result: TokenRotationResult) -> list[str]:
    """What changes where peers move to another token."""
    cluster, holders = result.cluster, result.holders
    what = (
        f"{count_text(len(holders), 'cluster')} move{'s' if len(holders) == 1 else ''} to the"
        " token of"
        f" generation {cluster.token_generation}; that of generation {cluster.second_generation}"
        " stays beside it"
    )
    notes = [f"{cluster.name}: {what}"]
    if result.is_external:
        notes.append(
            "the cluster pushes the other token into the store within 1h, and the peers take it"
            " within 1h more; no peer's directory changes"
        )
    return notes + reconnections.describe_reconnections(holders)
