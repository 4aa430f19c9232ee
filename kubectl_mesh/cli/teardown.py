"""`kubectl mesh teardown`"""

from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import common

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kubectl_mesh.delivery.teardown import Command, Installation
    from kubectl_mesh.model import Topology

STAY = (
    "# Custom resource definitions stay: they hold the objects of every user. `kubectl mesh"
    " teardown --definitions` prints what deletes them.\n"
)
WARNING = """\
# WARNING: deleting a custom resource definition deletes every object of its kind in the cluster: \
the VirtualServices, Gateways,
# AuthorizationPolicies and all others, of every user. Run this only where no Istio runs any more, \
and save the objects first.
"""
SCRIPT = (
    "# To run this as a script, put `set -eo pipefail` before it: a command that fails ends it, and"
    " all of it can run again.\n"
)


@click.command(name="teardown")
@common.directory
@click.option(
    "--cluster",
    "clusters",
    multiple=True,
    metavar="NAME",
    shell_complete=common.complete_contexts,
    help="For this cluster only; may be given again.",
)
@click.option(
    "--definitions",
    is_flag=True,
    help="Print instead what deletes Istio's custom resource definitions.",
)
@common.output
def command(directory: str, clusters: tuple[str, ...], definitions: bool, output: str) -> None:
    """Print, in order, the commands that take Istio off the clusters. Runs none.

    First what reconciles stops, then the control plane goes, then webhooks and other cluster-scoped
    objects, then the namespace. With --cluster the others forget these clusters first. The working
    directory stays as it is. Custom resource definitions stay, unless --definitions asks for the
    commands that delete them: with them goes every object of every user.
    """
    from kubectl_mesh.topology.selection import chosen_clusters
    from kubectl_mesh.workdir.topology_file import read_topology

    topology = read_topology(directory)
    only = (
        chosen_clusters(topology, clusters, hint=False)
        if clusters
        else frozenset(c.name for c in topology.clusters)
    )
    found = (
        list_definitions(directory, topology, only)
        if definitions
        else list_commands(directory, topology, only)
    )
    if output == "json":
        common.put_json({"mesh": topology.mesh_id, "commands": commands_json(found)})
        return
    click.echo(SCRIPT + (WARNING if definitions else "") + commands_text(found), nl=False)
    if not definitions:
        common.put_text(STAY)


def list_commands(directory: str, topology: "Topology", gone: frozenset[str]) -> "list[Command]":
    """The commands that take Istio off these clusters, in order; the others forget them first."""
    from kubectl_mesh.delivery import teardown
    from kubectl_mesh.plan import peers_of

    leaving = [c for c in topology.clusters if c.name in gone]
    peers = peers_of(topology)
    holders = [
        teardown.holder_of(other, cluster, topology)
        for cluster in leaving
        for other in topology.clusters
        if other.name not in gone and cluster.name in peers[other.name]
    ]
    return teardown.list_commands(
        _installed(directory, topology, gone),
        holders,
        teardown.tool_of(topology),
        whole=len(leaving) == len(topology.clusters),
    )


def list_definitions(directory: str, topology: "Topology", gone: frozenset[str]) -> "list[Command]":
    """The commands that delete the custom resource definitions of these clusters."""
    from kubectl_mesh.delivery import teardown

    return teardown.list_definitions(_installed(directory, topology, gone))


def _installed(directory: str, topology: "Topology", gone: frozenset[str]) -> "list[Installation]":
    """What leaves, as base.yaml installs it."""
    from kubectl_mesh.delivery import teardown
    from kubectl_mesh.errors import MeshError
    from kubectl_mesh.operations import base_file

    read = base_file.gather(directory, topology)
    if read.unasked:
        raise MeshError(read.problems)
    accounts = read.target.component_accounts
    return [
        teardown.installation_of(c, topology, read.target.KIND, accounts(read.base, topology, c))
        for c in topology.clusters
        if c.name in gone
    ]


def commands_json(found: "Sequence[Command]") -> list[dict[str, str]]:
    """Such commands for programs."""
    return [{"cluster": step.cluster, "command": step.text, "phase": step.phase} for step in found]


def commands_text(found: "Sequence[Command]") -> str:
    """Such commands for a shell, with a comment where another cluster begins."""
    lines: list[str] = []
    last = ""
    for step in found:
        lines += ([f"# {step.cluster}"] if step.cluster != last else []) + [step.text]
        last = step.cluster
    return "".join(f"{line}\n" for line in lines)
