"""`kubectl mesh explain`"""

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kubectl_mesh.checks.result import Result
    from kubectl_mesh.errors import Problem


@click.command(name="explain")
@click.argument("words", metavar="TEXT", nargs=-1, required=True)
@common.directory
@common.tree
@common.kubeconfig
@common.output
def command(
    words: tuple[str, ...], directory: str, out: str | None, kubeconfig: str | None, output: str
) -> int:
    """Find the cause of an error of Envoy, istiod, ztunnel, kubectl, Argo CD, Flux or SOPS in this
    mesh.

    TEXT is what was printed, in quotes; `-` reads it from stdin. Each cause is proven, cleared by
    files that prove it, or cannot be known offline; then a command shows it. Without a working
    directory the causes are general. The text itself is never printed again. Exit code 1 if nothing
    in it is known.
    """
    from kubectl_mesh import explain
    from kubectl_mesh.reports import explain as show

    text = _stdin(explain.LONGEST) if words == ("-",) else " ".join(words)[: explain.LONGEST]
    results, versions, names, unread = _mesh(directory, out, kubeconfig)
    explained = [
        (known, explain.judge(known, results, versions)) for known in explain.recognise(text)
    ]
    clusters = explain.named(text, names)
    if output == "json":
        common.put_json(show.value(explained, clusters, unread))
    elif explained:
        common.put_marked(show.text(explained, clusters, common.marks(), common.width(), unread))
    else:
        common.put_text(show.UNKNOWN)
    return 0 if explained else 1


def _stdin(longest: int) -> str:
    """What is piped in; bytes that are no text stand for themselves."""
    if sys.stdin is None or sys.stdin.closed:
        from kubectl_mesh.errors import refuse

        raise refuse(
            "-",
            "stdin is closed, so there is no text to read",
            "pipe the text in, or give it in quotes",
        )
    return sys.stdin.buffer.read(4 * longest).decode("utf-8", "replace")[:longest]


def _mesh(
    directory: str, out: str | None, kubeconfig: str | None
) -> "tuple[Mapping[str, Result] | None, set[str], list[str], tuple[Problem, ...]]":
    """The results of all checks by id, the versions of Istio, the clusters, and why inputs are of
    no use; nothing where there is no working directory.
    """
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.operations.survey import survey
    from kubectl_mesh.targets.control_plane import BY_CONTROL_PLANE
    from kubectl_mesh.workdir.places import TOPOLOGY
    from kubectl_mesh.workdir.topology_file import read_topology

    if not os.path.lexists(join(directory, TOPOLOGY)):
        if directory != ".":
            read_topology(directory)  # says what is missing
        return None, set(), [], ()
    machine = clock.machine()
    seen = survey(directory, out, kubeconfig, machine, lambda _: machine.now)
    clusters = seen.inputs.topology.clusters if seen.inputs is not None else ()
    stated = {release.version for c in clusters if c.primary is None for release in c.releases}
    # A control plane of an unknown version rules nothing out.
    versions = set() if None in stated else {version for version in stated if version is not None}
    results = {r.check.id: r for r in seen.results}
    unread = (
        results["topology-valid"].findings
        if seen.topology is None
        else results["base-valid"].findings
    )
    if results["base-valid"].findings:
        # What rests on a base.yaml that `render` refuses is known of no mesh.
        results |= {i: replace(results[i], status="skipped", findings=()) for i in BY_CONTROL_PLANE}
        versions = set()
    return results, versions, [c.name for c in clusters], unread
