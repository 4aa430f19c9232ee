"""`kubectl mesh completion`"""

import click


@click.command(name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print a completion script for `kubectl-mesh`.

    kubectl itself completes `kubectl mesh` through the program kubectl_complete-mesh, which is
    installed beside this one.
    """
    from click.shell_completion import get_completion_class

    from kubectl_mesh.cli import root_command

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(root_command, {}, "kubectl-mesh", "_KUBECTL_MESH_COMPLETE").source())
