"""Shows roots that were imported, and what comes next."""

from collections.abc import Iterator

from kubectl_mesh.operations.certs_import_root import ImportedRoot, RootUnion
from kubectl_mesh.reports.certs_rotate import step_text
from kubectl_mesh.text import mesh_command
from kubectl_mesh.x509.layout import ROOT_CERT, ROOT_KEY


def root_text(result: ImportedRoot) -> str:
    """The files of a root of one's own."""
    names = (ROOT_CERT, ROOT_KEY) if result.has_key else (ROOT_CERT,)
    return "".join(
        f"{'create' if name in result.created else 'keep':7} {result.certs}/{name}\n"
        for name in names
    )


def root_next_text(result: ImportedRoot) -> str:
    """What comes after a root of one's own."""
    issuer = "" if result.has_key else " --issuer csr"
    return (
        f"next: {mesh_command('render' if result.has_topology else f'init{issuer} --mesh-id NAME')}"
    )


def union_text(result: RootUnion) -> str:
    """The files that have the roots of clusters now."""
    return (
        "".join(
            f"{'update' if path in result.existed else 'create'}  {result.certs}/{path}\n"
            for path in result.written
        )
        or f"keep    {result.certs}/{ROOT_CERT}\n"
    )


def union_next_texts(result: RootUnion) -> Iterator[str]:
    """What comes after that."""
    if result.not_imported:
        yield (
            f"first take in what {', '.join(result.not_imported)} signs with now:"
            f" {mesh_command('certs import NAME FILE')}"
        )
    if result.inputs is not None and result.rotation is not None:
        yield step_text(result.inputs, result.rotation)
