"""The rendered tree, read for the checks of its content."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kubectl_mesh.checks.context import TreeContext
from kubectl_mesh.model import FolderChange, Topology
from kubectl_mesh.observed import TreeReader
from kubectl_mesh.observed.mesh_state import MeshState
from kubectl_mesh.observed.tree_sources import convert_rendered_tree, read_tree, read_tree_files
from kubectl_mesh.operations.build import RenderedMesh
from kubectl_mesh.topology.peers import list_peers

_SAME = ("identical", "tighten")


@dataclass(frozen=True, slots=True)
class TreeReading:
    """Where a tree is, and what it is compared with."""

    out: str
    topology: Topology
    now: datetime
    fail_within: timedelta | None
    explained: frozenset[str]
    """Files (with `out`) that a problem of the inputs is about already."""

    def read_alone(self) -> TreeContext:
        """The whole tree, for inputs that cannot be rendered."""
        state = TreeReader(foreign=True).read_state(read_tree(self.out))
        return TreeContext(
            self.out,
            state,
            None,
            self.topology,
            list_peers(self.topology),
            None,
            {},
            self.now,
            self.fail_within,
            _differing_from_locks(state),
            explained_files=self.explained,
        )

    def read_compared(self, made: RenderedMesh, changes: Sequence[FolderChange]) -> TreeContext:
        """The files that a render changes, and what it makes of them. What is as a render makes it
        needs no second look.
        """
        only = {
            c.name: {f.path for f in c.changes if f.action not in _SAME} | {*c.foreign_files}
            for c in changes
            if is_different(c)
        }
        state = TreeReader(foreign=True).read_state(read_tree_files(self.out, only))
        pki = made.pki
        roots = frozenset(c.fingerprint for c in pki.roots) or None
        intermediates = {n: i.certificate.fingerprint for n, i in pki.intermediates.items()}
        return TreeContext(
            self.out,
            state,
            _rendered_state(made, only),
            self.topology,
            list_peers(self.topology),
            roots if not pki.new_files else None,
            intermediates if not pki.new_files else {},
            self.now,
            self.fail_within,
            {
                f"{c.name}/{f.path}": "deleted" if f.action == "create" else "edited"
                for c in changes
                for f in c.changes
                if f.was_edited
            },
            frozenset(
                f"{c.name}/{f.path}" for c in changes for f in c.changes if f.action in _SAME
            ),
            frozenset(f"{name}/{path}" for name, folder in made.tree.items() for path in folder),
            self.explained,
        )


def is_different(change: FolderChange) -> bool:
    """Whether a directory holds anything but what a render makes."""
    return change.has_differences or bool(change.foreign_files)


def _rendered_state(made: RenderedMesh, only: Mapping[str, set[str]]) -> MeshState:
    folders = {
        name: {path: made.tree[name][path] for path in paths if path in made.tree[name]}
        for name, paths in only.items()
        if name in made.tree
    }
    return TreeReader().read_state(convert_rendered_tree(folders))


def _differing_from_locks(state: MeshState) -> dict[str, str]:
    """The files that differ from the locks in the tree: `edited` or `deleted`."""
    locks = [(n, d.lock) for n, d in state.clusters.items() if d.lock is not None]
    edited = {f"{n}/{path}": "edited" for n, lock in locks for path in lock.edited_files}
    return edited | {f"{n}/{path}": "deleted" for n, lock in locks for path in lock.missing_files}
