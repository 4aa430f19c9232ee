"""`kubectl mesh add`"""

import os
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import common, options

if TYPE_CHECKING:
    from kubectl_mesh.operations.add import NewCluster


@click.command(name="add")
@click.argument("context", metavar="CTX")
@common.directory_option
@click.option("--network", metavar="NAME", required=True, help="The network of the cluster.")
@click.option(
    "--cluster-name",
    metavar="NAME",
    help="The cluster's name in the mesh.  [default: from the context's name]",
)
@click.option(
    "--server",
    metavar="URL",
    help="The API server as the peers reach it.  [default: from the kubeconfig]",
)
@click.option(
    "--ca",
    type=click.Path(),
    metavar="FILE",
    help="The CA of the API server, PEM.  [default: from the kubeconfig]",
)
@click.option(
    "--kubeconfig",
    type=click.Path(),
    metavar="FILE",
    help="The kubeconfig of the context.  [default: KUBECONFIG, else ~/.kube/config]",
)
@common.output_option
@options.collect_options("new", "add:NewCluster")
def command(new: "NewCluster", output: str) -> None:
    """Add the cluster of context CTX to the topology; comments and order stay.

    Server and CA are copied from a kubeconfig into the working directory. Of a cluster that is
    there already, only what is missing is added.
    """
    from kubectl_mesh.operations.add import add_cluster
    from kubectl_mesh.reports.add import add_json, add_text

    result = add_cluster(new, os.environ, common.print_warnings)
    common.print_warnings(result.warnings)
    if output == "json":
        common.print_json(add_json(result))
    else:
        common.print_text(add_text(result))
        common.print_note(common.NEXT_RENDER)
