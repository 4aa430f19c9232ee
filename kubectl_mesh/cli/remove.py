"""`kubectl mesh remove`"""

import click

from kubectl_mesh.cli import common


@click.command(name="remove")
@click.argument("context", metavar="CTX", shell_complete=common.complete_contexts)
@common.directory_option
@common.output_option
def command(context: str, directory: str, output: str) -> None:
    """Remove the cluster of context CTX from the topology; comments and order stay.

    Its certificates, token and CA stay where they are. The next render removes its directory in
    out/, and its remote secret from every peer. The commands that take Istio off it are printed;
    none is run.
    """
    from kubectl_mesh.operations.remove import remove_cluster
    from kubectl_mesh.reports.remove import remove_json, remove_text
    from kubectl_mesh.reports.teardown import commands_text

    result = remove_cluster(directory, context)
    if output == "json":
        common.print_json(remove_json(result))
        return
    common.print_text(remove_text(result))
    common.print_text(commands_text(result.commands), people=False)
    common.print_note(common.NEXT_RENDER)
