"""`kubectl mesh verify`"""

from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common, options

if TYPE_CHECKING:
    from kubectl_mesh.operations.paths import Paths


@click.command(name="verify")
@common.directory_option
@common.tree_option
@click.option(
    "--identity",
    required=True,
    type=click.Path(),
    metavar="FILE",
    help="What a cluster opens its secrets by: an age identity, or its Sealed Secrets key.",
)
@options.clusters_option("Open this cluster's only; may be given again.")
@common.kubeconfig_option
@options.paths_option
def command(paths: "Paths", identity: str, clusters: tuple[str, ...]) -> int:
    """Open what is sealed with the identity that a cluster has, and compare it with certificates,
    topology and lock.

    Exit code 1 if a file does not open, or holds something else. No secret is shown, and nothing is
    written.
    """
    from kubectl_mesh.operations.verify import verify_mesh
    from kubectl_mesh.reports.verify import verify_text

    result = verify_mesh(paths, identity, clusters, clock.read_machine())
    common.print_text(verify_text(result))
    common.print_errors(result.problems)
    result.check_opened()
    return 1 if result.problems else 0
