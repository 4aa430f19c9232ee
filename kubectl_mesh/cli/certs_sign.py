"""`kubectl mesh certs sign`"""

import click

from kubectl_mesh.cli import clock, common


@click.command(name="sign")
@common.directory_option
@click.argument("files", nargs=-1, required=True, metavar="REQUEST...", type=click.Path())
@click.option(
    "--days",
    type=click.IntRange(1, 36500),
    default=730,
    show_default=True,
    help="How long the certificates are valid; never longer than the root.",
)
@click.option(
    "--to", "to", required=True, metavar="FOLDER", help="Where the certificates go, as NAME.pem."
)
def command(directory: str, files: tuple[str, ...], days: int, to: str) -> None:
    """Sign requests of `certs csr` with the root of this directory.

    They are for clusters of a mesh elsewhere. Look at what is asked for before you sign: `openssl
    req -in REQUEST -noout -text`.
    """
    from kubectl_mesh.operations.certs_sign import sign_requests
    from kubectl_mesh.reports import certs_sign

    result = sign_requests(directory, files, days, to, clock.read_clock())
    common.print_text(certs_sign.signed_text(result))
    common.print_note(certs_sign.next_text(result))
