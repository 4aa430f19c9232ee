"""Revokes intermediates, and signs the CRLs of a mesh."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from kubectl_mesh.errors import MeshError, Problem, refuse
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.locking import hold_lock
from kubectl_mesh.fs.owned_files import write_certificates
from kubectl_mesh.fs.read import read_file
from kubectl_mesh.istio.crl_support import crl_support_warnings
from kubectl_mesh.model import Crl
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations.checked_inputs import CheckedInputs, load_inputs
from kubectl_mesh.pki.profile import NamedFile
from kubectl_mesh.pki.revocation import CrlRequest, SignedCrls, sign_crl_bundle
from kubectl_mesh.text import mesh_command
from kubectl_mesh.workdir.certs_folder import read_archive, read_certs
from kubectl_mesh.workdir.places import TOPOLOGY_FILE, relocate_problems
from kubectl_mesh.workdir.topology_file import has_no_clusters, read_topology
from kubectl_mesh.x509.layout import (
    CRL_FILE,
    ROOT_CERT,
    ROOT_KEY,
    ROTATION_FILE,
    intermediate_folder,
)

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class CrlResult:
    """The CRLs of a mesh, signed now."""

    path: str
    """The path of `certs/ca-crl.pem`."""
    crl: Crl
    existed: bool
    """Proxies went by CRLs before."""
    cleared: bool
    """What was revoked before was to be taken away."""
    restarts_step: bool
    """The step of a rotation counts from now on."""
    clusters: int
    """How many clusters get them."""
    is_root_alone: bool
    """The working directory holds a root, and no mesh."""
    warnings: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _NamedFiles:
    """What somebody named, as far as it can be read."""

    clusters: Sequence[str] = ()
    certificates: Sequence[NamedFile] = ()
    """To be revoked, those of the clusters among them."""
    crls: Sequence[NamedFile] = ()
    problems: Sequence[Problem] = field(default_factory=list)
    """What is wrong with the certificates."""


def revoke_intermediates(
    directory: str, names: Sequence[str], files: Sequence[str], days: int, machine: Machine
) -> CrlResult:
    """Revokes the intermediates of clusters that have left the mesh, and those in `files`; the CRLs
    are valid for `days`.
    """
    if not names and not files:
        raise refuse(
            "NAME",
            "is missing",
            "name a cluster, or a file with --certificate",
            code="cluster-not-named",
        )
    with hold_lock(directory):
        inputs = _gather(directory, machine, revokes=True)
        named = _read_certificates(directory, names, files)
        return _sign(inputs, named, days, clear=False)


def sign_crls(
    directory: str, added: Sequence[str], days: int, machine: Machine, *, clear: bool = False
) -> CrlResult:
    """Signs the CRLs of the mesh for another `days`, with those in the files `added`; `clear`:
    nothing is revoked any more.
    """
    with hold_lock(directory):
        inputs = _gather(directory, machine, revokes=bool(added))
        return _sign(inputs, _NamedFiles(crls=_read_crls(added)), days, clear=clear)


def _gather(directory: str, machine: Machine, *, revokes: bool) -> CheckedInputs:
    """The working directory, where its CRLs can be signed."""
    topology = read_topology(directory, allow_empty=True)
    inputs = load_inputs(directory, None, machine, topology=topology)
    certs = join_path(directory, "certs")
    if not inputs.topology.has_intermediate_files:
        raise refuse(
            join_path(directory, TOPOLOGY_FILE),
            f"says issuer: {inputs.topology.issuer}; what it signed, it revokes",
            "revoke it where that issuer is",
            code="certificates-made-in-clusters",
        )
    if ROOT_CERT not in inputs.certs_files:
        raise refuse(
            certs,
            "has no root yet, so nothing to revoke",
            f"run `{mesh_command('render')}` first",
            code="root-certificate-missing",
        )
    is_alone = _is_root_alone(inputs)
    if is_alone and ROOT_KEY not in inputs.certs_files:
        raise refuse(
            f"{certs}/{ROOT_KEY}",
            "is not here, and its CRL is signed with it",
            "put it back for as long as this takes",
            code="crl-key-missing",
        )
    if CRL_FILE not in inputs.certs_files and not revokes and not is_alone:
        raise refuse(
            f"{certs}/{CRL_FILE}",
            "is not there: nothing is revoked, and no proxy asks for it",
            f"begin with `{mesh_command('certs revoke NAME')}`",
            code="crl-missing",
        )
    return inputs


def _is_root_alone(inputs: CheckedInputs) -> bool:
    return not inputs.intermediates_on_disk and has_no_clusters(inputs.directory)


def _sign(inputs: CheckedInputs, named: _NamedFiles, days: int, *, clear: bool) -> CrlResult:
    """Signs the CRLs, and writes them."""
    directory, now = inputs.directory, inputs.machine.now
    archive = read_archive(directory, inputs.archive_names, ("ca-cert.pem", "ca-key.pem", ROOT_KEY))
    certs = replace(inputs.certs, archived_files=archive)
    own = [
        c.name
        for c in inputs.topology.clusters
        if c.primary is None and f"{intermediate_folder(c.name)}/ca-cert.pem" in inputs.certs_files
    ]
    until = now.replace(microsecond=0) + timedelta(days=days)
    order = CrlRequest(
        named.clusters, named.certificates, named.crls, until, clear, tuple(named.problems)
    )
    try:
        signed = sign_crl_bundle(certs, own, order, now)
    except MeshError as error:
        raise MeshError(relocate_problems(directory, error.problems)) from None
    write_certificates(
        join_path(directory, "certs"), signed.files, replaced=(ROTATION_FILE, CRL_FILE)
    )
    return _result(inputs, signed, own, clear=clear)


def _result(
    inputs: CheckedInputs, signed: SignedCrls, own: Sequence[str], *, clear: bool
) -> CrlResult:
    is_alone = _is_root_alone(inputs)
    warnings = (
        *signed.warnings,
        *(() if is_alone else crl_support_warnings(inputs.topology, has_crl=True)),
    )
    return CrlResult(
        f"{join_path(inputs.directory, 'certs')}/{CRL_FILE}",
        signed.crl,
        CRL_FILE in inputs.certs_files,
        clear,
        ROTATION_FILE in signed.files,
        len(own),
        is_alone,
        relocate_problems(inputs.directory, warnings),
    )


def _read_crls(files: Sequence[str]) -> list[NamedFile]:
    """The CRLs that somebody named."""
    found = []
    for file in files:
        body = read_file(file, "certificates")
        if body is None:
            raise refuse(file, "is not there", "name a CRL in PEM", code="file-missing")
        found.append(NamedFile(file, body))
    return found


def _read_certificates(directory: str, names: Sequence[str], files: Sequence[str]) -> _NamedFiles:
    """The certificates that somebody named, and what is wrong with the files."""
    found: list[NamedFile] = []
    problems: list[Problem] = []
    for path, name in [
        *(
            (f"{join_path(directory, 'certs')}/{intermediate_folder(name)}/ca-cert.pem", name)
            for name in dict.fromkeys(names)
        ),
        *((file, None) for file in dict.fromkeys(files)),
    ]:
        try:
            found.append(NamedFile(path, _read_certificate(directory, path, name)))
        except MeshError as error:
            problems += error.problems
    return _NamedFiles(names, found, (), problems)


def _read_certificate(directory: str, path: str, name: str | None) -> bytes:
    """The intermediate of a cluster, which may have left the mesh, or a file that somebody named if
    there is no name.
    """
    fix = "name a certificate in PEM"
    if name is None:
        body = read_file(path, "certificates")
    else:
        fix = "name a cluster whose intermediate is, or its file with --certificate"
        files = read_certs(directory, [name]).files if _NAME.fullmatch(name) else {}
        body = files.get(f"{intermediate_folder(name)}/ca-cert.pem")
    if body is None:
        raise refuse(path, "is not there", fix, code="file-missing")
    return body
