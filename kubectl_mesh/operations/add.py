"""Adds a cluster to the topology."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kubectl_mesh.credentials.api_servers import KubeconfigContext, ca_fault
from kubectl_mesh.errors import MeshError, Place, Problem, refuse
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.locking import hold_lock
from kubectl_mesh.fs.owned_files import add_files, replace_file
from kubectl_mesh.fs.read import read_file, read_inside
from kubectl_mesh.model import Cluster, Document, Topology
from kubectl_mesh.operations import private_files
from kubectl_mesh.operations.context_entry import (
    ContextEntry,
    Warn,
    copy_entry,
    kubeconfig_problem,
    rename_fix,
)
from kubectl_mesh.operations.file_actions import FileAction
from kubectl_mesh.text import path_text
from kubectl_mesh.topology.names import LABEL_RULE, NAME_CODES, NAME_TAKEN
from kubectl_mesh.workdir.kubeconfig_file import read_user_contexts
from kubectl_mesh.workdir.places import TOPOLOGY_FILE
from kubectl_mesh.workdir.topology_file import parse_topology, read_topology
from kubectl_mesh.yaml_io import edit
from kubectl_mesh.yaml_io.read import load_document

_FLAGS = {"network": "--network", "server": "--server", "clusterName": "--cluster-name"}


@dataclass(frozen=True, slots=True)
class NewCluster:
    """A cluster to add to the topology of a working directory."""

    directory: str
    context: str
    network: str
    cluster_name: str | None = None
    """Its name in the mesh; None: that of its context."""
    server: str | None = None
    """The URL of its API server; None: that of the kubeconfig."""
    ca: str | None = None
    """A file with the CA of its API server; None: that of the kubeconfig."""
    kubeconfig: str | None = None
    """None: that of the environment."""


@dataclass(frozen=True, slots=True)
class AddResult:
    """A cluster that was added."""

    directory: str
    cluster: Cluster
    files: tuple[FileAction, ...]
    """What was written; nothing if the topology has all of it."""
    warnings: tuple[Problem, ...]


def add_cluster(new: NewCluster, environment: Mapping[str, str], warn: Warn) -> AddResult:
    """Adds what is missing of a cluster to topology.yaml and `clusters/`; comments and order stay.

    KUBECONFIG in `environment` names the default kubeconfig, and `warn` reports that there is none.
    Raises a `MeshError` if the topology says something else about the context.
    """
    path = join_path(new.directory, TOPOLOGY_FILE)
    with hold_lock(new.directory):
        private_files.check_regular(path)
        # Says what is wrong before anything is added to it.
        read_topology(new.directory, allow_empty=True)
        source = read_inside(new.directory, TOPOLOGY_FILE, "topology") or b""
        document = load_document(path, source)
        present = _find_existing_entry(document, new)
        found = _find_server(document, new, environment, warn)
        entry = _list_missing(document, new, present, found.keys)
        body = source
        if entry:
            value = lambda text: load_document(path, text.encode()).value  # noqa: E731
            body = edit.add_context(source.decode(), new.context, entry, value, path).encode()
        topology = _check_topology(path, body, new.context)
        cluster = next(c for c in topology.clusters if c.context == new.context)
        done = _add_authority(new, cluster, found.authority)
        if entry:
            replace_file(path, source, body)
            done.append(FileAction("update", TOPOLOGY_FILE))
    return AddResult(new.directory, cluster, tuple(done), topology.warnings)


def _contexts_of(document: Document) -> Mapping[str, Any]:
    value: Any = document.value
    contexts = value.get("contexts")
    return contexts if isinstance(contexts, dict) else {}


def _find_existing_entry(document: Document, new: NewCluster) -> Mapping[str, Any] | None:
    """What the topology has about the context; None if it does not have it."""
    present = _contexts_of(document).get(new.context)
    if present is not None and (
        not isinstance(present, dict) or present.get("network") != new.network
    ):
        raise refuse(
            str(document.field_place("contexts", new.context)),
            "is there already, and not on this network",
            f"edit the topology to change it; {rename_fix(new.context)}",
            code="network-differs",
        )
    return present


def _find_server(
    document: Document, new: NewCluster, environment: Mapping[str, str], warn: Warn
) -> ContextEntry:
    """The server and the CA of the cluster, as they are stated or in a kubeconfig."""
    authority = _read_authority(new.ca) if new.ca is not None else None
    known = read_user_contexts(new.kubeconfig, environment)
    if new.server is not None:
        if authority is None and known is not None:
            authority = _known_authority(known, new.context)
        return ContextEntry({"server": new.server}, authority)
    if known is None:
        warn([kubeconfig_problem([new.context])])
        return ContextEntry({}, authority)
    fix = "give --server URL (and --ca FILE)"
    found = copy_entry(new.context, known, "CTX", _contexts_of(document), fix)
    return found if authority is None else replace(found, authority=authority)


def _read_authority(file: str) -> bytes:
    """The CA in a file that somebody named."""
    authority = read_file(file, "certificates")
    if authority is None:
        raise refuse(file, "is not there", "name a PEM file", code="file-missing")
    if fault := ca_fault(authority):
        fix = "name a file with the CA certificate of the API server"
        raise refuse(file, fault, fix, code="server-ca-invalid")
    return authority


def _known_authority(known: Mapping[str, KubeconfigContext], context: str) -> bytes | None:
    """The CA of a context whose server is stated."""
    entry = known.get(context)
    return None if entry is None or entry.insecure else entry.ca


def _list_missing(
    document: Document,
    new: NewCluster,
    present: Mapping[str, Any] | None,
    server: Mapping[str, object],
) -> dict[str, object]:
    """The keys of the cluster's entry that the topology lacks."""
    name = {"clusterName": new.cluster_name} if new.cluster_name else {}
    entry: dict[str, object] = {"network": new.network, **name, **server}
    if present is None:
        return entry
    changed = [key for key, value in entry.items() if key in present and present[key] != value]
    if changed:
        raise refuse(
            str(document.field_place("contexts", new.context, changed[0])),
            f"is there already, and is not {entry[changed[0]]}",
            f"edit the topology to change it; {rename_fix(new.context)}",
            code="value-differs",
        )
    return {key: value for key, value in entry.items() if key not in present}


