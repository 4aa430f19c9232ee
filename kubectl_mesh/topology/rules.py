"""The rules that a schema cannot say: names that add up, edges that work, files that are at
hand.
"""

from kubectl_mesh.errors import Problem
from kubectl_mesh.topology import access, clusters, whole
from kubectl_mesh.topology.given import Given

RULES = (
    clusters.names,
    clusters.networks,
    clusters.peers,
    clusters.releases,
    clusters.control_planes,
    access.files,
    access.servers,
    access.readers,
    access.tokens,
    whole.bundle,
    whole.delivery,
    whole.secrets,
    whole.issuers,
)


def problems(given: Given) -> list[Problem]:
    """What is wrong by any rule, but for fields whose shape is wrong already; `given.warnings` has
    what is only unwise.
    """
    return [p for rule in RULES for p in rule(given) if p.where.path not in given.wrong]
