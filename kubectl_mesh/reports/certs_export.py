"""Shows what belongs where in a store that is filled by hand."""

import shlex

from kubectl_mesh.operations.certs_export import ExportResult
from kubectl_mesh.stores import external


def export_text(result: ExportResult) -> str:
    """A line for each cluster: its path in the store, and what belongs there."""
    topology = result.topology
    if not topology.has_intermediate_files:
        return (
            f"nothing is put there by hand: {topology.issuer} makes the certificates, and each"
            " cluster pushes its own token\n"
        )
    return "".join(
        f"{external.cacerts_path(topology, c)}  "
        + (", ".join(external.FILES) if result.to is None else f"{result.to}/{c.name}/cacerts.json")
        + "\n"
        for c in result.clusters
    )


def next_text(result: ExportResult) -> str:
    """How what was written gets into the store; empty where there is nothing."""
    if not result.clusters:
        return ""
    if result.to is None:
        return "with --to FOLDER these are written as JSON, for the client of the store"
    first = result.clusters[0]
    path = external.cacerts_path(result.topology, first)
    file = shlex.quote(f"{result.to}/{first.name}/cacerts.json")
    return (
        f"put each where it belongs, such as:\n  vault kv put -mount=secret {path} @{file}\n"
        f"  aws secretsmanager create-secret --name {path} --secret-string file://{file}\n"
        f"then delete {result.to}"
    )
