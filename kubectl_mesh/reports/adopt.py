"""Shows what was adopted, and what the first render would change of what runs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kubectl_mesh.adopt.difference import Difference, difference_json
from kubectl_mesh.operations.adopt import AdoptResult
from kubectl_mesh.reports.file_actions import actions_json, actions_text
from kubectl_mesh.reports.problems import problems_json
from kubectl_mesh.text import count_text, marked_text, mesh_command

_FEW = 4


def adopt_text(result: AdoptResult) -> str:
    """The report for people."""
    changed = len({(d.cluster, d.object) for d in result.differences})
    mesh = result.mesh
    lines = [
        "",
        (
            f"mesh {mesh.mesh_id}: {count_text(len(mesh.clusters), 'cluster')}; the first render"
            " differs"
            f" from what runs in {count_text(changed, 'object')}"
        ),
    ]
    for where, each in _group_alike(result.differences).items():
        lines.append(f"  {_some_text(where)}")
        lines += [f"    {d.action:6} {d.path or 'as a whole'}: {d.reason}" for d in each]
    if result.unused:
        lines += ["", "not taken over:"]
        lines += [f"  {u.place}: {u.item}: {marked_text(u.reason)}" for u in result.unused]
    return actions_text(result.directory, result.files) + "\n".join(lines) + "\n"


def _group_alike(differences: Sequence[Difference]) -> dict[tuple[str, ...], list[Difference]]:
    """The differences of objects that differ in the same way, once, under the clusters and objects
    that they belong to.
    """
    objects: dict[tuple[str, str], list[Difference]] = {}
    for difference in differences:
        objects.setdefault((difference.cluster, difference.object), []).append(difference)
    alike: dict[tuple[Any, ...], list[str]] = {}
    for (cluster, name), each in objects.items():
        # The key in a remote secret is the name of its cluster, as in the name of the object.
        peer = name.partition("istio-remote-secret-")[2]
        shape = tuple(
            replace(
                d,
                cluster="",
                object="",
                path=d.path.replace(f"data.{peer}", "data.PEER") if peer else d.path,
            )
            for d in each
        )
        alike.setdefault((name.partition(" ")[0], *shape), []).append(f"{cluster}: {name}")
    return {tuple(where): list(shape[1:]) for shape, where in alike.items()}


def _some_text(where: Sequence[str]) -> str:
    """Where objects differ alike, in a few lines."""
    more = [f"and {len(where) - _FEW + 1} more"] if len(where) > _FEW else []
    return "\n  ".join([*where[: _FEW - 1 if more else _FEW], *more])


def next_text() -> str:
    """What comes next."""
    return f"next: read topology.yaml and base.yaml, then {mesh_command('render')}"


def adopt_json(result: AdoptResult) -> dict[str, Any]:
    """The report for programs."""
    return {
        "directory": result.directory,
        "mesh": result.mesh.mesh_id,
        "files": actions_json(result.files),
        "clusters": [
            {"name": c.name, "context": c.context, "network": c.network, "namespace": c.namespace}
            for c in result.mesh.clusters
        ],
        "differences": [difference_json(d) for d in result.differences],
        "unused": [
            {"file": u.place.file, "line": u.place.line, "what": u.item, "reason": u.reason}
            for u in result.unused
        ],
        "warnings": problems_json(result.warnings),
    }
