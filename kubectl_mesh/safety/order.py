"""Whether the clusters may apply a change in any order, and if not, in which."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kubectl_mesh.errors import Problem
from kubectl_mesh.model import CACERTS_PATH
from kubectl_mesh.model.trust import Trust
from kubectl_mesh.observed.cluster_pairs import ClusterPair, list_secret_holders
from kubectl_mesh.observed.lazy_state import open_tree
from kubectl_mesh.observed.mesh_state import ObservedCluster, RawTree
from kubectl_mesh.safety.apply_steps import Constraint, Order, rank_clusters
from kubectl_mesh.safety.crl_order import find_crl_constraints, list_crl_notes
from kubectl_mesh.safety.refusal import CALL_WOULD_FAIL, Refusal
from kubectl_mesh.safety.roots import ROOT_EXCHANGE_CHECK as ROOT_EXCHANGE
from kubectl_mesh.safety.roots import find_issuer_change, find_root_fault, trusts_of_state
from kubectl_mesh.text import marked_text

_WAIT_TEXTS = {
    "roots": (
        "apply it in every cluster, and wait until all workloads have the new bundle (a day, or"
        " restart them), before anything else about roots changes"
    ),
    "namespace": (
        "clusters that discover each other need Istio in the same namespace: no order is without"
        " interruption"
    ),
    "mesh": "while some clusters have the old mesh ID, telemetry is filed under both",
    "trust-domain": (
        "no order is without interruption unless meshConfig.trustDomainAliases names the old domain"
        " first, in a change of its own"
    ),
    "store": "what fills the Secrets has to be in a cluster before the cluster applies this",
    "recipients": "who is added has to have its identity in place before it applies this",
    "version": "one cluster after the other, with a look at each",
    "gone": (
        "of a cluster that leaves: first the commands in its peers, then those in the cluster"
        " itself"
    ),
    "remote-secret": "one cluster after the other, so that no more than one loses a peer at a time",
}
"""What has to be waited for, whatever the order, by the kind of finding."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference between two states of a mesh, as far as the order depends on it."""

    kind: str
    """As in the report of `diff`: `cluster`, `rename`, `network`, `gateway`, and so on."""
    group: str
    """`new`, `changed` or `deleted`."""
    clusters: tuple[str, ...]
    adds_recipient: bool = False


@dataclass(frozen=True, slots=True)
class MeshChange:
    """What differs between two states of a mesh."""

    pairs: Sequence[ClusterPair]
    """The clusters in which a file differs."""
    clusters: Mapping[str, ObservedCluster]
    """Those of them that exist after the change."""
    old_clusters: Mapping[str, ObservedCluster]
    """Those of them that exist before it, by the name that they have then."""
    findings: Sequence[Finding]
    changed_clusters: frozenset[str]
    """The clusters in which anything differs but the formatting."""
    old_tree: RawTree = field(repr=False)
    new_tree: RawTree = field(repr=False)

    def list_new_names(self) -> dict[str, str]:
        """The new name of each cluster that is renamed, by its old one."""
        return {p.before.name: p.name for p in self.pairs if p.before is not None and p.is_renamed}


def find_order(
    change: MeshChange,
    refusals: Sequence[Refusal] = (),
    calls: Sequence[Constraint] = (),
    unknown: Sequence[str] = (),
) -> Order:
    """The order in which clusters may apply a change; `refusals` are what running clusters do not
    survive of it, `calls` who has to go first so that no call fails, `unknown` what cannot be known
    offline.
    """
    notes = _list_notes(change)
    refused = _refused_problems(change, refusals)
    if refused:
        return Order(has_any_order=False, refused=refused, notes=notes)
    clusters = change.changed_clusters & frozenset(change.clusters)
    constraints = [
        b for b in _list_constraints(change) if b.first & clusters and b.then & clusters - b.first
    ]
    ranks = rank_clusters(clusters, constraints)
    if ranks is not None:
        constraints += [b for b in calls if not _is_met(b, ranks)]
        ranks = rank_clusters(clusters, constraints)
    if ranks is None:
        why = "clusters wait for each other in a circle: no order is without interruption"
        reasons = dict.fromkeys(b.reason for b in constraints)
        return Order(has_any_order=False, notes=(why, *reasons, *notes), unknown=tuple(unknown))
    if not constraints:
        return Order(has_any_order=not unknown, notes=notes, unknown=tuple(unknown))
    steps = tuple(
        tuple(sorted(n for n in clusters if ranks[n] == rank))
        for rank in range(max(ranks.values()) + 1)
    )
    return Order(
        has_any_order=False,
        steps=steps,
        reasons=tuple(dict.fromkeys(b.reason for b in constraints)),
        notes=notes,
        unknown=tuple(unknown),
    )


