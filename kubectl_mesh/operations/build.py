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
from kubectl_mesh.operations.sealed_tree import SealedTree
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
class RenderedMesh:
    """The mesh as it would be written."""

    inputs: CheckedInputs
    plan: Plan
    pki: Pki
    tree: Tree
    warnings: tuple[Problem, ...]
    seal_key: bytes | None = field(default=None, repr=False)
    """A new one, to be written."""


def build_mesh(
    inputs: CheckedInputs,
    now: datetime,
    out: str,
    *,
    sealed: SealedTree | None = None,
    throwaway: bool = False,
    progress: Progress = ignore_progress,
) -> RenderedMesh:
    """Builds the mesh from its inputs and from what is already sealed in `out`.

    `sealed` is given where that is sealed again, or goes to another store. `throwaway` creates
    missing certificates with the fastest keys, for commands that write nothing.
    """
    sealed = sealed or SealedTree(inputs, out)
    plan = _make_plan(inputs, sealed)
    issued = _prepare_issue(
        inputs, now, sealed.find_keyless_clusters(), throwaway=throwaway, progress=progress
    )
    pki = _relocate_result(inputs, partial(_with_ca_dates, inputs, issued, now))
    store = sealed.open_store()
    mesh = RenderInputs(plan, inputs.base, pki, inputs.target)
    tree = render_tree(mesh, Manifests(assets.template_text), store, inputs.selected_clusters)
    if isinstance(store, Sealing) and store.lacking:
        raise MeshError(sealed.unsealable_problems(store))
    warnings = {
        *_input_warnings(inputs),
        *relocate_problems(inputs.directory, sealed.seal_key_problems(store)),
        *_mesh_warnings(inputs, plan, pki, now, throwaway=throwaway),
    }
    return RenderedMesh(
        inputs,
        plan,
        pki,
        tree,
        tuple(sorted(warnings)),
        sealed.new_seal_key if isinstance(store, Sealing) and store.used else None,
    )


def _make_plan(inputs: CheckedInputs, sealed: SealedTree) -> Plan:
    logins, absent = sealed.merge_logins()
    known = KnownClusters(
        inputs.servers,
        logins,
        absent,
        sealed.list_pending(),
        frozenset(inputs.next_tokens),
        sealed.read_token_dates(absent),
    )
    topology = inputs.topology
    plan = make_plan(topology, inputs.target.plan_traits(topology), known, inputs.directory)
    return replace(plan, is_rotating_root=ROTATION_FILE in inputs.certs_files)


def _with_ca_dates(inputs: CheckedInputs, issued: Callable[[], Pki], now: datetime) -> Pki:
    """The certificates, with warnings of the dates of the API servers' CAs."""
    pki = issued()
    dates = ca_date_problems(
        list_server_cas(inputs.directory, inputs.topology, inputs.servers), now
    )
    return replace(pki, warnings=(*pki.warnings, *dates))


def _input_warnings(inputs: CheckedInputs) -> Iterator[Problem]:
    """The warnings of what was read."""
    yield from inputs.warnings
    yield from relocate_problems(inputs.directory, _store_warnings(inputs))
    yield from private_files.kubeconfig_only_problems(inputs)


def _mesh_warnings(
    inputs: CheckedInputs, plan: Plan, pki: Pki, now: datetime, *, throwaway: bool
) -> Iterator[Problem]:
    """The warnings of the plan, the certificates, the tokens and the releases of Istio."""
    topology, target, directory = inputs.topology, inputs.target, inputs.directory
    yield from plan.warnings
    yield from pki.warnings
    tokens = [problem for found in token_findings(plan, now, DAY) for problem in found]
    yield from relocate_problems(directory, tokens, (p.where.file for p in tokens))
    for warning in (
        *target.topology_warnings(topology, pki),
        *release_warnings(topology, inputs.base, target),
    ):
        if not (throwaway and warning.id == "certs-key-type" and pki.new_files):
            yield warning
    yield from relocate_problems(
        directory, crl_support_warnings(topology, has_crl=pki.crl is not None)
    )
    yield from target.overridden_settings(plan, inputs.base) if inputs.base else ()


