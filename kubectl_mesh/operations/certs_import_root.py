"""Imports a root: one's own, or those of running clusters next to the one that is here."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from kubectl_mesh.errors import MeshError, Place, Problem, attach_notes, refuse
from kubectl_mesh.fs.durable import make_folder
from kubectl_mesh.fs.exchange import exchange_certificates
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.locking import hold_lock
from kubectl_mesh.fs.owned_files import write_certificates
from kubectl_mesh.fs.read import read_file
from kubectl_mesh.model import Topology
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.observed.signing_ca import find_trusted_roots
from kubectl_mesh.operations import dumps, root_rotation
from kubectl_mesh.operations.certs_inputs import gather_own_certificates, keep_keys_out
from kubectl_mesh.operations.checked_inputs import CheckedInputs, load_inputs
from kubectl_mesh.pki import rotation, union_rotation
from kubectl_mesh.pki.profile import NamedFile
from kubectl_mesh.pki.root_import import plan_root_import
from kubectl_mesh.pki.rotation import Rotation
from kubectl_mesh.workdir.certs_folder import read_certs
from kubectl_mesh.workdir.places import TOPOLOGY_FILE, relocate_problems
from kubectl_mesh.workdir.topology_file import read_topology
from kubectl_mesh.x509.layout import (
    CRL_FILE,
    INTERMEDIATE_FILES,
    NEXT_ROOT_KEY,
    ROOT_CERT,
    ROOT_KEY,
    ROTATION_FILE,
    intermediate_folder,
)

NO_CONTEXT = "none"
"""The placeholder context of a topology without clusters."""


@dataclass(frozen=True, slots=True)
class ImportedRoot:
    """A root of one's own in `certs/`."""

    certs: str
    """The path of `certs/`."""
    created: frozenset[str]
    """The new files, by path below `certs/`."""
    has_key: bool
    has_topology: bool
    warnings: tuple[Problem, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RootUnion:
    """The roots of running clusters next to the one that is here."""

    certs: str
    """The path of `certs/`."""
    written: tuple[str, ...]
    """The files that were written, by path below `certs/`, the bundle before its copies."""
    existed: frozenset[str]
    """Those of them that were there."""
    warnings: tuple[Problem, ...]
    notes: tuple[str, ...]
    not_imported: tuple[str, ...] = ()
    """The clusters whose intermediates are not here yet."""
    inputs: CheckedInputs | None = None
    """The working directory afterwards; None if there is no mesh yet."""
    rotation: Rotation | None = None
    """The rotation that it begins, or that was on."""


def import_root(directory: str, file: str, key: str | None, machine: Machine) -> ImportedRoot:
    """Imports a root of one's own as `certs/root-cert.pem`, judged before anything is written; with
    its key this directory signs the intermediates.
    """
    root, pair = _read_pair(file, key)
    topology = _read_topology(directory)
    _check_signs_here(directory, topology)
    if key is None and topology is not None and not topology.issuer_kind.takes_requests:
        raise refuse(
            join_path(directory, TOPOLOGY_FILE),
            f"says issuer: {topology.issuer}, and without its key the root in {file} signs nothing"
            " here",
            "give --key FILE; or write `certificates: {issuer: csr}`, and somebody else signs",
            code="root-key-not-named",
        )
    make_folder(directory)
    base = join_path(directory, "certs")
    with hold_lock(directory):
        existing, clusters = _read_files(directory, topology)
        try:
            imported = plan_root_import(root, pair, existing, clusters, machine.now)
        except MeshError as error:
            raise MeshError(relocate_problems(directory, error.problems)) from None
        notes = keep_keys_out(directory, machine)
        with attach_notes(notes):
            for name, body in imported.files.items():
                write_certificates(base, {name: body})
            if not imported.files:
                write_certificates(base, {})  # takes away what a killed run left unfinished
    return ImportedRoot(
        base,
        frozenset(imported.files),
        pair is not None,
        topology is not None,
        relocate_problems(directory, imported.warnings),
        notes,
    )


def _read_pair(file: str, key: str | None) -> tuple[NamedFile, NamedFile | None]:
    """A root and its key, as they were named."""
    named = {
        path: read_file(path, "certificates", pipe=True) for path in (file, key) if path is not None
    }
    if missing := [path for path, body in named.items() if body is None]:
        raise MeshError(
            Problem(
                Place(path),
                "is not there",
                "name the root's certificate" if path == file else "name the root's key",
                code="file-missing",
            )
            for path in missing
        )
    files = {path: NamedFile(path, body or b"") for path, body in named.items()}
    return files[file], None if key is None else files[key]


def import_union(
    directory: str, files: Sequence[str], key: str | None, machine: Machine
) -> RootUnion:
    """Imports the roots of running clusters next to the existing one; with a key, also the root
    that will sign for all. This is the first step of a rotation.
    """
    others, own = _read_roots(files, key)
    with hold_lock(directory):
        topology = _read_topology(directory)
        _check_signs_here(directory, topology)
        existing, clusters = _read_files(directory, topology)
        runs = _has_clusters(topology)
        if runs:
            root_rotation.check_one_root(load_inputs(directory, None, machine))
        try:
            change, taken = union_rotation.begin_union(others, own, existing, clusters, machine.now)
        except MeshError as error:
            raise MeshError(relocate_problems(directory, error.problems)) from None
        notes: tuple[str, ...] = ()
        if change.write:
            private = (f"certs/{NEXT_ROOT_KEY}", ".kubectl-mesh-certs/root-key.pem")
            notes = keep_keys_out(directory, machine, private)
            with attach_notes(notes):
                exchange_certificates(directory, change)
    inputs = gather_own_certificates(directory, machine) if runs else None
    own_clusters = (
        {c.name for c in inputs.topology.clusters if c.primary is None} if inputs else set()
    )
    return RootUnion(
        join_path(directory, "certs"),
        tuple(sorted(change.write, key=lambda path: (path != ROOT_CERT, path))),
        frozenset(change.write) & frozenset(existing),
        taken.warnings,
        notes,
        tuple(sorted(own_clusters - set(clusters))),
        inputs,
        rotation.read_rotation(inputs.certs_files) if inputs is not None else None,
    )


def _has_clusters(topology: Topology | None) -> bool:
    """Whether there is a mesh whose certificates are here."""
    return (
        topology is not None
        and topology.has_intermediate_files
        and [c.context for c in topology.clusters] != [NO_CONTEXT]
    )


def _read_roots(files: Sequence[str], key: str | None) -> tuple[list[NamedFile], NamedFile | None]:
    """Reads the roots of clusters, and the key of the root that will sign for all; raises all
    problems at once.
    """
    others: list[NamedFile] = []
    problems: list[Problem] = []
    for file in files:
        try:
            others.append(NamedFile(file, _read_root(file)))
        except MeshError as error:
            problems += error.problems
    own = None
    if key is not None:
        body = read_file(key, "key", pipe=True)
        if body is None:
            problems.append(
                Problem(
                    Place(key),
                    "is not there",
                    "name the key of the root that all are to come under",
                    code="file-missing",
                )
            )
        own = NamedFile(key, body or b"")
    if problems:
        raise MeshError(problems)
    return others, own


def _read_root(file: str) -> bytes:
    """The root of a cluster: PEM, or out of a dump."""
    if not os.path.isdir(file):
        body = read_file(file, pipe=True)
        if body is None:
            raise refuse(
                file,
                "is not there",
                "name the root of a cluster: PEM, or a dump",
                code="file-missing",
            )
        if dumps.is_pem(body):
            return body
    return find_trusted_roots(file, dumps.read_objects(file))


def _check_signs_here(directory: str, topology: Topology | None) -> None:
    """Refuses a root that would sign nothing, because an issuer in the clusters has its own."""
    if topology is not None and not topology.has_intermediate_files:
        raise refuse(
            join_path(directory, TOPOLOGY_FILE),
            f"says issuer: {topology.issuer}, which has its root in the clusters; one that is here"
            " signs nothing",
            "bring the root in there; or write issuer: local or csr",
            code="certificates-made-in-clusters",
        )


def _read_topology(directory: str) -> Topology | None:
    """The topology; None if it does not exist yet, because a root can come first."""
    return (
        read_topology(directory, allow_empty=True)
        if os.path.lexists(join_path(directory, TOPOLOGY_FILE))
        else None
    )


def _read_files(
    directory: str, topology: Topology | None
) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """The existing files of `certs/`, and the clusters with an intermediate among them."""
    names = None if topology is None else [c.name for c in topology.clusters]
    certs = read_certs(directory, names)
    known = [
        base
        for base in certs.intermediate_folders
        if names is None or base in {intermediate_folder(name) for name in names}
    ]
    wanted = {
        ROOT_CERT,
        ROOT_KEY,
        NEXT_ROOT_KEY,
        ROTATION_FILE,
        CRL_FILE,
        *(f"{base}/{part}" for base in known for part in INTERMEDIATE_FILES),
    }
    kept = {path: body for path, body in certs.files.items() if path in wanted}
    return kept, tuple(base.removeprefix(intermediate_folder("")) for base in known)
