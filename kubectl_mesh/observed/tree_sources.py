"""Trees as bytes: read from disk without following links, or converted from a render."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from kubectl_mesh.errors import MeshError
from kubectl_mesh.fs.folders import open_folder, prefix_places, read_regular_file
from kubectl_mesh.fs.read import UnreadableError
from kubectl_mesh.model import FolderOnDisk, Tree
from kubectl_mesh.tree.compare import scan_folder


@dataclass(frozen=True, slots=True)
class DiskTree:
    """A tree on disk: its directories by name, and the files next to them."""

    directories: Mapping[str, FolderOnDisk]
    loose_files: Mapping[str, bytes | None]

    def to_raw_tree(self) -> dict[str, dict[str, bytes | None]]:
        """The bytes of all files; None if it is not a regular file."""
        found: dict[str, dict[str, bytes | None]] = {
            name: {path: body for path, (body, _) in disk.files.items()}
            | dict.fromkeys(disk.other_entries)
            for name, disk in self.directories.items()
        }
        return {**found, "": dict(self.loose_files)} if self.loose_files else found


def read_tree(out: str) -> dict[str, dict[str, bytes | None]]:
    """The bytes of the tree in a folder; empty if the folder does not exist."""
    return scan_tree(out).to_raw_tree()


def scan_tree(out: str) -> DiskTree:
    """The tree in a folder; empty if the folder does not exist. Folders whose name begins with a
    dot are ignored.
    """
    top = open_folder(out)
    if top is None:
        return DiskTree({}, {})
    found: dict[str, FolderOnDisk] = {}
    beside: dict[str, bytes | None] = {}
    try:
        with os.scandir(top) as entries:
            listed = sorted(entries, key=lambda e: e.name)
        for entry in listed:
            if entry.is_dir(follow_symlinks=False):
                with prefix_places(out):
                    folder = None if entry.name.startswith(".") else open_folder(entry.name, top)
                if folder is None:
                    continue
                try:
                    with prefix_places(f"{out}/{entry.name}"):
                        found[entry.name] = scan_folder(folder)
                finally:
                    os.close(folder)
            else:
                beside[entry.name] = _read_body(entry.name, top, "foreign")
    finally:
        os.close(top)
    return DiskTree(found, beside)


def read_tree_files(
    out: str, only: Mapping[str, Collection[str]]
) -> dict[str, dict[str, bytes | None]]:
    """The existing files among these files of these directories."""
    found: dict[str, dict[str, bytes | None]] = {}
    top = open_folder(out)
    if top is None:
        return found
    try:
        for name, paths in only.items():
            found[name] = {}
            for above in sorted({path.rpartition("/")[0] for path in paths}):
                with prefix_places(out):
                    folder = _open_below(top, [name, *filter(None, above.split("/"))])
                if folder is None:
                    continue
                try:
                    for path in paths:
                        parent, _, file = path.rpartition("/")
                        if parent == above and file and _exists(file, folder):
                            with prefix_places(os.path.join(out, name, above)):
                                found[name][path] = _read_body(file, folder, "manifest")
                finally:
                    os.close(folder)
    finally:
        os.close(top)
    return found


def _read_body(name: str, folder: int, kind: str) -> bytes | None:
    """The bytes of a file; None if it is not a regular file, or too large."""
    try:
        found = read_regular_file(name, folder, kind)
    except UnreadableError:
        raise
    except MeshError:
        return None
    return None if found is None else found[0]


def _exists(file: str, folder: int) -> bool:
    try:
        os.stat(file, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _open_below(folder: int, steps: list[str]) -> int | None:
    """A descriptor of a nested folder; None if a step is missing, a link or a file."""
    current = os.dup(folder)
    for step in steps:
        try:
            inner = open_folder(step, current)
        except UnreadableError:
            raise
        except MeshError:
            inner = None
        finally:
            os.close(current)
        if inner is None:
            return None
        current = inner
    return current


def convert_rendered_tree(tree: Tree) -> dict[str, dict[str, bytes | None]]:
    """The bytes of a rendered tree."""
    return {
        name: {path: file.body for path, file in folder.items()} for name, folder in tree.items()
    }
