"""File operations on descriptors: files get their mode at creation, nothing is replaced by
accident, and no symbolic link is followed.
"""

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from kubectl_mesh.errors import MeshError, refuse
from kubectl_mesh.fs.folders import open_folder, read_regular_file

STAGE_PREFIX = ".kubectl-mesh-stage"

CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

RENAME_EXCHANGE, RENAME_NO_REPLACE = 2, 1

ASK_OWNER_FIX = "ask its owner for the right to write"
"""The remedy for a folder that this user cannot write to."""
NOT_WRITABLE = "not-writable"
"""The code of a path that this user cannot write to."""


def require_folder(folder: int | None, name: str) -> int:
    """The descriptor of a folder; raises a `MeshError` if the folder vanished."""
    if folder is None:
        raise refuse(name, "vanished while it was written", code="folder-vanished")
    return folder


def require_writable(path: str) -> None:
    """Raises a `MeshError` if an existing folder cannot be written to, before anything is
    written.
    """
    if os.path.isdir(path) and not os.access(path, os.W_OK | os.X_OK):
        raise refuse(path, "cannot be written to", ASK_OWNER_FIX, code=NOT_WRITABLE)


def make_folder(path: str, mode: int = 0o777) -> None:
    """Creates a folder and its missing parents; `mode` applies from the start."""
    if path and not os.path.isdir(path):
        make_folder(os.path.dirname(path))
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise refuse(
                    os.path.dirname(path) or ".",
                    "cannot be written to",
                    ASK_OWNER_FIX,
                    code=NOT_WRITABLE,
                ) from None
            raise
        above = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(above)  # a folder whose name is lost is lost with its content
        finally:
            os.close(above)


def write_file(name: str, body: bytes, mode: int, folder: int, *, sync: bool = False) -> None:
    """Creates a file with its mode and writes it. `folder` is a descriptor."""
    descriptor = os.open(name, CREATE_FLAGS, mode, dir_fd=folder)
    try:
        view = memoryview(body)
        while view:
            view = view[os.write(descriptor, view) :]
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@lru_cache(maxsize=1)
def _rename_call() -> Any:
    """renameat2(2), on macOS renameatx_np, elsewhere None. Cached, because the lookup costs more
    than the call.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    return getattr(libc, "renameat2", None) or getattr(libc, "renameatx_np", None)


def libc_rename(
    source_folder: int, source: str, target_folder: int, target: str, flags: int
) -> bool:
    """Calls renameat2(2) (renameatx_np on macOS); False where the system or the file system does
    not support it.
    """
    call = _rename_call()
    if call is None:
        return False
    value = (
        flags if call.__name__ == "renameat2" else {RENAME_EXCHANGE: 2, RENAME_NO_REPLACE: 4}[flags]
    )
    if (
        call(
            source_folder,
            os.fsencode(source),
            target_folder,
            os.fsencode(target),
            ctypes.c_uint(value),
        )
        == 0
    ):
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), target)


def publish_staged(top: int, staged: str, name: str) -> None:
    """Renames a staged file or folder to its final name, unless that name exists."""
    if not libc_rename(top, staged, top, name, RENAME_NO_REPLACE):
        os.rename(staged, name, src_dir_fd=top, dst_dir_fd=top)


@contextlib.contextmanager
def open_parent(root: int, path: str) -> Iterator[tuple[int, str]]:
    """A context with the descriptor of the parent folder of `path` below `root`, and the last name.
    No link is followed.
    """
    parts = path.split("/")
    current, opened = root, []
    try:
        for part in parts[:-1]:
            current = require_folder(open_folder(part, current), part)
            opened.append(current)
        yield current, parts[-1]
    finally:
        for descriptor in opened:
            os.close(descriptor)


def has_same_content(folder: int, last: str, top: int, path: str) -> bool:
    """Whether the file at `path` below `top` has the same bytes, or is the same link, as `last` in
    `folder`.
    """
    try:
        with open_parent(top, path) as (above, name):
            mine, theirs = read_regular_file(last, folder), read_regular_file(name, above)
            if mine is not None and theirs is not None:
                return mine[0] == theirs[0]
            return (
                mine is None
                and theirs is None
                and os.readlink(last, dir_fd=folder) == os.readlink(name, dir_fd=above)
            )
    except (OSError, MeshError):
        return False


def restore_file(folder: int, last: str, top: int, path: str) -> None:
    """Renames a staged file to `path` below `top`, or to `path.kept-NUMBER` where that name
    exists.
    """
    parts = path.split("/")
    for stop in range(1, len(parts)):
        with (
            open_parent(top, "/".join(parts[:stop])) as (above, name),
            contextlib.suppress(FileExistsError),
        ):
            os.mkdir(name, 0o777, dir_fd=above)
    with open_parent(top, path) as (above, name):
        target, number = name, 0
        while True:
            try:
                os.stat(target, dir_fd=above, follow_symlinks=False)
            except FileNotFoundError:
                break
            number += 1
            target = f"{name}.kept-{number}"
        os.rename(last, target, src_dir_fd=folder, dst_dir_fd=above)
