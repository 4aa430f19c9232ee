"""`kubectl mesh teardown`"""

import click

from kubectl_mesh.cli import common


@click.command(name="teardown")
@common.directory_option
@click.option(
    "--cluster",
    "clusters",
    multiple=True,
    metavar="NAME",
    shell_complete=common.complete_contexts,
    help="For this cluster only; may be given again.",
)
@click.option(
    "--definitions",
    is_flag=True,
    help="Print instead what deletes Istio's custom resource definitions.",
)
@common.output_option
def command(directory: str, clusters: tuple[str, ...], definitions: bool, output: str) -> None:
    """Print, in order, the commands that take Istio off the clusters. Runs none.

    First what reconciles stops, then the control plane goes, then webhooks and other cluster-scoped
    objects, then the namespace. With --cluster the others forget these clusters first. The working
    directory stays as it is. Custom resource definitions stay, unless --definitions asks for the
    commands that delete them: with them goes every object of every user.
    """
    from kubectl_mesh.operations.teardown import plan_teardown
    from kubectl_mesh.reports import teardown

    result = plan_teardown(directory, clusters, definitions=definitions)
    if output == "json":
        common.print_json(teardown.teardown_json(result))
        return
    click.echo(teardown.script_text(result), nl=False)
    common.print_text(teardown.remaining_text(result))
