"""`kubectl mesh certs rotate-root begin`"""

import click

from kubectl_mesh.cli import clock, common
from kubectl_mesh.cli.certs_rotate import PROGRESS_LABEL, print_step


@click.command(name="begin")
@common.directory_option
@click.option(
    "--root",
    "root",
    metavar="FILE",
    type=click.Path(),
    help="The new root, made elsewhere; with `issuer: csr`.",
)
@click.option(
    "--with-restarts",
    is_flag=True,
    help="Rotate where Istio takes other roots only at restarts; each step tells which.",
)
@common.tree_option
def command(directory: str, root: str | None, with_restarts: bool, out: str | None) -> None:
    """Make a new root and trust it beside the old one, which signs on."""
    from kubectl_mesh.operations.certs_rotate import begin_rotation

    machine, progress = clock.read_machine(), common.progress_callback(PROGRESS_LABEL)
    print_step(begin_rotation(directory, root, out, machine, progress, with_restarts=with_restarts))
