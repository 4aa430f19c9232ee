"""The files that a person writes, and where problems of files lie as seen from where a command
runs.
"""

from collections.abc import Iterable
from dataclasses import replace

from kubectl_mesh.errors import Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.text import marked_text, render_paths

TOPOLOGY, BASE, KUBECONFIG = "topology.yaml", "base.yaml", "kubeconfig.yaml"


def server_ca_file(cluster: str) -> str:
    """The file with the CA of a cluster's API server, if the topology names no other."""
    return f"clusters/{cluster}.crt"


def sealing_file(cluster: str) -> str:
    """The file with the certificate of a cluster's Sealed Secrets controller."""
    return f"clusters/{cluster}.sealing.crt"


def located(
    directory: str,
    problems: Iterable[Problem],
    names: Iterable[str | None] = (),
    given: Iterable[str | None] = (),
) -> tuple[Problem, ...]:
    """Problems of stages that know files by their place in the working directory, with that
    directory before them.

    Files of the command line (`given`) lie where they are said to.
    """
    own, given = set(names), set(given)
    return tuple(
        (
            replace(
                p,
                where=replace(p.where, file=join_path(directory, p.where.file)),
                what=_moved(directory, p.what),
                fix=_moved(directory, p.fix),
            )
            if (p.where.file.startswith(("certs/", "clusters/")) and p.where.file not in given)
            or p.where.file in own
            else p
        )
        for p in problems
    )


def _moved(directory: str, text: str) -> str:
    return render_paths(marked_text(text), lambda path: join_path(directory, path))
