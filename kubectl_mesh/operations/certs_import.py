"""Imports the intermediate of a cluster: a certificate that came back for a request, or the files
that a running cluster signs with.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from kubectl_mesh.errors import MeshError, Place, Problem, attach_notes, refuse
from kubectl_mesh.fs.exchange import exchange_certificates
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.locking import hold_lock
from kubectl_mesh.fs.owned_files import write_certificates
from kubectl_mesh.fs.read import read_file
from kubectl_mesh.model import Cluster
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.observed.signing_ca import find_signing_ca
from kubectl_mesh.operations import dumps, private_files
from kubectl_mesh.operations.certs_inputs import gather_for_requests, keep_keys_out
from kubectl_mesh.operations.checked_inputs import CheckedInputs, load_inputs
from kubectl_mesh.pki import intermediate_import, rotation
from kubectl_mesh.pki.intermediate_import import CacertsFiles
from kubectl_mesh.pki.profile import NamedFile
from kubectl_mesh.pki.renewal import accept_renewal
from kubectl_mesh.pki.signing_requests import (
    AwaitedIntermediate,
    accept_intermediate,
    is_renewal_pending,
)
from kubectl_mesh.text import work_path
from kubectl_mesh.topology.selection import select_clusters
from kubectl_mesh.workdir.places import TOPOLOGY_FILE, relocate_problems
from kubectl_mesh.x509.chain import outlives_root_problems
from kubectl_mesh.x509.layout import ROOT_CERT, intermediate_folder


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """The files that somebody named."""

    name: str
    """The cluster, by name or context."""
    file: str
    root: str | None = None
    """The root that signed it."""
    key: str | None = None
    """The key of an intermediate that is in use."""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The intermediate that a cluster has now."""

    certs: str
    """The path of `certs/`."""
    cluster: Cluster
    created: tuple[str, ...] = ()
    """The new files, by path below `certs/`."""
    archived: str | None = None
    """Where the intermediate is that it replaces, below `certs/`; None where there was none."""
    was_in_use: bool = False
    """The cluster signs with it already."""
    kind: str = ""
    """The kind of base.yaml."""
    store: str = ""
    warnings: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def import_intermediate(directory: str, request: ImportRequest, machine: Machine) -> ImportResult:
    """Judges the files for a cluster, and writes them to `certs/`; what does not fit is refused,
    and nothing is changed.
    """
    if _is_in_use(request):
        return _import_in_use(directory, request, machine)
    certificate, root = _read_certificates(request)
    with hold_lock(directory):
        inputs = gather_for_requests(directory, machine)
        (name,) = select_clusters(inputs.topology, (request.name,), "NAME")
        there = inputs.certs_files.get(ROOT_CERT)
        if root is not None and there is not None and there.split() != root.body.split():
            raise refuse(
                root.name,
                f"is another root than {join_path(directory, 'certs')}/{ROOT_CERT}",
                "leave --root out, or find out which is right",
                code="root-exists",
            )
        if is_renewal_pending(name, inputs.certs_files):
            return _import_next(inputs, name, certificate)
        return _import_first(inputs, name, certificate, root)


def _is_in_use(request: ImportRequest) -> bool:
    """Whether the file is of a running cluster: a dump or a folder, or named with its key."""
    if request.key is not None or os.path.isdir(request.file):
        return True
    if not os.path.isfile(request.file):
        return False
    body = read_file(request.file) or b""
    return not dumps.is_pem(body) and any(word in body for word in (b"kind:", b'"kind"'))


def _read_certificates(request: ImportRequest) -> tuple[NamedFile, NamedFile | None]:
    """The certificate that came back, and the root that was named."""
    bodies = {
        path: read_file(path, "certificates")
        for path in (request.file, request.root)
        if path is not None
    }
    if missing := [path for path, body in bodies.items() if body is None]:
        fixes = {request.file: "name the file that came back, or what was printed of cacerts"}
        raise MeshError(
            Problem(
                Place(path),
                "is not there",
                fixes.get(path, "name the root's certificate"),
                code="file-missing",
            )
            for path in missing
        )
    named = {path: NamedFile(path, body or b"") for path, body in bodies.items()}
    return named[request.file], None if request.root is None else named[request.root]


def _import_first(
    inputs: CheckedInputs, name: str, certificate: NamedFile, root: NamedFile | None
) -> ImportResult:
    """Imports the first certificate of a cluster."""
    directory, now = inputs.directory, inputs.machine.now
    clusters = [c.name for c in inputs.topology.clusters]
    try:
        new = accept_intermediate(
            AwaitedIntermediate(name, clusters, intermediate_folder(name)),
            certificate,
            root,
            inputs.certs_files,
            now,
        )
        _check_signer(inputs, name, certificate.name, new)
    except MeshError as error:
        given = (certificate.name, root.name if root is not None else None)
        raise MeshError(relocate_problems(directory, error.problems, option_files=given)) from None
    note = private_files.ignore_private_files(inputs)
    with attach_notes([note]):
        write_certificates(join_path(directory, "certs"), new)
    return replace(
        _start_result(inputs, name),
        created=tuple(sorted(new)),
        warnings=tuple(
            outlives_root_problems(
                certificate.name, {**inputs.certs_files, **new}, intermediate_folder(name)
            )
        ),
        notes=(note,) if note else (),
    )