def _check_topology(path: str, body: bytes, context: str) -> Topology:
    """The topology that is about to be written; a problem of a value is at its flag."""
    try:
        return parse_topology(path, body)
    except MeshError as error:
        flags = {path_text(("contexts", context, key)): flag for key, flag in _FLAGS.items()}
        raise MeshError(_relocate_to_flag(p, flags) for p in error.problems) from None


def _relocate_to_flag(problem: Problem, flags: Mapping[str, str]) -> Problem:
    """A problem of the topology at the flag that states or solves it."""
    if problem.where.path in flags:
        problem = replace(problem, where=Place(flags[problem.where.path]))
    if problem.code in NAME_CODES:
        rule = "" if problem.code == NAME_TAKEN else f": {LABEL_RULE}"
        problem = replace(problem, fix=f"give --cluster-name NAME{rule}")
    return problem


def _add_authority(new: NewCluster, cluster: Cluster, authority: bytes | None) -> list[FileAction]:
    """Writes the CA of the API server, if it is missing."""
    crt = f"clusters/{cluster.name}.crt"
    there = read_inside(new.directory, crt, "certificates")
    if authority is None:
        if new.server is not None and there is None and cluster.certificate_authority is None:
            raise refuse(
                "--server",
                "needs the CA of that API server, and no kubeconfig has it",
                "give --ca FILE",
                code="server-without-ca",
            )
        return []
    if there is None:
        add_files(new.directory, {crt: authority})
        return [FileAction("create", crt)]
    if there != authority:
        raise refuse(
            join_path(new.directory, crt),
            "is there and is kept, but the CA given now is another",
            "remove the wrong one",
            code="server-ca-differs",
        )
    return []
