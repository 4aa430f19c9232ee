"""`kubectl mesh adopt`"""

import click

from kubectl_mesh.cli import clock, common
from kubectl_mesh.cli.kinds import KINDS


@click.command(name="adopt")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@common.directory_option
@click.option("--mesh-id", metavar="NAME", help="The name of the mesh, where no dump says it.")
@click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="CTX=NETWORK",
    help="The network of a cluster, where no dump says it, or two disagree.",
)
@click.option(
    "--control-plane",
    type=click.Choice(KINDS),
    metavar="KIND",
    help="The kind of base.yaml, where no dump has a control plane, or Helm values only.",
)
@common.output_option
def command(
    files: tuple[str, ...],
    directory: str,
    mesh_id: str | None,
    networks: tuple[str, ...],
    control_plane: str | None,
    output: str,
) -> None:
    """Adopt a running mesh: make a working directory of what `kubectl get -o yaml` printed.

    Each FILE is CTX=FILE or CTX=FOLDER, dumps of the cluster of that context; a folder with such a
    folder per context; or a kubeconfig. Read are cacerts, istio-ca-secret, remote secrets, control
    planes, the Namespace, gateways. What the first render would change of what runs is told path by
    path. Whatever is there already is kept.
    """
    from kubectl_mesh.operations.adopt import AdoptRequest, adopt_mesh
    from kubectl_mesh.reports.adopt import adopt_json, adopt_text, next_text

    request = AdoptRequest(files, directory, mesh_id, networks, control_plane)
    result = adopt_mesh(request, clock.read_machine())
    common.print_warnings(result.warnings)
    if output == "json":
        common.print_json(adopt_json(result))
    else:
        common.print_text(adopt_text(result))
        common.print_note(next_text())
