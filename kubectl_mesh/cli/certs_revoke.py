"""`kubectl mesh certs revoke` and `certs crl`: intermediates that no proxy is to trust any more."""

from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common

if TYPE_CHECKING:
    from kubectl_mesh.operations.certs_revoke import CrlResult

DAYS_OPTION = click.option(
    "--days",
    type=click.IntRange(2, 3650),
    default=365,
    show_default=True,
    help="Until nextUpdate: sign anew before that, or every connection is refused.",
)


@click.command(name="revoke")
@common.directory_option
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--certificate",
    "certificates",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="An intermediate that is not in certs/ any more; may be given again.",
)
@DAYS_OPTION
def revoke_command(
    directory: str, names: tuple[str, ...], certificates: tuple[str, ...], days: int
) -> None:
    """Revoke the intermediate of a cluster that has left the mesh.

    Writes certs/ca-crl.pem: the root's CRL with its serial, and an empty one of each intermediate,
    without which istiod would drop it. That needs the root's key and those of all intermediates.
    What the cluster signed with before, as certs/archive has it, is revoked too. The next render
    puts all of it into cacerts.
    """
    from kubectl_mesh.operations.certs_revoke import revoke_intermediates

    _print_result(revoke_intermediates(directory, names, certificates, days, clock.read_machine()))


@click.command(name="crl")
@common.directory_option
@DAYS_OPTION
@click.option(
    "--clear",
    is_flag=True,
    help="Revoke nothing any more: every CRL is empty, for istiod takes no bundle away.",
)
@click.option(
    "--add",
    "added",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="A CRL of a CA whose key is not here; may be given again.",
)
def crl_command(directory: str, days: int, clear: bool, added: tuple[str, ...]) -> None:
    """Sign the CRLs of the mesh anew, before their nextUpdate.

    In a directory that holds a root alone: the CRL of that root, for --add where the mesh is.
    """
    from kubectl_mesh.operations.certs_revoke import sign_crls

    _print_result(sign_crls(directory, added, days, clock.read_machine(), clear=clear))


def _print_result(result: "CrlResult") -> None:
    from kubectl_mesh.reports.certs_revoke import crl_text

    common.print_warnings(result.warnings)
    common.print_text(crl_text(result), people=not result.is_root_alone)
