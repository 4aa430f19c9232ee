"""Two views side by side: what every comparison of a part needs of them."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubectl_mesh.delivery import TOOLS
from kubectl_mesh.delivery.removal import Tool
from kubectl_mesh.differences.values import CHANGED, Detail, Effect, Fact
from kubectl_mesh.observed.cluster_pairs import ClusterPair
from kubectl_mesh.observed.mesh_state import MeshState, ObservedCluster, RawTree, TreeObject
from kubectl_mesh.observed.removal import cluster_context, cluster_namespace
from kubectl_mesh.safety.removals import ObjectReference


@dataclass(frozen=True, slots=True)
class TreePair:
    """Two trees and their views; `made` are the clusters whose intermediate the render would make,
    so that nobody knows it yet, and "" for the root.
    """

    raw_before: RawTree = field(repr=False)
    raw_after: RawTree = field(repr=False)
    before: MeshState
    after: MeshState
    pairs: Sequence[ClusterPair]
    generated_intermediates: frozenset[str] = frozenset()
    renames: Mapping[str, str] = field(default_factory=dict)
    """The new name of a cluster by its old one."""
    tool: Tool = field(default_factory=Tool)
    """What applied the tree before: it deletes what leaves the tree, or nothing does."""

    def current_name(self, name: str) -> str:
        """The name that a cluster has now."""
        return self.renames.get(name, name)


def find_implied_changes(pair: ClusterPair) -> set[tuple[str, str]]:
    """The values that change because the network, name, namespace or mesh changes; they are
    reported once, not at every place.
    """
    old, new = pair.before, pair.after
    if old is None or new is None:
        return set()
    changed = {
        (old.name, new.name),
        (old.network, new.network),
        (cluster_context(old), cluster_context(new)),
        (cluster_namespace(old), cluster_namespace(new)),
        (find_mesh_id(old), find_mesh_id(new)),
    }
    return {(a, b) for a, b in changed if a is not None and b is not None and a != b}


def find_mesh_id(cluster: ObservedCluster) -> str | None:
    """The mesh ID."""
    return cluster.mesh_ids[0].value if cluster.mesh_ids else None


def kubectl_command(cluster: ObservedCluster, *words: str) -> str:
    """A kubectl command for a cluster, quoted for a shell."""
    return shlex.join(["kubectl", f"--context={cluster_context(cluster)}", *words])


def object_reference(thing: TreeObject) -> ObjectReference:
    """An object as its deletion needs it."""
    group, _, version = thing.api_version.rpartition("/")
    return ObjectReference(thing.kind, group, version, thing.namespace or "", thing.name)


def removal_effect(rule: str, tool: Tool, where: tuple[str, ...] = (), **words: str) -> Effect:
    """An effect of something that leaves the tree: with Argo CD and Flux it leaves the clusters
    too.
    """
    return (
        build_effect(f"{rule}-pruned", where, tool=TOOLS[tool.name].TITLE, **words)
        if TOOLS[tool.name].RECONCILES
        else build_effect(rule, where, **words)
    )


def build_change(
    cluster: str,
    kind: str,
    subject: str,
    what: str,
    file: str,
    *effects: Effect,
    details: tuple[Detail, ...] = (),
) -> Fact:
    """A fact of the group that most are of."""
    return Fact(CHANGED, kind, subject, what, cluster, file, details, effects)


def build_effect(rule: str, where: tuple[str, ...] = (), **words: str) -> Effect:
    """An effect with the words of its sentence."""
    return Effect(rule, tuple(sorted(words.items())), where)
