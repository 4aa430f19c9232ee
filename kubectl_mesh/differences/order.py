"""Whether the clusters may apply a change in any order, and if not, in which."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from kubectl_mesh.differences import crls
from kubectl_mesh.differences.both import Both
from kubectl_mesh.differences.clusters import readers
from kubectl_mesh.differences.trust import elsewhere
from kubectl_mesh.differences.values import DELETED, Before, Line, Order
from kubectl_mesh.errors import Problem
from kubectl_mesh.model import CACERTS
from kubectl_mesh.model.trust import Trust
from kubectl_mesh.observed.locks import lock
from kubectl_mesh.observed.parse import Parser
from kubectl_mesh.observed.values import Cluster
from kubectl_mesh.safety.review import WAY_OUT
from kubectl_mesh.safety.roots import unsafe

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
    both: Both, lines: Sequence[Line], changed: Iterable[str], refused: Sequence[Problem] = ()
) -> Order:
    """The order of a change; `refused` says why a render makes no such change."""
    kinds = {
        "gone" if line.kind == "cluster" and line.group == DELETED else line.kind for line in lines
    }
    if not any(d.path == "recipient" and d.before is None for line in lines for d in line.details):
        kinds.discard("recipients")
    notes = (
        *(says for kind, says in _WAIT.items() if kind in kinds),
        *_elsewhere(both),
        *crls.notes(both),
    )
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
    if before.keys() != after.keys() or not all(
        trust.is_unchanged(after.get(name)) for name, trust in before.items()
    ):
        unchanged = _unchanged(both)
        before, after = {**unchanged, **before}, {**unchanged, **after}
    problem = unsafe(CACERTS, before, after)
    if (
        problem is not None
        and (same := next((p for p in refused if p.id == problem.id), None)) is not None
    ):
        # The same fault in the words of the trees, with the way out of the render.
        problem = replace(
            problem,
            fix=(
                problem.fix + same.fix[same.fix.find(WAY_OUT) :]
                if WAY_OUT in same.fix
                else problem.fix
            ),
        )
    found_problems = (
        *((problem,) if problem is not None else ()),
        *(p for p in refused if problem is None or p.id != problem.id),
    )
    if found_problems:
        return Order(any=False, refused=found_problems, notes=notes)
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
    found = {}
    names = {n for n in both.raw_after if n and not n.startswith("_")} - {
        n for p in both.pairs for n in (p.before and p.before.name, p.after and p.after.name)
    }
    for name in names:
        state = lock(name, both.raw_after[name], {}, Parser())
        if state is not None and state.says.intermediate is not None:
            found[name] = Trust(state.says.roots, intermediate=state.says.intermediate)
    return found


def _constraints(both: Both, lines: Sequence[Line]) -> Iterable[Before]:
    """Who has to go before whom."""
    everyone = frozenset(both.after.clusters)
    yield from crls.constraints(both)
    yield from _label_constraints(both)
    for line in lines:
        subject = frozenset(line.clusters)
        name = line.clusters[0] if line.clusters else ""
        if line.kind == "cluster" and line.group == "new":
            why = (
                f"{name} first, stage by stage: its peers read it as soon as they have its remote"
                " secret"
            )
            # Clusters that come together wait for nobody: each takes a peer when its API server
            # answers.
            yield Before(
                subject,
                frozenset(readers(both.raw_after, name))
                & frozenset(both.now(n) for n in both.raw_before),
                why,
            )
            served = frozenset(
                n
                for n, c in both.after.clusters.items()
                if c.served_by is not None and c.served_by.value == name
            )
            yield Before(subject, served, f"{name} before the clusters that its istiod serves")
        elif line.kind == "rename":
            why = f"{name} first, so that it answers to its new name before its peers ask for it"
            yield Before(subject, frozenset(readers(both.raw_after, name)), why)
        elif line.kind == "network":
            declares = frozenset(
                n
                for n, c in both.after.clusters.items()
                if any(g.kind == "meshNetworks" for g in c.gates)
            )
            yield Before(
                subject,
                declares,
                f"{name} first: its peers are told by meshNetworks where its endpoints are",
            )
        elif line.kind == "gateway" and line.group == "new":
            yield Before(
                subject,
                _declaring(both) - subject,
                "the gateway first, then those who are told its address",
            )
        elif line.kind == "gateway" and line.group == "deleted":
            yield Before(
                _declaring(both, before=True) - subject,
                subject,
                "those who were told the gateway's address first, then the gateway",
            )
        elif line.kind in ("version", "revision"):
            for remote, cluster in both.after.clusters.items():
                if cluster.served_by is not None:
                    primary = frozenset((cluster.served_by.value,))
                    yield Before(
                        primary & everyone,
                        frozenset((remote,)),
                        f"{cluster.served_by.value} before the clusters that its istiod serves",
                    )


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
