"""`kubectl mesh certs export`"""

import click

from kubectl_mesh.cli import clock, common


@click.command(name="export")
@common.directory_option
@click.option(
    "--cluster",
    "clusters",
    multiple=True,
    metavar="NAME",
    shell_complete=common.complete_contexts,
    help="Of this cluster only; may be given again.",
)
@click.option(
    "--to",
    "to",
    metavar="FOLDER",
    help=(
        "Write it as NAME/cacerts.json, for nobody else to read. Without it, only what belongs"
        " where is told."
    ),
)
def command(directory: str, clusters: tuple[str, ...], to: str | None) -> None:
    """Tell what the store `external` has to hold, and write it.

    Each cluster pushes its own token into the store; the CA material of `certs/` is put there by
    whoever has it.
    """
    from kubectl_mesh.operations.certs_export import export_intermediates
    from kubectl_mesh.reports import certs_export

    result = export_intermediates(directory, clusters, to, clock.read_machine())
    common.print_text(certs_export.export_text(result))
    common.print_note_if_any(certs_export.next_text(result))
