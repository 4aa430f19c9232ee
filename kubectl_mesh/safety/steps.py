"""Which clusters apply a change before others, and the steps that follow from that."""

from collections.abc import Sequence
from dataclasses import dataclass

from kubectl_mesh.errors import Problem


@dataclass(frozen=True, slots=True)
class Before:
    """One cluster, or several, have to apply a change before others do."""

    first: frozenset[str]
    then: frozenset[str]
    why: str


@dataclass(frozen=True, slots=True)
class Order:
    """Whether clusters may apply a change as they like. `steps` are clusters that may go together;
    `reasons` say why that order.
    """

    any: bool
    steps: tuple[tuple[str, ...], ...] = ()
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What has to be waited for, or is not without interruption whatever the order."""
    refused: tuple[Problem, ...] = ()
    """Why the change is safe in no order, and `render` refuses it."""


def rank_clusters(there: frozenset[str], found: Sequence[Before]) -> dict[str, int] | None:
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
