"""Whether the clusters may apply a change in any order, and if not, in which."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from kubectl_mesh.differences import crls
from kubectl_mesh.differences.both import Both
from kubectl_mesh.differences.clusters import readers
from kubectl_mesh.differences.trust import elsewhere
from kubectl_mesh.differences.values import DELETED, Before, Line, Order
from kubectl_mesh.errors import Problem
from kubectl_mesh.model import CACERTS
from kubectl_mesh.model.trust import Trust
from kubectl_mesh.observed.lazy import open_tree
from kubectl_mesh.observed.values import Cluster
from kubectl_mesh.safety import Refusal
from kubectl_mesh.safety.roots import ID as ROOT_EXCHANGE
from kubectl_mesh.safety.roots import find_root_fault, trusts_of_state
from kubectl_mesh.text import marked

_WAIT = {
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
"""What has to be waited for, whatever the order, by the kind of line."""


def order(
    both: Both, lines: Sequence[Line], changed: Iterable[str], refusals: Sequence[Refusal] = ()
) -> Order:
    """The order of a change; `refusals` are what running clusters do not survive of it."""
    notes = _list_notes(both, lines)
    refused = _refused_problems(both, refusals)
    if refused:
        return Order(any=False, refused=refused, notes=notes)
    there = frozenset(changed) & frozenset(both.after.clusters)
    found = [b for b in _constraints(both, lines) if b.first & there and b.then & there - b.first]
    ranks = ranked(there, found)
    if ranks is None:
        why = "clusters wait for each other in a circle: no order is without interruption"
        return Order(any=True, notes=(why, *dict.fromkeys(b.why for b in found), *notes))
    if not found:
        return Order(any=True, notes=notes)
    steps = tuple(
        tuple(sorted(n for n in there if ranks[n] == rank))
        for rank in range(max(ranks.values()) + 1)
    )
    return Order(
        any=False, steps=steps, reasons=tuple(dict.fromkeys(b.why for b in found)), notes=notes
    )


def _list_notes(both: Both, lines: Sequence[Line]) -> tuple[str, ...]:
    """What has to be waited for, whatever the order."""
    kinds = {
        "gone" if line.kind == "cluster" and line.group == DELETED else line.kind for line in lines
    }
    if not any(d.path == "recipient" and d.before is None for line in lines for d in line.details):
        kinds.discard("recipients")
    return (
        *(says for kind, says in _WAIT.items() if kind in kinds),
        *_elsewhere(both),
        *crls.notes(both),
    )


def _refused_problems(both: Both, refusals: Sequence[Refusal]) -> tuple[Problem, ...]:
    """Why the change is safe in no order: what the trees say of the roots, and what was refused."""
    fault = find_root_fault(*_trusts(both))
    if fault is None:
        return tuple(dict.fromkeys(refusal.to_problem() for refusal in refusals))
    problem = fault.to_problem(CACERTS)
    # The same fault in the words of the trees, with the way out of the render.
    same = next((r for r in refusals if r.problem.id == ROOT_EXCHANGE), None)
    if same is not None:
        problem = replace(problem, fix=marked(problem.fix) + same.way_out)
    others = (r.to_problem() for r in refusals if r.problem.id != ROOT_EXCHANGE)
    return tuple(dict.fromkeys((problem, *others)))


def _trusts(both: Both) -> tuple[Mapping[str, Trust], Mapping[str, Trust]]:
    """What each cluster trusts, and who signs there, before and after; of clusters that stay as
    they are only where another one changes.
    """
    before = {
        p.name: p.before.trust.fingerprints
        for p in both.pairs
        if p.before is not None and p.after is not None and p.before.trust.intermediate_fingerprint
    }
    after = {
        p.name: p.after.trust.fingerprints
        for p in both.pairs
        if p.after is not None and p.after.trust.intermediate_fingerprint
    }
    if before.keys() == after.keys() and all(
        trust.is_unchanged(after.get(name)) for name, trust in before.items()
    ):
        return before, after
    unchanged = _unchanged(both)
    return {**unchanged, **before}, {**unchanged, **after}


def _elsewhere(both: Both) -> tuple[str, ...]:
    """That no order helps where the root may be another, which nobody can tell from here."""
    if any(
        p.before is not None
        and p.after is not None
        and elsewhere(p.before.trust, p.after.trust) is not None
        for p in both.pairs
    ):
        return ("if the root is not the same before and after, no order is without interruption",)
    return ()


def ranked(there: frozenset[str], found: Sequence[Before]) -> dict[str, int] | None:
    """In which step each cluster goes, from 0; None where some wait for each other."""
    ranks = dict.fromkeys(sorted(there), 0)
    for _ in range(len(there) + 1):
        moved = False
        for rule in found:
            first = max((ranks[n] for n in rule.first & there), default=-1)
            for name in rule.then & there - rule.first:
                if ranks[name] <= first:
                    ranks[name], moved = first + 1, True
        if not moved:
            return ranks
    return None


def _unchanged(both: Both) -> dict[str, Trust]:
    """What the clusters trust that nothing changes in, by their locks."""
    names = {n for n in both.raw_after if n and not n.startswith("_")} - {
        n for p in both.pairs for n in (p.before and p.before.name, p.after and p.after.name)
    }
    trusts = trusts_of_state(open_tree(both.raw_after), names)
    return {name: trust for name, trust in trusts.items() if trust.intermediate is not None}


def _constraints(both: Both, lines: Sequence[Line]) -> Iterable[Before]:
    """Who has to go before whom."""
    yield from crls.constraints(both)
    yield from _label_constraints(both)
    for line in lines:
        name = line.clusters[0] if line.clusters else ""
        if line.kind == "cluster" and line.group == "new":
            yield from _newcomer_constraints(both, line)
        elif line.kind == "rename":
            why = f"{name} first, so that it answers to its new name before its peers ask for it"
            peers = frozenset(readers(both.raw_after, name))
            yield Before(frozenset(line.clusters), peers, why)
        elif line.kind == "network":
            declares = frozenset(
                n
                for n, c in both.after.clusters.items()
                if any(g.kind == "meshNetworks" for g in c.gates)
            )
            why = f"{name} first: its peers are told by meshNetworks where its endpoints are"
            yield Before(frozenset(line.clusters), declares, why)
        elif line.kind == "gateway":
            yield from _gateway_constraints(both, line)
        elif line.kind in ("version", "revision"):
            yield from _primary_constraints(both)


def _newcomer_constraints(both: Both, line: Line) -> Iterable[Before]:
    """A cluster that comes, before those that read it and those that its istiod serves."""
    name, subject = line.clusters[0], frozenset(line.clusters)
    why = f"{name} first, stage by stage: its peers read it as soon as they have its remote secret"
    # Clusters that come together wait for nobody: each takes a peer when its API server answers.
    known = frozenset(both.now(n) for n in both.raw_before)
    yield Before(subject, frozenset(readers(both.raw_after, name)) & known, why)
    served = frozenset(
        n
        for n, c in both.after.clusters.items()
        if c.served_by is not None and c.served_by.value == name
    )
    yield Before(subject, served, f"{name} before the clusters that its istiod serves")


def _gateway_constraints(both: Both, line: Line) -> Iterable[Before]:
    """A gateway and those who know its address."""
    subject = frozenset(line.clusters)
    if line.group == "new":
        why = "the gateway first, then those who are told its address"
        yield Before(subject, _declaring(both) - subject, why)
    elif line.group == "deleted":
        why = "those who were told the gateway's address first, then the gateway"
        yield Before(_declaring(both, before=True) - subject, subject, why)


def _primary_constraints(both: Both) -> Iterable[Before]:
    """A cluster before those that its istiod serves."""
    everyone = frozenset(both.after.clusters)
    for remote, cluster in both.after.clusters.items():
        if cluster.served_by is not None:
            primary = frozenset((cluster.served_by.value,))
            why = f"{cluster.served_by.value} before the clusters that its istiod serves"
            yield Before(primary & everyone, frozenset((remote,)), why)


def _label_constraints(both: Both) -> Iterable[Before]:
    """Who has to go before whom where istiod begins to find a gateway by its label, or stops to,
    and others know its address instead.
    """
    for pair in both.pairs:
        if pair.before is None or pair.after is None:
            continue
        old, new, subject = (
            _labelled(pair.before),
            _labelled(pair.after),
            frozenset((pair.after.name,)),
        )
        for network in sorted(old - new):
            why = (
                "those who are told the gateway's address first, then the gateway, which is no"
                " longer found by itself"
            )
            yield Before(_declaring(both, network=network) - subject, subject, why)
        for network in sorted(new - old):
            why = (
                "the gateway first, then those who were told its address, and find it by"
                " themselves now"
            )
            yield Before(subject, _declaring(both, before=True, network=network) - subject, why)


def _labelled(cluster: Cluster) -> frozenset[str]:
    """The networks whose gateways istiod finds in a cluster by their labels."""
    return frozenset(
        g.network
        for g in cluster.gates
        if g.network is not None and g.kind != "meshNetworks" and not g.addresses
    )


def _declaring(both: Both, *, before: bool = False, network: str | None = None) -> frozenset[str]:
    """The clusters to which addresses of gateways are stated, of any network or of one."""
    view = both.before if before else both.after
    return frozenset(
        n
        for n, c in view.clusters.items()
        if any(g.addresses and network in (None, g.network) for g in c.gates)
    )
