"""Clusters that run nothing of their tree, as `--unapplied NAME` names them: it counts as if it did
not exist.
"""

import os
from collections.abc import Mapping, Sequence

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.read import read_file
from kubectl_mesh.model import MESH_LOCK, Topology
from kubectl_mesh.operations.last_commit import has_no_commit, list_committed_paths
from kubectl_mesh.text import count_text, did_you_mean
from kubectl_mesh.tree.lock_file import parse_lock
from kubectl_mesh.workdir import git_ignore

NO_CLUSTERS: frozenset[str] = frozenset()
_FEW = 3
_UNAPPLIED, _CONFIRM = Place("--unapplied"), Place("--confirm-unapplied")


def resolve_unapplied(
    names: Sequence[str],
    confirmed: Sequence[str],
    topology: Topology,
    out: str,
    environment: Mapping[str, str],
) -> frozenset[str]:
    """The clusters that are named by `--unapplied`; refuses what names none, what has no tree, and
    what was committed and is not confirmed.
    """
    problems: list[Problem] = []
    chosen = {_resolve_folder(name, "--unapplied", topology, out, problems): name for name in names}
    confirmed_folders = {
        _resolve_folder(name, "--confirm-unapplied", topology, out, problems): name
        for name in confirmed
    }
    committed = (
        _committed_clusters(out, [name for name in chosen if name], environment)
        if chosen
        else NO_CLUSTERS
    )
    for cluster, name in chosen.items():
        if cluster and not os.path.lexists(os.path.join(out, cluster, MESH_LOCK)):
            what = (
                f"{join_path(out, cluster)} does not exist, so nothing has to count as not applied"
            )
            fix = f"leave out {name}"
            problems.append(Problem(_UNAPPLIED, what, fix, code="tree-does-not-exist"))
        elif cluster in committed and cluster not in confirmed_folders:
            what = (
                f"the last commit holds {join_path(out, cluster)}, so what applies the repository"
                " may"
                " have applied it"
            )
            fix = (
                "look into the cluster (kubectl get namespace, secret); if it runs nothing of it,"
                f" add --confirm-unapplied {name}"
            )
            problems.append(Problem(_UNAPPLIED, what, fix, code="tree-in-last-commit"))
    for cluster, name in confirmed_folders.items():
        if cluster and cluster not in chosen:
            what = f"confirms nothing: --unapplied {name} is missing"
            fix = f"add --unapplied {name}, or leave this out"
            problems.append(Problem(_CONFIRM, what, fix, code="option-without-effect"))
        elif cluster and cluster not in committed:
            what = f"confirms nothing: the last commit does not hold {join_path(out, cluster)}"
            problems.append(Problem(_CONFIRM, what, "leave it out", code="option-without-effect"))
    if problems:
        raise MeshError(problems)
    return frozenset(chosen)


def _resolve_folder(
    name: str, option: str, topology: Topology, out: str, problems: list[Problem]
) -> str:
    """The directory of a cluster that is named by itself or by its context; the tree may have
    clusters that the topology no longer has.
    """
    known = {c.context: c.name for c in topology.clusters} | {
        c.name: c.name for c in topology.clusters
    }
    if name in known and os.path.lexists(os.path.join(out, known[name], MESH_LOCK)):
        return known[name]
    for folder in sorted(os.listdir(out)) if os.path.isdir(out) else ():
        path = os.path.join(out, folder, MESH_LOCK)
        if not folder.startswith(("_", ".")) and os.path.isfile(path):
            lock = parse_lock(read_file(path, "lock"))
            if name == folder or (lock is not None and name == lock.context):
                return folder
    if name in known:
        return known[name]
    problems.append(
        Problem(
            Place(option),
            f'no cluster "{name}" in the topology or in {out}{did_you_mean(name, known)}',
            "name a cluster or its context",
            code="cluster-unknown",
        )
    )
    return ""


def _committed_clusters(
    out: str, names: Sequence[str], environment: Mapping[str, str]
) -> frozenset[str]:
    """The clusters whose tree the last commit holds; all of them where git cannot be asked."""
    paths = list_committed_paths(out, environment)
    if paths is None:
        return (
            frozenset(names)
            if git_ignore.find_work_tree(out) is not None and not has_no_commit(out, environment)
            else NO_CLUSTERS
        )
    folders = {path.partition("/")[0] for path in paths}
    return frozenset(name for name in names if name in folders)


def check_unapplied_needed(names: Sequence[str], *, lifted: bool) -> None:
    """Refuses `--unapplied` where a render needs none: it must not stay in a script."""
    if names and not lifted:
        what = (
            f"has no effect: a render is not refused because of {count_text(len(names), 'tree')}"
            f" ({', '.join(names[:_FEW])}{', …' if len(names) > _FEW else ''})"
        )
        raise MeshError([Problem(_UNAPPLIED, what, "leave it out", code="option-without-effect")])
