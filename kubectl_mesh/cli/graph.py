"""`kubectl mesh graph`"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common

if TYPE_CHECKING:
    from kubectl_mesh.graph import Picture
    from kubectl_mesh.operations.checked_inputs import CheckedInputs
    from kubectl_mesh.operations.survey import Survey


class Day(click.ParamType):  # type: ignore[type-arg]
    """A day such as 2026-12-01, or today; None stands for today."""

    name = "day"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:

        if value == "today":
            return clock.now()
        try:
            # What ends in the course of the day has ended.
            return datetime.strptime(str(value), "%Y-%m-%d").replace(
                hour=23, minute=59, second=59, tzinfo=UTC
            )
        except ValueError:
            self.fail(f'"{value}" is no day such as 2026-12-01, and not "today"', param, ctx)


@click.command(name="graph")
@common.directory
@common.tree
@click.option(
    "--cluster",
    "clusters",
    multiple=True,
    metavar="NAME",
    shell_complete=common.complete_contexts,
    help="Draw this cluster and those that it is tied to; may be given again.",
)
@click.option(
    "--on",
    "day",
    type=Day(),
    metavar="DATE",
    help=(
        "Judge dates on this day, such as 2026-12-01 or today.  [default: dates are told, not"
        " judged; a page judges]"
    ),
)
@common.kubeconfig
@click.option(
    "-o",
    "output",
    type=click.Choice(["mermaid", "svg", "dot", "html"]),
    default="mermaid",
    metavar="FORMAT",
    help="mermaid, svg, dot or html.  [default: mermaid]",
)
def command(
    directory: str,
    out: str | None,
    clusters: tuple[str, ...],
    day: datetime | None,
    kubeconfig: str | None,
    output: str,
) -> None:
    """Draw the mesh: networks, clusters, who reads whom, what is pending or broken.

    Without --on the same mesh gives the same bytes on every day.
    """
    from kubectl_mesh import graph
    from kubectl_mesh.errors import MeshError
    from kubectl_mesh.operations import partial
    from kubectl_mesh.operations.survey import survey
    from kubectl_mesh.topology.selection import chosen_clusters
    from kubectl_mesh.yaml_io import assets

    found = survey(
        directory,
        out,
        kubeconfig,
        clock.machine(),
        lambda inputs: day or partial.steady_day(inputs),
    )
    if found.topology is None or found.inputs is None:
        raise MeshError(problem for result in found.results for problem in result.findings)
    only = chosen_clusters(found.topology, clusters) if clusters else None
    picture = _picture(found, found.inputs, only, day)
    if output == "html":
        files = {
            name: assets.text(f"templates/{name}")
            for name in ("graph.html", "graph.css", "graph-svg.css", "graph.js")
        }
        asked = [
            {
                "id": r.check.id,
                "category": r.check.category,
                "sentence": r.check.sentence,
                "unknown": (
                    f"{r.unknown.what}; run: {r.unknown.command}" if r.unknown is not None else ""
                ),
                "status": "dated" if day is None and r.check.id in graph.DATED else r.status,
            }
            for r in found.results
        ]
        text = graph.page(picture, files, asked)
    elif output == "svg":
        text = graph.svg(picture, assets.text("templates/graph-svg.css"))
    else:
        text = graph.dot(picture) if output == "dot" else graph.mermaid(picture)
    common.put_text(text, people=False)


def _picture(
    found: "Survey", inputs: "CheckedInputs", only: frozenset[str] | None, day: datetime | None
) -> "Picture":
    from kubectl_mesh import graph
    from kubectl_mesh.operations import partial

    findings = [
        (r.status if r.status == "error" else "warning", p)
        for r in found.results
        for p in r.findings
        if day is not None or r.check.id not in graph.DATED
    ]
    files = [
        p.where.file for r in found.results for p in r.findings if r.check.id not in graph.DATED
    ]
    plan, pki = (
        (found.rendered.plan, found.rendered.pki)
        if found.rendered is not None
        else partial.plan_without_render(inputs, files)
    )
    return graph.picture(
        graph.Seen(plan, pki, found.changes, findings, inputs.target.KIND, only, day)
    )
