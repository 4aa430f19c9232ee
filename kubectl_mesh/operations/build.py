"""The stages composed: from the inputs of a working directory to certificates and tree."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from kubectl_mesh.credentials.api_servers import ca_date_problems
from kubectl_mesh.credentials.tokens import DAY, token_findings
from kubectl_mesh.delivery import delivery_of
from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.istio.crl_support import crl_support_warnings
from kubectl_mesh.model import Pki, Plan, Tree
from kubectl_mesh.operations import private_files
from kubectl_mesh.operations.checked_inputs import CheckedInputs
from kubectl_mesh.operations.sealed_tree import Sealed
from kubectl_mesh.operations.server_cas import list_server_cas
from kubectl_mesh.pki.issue import issue_pki
from kubectl_mesh.pki.profile import CertificateProfile, Progress, ignore_progress
from kubectl_mesh.plan import KnownClusters
from kubectl_mesh.plan import build_plan as make_plan
from kubectl_mesh.render import RenderInputs, render_tree
from kubectl_mesh.stores import store_of
from kubectl_mesh.stores.sealing import Sealing
from kubectl_mesh.targets.releases import release_warnings
from kubectl_mesh.workdir.certs_folder import read_certs
from kubectl_mesh.workdir.places import relocate_problems
from kubectl_mesh.x509.layout import ROOT_CERT, ROOT_KEY, ROTATION_FILE
from kubectl_mesh.yaml_io import assets
from kubectl_mesh.yaml_io.templates import Manifests


@dataclass(frozen=True, slots=True)
class Rendered:
    """The mesh as it would be written."""

    inputs: CheckedInputs
    plan: Plan
    pki: Pki
    tree: Tree
    warnings: tuple[Problem, ...]
    seal_key: bytes | None = field(default=None, repr=False)
    """A new one, to be written."""


def make(
    inputs: CheckedInputs,
    at: datetime,
    out: str,
    *,
    sealed: Sealed | None = None,
    throwaway: bool = False,
    progress: Progress = ignore_progress,
) -> Rendered:
    """Builds the mesh from its inputs and from what is already sealed in `out`.

    `sealed` is given where that is sealed again, or goes to another store. `throwaway` creates
    missing certificates with the fastest keys, for commands that write nothing.
    """
    sealed = sealed or Sealed(inputs, out)
    plan = _make_plan(inputs, sealed)
    issued = _asked(inputs, at, sealed.keyless(), throwaway=throwaway, progress=progress)
    pki = _placed(inputs, partial(_with_ca_dates, inputs, issued, at))
    store = sealed.store()
    mesh = RenderInputs(plan, inputs.base, pki, inputs.target)
    tree = render_tree(mesh, Manifests(assets.template_text), store, inputs.only)
    if isinstance(store, Sealing) and store.lacking:
        raise MeshError(sealed.restorable(store))
    warnings = {
        *_input_warnings(inputs),
        *relocate_problems(inputs.directory, sealed.warnings(store)),
        *_mesh_warnings(inputs, plan, pki, at, throwaway=throwaway),
    }
    return Rendered(
        inputs,
        plan,
        pki,
        tree,
        tuple(sorted(warnings)),
        sealed.made if isinstance(store, Sealing) and store.used else None,
    )


def _make_plan(inputs: CheckedInputs, sealed: Sealed) -> Plan:
    logins, absent = sealed.logins()
    known = KnownClusters(
        inputs.servers,
        logins,
        absent,
        sealed.held(),
        frozenset(inputs.coming),
        sealed.dates(absent),
    )
    topology = inputs.topology
    plan = make_plan(topology, inputs.target.traits(topology), known, inputs.directory)
    return replace(plan, is_rotating_root=ROTATION_FILE in inputs.kept)


def _with_ca_dates(inputs: CheckedInputs, issued: Callable[[], Pki], at: datetime) -> Pki:
    """The certificates, with warnings of the dates of the API servers' CAs."""
    pki = issued()
    dates = ca_date_problems(list_server_cas(inputs.directory, inputs.topology, inputs.servers), at)
    return replace(pki, warnings=(*pki.warnings, *dates))


def _input_warnings(inputs: CheckedInputs) -> Iterator[Problem]:
    """The warnings of what was read."""
    yield from inputs.loose
    yield from relocate_problems(inputs.directory, _store_warnings(inputs))
    yield from private_files.borrowed(inputs)


