"""`kubectl mesh graph`"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common, options

if TYPE_CHECKING:
    from kubectl_mesh.operations.paths import Paths


class Day(click.ParamType):  # type: ignore[type-arg]
    """A day such as 2026-12-01, or today."""

    name = "day"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if value == "today":
            return clock.read_clock()
        try:
            # What ends in the course of the day has ended.
            return datetime.strptime(str(value), "%Y-%m-%d").replace(
                hour=23, minute=59, second=59, tzinfo=UTC
            )
        except ValueError:
            self.fail(f'"{value}" is no day such as 2026-12-01, and not "today"', param, ctx)


@click.command(name="graph")
@common.directory_option
@common.tree_option
@options.clusters_option("Draw this cluster and those that it is tied to; may be given again.")
@click.option(
    "--on",
    "day",
    type=Day(),
    metavar="DATE",
    help="Judge dates on this day, such as 2026-12-01 or today.  [default: dates are told, not"
    " judged; a page judges]",
)
@common.kubeconfig_option
@options.format_option("mermaid", "svg", "dot", "html")
@options.paths_option
def command(paths: "Paths", clusters: tuple[str, ...], day: datetime | None, output: str) -> None:
    """Draw the mesh: networks, clusters, who reads whom, what is pending or broken.

    Without --on the same mesh gives the same bytes on every day.
    """
    from kubectl_mesh.operations.graph import draw_mesh
    from kubectl_mesh.reports.graph import graph_text

    result = draw_mesh(paths, clusters, day, clock.read_machine())
    common.print_text(graph_text(result, output), people=False)
