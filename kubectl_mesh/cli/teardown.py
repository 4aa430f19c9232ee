"""`kubectl mesh teardown`"""

import click

from kubectl_mesh.cli import common


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
    from kubectl_mesh import targets
    from kubectl_mesh.cli import basefile, workdir

    topology = workdir.read_topology(directory)
    target = targets.choose(basefile.documents(directory))
    only = workdir.chosen(topology, clusters) if clusters else None
    gone = tuple(c for c in topology.clusters if only is None or c.name in only)
    steps = list(target.teardown(gone, tuple(c for c in topology.clusters if c not in gone), topology))
    if output == "json":
        common.put_json({"mesh": topology.mesh_id, "commands": [{"cluster": name, "command": line} for name, line in steps]})
        return
    last = ""
    for name, line in steps:
        if name != last:
            click.echo(f"# {name}")
            last = name
        click.echo(line)
