"""`kubectl mesh certs rotate-root status`"""

import click

from kubectl_mesh.cli import clock, common


@click.command(name="status")
@common.directory_option
@common.tree_option
@common.output_option
def command(directory: str, out: str | None, output: str) -> None:
    """Tell where the rotation stands, and what must be seen next."""
    from kubectl_mesh.operations.certs_rotate import read_rotation
    from kubectl_mesh.reports.certs_rotate import status_text

    status = read_rotation(directory, out, clock.read_machine())
    if output == "json":
        common.print_json(status.json)
    else:
        common.print_text(status_text(status))
