"""What a diff consists of: lines in terms of the mesh, and what each does in running clusters."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubectl_mesh.errors import Problem
from kubectl_mesh.safety.apply_steps import Order

NEW, CHANGED, DELETED, FOREIGN = GROUPS = ("new", "changed", "deleted", "foreign")


@dataclass(frozen=True, slots=True, order=True)
class Detail:
    """A value by its path, as text that may be shown; None if it did not or does not exist."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that happens in running clusters: the name of a rule, and what fills its sentence
    in.
    """

    rule: str
    words: tuple[tuple[str, str], ...] = ()
    clusters: tuple[str, ...] = ()
    """The clusters in which it happens; none: that of the fact."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A difference in one cluster, before those that say the same of several are put together."""

    group: str
    kind: str
    subject: str
    what: str
    cluster: str
    """Empty for what concerns the mesh as a whole."""
    file: str
    details: tuple[Detail, ...] = ()
    effects: tuple[Effect, ...] = ()
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """A difference as it is reported. `impact` holds sentences, each with its clusters."""

    group: str
    kind: str
    subject: str
    what: str
    clusters: tuple[str, ...]
    files: tuple[str, ...]
    details: tuple[Detail, ...] = ()
    impact: tuple[tuple[str, tuple[str, ...]], ...] = ()
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Diff:
    """Everything that differs between two trees."""

    before: str
    after: str
    """What was compared, as people name it."""
    mesh: str
    lines: tuple[Line, ...]
    order: Order
    changed: tuple[str, ...]
    """The clusters in which anything differs."""
    cluster_count: int
    """How many clusters there are in either tree."""
    reformatted_files: tuple[str, ...] = ()
    """Files that are written otherwise and say the same."""
    problems: tuple[Problem, ...] = ()
    secret_file_counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_differences(self) -> bool:
        """Whether anything differs except foreign files."""
        return any(line.group != FOREIGN for line in self.lines)
