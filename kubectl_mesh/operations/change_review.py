"""The review of a render: what it means for clusters that run the existing tree, or the last
commit; `render`, `check`, `diff` and `describe` ask here.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.model import BUNDLE_FOLDER, MESH_LOCK, FolderChange, Topology
from kubectl_mesh.observed.lazy_state import open_tree, open_trees
from kubectl_mesh.observed.mesh_state import Files, MeshState
from kubectl_mesh.observed.tree_sources import read_tree_files
from kubectl_mesh.operations import sealed_logins
from kubectl_mesh.operations.last_commit import read_commit
from kubectl_mesh.operations.tree_files import DiskFiles, RenderedFiles
from kubectl_mesh.safety import PlannedRender, Review, review_change
from kubectl_mesh.safety.removals import list_needed_paths

if TYPE_CHECKING:
    from kubectl_mesh.operations.build import RenderedMesh


def review_render(
    rendered: "RenderedMesh",
    changes: Sequence[FolderChange],
    out: str,
    now: datetime,
    *,
    compares_logins: bool = True,
) -> Review:
    """What a render means for clusters that run the tree in `out`, or the last commit.

    Without `compares_logins`, every remote secret that changes counts as another login.
    """
    old, new, render = _plan_render(rendered, changes, out, now, frozenset())
    if compares_logins:
        logins = sealed_logins.find_login_changes(out, rendered, changes)
        render = replace(render, login_changes=logins)
    return review_change(old, new, out, render)


def review_before_write(
    rendered: "RenderedMesh",
    changes: Sequence[FolderChange],
    out: str,
    now: datetime,
    unapplied: frozenset[str],
) -> Review:
    """The same for a render that is about to be written, with what leaves the tree; `unapplied` are
    clusters that run nothing of their tree.
    """
    old, new, render = _plan_render(rendered, changes, out, now, unapplied)
    logins = sealed_logins.find_login_changes(out, rendered, changes)
    disk = read_tree_files(out, list_needed_paths(render))
    return review_change(old, new, out, replace(render, login_changes=logins, existing_files=disk))


def _plan_render(
    rendered: "RenderedMesh",
    changes: Sequence[FolderChange],
    out: str,
    now: datetime,
    unapplied: frozenset[str],
) -> tuple[MeshState, MeshState, PlannedRender]:
    """The tree on disk, what the render makes of it, and what is known of the render."""
    existing = _list_existing(rendered.plan.topology, changes, out)
    old, new = _read_states(rendered, changes, out, existing, unapplied)
    commit, unknown = _read_last_commit(rendered, changes, out, unapplied)

    def has_login(holder: str, peer: str) -> bool:
        return sealed_logins.has_login(rendered, holder, peer, out)

    render = PlannedRender(
        now=now,
        plan=rendered.plan,
        target=rendered.inputs.target,
        pki=rendered.pki,
        changes=changes,
        directory=rendered.inputs.directory,
        rendered_folders=frozenset(rendered.tree),
        existing_clusters=existing,
        unapplied_clusters=unapplied,
        last_commit=commit,
        last_commit_problems=unknown,
        has_login=has_login,
    )
    return old, new, render


def _list_existing(topology: Topology, changes: Sequence[FolderChange], out: str) -> frozenset[str]:
    """The clusters that have a tree: those of the topology, and those that leave it."""
    known = {c.name for c in topology.clusters} | {c.name for c in changes}
    return frozenset(
        name
        for name in known
        if not name.startswith("_") and os.path.lexists(os.path.join(out, name, MESH_LOCK))
    )


def _read_states(
    rendered: "RenderedMesh",
    changes: Sequence[FolderChange],
    out: str,
    existing: frozenset[str],
    unapplied: frozenset[str],
) -> tuple[MeshState, MeshState]:
    """The tree on disk, and what a render leaves of the trees that clusters run; two empty states
    where nothing differs.
    """
    if not any(change.has_differences for change in changes):
        return open_trees({}, {})
    folders = {name: os.path.join(out, name) for name in (*existing, BUNDLE_FOLDER)}
    before: dict[str, Files] = {
        name: DiskFiles(path, rendered.tree.get(name, {}))
        for name, path in folders.items()
        if os.path.isdir(path)
    }
    gone = {change.name for change in changes if change.action == "remove"} | unapplied
    after = {name: files for name, files in before.items() if name not in gone}
    after |= {name: RenderedFiles(folder) for name, folder in rendered.tree.items()}
    return open_trees(before, after)


def _read_last_commit(
    rendered: "RenderedMesh",
    changes: Sequence[FolderChange],
    out: str,
    unapplied: frozenset[str],
) -> tuple[MeshState | None, tuple[Problem, ...]]:
    """The tree as the last commit has it, or why it cannot be read; None where it is the one on
    disk, or nothing differs.
    """
    if not any(change.has_differences for change in changes if change.name not in unapplied):
        return None, ()
    try:
        tree: Mapping[str, Files] = read_commit(out, rendered.inputs.machine.environment)
    except MeshError as error:
        return None, error.problems
    before = {name: files for name, files in tree.items() if name and name not in unapplied}
    return (open_tree(before) if before else None), ()
