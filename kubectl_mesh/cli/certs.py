"""`kubectl mesh certs`: certificates over the years, intermediates that somebody else signs, and
what goes into a store by hand.
"""

import click

from kubectl_mesh.cli import (
    certs_csr,
    certs_export,
    certs_import,
    certs_import_root,
    certs_renew,
    certs_revoke,
    certs_rotate,
    certs_rotate_begin,
    certs_rotate_status,
    certs_sign,
    certs_status,
)


@click.group(name="certs")
def command() -> None:
    """Certificates over the years; intermediates that somebody else signs; what goes into a store
    by hand.
    """


certs_rotate.command.add_command(certs_rotate_begin.command)
certs_rotate.command.add_command(certs_rotate_status.command)
for verb in (
    certs_status.command,
    certs_renew.command,
    certs_rotate.command,
    certs_import_root.command,
    certs_revoke.revoke_command,
    certs_revoke.crl_command,
    certs_csr.command,
    certs_sign.command,
    certs_import.command,
    certs_export.command,
):
    command.add_command(verb)
