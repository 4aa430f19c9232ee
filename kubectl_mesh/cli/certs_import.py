"""`kubectl mesh certs import`"""

import click

from kubectl_mesh.cli import clock, common


@click.command(name="import")
@common.directory_option
@click.argument("name", metavar="NAME", shell_complete=common.complete_contexts)
@click.argument("file", metavar="FILE", type=click.Path())
@click.option(
    "--root",
    "root",
    metavar="FILE",
    type=click.Path(),
    help="The root that signed it; needed once, and kept as certs/root-cert.pem.",
)
@click.option(
    "--key",
    "key",
    metavar="FILE",
    type=click.Path(),
    help="The key of an intermediate that is in use already.",
)
def command(directory: str, name: str, file: str, root: str | None, key: str | None) -> None:
    """Take in the certificate that came back for a cluster.

    The file has the cluster's own first, then its issuers. Key, CA, path length, chain and dates
    are judged; what does not fit is refused, and nothing is changed. An intermediate that a running
    cluster signs with is taken in with its key: FILE is then what `kubectl get secret cacerts -o
    yaml` printed (or of istio-ca-secret), a folder with its PEM files, or a PEM file beside --key.
    """
    from kubectl_mesh.operations.certs_import import ImportRequest, import_intermediate
    from kubectl_mesh.reports import certs_import

    request = ImportRequest(name, file, root, key)
    result = import_intermediate(directory, request, clock.read_machine())
    common.print_notes(result.notes)
    common.print_warnings(result.warnings)
    common.print_text(certs_import.import_text(result))
    common.print_note(certs_import.next_text(result))
