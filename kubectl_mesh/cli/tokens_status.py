"""`kubectl mesh tokens status`"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common, options

if TYPE_CHECKING:
    from kubectl_mesh.operations.paths import Paths


@click.command(name="status")
@common.directory_option
@common.tree_option
@options.clusters_option("Of this cluster only; may be given again.")
@common.kubeconfig_option
@click.option(
    "-o",
    "output",
    type=click.Choice(["text", "json", "ics"]),
    default="text",
    metavar="FORMAT",
    help="text, json or ics (a calendar).  [default: text]",
)
@options.paths_option
def status_command(paths: "Paths", clusters: tuple[str, ...], output: str) -> None:
    """Show where each rotation stands, and how old the tokens are."""
    if output == "ics":
        _print_calendar(paths, clusters)
    else:
        print_status(paths, clusters, output)


def print_status(paths: "Paths", clusters: Sequence[str], output: str) -> None:
    """Prints the state of rotations and tokens, of these clusters or of all."""
    from kubectl_mesh.operations.tokens_status import read_tokens_status
    from kubectl_mesh.reports.tokens_status import status_json, status_text

    result = read_tokens_status(paths, clusters, clock.read_machine())
    common.print_warnings(result.warnings)
    if output == "json":
        common.print_json(status_json(result))
    else:
        common.print_text(status_text(result))


def _print_calendar(paths: "Paths", clusters: Sequence[str]) -> None:
    from kubectl_mesh.operations.tokens_status import list_token_dates
    from kubectl_mesh.reports.calendar import calendar_text

    mesh_id, dates = list_token_dates(paths, clusters, clock.read_machine())
    common.print_calendar(calendar_text(mesh_id, dates))
