"""`kubectl mesh teardown`"""

from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import common

if TYPE_CHECKING:
    from kubectl_mesh.model import Topology


@click.command(name="teardown")
@common.directory
@click.option(
    "--cluster", "clusters", multiple=True, metavar="NAME", shell_complete=common.complete_contexts, help="For this cluster only; may be given again."
)
@common.output
def command(directory: str, clusters: tuple[str, ...], output: str) -> None:
    """Print, in order, the commands that take Istio off the clusters. Runs none.

    With --cluster the others forget these clusters first. The working directory stays as it is. Deleting the custom resource
    definitions deletes every object of theirs in the cluster, those of users too.
    """
    from kubectl_mesh.cli import workdir

    topology = workdir.read_topology(directory)
    only = workdir.chosen(topology, clusters, hint=False) if clusters else None
    found = commands(directory, topology, frozenset(c.name for c in topology.clusters) if only is None else only)
    if output == "json":
        common.put_json({"mesh": topology.mesh_id, "commands": found})
        return
    click.echo(listed(found), nl=False)


def commands(directory: str, topology: "Topology", gone: frozenset[str]) -> list[dict[str, str]]:
    """The commands that take Istio off these clusters, in order, each with the cluster that it is for; the others forget them first."""
    from kubectl_mesh import targets
    from kubectl_mesh.cli import basefile

    target = targets.choose(basefile.documents(directory))
    go = tuple(c for c in topology.clusters if c.name in gone)
    stay = tuple(c for c in topology.clusters if c.name not in gone)
    return [{"cluster": name, "command": line} for name, line in target.teardown(go, stay, topology)]


def listed(found: list[dict[str, str]]) -> str:
    """Such commands for a shell, with a comment where another cluster begins."""
    lines: list[str] = []
    last = ""
    for step in found:
        lines += ([f"# {step['cluster']}"] if step["cluster"] != last else []) + [step["command"]]
        last = step["cluster"]
    return "".join(f"{line}\n" for line in lines)
