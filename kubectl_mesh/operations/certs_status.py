"""Reads the certificates of a mesh as they are, and the dates on which they end."""

from typing import Any

from kubectl_mesh.errors import MeshError, refuse
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model import Expiry, Topology
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations.server_cas import read_server_ca_dates
from kubectl_mesh.pki import expiries
from kubectl_mesh.pki.status import certs_status_json, read_validity, server_cas_json
from kubectl_mesh.workdir.certs_folder import CertsFolder, read_certs
from kubectl_mesh.workdir.places import TOPOLOGY_FILE, relocate_problems
from kubectl_mesh.workdir.topology_file import read_topology


def read_certificate_status(directory: str, machine: Machine) -> dict[str, Any]:
    """Roots, intermediates and the CAs of the API servers, for programs; the schema is
    `report/certs-status`.
    """
    topology, certs = _read_own(directory)
    servers = read_server_ca_dates(directory, topology)
    try:
        value = certs_status_json(topology, certs, machine.now)
    except MeshError as error:
        raise MeshError(relocate_problems(directory, error.problems)) from None
    return value | {"servers": server_cas_json(servers, machine.now)}


def read_expiry_dates(directory: str) -> tuple[str, list[Expiry]]:
    """The name of the mesh, and what of its certificates ends when."""
    topology, certs = _read_own(directory)
    servers = read_server_ca_dates(directory, topology)
    own = [c.name for c in topology.clusters if c.primary is None]
    try:
        roots, intermediates, crl = read_validity(certs.files, own)
    except MeshError as error:
        raise MeshError(relocate_problems(directory, error.problems)) from None
    return topology.mesh_id, [
        *map(expiries.root_expiry, roots),
        *(expiries.intermediate_expiry(name, one) for name, one in intermediates.items()),
        *(expiries.server_ca_expiry(name, validity) for name, validity in servers.items()),
        *([expiries.crl_expiry(*crl)] if crl is not None else []),
    ]


def _read_own(directory: str) -> tuple[Topology, CertsFolder]:
    """The topology and `certs/` of a mesh whose certificates are there."""
    topology = read_topology(directory)
    if not topology.has_intermediate_files:
        raise refuse(
            join_path(directory, TOPOLOGY_FILE),
            f"says issuer: {topology.issuer}, which makes the certificates in the clusters; none is"
            " here",
            "look there",
            code="certificates-made-in-clusters",
        )
    return topology, read_certs(directory, [c.name for c in topology.clusters])
