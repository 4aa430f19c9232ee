"""Which clusters apply a change before others, and the steps that follow from that."""

from collections.abc import Sequence
from dataclasses import dataclass

from kubectl_mesh.errors import Problem


@dataclass(frozen=True, slots=True)
class Constraint:
    """One cluster, or several, have to apply a change before others do."""

    first: frozenset[str]
    then: frozenset[str]
    reason: str


@dataclass(frozen=True, slots=True)
class Order:
    """Whether clusters may apply a change as they like. `steps` are clusters that may go together;
    `reasons` say why that order.
    """

    has_any_order: bool
    steps: tuple[tuple[str, ...], ...] = ()
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What has to be waited for, or is not without interruption whatever the order."""
    refused: tuple[Problem, ...] = ()
    """Why the change is safe in no order, and `render` refuses it."""
    unknown: tuple[str, ...] = ()
    """What cannot be known offline of the calls between clusters; then no order is proved."""


def rank_clusters(
    clusters: frozenset[str], constraints: Sequence[Constraint]
) -> dict[str, int] | None:
    """In which step each cluster goes, from 0; None where some wait for each other."""
    ranks = dict.fromkeys(sorted(clusters), 0)
    for _ in range(len(clusters) + 1):
        is_changed = False
        for rule in constraints:
            first = max((ranks[n] for n in rule.first & clusters), default=-1)
            for name in rule.then & clusters - rule.first:
                if ranks[name] <= first:
                    ranks[name], is_changed = first + 1, True
        if not is_changed:
            return ranks
    return None
