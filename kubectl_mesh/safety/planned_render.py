"""What is known of the render that makes the new state of a mesh."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from kubectl_mesh.errors import Problem
from kubectl_mesh.model import BUNDLE_FOLDER, FolderChange, Pki, Plan
from kubectl_mesh.observed.mesh_state import MeshState, RawTree
from kubectl_mesh.safety.reconnections import LoginChange
from kubectl_mesh.targets.target import Target


@dataclass(frozen=True, kw_only=True)
class PlannedRender:
    """A render that is about to be written, as far as a review asks for it."""

    now: datetime
    plan: Plan
    pki: Pki = field(repr=False)
    changes: Sequence[FolderChange]
    target: Target
    directory: str
    """The working directory, as messages show it."""
    rendered_folders: frozenset[str]
    """The directories that the render makes."""
    existing_clusters: frozenset[str]
    """The clusters that have a tree."""
    unapplied_clusters: frozenset[str] = frozenset()
    """The clusters that run nothing of their tree."""
    last_commit: MeshState | None = None
    """The tree as the last commit has it, where that is not what is on disk."""
    last_commit_problems: tuple[Problem, ...] = ()
    """Why the last commit cannot be read."""
    login_changes: Mapping[tuple[str, str], LoginChange] = field(default_factory=dict)
    """By directory and peer, what happens to remote secrets that another store holds from now on,
    or others can open.
    """
    existing_files: RawTree | None = field(default=None, repr=False)
    """The files of the existing tree that say what leaves it; None where nothing asks for that."""
    has_login: Callable[[str, str], bool] = lambda holder, peer: False
    """Whether the remote secret of a peer in the tree of a holder is seen to have the login that
    the render gives it.
    """

    @property
    def running_clusters(self) -> frozenset[str]:
        """The clusters that have a tree and may run it."""
        return self.existing_clusters - self.unapplied_clusters

    @cached_property
    def running_changes(self) -> tuple[FolderChange, ...]:
        """The changes of directories that clusters may run."""
        return tuple(
            change
            for change in self.changes
            if change.name not in self.unapplied_clusters
            and (change.name != BUNDLE_FOLDER or self.running_clusters)
        )

    @property
    def is_changing(self) -> bool:
        """Whether the render changes anything that clusters may run."""
        return any(change.has_differences for change in self.running_changes)

    @cached_property
    def peers(self) -> Mapping[str, frozenset[str]]:
        """By cluster, those that it is meant to read."""
        return {name: frozenset(member.peers) for name, member in self.plan.members.items()}

    def is_peer(self, holder: str, peer: str) -> bool:
        """Whether a cluster is meant to read another one."""
        return peer in self.peers.get(holder, ())
