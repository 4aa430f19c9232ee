"""`kubectl mesh certs status`"""

import click

from kubectl_mesh.cli import clock, common


@click.command(name="status")
@common.directory_option
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
    from kubectl_mesh.operations.certs_status import read_certificate_status, read_expiry_dates
    from kubectl_mesh.reports.calendar import calendar_text
    from kubectl_mesh.reports.certs_status import status_text

    if output == "ics":
        common.print_calendar(calendar_text(*read_expiry_dates(directory)))
        return
    value = read_certificate_status(directory, clock.read_machine())
    if output == "json":
        common.print_json(value)
    else:
        common.print_text(status_text(value))
