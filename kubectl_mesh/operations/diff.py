"""Compares two trees: two folders, or the tree on disk with a revision of git or with a render."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubectl_mesh.differences import RenderFacts, diff_trees
from kubectl_mesh.differences.values import Diff
from kubectl_mesh.errors import MeshError, Place, Problem, refuse
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.observed.mesh_state import RawTree
from kubectl_mesh.observed.tree_sources import convert_rendered_tree, read_tree, scan_tree
from kubectl_mesh.operations import build, git_revision, private_files
from kubectl_mesh.operations.build import RenderedMesh
from kubectl_mesh.operations.change_review import review_render
from kubectl_mesh.operations.checked_inputs import load_inputs
from kubectl_mesh.operations.paths import Paths
from kubectl_mesh.text import did_you_mean
from kubectl_mesh.topology.selection import select_clusters
from kubectl_mesh.tree.compare import compare_tree
from kubectl_mesh.workdir.topology_file import read_topology


@dataclass(frozen=True, slots=True)
class DiffOptions:
    """What is compared; by default the tree on disk with a render."""

    directories: tuple[str, ...] = ()
    """Two folders with a tree, the old one first."""
    against: str | None = None
    """A revision of git whose tree is compared with the one on disk."""
    clusters: tuple[str, ...] = ()
    """The clusters to compare; none: all of them."""


@dataclass(frozen=True, slots=True)
class DiffResult:
    """The differences, and the warnings of what was compared."""

    diff: Diff
    warnings: tuple[Problem, ...]


def compare_mesh(paths: Paths, options: DiffOptions, machine: Machine) -> DiffResult:
    """The differences between two trees; raises a `MeshError` where one cannot be read."""
    if options.directories:
        return _compare_folders(paths, options)
    private_files.check_folders(paths.directory, paths.out)
    if options.against is not None:
        return _compare_revision(paths, options.against, options.clusters, machine.environment)
    return _compare_render(paths, options.clusters, machine)


def compare_trees(before: RawTree, after: RawTree) -> DiffResult:
    """The differences between two trees in memory."""
    return _build_result(diff_trees(before, after, ("before", "after")))


def _build_result(found: Diff, warnings: Sequence[Problem] = ()) -> DiffResult:
    return DiffResult(found, (*warnings, *found.problems))


def _compare_folders(paths: Paths, options: DiffOptions) -> DiffResult:
    names = options.directories
    if len(names) != 2:
        raise refuse(
            "diff",
            f"takes two folders or none, not {len(names)}",
            "name the old tree, then the new one; for a revision of git: --against REV",
            code="not-two-folders",
        )
    if options.against is not None or paths.out is not None or paths.kubeconfig is not None:
        raise refuse(
            "diff",
            "compares two folders, or one with a revision or a render, not both",
            "leave the folders out, or the options",
            code="options-exclude-each-other",
        )
    for name in names:
        if not os.path.isdir(name):
            raise refuse(
                name, "is no folder", "name a folder with a rendered tree", code="not-a-folder"
            )
    before, after = read_tree(names[0]), read_tree(names[1])
    only = _chosen_folders(options.clusters, before, after)
    return _build_result(diff_trees(before, after, names, only=only))


def _compare_revision(
    paths: Paths, against: str, clusters: Sequence[str], environment: Mapping[str, str]
) -> DiffResult:
    """The tree of a revision of git with the one on disk."""
    if paths.kubeconfig is not None:
        raise refuse(
            "--kubeconfig",
            "is for a render, and --against makes none",
            "leave one of the two out",
            code="options-exclude-each-other",
        )
    before, after = (
        git_revision.read_revision(paths.tree, against, environment),
        read_tree(paths.tree),
    )
    names = (f"{paths.tree} at {against}", paths.tree)
    only = _chosen_folders(clusters, before, after)
    versions = _stated_versions(paths.directory)
    return _build_result(diff_trees(before, after, names, only=only, versions=versions))


def _compare_render(paths: Paths, clusters: Sequence[str], machine: Machine) -> DiffResult:
    """The tree on disk with a render."""
    folder = paths.tree
    inputs = load_inputs(paths.directory, paths.kubeconfig, machine, out=folder)
    only = select_clusters(inputs.topology, clusters)
    if clusters:
        inputs = build.narrow_inputs(inputs, only)
    rendered = build.build_mesh(inputs, machine.now, folder, throwaway=True)
    existing = scan_tree(folder)
    before: RawTree = existing.to_raw_tree()
    after: RawTree = convert_rendered_tree(rendered.tree)
    versions = {name: member.cluster.version for name, member in rendered.plan.members.items()}
    wanted = (
        only | {name for name in {*before, *after} if name.startswith("_")} if clusters else None
    )
    # A change after which istiod has to restart has an order; the restart is in its line, as
    # between two trees.
    changes = compare_tree(
        folder, rendered.tree, inputs.topology.mesh_id, wanted, scanned=existing.directories
    )
    review = review_render(rendered, changes, folder, machine.now, compares_logins=False)
    found = diff_trees(
        before,
        after,
        (folder, "a render"),
        only=wanted,
        versions=versions,
        render=RenderFacts(review, _new_certificates(rendered)),
    )
    return _build_result(found, (*rendered.warnings, *review.unknown_problems))


def _new_certificates(rendered: RenderedMesh) -> frozenset[str]:
    """The clusters whose intermediate is new in a render; the root, if new, has an empty name."""
    return frozenset(
        path.rpartition("/")[0].removeprefix("intermediate-")
        for path in rendered.pki.new_files
        if path.endswith("/ca-cert.pem") or path == "root-cert.pem"
    )


def _stated_versions(directory: str) -> dict[str, str | None]:
    """The versions that the topology states, for trees that do not; nothing where there is no
    topology that can be read.
    """
    try:
        return {c.name: c.version for c in read_topology(directory).clusters}
    except MeshError:
        return {}


def _chosen_folders(clusters: Sequence[str], *trees: RawTree) -> frozenset[str] | None:
    """The directories of the clusters that were asked for."""
    if not clusters:
        return None
    known = {name for tree in trees for name in tree if name}
    unknown = [name for name in clusters if name not in known]
    if unknown:
        raise MeshError(
            Problem(
                Place("--cluster"),
                f'no cluster "{name}" in either tree{did_you_mean(name, known)}',
                "name its directory",
                code="cluster-unknown",
            )
            for name in unknown
        )
    return frozenset(clusters)
