"""Creates a working directory, or completes one."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from kubectl_mesh import targets
from kubectl_mesh.errors import MeshError, Problem, refuse
from kubectl_mesh.fs.durable import make_folder
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.locking import hold_lock
from kubectl_mesh.fs.owned_files import add_files, replace_file, write_certificates
from kubectl_mesh.model import Topology
from kubectl_mesh.model.issuers import DEFAULT_ISSUER
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations import base_file, build, private_files
from kubectl_mesh.operations.context_entry import Warn
from kubectl_mesh.operations.existing_topology import (
    ExistingTopology,
    complete_topology,
    copy_servers,
)
from kubectl_mesh.operations.file_actions import FileAction, add_missing_file
from kubectl_mesh.operations.new_topology import NewTopology, build_topology
from kubectl_mesh.operations.stated_values import StatedValues
from kubectl_mesh.targets.control_plane import check_base
from kubectl_mesh.targets.target import Target
from kubectl_mesh.workdir.base_file import read_base
from kubectl_mesh.workdir.git_ignore import (
    FIRST_PRIVATE_FILES,
    GITIGNORE_FILE,
    unignored_file_problems,
    write_gitignore,
)
from kubectl_mesh.workdir.places import BASE_FILE, TOPOLOGY_FILE


@dataclass(frozen=True, slots=True)
class InitOptions:
    """What a working directory should have."""

    directory: str
    mesh_id: str | None = None
    organization: str | None = None
    control_plane: str = targets.DEFAULT
    """The kind of base.yaml."""
    issuer: str = DEFAULT_ISSUER
    contexts: tuple[str, ...] = ()
    """`CTX=NETWORK`."""
    kubeconfig: str | None = None
    """The kubeconfig of the contexts; None: that of the environment."""


@dataclass(frozen=True, slots=True)
class InitResult:
    """A working directory that was created or completed."""

    directory: str
    files: tuple[FileAction, ...]
    warnings: tuple[Problem, ...]
    added_kind: str
    """The kind of a base.yaml that was created next to an existing topology.yaml; empty if none
    was.
    """
    has_clusters: bool
    """Whether there is something to render."""


def initialize_directory(
    options: InitOptions, sources: Mapping[str, str], machine: Machine, warn: Warn
) -> InitResult:
    """Writes the files of a working directory that are missing; existing ones are kept, and a
    topology.yaml gets what it lacks.

    `sources` names the flag or variable that states `mesh_id`, `organization` and `control_plane`;
    empty for a default. `warn` reports what an error must not hide. Raises a `MeshError`, with the
    code `mesh-id-missing` if a new mesh has no name.
    """
    directory = options.directory
    stated = StatedValues(
        directory,
        options.mesh_id,
        options.organization,
        options.issuer,
        options.contexts,
        sources,
    )
    start: NewTopology | ExistingTopology
    if os.path.lexists(join_path(directory, TOPOLOGY_FILE)):
        start = complete_topology(stated)
        if start.body != start.source:
            private_files.check_regular(join_path(directory, TOPOLOGY_FILE))
        kind = None if sources["control_plane"] else _find_rendered_kind(directory, start.topology)
    else:
        start, kind = build_topology(stated, options.kubeconfig, machine, warn), None
    kind = kind or options.control_plane
    target = _choose_target(
        directory, start.topology, kind, is_stated=bool(sources["control_plane"])
    )
    make_folder(directory)
    with hold_lock(directory):
        ignore = _write_gitignore(directory, machine)
        if isinstance(start, NewTopology):
            return _write_new_directory(options, start, target, ignore, machine)
        return _complete_directory(options, start, target, ignore, machine)


def _find_rendered_kind(directory: str, topology: Topology) -> str | None:
    """The kind of the tree; one that was rendered without base.yaml keeps it."""
    if os.path.lexists(join_path(directory, BASE_FILE)):
        return None
    return base_file.find_rendered_kind(topology, join_path(directory, "out"))


def _choose_target(directory: str, topology: Topology, kind: str, *, is_stated: bool) -> Target:
    """The target of base.yaml; where there is none, that of a kind."""
    path = join_path(directory, BASE_FILE)
    if not os.path.lexists(path):
        return targets.KINDS[kind]
    target = check_base(read_base(directory), topology).target
    if is_stated and kind != target.KIND:
        raise refuse(
            path,
            f"is of kind {target.KIND}, and --control-plane asks for {kind}",
            "leave --control-plane out; or move base.yaml away, to have one of kind"
            f" {kind} written",
            code="control-plane-differs",
        )
    return target


def _write_gitignore(directory: str, machine: Machine) -> FileAction:
    """Writes .gitignore; raises a `MeshError` if git would take keys all the same."""
    action = FileAction("create" if write_gitignore(directory) else "keep", GITIGNORE_FILE)
    ignore = join_path(directory, GITIGNORE_FILE)
    if bare := unignored_file_problems(directory, FIRST_PRIVATE_FILES, ignore, machine.environment):
        raise MeshError(bare)
    return action


def _write_new_directory(
    options: InitOptions, new: NewTopology, target: Target, ignore: FileAction, machine: Machine
) -> InitResult:
    """Writes the files of a new working directory."""
    directory = options.directory
    files = {**new.authorities, BASE_FILE: target.STARTER.encode()}
    done = [add_missing_file(directory, name, body) for name, body in files.items()]
    done += _write_root(directory, new.topology, target, machine)
    make_folder(join_path(directory, "credentials"), 0o700)
    # Last: without it, every command says what to do; with it and without base.yaml, the mesh
    # would be one of Istio 1.4.
    topology = add_missing_file(directory, TOPOLOGY_FILE, new.body)
    return InitResult(
        directory,
        (ignore, topology, *done),
        (),
        added_kind="",
        has_clusters=bool(options.contexts),
    )


def _complete_directory(
    options: InitOptions,
    existing: ExistingTopology,
    target: Target,
    ignore: FileAction,
    machine: Machine,
) -> InitResult:
    """Writes what an existing topology.yaml and its working directory lack."""
    directory = options.directory
    base = add_missing_file(directory, BASE_FILE, target.STARTER.encode())
    copied = copy_servers(directory, existing, options.kubeconfig, machine)
    for name, body in copied.authorities.items():
        add_files(directory, {name: body})
    body = copied.text.encode()
    if body != existing.source:
        replace_file(join_path(directory, TOPOLOGY_FILE), existing.source, body)
    root = _write_root(directory, existing.topology, target, machine)
    make_folder(join_path(directory, "credentials"), 0o700)
    return InitResult(
        directory,
        (
            FileAction("keep" if body == existing.source else "update", TOPOLOGY_FILE),
            *(FileAction("create", name) for name in copied.authorities),
            ignore,
            base,
            *root,
        ),
        tuple(copied.problems),
        added_kind=target.KIND if base.action == "create" else "",
        has_clusters=True,
    )


def _write_root(
    directory: str, topology: Topology, target: Target, machine: Machine
) -> list[FileAction]:
    """Creates the root that is missing, if intermediates are signed here."""
    if not topology.issuer_kind.signs_here:
        return []
    key_type = topology.key_type or target.KEY_TYPE
    pki = build.build_root(
        directory, topology.organization, key_type, topology.root_days, machine.now
    )
    if pki.new_files:
        write_certificates(join_path(directory, "certs"), pki.new_files)
    return [
        FileAction("create" if name in pki.new_files else "keep", f"certs/{name}")
        for name in ("root-key.pem", "root-cert.pem")
    ]
