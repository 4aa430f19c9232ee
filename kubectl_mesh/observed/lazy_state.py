"""The state of a tree that parses a directory on first access."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from kubectl_mesh.model import MESH_LOCK, REMOTE_SECRETS_PREFIX
from kubectl_mesh.observed import TreeReader
from kubectl_mesh.observed.mesh_state import Files, MeshState, ObservedCluster, RawTree
from kubectl_mesh.tree.lock_file import LockFile, parse_lock

_NAMESPACE = "1-trust/namespace.yaml"
_Value = TypeVar("_Value")


class _Lazy(Mapping[str, _Value]):
    """Values by name, each parsed on first access."""

    def __init__(self, names: Iterator[str], parse: Callable[[str], _Value]) -> None:
        self._names, self._parse = dict.fromkeys(names), parse
        self._known: dict[str, _Value] = {}

    def __getitem__(self, name: str) -> _Value:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._known:
            self._known[name] = self._parse(name)
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def has_same_public_files(one: Files, other: Files) -> bool:
    """Whether two directories of a cluster have the same files, of those that `open_tree`
    parses.
    """
    return all(
        one.get(path) == other.get(path)
        for path in {*one, *other}
        if path == _NAMESPACE or is_public_manifest(path)
    )


def is_public_manifest(path: str) -> bool:
    """Whether a file of a cluster is a manifest of its control plane or mesh without a login."""
    return (
        path.endswith(".yaml")
        and path.startswith(("2-control-plane/", "3-mesh/"))
        and not path.startswith(REMOTE_SECRETS_PREFIX)
    )


def open_tree(tree: RawTree, reader: TreeReader | None = None) -> MeshState:
    """The state of a tree, parsed on first access; content that `reader` has parsed before is
    reused.

    A cluster is a directory with a lock. Its public files are read even if the lock does not list
    them, because some tools apply every file of a directory.
    """
    known = reader or TreeReader(foreign=True)

    def parse(name: str) -> ObservedCluster:
        files = tree[name]
        read = {
            path: files[path] for path in files if path == _NAMESPACE or is_public_manifest(path)
        }
        return known.read_state({name: {**read, MESH_LOCK: files.get(MESH_LOCK)}}).clusters[name]

    clusters = (n for n in tree if n and not n.startswith("_") and MESH_LOCK in tree[n])
    locks = _Lazy(
        (n for n in tree if n), lambda n: parse_lock(tree[n].get(MESH_LOCK)) or LockFile()
    )
    return MeshState(_Lazy(clusters, parse), {}, tree=tree, locks=locks)


def open_trees(before: RawTree, after: RawTree) -> tuple[MeshState, MeshState]:
    """The states of two trees; identical content is parsed once."""
    reader = TreeReader(foreign=True)
    return open_tree(before, reader), open_tree(after, reader)


def exclude_clusters(state: MeshState, names: frozenset[str]) -> MeshState:
    """The state without some clusters."""
    return MeshState(
        _Lazy((n for n in state.clusters if n not in names), state.clusters.__getitem__),
        state.shared_directories,
        tree={n: files for n, files in state.tree.items() if n not in names},
        locks=_Lazy((n for n in state.locks if n not in names), state.locks.__getitem__),
    )
