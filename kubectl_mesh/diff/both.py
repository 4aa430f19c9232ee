"""Two views side by side: what every comparison of a part needs of them."""

from collections.abc import Mapping, Sequence
from dataclasses import field

from kubectl_mesh.diff.pair import Pair
from kubectl_mesh.diff.values import CHANGED, Detail, Effect, Fact
from kubectl_mesh.frozen import dataclass
from kubectl_mesh.view import RawTree
from kubectl_mesh.view.values import Cluster, Object, View


@dataclass(frozen=True, slots=True)
class Both:
    """Two trees and their views; `made` are the clusters whose intermediate the render would make, so that nobody knows it yet, and "" for the root."""

    raw_before: RawTree = field(repr=False)
    raw_after: RawTree = field(repr=False)
    before: View
    after: View
    pairs: Sequence[Pair]
    made: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=dict)
    """The new name of a cluster by its old one."""

    def now(self, name: str) -> str:
        """The name that a cluster has now."""
        return self.renamed.get(name, name)


def told(pair: Pair) -> set[tuple[str, str]]:
    """Values that change because network, name, namespace or mesh do, which is told once and not wherever they stand."""
    old, new = pair.before, pair.after
    if old is None or new is None:
        return set()
    changed = {(old.name, new.name), (old.network, new.network), (context(old), context(new)), (namespace(old), namespace(new)), (mesh(old), mesh(new))}
    return {(a, b) for a, b in changed if a is not None and b is not None and a != b}


def context(cluster: Cluster) -> str:
    """The kubectl context of a cluster, as far as its lock tells; else its name."""
    return cluster.lock.context if cluster.lock is not None and cluster.lock.context else cluster.name


def namespace(cluster: Cluster) -> str:
    """Istio's namespace."""
    if cluster.namespace is not None:
        return cluster.namespace.value
    return cluster.lock.namespace if cluster.lock is not None and cluster.lock.namespace else "istio-system"


def mesh(cluster: Cluster) -> str | None:
    """The mesh ID."""
    return cluster.mesh_ids[0].value if cluster.mesh_ids else None


def kubectl(cluster: Cluster, *words: str) -> str:
    """A kubectl command for a cluster, quoted for a shell."""
    import shlex

    return shlex.join(["kubectl", f"--context={context(cluster)}", *words])


def delete(cluster: Cluster, thing: Object) -> str:
    """The command that deletes an object."""
    group, _, version = thing.api.rpartition("/")
    kind = f"{thing.kind.lower()}.{version}.{group}" if group else thing.kind.lower()
    return kubectl(cluster, *(("-n", thing.namespace) if thing.namespace else ()), "delete", kind, thing.name, "--ignore-not-found")


def forget(cluster: Cluster, name: str) -> str:
    """The command by which a cluster forgets a peer."""
    return kubectl(cluster, "-n", namespace(cluster), "delete", "secret", name, "--ignore-not-found")


def changed(cluster: str, kind: str, subject: str, what: str, file: str, *effects: Effect, details: tuple[Detail, ...] = ()) -> Fact:
    """A fact of the group that most are of."""
    return Fact(CHANGED, kind, subject, what, cluster, file, details, effects)


def effect(rule: str, where: tuple[str, ...] = (), **words: str) -> Effect:
    """An effect with the words of its sentence."""
    return Effect(rule, tuple(sorted(words.items())), where)
