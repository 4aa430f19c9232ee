"""Reads topology.yaml without validating it: shell completion loads this module and little else."""

from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.read import read_inside
from kubectl_mesh.model import Document
from kubectl_mesh.topology.names import derive_cluster_name
from kubectl_mesh.workdir.places import TOPOLOGY_FILE
from kubectl_mesh.yaml_io.read import load_document


def load_topology_document(directory: str) -> Document | None:
    """The document of topology.yaml, None where the file is missing."""
    body = read_inside(directory, TOPOLOGY_FILE, "topology")
    return (
        None
        if body is None
        else load_document(join_path(directory, TOPOLOGY_FILE), body, lenient=True)
    )


def read_context_names(directory: str) -> dict[str, str]:
    """The contexts of topology.yaml, each with the name of its cluster; empty where there are none.

    Names with characters that cannot be printed are left out. Raises a `MeshError` for a file that
    is not YAML.
    """
    document = load_topology_document(directory)
    value = document.value if document is not None else None
    contexts = value.get("contexts") if isinstance(value, dict) else None
    entries = contexts.items() if isinstance(contexts, dict) else ()
    names = {context: _cluster_name(context, entry) for context, entry in entries}
    return {c: name for c, name in names.items() if c.isprintable() and name.isprintable()}


def _cluster_name(context: str, entry: object) -> str:
    stated = entry.get("clusterName") if isinstance(entry, dict) else None
    return stated if isinstance(stated, str) else derive_cluster_name(context)
