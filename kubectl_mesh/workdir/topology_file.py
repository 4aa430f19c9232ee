"""Reads and validates topology.yaml."""

from dataclasses import replace
from typing import TypeGuard

from kubectl_mesh.errors import refuse
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model import Document, Topology
from kubectl_mesh.text import mesh_command
from kubectl_mesh.topology.validation import validate_document
from kubectl_mesh.workdir.places import TOPOLOGY_FILE
from kubectl_mesh.workdir.topology_document import load_topology_document
from kubectl_mesh.yaml_io import assets
from kubectl_mesh.yaml_io.read import load_document


def read_topology(directory: str, *, allow_empty: bool = False) -> Topology:
    """The topology of a working directory; `allow_empty` takes one that has no clusters yet, as
    `init` may leave it.
    """
    path = join_path(directory, TOPOLOGY_FILE)
    document = load_topology_document(directory)
    if document is None:
        raise refuse(
            path,
            "is not there",
            f"make one with `{mesh_command('init --mesh-id NAME')}`, or name the working directory"
            " with -C",
            code="topology-missing",
        )
    return validate_topology(document, allow_empty=allow_empty)


def validate_topology(document: Document, *, allow_empty: bool = False) -> Topology:
    """The topology of a document; `allow_empty` accepts one that has no clusters yet."""
    if allow_empty and _has_no_contexts(document.value):
        # With a cluster in its place, the rest can be judged.
        document = replace(
            document, value={**document.value, "contexts": {"none": {"network": "none"}}}
        )
    return validate_document(document, assets.load_schema("topology.schema.json"))


def has_no_clusters(directory: str) -> bool:
    """Whether a working directory holds a root alone, as `init` may leave it."""
    document = load_topology_document(directory)
    return document is not None and _has_no_contexts(document.value)


def _has_no_contexts(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict) and value.get("contexts", 0) in ({}, None)


def parse_topology(path: str, body: bytes) -> Topology:
    """A topology that is not written yet."""
    return validate_document(load_document(path, body), assets.load_schema("topology.schema.json"))
