"""Runs checks, and sorts what they and earlier stages found."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from kubectl_mesh.checks.check import Check, ContentCheck, LeftoverCheck, Unknown
from kubectl_mesh.checks.context import ERROR, OF_BASE, WARNING, CheckContext, Finding
from kubectl_mesh.checks.drift import covered_kustomizations, find_drift
from kubectl_mesh.errors import Problem

_REFUSED_FIRST = (
    "take the steps of what a render refuses (identity-change, tree-in-use and others) first"
)
_TOPOLOGY_VALID = "topology-valid"


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


def run_checks(checks: Sequence[Check], context: CheckContext) -> tuple[Result, ...]:
    """The result of every check, in their order."""
    found = _without_repetitions([*context.stage_findings, *_find_problems(checks, context)])
    by_check: dict[str, list[Finding]] = {}
    for finding in found:
        # A problem without an id is one of the topology.
        by_check.setdefault(finding.problem.id or _TOPOLOGY_VALID, []).append(finding)
    return tuple(_result(check, by_check.get(check.id, []), context) for check in checks)


def _find_problems(checks: Sequence[Check], context: CheckContext) -> Iterator[Finding]:
    is_refused = context.comparison is not None and bool(context.comparison.refusals)
    covered: set[str] = set()
    for check in checks:
        found = check.find_problems(context)
        if not isinstance(check, ContentCheck):
            yield from found
            continue
        for finding in found:
            covered.add(finding.problem.where.file)
            # The inputs ask for what a render refuses: a render is not the fix.
            is_fixed_later = is_refused and check.compares_inputs
            yield _refused_first(finding) if is_fixed_later else finding
    yield from _find_leftovers(checks, context, frozenset(covered))


def _refused_first(finding: Finding) -> Finding:
    return replace(finding, problem=replace(finding.problem, fix=_REFUSED_FIRST))


def _find_leftovers(
    checks: Sequence[Check], context: CheckContext, covered: frozenset[str]
) -> Iterator[Finding]:
    if context.comparison is None:
        return
    if context.tree is not None:
        covered |= covered_kustomizations(context.tree, covered)
    drift = find_drift(context.comparison, covered)
    for check in checks:
        if isinstance(check, LeftoverCheck):
            yield from check.find_leftovers(drift)


def _without_repetitions(findings: Iterable[Finding]) -> list[Finding]:
    """Each finding once: a problem that several stages report is one, whatever its id."""
    return list(dict.fromkeys(findings))


def _result(check: Check, findings: Sequence[Finding], context: CheckContext) -> Result:
    missing = check.needs & context.missing
    if missing & OF_BASE:
        findings = ()  # it was judged by a control plane that nobody knows
    if check.error_replaces_warning:
        explained = {f.problem.where.file for f in findings if f.severity == ERROR}
        findings = [
            f for f in findings if f.severity == ERROR or f.problem.where.file not in explained
        ]
    if findings:
        severities = {f.severity for f in findings}
        status = ERROR if ERROR in severities else WARNING
        return Result(check, status, tuple(sorted(f.problem for f in findings)))
    if missing:
        return Result(check, "skipped", ())
    unknown = check.find_unknown(context.inputs) if context.inputs is not None else None
    return Result(check, "ok" if unknown is None else "unknown", (), unknown)
