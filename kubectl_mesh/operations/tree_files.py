"""The files of a tree, on disk and of a render, each read when it is asked for."""

import os
from collections.abc import Iterator, Mapping
from functools import cached_property

from kubectl_mesh.fs.folders import read_regular_file
from kubectl_mesh.fs.read import read_file
from kubectl_mesh.model import MESH_LOCK, Folder
from kubectl_mesh.tree.lock_file import parse_lock


class DiskFiles(Mapping[str, "bytes | None"]):
    """The files of a directory as its lock lists them; each is read when it is asked for.

    Where a render makes what the lock says, a file that a person edited or deleted counts as it was
    rendered.
    """

    def __init__(self, folder: str, rendered: Folder) -> None:
        self._folder, self._rendered = folder, rendered
        self._known: dict[str, bytes | None] = {}

    @cached_property
    def _listed(self) -> Mapping[str, str] | None:
        """The digests in the lock; None where it cannot be read."""
        lock = parse_lock(read_file(os.path.join(self._folder, MESH_LOCK), "lock"))
        return None if lock is None else lock.files

    def __getitem__(self, path: str) -> bytes | None:
        if path not in self:
            raise KeyError(path)
        if path not in self._known:
            self._known[path] = self._read(path)
        return self._known[path]

    def _read(self, path: str) -> bytes | None:
        same = self._rendered.get(path)
        if (
            path != MESH_LOCK
            and same is not None
            and self._listed is not None
            and self._listed.get(path) == same.digest
        ):
            return same.body
        found = read_regular_file(
            os.path.join(self._folder, path), kind="lock" if path == MESH_LOCK else "manifest"
        )
        return found[0] if found is not None else None

    def __contains__(self, path: object) -> bool:
        if not isinstance(path, str):
            return False
        return os.path.lexists(os.path.join(self._folder, path)) or (
            self._listed is not None and path in self._listed
        )

    def __iter__(self) -> Iterator[str]:
        return iter((*self._listed, MESH_LOCK)) if self._listed is not None else self._walk()

    def _walk(self) -> Iterator[str]:
        """Every file, where the lock cannot say."""
        for above, _, names in os.walk(self._folder):
            yield from (
                os.path.relpath(os.path.join(above, name), self._folder).replace(os.sep, "/")
                for name in names
            )

    def __len__(self) -> int:
        return sum(1 for _ in self)


class RenderedFiles(Mapping[str, "bytes | None"]):
    """The files of a directory that a render makes."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def __getitem__(self, path: str) -> bytes:
        return self._folder[path].body

    def __iter__(self) -> Iterator[str]:
        return iter(self._folder)

    def __len__(self) -> int:
        return len(self._folder)