def _import_next(inputs: CheckedInputs, name: str, certificate: NamedFile) -> ImportResult:
    """Imports an intermediate that follows the one in use, which goes to the archive."""
    directory = inputs.directory
    clusters = [c.name for c in inputs.topology.clusters]
    try:
        change = accept_renewal(name, clusters, certificate, inputs.certs, inputs.machine.now)
        _check_signer(inputs, name, certificate.name, change.write)
    except MeshError as error:
        raise MeshError(
            relocate_problems(directory, error.problems, option_files=(certificate.name,))
        ) from None
    note = private_files.ignore_private_files(inputs, private_files.ARCHIVED_PRIVATE_FILES)
    with attach_notes([note]):
        exchange_certificates(directory, change)
    return replace(
        _start_result(inputs, name),
        archived=change.rename[intermediate_folder(name)],
        warnings=tuple(
            outlives_root_problems(certificate.name, change.write, intermediate_folder(name))
        ),
        notes=(note,) if note else (),
    )


def _check_signer(inputs: CheckedInputs, name: str, file: str, files: Mapping[str, bytes]) -> None:
    """Refuses an intermediate of a root that does not sign at this step of a rotation."""
    path = f"{intermediate_folder(name)}/cert-chain.pem"
    if path not in files or ROOT_CERT not in inputs.certs_files:
        return
    if wrong := rotation.wrong_signer_problems(
        rotation.read_rotation(inputs.certs_files),
        file,
        files[path],
        inputs.certs_files[ROOT_CERT],
        inputs.certs_files.get(path),
    ):
        raise MeshError(wrong)


def _start_result(inputs: CheckedInputs, name: str) -> ImportResult:
    cluster = next(c for c in inputs.topology.clusters if c.name == name)
    return ImportResult(
        join_path(inputs.directory, "certs"),
        cluster,
        kind=inputs.target.KIND,
        store=inputs.topology.store,
    )


def _import_in_use(directory: str, request: ImportRequest, machine: Machine) -> ImportResult:
    """Imports the four files that a cluster signs with, byte for byte, so that it sees nothing
    change but what it trusts.
    """
    with hold_lock(directory):
        inputs = load_inputs(directory, None, machine)
        topology = inputs.topology
        if not topology.has_intermediate_files:
            raise refuse(
                join_path(directory, TOPOLOGY_FILE),
                f"says issuer: {topology.issuer}, which makes the intermediates in the clusters",
                "write issuer: local or csr",
                code="certificates-made-in-clusters",
            )
        (name,) = select_clusters(topology, (request.name,), "NAME")
        result, existing = _start_result(inputs, name), inputs.certs_files
        if result.cluster.primary is not None:
            raise refuse(
                "NAME",
                f"{name} has no intermediate: the istiod of {result.cluster.primary} signs there",
                "leave it out",
                code="cluster-without-intermediate",
            )
        try:
            given = (
                _dumped_files(request, result.cluster.namespace)
                if request.key is None
                else _named_files(request, request.key, existing)
            )
            clusters = [c.name for c in topology.clusters]
            new = intermediate_import.import_intermediate(
                name, clusters, given, existing, machine.now
            )
        except MeshError as error:
            named = (request.file, request.key, request.root)
            raise MeshError(
                relocate_problems(directory, error.problems, option_files=named)
            ) from None
        notes = keep_keys_out(directory, machine)
        with attach_notes(notes):
            write_certificates(result.certs, new)
    return replace(
        result,
        created=tuple(sorted(new)),
        was_in_use=True,
        warnings=tuple(
            outlives_root_problems(request.file, {**existing, **new}, intermediate_folder(name))
        ),
        notes=notes,
    )


def _dumped_files(request: ImportRequest, namespace: str) -> CacertsFiles:
    """The four files that a cluster signs with, from a dump or a folder."""
    if request.root is not None:
        raise refuse(
            "--root",
            f"is not needed: {request.file} holds the root that the cluster trusts",
            "leave it out",
            code="root-not-needed",
        )
    found = find_signing_ca(request.file, dumps.read_objects(request.file), namespace)
    if found.issuer is not None:
        raise refuse(
            request.file,
            "was made by cert-manager, which renews it there",
            "write `certificates: {issuer: cert-manager}`",
            code="intermediate-of-cert-manager",
        )
    return CacertsFiles(request.file, found.files)


def _named_files(request: ImportRequest, key: str, kept: Mapping[str, bytes]) -> CacertsFiles:
    """The four files from PEM files: the chain, its key, and the root if none exists yet."""
    if request.root is None and ROOT_CERT not in kept:
        raise refuse(
            request.file,
            f"cannot be judged, for there is no {work_path(f'certs/{ROOT_CERT}')} yet",
            "name its root with --root FILE",
            code="root-not-named",
        )
    paths = [request.file, key, *([request.root] if request.root is not None else [])]
    bodies = {path: read_file(path, pipe=True) for path in paths}
    if missing := [path for path, body in bodies.items() if body is None]:
        raise refuse(missing[0], "is not there", "name a PEM file", code="file-missing")
    root = request.root or f"certs/{ROOT_CERT}"
    return intermediate_import.assemble_cacerts(
        NamedFile(request.file, bodies[request.file] or b""),
        NamedFile(key, bodies[key] or b""),
        NamedFile(root, (bodies[root] or b"") if request.root is not None else kept[ROOT_CERT]),
    )
