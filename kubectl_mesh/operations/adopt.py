"""Adopts a running mesh: reads dumps, writes a working directory, compares it with what runs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from kubectl_mesh.adopt.difference import Difference
from kubectl_mesh.adopt.evidence import Notes, UnusedItem
from kubectl_mesh.adopt.running_mesh import Overrides, RunningMesh
from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.fs import owned_files
from kubectl_mesh.fs.durable import make_folder
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.locking import hold_lock
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations import dumps
from kubectl_mesh.operations.adopted_difference import compare_first_render
from kubectl_mesh.operations.adopted_files import AdoptedFiles, build_files
from kubectl_mesh.operations.context_networks import split_network
from kubectl_mesh.operations.file_actions import FileAction, add_missing_file
from kubectl_mesh.workdir.git_ignore import GITIGNORE_FILE, unignored_file_problems, write_gitignore
from kubectl_mesh.workdir.places import TOPOLOGY_FILE


@dataclass(frozen=True, slots=True)
class AdoptRequest:
    """What to adopt, and into which directory."""

    files: tuple[str, ...]
    """Dumps: `CTX=PATH`, a folder with a folder for each context, or a kubeconfig."""
    directory: str
    mesh_id: str | None = None
    networks: tuple[str, ...] = ()
    """`CTX=NETWORK`: the network of a cluster, where no dump says it, or two disagree."""
    control_plane: str | None = None
    """The kind of base.yaml, where no dump has a control plane."""


@dataclass(frozen=True, slots=True)
class AdoptResult:
    """A mesh that was adopted."""

    directory: str
    mesh: RunningMesh
    files: tuple[FileAction, ...]
    differences: tuple[Difference, ...]
    """What the first render would change of what runs."""
    unused: tuple[UnusedItem, ...]
    """What of the dumps was taken into nothing."""
    warnings: tuple[Problem, ...]


def adopt_mesh(request: AdoptRequest, machine: Machine) -> AdoptResult:
    """Writes the files of a mesh that are missing in a directory; existing ones are kept.

    Raises a `MeshError` with every problem of the dumps, before anything is written.
    """
    directory = request.directory
    networks = dict(split_network("--network", stated) for stated in request.networks)
    found = dumps.read_arguments(request.files)
    notes = Notes()
    mesh, files = build_files(
        found,
        Overrides(request.mesh_id, networks),
        request.control_plane,
        directory,
        machine,
        notes,
    )
    if notes.problems:
        raise MeshError(notes.problems)
    written = _write_files(directory, files, machine.environment)
    first = compare_first_render(directory, machine, mesh, found, notes)
    return AdoptResult(
        directory,
        mesh,
        tuple(written),
        first.differences,
        tuple(sorted(set(notes.unused))),
        (*dumps.mode_problems(found), *first.warnings),
    )


def _write_files(
    directory: str, files: AdoptedFiles, environment: Mapping[str, str]
) -> list[FileAction]:
    """Writes the files that are missing."""
    make_folder(directory)
    with hold_lock(directory):
        done = [FileAction("create" if write_gitignore(directory) else "keep", GITIGNORE_FILE)]
        secret = [n for n in files.private if not n.startswith("certs/") or n.endswith("key.pem")]
        if bare := unignored_file_problems(
            directory,
            [*secret, "certs/root-key.pem"],
            join_path(directory, GITIGNORE_FILE),
            environment,
        ):
            raise MeshError(bare)
        certificates = _write_certificates(directory, files.private)
        done += [
            add_missing_file(directory, name, body, private=True)
            for name, body in files.private.items()
            if not name.startswith("certs/")
        ]
        done += certificates
        # The topology comes last: while it is not there, nothing is rendered of what is not
        # complete.
        done += [
            add_missing_file(directory, name, body)
            for name, body in sorted(
                files.public.items(), key=lambda item: item[0] == TOPOLOGY_FILE
            )
        ]
        make_folder(os.path.join(directory, "credentials"), 0o700)
    return sorted(done, key=lambda f: (f.path != GITIGNORE_FILE, "/" in f.path, f.path))


def _write_certificates(directory: str, private: Mapping[str, bytes]) -> list[FileAction]:
    """Writes the certificates and keys of `certs/`; a folder is taken over whole or not at all."""
    certs = {n.removeprefix("certs/"): b for n, b in private.items() if n.startswith("certs/")}
    existing = {
        p.partition("/")[0]
        for p in certs
        if os.path.lexists(os.path.join(directory, "certs", p.partition("/")[0]))
    }
    fresh = {p: b for p, b in certs.items() if p.partition("/")[0] not in existing}
    if certs:
        owned_files.write_certificates(os.path.join(directory, "certs"), fresh)
    return [FileAction("create" if p in fresh else "keep", f"certs/{p}") for p in sorted(certs)]
