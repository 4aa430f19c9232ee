"""What the clusters of a mesh run while a change is under way: some have applied it, some have not,
and some have applied a part of it; running workloads keep what they had for a while.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property, partial
from itertools import product

from kubectl_mesh.connectivity.facts import ControlFacts, Gateway, Login, MeshFacts, TrustFacts
from kubectl_mesh.connectivity.requirements import BALANCER, GATEWAY_FACTS
from kubectl_mesh.connectivity.state import (
    CONTROL,
    GATEWAY_API,
    MESH,
    PARTS,
    TRUST,
    FactReader,
)

_PART_OF = {
    field.name: part
    for part, facts in ((TRUST, TrustFacts), (CONTROL, ControlFacts), (MESH, MeshFacts))
    for field in fields(facts)
}
_PART_OF |= {"network_label": TRUST, "logins": MESH, "peers": MESH}
"""The part of a cluster that brings each fact."""
ROOTS, CERTIFICATES, INJECTED = "roots", "certificates", "injected"
_KEPT = {
    ROOTS: frozenset({"roots", "issuer"}),
    CERTIFICATES: frozenset({"signer", "roots", "issuer", "trust_domain"}),
    INJECTED: frozenset({"network", "ambient", "revisions"}),
}
"""What running workloads keep for a while: the roots that they trust, their certificates, and the
settings that they were injected with; and the facts on which it depends.
"""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a cluster is: how many parts it has applied, and what its workloads still keep."""

    applied: int = 0
    """Of 1-trust, 2-control-plane and 3-mesh, which are applied in this order."""
    kept: frozenset[str] = frozenset()

    def has(self, part: str) -> bool:
        """Whether a part is new."""
        return PARTS.index(part) < self.applied


NOTHING, ALL = Progress(), Progress(len(PARTS))


