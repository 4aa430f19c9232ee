"""Rotates the root: each step is one change of `certs/`, then a render."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from kubectl_mesh.errors import MeshError, attach_notes, refuse
from kubectl_mesh.fs.exchange import exchange_certificates
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.locking import hold_lock
from kubectl_mesh.fs.read import read_file
from kubectl_mesh.model import CertsChange
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations import private_files
from kubectl_mesh.operations.certs_inputs import build_profile, gather_own_certificates
from kubectl_mesh.operations.checked_inputs import CheckedInputs
from kubectl_mesh.operations.root_rotation import (
    check_clusters_can_follow,
    check_step_rendered,
    check_waiting_time,
    rotation_json,
)
from kubectl_mesh.pki import rotation, rotation_changes
from kubectl_mesh.pki.profile import NamedFile, Progress, ignore_progress
from kubectl_mesh.pki.rotation import Rotation
from kubectl_mesh.text import mesh_command
from kubectl_mesh.workdir.certs_folder import CertsFolder, read_archive
from kubectl_mesh.workdir.places import TOPOLOGY_FILE, relocate_problems
from kubectl_mesh.x509.layout import INTERMEDIATE_FILES, NEXT_ROOT_KEY, ROOT_KEY


@dataclass(frozen=True, slots=True)
class RotationResult:
    """A rotation after a step."""

    inputs: CheckedInputs
    """The working directory, with the step."""
    rotation: Rotation | None
    """None where it is over."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RotationStatus:
    """Where a rotation is."""

    inputs: CheckedInputs
    rotation: Rotation | None
    """None where none is on."""
    json: dict[str, Any]
    """The same for programs; the schema is `report/certs-rotation`."""


def begin_rotation(
    directory: str,
    root: str | None,
    out: str | None,
    machine: Machine,
    progress: Progress = ignore_progress,
    *,
    with_restarts: bool = False,
) -> RotationResult:
    """Creates a new root, or takes `root` out of a file, and trusts it alongside the old one, which
    keeps signing.
    """

    def begin(inputs: CheckedInputs, on: Rotation | None) -> CertsChange:
        if on is not None:
            back = ", or go back with abort" if on.step in ("trust-both", "sign-new") else ""
            raise refuse(
                f"{join_path(directory, 'certs')}/rotation.json",
                f"says that a rotation is on ({on.step}), and a second one waits for it",
                f"finish it with advance{back}",
                code="rotation-is-on",
            )
        check_clusters_can_follow(inputs, with_restarts=with_restarts)
        given = _read_new_root(inputs, root)
        wanted = build_profile(inputs)
        return rotation_changes.begin_rotation(wanted, inputs.certs, machine.now, given, progress)

    return _change_certs(directory, out, machine, begin)


def advance_rotation(
    directory: str,
    out: str | None,
    seen_for: timedelta | None,
    machine: Machine,
    progress: Progress = ignore_progress,
) -> RotationResult:
    """Goes to the next step, once every cluster has been seen to have the one before for long
    enough.
    """

    def advance(inputs: CheckedInputs, on: Rotation | None) -> CertsChange:
        on = _require_rotation(directory, on)
        check_step_rendered(inputs, on, out)
        check_waiting_time(inputs, on, seen_for)
        return rotation_changes.advance_rotation(
            on,
            build_profile(inputs),
            inputs.certs,
            machine.now,
            local=inputs.topology.issuer_kind.signs_here,
            progress=progress,
        )

    return _change_certs(directory, out, machine, advance)


def abort_rotation(
    directory: str, out: str | None, machine: Machine, progress: Progress = ignore_progress
) -> RotationResult:
    """Goes back, as long as the old root is trusted."""

    def abort(inputs: CheckedInputs, on: Rotation | None) -> CertsChange:
        on = _require_rotation(directory, on)
        _check_way_back(directory, on)
        return rotation_changes.abort_rotation(
            on,
            build_profile(inputs),
            _with_archive(directory, inputs.certs, on),
            machine.now,
            local=inputs.topology.issuer_kind.signs_here,
            progress=progress,
        )

    return _change_certs(directory, out, machine, abort)


