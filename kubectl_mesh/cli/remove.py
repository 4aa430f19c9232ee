"""`kubectl mesh remove`"""

import os

import click

from kubectl_mesh.cli import common


@click.command(name="remove")
@click.argument("context", metavar="CTX", shell_complete=common.complete_contexts)
@common.directory
@common.output
def command(context: str, directory: str, output: str) -> None:
    """Remove the cluster of context CTX from the topology; comments and order stay.

    Its certificates, token and CA stay where they are. The next render removes its directory in
    out/, and its remote secret from every peer. The commands that take Istio off it are printed;
    none is run.
    """
    from kubectl_mesh.cli import teardown
    from kubectl_mesh.credentials.accounts import token_file
    from kubectl_mesh.delivery.teardown import TOOLS
    from kubectl_mesh.errors import refuse
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.fs.locking import locked
    from kubectl_mesh.fs.owned_files import replace_file
    from kubectl_mesh.fs.read import read_inside
    from kubectl_mesh.operations import private_files
    from kubectl_mesh.text import near
    from kubectl_mesh.workdir.places import TOPOLOGY
    from kubectl_mesh.workdir.topology_file import read_topology
    from kubectl_mesh.yaml_io import edit
    from kubectl_mesh.yaml_io.read import load

    path = join(directory, TOPOLOGY)
    with locked(directory):
        private_files.check_regular(path)
        topology = read_topology(directory)
        cluster = next((c for c in topology.clusters if c.context == context), None)
        if cluster is None:
            hint = near(context, {c.context for c in topology.clusters})
            raise refuse(
                path, f'no such context: "{context}"{hint}', "name a context of the topology"
            )
        if len(topology.clusters) == 1:
            raise refuse(
                path,
                f'"{context}" is the only cluster of the mesh, and a mesh has at least one',
                "run `kubectl mesh teardown` to take the whole mesh down",
            )
        served = [c.context for c in topology.clusters if c.primary == cluster.name]
        if served:
            which = ", ".join(f'"{name}"' for name in served)
            raise refuse(
                path,
                f'istiod of "{context}" serves {which}',
                "remove them first, or give them another controlPlane (or none)",
            )
        commands = teardown.list_commands(directory, topology, frozenset({cluster.name}))
        tool = TOOLS.get(topology.delivery.tool)
        source = (read_inside(directory, TOPOLOGY, "topology") or b"").decode()
        body = edit.remove(source, context, lambda text: load(path, text.encode()).value, path)
        replace_file(path, source.encode(), body.encode())
    alone = cluster.network in topology.networks and all(
        c.network != cluster.network for c in topology.clusters if c is not cluster
    )
    left = [
        f"certs/intermediate-{cluster.name}",
        *(token_file(cluster, generation=n) for n in cluster.generations),
        f"clusters/{cluster.name}.crt",
    ]
    left = [name for name in left if os.path.lexists(join(directory, name))]
    if output == "json":
        files = [{"path": TOPOLOGY, "action": "update"}]
        common.put_json(
            {
                "directory": directory,
                "cluster": cluster.name,
                "files": files,
                "left": left,
                "commands": teardown.commands_json(commands),
            }
        )
        return
    common.put_text(
        f"update  {path}"
        + (f" (networks.{cluster.network} too: nobody is on it any more)" if alone else "")
        + "\n"
    )
    for name in left:
        common.put_text(f"keep    {join(directory, name)}\n")
    common.put_text(
        f"the next render removes out/{cluster.name} and the remote secret {cluster.name} of its"
        " peers; Istio stays on the cluster itself.\n"
    )
    if tool:
        common.put_text(
            f"Once that is merged, {tool} deletes the remote secret from the peers. These commands"
            " wait for that and take Istio off:\n"
        )
    else:
        common.put_text("Once that is applied, these commands take it off:\n")
    common.put_text(teardown.commands_text(commands), people=False)
    common.say(common.NEXT)
