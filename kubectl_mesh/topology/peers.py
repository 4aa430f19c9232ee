"""Which clusters discover which, and which peers log in to a cluster."""

from kubectl_mesh.credentials.accounts import SHARED_READER
from kubectl_mesh.model import Cluster, Topology


def list_peers(topology: Topology) -> dict[str, tuple[str, ...]]:
    """The clusters that each cluster discovers; none if it has no control plane or does not join
    the mesh.
    """
    joined = tuple(c.name for c in topology.clusters if c.is_joined)
    place = {name: at for at, name in enumerate(joined)}
    found: dict[str, tuple[str, ...]] = {}
    for cluster in topology.clusters:
        if not cluster.is_joined or cluster.primary is not None:
            found[cluster.name] = ()
        elif cluster.peers is None:
            at = place[cluster.name]
            found[cluster.name] = joined[:at] + joined[at + 1 :]
        else:
            found[cluster.name] = tuple(sorted(cluster.peers))
    return found


def list_login_holders(topology: Topology) -> list[tuple[Cluster, str]]:
    """The logins of a mesh: the cluster that each is for, and the peer that holds it;
    `SHARED_READER` if all peers share it.
    """
    if not topology.reader_per_peer:
        return [(cluster, SHARED_READER) for cluster in topology.clusters if cluster.is_joined]
    peers = list_peers(topology)
    return [
        (cluster, peer)
        for cluster in topology.clusters
        for peer in peers
        if cluster.name in peers[peer]
    ]
