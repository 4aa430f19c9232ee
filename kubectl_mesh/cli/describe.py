"""`kubectl mesh describe`"""

from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common, options

if TYPE_CHECKING:
    from kubectl_mesh.operations.paths import Paths


@click.command(name="describe")
@common.directory_option
@common.tree_option
@options.clusters_option("Show this cluster only; may be given again.")
@common.kubeconfig_option
@options.format_option("text", "table", "json")
@options.paths_option
def command(paths: "Paths", clusters: tuple[str, ...], output: str) -> int:
    """Show clusters, certificates, remote secrets, gateways, and what is pending.

    Where inputs are wrong, shows what can be known, and exits 1.
    """
    from kubectl_mesh.operations.describe import describe_mesh
    from kubectl_mesh.reports.cluster_table import table_text
    from kubectl_mesh.reports.describe import describe_text
    from kubectl_mesh.reports.describe_json import describe_json

    known = describe_mesh(paths, clusters, clock.read_machine(), with_commit=output != "text")
    value = describe_json(known)
    common.print_warnings(known.warnings)
    common.print_errors(known.problems)
    if output == "json":
        common.print_json(value)
    elif output == "table":
        common.print_text(table_text(value, common.terminal_width() or 80))
    else:
        common.print_text(describe_text(value))
    return 1 if known.problems else 0