def _mesh_warnings(
    inputs: CheckedInputs, plan: Plan, pki: Pki, at: datetime, *, throwaway: bool
) -> Iterator[Problem]:
    """The warnings of the plan, the certificates, the tokens and the releases of Istio."""
    topology, target, directory = inputs.topology, inputs.target, inputs.directory
    yield from plan.warnings
    yield from pki.warnings
    tokens = [problem for found in token_findings(plan, at, DAY) for problem in found]
    yield from relocate_problems(directory, tokens, (p.where.file for p in tokens))
    for warning in (
        *target.warnings(topology, pki),
        *release_warnings(topology, inputs.base, target),
    ):
        if not (throwaway and warning.id == "certs-key-type" and pki.new_files):
            yield warning
    yield from relocate_problems(
        directory, crl_support_warnings(topology, has_crl=pki.crl is not None)
    )
    yield from target.lost_settings(plan, inputs.base) if inputs.base else ()


def _store_warnings(inputs: CheckedInputs) -> Iterator[Problem]:
    """Clusters of which one opens the secrets of another."""
    topology = inputs.topology
    # Argo CD opens the secrets of all clusters by an identity that none of them has.
    shared = delivery_of(topology).CENTRAL
    return store_of(topology).warnings(topology, inputs.sealing, shared_identity=shared)


def certificates(
    inputs: CheckedInputs,
    at: datetime,
    keyless: frozenset[str] = frozenset(),
    *,
    throwaway: bool = False,
) -> Pki:
    """The certificates of the mesh, checked, and made where they are missing; those of `keyless`
    may be here without their keys.
    """
    return _placed(inputs, _asked(inputs, at, keyless, throwaway=throwaway))


def _placed(inputs: CheckedInputs, work: Callable[[], Pki]) -> Pki:
    """The certificates that a work makes; what is to be said of them has the working directory
    before it.
    """
    try:
        pki = work()
    except MeshError as error:
        raise MeshError(relocate_problems(inputs.directory, error.problems)) from None
    return replace(pki, warnings=relocate_problems(inputs.directory, pki.warnings))


def _asked(
    inputs: CheckedInputs,
    at: datetime,
    keyless: frozenset[str],
    *,
    throwaway: bool,
    progress: Progress = ignore_progress,
) -> Callable[[], Pki]:
    """The work that makes the certificates of the mesh."""
    topology = inputs.topology
    if not topology.has_intermediate_files or (
        topology.issuer == "csr" and ROOT_CERT not in inputs.kept and not inputs.folders
    ):
        return partial(Pki, b"", (), {}, {})
    own = [c for c in topology.clusters if c.primary is None]
    namespaces = {
        c.name: c.namespace
        for c in own
        if (inputs.only is None or c.name in inputs.only)
        and (topology.issuer == "local" or f"intermediate-{c.name}/ca-cert.pem" in inputs.kept)
    }
    wanted = CertificateProfile(
        topology.organization,
        "ec-p256" if throwaway else topology.key_type or inputs.target.KEY_TYPE,
        topology.root_days,
        topology.intermediate_days,
        namespaces,
        keyless,
        {c.name: inputs.others.get(c.name, b"") for c in own if c.name not in namespaces},
        topology.has_stated_organization,
    )
    return partial(issue_pki, wanted, inputs.kept, at, progress, inputs.folders)


def root(directory: str, organization: str, key_type: str, days: int, at: datetime) -> Pki:
    """The mesh's root, checked if it is there, else made; for `init`, which knows no clusters
    yet.
    """
    there = read_certs(directory, ())
    kept = {name: body for name, body in there.files.items() if name in (ROOT_CERT, ROOT_KEY)}
    try:
        return issue_pki(
            CertificateProfile(organization, key_type, days, 730, {}),
            kept,
            at,
            folders=there.intermediate_folders,
        )
    except MeshError as error:
        raise MeshError(relocate_problems(directory, error.problems)) from None


def narrowed(inputs: CheckedInputs, only: frozenset[str]) -> CheckedInputs:
    """The inputs for a render of some clusters: only their intermediates count and are made."""
    others = {f"intermediate-{c.name}/" for c in inputs.topology.clusters if c.name not in only}
    kept = {
        path: body for path, body in inputs.kept.items() if path[: path.find("/") + 1] not in others
    }
    aside = {
        c.name: inputs.kept.get(f"intermediate-{c.name}/ca-cert.pem", b"")
        for c in inputs.topology.clusters
        if c.name not in only
    }
    return replace(inputs, certs=replace(inputs.certs, files=kept), only=only, others=aside)
