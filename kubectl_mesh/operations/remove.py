"""Removes a cluster from the topology, and lists the commands that take Istio off it."""

import os
from dataclasses import dataclass

from kubectl_mesh.credentials.accounts import token_file
from kubectl_mesh.delivery import delivery_of
from kubectl_mesh.errors import refuse
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.locking import hold_lock
from kubectl_mesh.fs.owned_files import replace_file
from kubectl_mesh.fs.read import read_inside
from kubectl_mesh.model import Cluster, Topology
from kubectl_mesh.operations import private_files
from kubectl_mesh.operations.teardown import list_teardown_commands
from kubectl_mesh.targets.teardown import Command
from kubectl_mesh.text import did_you_mean, mesh_command
from kubectl_mesh.workdir.places import TOPOLOGY_FILE
from kubectl_mesh.workdir.topology_file import read_topology
from kubectl_mesh.yaml_io import edit
from kubectl_mesh.yaml_io.read import load_document


@dataclass(frozen=True, slots=True)
class RemoveResult:
    """What the removal of a cluster changed, and what it did not."""

    directory: str
    cluster: Cluster
    removed_network: str
    """The network that was removed with it, because nobody else is on it; empty if there is
    none.
    """
    remaining_files: tuple[str, ...]
    """The files of the cluster that stay, as paths in the working directory."""
    commands: tuple[Command, ...]
    """What takes Istio off the cluster."""
    tool: str
    """The tool that deletes the remote secret from the peers, as people call it; empty for
    kubectl.
    """


def remove_cluster(directory: str, context: str) -> RemoveResult:
    """Removes the cluster of a context from topology.yaml; comments and order stay.

    Raises a `MeshError` if there is no such context, or the mesh needs the cluster.
    """
    path = join_path(directory, TOPOLOGY_FILE)
    with hold_lock(directory):
        private_files.check_regular(path)
        topology = read_topology(directory)
        cluster = _find_removable(topology, path, context)
        commands = list_teardown_commands(directory, topology, frozenset({cluster.name}))
        source = (read_inside(directory, TOPOLOGY_FILE, "topology") or b"").decode()
        body = edit.remove_context(
            source, context, lambda text: load_document(path, text.encode()).value, path
        )
        replace_file(path, source.encode(), body.encode())
    is_alone = cluster.network in topology.networks and all(
        c.network != cluster.network for c in topology.clusters if c is not cluster
    )
    delivery = delivery_of(topology)
    return RemoveResult(
        directory,
        cluster,
        cluster.network if is_alone else "",
        tuple(name for name in _list_files(cluster) if os.path.lexists(join_path(directory, name))),
        tuple(commands),
        delivery.TITLE if delivery.RECONCILES else "",
    )


def _find_removable(topology: Topology, path: str, context: str) -> Cluster:
    """The cluster of a context, if the mesh can be without it."""
    cluster = next((c for c in topology.clusters if c.context == context), None)
    if cluster is None:
        hint = did_you_mean(context, {c.context for c in topology.clusters})
        raise refuse(
            path,
            f'no such context: "{context}"{hint}',
            "name a context of the topology",
            code="context-unknown",
        )
    if len(topology.clusters) == 1:
        raise refuse(
            path,
            f'"{context}" is the only cluster of the mesh, and a mesh has at least one',
            f"run `{mesh_command('teardown')}` to take the whole mesh down",
            code="last-cluster",
        )
    served = [c.context for c in topology.clusters if c.primary == cluster.name]
    if served:
        which = ", ".join(f'"{name}"' for name in served)
        raise refuse(
            path,
            f'istiod of "{context}" serves {which}',
            "remove them first, or give them another controlPlane (or none)",
            code="control-plane-serves-others",
        )
    return cluster


def _list_files(cluster: Cluster) -> list[str]:
    """The files of a cluster in the working directory, existing or not."""
    return [
        f"certs/intermediate-{cluster.name}",
        *(token_file(cluster, generation=n) for n in cluster.token_generations),
        f"clusters/{cluster.name}.crt",
    ]
