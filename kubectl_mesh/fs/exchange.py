"""`certs/` as a whole exchanged for another: what belongs together changes together, whatever kills
the run.

The new folder is built beside the old one, of links to the files that stay and of new files,
synced, and exchanged with it in one system call. A list in it says what the old one held: what is
not in that list came meanwhile, and goes back.
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
from kubectl_mesh.fs.durable import EXCHANGE, STAGE, must, put_back, same_there, write_file
from kubectl_mesh.fs.folders import FOLDER, join, open_folder, read
from kubectl_mesh.model import PRIVATE_ENDINGS, PRIVATE_FOLDER, PRIVATE_MODE, Exchange

CERTS = "certs"
STAGE_CERTS = ".kubectl-mesh-certs"
"""The folder that is built, and then the old one."""
_ASIDE = f"{STAGE_CERTS}.old"
"""The old one where the system cannot exchange names."""
_LIST = f"{STAGE}-list"
"""In the new folder: what the old one held, path -> inode."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file or a folder of `certs/`."""

    path: str
    status: os.stat_result

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)


def exchange_certificates(directory: str, change: Exchange) -> None:
    """Makes `certs/` of a working directory what `change` says; the lock is held. No private file
    is ever lost by it.
    """
    place = join(directory, CERTS)
    top = os.open(os.path.realpath(directory), FOLDER)
    try:
        old = must(open_folder(CERTS, top), place)
        try:
            entries = list(_walk(old))
            _must_be_ours(old, entries, place)
            _build(top, old, entries, change, place)
        except BaseException:
            with contextlib.suppress(OSError):
                _settle(top)
            raise
        finally:
            os.close(old)
        try:
            exchanged = durable.libc_rename(top, STAGE_CERTS, top, CERTS, EXCHANGE)
            if not exchanged:
                # The name is free for a moment; should the run end there, `settle` gives it back.
                os.rename(CERTS, _ASIDE, src_dir_fd=top, dst_dir_fd=top)
                os.rename(STAGE_CERTS, CERTS, src_dir_fd=top, dst_dir_fd=top)
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
        _settle(top)
    finally:
        os.close(top)


