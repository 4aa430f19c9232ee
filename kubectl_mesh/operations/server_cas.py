"""The CAs of the API servers: where they are stated, and their dates."""

import os
from collections.abc import Mapping
from datetime import datetime

from kubectl_mesh.credentials.api_servers import ca_dates, find_servers
from kubectl_mesh.errors import Place
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model import Cluster, Server, Topology
from kubectl_mesh.workdir.inputs import read_server_cas
from kubectl_mesh.workdir.kubeconfig_file import read_mesh_kubeconfig
from kubectl_mesh.workdir.places import server_ca_file


def find_ca_file(directory: str, cluster: Cluster) -> str | None:
    """The file with the CA of a cluster's API server; None if it is in the topology or in a
    kubeconfig.
    """
    if cluster.certificate_authority is not None:
        return (
            None
            if "-----BEGIN" in cluster.certificate_authority
            else join_path(directory, cluster.certificate_authority)
        )
    path = join_path(directory, server_ca_file(cluster.name))
    return path if cluster.server is not None and os.path.isfile(path) else None


def list_server_cas(
    directory: str, topology: Topology, servers: Mapping[str, Server]
) -> list[tuple[str, bytes, Place]]:
    """The CA of every API server: its cluster, the PEM, and where it is stated."""
    return [
        (c.name, servers[c.name].ca, _ca_place(directory, topology, c))
        for c in topology.clusters
        if c.name in servers
    ]


def _ca_place(directory: str, topology: Topology, cluster: Cluster) -> Place:
    file = find_ca_file(directory, cluster)
    if file is not None:
        return Place(file)
    key = ("certificateAuthority",) if cluster.certificate_authority is not None else ()
    return topology.document.field_place("contexts", cluster.context, *key)


def read_server_ca_dates(
    directory: str, topology: Topology
) -> dict[str, tuple[datetime, datetime]]:
    """The validity of the CA of every API server that is known; what is wrong with one, `check`
    reports.
    """
    config = read_mesh_kubeconfig(directory, None)
    cas = read_server_cas(directory, topology)
    if config.problems or cas.problems:
        return {}
    servers = find_servers(topology, config.document, cas.bodies).servers
    dates = {name: ca_dates(server.ca) for name, server in servers.items()}
    return {name: validity for name, validity in dates.items() if validity is not None}
