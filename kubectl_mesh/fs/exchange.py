"""Replaces `certs/` as a whole, so that files that belong together change together even if the run
is killed.

The new folder is built next to the old one from links to unchanged files and from new files. It is
synced and exchanged with the old one in one system call. An inventory in it lists the files of the
old folder: a file that is not in the inventory was added meanwhile, and is moved to the new folder.
"""

import contextlib
import errno
import json
import os
import shlex
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kubectl_mesh.errors import MeshError, Place, Problem, refuse
from kubectl_mesh.fs import durable
from kubectl_mesh.fs.durable import (
    RENAME_EXCHANGE,
    STAGE_PREFIX,
    has_same_content,
    require_folder,
    restore_file,
    write_file,
)
from kubectl_mesh.fs.folders import FOLDER_FLAGS, join_path, open_folder, read_regular_file
from kubectl_mesh.model import PRIVATE_ENDINGS, PRIVATE_FOLDER, PRIVATE_MODE, CertsChange

CERTS_FOLDER = "certs"
STAGED_CERTS = ".kubectl-mesh-certs"
"""The new folder before the exchange, and the old one after it."""
_OLD_CERTS = f"{STAGED_CERTS}.old"
"""The old folder where the system cannot exchange names."""
_INVENTORY = f"{STAGE_PREFIX}-list"
"""A file in the new folder: path -> inode of the files of the old one."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file or a folder of `certs/`."""

    path: str
    status: os.stat_result

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)


def exchange_certificates(directory: str, change: CertsChange) -> None:
    """Applies a change to `certs/` of a working directory, whose lock the caller holds. No private
    file is ever lost.
    """
    place = join_path(directory, CERTS_FOLDER)
    top = os.open(os.path.realpath(directory), FOLDER_FLAGS)
    try:
        old = require_folder(open_folder(CERTS_FOLDER, top), place)
        try:
            entries = list(_walk_entries(old))
            _require_writable_folders(old, entries, place)
            _build_folder(top, old, entries, change, place)
        except BaseException:
            with contextlib.suppress(OSError):
                _recover(top)
            raise
        finally:
            os.close(old)
        try:
            exchanged = durable.libc_rename(top, STAGED_CERTS, top, CERTS_FOLDER, RENAME_EXCHANGE)
            if not exchanged:
                # No folder has the name for a moment; if the run ends there, `recover_exchange`
                # restores it.
                os.rename(CERTS_FOLDER, _OLD_CERTS, src_dir_fd=top, dst_dir_fd=top)
                os.rename(STAGED_CERTS, CERTS_FOLDER, src_dir_fd=top, dst_dir_fd=top)
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.EXDEV):
                raise
            raise refuse(
                place,
                "is a mount point, and cannot be exchanged as a whole",
                "mount what is above it, or make it a folder",
                code="mount-point",
            ) from None
        os.fsync(top)
        _recover(top)
    finally:
        os.close(top)


def _require_writable_folders(old: int, entries: list[_Entry], place: str) -> None:
    """Raises a `MeshError` for folders that cannot be removed after the exchange, before anything
    is built.
    """
    bare = [
        path
        for path in (".", *(e.path for e in entries if e.is_folder))
        if not os.access(path, os.W_OK | os.X_OK, dir_fd=old)
    ]
    if bare:
        where = [place if path == "." else f"{place}/{path}" for path in bare]
        fix = (
            "give yourself the right to write, for it is exchanged as a whole: chmod -R u+w"
            f" {shlex.quote(place)}"
        )
        raise MeshError(
            Problem(Place(path), "cannot be written to", fix, code="certs-not-writable")
            for path in where
        )


