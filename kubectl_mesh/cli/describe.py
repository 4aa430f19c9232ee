"""`kubectl mesh describe`"""

from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common, options

if TYPE_CHECKING:
    from kubectl_mesh.operations.paths import Paths


@click.command(name="describe")
@common.directory
@common.tree
@options.clusters("Show this cluster only; may be given again.")
@common.kubeconfig
@options.output("text", "table", "json")
@options.paths
def command(paths: "Paths", clusters: tuple[str, ...], output: str) -> int:
    """Show clusters, certificates, remote secrets, gateways, and what is pending.

    Where inputs are wrong, shows what can be known, and exits 1.
    """
    from kubectl_mesh.operations.describe import describe_mesh
    from kubectl_mesh.reports.describe import describe_text
    from kubectl_mesh.reports.describe_json import describe_json
    from kubectl_mesh.reports.table import describe_table

    known = describe_mesh(paths, clusters, clock.machine(), with_commit=output != "text")
    value = describe_json(known)
    common.warn(known.warnings)
    common.tell(known.problems)
    if output == "json":
        common.put_json(value)
    elif output == "table":
        common.put_text(describe_table(value, common.width() or 80))
    else:
        common.put_text(describe_text(value))
    return 1 if known.problems else 0
