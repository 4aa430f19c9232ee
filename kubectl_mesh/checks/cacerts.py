"""The checks of the `cacerts` in a tree: one root, its own intermediate, a chain, a key that fits,
dates.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta

from kubectl_mesh.checks.check import ContentCheck, Unknown
from kubectl_mesh.checks.context import (
    ERROR,
    RENDER,
    WARNING,
    Finding,
    InputFacts,
    Needs,
    TreeContext,
)
from kubectl_mesh.checks.unknown_answers import cacerts_unknown
from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.observed.mesh_state import Cacerts
from kubectl_mesh.observed.tree_parser import CACERTS_INCOMPLETE
from kubectl_mesh.pki.issue import cacerts_problems
from kubectl_mesh.text import mesh_command, work_path

_RESTORE = (
    f"Render, which puts what is in {work_path('certs/')} back; and find out who put the other"
    " there."
)


class CacertsCheck(ContentCheck):
    """A check of the `cacerts` in the tree. One pass finds the first fault of each."""

    def find_in_tree(self, tree: TreeContext) -> Iterable[Finding]:
        return self.select_own(tree.run_once(judge_cacerts))

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        return cacerts_unknown(inputs)


class ReadingCheck(ContentCheck):
    """A check that a file of the tree can be read."""

    def covered_files(self, tree: TreeContext) -> frozenset[str]:
        return tree.explained_files

    def find_in_tree(self, tree: TreeContext) -> Iterator[Finding]:
        for problem in tree.state.problems:
            if self.is_asked(problem):
                yield self.build_finding(tree, problem.where, problem.what, problem.code)

    def is_asked(self, problem: Problem) -> bool:
        """Whether this check reports a problem of reading the tree."""
        return problem.code != CACERTS_INCOMPLETE


class TreeReadable(ReadingCheck):
    id = "tree-readable"
    category = "tree"
    severity = ERROR
    sentence = "everything in the tree can be read"
    prevents = (
        "`error converting YAML to JSON` from kubectl, Argo CD or Flux, and nothing of the"
        " directory is applied"
    )
    remedy = "Render, which makes the file anew."
    needs = Needs.INPUTS | Needs.CONTENT


class TreeComplete(ReadingCheck):
    id = "tree-complete"
    category = "tree"
    severity = ERROR
    sentence = "every rendered cacerts has key, certificate, chain and root"
    prevents = "istiod does not start: `incomplete signing CA bundle`"
    remedy = "Render, which makes the file anew."
    needs = Needs.INPUTS | Needs.CONTENT

    def is_asked(self, problem: Problem) -> bool:
        return problem.code == CACERTS_INCOMPLETE

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        return cacerts_unknown(inputs)


class TreeRoot(CacertsCheck):
    id = "tree-root"
    category = "tree"
    severity = ERROR
    sentence = "the rendered cacerts of all clusters hold the same root, that of certs/"
    prevents = "proxies of different clusters: `TLSV1_ALERT_UNKNOWN_CA`"
    remedy = _RESTORE
    needs = Needs.INPUTS | Needs.CONTENT


class TreeOwn(CacertsCheck):
    id = "tree-own"
    category = "tree"
    severity = ERROR
    sentence = "every rendered cacerts holds the intermediate of its own cluster"
    prevents = (
        "one cluster signs as another: `cacerts` of two clusters are exchanged, and what is revoked"
        " for one is revoked for the other"
    )
    remedy = _RESTORE
    needs = Needs.INPUTS | Needs.CONTENT


class TreeChain(CacertsCheck):
    id = "tree-chain"
    category = "tree"
    severity = ERROR
    sentence = "every rendered intermediate leads to the root beside it, by the chain beside it"
    prevents = (
        "istiod does not start: `x509: certificate signed by unknown authority`, or proxies:"
        " `CERTIFICATE_VERIFY_FAILED`"
    )
    remedy = _RESTORE
    needs = Needs.INPUTS | Needs.CONTENT


class TreePair(CacertsCheck):
    id = "tree-pair"
    category = "tree"
    severity = ERROR
    sentence = "every rendered intermediate belongs to the key beside it"
    prevents = "istiod does not start: `private key does not match public key`"
    remedy = _RESTORE
    needs = Needs.INPUTS | Needs.CONTENT


class TreeCa(CacertsCheck):
    id = "tree-ca"
    category = "tree"
    severity = ERROR
    sentence = "every rendered intermediate and root is a CA that istiod and Envoy accept"
    prevents = "istiod does not start: `certificate is not authorized to sign other certificates`"
    remedy = _RESTORE
    needs = Needs.INPUTS | Needs.CONTENT


class TreeExpired(CacertsCheck):
    id = "tree-expired"
    category = "tree"
    severity = ERROR
    sentence = "every certificate in the tree is valid today"
    prevents = (
        "istiod does not start, or proxies: `CERTIFICATE_VERIFY_FAILED: certificate has expired`"
    )
    remedy = (
        f"Where {work_path('certs/')} has a newer one, render; else move the intermediate's folder"
        " away first. Then review and apply."
    )
    needs = Needs.INPUTS | Needs.CONTENT


class TreeExpiring(CacertsCheck):
    id = "tree-expiring"
    category = "tree"
    severity = WARNING
    sentence = (
        "no certificate in the tree expires soon; within the time of --fail-within it is an error"
    )
    prevents = "an outage on the day it expires"
    remedy = (
        f"Where {work_path('certs/')} has a newer one, render; else move the intermediate's folder"
        " away first. Then review and apply."
    )
    needs = Needs.INPUTS | Needs.CONTENT


def judge_cacerts(tree: TreeContext) -> tuple[Finding, ...]:
    """What is wrong with the trust of the clusters. One fault is one finding, about its cause."""
    trusts = {
        name: c.cacerts
        for name, c in tree.state.clusters.items()
        if name in tree.peers
        and c.cacerts.is_clear
        and f"{tree.out}/{c.cacerts.file}" not in tree.unreadable
    }
    roots = tree.roots if tree.roots is not None else _most_common_roots(trusts.values())
    found: list[Finding] = []
    for name, trust in trusts.items():
        errors = list(_trust_problems(tree, name, trust, roots))
        found += [Finding(ERROR, problem) for problem in errors]
        if not errors:
            severity = ERROR if tree.fail_within is not None else WARNING
            found += [Finding(severity, p) for p in _expiring_problems(tree, name, trust)]
    return tuple(found)


def _most_common_roots(trusts: Iterable[Cacerts]) -> frozenset[str] | None:
    """The roots of most clusters, for a tree whose `certs/` is missing."""
    counted = Counter(frozenset(t.root_fingerprints) for t in trusts)
    return min(counted, key=lambda r: (-counted[r], sorted(r))) if counted else None


def _file(trust: Cacerts, name: str) -> Place:
    return Place(trust.file, path=f'data."{name}"')


def _trust_problems(
    tree: TreeContext, name: str, trust: Cacerts, roots: frozenset[str] | None
) -> Iterator[Problem]:
    root_problem = _root_problem(tree, name, trust, roots) if roots is not None else None
    if root_problem is not None:
        yield root_problem
        return
    other = _other_owner(tree, name, trust)
    if other is not None:
        what, where = f'holds the intermediate of "{other}"', _file(trust, "ca-cert.pem")
        yield tree.problem(where, what, TreeOwn.id, "intermediate-of-other-cluster")
        return
    if trust.has_matching_key is False:
        what, where = (
            "holds a key that does not belong to its certificate",
            _file(trust, "ca-key.pem"),
        )
        yield tree.problem(where, what, TreePair.id, "key-not-of-certificate")
    for problem in cacerts_problems(trust.files, tree.now):
        check = _BUNDLE_CHECKS.get(problem.id, TreeChain.id)
        fix = _expired_fix(tree, name, trust) if check == TreeExpired.id else RENDER
        where = _file(trust, problem.where.file)
        yield tree.problem(where, problem.what, check, problem.code, fix)


_BUNDLE_CHECKS: Mapping[str, str] = {"certs-expired": TreeExpired.id, "certs-ca": TreeCa.id}
"""The check of a rendered bundle, by the check of the same fault in `certs/`."""


def _root_problem(
    tree: TreeContext, name: str, trust: Cacerts, roots: frozenset[str]
) -> Problem | None:
    own, where = frozenset(trust.root_fingerprints), _file(trust, "root-cert.pem")
    if own == roots:
        return None
    if _is_not_rendered_yet(tree, name, trust, roots):
        what = (
            f"does not have the roots of {work_path('certs/')} yet: a step of `certs rotate-root`"
            " or `certs import-root` is not rendered"
        )
        fix = f"run `{mesh_command('render')}`, review and apply it"
        return tree.problem(where, what, "tree-current", "roots-not-rendered", fix)
    than = (
        f"the one in {work_path('certs/root-cert.pem')}"
        if tree.roots is not None
        else "most clusters"
    )
    what = f"holds another root than {than}: {_short(own)}, not {_short(roots)}"
    return tree.problem(where, what, TreeRoot.id, "root-differs", _root_fix(tree))


def _is_not_rendered_yet(
    tree: TreeContext, name: str, trust: Cacerts, roots: frozenset[str]
) -> bool:
    """Whether the roots of a cluster are those of the step before: as they were rendered, and part
    or whole of those in certs/.
    """
    own = frozenset(trust.root_fingerprints)
    is_as_rendered = (
        tree.roots is not None
        and trust.file not in tree.hand_edits
        and tree.state.clusters[name].lock is not None
    )
    return is_as_rendered and bool(own) and (own < roots or own > roots)


def _root_fix(tree: TreeContext) -> str:
    certs = work_path("certs/")
    if tree.roots is None:
        return f"find out which root is right; then render where {certs} is"
    return (
        f"find out who changed it. Then run `{mesh_command('render')}`, which puts the root of"
        f" {certs} into the tree, and apply all clusters"
    )


def _expired_fix(tree: TreeContext, name: str, trust: Cacerts) -> str:
    if tree.intermediates.get(name) not in (None, trust.intermediate_fingerprint):
        return (
            f"run `{mesh_command('render')}`, which puts the one of {work_path('certs/')} in its"
            " place, and apply"
        )
    folder = work_path(f"certs/intermediate-{name}")
    return f"move {folder} away, render and apply: that makes a new one"


def _other_owner(tree: TreeContext, name: str, trust: Cacerts) -> str | None:
    """The other cluster whose intermediate this is."""
    for other, fingerprint in tree.intermediates.items():
        if other != name and fingerprint == trust.intermediate_fingerprint:
            return other
    if trust.intermediate is None or name in tree.intermediates:
        return None
    subject = trust.intermediate.subject.split(", ")
    return next((n for n in tree.peers if n != name and f"L=intermediate-{n}" in subject), None)


def _expiring_problems(tree: TreeContext, name: str, trust: Cacerts) -> Iterator[Problem]:
    """Certificates of the tree that end within the time that is asked for, else soon. Those that
    are in certs/ too are reported there.
    """
    found = [(c, "root-cert.pem") for c in trust.roots if c.fingerprint not in (tree.roots or ())]
    own = trust.intermediate
    if own is not None and own.fingerprint != tree.intermediates.get(name):
        found.append((own, "ca-cert.pem"))
    fix = (
        f"where {work_path('certs/')} has a newer one, run `{mesh_command('render')}`; else renew"
        " it there first"
    )
    for certificate, file in found:
        lifetime = certificate.not_after - certificate.not_before
        soon = min(timedelta(days=30), lifetime / 10)
        left = certificate.not_after - tree.now
        if left <= (tree.fail_within if tree.fail_within is not None else soon):
            what = f"expires on {certificate.not_after:%Y-%m-%d}, in {left.days} days"
            where = _file(trust, file)
            yield tree.problem(where, what, TreeExpiring.id, "certificate-expiring", fix)


def _short(fingerprints: frozenset[str]) -> str:
    return " and ".join(f"sha256 {f[:12]}…" for f in sorted(fingerprints)) or "none"
