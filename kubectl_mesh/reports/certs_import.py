"""Shows the intermediate that was imported, and what comes next."""

import shlex

from kubectl_mesh.operations.certs_import import ImportResult
from kubectl_mesh.reports.certs_renew import next_text as renewal_next_text
from kubectl_mesh.text import mesh_command
from kubectl_mesh.x509.layout import intermediate_folder


def import_text(result: ImportResult) -> str:
    """The files that are new."""
    base = result.certs
    if result.archived is not None:
        return (
            f"renewed  {base}/{intermediate_folder(result.cluster.name)}\n  the old one is"
            f" {base}/{result.archived}\n"
        )
    return (
        "".join(f"create  {base}/{path}\n" for path in result.created)
        or f"keep    {base}/{intermediate_folder(result.cluster.name)}\n"
    )


def next_text(result: ImportResult) -> str:
    """What to do with it."""
    if result.archived is not None:
        return renewal_next_text([result.cluster], result.kind, result.store)
    render = mesh_command("render")
    if result.was_in_use:
        return f"next: {render}"
    base = shlex.quote(f"{result.certs}/{intermediate_folder(result.cluster.name)}")
    return (
        f"next: look at it with `openssl x509 -in {base}/ca-cert.pem -noout -text`, then `{render}`"
    )
