"""Two views side by side: what every comparison of a part needs of them."""

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from kubectl_mesh.delivery import TOOLS
from kubectl_mesh.delivery.removal import Tool
from kubectl_mesh.differences.pair import Pair
from kubectl_mesh.differences.values import CHANGED, Detail, Effect, Fact
from kubectl_mesh.observed import RawTree
from kubectl_mesh.observed.removal import context_at, holder_at, namespace_at
from kubectl_mesh.observed.values import Cluster, MeshState, Object, RemoteSecret
from kubectl_mesh.targets.teardown import delete_object, forget_peer, set_finalizer


@dataclass(frozen=True, slots=True)
class Both:
    """Two trees and their views; `made` are the clusters whose intermediate the render would make,
    so that nobody knows it yet, and "" for the root.
    """

    raw_before: RawTree = field(repr=False)
    raw_after: RawTree = field(repr=False)
    before: MeshState
    after: MeshState
    pairs: Sequence[Pair]
    made: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=dict)
    """The new name of a cluster by its old one."""
    tool: Tool = field(default_factory=Tool)
    """What applied the tree before: it deletes what leaves the tree, or nothing does."""

    def now(self, name: str) -> str:
        """The name that a cluster has now."""
        return self.renamed.get(name, name)


def told(pair: Pair) -> set[tuple[str, str]]:
    """Values that change because network, name, namespace or mesh do, which is told once and not
    wherever they stand.
    """
    old, new = pair.before, pair.after
    if old is None or new is None:
        return set()
    changed = {
        (old.name, new.name),
        (old.network, new.network),
        (context_at(old), context_at(new)),
        (namespace_at(old), namespace_at(new)),
        (mesh(old), mesh(new)),
    }
    return {(a, b) for a, b in changed if a is not None and b is not None and a != b}


def mesh(cluster: Cluster) -> str | None:
    """The mesh ID."""
    return cluster.mesh_ids[0].value if cluster.mesh_ids else None


def kubectl(cluster: Cluster, *words: str) -> str:
    """A kubectl command for a cluster, quoted for a shell."""
    return shlex.join(["kubectl", f"--context={context_at(cluster)}", *words])


def delete(cluster: Cluster, thing: Object, tool: Tool) -> tuple[str, ...]:
    """The commands that delete an object, as far as its tool does not."""
    group, _, version = thing.api.rpartition("/")
    if TOOLS[tool.name].RECONCILES:
        # Argo CD deletes the Application, and without a finalizer nothing that its chart installed.
        return (
            (set_finalizer(tool, [thing.name]),)
            if TOOLS[tool.name].NEEDS_FINALIZER and thing.kind == "Application"
            else ()
        )
    return tuple(
        delete_object(
            context_at(cluster), thing.kind, group, version, thing.namespace or "", thing.name
        )
    )


def forget(
    cluster: Cluster, secret: str, held: Collection[RemoteSecret], tool: Tool
) -> tuple[str, ...]:
    """The command by which a cluster that stays forgets a peer, as far as its tool does not."""
    return (
        ()
        if TOOLS[tool.name].RECONCILES
        else (forget_peer(holder_at(cluster, secret, held), tool),)
    )


def removal_effect(rule: str, tool: Tool, where: tuple[str, ...] = (), **words: str) -> Effect:
    """An effect of something that leaves the tree: with Argo CD and Flux it leaves the clusters
    too.
    """
    return (
        effect(f"{rule}-pruned", where, tool=TOOLS[tool.name].TITLE, **words)
        if TOOLS[tool.name].RECONCILES
        else effect(rule, where, **words)
    )


def changed(
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


def effect(rule: str, where: tuple[str, ...] = (), **words: str) -> Effect:
    """An effect with the words of its sentence."""
    return Effect(rule, tuple(sorted(words.items())), where)
