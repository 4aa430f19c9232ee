"""`kubectl mesh adopt`"""

from typing import TYPE_CHECKING, Any

import click

from kubectl_mesh.cli import clock, common
from kubectl_mesh.cli.init import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kubectl_mesh.adopt.difference import Difference
    from kubectl_mesh.adopt.evidence import Unused
    from kubectl_mesh.adopt.running import Mesh
    from kubectl_mesh.errors import Problem


@click.command(name="adopt")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@common.directory
@click.option("--mesh-id", metavar="NAME", help="The name of the mesh, where no dump says it.")
@click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="CTX=NETWORK",
    help="The network of a cluster, where no dump says it, or two disagree.",
)
@click.option(
    "--control-plane",
    type=click.Choice(KINDS),
    metavar="KIND",
    help="The kind of base.yaml, where no dump has a control plane, or Helm values only.",
)
@common.output
def command(
    files: tuple[str, ...],
    directory: str,
    mesh_id: str | None,
    networks: tuple[str, ...],
    control_plane: str | None,
    output: str,
) -> None:
    """Adopt a running mesh: make a working directory of what `kubectl get -o yaml` printed.

    Each FILE is CTX=FILE or CTX=FOLDER, dumps of the cluster of that context; a folder with such a
    folder per context; or a kubeconfig. Read are cacerts, istio-ca-secret, remote secrets, control
    planes, the Namespace, gateways. What the first render would change of what runs is told path by
    path. Whatever is there already is kept.
    """
    from kubectl_mesh.adopt.evidence import Notes
    from kubectl_mesh.errors import MeshError, refuse
    from kubectl_mesh.operations import adoption, dumps

    given: dict[str, str] = {}
    for pair in networks:
        context, equals, network = pair.rpartition("=")
        if not equals or not context or not network:
            raise refuse(
                "--network",
                f'"{pair}" is not CTX=NETWORK',
                "write the context's name, =, and the name of its network",
            )
        given[context] = network
    objects = dumps.named(files)
    notes = Notes()
    machine = clock.machine()
    mesh, new, private = adoption.made(
        objects, mesh_id, given, control_plane, directory, machine.now, notes
    )
    if notes.problems:
        raise MeshError(notes.problems)
    done = adoption.write(directory, new, private, machine.environment)
    found, warnings = adoption.compared(directory, machine, mesh, objects, notes)
    unused = sorted(set(notes.unused))
    warnings = [*dumps.open_to_others(objects), *warnings]
    common.warn(warnings)
    if output == "json":
        common.put_json(_value(directory, mesh, done, found, unused, warnings))
    else:
        common.put_text(_text(directory, mesh, done, found, unused))
        common.say("next: read topology.yaml and base.yaml, then kubectl mesh render")


def _text(
    directory: str,
    mesh: "Mesh",
    done: "Sequence[tuple[str, str]]",
    found: "Sequence[Difference]",
    unused: "Sequence[Unused]",
) -> str:
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.text import count

    lines = [f"{action:7} {join(directory, name)}" for action, name in done]
    changed = len({(d.cluster, d.object) for d in found})
    lines += [
        "",
        (
            f"mesh {mesh.mesh_id}: {count(len(mesh.clusters), 'cluster')}; the first render differs"
            f" from what runs in {count(changed, 'object')}"
        ),
    ]
    for where, each in _together(found).items():
        lines.append(f"  {_some(where)}")
        lines += [f"    {d.action:6} {d.path or 'as a whole'}: {d.reason}" for d in each]
    if unused:
        lines += ["", "not taken over:"] + [f"  {u.place}: {u.what}: {u.reason}" for u in unused]
    return "\n".join(lines) + "\n"


def _together(found: "Sequence[Difference]") -> "dict[tuple[str, ...], list[Difference]]":
    """The differences of objects that differ in the same way, once, under the clusters and objects
    that they are of.
    """
    from dataclasses import replace

    objects: dict[tuple[str, str], list[Difference]] = {}
    for difference in found:
        objects.setdefault((difference.cluster, difference.object), []).append(difference)
    alike: dict[tuple[Any, ...], list[str]] = {}
    for (cluster, name), differences in objects.items():
        # Of a remote secret the key is the name of its cluster, as in the name of the object.
        peer = name.partition("istio-remote-secret-")[2]
        shape = tuple(
            replace(
                d,
                cluster="",
                object="",
                path=d.path.replace(f"data.{peer}", "data.PEER") if peer else d.path,
            )
            for d in differences
        )
        alike.setdefault((name.partition(" ")[0], *shape), []).append(f"{cluster}: {name}")
    return {tuple(where): list(shape[1:]) for shape, where in alike.items()}


_FEW = 4


def _some(where: "Sequence[str]") -> str:
    """Where the same differs, in a few lines."""
    more = [f"and {len(where) - _FEW + 1} more"] if len(where) > _FEW else []
    return "\n  ".join([*where[: _FEW - 1 if more else _FEW], *more])


def _value(
    directory: str,
    mesh: "Mesh",
    done: "Sequence[tuple[str, str]]",
    found: "Sequence[Difference]",
    unused: "Sequence[Unused]",
    warnings: "Sequence[Problem]",
) -> "Mapping[str, Any]":
    from kubectl_mesh.adopt.difference import value
    from kubectl_mesh.reports.render import problems_json

    return {
        "directory": directory,
        "mesh": mesh.mesh_id,
        "files": [{"path": name, "action": action} for action, name in done],
        "clusters": [
            {"name": c.name, "context": c.context, "network": c.network, "namespace": c.namespace}
            for c in mesh.clusters
        ],
        "differences": [value(d) for d in found],
        "unused": [
            {"file": u.place.file, "line": u.place.line, "what": u.what, "reason": u.reason}
            for u in unused
        ],
        "warnings": problems_json(warnings),
    }
