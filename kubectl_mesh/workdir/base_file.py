"""base.yaml: the documents that state the control plane, before anything is judged."""

from dataclasses import dataclass

from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.read import read_inside
from kubectl_mesh.model import Document
from kubectl_mesh.workdir.places import BASE_FILE
from kubectl_mesh.yaml_io.read import load_documents


@dataclass(frozen=True, slots=True)
class BaseFile:
    """What base.yaml holds; no documents if it is missing."""

    documents: tuple[Document, ...] = ()
    """What is wrong with them as YAML is in their `problems`."""
    problems: tuple[Problem, ...] = ()
    """Why it cannot be read at all."""


def read_base(directory: str) -> BaseFile:
    """Reads base.yaml of a working directory."""
    try:
        body = read_inside(directory, BASE_FILE, "base")
        if body is None:
            return BaseFile()
        return parse_base(join_path(directory, BASE_FILE), body)
    except MeshError as error:
        return BaseFile(problems=error.problems)


def parse_base(path: str, body: bytes) -> BaseFile:
    """The documents in the bytes of a base.yaml; raises a `MeshError` where they are no YAML."""
    return BaseFile(load_documents(path, body, lenient=True))
