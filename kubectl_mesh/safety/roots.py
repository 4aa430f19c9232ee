"""The rules about roots: what can be changed in one step while some clusters have the old bundle
and some the new one.

A change has to pass two rules: what is trusted and who signs, where that is not known too; and the
text of the bundles, and the clusters that lag, by what the locks say.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model import CACERTS_PATH
from kubectl_mesh.model.issuers import ISSUERS, Issuer
from kubectl_mesh.model.trust import Trust
from kubectl_mesh.observed import read_mesh_state
from kubectl_mesh.observed.mesh_state import Cacerts, MeshState
from kubectl_mesh.safety.planned_render import PlannedRender
from kubectl_mesh.safety.refusal import Refusal, names_text
from kubectl_mesh.safety.rollout import one_root_problems
from kubectl_mesh.text import Text, count_text, mesh_command, work_path
from kubectl_mesh.tree.lock_file import LockFile
from kubectl_mesh.x509.layout import ROOT_CERT

ROOT_EXCHANGE_CHECK = "root-exchange"
"""The check that reports what these rules refuse."""
UNSAFE_CODE = "root-change-needs-steps"
"""The code of every change that these rules refuse."""
LOCAL_ROOT = "certs/"
"""Whose root it is where the tree has it."""
_ROTATE = mesh_command("certs rotate-root")
_ROTATION_FIX = (
    "take three steps, each rendered, reviewed, committed and applied in every cluster before the"
    f" next; `{_ROTATE}` takes them:\n  1. trust both: append the new root to"
    f" {work_path('certs/root-cert.pem')} behind the old one, and keep the intermediates\n  2. sign"
    f" with the new: put the new root's key into {work_path('certs/root-key.pem')}, move the"
    f" folders {work_path('certs/intermediate-*')} away, and render\n  3. drop the old: a day after"
    " that is applied everywhere, take the old root out of"
    f" {work_path('certs/root-cert.pem')}"
)
_ORDER_FIX = (
    f"change roots step by step with `{_ROTATE}`, which keeps the old text as"
    f" it is and in one piece; or put {work_path('certs/')} back"
)
"""What to do where the order of the text, or of the clusters, is at fault."""
TO_ISSUER_FIX = Text(
    "have the new issuer sign by the root that is trusted now, or go to its root first, with"
    f" issuer: csr, by `{mesh_command('certs rotate-root begin --root FILE')}` and its steps to the"
    " end"
)
TO_LOCAL_FIX = Text(
    f"take the root of the old issuer into {work_path('certs/')} by"
    f" `{mesh_command('certs import-root')}`, and go to another by `{_ROTATE}` afterwards"
)
BETWEEN_ISSUERS_FIX = "have both issuers sign by one root first"


@dataclass(frozen=True, slots=True)
class RootFault:
    """Why a running mesh cannot go from one state of its roots and signers to another."""

    reasons: Mapping[str, Sequence[str]]
    """The clusters by why what they trust, and who signs, cannot change so."""
    cuts: Sequence[tuple[str, str]] = ()
    """The clusters with a wrong order, each with the reason; empty if `reasons` is not."""

    def to_problem(self, where: str) -> Problem:
        """The fault as one problem of a file."""
        if self.reasons:
            what = "; ".join(
                f"{why} (in {count_text(len(names), 'cluster')}:"
                f" {', '.join(names[:3])}{' …' if len(names) > 3 else ''})"
                for why, names in self.reasons.items()
            )
            return Problem(Place(where), what, _ROTATION_FIX, ROOT_EXCHANGE_CHECK, code=UNSAFE_CODE)
        what = "; ".join(f"{name} {why}" for name, why in self.cuts[:3]) + (
            f"; and {len(self.cuts) - 3} more" if len(self.cuts) > 3 else ""
        )
        return Problem(Place(where), what, _ORDER_FIX, ROOT_EXCHANGE_CHECK, code=UNSAFE_CODE)


def find_root_fault(
    before: Mapping[str, Trust],
    after: Mapping[str, Trust],
    signers: Mapping[str, str | None] | None = None,
) -> RootFault | None:
    """Why a mesh cannot change its roots from one state of all clusters to another; None where each
    cluster may apply it at any time.

    Clusters of `before` that are not in `after` stay as they are. `signers` are the roots that sign
    in clusters whose `before` does not say so.
    """
    known = {
        name: replace(trust, signer=trust.signer or (signers or {}).get(name))
        for name, trust in before.items()
        if trust.intermediate
    }
    wanted = {name: trust for name, trust in after.items() if trust.intermediate}
    if reasons := _find_exchanges(known, wanted):
        return RootFault(reasons)
    cuts = tuple(find_cuts(_with_known_signers(before), _with_known_signers(after)))
    return RootFault({}, cuts) if cuts else None


def _with_known_signers(trusts: Mapping[str, Trust]) -> dict[str, Trust]:
    return {
        name: replace(trust, signer=trust.known_signer if trust.intermediate else trust.signer)
        for name, trust in trusts.items()
    }


def unsafe_reason(before: Trust, after: Trust) -> str | None:
    """Why two states of one cluster cannot be side by side in a mesh; None where they can.

    While the change is under way, every proxy that has the old bundle meets certificates that the
    new signer made, and the other way round.
    """
    if not before.roots or not after.roots or before.is_unchanged(after):
        return None
    one, other = frozenset(before.roots), frozenset(after.roots)
    if not (one <= other or other <= one):
        who = "who has the old ones trusts nobody who has the new ones"
        return (
            f"the roots are exchanged in one step: {who}, and istiod ignores a bundle that neither"
            " holds its own nor is held by it"
        )
    old, new = before.known_signer, after.known_signer
    if before.intermediate is not None and before.intermediate == after.intermediate:
        old = new = old or new
    if new is not None and new not in before.roots:
        return "the intermediate is signed by a root that nobody trusts yet"
    if old is not None and old not in after.roots:
        return "a root is dropped by which certificates in use are signed"
    if (old is None or new is None) and one != other and before.intermediate != after.intermediate:
        return (
            "the roots change together with the intermediate, and nothing here tells which root"
            " signed the old one"
        )
    return None


def _find_exchanges(
    before: Mapping[str, Trust], after: Mapping[str, Trust]
) -> dict[str, list[str]]:
    """The clusters by why what they trust, and who signs, cannot change so."""
    found: dict[str, list[str]] = {}
    for name in sorted(after):
        old, new = before.get(name), after[name]
        why = _new_cluster_reason(before, new) if old is None else unsafe_reason(old, new)
        why = why or (_lagging_reason(before, old, new) if old is not None else None)
        if why is not None:
            found.setdefault(why, []).append(name)
    return found


def _lagging_reason(before: Mapping[str, Trust], old: Trust, new: Trust) -> str | None:
    """Why a cluster cannot change its signer: others do not trust the new one."""
    signer = new.known_signer
    behind = sorted(
        name
        for name, other in before.items()
        if other.roots and signer is not None and signer not in other.roots
    )
    if not behind or new.is_unchanged(old):
        return None
    return f"the intermediate is signed by a root that is not trusted yet in {', '.join(behind)}"


def _new_cluster_reason(before: Mapping[str, Trust], new: Trust) -> str | None:
    """Why a new cluster cannot join those that exist."""
    signer = new.known_signer
    if any(o.roots and signer is not None and signer not in o.roots for o in before.values()):
        return (
            "a new cluster has an intermediate that is signed by a root that the others do not"
            " trust yet"
        )
    return None


def cut_reason(before: Trust, after: Trust) -> str | None:
    """Why a cluster cannot go from one to the other without a cut, as a sentence about its tree;
    None where it can.

    istiod takes another bundle only where one holds the other, up to Istio 1.29 as a text within a
    text; whatever else it ignores (istio: pilot/pkg/bootstrap/istio_ca.go, handleEvent).
    """
    if before.roots == after.roots:
        return None
    if set(before.roots) == set(after.roots):
        return (
            "has the same roots in another order, which istiod up to 1.29 takes for another bundle"
            " and ignores"
        )
    if not (
        _is_contiguous_part(before.roots, after.roots)
        or _is_contiguous_part(after.roots, before.roots)
    ):
        return (
            "trusts other roots, and what would be rendered neither holds them all nor is a part of"
            " them; istiod ignores such a change, or cuts traffic"
        )
    if before.signer and after.signer and before.signer != after.signer:
        return (
            "would get another bundle of roots and another root that signs in one render; each"
            " needs its own"
        )
    return None


def _is_contiguous_part(few: tuple[str, ...], many: tuple[str, ...]) -> bool:
    return any(many[i : i + len(few)] == few for i in range(len(many) - len(few) + 1))


def find_cuts(before: Mapping[str, Trust], after: Mapping[str, Trust]) -> Iterator[tuple[str, str]]:
    """The clusters that cannot go where a render leads, each with why; `before` are all trees that
    are there, `after` those that are rendered.
    """
    known = {name: trust for name, trust in before.items() if trust.roots}
    for name, new in sorted(after.items()):
        old = known.get(name)
        if not new.roots:
            continue
        why = cut_reason(old, new) if old is not None else None
        if why is not None:
            yield name, why
            continue
        others = sorted(other for other in known if other != name)
        blind = [other for other in others if new.signer and new.signer not in known[other].roots]
        if blind and (old is None or old.signer != new.signer):
            yield (
                name,
                (
                    f"would be signed by a root that the tree of {names_text(blind)} does not trust"
                    " yet"
                ),
            )
            continue
        lost = [
            other
            for other in others
            if known[other].signer and known[other].signer not in new.roots
        ]
        if lost and (old is None or not set(old.roots) <= set(new.roots)):
            yield (
                name,
                f"would no longer trust the root by which the tree of {names_text(lost)} is signed",
            )


def trust_of_lock(lock: LockFile) -> Trust | None:
    """What a lock says of roots and signers; None where it says nothing."""
    if not lock.context:
        return None
    # A lock names the signer where there are several roots.
    only = lock.roots[0] if len(lock.roots) == 1 and lock.intermediate else None
    return Trust(lock.roots, lock.signer or only, lock.intermediate, lock.crl)


def trusts_of_state(state: MeshState, names: Iterable[str]) -> dict[str, Trust]:
    """What the locks of clusters say of roots and signers, as far as they say anything."""
    found = {n: trust_of_lock(state.locks[n]) for n in names if n in state.locks}
    return {name: trust for name, trust in found.items() if trust is not None}


def find_root_refusals(
    old: MeshState, new: MeshState, out: str, render: PlannedRender
) -> list[Refusal]:
    """Why a render must not change the roots and signers of the existing tree in `out`."""
    plan, pki = render.plan, render.pki
    one_root = one_root_problems(plan.topology.clusters) if len(pki.roots) > 1 else []
    # Roots and intermediates are in the locks: where no directory differs, they are the same.
    if (
        one_root
        or not pki.intermediates
        or not any(change.has_differences for change in render.changes)
    ):
        return [Refusal(problem) for problem in one_root]
    before = trusts_of_state(old, plan.members.keys() - render.unapplied_clusters)
    after = trusts_of_state(new, plan.members.keys() & render.rendered_folders)
    signers = {name: _signer_in_tree(old, name, trust) for name, trust in before.items()}
    fault = find_root_fault(before, after, signers) if before else None
    if fault is None:
        return []
    names = tuple(sorted(render.running_clusters))
    problems = _fault_problems(fault, out, render)
    return [Refusal(problem, names, has_way_out=True) for problem in problems]


def _fault_problems(fault: RootFault, out: str, render: PlannedRender) -> list[Problem]:
    if fault.reasons and ROOT_CERT in render.pki.new_files:
        what = (
            "is missing, and a new root would take the place of the one by which the rendered"
            " clusters trust each other"
        )
        place, fix = (
            Place(join_path(render.directory, f"certs/{ROOT_CERT}")),
            "put it back, with its key",
        )
        return [Problem(place, what, fix, ROOT_EXCHANGE_CHECK, code="root-certificate-missing")]
    if fault.reasons:
        return [fault.to_problem(join_path(render.directory, f"certs/{ROOT_CERT}"))]
    fix = (
        f"change roots step by step with `{_ROTATE}`, or put"
        f" {join_path(render.directory, 'certs')} back"
    )
    return [
        Problem(Place(join_path(out, name)), why, fix, ROOT_EXCHANGE_CHECK, code=UNSAFE_CODE)
        for name, why in fault.cuts
    ]


def _signer_in_tree(state: MeshState, name: str, trust: Trust) -> str | None:
    """The root that signs in a cluster, by the certificates of its tree where they are in clear;
    None where the lock says it, or nothing does.
    """
    if len(trust.roots) <= 1 or trust.signer is not None or not trust.intermediate:
        return None
    body = state.tree[name].get(CACERTS_PATH)
    if body is None:
        return None
    return read_mesh_state({name: {CACERTS_PATH: body}}).clusters[name].cacerts.signer


def issuer_change_problems(old: MeshState, new: MeshState, render: PlannedRender) -> list[Problem]:
    """A warning where the tree has the root of another issuer than the topology, and only the
    clusters know whether it is the same one.
    """
    names = [c.name for c in render.changes if c.has_differences and c.name in render.plan.members]
    pairs = [
        (_issuer_of_lock(old.locks[name]), _issuer_of_lock(new.locks[name]))
        for name in names
        if name in old.locks
    ]
    place = render.plan.topology.document.field_place("certificates", "issuer")
    return [
        Problem(
            place,
            f"has workloads trust the root of {after}, where {before} was: if that is not the same"
            " root, clusters that have the change and those that have not refuse each other",
            TO_LOCAL_FIX
            if after == LOCAL_ROOT
            else TO_ISSUER_FIX
            if before == LOCAL_ROOT
            else BETWEEN_ISSUERS_FIX,
            "root-elsewhere",
            code="root-of-another-issuer",
        )
        for before, after in dict.fromkeys(pairs)
        if None not in (before, after) and before != after
    ]


def _issuer_of_lock(lock: LockFile) -> str | None:
    """Whose root a lock says that is trusted; None where it says nothing of it."""
    if not (lock.roots or lock.issuer):
        return None
    return LOCAL_ROOT if lock.roots else (lock.issuer or "").partition(": ")[2]


def find_issuer_change(old: Cacerts, new: Cacerts) -> tuple[str, str] | None:
    """Whose root a cluster trusts before and after, where that is another issuer; None where it is
    not, or nothing says it.
    """
    before, after = _issuer_of_trust(old), _issuer_of_trust(new)
    if before is None or after is None or before == after:
        return None
    return before, after


def _issuer_of_trust(trust: Cacerts) -> str | None:
    """The issuer of the trusted root; None if unknown. cert-manager and istio-csr are the same if
    they name one issuer.
    """
    if trust.root_fingerprints:
        return LOCAL_ROOT
    issuer = ISSUERS.get(trust.store, Issuer())
    if issuer.signs_workloads:
        return str(trust.issuer.get("issuer", "")).partition(": ")[2] or None
    if issuer.creates_cacerts:
        return "{}.{}/{}".format(
            *(trust.issuer.get(f"issuerRef.{part}", "") for part in ("kind", "group", "name"))
        )
    return None


def lagging_tree_problems(
    where: str, tree_trusts: Mapping[str, Trust], certs_trusts: Mapping[str, Trust], fix: str
) -> list[Problem]:
    """The clusters whose tree in `where` does not have the roots and signers of `certs/`."""
    found = []
    for name, trust in sorted(certs_trusts.items()):
        why = _lag_reason(tree_trusts.get(name), trust)
        if why is not None:
            code, what = why
            found.append(Problem(Place(join_path(where, name)), what, fix, code=code))
    return found


def _lag_reason(in_tree: Trust | None, in_certs: Trust) -> tuple[str, str] | None:
    """The code and the fact of what a tree lacks of what `certs/` has."""
    certs = work_path("certs/")
    if in_tree is None:
        return "tree-not-rendered", "is not rendered yet"
    if in_tree.roots != in_certs.roots:
        return "tree-has-other-roots", f"has other roots than {certs} has"
    if in_tree.signer != in_certs.signer:
        return "tree-has-other-signer", f"is signed by another root than {certs} has it"
    if in_certs.crl and in_tree.crl != in_certs.crl:
        return (
            "tree-has-other-crls",
            (
                f"has other CRLs than {certs} has, and the new root may sign only where proxies"
                " have its own"
            ),
        )
    return None
