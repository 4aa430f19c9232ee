"""Everything that a mesh is rendered from, as read from disk."""

from collections.abc import Mapping
from dataclasses import dataclass

from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.model import Cluster, Topology
from kubectl_mesh.topology.kinds import store_facts
from kubectl_mesh.workdir.base_file import BaseFile, read_base
from kubectl_mesh.workdir.certs_folder import CertsFolder, read_certs
from kubectl_mesh.workdir.credential_files import Credentials, read_credentials
from kubectl_mesh.workdir.files import WorkFiles, read_work_files, with_check_id
from kubectl_mesh.workdir.kubeconfig_file import KubeconfigFile, read_mesh_kubeconfig
from kubectl_mesh.workdir.places import sealing_certificate_file, server_ca_file


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was read of a working directory; what cannot be read is a problem in its part."""

    directory: str
    topology: Topology
    base: BaseFile
    kubeconfig: KubeconfigFile
    server_cas: WorkFiles
    """The CAs of the API servers, as far as they are in files."""
    credentials: Credentials
    sealing_certificates: WorkFiles
    """The certificates of the Sealed Secrets controllers."""
    certs: CertsFolder
    certs_problems: tuple[Problem, ...] = ()
    """Why `certs/` cannot be read."""


def read_inputs(directory: str, topology: Topology, kubeconfig: str | None = None) -> Inputs:
    """Reads what a mesh is rendered from besides its topology; `kubeconfig` names another one than
    that of the working directory.
    """
    needs_sealing = store_facts(topology.store).needs_sealing_certificates
    sealing = [sealing_certificate_file(c.name) for c in topology.clusters if needs_sealing]
    certs, certs_problems = _read_certs(directory, topology)
    return Inputs(
        directory,
        topology,
        read_base(directory),
        read_mesh_kubeconfig(directory, kubeconfig),
        read_server_cas(directory, topology),
        read_credentials(directory, topology),
        read_work_files(directory, sealing, "certificates", "sealing-certificate"),
        certs,
        certs_problems,
    )


def read_server_cas(directory: str, topology: Topology) -> WorkFiles:
    """The files with the CAs of the API servers, by their names below the working directory."""
    names = [name for c in topology.clusters for name in _server_ca_names(c)]
    return read_work_files(directory, names, "certificates", "")


def _server_ca_names(cluster: Cluster) -> tuple[str, ...]:
    if cluster.certificate_authority is None or "-----BEGIN" in cluster.certificate_authority:
        return (server_ca_file(cluster.name),)
    return server_ca_file(cluster.name), cluster.certificate_authority


def _read_certs(directory: str, topology: Topology) -> tuple[CertsFolder, tuple[Problem, ...]]:
    try:
        return read_certs(directory, [c.name for c in topology.clusters]), ()
    except MeshError as error:
        return CertsFolder(), with_check_id(error.problems, "certs-readable")


def is_server_from_kubeconfig(cluster: Cluster, server_cas: Mapping[str, bytes]) -> bool:
    """Whether the server or the CA of a cluster is stated neither in the topology nor in
    `clusters/`.
    """
    return cluster.server is None or (
        cluster.certificate_authority is None and server_ca_file(cluster.name) not in server_cas
    )