def read_rotation(directory: str, out: str | None, machine: Machine) -> RotationStatus:
    """Where the rotation is, and which clusters have it in the tree."""
    inputs = gather_own_certificates(directory, machine)
    on = rotation.read_rotation(inputs.certs_files)
    return RotationStatus(inputs, on, rotation_json(inputs, on, out))


def _change_certs(
    directory: str,
    out: str | None,
    machine: Machine,
    step: Callable[[CheckedInputs, Rotation | None], CertsChange],
) -> RotationResult:
    """One change of `certs/`, made under the lock."""
    with hold_lock(directory):
        inputs = gather_own_certificates(directory, machine)
        # What a render would refuse to write is not begun either: no key is made for it.
        tree = out if out is not None else join_path(directory, "out")
        if exposed := private_files.clear_tree_problems(inputs, tree):
            raise MeshError(exposed)
        try:
            change = step(inputs, rotation.read_rotation(inputs.certs_files))
        except MeshError as error:
            raise MeshError(relocate_problems(directory, error.problems)) from None
        private = (*private_files.ARCHIVED_PRIVATE_FILES, f"certs/{NEXT_ROOT_KEY}")
        note = private_files.ignore_private_files(inputs, private)
        with attach_notes([note]):
            exchange_certificates(directory, change)
        inputs = gather_own_certificates(directory, machine)
    return RotationResult(
        inputs, rotation.read_rotation(inputs.certs_files), (note,) if note else ()
    )


def _require_rotation(directory: str, on: Rotation | None) -> Rotation:
    """The rotation; refused where none is on."""
    if on is None:
        raise refuse(
            join_path(directory, "certs"),
            "has no rotation that is on",
            f"begin one with `{mesh_command('certs rotate-root begin')}`",
            code="no-rotation-is-on",
        )
    return on


def _read_new_root(inputs: CheckedInputs, root: str | None) -> NamedFile | None:
    """The new root that somebody else holds; None where it is made here."""
    path = join_path(inputs.directory, TOPOLOGY_FILE)
    if root is None:
        if inputs.topology.issuer_kind.takes_requests:
            raise refuse(
                path,
                "says issuer: csr: the new root is made by whoever holds it",
                "name it with --root FILE",
                code="root-not-named",
            )
        return None
    if not inputs.topology.issuer_kind.takes_requests:
        raise refuse(
            "--root",
            f"is for a root that somebody else holds, and {path} says issuer: local",
            "leave it out, or write issuer: csr",
            code="issuer-not-csr",
        )
    body = read_file(root, "certificates")
    if body is None:
        raise refuse(root, "is not there", "name the new root's certificate", code="file-missing")
    return NamedFile(root, body)


def _check_way_back(directory: str, on: Rotation) -> None:
    """Refuses where the old root is gone, or comes back already."""
    if on.step in rotation.ABORT_STEPS:
        return
    if on.step == "drop-old":
        what, fix = "the old root is dropped", "finish with advance, and rotate to a new root"
    else:
        what, fix = "the rotation is on its way back already", "go on with advance"
    raise refuse(
        f"{join_path(directory, 'certs')}/rotation.json",
        f"says {on.step}: {what}",
        fix,
        code="rotation-without-way-back",
    )


def _with_archive(directory: str, certs: CertsFolder, on: Rotation) -> CertsFolder:
    """`certs/` with the key of an old root, or else the intermediates that signed before."""
    if on.step != "sign-new":
        return certs
    names = rotation_changes.find_archived_roots(on, certs.archive_names)
    found = read_archive(directory, names, (ROOT_KEY,))
    if on.is_union and not found:
        names = [name for name in certs.archive_names if name.startswith("intermediate-")]
        found = read_archive(directory, names, INTERMEDIATE_FILES)
    return replace(certs, archived_files=found)
