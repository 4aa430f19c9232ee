"""A check of the table, and what a run of it found."""

from collections.abc import Iterable, Sequence

from kubectl_mesh.errors import Problem
from kubectl_mesh.frozen import dataclass

ERROR, WARNING = "error", "warning"
PAGE = "docs/checks.md"
"""Where the checks are explained, each under a heading that is its id."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check: its id never changes its meaning; `severity` is that of its findings; `prevents` is what one would see in a cluster."""

    id: str
    category: str
    severity: str
    sentence: str
    prevents: str
    remedy: str
    """What to do in general; a finding has a fix of its own beside it."""

    @property
    def page(self) -> str:
        """Where it is explained."""
        return f"{PAGE}#{self.id}"


@dataclass(frozen=True, slots=True)
class Result:
    """A check with what it found; `skipped` where an earlier problem kept it from being asked."""

    check: Check
    status: str
    """ok, warning, error or skipped"""
    findings: tuple[Problem, ...]


def results(checks: Sequence[Check], errors: Iterable[Problem], warnings: Iterable[Problem], skipped: frozenset[str]) -> tuple[Result, ...]:
    """Sorts findings under their checks; a problem without an id is one of the topology. `skipped` names categories, or ids."""
    found: dict[str, list[tuple[str, Problem]]] = {}
    for severity, problems in ((ERROR, errors), (WARNING, warnings)):
        for problem in problems:
            found.setdefault(problem.id or "topology-valid", []).append((severity, problem))
    sorted_results = []
    for check in checks:
        mine = found.get(check.id, [])
        severities = {severity for severity, _ in mine}
        status = next((s for s in (ERROR, WARNING) if s in severities), "skipped" if {check.category, check.id} & skipped else "ok")
        sorted_results.append(Result(check, status, tuple(sorted(problem for _, problem in mine))))
    return tuple(sorted_results)
