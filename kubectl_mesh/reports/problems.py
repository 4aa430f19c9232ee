"""Problems and warnings as JSON."""

from collections.abc import Iterable

from kubectl_mesh.errors import Problem


def problems_json(problems: Iterable[Problem]) -> list[dict[str, object]]:
    """Each problem with its place, the check that finds it, and its code."""
    return [_text_json(problem) | {"id": problem.id, "code": problem.code} for problem in problems]


def finding_json(problem: Problem) -> dict[str, object]:
    """A problem under the check that finds it, with its place and its code."""
    return _text_json(problem) | {"code": problem.code}


def _text_json(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.where.file,
        "line": problem.where.line,
        "column": problem.where.column,
        "path": problem.where.path,
        "what": problem.what,
        "fix": problem.fix,
    }


def refusal_json(problem: Problem) -> dict[str, object]:
    """A problem of a whole tree: without line and column."""
    return {
        "file": problem.where.file,
        "path": problem.where.path,
        "what": problem.what,
        "fix": problem.fix,
        "id": problem.id,
        "code": problem.code,
    }
