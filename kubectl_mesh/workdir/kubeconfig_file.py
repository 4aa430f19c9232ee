"""Kubeconfigs: the one of the working directory, and those of the user."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from kubectl_mesh.credentials.api_servers import KubeconfigContext, parse_contexts
from kubectl_mesh.errors import MeshError, Problem, refuse
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.read import read_file, read_inside
from kubectl_mesh.model import Document
from kubectl_mesh.workdir.files import with_check_id
from kubectl_mesh.workdir.places import KUBECONFIG_FILE
from kubectl_mesh.yaml_io.read import load_document


def read_kubeconfig(path: str, *, pipe: bool = False, lenient: bool = False) -> Document | None:
    """A kubeconfig outside the working directory, None if it is missing; `lenient` as in `load`."""
    body = read_file(path, "kubeconfig", pipe=pipe)
    return None if body is None else load_document(path, body, typed=False, lenient=lenient)


@dataclass(frozen=True, slots=True)
class KubeconfigFile:
    """The kubeconfig that a mesh is rendered with."""

    document: Document | None = None
    """None if it is missing or cannot be read."""
    is_default: bool = True
    """It is kubeconfig.yaml of the working directory, no other that somebody named."""
    problems: tuple[Problem, ...] = ()
    """Why it cannot be read."""


def read_mesh_kubeconfig(directory: str, option: str | None) -> KubeconfigFile:
    """The kubeconfig that `option` names, else kubeconfig.yaml of the working directory."""
    try:
        document = (
            _read_default(directory)
            if option is None
            else _require_document(option, read_kubeconfig(option, pipe=True, lenient=True))
        )
    except MeshError as error:
        problems = with_check_id(error.problems, "kubeconfig-context")
        return KubeconfigFile(is_default=option is None, problems=problems)
    return KubeconfigFile(document, is_default=option is None)


def _read_default(directory: str) -> Document | None:
    body = read_inside(directory, KUBECONFIG_FILE, "kubeconfig")
    if body is None:
        return None
    return load_document(join_path(directory, KUBECONFIG_FILE), body, typed=False, lenient=True)


def read_user_contexts(
    option: str | None, environment: Mapping[str, str]
) -> dict[str, KubeconfigContext] | None:
    """The contexts of the user's kubeconfigs: the file that is named, else those of KUBECONFIG,
    else ~/.kube/config; None if there is none.

    As in kubectl, the first file to name a context wins. A CA in a file of its own is read.
    """
    if option is not None:
        documents = {option: _require_document(option, read_kubeconfig(option, pipe=True))}
    else:
        listed = environment.get("KUBECONFIG", "")
        paths = [path for path in listed.split(os.pathsep) if path] if listed else [_default_path()]
        read = {path: read_kubeconfig(path) for path in paths}
        documents = {path: document for path, document in read.items() if document is not None}
    if not documents:
        return None
    entries: dict[str, KubeconfigContext] = {}
    for path, document in documents.items():
        for name, entry in parse_contexts(document).items():
            entries.setdefault(name, _with_ca(entry, os.path.dirname(path)))
    return entries


def _default_path() -> str:
    return os.path.expanduser("~/.kube/config")


def _require_document(path: str, document: Document | None) -> Document:
    if document is None:
        raise refuse(path, "is not there", "name a kubeconfig that is", code="kubeconfig-missing")
    return document


def _with_ca(entry: KubeconfigContext, folder: str) -> KubeconfigContext:
    """An entry with the CA of the file that it names, which is relative to the kubeconfig."""
    if entry.ca is not None or not entry.ca_file:
        return entry
    return replace(entry, ca=read_file(os.path.join(folder, entry.ca_file), "certificates"))
