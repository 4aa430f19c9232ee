"""Writes requests for intermediates that somebody else signs."""

from collections.abc import Sequence
from dataclasses import dataclass

from kubectl_mesh.errors import MeshError, attach_notes, refuse
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.locking import hold_lock
from kubectl_mesh.fs.owned_files import write_certificates
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations import private_files
from kubectl_mesh.operations.certs_inputs import (
    build_profile,
    gather_for_requests,
    refuse_served_clusters,
)
from kubectl_mesh.operations.checked_inputs import CheckedInputs
from kubectl_mesh.pki.profile import Progress, ignore_progress
from kubectl_mesh.pki.signing_requests import prepare_requests
from kubectl_mesh.text import mesh_command
from kubectl_mesh.topology.selection import select_clusters
from kubectl_mesh.workdir.places import relocate_problems
from kubectl_mesh.x509.layout import intermediate_folder


@dataclass(frozen=True, slots=True)
class RequestsResult:
    """The requests of a mesh."""

    certs: str
    """The path of `certs/`."""
    clusters: tuple[str, ...]
    """Those that have a request."""
    written: frozenset[str]
    """The files that are new, by path below `certs/`."""
    days: int
    """The validity of the certificates in days."""
    notes: tuple[str, ...] = ()


def write_requests(
    directory: str, names: Sequence[str], machine: Machine, progress: Progress = ignore_progress
) -> RequestsResult:
    """Writes requests and their keys for these clusters, by name or context, or for all that wait
    for a certificate. Existing files are kept.
    """
    with hold_lock(directory):
        inputs = gather_for_requests(directory, machine)
        clusters = _awaiting_clusters(inputs, names)
        try:
            new = prepare_requests(build_profile(inputs, clusters), inputs.certs_files, progress)
        except MeshError as error:
            raise MeshError(relocate_problems(directory, error.problems)) from None
        note = private_files.ignore_private_files(inputs)
        with attach_notes([note]):
            write_certificates(join_path(directory, "certs"), new)
    return RequestsResult(
        join_path(directory, "certs"),
        tuple(sorted(clusters)),
        frozenset(new),
        inputs.topology.intermediate_days,
        (note,) if note else (),
    )


def _awaiting_clusters(inputs: CheckedInputs, names: Sequence[str]) -> list[str]:
    """The clusters that requests are written for."""
    topology = inputs.topology
    there = {
        c.name
        for c in topology.clusters
        if f"{intermediate_folder(c.name)}/ca-cert.pem" in inputs.certs_files
    }
    if not names:
        return [c.name for c in topology.clusters if c.primary is None and c.name not in there]
    chosen = select_clusters(topology, names, "NAME")
    refuse_served_clusters(topology, chosen)
    if done := sorted(chosen & there):
        raise refuse(
            "NAME",
            f"{', '.join(done)} {'have' if len(done) > 1 else 'has'} a certificate already",
            f"to have another, run `{mesh_command('certs renew ' + ' '.join(done))}`",
            code="intermediate-exists",
        )
    return sorted(chosen)
