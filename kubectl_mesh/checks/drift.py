"""What differs between the rendered tree and a render, without what other findings cover."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kubectl_mesh.checks.context import Comparison, TreeContext
from kubectl_mesh.errors import Place
from kubectl_mesh.model import MESH_LOCK, Change, FolderChange, Json
from kubectl_mesh.observed.mesh_state import Directory, MeshState, TreeObject
from kubectl_mesh.text import single_line


@dataclass(frozen=True, slots=True)
class FolderDrift:
    """The differences of one directory."""

    change: FolderChange
    place: Place
    edited: tuple[Change, ...]
    """Files that a person edited or deleted."""
    stale: tuple[str, ...]
    """Files that a render removes."""
    outdated: tuple[str, ...]
    """Files that a render creates or updates, but for a lock that differs with other files."""
    foreign: tuple[str, ...]
    """Files that a render does not know."""

    def file(self, path: str) -> Place:
        """The place of a file in the directory."""
        return Place(f"{self.place.file}/{path}")


@dataclass(frozen=True, slots=True)
class Drift:
    """The differences of a tree."""

    folders: tuple[FolderDrift, ...]
    foreign_entries: tuple[Place, ...]
    """What is next to the directories and is not rendered."""
    is_refused: bool
    """A render refuses to change the tree, so it is not out of date because nobody rendered."""
    makes_certificates: bool


def find_drift(comparison: Comparison, covered: Container[str]) -> Drift:
    """The differences, without the files in `covered` (with `out`)."""
    return Drift(
        tuple(_folder_drift(comparison.out, change, covered) for change in comparison.changes),
        tuple(
            Place(f"{comparison.out}/{single_line(name)}") for name in comparison.foreign_entries
        ),
        bool(comparison.refusals),
        comparison.makes_certificates,
    )


def _folder_drift(out: str, change: FolderChange, covered: Container[str]) -> FolderDrift:
    base = f"{out}/{change.name}"
    rest = [c for c in change.changes if f"{base}/{c.path}" not in covered]
    edited = tuple(c for c in rest if c.was_edited)
    stale = tuple(c.path for c in rest if c.action == "remove" and not c.was_edited)
    differing = [c.path for c in rest if c.action in ("create", "update") and not c.was_edited]
    # The lock lists the others: it differs with them.
    is_lock_alone = differing == [MESH_LOCK] and bool(
        edited or stale or len(rest) < len(change.changes)
    )
    return FolderDrift(
        change,
        Place(base),
        edited,
        stale,
        () if is_lock_alone else tuple(differing),
        tuple(path for path in change.foreign_files if f"{base}/{path}" not in covered),
    )


def covered_kustomizations(tree: TreeContext, covered: Container[str]) -> frozenset[str]:
    """The kustomizations (with `out`) that differ from a render in the files that they list alone,
    and in no files but those of `covered`.
    """
    if tree.expected_state is None:
        return frozenset()
    known = {o.file: o for o in _kustomizations(tree.expected_state)}
    return frozenset(
        f"{tree.out}/{seen.file}"
        for seen in _kustomizations(tree.state)
        if seen.file in known and _lists_other_files(tree.out, seen, known[seen.file], covered)
    )


def _kustomizations(state: MeshState) -> Iterator[TreeObject]:
    directories: Sequence[Directory] = (
        *state.clusters.values(),
        *state.shared_directories.values(),
    )
    return (o for d in directories for o in d.objects if o.kind == "Kustomization")


def _lists_other_files(
    out: str, seen: TreeObject, meant: TreeObject, covered: Container[str]
) -> bool:
    if seen.digest == meant.digest or _other_fields(seen) != _other_fields(meant):
        return False
    listed, wanted = _resources(seen.fields), _resources(meant.fields)
    folder = f"{out}/{seen.file.rpartition('/')[0]}"
    return listed != wanted and all(f"{folder}/{name}" in covered for name in listed ^ wanted)


def _other_fields(kustomization: TreeObject) -> dict[str, Json]:
    return {k: v for k, v in kustomization.fields.items() if not k.startswith("resources")}


def _resources(fields: Mapping[str, Json]) -> set[str]:
    value = fields.get("resources")
    return {str(name) for name in value} if isinstance(value, list) else set()
