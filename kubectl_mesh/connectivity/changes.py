"""Whether calls go on working while clusters apply a change: in every order, in some order, in
none, or cannot be known offline.

A pair of clusters must never be worse off than before the change. Each requirement of a call is
looked at by itself: it depends on a few clusters only, and a pair is as bad as the worst of its
requirements, so nothing is lost by that.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations, product

from kubectl_mesh.connectivity.mixtures import NOTHING, Mixture, Progress, StatePair
from kubectl_mesh.connectivity.requirements import (
    GATEWAY_FACTS,
    REQUIREMENTS,
    Fault,
    Requirement,
)

_MOST = 4
"""How many clusters an order is searched for; a requirement that depends on more has none here."""


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A mixture in which a call fails that worked before: how far the clusters are that matter."""

    caller: str
    callee: str
    requirement: str
    fault: Fault
    progress: Mapping[str, Progress]

    @property
    def applied_clusters(self) -> tuple[str, ...]:
        """The clusters that have applied the change, or a part of it."""
        return tuple(sorted(n for n, p in self.progress.items() if p.applied))

    @property
    def waiting_clusters(self) -> tuple[str, ...]:
        """The clusters that have not."""
        return tuple(sorted(n for n, p in self.progress.items() if not p.applied))


@dataclass(frozen=True, slots=True)
class Precedence:
    """A cluster has to apply the change before another one does, as a counterexample shows."""

    first: str
    then: str
    example: Counterexample


@dataclass(frozen=True, slots=True)
class Decision:
    """What a change means for the calls of a mesh."""

    losses: tuple[Counterexample, ...] = ()
    """Calls that fail in every order."""
    order: tuple[Precedence, ...] = ()
    """Who has to go before whom."""
    unknown: tuple[Counterexample, ...] = ()
    """Calls of which it cannot be known offline whether they go on."""

    @property
    def is_any_order_proved(self) -> bool:
        """Whether every order was shown to keep every call."""
        return not (self.losses or self.order or self.unknown)


def decide_change(states: StatePair, is_wanted: Callable[[str, str], bool]) -> Decision:
    """What a change means for the calls of a mesh.

    `is_wanted` says whether a cluster is meant to reach another one afterwards: what topology.yaml
    takes away is no loss.
    """
    losses: list[Counterexample] = []
    order: list[Precedence] = []
    unknown: list[Counterexample] = []
    before = Mixture(states, dict.fromkeys(states.changed, NOTHING))
    roles = _ChangedRoles(states)
    for caller, callee in roles.list_pairs(is_wanted):
        decisions = [search.decide() for search in roles.list_searches(caller, callee)]
        for decision in decisions:
            unknown += decision.unknown
        if any(d.losses or d.order for d in decisions) and not _has_violation(
            before, caller, callee
        ):
            for decision in decisions:
                losses += decision.losses
                order += decision.order
    return Decision(tuple(losses), tuple(order), tuple(unknown))


def _has_violation(view: Mixture, caller: str, callee: str) -> bool:
    return any(
        fault is not None and fault.depends_on is None
        for fault in (r.find_fault(view, caller, callee) for r in REQUIREMENTS)
    )


class _ChangedRoles:
    """For each requirement, the clusters of which it depends on something that changes."""

    def __init__(self, states: StatePair) -> None:
        self._states = states
        self._by_role = {
            requirement.id: [
                frozenset(n for n, facts in states.changed.items() if facts & of)
                for of in requirement.facts_by_role
            ]
            for requirement in REQUIREMENTS
        }
        self._has_gateways = states.has_changed_gateways
        self._changed_callees = frozenset(
            name
            for name in states.new.names
            for part in {name, states.old.primary(name), states.new.primary(name)}
            if states.changed_facts(part) - {"logins"}
        ).intersection(states.old.names)
        self._needed = [
            r
            for r in REQUIREMENTS
            if any(self._by_role[r.id]) or (r.gateways and self._has_gateways)
        ]

    def list_pairs(self, is_wanted: Callable[[str, str], bool]) -> Iterator[tuple[str, str]]:
        """The pairs that depend on something that changes, are there before and after, and are
        meant to reach each other.
        """
        states = self._states
        there = frozenset(states.new.names)
        stay = tuple(name for name in states.old.names if name in there)
        if not self._needed:
            return
        for caller in stay:
            for callee in sorted(self._list_callees(caller, stay)):
                primary = states.old.primary(caller)
                if caller != callee and (primary == callee or is_wanted(primary, callee)):
                    yield caller, callee

    def _list_callees(self, caller: str, stay: tuple[str, ...]) -> Iterable[str]:
        """The clusters to which calls from a cluster may depend on something that changes."""
        states = self._states
        primaries = {states.old.primary(caller), states.new.primary(caller)}
        facts = frozenset().union(*map(states.changed_facts, {caller, *primaries}))
        if self._has_gateways or facts - {"logins", "readers"}:
            return stay
        if not facts & {"logins"}:
            return self._changed_callees
        peers = frozenset().union(*map(states.changed_logins, primaries))
        return self._changed_callees | peers.intersection(stay)

    def list_searches(self, caller: str, callee: str) -> Iterator["_Search"]:
        """What is to be looked at of a pair."""
        states = self._states
        ours = {states.old.primary(caller), states.new.primary(caller)}
        theirs = {states.old.primary(callee), states.new.primary(callee)}
        roles = ((caller,), ours, (callee,), theirs)
        for requirement in self._needed:
            changed = self._by_role[requirement.id]
            facts: dict[str, frozenset[str]] = {}
            for names, hot, of in zip(roles, changed, requirement.facts_by_role, strict=True):
                for name in hot.intersection(names) if hot else ():
                    facts[name] = facts.get(name, frozenset()) | of
            if requirement.gateways:
                # Who calls or is called may have gateways too.
                facts = {name: of | GATEWAY_FACTS for name, of in facts.items()}
            if requirement.id == "discovery":
                facts = {n: f for n, f in facts.items() if not self._has_same_login(n, callee, f)}
            if facts or (requirement.gateways and self._has_gateways):
                yield _Search(states, requirement, caller, callee, facts)

    def _has_same_login(self, name: str, callee: str, facts: frozenset[str]) -> bool:
        """Whether the remote secrets of a cluster are all that differs, and that for the callee is
        the same.
        """
        is_all = self._states.changed_facts(name) & facts == {"logins"}
        return is_all and callee not in self._states.changed_logins(name)


