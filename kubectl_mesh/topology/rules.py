"""The rules that a schema cannot express."""

from kubectl_mesh.errors import Problem
from kubectl_mesh.topology import access_rules, cluster_rules, mesh_rules
from kubectl_mesh.topology.stated_topology import StatedTopology

RULES = (
    cluster_rules.name_problems,
    cluster_rules.network_problems,
    cluster_rules.peer_problems,
    cluster_rules.release_problems,
    cluster_rules.control_plane_problems,
    access_rules.file_problems,
    access_rules.server_problems,
    access_rules.reader_problems,
    access_rules.token_generation_problems,
    mesh_rules.bundle_problems,
    mesh_rules.delivery_problems,
    mesh_rules.secret_store_problems,
    mesh_rules.issuer_problems,
)


def rule_problems(topology: StatedTopology) -> list[Problem]:
    """The problems of all rules, without fields that are invalid by the schema. Warnings are added
    to `topology.warnings`.
    """
    return [
        p for rule in RULES for p in rule(topology) if p.where.path not in topology.invalid_paths
    ]
