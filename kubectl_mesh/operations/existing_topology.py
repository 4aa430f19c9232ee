"""What `init` adds to a topology.yaml that exists."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kubectl_mesh.credentials.api_servers import KubeconfigContext, ca_fault, usable_ca
from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.read import read_inside
from kubectl_mesh.model import Cluster, Topology
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations.stated_values import StatedValues, contradiction_problems
from kubectl_mesh.workdir.inputs import is_server_from_kubeconfig
from kubectl_mesh.workdir.kubeconfig_file import read_user_contexts
from kubectl_mesh.workdir.places import KUBECONFIG_FILE, TOPOLOGY_FILE
from kubectl_mesh.workdir.topology_file import has_no_clusters, read_topology, validate_topology
from kubectl_mesh.yaml_io import edit
from kubectl_mesh.yaml_io.read import load_document


@dataclass(frozen=True, slots=True)
class ExistingTopology:
    """A topology.yaml with the values that it lacked."""

    topology: Topology
    source: bytes
    body: bytes


@dataclass(slots=True)
class CopiedServers:
    """A topology.yaml with the servers that it lacked."""

    text: str
    authorities: dict[str, bytes] = field(default_factory=dict)
    """The CAs of API servers that were missing, by path in the working directory."""
    problems: list[Problem] = field(default_factory=list)
    """Why some were not copied."""


def complete_topology(stated: StatedValues) -> ExistingTopology:
    """The topology with the name of the mesh and the organization that it lacks.

    Raises a `MeshError` with every value that contradicts the file or the root, next to everything
    that is wrong with the file itself.
    """
    directory = stated.directory
    path = join_path(directory, TOPOLOGY_FILE)
    source = read_inside(directory, TOPOLOGY_FILE, "topology") or b""
    document = load_document(path, source, lenient=True)
    if not isinstance(document.value, dict) or document.problems:
        return ExistingTopology(read_topology(directory, allow_empty=True), source, source)
    problems = list(contradiction_problems(document, stated))
    missing = _list_missing(document.value, stated)
    body = source.decode()
    try:
        if missing:
            body = edit.add_fields(body, missing, _value_reader(path), path)
        topology = validate_topology(load_document(path, body.encode()), allow_empty=True)
    except MeshError as error:
        flags = {key: stated.sources[key] for key in missing}
        raise MeshError(
            [
                *problems,
                *(
                    replace(p, where=Place(flags[p.where.path])) if p.where.path in flags else p
                    for p in error.problems
                ),
            ]
        ) from None
    if problems:
        raise MeshError(problems)
    return ExistingTopology(topology, source, body.encode())


def _list_missing(value: Mapping[str, Any], stated: StatedValues) -> dict[str, str]:
    """The values that were stated and that a topology lacks."""
    missing: dict[str, str] = {}
    if stated.mesh_id is not None and "mesh_id" not in value:
        missing["mesh_id"] = stated.mesh_id
    # Without an organization, O= is the mesh's name.
    if (
        stated.organization is not None
        and stated.organization != value.get("mesh_id", stated.mesh_id)
        and "organization" not in value
    ):
        missing["organization"] = stated.organization
    return missing


def _value_reader(path: str) -> Callable[[str], Any]:
    """What reads a text of a file into a value."""
    return lambda text: load_document(path, text.encode()).value


def copy_servers(
    directory: str, existing: ExistingTopology, kubeconfig: str | None, machine: Machine
) -> CopiedServers:
    """The text of the topology with the servers that it lacks, and the CAs that `clusters/` lacks,
    from a kubeconfig; what cannot be used stays as it is, and is a problem.
    """
    copied = CopiedServers(existing.body.decode())
    if has_no_clusters(directory):
        return copied
    own = join_path(directory, KUBECONFIG_FILE)
    stated = kubeconfig or (own if os.path.lexists(own) else None)
    known = read_user_contexts(stated, machine.environment) or {}
    for cluster in existing.topology.clusters:
        entry = known.get(cluster.context)
        crt = f"clusters/{cluster.name}.crt"
        there = read_inside(directory, crt, "certificates")
        if entry is None or not is_server_from_kubeconfig(
            cluster, {} if there is None else {crt: there}
        ):
            continue
        try:
            _copy_server(directory, cluster, entry, there, copied)
        except MeshError as error:
            copied.problems += error.problems
    return copied


def _copy_server(
    directory: str,
    cluster: Cluster,
    entry: KubeconfigContext,
    there: bytes | None,
    copied: CopiedServers,
) -> None:
    """Adds the server and the CA of a cluster, if they are missing; `there` is the CA in
    `clusters/`.
    """
    crt = f"clusters/{cluster.name}.crt"
    if cluster.server is not None and (entry.ca is None or entry.insecure or ca_fault(entry.ca)):
        return
    authority = (
        entry.ca
        if cluster.server is not None
        else usable_ca(entry, cluster.context, cluster.place, entry.place.file)
    )
    if cluster.certificate_authority is None and there is not None and there != authority:
        what = (
            f"is not the CA that {entry.place.file} has for {cluster.context}; its server was not"
            " copied"
        )
        place = Place(join_path(directory, crt))
        raise MeshError(
            [Problem(place, what, "remove the wrong one", "server-ca", code="server-ca-differs")]
        )
    if cluster.server is None:
        keys = {"server": entry.server}
        if entry.tls_server_name and not cluster.tls_server_name:
            keys["tlsServerName"] = entry.tls_server_name
        path = join_path(directory, TOPOLOGY_FILE)
        copied.text = edit.add_context(
            copied.text, cluster.context, keys, _value_reader(path), path
        )
    if cluster.certificate_authority is None and there is None and authority is not None:
        copied.authorities[crt] = authority
