"""`kubectl mesh version`"""

import click

from kubectl_mesh import __version__


@click.command(name="version")
def command() -> None:
    """Print the version."""
    click.echo(f"kubectl mesh {__version__}")