def recover_exchange(directory: str) -> None:
    """Completes or reverts an exchange that was killed: removes the new folder if it never had the
    name `certs`, otherwise the old one.
    """
    if not any(
        os.path.lexists(os.path.join(directory, name))
        for name in (STAGED_CERTS, _OLD_CERTS, f"{CERTS_FOLDER}/{_INVENTORY}")
    ):
        return
    top = os.open(os.path.realpath(directory), FOLDER_FLAGS)
    try:
        _recover(top)
    except PermissionError:
        left = join_path(
            directory,
            next((name for name in (STAGED_CERTS, _OLD_CERTS) if _exists(name, top)), CERTS_FOLDER),
        )
        fix = (
            f"give yourself the right to write, and run it again: chmod -R u+w {shlex.quote(left)}"
        )
        raise refuse(
            left,
            "holds what a run that did not end has left, and cannot be written to",
            fix,
            code="leftover-not-writable",
        ) from None
    finally:
        os.close(top)


def _recover(top: int) -> None:
    if _exists(_OLD_CERTS, top) and not _exists(CERTS_FOLDER, top):
        os.rename(_OLD_CERTS, CERTS_FOLDER, src_dir_fd=top, dst_dir_fd=top)
    for name in (STAGED_CERTS, _OLD_CERTS):
        folder = open_folder(name, top)
        if folder is None:
            continue
        try:
            new = _exists(_INVENTORY, folder)
            _empty_folder(top, folder, None if new else _read_inventory(top))
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=top)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{CERTS_FOLDER}/{_INVENTORY}", dir_fd=top)


def _exists(path: str, folder: int) -> bool:
    try:
        os.stat(path, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _walk_entries(folder: int, prefix: str = "") -> Iterator[_Entry]:
    """The entries below a folder, each folder before its content; unfinished files of killed runs
    are skipped.
    """
    for name in sorted(os.listdir(folder)):
        if name.startswith(f"{STAGE_PREFIX}-"):
            continue
        entry = _Entry(prefix + name, os.stat(name, dir_fd=folder, follow_symlinks=False))
        yield entry
        if entry.is_folder:
            inner = require_folder(open_folder(name, folder), entry.path)
            try:
                yield from _walk_entries(inner, f"{entry.path}/")
            finally:
                os.close(inner)


def _new_path(path: str, moved: Mapping[str, str]) -> str:
    """The path of an existing entry in the new folder."""
    for stop in (len(path), *(i for i in range(len(path) - 1, 0, -1) if path[i] == "/")):
        if path[:stop] in moved:
            return moved[path[:stop]] + path[stop:]
    return path


def _build_folder(
    top: int, old: int, entries: list[_Entry], change: CertsChange, place: str
) -> None:
    """Builds the new folder completely, and syncs it."""
    os.mkdir(STAGED_CERTS, PRIVATE_FOLDER, dir_fd=top)
    new = os.open(STAGED_CERTS, FOLDER_FLAGS, dir_fd=top)
    try:
        inventory = json.dumps({e.path: e.status.st_ino for e in entries if not e.is_folder})
        write_file(_INVENTORY, inventory.encode(), PRIVATE_MODE, new, sync=True)
        folders: dict[str, os.stat_result | None] = {}
        for entry in entries:
            target = _new_path(entry.path, change.rename)
            if entry.is_folder:
                # A renamed folder goes to the archive or is one of ours: private in both cases.
                folders[target] = entry.status if target == entry.path else None
            elif entry.path in change.delete or target in change.write:
                _refuse_key_loss(old, entry, change, place)
            else:
                _make_folder(new, target.rpartition("/")[0], folders)
                _link_or_copy(old, entry.path, new, target)
        for path, body in change.write.items():
            _make_folder(new, path.rpartition("/")[0], folders)
            write_file(
                path,
                body,
                PRIVATE_MODE if path.endswith(PRIVATE_ENDINGS) else 0o666,
                new,
                sync=True,
            )
        for path in list(folders):
            _make_folder(new, path, folders)
        for path in sorted(folders, key=lambda p: p.count("/"), reverse=True):
            _finish_folder(new, path, folders[path])
        _finish_folder(new, ".", os.fstat(old))
    finally:
        os.close(new)


def _refuse_key_loss(old: int, entry: _Entry, change: CertsChange, place: str) -> None:
    """Raises a `MeshError` if a private file would be lost: it can only be moved, or written again
    unchanged.
    """
    if not entry.path.endswith(PRIVATE_ENDINGS):
        return
    body = read_regular_file(entry.path, old)
    if body is None or body[0] not in change.write.values():
        raise refuse(
            f"{place}/{entry.path}",
            "is private, and would be lost",
            "report this: it is a fault of kubectl mesh",
            code="private-file-would-be-lost",
        )


def _make_folder(new: int, path: str, folders: dict[str, os.stat_result | None]) -> None:
    """Creates a folder and its parents in the new folder."""
    if not path:
        return
    _make_folder(new, path.rpartition("/")[0], folders)
    try:
        os.mkdir(path, PRIVATE_FOLDER, dir_fd=new)
        folders.setdefault(path, None)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(path, dir_fd=new, follow_symlinks=False).st_mode):
            raise refuse(
                f"{CERTS_FOLDER}/{path}",
                "is in the way: a folder belongs there",
                "move it away",
                code="not-a-folder",
            ) from None


