"""`kubectl mesh diff`"""

import os
from typing import TYPE_CHECKING, Any

import click

from kubectl_mesh.cli import clock, common

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kubectl_mesh.differences.values import Diff
    from kubectl_mesh.errors import Problem
    from kubectl_mesh.observed import RawTree

BUDGET = 65536
"""What a comment in a pull request may hold."""


@click.command(name="diff")
@click.argument("directories", nargs=-1, metavar="[OLD NEW]")
@common.directory
@common.tree
@click.option(
    "--against",
    metavar="REV",
    help="Compare the tree on disk with the one in this revision of git, and not with a render.",
)
@click.option(
    "--cluster",
    "clusters",
    multiple=True,
    metavar="NAME",
    shell_complete=common.complete_contexts,
    help="For this cluster only; may be given again.",
)
@click.option(
    "--max-bytes",
    type=click.IntRange(1024),
    metavar="N",
    help=f"The most that markdown may take.  [default: {BUDGET}]",
)
@common.kubeconfig
@click.option(
    "-o",
    "output",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    metavar="FORMAT",
    help="text, json or markdown.  [default: text]",
)
def command(
    directories: tuple[str, ...],
    directory: str,
    out: str | None,
    against: str | None,
    clusters: tuple[str, ...],
    max_bytes: int | None,
    kubeconfig: str | None,
    output: str,
) -> int:
    """Show what a change does to the mesh: clusters, networks, trust, control planes, gateways,
    secrets. No secret is ever shown.

    Without arguments the tree on disk is compared with what a render would write; with --against
    REV, the tree of a revision of git with the one on disk; with two folders, one tree with the
    other. Nothing is written. Exit code 1 if anything but formatting differs.
    """
    from kubectl_mesh.differences import diff
    from kubectl_mesh.errors import refuse
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.observed.sources import on_disk
    from kubectl_mesh.operations import private_files

    folder = out if out is not None else join(directory, "out")
    if max_bytes is not None and output != "markdown":
        raise refuse("--max-bytes", f"is for -o markdown, not for -o {output}", "leave it out")
    if directories:
        if len(directories) != 2:
            raise refuse(
                "diff",
                f"takes two folders or none, not {len(directories)}",
                "name the old tree, then the new one; for a revision of git: --against REV",
            )
        if against is not None or out is not None or kubeconfig is not None:
            raise refuse(
                "diff",
                "compares two folders, or one with a revision or a render, not both",
                "leave the folders out, or the options",
            )
        for name in directories:
            if not os.path.isdir(name):
                raise refuse(name, "is no folder", "name a folder with a rendered tree")
        before, after = on_disk(directories[0]), on_disk(directories[1])
        return _tell(
            diff(before, after, directories, only=_chosen(clusters, before, after)),
            output,
            max_bytes,
        )
    private_files.check_folders(directory, out)
    if against is not None:
        from kubectl_mesh.operations import revision

        if kubeconfig is not None:
            raise refuse(
                "--kubeconfig",
                "is for a render, and --against makes none",
                "leave one of the two out",
            )
        before, after = revision.read(folder, against, os.environ), on_disk(folder)
        names = (f"{folder} at {against}", folder)
        return _tell(
            diff(
                before,
                after,
                names,
                only=_chosen(clusters, before, after),
                versions=_stated(directory),
            ),
            output,
            max_bytes,
        )
    return _tell(_rendered(directory, folder, clusters, kubeconfig), output, max_bytes)


def _rendered(
    directory: str, folder: str, clusters: tuple[str, ...], kubeconfig: str | None
) -> "Diff":
    """The tree on disk against a render."""
    from kubectl_mesh.differences import diff
    from kubectl_mesh.observed.sources import on_disk, rendered
    from kubectl_mesh.operations import build, refusals
    from kubectl_mesh.operations.checked_inputs import load_inputs
    from kubectl_mesh.topology.selection import chosen_clusters
    from kubectl_mesh.tree.compare import compare

    inputs = load_inputs(directory, kubeconfig, clock.machine(), out=folder)
    only = chosen_clusters(inputs.topology, clusters)
    if clusters:
        inputs = build.narrowed(inputs, only)
    at = inputs.machine.now
    made = build.make(inputs, at, folder, throwaway=True)
    before: RawTree = on_disk(folder)
    after: RawTree = rendered(made.tree)
    fresh = frozenset(
        path.rpartition("/")[0].removeprefix("intermediate-")
        for path in made.pki.new
        if path.endswith("/ca-cert.pem") or path == "root-cert.pem"
    )
    versions = {name: member.cluster.version for name, member in made.plan.members.items()}
    wanted = (
        only | {name for name in {*before, *after} if name.startswith("_")} if clusters else None
    )
    # A change after which istiod has to restart has an order; the restart is in its line, as
    # between two trees.
    changes = compare(folder, made.tree, inputs.topology.mesh_id, wanted)
    doubts: list[Problem] = []
    refused = refusals.find_refusals(
        made, changes, folder, directory, at, with_restarts=True, doubts=doubts
    )
    common.warn((*made.warnings, *doubts))
    return diff(
        before,
        after,
        (folder, "a render"),
        rendered=True,
        only=wanted,
        made=fresh,
        versions=versions,
        refused=refused,
    )


def _stated(directory: str) -> dict[str, str | None]:
    """The versions that the topology states, for trees that do not; nothing where there is no
    topology that can be read.
    """
    from kubectl_mesh.errors import MeshError
    from kubectl_mesh.workdir.topology_file import read_topology

    try:
        return {c.name: c.version for c in read_topology(directory).clusters}
    except MeshError:
        return {}


def _chosen(clusters: tuple[str, ...], *trees: "RawTree") -> frozenset[str] | None:
    """The directories of the clusters that were asked for."""
    from kubectl_mesh.errors import MeshError, Place, Problem
    from kubectl_mesh.text import near

    if not clusters:
        return None
    known = {name for tree in trees for name in tree if name}
    unknown = [name for name in clusters if name not in known]
    if unknown:
        raise MeshError(
            Problem(
                Place("--cluster"),
                f'no cluster "{name}" in either tree{near(name, known)}',
                "name its directory",
            )
            for name in unknown
        )
    return frozenset(clusters)


def _tell(found: "Diff", output: str, budget: int | None) -> int:
    from kubectl_mesh.reports.diff_text import text, value

    problems: Iterable[Any] = found.problems
    common.warn(problems)
    if output == "json":
        common.put_json(value(found))
    elif output == "markdown":
        from kubectl_mesh.reports.diff_markdown import markdown

        click.echo(markdown(found, budget or BUDGET), nl=False)
    else:
        common.put_text(text(found))
    return 1 if found.differs else 0
