"""`kubectl mesh add`"""

import os

import click

from kubectl_mesh.cli import common

_FLAGS = {"network": "--network", "server": "--server", "clusterName": "--cluster-name"}


@click.command(name="add")
@click.argument("context", metavar="CTX")
@common.directory
@click.option("--network", metavar="NAME", required=True, help="The network of the cluster.")
@click.option(
    "--cluster-name",
    metavar="NAME",
    help="The cluster's name in the mesh.  [default: from the context's name]",
)
@click.option(
    "--server",
    metavar="URL",
    help="The API server as the peers reach it.  [default: from the kubeconfig]",
)
@click.option(
    "--ca",
    type=click.Path(),
    metavar="FILE",
    help="The CA of the API server, PEM.  [default: from the kubeconfig]",
)
@click.option(
    "--kubeconfig",
    type=click.Path(),
    metavar="FILE",
    help="The kubeconfig of the context.  [default: KUBECONFIG, else ~/.kube/config]",
)
@common.output
def command(
    context: str,
    directory: str,
    network: str,
    cluster_name: str | None,
    server: str | None,
    ca: str | None,
    kubeconfig: str | None,
    output: str,
) -> None:
    """Add the cluster of context CTX to the topology; comments and order stay.

    Server and CA are copied from a kubeconfig into the working directory. Of a cluster that is
    there already, only what is missing is added.
    """
    import re
    from dataclasses import replace

    from kubectl_mesh.cli.init import from_kubeconfig, no_kubeconfig, other_cluster
    from kubectl_mesh.credentials.kubeconfig import ca_fault
    from kubectl_mesh.errors import MeshError, Place, refuse
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.fs.locking import locked
    from kubectl_mesh.fs.owned_files import add_files, replace_file
    from kubectl_mesh.fs.read import read_file, read_inside
    from kubectl_mesh.operations import private_files
    from kubectl_mesh.text import path_text
    from kubectl_mesh.topology import validate
    from kubectl_mesh.workdir.kubeconfig_file import kubeconfig_entries
    from kubectl_mesh.workdir.places import TOPOLOGY
    from kubectl_mesh.workdir.topology_file import read_topology
    from kubectl_mesh.yaml_io import assets, edit
    from kubectl_mesh.yaml_io.read import load

    path = join(directory, TOPOLOGY)
    with locked(directory):
        private_files.check_regular(path)
        read_topology(directory, empty=True)  # says what is wrong before anything is added to it
        source = read_inside(directory, TOPOLOGY, "topology") or b""
        document = load(path, source)
        assert isinstance(document.value, dict)
        contexts = document.value.get("contexts")
        present = contexts.get(context) if isinstance(contexts, dict) else None
        if present is not None and (
            not isinstance(present, dict) or present.get("network") != network
        ):
            raise refuse(
                str(document.place("contexts", context)),
                "is there already, and not on this network",
                f"edit the topology to change it; {other_cluster(context)}",
            )
        authority = None
        if ca is not None:
            authority = read_file(ca, "certificates")
            if authority is None:
                raise refuse(ca, "is not there", "name a PEM file")
            if fault := ca_fault(authority):
                raise refuse(ca, fault, "name a file with the CA certificate of the API server")
        found: dict[str, object] = {}
        known = kubeconfig_entries(kubeconfig, os.environ)
        if server is None:
            if known is None:
                no_kubeconfig((context,))
            found, copied = from_kubeconfig(
                context, known, "CTX", set(contexts or ()) if isinstance(contexts, dict) else set()
            )
            authority = authority if authority is not None else copied
        else:
            found["server"] = server
            if (
                authority is None
                and known is not None
                and context in known
                and not known[context].insecure
            ):
                authority = known[context].ca
        entry = {
            "network": network,
            **({"clusterName": cluster_name} if cluster_name else {}),
            **found,
        }
        if isinstance(present, dict):
            changed = [
                key for key, value in entry.items() if key in present and present[key] != value
            ]
            if changed:
                place = str(document.place("contexts", context, changed[0]))
                raise refuse(
                    place,
                    f"is there already, and is not {entry[changed[0]]}",
                    f"edit the topology to change it; {other_cluster(context)}",
                )
            entry = {key: value for key, value in entry.items() if key not in present}
        read = lambda text: load(path, text.encode()).value  # noqa: E731
        body = edit.add(source.decode(), context, entry, read, path) if entry else source.decode()
        try:
            topology = validate(load(path, body.encode()), assets.schema("topology.schema.json"))
        except MeshError as error:
            given = {
                f"{path_text(('contexts', context, key))}": flag for key, flag in _FLAGS.items()
            }
            problems = [
                replace(p, where=Place(given[p.where.path])) if p.where.path in given else p
                for p in error.problems
            ]
            raise MeshError(
                replace(
                    p,
                    fix=re.sub(
                        r"^state a clusterName for (it|one of the two)",
                        "give --cluster-name NAME",
                        p.fix,
                    ),
                )
                for p in problems
            ) from None
        name = next(c.name for c in topology.clusters if c.context == context)
        crt = f"clusters/{name}.crt"
        there = read_inside(directory, crt, "certificates")
        stated = next(c.authority for c in topology.clusters if c.context == context)
        if server is not None and authority is None and there is None and stated is None:
            raise refuse(
                "--server",
                "needs the CA of that API server, and no kubeconfig has it",
                "give --ca FILE",
            )
        if authority is not None and there is not None and there != authority:
            raise refuse(
                join(directory, crt),
                "is there and is kept, but the CA given now is another",
                "remove the wrong one",
            )
        done = []
        if authority is not None and there is None:
            add_files(directory, {crt: authority})
            done.append(("create", crt))
        if entry:
            replace_file(path, source, body.encode())
            done.append(("update", TOPOLOGY))
    common.warn(topology.warnings)
    if output == "json":
        common.put_json(
            {
                "directory": directory,
                "cluster": name,
                "files": [{"path": p, "action": a} for a, p in done],
            }
        )
    else:
        common.put_text(
            "".join(f"{a:7} {join(directory, p)}\n" for a, p in done) or "nothing to add\n"
        )
        common.say(common.NEXT)