def _finish_folder(new: int, path: str, status: os.stat_result | None) -> None:
    """Gives a folder the mode and the owner of its predecessor, and syncs it."""
    folder = os.open(path, FOLDER_FLAGS, dir_fd=new)
    try:
        if status is not None:
            with contextlib.suppress(PermissionError):
                os.fchown(folder, status.st_uid, status.st_gid)
            os.fchmod(folder, stat.S_IMODE(status.st_mode))
        os.fsync(folder)
    finally:
        os.close(folder)


def _link_or_copy(old: int, path: str, new: int, target: str) -> None:
    """Links a file into the new folder; copies it on a file system without hard links."""
    try:
        os.link(path, target, src_dir_fd=old, dst_dir_fd=new, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (
            errno.EPERM,
            errno.EMLINK,
            errno.ENOTSUP,
            errno.ENOSYS,
            errno.EACCES,
        ):
            raise
        status = os.stat(path, dir_fd=old, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(path, dir_fd=old), target, dir_fd=new)
            return
        content = read_regular_file(path, old)
        if content is None:
            raise refuse(
                path,
                "is no regular file, and this file system has no hard links to carry it over",
                "move it away",
                code="not-a-regular-file",
            ) from None
        write_file(target, content[0], content[1], new, sync=True)


def _read_inventory(top: int) -> Mapping[str, int]:
    """The inventory of the old folder: path -> inode."""
    certs = open_folder(CERTS_FOLDER, top)
    if certs is None:
        return {}
    try:
        content = read_regular_file(_INVENTORY, certs)
    finally:
        os.close(certs)
    try:
        return dict(json.loads(content[0])) if content is not None else {}
    except (ValueError, TypeError, RecursionError):
        return {}


def _empty_folder(top: int, folder: int, known: Mapping[str, int] | None, prefix: str = "") -> None:
    """Removes the content of a folder: everything if `known` is None, otherwise what the inventory
    lists. The rest is moved to the new folder.
    """
    # The inventory is removed last: while it exists, this folder never had the name `certs`.
    for name in sorted(os.listdir(folder), key=lambda n: not prefix and n == _INVENTORY):
        path, status = prefix + name, os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            inner = require_folder(open_folder(name, folder), path)
            try:
                _empty_folder(
                    top, inner, None if name.startswith(f"{STAGE_PREFIX}-") else known, f"{path}/"
                )
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=folder)
        elif (
            known is None
            or known.get(path) == status.st_ino
            or name.startswith(f"{STAGE_PREFIX}-")
            or has_same_content(folder, name, top, f"{CERTS_FOLDER}/{path}")
        ):
            os.unlink(name, dir_fd=folder)
        else:
            restore_file(folder, name, top, f"{CERTS_FOLDER}/{path}")
