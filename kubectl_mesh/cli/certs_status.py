"""`kubectl mesh certs status`"""

import click

from kubectl_mesh.cli import clock, common


@click.command(name="status")
@common.directory
@click.option(
    "-o",
    "output",
    type=click.Choice(["text", "json", "ics"]),
    default="text",
    metavar="FORMAT",
    help="text, json or ics (a calendar).  [default: text]",
)
def command(directory: str, output: str) -> None:
    """Show roots, intermediates and the CAs of the API servers.

    Dates, fingerprints, what signs now, what is trusted.
    """
    from kubectl_mesh.operations.certs_status import read_dates, read_status
    from kubectl_mesh.reports.calendar import calendar
    from kubectl_mesh.reports.certs_status import status_text

    if output == "ics":
        common.put_calendar(calendar(*read_dates(directory)))
        return
    value = read_status(directory, clock.machine())
    if output == "json":
        common.put_json(value)
    else:
        common.put_text(status_text(value))
