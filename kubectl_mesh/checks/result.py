"""A check of the table, and what a run of it found."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kubectl_mesh.errors import Problem

ERROR, WARNING = "error", "warning"
PAGE = "docs/checks.md"
"""Where the checks are explained, each under a heading that is its id."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check: its id never changes its meaning; `severity` is that of its findings; `prevents` is
    what one would see in a cluster.
    """

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
class Unknown:
    """What no file shows, and the command that shows it."""

    what: str
    command: str


@dataclass(frozen=True, slots=True)
class Result:
    """A check with its findings; `skipped` if an earlier problem prevented it, `unknown` if files
    without a fault prove nothing.
    """

    check: Check
    status: str
    """ok, warning, error, skipped or unknown"""
    findings: tuple[Problem, ...]
    unknown: Unknown | None = None
    """What stays unknown, if that is the status."""


def results(
    checks: Sequence[Check],
    errors: Iterable[Problem],
    warnings: Iterable[Problem],
    skipped: frozenset[str],
    unknown: Mapping[str, Unknown] | None = None,
) -> tuple[Result, ...]:
    """Sorts findings under their checks; a problem without an id is one of the topology. `skipped`
    names categories, or ids, `unknown` ids.
    """
    unknown = unknown or {}
    found: dict[str, list[tuple[str, Problem]]] = {}
    for severity, problems in ((ERROR, errors), (WARNING, warnings)):
        for problem in problems:
            found.setdefault(problem.id or "topology-valid", []).append((severity, problem))
    sorted_results = []
    for check in checks:
        mine = found.get(check.id, [])
        severities = {severity for severity, _ in mine}
        otherwise = (
            "skipped"
            if {check.category, check.id} & skipped
            else "unknown"
            if check.id in unknown
            else "ok"
        )
        status = next((s for s in (ERROR, WARNING) if s in severities), otherwise)
        sorted_results.append(
            Result(
                check,
                status,
                tuple(sorted(problem for _, problem in mine)),
                unknown[check.id] if status == "unknown" else None,
            )
        )
    return tuple(sorted_results)