def _is_met(constraint: Constraint, ranks: Mapping[str, int]) -> bool:
    """Whether the order of some steps keeps a constraint already."""
    return all(
        ranks[first] < ranks[then]
        for first in constraint.first & ranks.keys()
        for then in constraint.then & ranks.keys()
    )


def _list_notes(change: MeshChange) -> tuple[str, ...]:
    """What has to be waited for, whatever the order."""
    kinds = {
        "gone" if one.kind == "cluster" and one.group == "deleted" else one.kind
        for one in change.findings
    }
    if not any(one.adds_recipient for one in change.findings):
        kinds.discard("recipients")
    return (
        *(says for kind, says in _WAIT_TEXTS.items() if kind in kinds),
        *_issuer_notes(change),
        *list_crl_notes(change.pairs),
    )


def _refused_problems(change: MeshChange, refusals: Sequence[Refusal]) -> tuple[Problem, ...]:
    """Why the change is safe in no order: what the trees say of the roots, and what was refused."""
    fault = find_root_fault(*_list_trusts(change))
    if fault is None:
        return tuple(dict.fromkeys(refusal.to_problem() for refusal in refusals))
    problem = fault.to_problem(CACERTS_PATH)
    # The same fault in the words of the trees, with the way out of the render.
    same = next((r for r in refusals if r.problem.id == ROOT_EXCHANGE), None)
    if same is not None:
        problem = replace(problem, fix=marked_text(problem.fix) + same.way_out)
    # The model of calls has seen the same, in other words.
    others = (
        r.to_problem()
        for r in refusals
        if r.problem.id != ROOT_EXCHANGE and r.problem.code != CALL_WOULD_FAIL
    )
    return tuple(dict.fromkeys((problem, *others)))


def _list_trusts(change: MeshChange) -> tuple[Mapping[str, Trust], Mapping[str, Trust]]:
    """What each cluster trusts, and who signs there, before and after; of clusters that stay as
    they are only where another one changes.
    """
    before = {
        p.name: p.before.cacerts.trust
        for p in change.pairs
        if p.before is not None
        and p.after is not None
        and p.before.cacerts.intermediate_fingerprint
    }
    after = {
        p.name: p.after.cacerts.trust
        for p in change.pairs
        if p.after is not None and p.after.cacerts.intermediate_fingerprint
    }
    if before.keys() == after.keys() and all(
        trust.is_unchanged(after.get(name)) for name, trust in before.items()
    ):
        return before, after
    unchanged = _unchanged_trusts(change)
    return {**unchanged, **before}, {**unchanged, **after}


def _issuer_notes(change: MeshChange) -> tuple[str, ...]:
    """A note that no order avoids an interruption if the root may differ."""
    if any(
        p.before is not None
        and p.after is not None
        and find_issuer_change(p.before.cacerts, p.after.cacerts) is not None
        for p in change.pairs
    ):
        return ("if the root is not the same before and after, no order is without interruption",)
    return ()


def _unchanged_trusts(change: MeshChange) -> dict[str, Trust]:
    """What the clusters trust that nothing changes in, by their locks."""
    names = {n for n in change.new_tree if n and not n.startswith("_")} - {
        n for p in change.pairs for n in (p.before and p.before.name, p.after and p.after.name)
    }
    trusts = trusts_of_state(open_tree(change.new_tree), names)
    return {name: trust for name, trust in trusts.items() if trust.intermediate is not None}


