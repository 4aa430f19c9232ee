"""`kubectl mesh certs import-root`"""

import click

from kubectl_mesh.cli import clock, common


@click.command(name="import-root")
@common.directory_option
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--key",
    "key",
    metavar="FILE",
    type=click.Path(),
    help="Its private key: this directory signs the intermediates.",
)
@click.option(
    "--union",
    "union",
    is_flag=True,
    help="Trust the roots of running clusters as well, beside the one that is here.",
)
def command(directory: str, files: tuple[str, ...], key: str | None, union: bool) -> None:
    """Take in a root of your own as certs/root-cert.pem.

    It is judged before anything is written. With its key this directory signs the intermediates.
    Without it somebody else does: `certificates: {issuer: csr}`. A root that is there is never
    replaced; with --union others are added to it: those of running clusters, or with --key the one
    that all are to come under. It is the first step of a rotation, and rotate-root takes the next.
    Their FILEs are PEM, or what `kubectl get -o yaml` printed of cacerts, istio-ca-secret or the
    ConfigMap istio-ca-root-cert.
    """
    if union:
        _union(directory, files, key)
        return
    if len(files) > 1:
        raise click.UsageError(
            "one root is taken in; the roots of running clusters are added with --union",
            click.get_current_context(),
        )
    from kubectl_mesh.operations.certs_import_root import import_root
    from kubectl_mesh.reports import certs_import_root

    result = import_root(directory, files[0], key, clock.read_machine())
    common.print_notes(result.notes)
    common.print_warnings(result.warnings)
    common.print_text(certs_import_root.root_text(result))
    common.print_note(certs_import_root.root_next_text(result))


def _union(directory: str, files: tuple[str, ...], key: str | None) -> None:
    from kubectl_mesh.operations.certs_import_root import import_union
    from kubectl_mesh.reports import certs_import_root

    result = import_union(directory, files, key, clock.read_machine())
    common.print_notes(result.notes)
    common.print_warnings(result.warnings)
    common.print_text(certs_import_root.union_text(result))
    common.print_notes(certs_import_root.union_next_texts(result))
