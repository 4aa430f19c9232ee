"""`kubectl mesh certs csr`"""

import click

from kubectl_mesh.cli import clock, common


@click.command(name="csr")
@common.directory_option
@click.argument("names", nargs=-1, metavar="[NAME]...")
def command(directory: str, names: tuple[str, ...]) -> None:
    """Write requests for clusters that await a certificate.

    And their keys; for those that are named, else for all that await one. Nothing that is there is
    replaced. The commands that sign the requests are printed.
    """
    from kubectl_mesh.operations.certs_csr import write_requests
    from kubectl_mesh.reports.certs_csr import requests_text

    result = write_requests(
        directory, names, clock.read_machine(), common.progress_callback("making keys:")
    )
    common.print_notes(result.notes)
    common.print_text(requests_text(result))
