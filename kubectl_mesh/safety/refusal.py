"""A change that running clusters do not survive, and the way out where no cluster runs the tree."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from kubectl_mesh.errors import Problem
from kubectl_mesh.text import marked_text, mesh_command

IN_USE_CHECK, IDENTITY_CHECK, TOKEN_ORDER_CHECK = "tree-in-use", "identity-change", "token-order"
"""The checks that report these refusals."""
CALL_WOULD_FAIL = "call-would-fail"
"""The code of a refusal that the model of calls alone gives."""
WAY_OUT_PREFIX = "\n  if no cluster runs this tree yet: "
"""What comes before the way out, at the end of a fix."""
STEPS_WITHOUT_TRAFFIC = (
    "  1. state `disableRegistryJoin: true` for {who}, render, and apply it in every cluster; until"
    " step 3 the clusters do not reach each other\n  2. {change}, render, and apply it; then"
    " restart the workloads there\n  3. remove `disableRegistryJoin`, render, and apply it in every"
    " cluster"
)
"""The steps of a change that clusters survive only where none sends traffic to another."""
_MOST_NAMES = 3
"""How many names a sentence has."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A change that running clusters do not survive."""

    problem: Problem
    clusters: tuple[str, ...] = ()
    """The clusters on whose trees it rests: where no cluster runs those, nothing is lost."""
    readers: tuple[str, ...] = ()
    """The clusters whose readers it is about."""
    addition: str = ""
    """What follows the fact."""
    has_way_out: bool = False
    """Whether the fix names the way out for a tree that no cluster runs."""

    @property
    def way_out(self) -> str:
        """The end of the fix: the render that is not refused where no cluster runs the tree."""
        return way_out_text(self.clusters) if self.has_way_out else ""

    def to_problem(self) -> Problem:
        """The refusal as it is reported."""
        return replace(
            self.problem,
            what=marked_text(self.problem.what) + self.addition,
            fix=marked_text(self.problem.fix) + self.way_out,
        )


def way_out_text(names: Sequence[str]) -> str:
    """The end of a fix: the render command that ignores the trees of these clusters; empty if there
    are none.
    """
    return f"{WAY_OUT_PREFIX}{mesh_command(f'render{unapplied_options(names)}')}" if names else ""


def unapplied_options(names: Sequence[str]) -> str:
    """The `--unapplied` options for these clusters."""
    return (
        "".join(f" --unapplied {name}" for name in names)
        if len(names) <= _MOST_NAMES
        else f" --unapplied NAME (for each of the {len(names)} clusters)"
    )


def names_text(names: Sequence[str]) -> str:
    """Names as a sentence has them: the first three, and how many more there are."""
    return ", ".join(names[:_MOST_NAMES]) + (
        f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    )


def join_names(names: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """The names of both, in order."""
    return tuple(sorted({*names, *others}))
