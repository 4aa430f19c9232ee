"""Renders the mesh: reads a working directory, refuses what running clusters do not survive, and
writes certificates and tree.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from kubectl_mesh.credentials.tokens import TOKEN_CHECKS
from kubectl_mesh.errors import MeshError, Place, Problem, attach_notes, refuse
from kubectl_mesh.fs.durable import NOT_WRITABLE
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.locking import hold_lock
from kubectl_mesh.fs.owned_files import write_certificates
from kubectl_mesh.model import FolderChange, Plan
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations import base_file, build, private_files
from kubectl_mesh.operations.build import RenderedMesh
from kubectl_mesh.operations.change_review import review_before_write, review_render
from kubectl_mesh.operations.checked_inputs import CheckedInputs, load_inputs
from kubectl_mesh.operations.paths import Paths
from kubectl_mesh.operations.sealed_tree import SealedTree
from kubectl_mesh.operations.unapplied_clusters import check_unapplied_needed, resolve_unapplied
from kubectl_mesh.pki.profile import Progress, ignore_progress
from kubectl_mesh.safety import Review
from kubectl_mesh.stores import store_of
from kubectl_mesh.targets.teardown import Leaving
from kubectl_mesh.text import marked_text
from kubectl_mesh.topology.selection import select_clusters
from kubectl_mesh.tree.compare import compare_tree, find_foreign_entries
from kubectl_mesh.tree.write import recover_killed_run, write_tree
from kubectl_mesh.workdir.topology_file import read_topology
from kubectl_mesh.x509.layout import CRL_FILE, SEAL_KEY


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """What a render does beyond the default."""

    clusters: tuple[str, ...] = ()
    """The clusters to render, by name or context; none: all of them."""
    reseal: bool = False
    """Everything is sealed again, with a new seal key."""
    strict: bool = False
    """What is pending, and what tokens warn of, is an error."""
    with_restarts: bool = False
    """Changes of remote secrets after which istiod has to restart are accepted."""
    unapplied: tuple[str, ...] = ()
    """The clusters that run nothing of their tree."""
    confirmed: tuple[str, ...] = ()
    """Those of `unapplied` whose tree the last commit holds."""


@dataclass(frozen=True, slots=True)
class _Request:
    """A call of `render_mesh`."""

    paths: Paths
    options: RenderOptions
    machine: Machine
    writes: bool


@dataclass(frozen=True, slots=True)
class RenderResult:
    """What a render did, or would do."""

    rendered: RenderedMesh
    changes: tuple[FolderChange, ...]
    out: str
    foreign_entries: tuple[str, ...]
    """What is in `out` and does not belong to the mesh."""
    removals: Leaving
    """What leaves the tree and is still in the clusters."""
    warnings: tuple[Problem, ...]
    assumption: str
    """That Istio 1.4 is assumed; empty if it is not."""
    is_written: bool
    notes: tuple[str, ...]
    """What was written next to the tree and has to be kept."""
    needs_restarts: bool
    """Whether istiod has to restart in the clusters that take the change."""

    @property
    def has_differences(self) -> bool:
        """Whether a byte changes. Modes do not count: git keeps none, so a checkout of the same
        tree has others.
        """
        return (
            bool(self.rendered.pki.new_files)
            or self.rendered.seal_key is not None
            or any(change.has_differences for change in self.changes)
        )


def render_mesh(
    paths: Paths,
    options: RenderOptions,
    machine: Machine,
    *,
    writes: bool = True,
    progress: Progress = ignore_progress,
) -> RenderResult:
    """Renders the mesh; without `writes`, only returns what a render would do.

    Raises a `MeshError` for invalid inputs, and for a change that running clusters do not survive.
    """
    try:
        return _render(_Request(paths, options, machine, writes), progress)
    except MeshError as error:
        raise error.with_problems(map(_with_dry_run, error.problems)) from None


def _render(request: _Request, progress: Progress) -> RenderResult:
    paths, out = request.paths, request.paths.tree
    private_files.check_folders(paths.directory, paths.out)
    with _locked_folders(request):
        unapplied = _find_unapplied_clusters(request)
        inputs = _read_inputs(request, unapplied)
        if request.writes:
            recover_killed_run(out)
        rendered = build.build_mesh(
            inputs,
            request.machine.now,
            out,
            sealed=SealedTree(inputs, out, reseal=request.options.reseal),
            throwaway=not request.writes,
            progress=progress,
        )
        wanted = _selected_folders(rendered) if request.options.clusters else None
        changes = compare_tree(out, rendered.tree, inputs.topology.mesh_id, wanted)
        review = _review_changes(request, rendered, changes, unapplied)
        if request.options.strict:
            _refuse_doubtful(rendered)
        notes: list[str] = []
        if request.writes:
            with attach_notes(notes):
                _write_mesh(request, rendered, changes, notes)
    return RenderResult(
        rendered,
        changes,
        out,
        () if request.options.clusters else find_foreign_entries(out, rendered.tree, changes),
        review.removals,
        (*rendered.warnings, *review.list_warnings()),
        base_file.assumption_text(paths.directory),
        request.writes,
        tuple(notes),
        bool(review.restarts),
    )


@contextlib.contextmanager
def _locked_folders(request: _Request) -> Iterator[None]:
    """Holds the folders that are written to against other runs."""
    directory, out = request.paths.directory, request.paths.out
    with contextlib.ExitStack() as stack:
        if request.writes:
            stack.enter_context(hold_lock(directory))
            if out is not None and os.path.isdir(out) and not os.path.samefile(out, directory):
                stack.enter_context(hold_lock(out))
        yield


def _find_unapplied_clusters(request: _Request) -> frozenset[str]:
    """The clusters that run nothing of their tree."""
    options = request.options
    if not (options.unapplied or options.confirmed):
        return frozenset()
    return resolve_unapplied(
        options.unapplied,
        options.confirmed,
        read_topology(request.paths.directory),
        request.paths.tree,
        request.machine.environment,
    )


def _read_inputs(request: _Request, unapplied: frozenset[str]) -> CheckedInputs:
    """The inputs of the clusters to render; refuses private files that git would take."""
    paths = request.paths
    inputs = load_inputs(
        paths.directory, paths.kubeconfig, request.machine, out=paths.tree, unapplied=unapplied
    )
    only = select_clusters(inputs.topology, request.options.clusters)
    exposed = private_files.clear_tree_problems(inputs, paths.tree)
    if os.path.lexists(join_path(paths.directory, ".gitignore")):
        exposed += private_files.unignored_problems(inputs)
    if exposed:
        raise MeshError(exposed)
    if request.options.reseal:
        _check_reseal(request, inputs)
    return build.narrow_inputs(inputs, only) if request.options.clusters else inputs


def _check_reseal(request: _Request, inputs: CheckedInputs) -> None:
    if request.options.clusters:
        raise refuse(
            "--reseal",
            "seals the whole mesh, and --cluster a part of it",
            "leave one of the two out",
            code="options-exclude-each-other",
        )
    if not store_of(inputs.topology).ENCRYPTS:
        raise refuse(
            "--reseal",
            f"is for the stores sops and sealed, not for {inputs.topology.store}",
            "leave it out",
            code="store-does-not-encrypt",
        )


def _selected_folders(rendered: RenderedMesh) -> frozenset[str]:
    """The directories of the clusters to render, and of the mesh as a whole, which is rendered with
    any of its clusters.
    """
    return (rendered.inputs.selected_clusters or frozenset()) | {
        name for name in rendered.tree if name.startswith("_")
    }


def _review_changes(
    request: _Request,
    rendered: RenderedMesh,
    changes: tuple[FolderChange, ...],
    unapplied: frozenset[str],
) -> Review:
    """Refuses what running clusters do not survive, and `--unapplied` where it changes nothing."""
    out, at = request.paths.tree, rendered.inputs.machine.now
    restarts = request.options.with_restarts
    review = review_before_write(rendered, changes, out, at, unapplied)
    if refused := review.list_problems(with_restarts=restarts):
        raise MeshError(refused)
    if unapplied:
        lost = base_file.lost_base_problems(request.paths.directory, rendered.inputs.topology, out)
        whole = review_render(rendered, changes, out, at)
        lifted = bool(lost) or bool(whole.list_problems(with_restarts=restarts))
        check_unapplied_needed(request.options.unapplied, lifted=lifted)
    return review


def _refuse_doubtful(rendered: RenderedMesh) -> None:
    """Refuses a mesh in which anything is pending, or a token warns of something."""
    doubtful = [w for w in rendered.warnings if w.id in TOKEN_CHECKS]
    if rendered.plan.pending or doubtful:
        raise MeshError((*_pending_problems(rendered.plan), *doubtful))


def _write_mesh(
    request: _Request, rendered: RenderedMesh, changes: tuple[FolderChange, ...], notes: list[str]
) -> None:
    """Writes .gitignore, certificates and tree; `notes` gets what was written next to the tree."""
    inputs = rendered.inputs
    if ignored := private_files.ignore_private_files(inputs):
        notes.append(ignored)
    certificates = dict(rendered.pki.new_files)
    if rendered.seal_key is not None:
        certificates[SEAL_KEY] = rendered.seal_key
    if certificates or inputs.has_interrupted_run:
        write_certificates(
            join_path(inputs.directory, "certs"),
            certificates,
            replaced=(CRL_FILE, *((SEAL_KEY,) if request.options.reseal else ())),
        )
    if rendered.seal_key is not None:
        notes.append(
            f"wrote {join_path(inputs.directory, 'certs')}/{SEAL_KEY}, by which later renders"
            " change no"
            " more than they must: keep it"
        )
    write_tree(request.paths.tree, rendered.tree, changes)


def _with_dry_run(problem: Problem) -> Problem:
    """A problem of the right to write, with the options that do without."""
    if problem.code != NOT_WRITABLE:
        return problem
    return replace(problem, fix=f"{problem.fix}; --check and --dry-run need none")


def _pending_problems(plan: Plan) -> list[Problem]:
    name = plan.topology.document.name
    return [
        Problem(
            Place(name, path=p.subject),
            f"{p.what} is pending; it holds back {marked_text(p.holds_back)}",
            f"run: {marked_text(p.command)}",
            code=f"{p.kind}-pending",
        )
        for p in plan.pending
    ]
