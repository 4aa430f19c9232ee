"""Evidence from dumps, each with its place; a contradiction is a `Problem`."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.observed.dumped_objects import DumpedObject
from kubectl_mesh.text import keep_values, value_text


@dataclass(frozen=True, slots=True)
class Evidence:
    """A value, its place, and the field that states it."""

    value: str
    place: Place
    source: str


@dataclass(frozen=True, slots=True, order=True)
class UnusedItem:
    """A part of the dumps that is not used, with the reason."""

    place: Place
    item: str
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", keep_values(self.reason))


@dataclass(slots=True)
class Notes:
    """The results of the analysis: problems, unused items, and the objects that are used."""

    problems: list[Problem] = field(default_factory=list)
    unused: list[UnusedItem] = field(default_factory=list)
    used_objects: set[int] = field(default_factory=set)
    dropped_settings: dict[str, str] = field(default_factory=dict)
    """What was left out of base.yaml, by its path: why."""

    def mark_used(self, resource: DumpedObject) -> None:
        """Marks an object as used."""
        self.used_objects.add(id(resource))

    def add_unused(self, resource: DumpedObject, reason: str, what: str = "") -> None:
        """Records that an object, or `what` of it, is not used."""
        self.mark_used(resource)
        self.unused.append(UnusedItem(resource.place, what or str(resource), reason))

    def settle_value(
        self, what: str, evidence: Iterable[Evidence], fix: str, *, code: str
    ) -> str | None:
        """The value that all evidence agrees on, None where there is none; `what` says of what it
        is the value, `code` is that of the problem if it does not agree.
        """
        listed = list(evidence)
        values = list(dict.fromkeys(e.value for e in listed))
        if len(values) > 1:
            first = listed[0]
            others = "; ".join(
                f"{value_text(e.value)} by {e.place}: {e.source}"
                for e in (next(e for e in listed if e.value == v) for v in values[1:])
            )
            self.problems.append(
                Problem(
                    first.place,
                    f"{what} is {value_text(first.value)} by {first.source}, and {others}",
                    fix,
                    code=code,
                )
            )
        return values[0] if values else None
