"""The names of files in a working directory, and the paths of problems relative to the current
folder.
"""

from collections.abc import Iterable
from dataclasses import replace

from kubectl_mesh.errors import Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.text import marked_text, render_paths

TOPOLOGY_FILE, BASE_FILE, KUBECONFIG_FILE = "topology.yaml", "base.yaml", "kubeconfig.yaml"


def server_ca_file(cluster: str) -> str:
    """The file with the CA of a cluster's API server, if the topology names no other."""
    return f"clusters/{cluster}.crt"


def sealing_certificate_file(cluster: str) -> str:
    """The file with the certificate of a cluster's Sealed Secrets controller."""
    return f"clusters/{cluster}.sealing.crt"


def relocate_problems(
    directory: str,
    problems: Iterable[Problem],
    work_files: Iterable[str | None] = (),
    option_files: Iterable[str | None] = (),
) -> tuple[Problem, ...]:
    """Problems with the working directory prepended to the paths of its files. Files of options
    keep their paths.
    """
    own, option_files = set(work_files), set(option_files)
    return tuple(
        (
            replace(
                p,
                where=replace(p.where, file=join_path(directory, p.where.file)),
                what=_relocate_text(directory, p.what),
                fix=_relocate_text(directory, p.fix),
            )
            if (
                p.where.file.startswith(("certs/", "clusters/"))
                and p.where.file not in option_files
            )
            or p.where.file in own
            else p
        )
        for p in problems
    )


def _relocate_text(directory: str, text: str) -> str:
    return render_paths(marked_text(text), lambda path: join_path(directory, path))