def _store_warnings(inputs: CheckedInputs) -> Iterator[Problem]:
    """Warnings about clusters that can decrypt the secrets of another cluster."""
    topology = inputs.topology
    # Argo CD opens the secrets of all clusters by an identity that none of them has.
    shared = delivery_of(topology).CENTRAL
    return store_of(topology).recipient_warnings(topology, inputs.sealing, shared_identity=shared)


def build_certificates(
    inputs: CheckedInputs,
    now: datetime,
    keyless: frozenset[str] = frozenset(),
    *,
    throwaway: bool = False,
) -> Pki:
    """The certificates of the mesh, checked, and made where they are missing; those of `keyless`
    may be here without their keys.
    """
    return _relocate_result(inputs, _prepare_issue(inputs, now, keyless, throwaway=throwaway))


def _relocate_result(inputs: CheckedInputs, work: Callable[[], Pki]) -> Pki:
    """Runs `work`; problems and warnings get the working directory in their paths."""
    try:
        pki = work()
    except MeshError as error:
        raise MeshError(relocate_problems(inputs.directory, error.problems)) from None
    return replace(pki, warnings=relocate_problems(inputs.directory, pki.warnings))


def _prepare_issue(
    inputs: CheckedInputs,
    now: datetime,
    keyless: frozenset[str],
    *,
    throwaway: bool,
    progress: Progress = ignore_progress,
) -> Callable[[], Pki]:
    """A function that issues the certificates of the mesh."""
    topology = inputs.topology
    if not topology.has_intermediate_files or (
        topology.issuer_kind.takes_requests
        and ROOT_CERT not in inputs.certs_files
        and not inputs.intermediates_on_disk
    ):
        return partial(Pki, b"", (), {}, {})
    own = [c for c in topology.clusters if c.primary is None]
    namespaces = {
        c.name: c.namespace
        for c in own
        if (inputs.selected_clusters is None or c.name in inputs.selected_clusters)
        and (
            topology.issuer_kind.signs_here
            or f"intermediate-{c.name}/ca-cert.pem" in inputs.certs_files
        )
    }
    wanted = CertificateProfile(
        topology.organization,
        "ec-p256" if throwaway else topology.key_type or inputs.target.KEY_TYPE,
        topology.root_days,
        topology.intermediate_days,
        namespaces,
        keyless,
        {
            c.name: inputs.unselected_ca_certs.get(c.name, b"")
            for c in own
            if c.name not in namespaces
        },
        topology.has_stated_organization,
    )
    return partial(
        issue_pki, wanted, inputs.certs_files, now, progress, inputs.intermediates_on_disk
    )


def build_root(directory: str, organization: str, key_type: str, days: int, now: datetime) -> Pki:
    """The mesh's root, checked if it is there, else made; for `init`, which knows no clusters
    yet.
    """
    there = read_certs(directory, ())
    kept = {name: body for name, body in there.files.items() if name in (ROOT_CERT, ROOT_KEY)}
    try:
        return issue_pki(
            CertificateProfile(organization, key_type, days, 730, {}),
            kept,
            now,
            folders=there.intermediate_folders,
        )
    except MeshError as error:
        raise MeshError(relocate_problems(directory, error.problems)) from None


def narrow_inputs(inputs: CheckedInputs, selected: frozenset[str]) -> CheckedInputs:
    """The inputs for a render of some clusters: only their intermediates count and are made."""
    others = {f"intermediate-{c.name}/" for c in inputs.topology.clusters if c.name not in selected}
    certs_files = {
        path: body
        for path, body in inputs.certs_files.items()
        if path[: path.find("/") + 1] not in others
    }
    unselected = {
        c.name: inputs.certs_files.get(f"intermediate-{c.name}/ca-cert.pem", b"")
        for c in inputs.topology.clusters
        if c.name not in selected
    }
    return replace(
        inputs,
        certs=replace(inputs.certs, files=certs_files),
        selected_clusters=selected,
        unselected_ca_certs=unselected,
    )
