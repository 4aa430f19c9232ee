"""Runs the checks on a working directory and its tree."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from kubectl_mesh.checks import table
from kubectl_mesh.checks.context import ERROR, DateLimits
from kubectl_mesh.checks.result import Result
from kubectl_mesh.checks.table import check_categories, check_ids
from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations import base_file
from kubectl_mesh.operations.paths import Paths
from kubectl_mesh.operations.survey import survey_mesh
from kubectl_mesh.text import did_you_mean


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """Which checks are asked, and which dates are errors."""

    fail_within: timedelta | None = None
    """What expires within this time is an error."""
    token_age: timedelta | None = None
    """A token that is older is an error."""
    categories: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    """The checks to ask, next to those of `categories`; neither: all of them."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The results of the checks, in the order of the table of checks."""

    results: tuple[Result, ...]
    assumption: str
    """That Istio 1.4 is assumed; empty if it is not."""

    @property
    def has_errors(self) -> bool:
        """Whether any check found an error."""
        return any(result.status == ERROR for result in self.results)


def check_mesh(paths: Paths, options: CheckOptions, machine: Machine) -> CheckResult:
    """Runs the checks that `options` select. Raises a `MeshError` only if there is no mesh."""
    wanted = _wanted_ids(options.categories, options.ids)
    found = survey_mesh(
        paths.directory,
        paths.out,
        paths.kubeconfig,
        machine,
        lambda _: machine.now,
        DateLimits(options.fail_within, options.token_age),
    )
    assumption = ""
    if found.inputs is not None:
        assumption = base_file.assumption_text(paths.directory)
    elif found.topology is not None:
        assumption = base_file.find_assumption_text(paths.directory, found.topology, paths.tree)
    return CheckResult(tuple(r for r in found.results if r.check.id in wanted), assumption)


def _wanted_ids(categories: Sequence[str], ids: Sequence[str]) -> set[str]:
    """The checks of categories and ids; refuses those that do not exist."""
    known_categories, known_ids = check_categories(), check_ids()
    problems = [
        Problem(
            Place("--category"),
            f'no checks are called "{c}"{did_you_mean(c, known_categories)}',
            f"take one of {', '.join(known_categories)}",
            code="category-unknown",
        )
        for c in categories
        if c not in known_categories
    ]
    problems += [
        Problem(
            Place("--id"),
            f'no check is called "{i}"{did_you_mean(i, known_ids)}',
            "take an id of docs/checks.md",
            code="check-unknown",
        )
        for i in ids
        if i not in known_ids
    ]
    if problems:
        raise MeshError(problems)
    return {
        c.id
        for c in table.CHECKS
        if not (categories or ids) or c.id in ids or c.category in categories
    }
