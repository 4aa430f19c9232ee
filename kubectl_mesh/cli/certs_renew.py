"""`kubectl mesh certs renew`"""

from datetime import timedelta

import click

from kubectl_mesh.cli import clock, common
from kubectl_mesh.cli.options import Duration


@click.command(name="renew")
@common.directory_option
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=common.complete_contexts)
@click.option("--all", "everyone", is_flag=True, help="Of every cluster.")
@click.option(
    "--within",
    type=Duration(),
    metavar="TIME",
    help="Of every cluster whose intermediate ends within this time, such as 60d.",
)
@click.option(
    "--keep-key",
    is_flag=True,
    help="Keep the key, and renew the certificate only; so it is while CRLs are in use.",
)
@click.option("--dry-run", is_flag=True, help="Write nothing; tell what would be renewed.")
def command(
    directory: str,
    names: tuple[str, ...],
    everyone: bool,
    within: timedelta | None,
    keep_key: bool,
    dry_run: bool,
) -> None:
    """Renew intermediates under the root that signs now.

    The old ones go to certs/archive. Key, certificate and chain change together or not at all. With
    `issuer: csr` requests are written, for `certs import` to take in what comes back.
    """
    from kubectl_mesh.operations.certs_renew import RenewRequest, renew_intermediates
    from kubectl_mesh.reports import certs_renew

    if sum((bool(names), everyone, within is not None)) != 1:
        raise click.UsageError(
            "say whose, in one way: NAME..., --all or --within TIME", click.get_current_context()
        )
    result = renew_intermediates(
        directory,
        RenewRequest(names, within, keep_key, dry_run),
        clock.read_machine(),
        common.progress_callback("making keys:"),
    )
    common.print_notes(result.notes)
    common.print_text(certs_renew.renew_text(result))
    common.print_note_if_any(certs_renew.renew_next_text(result))
