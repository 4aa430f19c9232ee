"""`kubectl mesh init`"""

from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common, options
from kubectl_mesh.cli.kinds import ISSUERS, KINDS
from kubectl_mesh.cli.option_sources import find_option_sources

if TYPE_CHECKING:
    from kubectl_mesh.operations.init import InitOptions


@click.command(name="init")
@common.directory_option
@click.option(
    "--mesh-id", envvar="MESH_ID", metavar="NAME", help="The name of the mesh.  [env: MESH_ID]"
)
@click.option(
    "--organization",
    envvar="ORG_NAME",
    metavar="NAME",
    help="O= of every certificate.  [env: ORG_NAME; default: the mesh's name]",
)
@click.option(
    "--control-plane",
    type=click.Choice(KINDS),
    default=KINDS[0],
    metavar="KIND",
    help=f"The kind of base.yaml.  [default: {KINDS[0]}]",
)
@click.option(
    "--issuer",
    type=click.Choice(ISSUERS),
    default=ISSUERS[0],
    metavar="WHO",
    help="Who makes the intermediates: local or csr.  [default: local]",
)
@click.option(
    "--context",
    "contexts",
    multiple=True,
    metavar="CTX=NETWORK",
    help="A cluster and its network; may be given again.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(),
    metavar="FILE",
    help="The kubeconfig of the contexts.  [default: KUBECONFIG, else ~/.kube/config]",
)
@common.output_option
@options.collect_options("wanted", "init:InitOptions")
def command(wanted: "InitOptions", output: str) -> None:
    """Make a working directory: .gitignore, topology.yaml, base.yaml, the CAs of the clusters, the
    mesh's root certificate.

    Existing files are kept. An existing topology.yaml gets the mesh_id and the organization that it
    lacks; values that contradict it are an error. It gets the servers that it lacks, and clusters/
    the CAs, from the kubeconfig (first of all kubeconfig.yaml in the working directory); comments
    and order stay.
    """
    from kubectl_mesh.errors import MeshError
    from kubectl_mesh.operations.init import initialize_directory
    from kubectl_mesh.reports import init

    sources = find_option_sources("mesh_id", "organization", "control_plane")
    try:
        result = initialize_directory(wanted, sources, clock.read_machine(), common.print_warnings)
    except MeshError as error:
        if [p.code for p in error.problems] == ["mesh-id-missing"]:
            raise click.UsageError(error.problems[0].what) from None
        raise
    common.print_warnings(result.warnings)
    if output == "json":
        common.print_json(init.init_json(result))
        return
    common.print_text(init.init_text(result))
    common.print_note("\n".join(init.init_notes(result)))
