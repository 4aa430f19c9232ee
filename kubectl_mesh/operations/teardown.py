"""Lists the commands that take Istio off clusters."""

from collections.abc import Sequence
from dataclasses import dataclass

from kubectl_mesh.delivery import tool_of
from kubectl_mesh.delivery.removal import Installation
from kubectl_mesh.errors import MeshError
from kubectl_mesh.model import Topology
from kubectl_mesh.targets import teardown
from kubectl_mesh.targets.control_plane import check_base
from kubectl_mesh.targets.teardown import Command
from kubectl_mesh.topology.peers import list_peers
from kubectl_mesh.topology.selection import select_clusters
from kubectl_mesh.workdir.base_file import read_base
from kubectl_mesh.workdir.topology_file import read_topology


@dataclass(frozen=True, slots=True)
class TeardownResult:
    """The commands of a teardown, in the order in which they run."""

    mesh_id: str
    commands: tuple[Command, ...]
    has_definitions: bool
    """Whether these commands delete custom resource definitions, and nothing else."""


def plan_teardown(
    directory: str, clusters: Sequence[str] = (), *, definitions: bool = False
) -> TeardownResult:
    """Returns the commands for these clusters, by name or context, or for the whole mesh.

    With `definitions` they delete Istio's custom resource definitions, else everything else.
    """
    topology = read_topology(directory)
    leaving = (
        select_clusters(topology, clusters, suggest=False)
        if clusters
        else frozenset(c.name for c in topology.clusters)
    )
    commands = (
        teardown.list_definitions(_list_installations(directory, topology, leaving))
        if definitions
        else list_teardown_commands(directory, topology, leaving)
    )
    return TeardownResult(topology.mesh_id, tuple(commands), definitions)


def list_teardown_commands(
    directory: str, topology: Topology, leaving: frozenset[str]
) -> list[Command]:
    """The commands that take Istio off these clusters, in order; the others forget them first."""
    clusters = [c for c in topology.clusters if c.name in leaving]
    peers = list_peers(topology)
    holders = [
        teardown.holder_of(other, cluster, topology)
        for cluster in clusters
        for other in topology.clusters
        if other.name not in leaving and cluster.name in peers[other.name]
    ]
    return teardown.list_commands(
        _list_installations(directory, topology, leaving),
        holders,
        tool_of(topology),
        whole=len(clusters) == len(topology.clusters),
    )


def _list_installations(
    directory: str, topology: Topology, leaving: frozenset[str]
) -> list[Installation]:
    """What is installed in these clusters, as base.yaml says it."""
    read = check_base(read_base(directory), topology)
    if not read.has_known_fields:
        raise MeshError(read.problems)
    accounts = read.target.component_accounts
    return [
        teardown.installation_of(c, topology, read.target.KIND, accounts(read.base, topology, c))
        for c in topology.clusters
        if c.name in leaving
    ]
