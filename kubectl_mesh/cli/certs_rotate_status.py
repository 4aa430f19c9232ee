"""`kubectl mesh certs rotate-root status`"""

import click

from kubectl_mesh.cli import clock, common


@click.command(name="status")
@common.directory
@common.tree
@common.output
def command(directory: str, out: str | None, output: str) -> None:
    """Tell where the rotation stands, and what must be seen next."""
    from kubectl_mesh.operations.certs_rotate import read_rotation
    from kubectl_mesh.reports.certs_rotate import status_text

    status = read_rotation(directory, out, clock.machine())
    if output == "json":
        common.put_json(status.value)
    else:
        common.put_text(status_text(status))