class StatePair:
    """The facts of two states of a mesh, and those in which they differ."""

    def __init__(self, old: FactReader, new: FactReader) -> None:
        self.old, self.new = old, new
        self.names = tuple(sorted({*old.names, *new.names}))
        self.changed = {
            name: facts for name in self.names if (facts := frozenset(self._changed_facts(name)))
        }
        """The names of the facts that differ, by cluster."""
        self._changed_logins: dict[str, frozenset[str]] = {}

    def _changed_facts(self, name: str) -> Iterator[str]:
        old, new = self.old, self.new
        if old.logins(name) != new.logins(name):
            yield "logins"
            if old.logins(name).bodies.keys() != new.logins(name).bodies.keys():
                yield "peers"
        is_same = old.has_same_manifests(new, name)
        if not is_same and old.network_label(name) != new.network_label(name):
            yield "network_label"
        for part in (TRUST,) if is_same else PARTS:
            one, two = old.part(name, part), new.part(name, part)
            for field in fields(one):
                if getattr(one, field.name) != getattr(two, field.name):
                    yield field.name

    def changed_facts(self, name: str) -> frozenset[str]:
        """The names of the facts of a cluster that differ."""
        return self.changed.get(name, frozenset())

    def changed_logins(self, name: str) -> frozenset[str]:
        """The clusters for which a cluster has another remote secret, or has one no more."""
        if name not in self._changed_logins:
            old, new = self.old.logins(name).bodies, self.new.logins(name).bodies
            found = (p for p in {*old, *new} if old.get(p) != new.get(p))
            self._changed_logins[name] = frozenset(found)
        return self._changed_logins[name]

    def gateway_clusters(self, network: str) -> tuple[str, ...]:
        """The clusters that may have gateways of a network: those on it, before or after."""
        return self._clusters_by_network.get(network, ())

    @cached_property
    def has_changed_gateways(self) -> bool:
        """Whether the gateways of any cluster differ."""
        return any(facts & GATEWAY_FACTS for facts in self.changed.values())

    @cached_property
    def _clusters_by_network(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for name in self.names:
            for network in {s.lock(name).network for s in (self.old, self.new)}:
                if network:
                    found.setdefault(network, []).append(name)
        return {network: tuple(names) for network, names in found.items()}

    def list_progress(self, name: str, facts: frozenset[str]) -> tuple[Progress, ...]:
        """How far a cluster may be with some of its facts, in the order in which it gets there;
        states that look the same count once.
        """
        differ = facts & self.changed_facts(name)
        found = [NOTHING]
        for number, part in enumerate(PARTS, 1):
            if not any(_PART_OF[fact] == part for fact in differ):
                continue
            there = {fact for fact in differ if PARTS.index(_PART_OF[fact]) < number}
            kept = [what for what, of in _KEPT.items() if there & of]
            for choice in product((True, False), repeat=len(kept)):
                chosen = zip(kept, choice, strict=True)
                found.append(Progress(number, frozenset(k for k, keeps in chosen if keeps)))
        return tuple(found)


class Mixture:
    """The facts of each cluster, some old and some new. Gateways in clusters without a progress are
    the fewest that there may be on the way; all else there is old.
    """

    def __init__(
        self, states: StatePair, progress: Mapping[str, Progress], now: datetime | None = None
    ) -> None:
        self._states, self._progress, self._now = states, progress, now
        self.worst: dict[str, Progress] = {}
        """The clusters without a progress for whose gateways the worst one was chosen."""

    @property
    def now(self) -> datetime | None:
        """When it is; None where dates are not looked at."""
        return self._now

    def _state(self, name: str, part: str, kept: str = "") -> FactReader:
        progress = self._progress.get(name, NOTHING)
        is_new = progress.has(part) and kept not in progress.kept
        return self._states.new if is_new else self._states.old

    def trust(self, name: str) -> TrustFacts:
        """What 1-trust brings."""
        return self._state(name, TRUST).trust(name)

    def control(self, name: str) -> ControlFacts:
        """What 2-control-plane brings."""
        return self._state(name, CONTROL).control(name)

    def mesh(self, name: str) -> MeshFacts:
        """What 3-mesh brings but for remote secrets."""
        return self._state(name, MESH).mesh(name)

    def logins(self, name: str) -> Mapping[str, Login]:
        """The remote secrets that istiod reads, by peer."""
        return self._state(name, MESH).logins(name)

    def network_label(self, name: str) -> str | None:
        """`topology.istio.io/network` of the namespace."""
        return self._state(name, TRUST).network_label(name)

    def workload_roots(self, name: str) -> TrustFacts:
        """The trust as running workloads have its roots."""
        return self._state(name, TRUST, ROOTS).trust(name)

    def workload_signer(self, name: str) -> TrustFacts:
        """The trust that signed the certificates of running workloads."""
        return self._state(name, TRUST, CERTIFICATES).trust(name)

    def workload_domain(self, name: str) -> str:
        """The trust domain in the certificates of running workloads."""
        return self._state(name, CONTROL, CERTIFICATES).control(name).trust_domain

    def injected_settings(self, name: str) -> ControlFacts:
        """The settings that running workloads were injected with."""
        return self._state(name, CONTROL, INJECTED).control(name)

    def gateways(self, network: str) -> Mapping[str, tuple[Gateway, ...]]:
        """The gateways of a network that let traffic in, by cluster; istiod finds them by label."""
        return {
            name: self._choose_gateways(
                name, lambda found: tuple(g for g in found if g.network == network), _rank_gateways
            )
            for name in self._states.gateway_clusters(network)
        }

    def all_gateways(self, network: str) -> frozenset[Gateway]:
        """The gateways that let traffic in, of the clusters on a network, labelled or not."""
        found: list[Gateway] = []
        for name in self._states.gateway_clusters(network):
            old = frozenset(self._gateways(name, NOTHING))
            found += self._choose_gateways(name, tuple, partial(_holds_all, old))
        return frozenset(found)

    def _choose_gateways(
        self,
        name: str,
        select: Callable[[tuple[Gateway, ...]], tuple[Gateway, ...]],
        rank: Callable[[tuple[Gateway, ...]], object],
    ) -> tuple[Gateway, ...]:
        """The gateways of a cluster; without a progress, those of the worst one by `rank`."""
        if name in self._progress or name not in self._states.changed:
            return select(self._gateways(name, self._progress.get(name, NOTHING)))
        ways = {p: select(self._gateways(name, p)) for p in (NOTHING, Progress(2), ALL)}
        self.worst[name] = min(ways, key=lambda p: (rank(ways[p]), p.applied))
        return ways[self.worst[name]]

    def _gateways(self, name: str, progress: Progress) -> tuple[Gateway, ...]:
        states = self._states
        control = states.new if progress.has(CONTROL) else states.old
        facts = (states.new if progress.has(MESH) else states.old).mesh(name)
        # The Gateway of the cluster whose istiod configures the proxy counts.
        primary = self.trust(name).primary
        lets_in = facts.lets_in or (primary is not None and self.mesh(primary).lets_in)
        return tuple(
            gateway
            for gateway in (*control.control(name).charted, *facts.gateways)
            if lets_in or gateway.kind == GATEWAY_API
        )


def _rank_gateways(gateways: tuple[Gateway, ...]) -> tuple[bool, int]:
    """How well gateways can be reached."""
    return any(g.service_type == BALANCER or g.addresses for g in gateways), len(gateways)


def _holds_all(old: frozenset[Gateway], gateways: tuple[Gateway, ...]) -> bool:
    """Whether none of some gateways has left or changed."""
    return old <= frozenset(gateways)