class _Search:
    """Looks for the mixtures in which one requirement of a call is worse than before."""

    def __init__(
        self,
        states: StatePair,
        requirement: Requirement,
        caller: str,
        callee: str,
        facts: Mapping[str, frozenset[str]],
    ) -> None:
        self._states, self._requirement = states, requirement
        self._caller, self._callee = caller, callee
        self._facts = dict(facts)
        self._names = tuple(sorted(facts))
        start = dict.fromkeys(states.changed, NOTHING)
        self._old = self._fault(Mixture(states, start))

    def _fault(self, view: Mixture) -> Fault | None:
        return self._requirement.find_fault(view, self._caller, self._callee)

    def _example(self, progress: Mapping[str, Progress]) -> Counterexample | None:
        """The mixture as a counterexample; None where the call is as well off as before."""
        view = Mixture(self._states, progress)
        fault = self._fault(view)
        if fault is None or (self._old is not None and self._old.depends_on is None):
            return None
        before = self._old.depends_on if self._old is not None else None
        if fault.depends_on is not None and fault.depends_on.is_implied_by(before):
            return None
        shown = {**progress, **view.worst}
        return Counterexample(self._caller, self._callee, self._requirement.id, fault, shown)

    def decide(self) -> Decision:
        """What the requirement says of the change."""
        found = self._list_examples()
        unknown = [e for e in found.values() if e.fault.depends_on is not None]
        unknown = [min(unknown, key=_size)] if unknown else []
        examples = _select_violations(found)
        if not examples:
            return Decision(unknown=tuple(unknown))
        shortest = min(examples.values(), key=_size)
        gateways = {n for e in examples.values() for n in e.progress} - {*self._names}
        if gateways:
            # In which order gateways go matters too.
            self._names = tuple(sorted({*self._names, *gateways}))
            is_searched = len(self._names) <= _MOST
            examples = _select_violations(self._list_examples()) if is_searched else {}
        order = _find_order(self._names, self._steps(), examples) if examples else None
        losses = (shortest,) if order is None else ()
        return Decision(losses, order or (), tuple(unknown))

    def _steps(self) -> list[tuple[Progress, ...]]:
        return [
            self._states.list_progress(name, self._facts.get(name, GATEWAY_FACTS))
            for name in self._names
        ]

    def _list_examples(self) -> dict[tuple[Progress, ...], Counterexample]:
        return {
            mixture: example
            for mixture in product(*self._steps())
            if (example := self._example(dict(zip(self._names, mixture, strict=True)))) is not None
        }


def _select_violations(
    examples: Mapping[tuple[Progress, ...], Counterexample],
) -> dict[tuple[Progress, ...], Counterexample]:
    """The mixtures in which the call fails, without those in which that cannot be known."""
    return {m: e for m, e in examples.items() if e.fault.depends_on is None}


def _size(example: Counterexample) -> tuple[int, int, int]:
    """How much a counterexample asks of its reader: first the clusters that have applied anything,
    then how far they are.
    """
    progress = example.progress.values()
    kept = sum(len(p.kept) for p in progress)
    return len(example.applied_clusters), kept, sum(p.applied for p in progress)


def _find_order(
    names: Sequence[str],
    steps: Sequence[Sequence[Progress]],
    examples: Mapping[tuple[Progress, ...], Counterexample],
) -> tuple[Precedence, ...] | None:
    """Who has to go before whom so that no counterexample occurs; None where nothing helps."""
    count = len(names)
    passing = [o for o in permutations(range(count)) if not _meets(o, steps, examples)]
    if not passing:
        return None
    shortest = min(examples.values(), key=_size)
    always = [
        (one, two)
        for one, two in permutations(range(count), 2)
        if all(o.index(one) < o.index(two) for o in passing)
    ]
    allowed = [
        o
        for o in permutations(range(count))
        if all(o.index(one) < o.index(two) for one, two in always)
    ]
    if len(allowed) != len(passing):
        # No rule about two clusters says it: the first order that works is as good as another.
        always = list(pairwise(passing[0]))
    return tuple(Precedence(names[one], names[two], shortest) for one, two in always)


def _meets(
    order: Sequence[int],
    steps: Sequence[Sequence[Progress]],
    examples: Mapping[tuple[Progress, ...], Counterexample],
) -> bool:
    """Whether clusters that go in this order come through a counterexample. Who is done has applied
    all, but its workloads may keep what they had.
    """
    ended = [[p for p in one if p.applied == max(q.applied for q in one)] for one in steps]
    for number, moving in enumerate(order):
        done = order[:number]
        choices = [
            steps[i] if i == moving else ended[i] if i in done else (NOTHING,)
            for i in range(len(steps))
        ]
        if any(mixture in examples for mixture in product(*choices)):
            return True
    return False