def _list_constraints(change: MeshChange) -> Iterable[Constraint]:
    """The constraints on the order of clusters."""
    yield from find_crl_constraints(change.pairs)
    yield from _label_constraints(change)
    for finding in change.findings:
        name = finding.clusters[0] if finding.clusters else ""
        if finding.kind == "cluster" and finding.group == "new":
            yield from _newcomer_constraints(change, finding)
        elif finding.kind == "rename":
            why = f"{name} first, so that it answers to its new name before its peers ask for it"
            peers = frozenset(list_secret_holders(change.new_tree, name))
            yield Constraint(frozenset(finding.clusters), peers, why)
        elif finding.kind == "network":
            declares = frozenset(
                n
                for n, c in change.clusters.items()
                if any(g.kind == "meshNetworks" for g in c.gateways)
            )
            why = f"{name} first: its peers are told by meshNetworks where its endpoints are"
            yield Constraint(frozenset(finding.clusters), declares, why)
        elif finding.kind == "gateway":
            yield from _gateway_constraints(change, finding)
        elif finding.kind in ("version", "revision"):
            yield from _primary_constraints(change)


def _newcomer_constraints(change: MeshChange, finding: Finding) -> Iterable[Constraint]:
    """A cluster that comes, before those that read it and those that its istiod serves."""
    name, subject = finding.clusters[0], frozenset(finding.clusters)
    why = f"{name} first, stage by stage: its peers read it as soon as they have its remote secret"
    # Clusters that come together wait for nobody: each takes a peer when its API server answers.
    renamed = change.list_new_names()
    known = frozenset(renamed.get(n, n) for n in change.old_tree)
    yield Constraint(subject, frozenset(list_secret_holders(change.new_tree, name)) & known, why)
    served = frozenset(
        n
        for n, c in change.clusters.items()
        if c.served_by is not None and c.served_by.value == name
    )
    yield Constraint(subject, served, f"{name} before the clusters that its istiod serves")


def _gateway_constraints(change: MeshChange, finding: Finding) -> Iterable[Constraint]:
    """A gateway and those who know its address."""
    subject = frozenset(finding.clusters)
    if finding.group == "new":
        why = "the gateway first, then those who are told its address"
        yield Constraint(subject, _clusters_with_addresses(change) - subject, why)
    elif finding.group == "deleted":
        why = "those who were told the gateway's address first, then the gateway"
        yield Constraint(_clusters_with_addresses(change, before=True) - subject, subject, why)


def _primary_constraints(change: MeshChange) -> Iterable[Constraint]:
    """A cluster before those that its istiod serves."""
    everyone = frozenset(change.clusters)
    for remote, cluster in change.clusters.items():
        if cluster.served_by is not None:
            primary = frozenset((cluster.served_by.value,))
            why = f"{cluster.served_by.value} before the clusters that its istiod serves"
            yield Constraint(primary & everyone, frozenset((remote,)), why)


def _label_constraints(change: MeshChange) -> Iterable[Constraint]:
    """The constraints where istiod starts or stops finding a gateway by its label, and other
    clusters know its address instead.
    """
    for pair in change.pairs:
        if pair.before is None or pair.after is None:
            continue
        old, new, subject = (
            _labelled_networks(pair.before),
            _labelled_networks(pair.after),
            frozenset((pair.after.name,)),
        )
        for network in sorted(old - new):
            why = (
                "those who are told the gateway's address first, then the gateway, which is no"
                " longer found by itself"
            )
            yield Constraint(
                _clusters_with_addresses(change, network=network) - subject, subject, why
            )
        for network in sorted(new - old):
            why = (
                "the gateway first, then those who were told its address, and find it by"
                " themselves now"
            )
            yield Constraint(
                subject,
                _clusters_with_addresses(change, before=True, network=network) - subject,
                why,
            )


def _labelled_networks(cluster: ObservedCluster) -> frozenset[str]:
    """The networks whose gateways istiod finds in a cluster by their labels."""
    return frozenset(
        g.network
        for g in cluster.gateways
        if g.network is not None and g.kind != "meshNetworks" and not g.addresses
    )


def _clusters_with_addresses(
    change: MeshChange, *, before: bool = False, network: str | None = None
) -> frozenset[str]:
    """The clusters to which addresses of gateways are stated, of any network or of one."""
    return frozenset(
        n
        for n, c in (change.old_clusters if before else change.clusters).items()
        if any(g.addresses and network in (None, g.network) for g in c.gateways)
    )
