"""Renews intermediates under the root that signs now, or requests the next ones."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from kubectl_mesh.errors import MeshError, Place, Problem, attach_notes
from kubectl_mesh.fs.exchange import exchange_certificates
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.locking import hold_lock
from kubectl_mesh.fs.owned_files import write_certificates
from kubectl_mesh.model import CertsChange, Cluster
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations import private_files
from kubectl_mesh.operations.certs_inputs import (
    build_profile,
    gather_own_certificates,
    refuse_served_clusters,
)
from kubectl_mesh.operations.checked_inputs import CheckedInputs
from kubectl_mesh.pki.profile import CertificateProfile, Progress, ignore_progress
from kubectl_mesh.pki.renewal import find_expiring_clusters, plan_renewal, request_renewals
from kubectl_mesh.text import mesh_command
from kubectl_mesh.topology.selection import select_clusters
from kubectl_mesh.workdir.places import relocate_problems
from kubectl_mesh.x509.layout import CRL_FILE, intermediate_folder


@dataclass(frozen=True, slots=True)
class RenewRequest:
    """Whose intermediates are renewed, and how."""

    names: Sequence[str] = ()
    """These clusters, by name or context; all that have an intermediate where none is named."""
    within: timedelta | None = None
    """In the place of names: those whose intermediates end within this time."""
    keep_key: bool = False
    dry_run: bool = False
    """Write nothing."""


@dataclass(frozen=True, slots=True)
class RenewResult:
    """The intermediates that were renewed, or requested; or would be, in a dry run."""

    certs: str
    """The path of `certs/`."""
    clusters: tuple[Cluster, ...]
    request: RenewRequest
    """With `keep_key` as it was done."""
    days: int
    """The validity of certificates in days."""
    kind: str
    """The kind of base.yaml."""
    store: str
    change: CertsChange | None = None
    """What changed in `certs/`."""
    requests: Mapping[str, bytes] | None = field(default=None, repr=False)
    """The files that were written where somebody else signs, by path below `certs/`."""
    notes: tuple[str, ...] = ()


def renew_intermediates(
    directory: str, request: RenewRequest, machine: Machine, progress: Progress = ignore_progress
) -> RenewResult:
    """Renews intermediates; the old ones go to the archive. With `issuer: csr` requests are
    written.
    """
    with contextlib.ExitStack() as stack:
        if not request.dry_run:
            stack.enter_context(hold_lock(directory))
        inputs = gather_own_certificates(directory, machine)
        names = _chosen_clusters(inputs, request)
        result = RenewResult(
            join_path(directory, "certs"),
            tuple(c for c in inputs.topology.clusters if c.name in names),
            request,
            inputs.topology.intermediate_days,
            inputs.target.KIND,
            inputs.topology.store,
        )
        return _renew(inputs, result, progress) if names else result


def _renew(inputs: CheckedInputs, result: RenewResult, progress: Progress) -> RenewResult:
    """Makes what was asked for, and writes it unless it is a dry run."""
    directory, request, notes = inputs.directory, result.request, []
    if CRL_FILE in inputs.certs_files and not request.keep_key:
        # A proxy that goes by CRLs refuses a key that it has no CRL of, in whatever order they
        # are applied.
        request = replace(request, keep_key=True)
        notes.append(
            f"the keys stay, for proxies go by {result.certs}/{CRL_FILE}, which knows no other"
        )
    # A dry run shows no key.
    wanted = build_profile(inputs, [c.name for c in result.clusters], quick=request.dry_run)
    with attach_notes(notes):
        change, put = _issue_or_request(inputs, wanted, progress, keep_key=request.keep_key)
    if not request.dry_run:
        more = () if change is None else private_files.ARCHIVED_PRIVATE_FILES
        if note := private_files.ignore_private_files(inputs, more):
            notes.append(note)
        with attach_notes(notes):
            if change is not None:
                exchange_certificates(directory, change)
            elif put is not None:
                write_certificates(result.certs, put)
    return replace(result, request=request, change=change, requests=put, notes=tuple(notes))


def _issue_or_request(
    inputs: CheckedInputs, wanted: CertificateProfile, progress: Progress, *, keep_key: bool
) -> tuple[CertsChange | None, dict[str, bytes] | None]:
    """The new intermediates, or the requests for them where somebody else signs."""
    try:
        if inputs.topology.issuer_kind.takes_requests:
            return None, request_renewals(wanted, inputs.certs_files, progress, keep_key=keep_key)
        now = inputs.machine.now
        return plan_renewal(wanted, inputs.certs, now, progress, keep_key=keep_key), None
    except MeshError as error:
        raise MeshError(relocate_problems(inputs.directory, error.problems)) from None


def _chosen_clusters(inputs: CheckedInputs, request: RenewRequest) -> list[str]:
    """The clusters that are meant, each with an intermediate that can be renewed."""
    topology = inputs.topology
    own = [c.name for c in topology.clusters if c.primary is None]
    if request.within is not None:
        try:
            return find_expiring_clusters(
                own, inputs.certs_files, inputs.machine.now, request.within
            )
        except MeshError as error:
            raise MeshError(relocate_problems(inputs.directory, error.problems)) from None
    if not request.names:
        return sorted(
            n for n in own if f"{intermediate_folder(n)}/ca-cert.pem" in inputs.certs_files
        )
    wanted = select_clusters(topology, request.names, "NAME")
    refuse_served_clusters(topology, wanted)
    base = join_path(inputs.directory, "certs")
    lacking = [
        Problem(
            Place(f"{base}/{intermediate_folder(n)}/ca-cert.pem"),
            "is not there, so there is nothing to renew",
            f"run `{mesh_command('render')}`",
            "certs-complete",
            code="intermediate-missing",
        )
        for n in sorted(wanted)
        if f"{intermediate_folder(n)}/ca-cert.pem" not in inputs.certs_files
    ]
    if lacking:
        raise MeshError(lacking)
    return sorted(wanted)
