"""The picture of a mesh as Mermaid, SVG, DOT or a page."""

from collections.abc import Callable

from kubectl_mesh import graph
from kubectl_mesh.checks.result import Result
from kubectl_mesh.operations.graph import GraphResult
from kubectl_mesh.yaml_io import assets

_PAGE_FILES = ("graph.html", "graph.css", "graph-svg.css", "graph.js")


def graph_text(result: GraphResult, form: str) -> str:
    """The picture in a format of `graph.FORMATS`."""
    return _WRITERS[form](result)


def _page(result: GraphResult) -> str:
    files = {name: assets.asset_text(f"templates/{name}") for name in _PAGE_FILES}
    checks = [_check_json(r, is_judged=result.day is not None) for r in result.results]
    return graph.page_text(result.picture, files, checks)


def _check_json(result: Result, *, is_judged: bool) -> dict[str, str]:
    """A check as the page lists it; the status of dates that were not judged is `dated`."""
    unknown = result.unknown
    return {
        "id": result.check.id,
        "category": result.check.category,
        "sentence": result.check.sentence,
        "unknown": f"{unknown.what}; run: {unknown.command}" if unknown is not None else "",
        "status": (
            "dated" if not is_judged and result.check.id in graph.DATE_CHECKS else result.status
        ),
    }


_WRITERS: dict[str, Callable[[GraphResult], str]] = {
    "mermaid": lambda result: graph.mermaid_text(result.picture),
    "svg": lambda result: graph.svg_text(
        result.picture, assets.asset_text("templates/graph-svg.css")
    ),
    "dot": lambda result: graph.dot_text(result.picture),
    "html": _page,
}
