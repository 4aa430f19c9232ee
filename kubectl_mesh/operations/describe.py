"""Describes the mesh: plan, certificates, tree and remote secrets, as far as they can be known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.model import BUNDLE_FOLDER, FolderChange, Pki, Plan
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.observed.secret_states import (
    SecretState,
    StatesByDirectory,
    read_secret_states,
    secret_path,
)
from kubectl_mesh.operations import base_file, build, partial_inputs
from kubectl_mesh.operations.change_review import review_render
from kubectl_mesh.operations.checked_inputs import CheckedInputs, check_directory
from kubectl_mesh.operations.last_commit import list_committed_paths
from kubectl_mesh.operations.paths import Paths
from kubectl_mesh.safety import Review
from kubectl_mesh.topology.selection import select_clusters
from kubectl_mesh.tree.compare import compare_tree


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of a mesh. Where `problems` are, it is known in part."""

    plan: Plan
    pki: Pki
    changes: tuple[FolderChange, ...]
    """What a render would change, of the directories that could be compared."""
    kind: str
    """The kind of control plane."""
    out: str
    now: datetime
    selected_clusters: frozenset[str] | None
    """The clusters to show; None: all of them."""
    files: Mapping[str, frozenset[str]]
    """The files on disk, by directory."""
    committed_paths: frozenset[str] | None
    """The paths below `out` that git's HEAD has; None where there is no repository."""
    secret_states: StatesByDirectory
    """The states of remote secrets on disk that are not as a render would write them."""
    refusal_problems: tuple[Problem, ...]
    """Why a render is refused."""
    problems: tuple[Problem, ...]
    """What is wrong with the inputs or the tree."""
    broken_inputs: frozenset[tuple[str, str]]
    """What is wrong and so not pending, by kind and cluster."""
    assumption: str
    """That Istio 1.4 is assumed; empty if it is not."""
    warnings: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _RenderedState:
    """A mesh as far as it could be rendered and compared."""

    plan: Plan | None = None
    pki: Pki | None = None
    changes: tuple[FolderChange, ...] = ()
    refusal_problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def describe_mesh(
    paths: Paths, clusters: Sequence[str], machine: Machine, *, with_commit: bool = True
) -> Description:
    """What is known of a mesh, or of some of its clusters.

    `with_commit` asks git for what its HEAD has. Raises a `MeshError` where the topology is wrong
    outside of single contexts.
    """
    folder = paths.tree
    found: list[Problem] = []
    topology = partial_inputs.read_valid_contexts(paths.directory, found)
    inputs = check_directory(paths.directory, paths.kubeconfig, machine, topology, folder)
    found += inputs.problems
    only = select_clusters(inputs.topology, clusters) if clusters else None
    known = _render_and_compare(inputs, folder, found) if not found else _RenderedState()
    plan, pki = known.plan, known.pki
    if plan is None or pki is None:
        plan, pki = partial_inputs.plan_without_render(inputs, [p.where.file for p in found])
    by_name = {change.name: change for change in known.changes}
    files = {name: _list_existing_files(change) for name, change in by_name.items()}
    if found:
        uncompared = {
            *plan.members,
            *([BUNDLE_FOLDER] if plan.topology.has_remote_secret_bundle else ()),
        } - by_name.keys()
        files |= partial_inputs.list_secret_files(folder, uncompared)
    is_unknown = not inputs.has_known_kind
    return Description(
        plan=plan,
        pki=pki,
        changes=known.changes,
        kind="control plane not known" if is_unknown else inputs.target.KIND,
        out=folder,
        now=machine.now,
        selected_clusters=only,
        files=files,
        committed_paths=list_committed_paths(folder, machine.environment) if with_commit else None,
        secret_states=_read_states(plan, by_name, files, folder, machine.now, only),
        refusal_problems=known.refusal_problems,
        problems=tuple(sorted(set(found))),
        broken_inputs=inputs.broken_inputs if found else frozenset(),
        assumption=base_file.assumption_text(paths.directory),
        warnings=known.warnings,
    )


def _render_and_compare(inputs: CheckedInputs, folder: str, found: list[Problem]) -> _RenderedState:
    """The mesh as a render would write it, compared with the tree; problems go to `found`."""
    now = inputs.machine.now
    try:
        rendered = build.build_mesh(inputs, now, folder, throwaway=True)
    except MeshError as error:
        found += error.problems
        return _RenderedState()
    changes: tuple[FolderChange, ...] = ()
    review = Review()
    try:
        compared = compare_tree(folder, rendered.tree, inputs.topology.mesh_id, faults=found)
        changes = tuple(c for c in compared if c.name in rendered.tree)
        if not found:
            review = review_render(rendered, compared, folder, now)
    except MeshError as error:
        found += error.problems
    refused = tuple(review.list_problems())
    warnings = (*rendered.warnings, *review.unknown_problems)
    return _RenderedState(rendered.plan, rendered.pki, changes, refused, warnings)


def _list_existing_files(change: FolderChange) -> frozenset[str]:
    """The files of a directory that exist on disk, as far as a render has them."""
    return frozenset(c.path for c in change.changes if c.action != "create")


def _read_states(
    plan: Plan,
    by_name: Mapping[str, FolderChange],
    files: Mapping[str, frozenset[str]],
    out: str,
    now: datetime,
    only: frozenset[str] | None,
) -> StatesByDirectory:
    """The states of the remote secrets on disk that are not as a render would write them."""
    found: dict[tuple[str, str], SecretState] = {}
    names = [n for n in plan.members if only is None or n in only]
    for directory in [BUNDLE_FOLDER] if plan.topology.has_remote_secret_bundle else names:
        change = by_name.get(directory)
        same = (
            {c.path for c in change.changes if c.action in ("identical", "tighten")}
            if change is not None
            else set()
        )
        there = files.get(directory, frozenset()) - same
        peers = plan.members if directory == BUNDLE_FOLDER else plan.members[directory].peers
        wanted = [peer for peer in peers if secret_path(directory, peer) in there]
        if wanted:
            found |= read_secret_states(
                out, plan, {directory: wanted}, now, rendered=change is not None
            )
    return found