def _must_be_ours(old: int, entries: list[_Entry], place: str) -> None:
    """Refuses folders out of which nothing may be taken, before anything is built: the old ones
    have to go once they are exchanged.
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


def settle(directory: str) -> None:
    """Puts right what a killed exchange left: the new folder goes where it never had the name, else
    the old one does.
    """
    if not any(
        os.path.lexists(os.path.join(directory, name))
        for name in (STAGE_CERTS, _ASIDE, f"{CERTS}/{_LIST}")
    ):
        return
    top = os.open(os.path.realpath(directory), FOLDER)
    try:
        _settle(top)
    except PermissionError:
        left = join(
            directory, next((name for name in (STAGE_CERTS, _ASIDE) if _there(name, top)), CERTS)
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


def _settle(top: int) -> None:
    if _there(_ASIDE, top) and not _there(CERTS, top):
        os.rename(_ASIDE, CERTS, src_dir_fd=top, dst_dir_fd=top)
    for name in (STAGE_CERTS, _ASIDE):
        folder = open_folder(name, top)
        if folder is None:
            continue
        try:
            new = _there(_LIST, folder)
            _dissolve(top, folder, None if new else _listed(top))
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=top)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{CERTS}/{_LIST}", dir_fd=top)


def _there(path: str, folder: int) -> bool:
    try:
        os.stat(path, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _walk(folder: int, prefix: str = "") -> Iterator[_Entry]:
    """Everything below a folder, each folder before what it holds; what a killed run left
    unfinished is passed over.
    """
    for name in sorted(os.listdir(folder)):
        if name.startswith(f"{STAGE}-"):
            continue
        entry = _Entry(prefix + name, os.stat(name, dir_fd=folder, follow_symlinks=False))
        yield entry
        if entry.is_folder:
            inner = must(open_folder(name, folder), entry.path)
            try:
                yield from _walk(inner, f"{entry.path}/")
            finally:
                os.close(inner)


def _target(path: str, moved: Mapping[str, str]) -> str:
    """The new path of what is there."""
    for stop in (len(path), *(i for i in range(len(path) - 1, 0, -1) if path[i] == "/")):
        if path[:stop] in moved:
            return moved[path[:stop]] + path[stop:]
    return path


def _build(top: int, old: int, entries: list[_Entry], change: Exchange, place: str) -> None:
    """The new folder, complete and on the disk, under the name of the stage."""
    os.mkdir(STAGE_CERTS, PRIVATE_FOLDER, dir_fd=top)
    new = os.open(STAGE_CERTS, FOLDER, dir_fd=top)
    try:
        listed = json.dumps({e.path: e.status.st_ino for e in entries if not e.is_folder})
        write_file(_LIST, listed.encode(), PRIVATE_MODE, new, sync=True)
        made: dict[str, os.stat_result | None] = {}
        for entry in entries:
            target = _target(entry.path, change.moved)
            if entry.is_folder:
                # What moves is for the archive, or was made by us: private either way.
                made[target] = entry.status if target == entry.path else None
            elif entry.path in change.dropped or target in change.put:
                _must_stay(old, entry, change, place)
            else:
                _make(new, target.rpartition("/")[0], made)
                _carry(old, entry.path, new, target)
        for path, body in change.put.items():
            _make(new, path.rpartition("/")[0], made)
            write_file(
                path,
                body,
                PRIVATE_MODE if path.endswith(PRIVATE_ENDINGS) else 0o666,
                new,
                sync=True,
            )
        for path in list(made):
            _make(new, path, made)
        for path in sorted(made, key=lambda p: p.count("/"), reverse=True):
            _finish(new, path, made[path])
        _finish(new, ".", os.fstat(old))
    finally:
        os.close(new)


def _must_stay(old: int, entry: _Entry, change: Exchange, place: str) -> None:
    """Refuses to lose a private file: one is only ever moved, or written again as it is."""
    if not entry.path.endswith(PRIVATE_ENDINGS):
        return
    body = read(entry.path, old)
    if body is None or body[0] not in change.put.values():
        raise refuse(
            f"{place}/{entry.path}",
            "is private, and would be lost",
            "report this: it is a fault of kubectl mesh",
            code="private-file-would-be-lost",
        )


def _make(new: int, path: str, made: dict[str, os.stat_result | None]) -> None:
    """Makes a folder of the new one, and those above it."""
    if not path:
        return
    _make(new, path.rpartition("/")[0], made)
    try:
        os.mkdir(path, PRIVATE_FOLDER, dir_fd=new)
        made.setdefault(path, None)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(path, dir_fd=new, follow_symlinks=False).st_mode):
            raise refuse(
                f"{CERTS}/{path}",
                "is in the way: a folder belongs there",
                "move it away",
                code="not-a-folder",
            ) from None


def _finish(new: int, path: str, status: os.stat_result | None) -> None:
    """Gives a folder the mode and the owner of the one that it stands for, and syncs it."""
    folder = os.open(path, FOLDER, dir_fd=new)
    try:
        if status is not None:
            with contextlib.suppress(PermissionError):
                os.fchown(folder, status.st_uid, status.st_gid)
            os.fchmod(folder, stat.S_IMODE(status.st_mode))
        os.fsync(folder)
    finally:
        os.close(folder)


def _carry(old: int, path: str, new: int, target: str) -> None:
    """The same file in the new folder; a copy on a file system without hard links."""
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
        found = read(path, old)
        if found is None:
            raise refuse(
                path,
                "is no regular file, and this file system has no hard links to carry it over",
                "move it away",
                code="not-a-regular-file",
            ) from None
        write_file(target, found[0], found[1], new, sync=True)


def _listed(top: int) -> Mapping[str, int]:
    """What the old folder held when the new one was made."""
    certs = open_folder(CERTS, top)
    if certs is None:
        return {}
    try:
        found = read(_LIST, certs)
    finally:
        os.close(certs)
    try:
        return dict(json.loads(found[0])) if found is not None else {}
    except (ValueError, TypeError, RecursionError):
        return {}


def _dissolve(top: int, folder: int, known: Mapping[str, int] | None, prefix: str = "") -> None:
    """Removes what is in a folder: all of it where `known` is None, else what it had when it was
    replaced; the rest goes back.
    """
    # The list goes last: while anything else is there, it tells that this folder never had the
    # name.
    for name in sorted(os.listdir(folder), key=lambda n: not prefix and n == _LIST):
        path, status = prefix + name, os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            inner = must(open_folder(name, folder), path)
            try:
                _dissolve(top, inner, None if name.startswith(f"{STAGE}-") else known, f"{path}/")
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=folder)
        elif (
            known is None
            or known.get(path) == status.st_ino
            or name.startswith(f"{STAGE}-")
            or same_there(folder, name, top, f"{CERTS}/{path}")
        ):
            os.unlink(name, dir_fd=folder)
        else:
            put_back(folder, name, top, f"{CERTS}/{path}")
