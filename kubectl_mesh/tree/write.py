"""The rendered tree: each directory built beside the old one and exchanged with it."""

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Sequence
from dataclasses import replace

from kubectl_mesh.errors import MeshError, Place, refuse
from kubectl_mesh.fs import durable
from kubectl_mesh.fs.durable import (
    RENAME_EXCHANGE,
    RENAME_NO_REPLACE,
    STAGE_PREFIX,
    has_same_content,
    make_folder,
    require_folder,
    require_writable,
    restore_file,
    write_file,
)
from kubectl_mesh.fs.folders import FOLDER_FLAGS, open_folder, read_regular_file
from kubectl_mesh.model import MESH_LOCK, PRIVATE_FOLDER, PRIVATE_MODE, Folder, FolderChange, Tree
from kubectl_mesh.tree.compare import list_private_folders
from kubectl_mesh.tree.lock_file import parse_lock


def recover_killed_run(out: str) -> None:
    """Puts right what a killed run left in `out`, before anything is compared with it; it has to be
    writable.
    """
    require_writable(out)
    top = open_folder(out)
    if top is None:
        return
    try:
        _recover_stage(top)
    except MeshError as error:
        raise MeshError(
            replace(p, where=Place(os.path.join(out, STAGE_PREFIX))) for p in error.problems
        ) from None
    finally:
        os.close(top)


def write_tree(out: str, tree: Tree, changes: Sequence[FolderChange]) -> None:
    """Makes the directories of `out` what was rendered, one exchange each; `clear` went before."""
    make_folder(out)
    top = require_folder(open_folder(out), out)
    try:
        if all(change.action == "identical" for change in changes):
            return
        os.mkdir(STAGE_PREFIX, PRIVATE_FOLDER, dir_fd=top)
        stage = os.open(STAGE_PREFIX, FOLDER_FLAGS, dir_fd=top)
        try:
            for change in changes:
                if change.action != "identical":
                    _replace(top, stage, change, tree.get(change.name, {}))
        finally:
            os.close(stage)
        os.rmdir(STAGE_PREFIX, dir_fd=top)
    finally:
        os.close(top)


def _replace(top: int, stage: int, change: FolderChange, new: Folder) -> None:
    """Builds one directory in the stage and exchanges it with the one in place."""
    name = change.name
    old = open_folder(name, top)
    try:
        dissolve: set[str] = {c.path for c in change.changes} if old is not None else set()
        if not new and not change.foreign_files and not change.foreign_folders:
            if old is not None:
                os.rename(name, name, src_dir_fd=top, dst_dir_fd=stage)
        else:
            _build(stage, name, old, change, new)
            if old is None:
                _move_into_place(stage, name, top)
            elif not durable.libc_rename(stage, name, top, name, RENAME_EXCHANGE):
                # Without an exchange the name is free for a moment; should the run end there, the
                # next one puts it right.
                os.rename(name, f"{name}.old", src_dir_fd=top, dst_dir_fd=stage)
                os.rename(name, name, src_dir_fd=stage, dst_dir_fd=top)
                os.rename(f"{name}.old", name, src_dir_fd=stage, dst_dir_fd=stage)
        if old is not None:
            _remove_directory(stage, name, top, dissolve)
    finally:
        if old is not None:
            os.close(old)


def _move_into_place(stage: int, name: str, top: int) -> None:
    if not durable.libc_rename(stage, name, top, name, RENAME_NO_REPLACE):
        os.rename(name, name, src_dir_fd=stage, dst_dir_fd=top)


class _Folders:
    """The folders of one directory by their paths, each opened once."""

    def __init__(self, root: int) -> None:
        self._open = {"": root}

    def __getitem__(self, path: str) -> int:
        if path not in self._open:
            above, _, last = path.rpartition("/")
            self._open[path] = require_folder(open_folder(last, self[above]), path)
        return self._open[path]

    def close(self) -> None:
        for path, descriptor in self._open.items():
            if path:
                os.close(descriptor)


class _NewFolders(_Folders):
    """The folders of a directory that is built, each created when it is asked for, with the mode
    and the owner of the old one.
    """

    def __init__(self, root: int, old: _Folders | None, private: Collection[str]) -> None:
        super().__init__(root)
        self._old, self._private = old, private
        self._set_mode("", root)

    def __getitem__(self, path: str) -> int:
        if path in self._open:
            return self._open[path]
        above, _, last = path.rpartition("/")
        os.mkdir(last, dir_fd=self[above])
        folder = super().__getitem__(path)
        self._set_mode(path, folder)
        return folder

    def _set_mode(self, path: str, folder: int) -> None:
        """Gives a new folder the mode and the owner of the old one, whatever the umask; one with a
        secret is private.
        """
        status = self._old_status(path)
        if status is not None:
            with contextlib.suppress(PermissionError):
                os.fchown(folder, status.st_uid, status.st_gid)
        if path in self._private:
            os.fchmod(folder, PRIVATE_FOLDER)
        elif status is not None:
            os.fchmod(folder, stat.S_IMODE(status.st_mode))

    def _old_status(self, path: str) -> os.stat_result | None:
        if self._old is None:
            return None
        if not path:
            return os.fstat(self._old[""])
        above, _, last = path.rpartition("/")
        with contextlib.suppress(FileNotFoundError, MeshError):
            return os.stat(last, dir_fd=self._old[above], follow_symlinks=False)
        return None


def _build(stage: int, name: str, old: int | None, change: FolderChange, new: Folder) -> None:
    """A complete directory: the lock first, so that the stage of a killed run can be told apart;
    then files; foreign ones are linked.
    """
    os.mkdir(name, 0o777, dir_fd=stage)
    root = os.open(name, FOLDER_FLAGS, dir_fd=stage)
    old_folders = _Folders(old) if old is not None else None
    folders = _NewFolders(root, old_folders, set(list_private_folders(new)))
    try:
        unchanged = {c.path for c in change.changes if c.action == "identical"}
        for path in sorted(new, key=lambda p: p != MESH_LOCK):
            file = new[path]
            above, _, last = path.rpartition("/")
            if not (
                old_folders is not None
                and path in unchanged
                and _link(old_folders[above], folders[above], last)
            ):
                write_file(
                    last, file.body, PRIVATE_MODE if file.is_private else 0o666, folders[above]
                )
        if old_folders is not None:
            _keep_foreign(old_folders, folders, change)
    finally:
        folders.close()
        os.close(root)
        if old_folders is not None:
            old_folders.close()


def _keep_foreign(old_folders: _Folders, folders: _Folders, change: FolderChange) -> None:
    """Links the files and folders that are not ours into the new directory."""
    for path in change.foreign_folders:
        folders[path]
    for path in change.foreign_files:
        above, _, last = path.rpartition("/")
        if not _link(old_folders[above], folders[above], last):
            _copy(old_folders[above], folders[above], last, path)


def _link(source: int, target: int, name: str) -> bool:
    """The same file in another folder, so that one being written to by somebody else stays that
    file; False where it cannot be.
    """
    try:
        os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in (
            errno.EPERM,
            errno.EXDEV,
            errno.EMLINK,
            errno.ENOTSUP,
            errno.ENOSYS,
            errno.EACCES,
        ):
            return False
        raise
    return True


def _copy(source: int, target: int, name: str, path: str) -> None:
    """A foreign file carried over on a file system without hard links."""
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        return
    found = read_regular_file(name, source)
    if found is None:
        raise refuse(
            path,
            "is no regular file, and this file system has no hard links to carry it over",
            "move it away",
            code="not-regular-file",
        )
    write_file(name, found[0], stat.S_IMODE(status.st_mode), target)


def _remove_directory(stage: int, name: str, top: int, known: set[str]) -> None:
    """Removes a directory in the stage; a file that came meanwhile, and that nothing else holds,
    goes back to where it was put.
    """
    if not stat.S_ISDIR(os.stat(name, dir_fd=stage, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=stage)
        return
    folder = require_folder(open_folder(name, stage), name)
    try:
        _remove_contents(folder, "", known, name, top)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=stage)


def _remove_contents(folder: int, prefix: str, known: set[str], name: str, top: int) -> None:
    # The lock goes last: while anything else is there, it tells the next run which of it is ours.
    for last in sorted(os.listdir(folder), key=lambda n: not prefix and n == MESH_LOCK):
        path = prefix + last
        status = os.stat(last, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            inner = require_folder(open_folder(last, folder), path)
            try:
                _remove_contents(inner, path + "/", known, name, top)
            finally:
                os.close(inner)
            os.rmdir(last, dir_fd=folder)
        elif (
            path in known
            or status.st_nlink > 1
            or has_same_content(folder, last, top, f"{name}/{path}")
        ):
            os.unlink(last, dir_fd=folder)
        else:
            restore_file(folder, last, top, f"{name}/{path}")


def _recover_stage(top: int) -> None:
    """Puts right what a killed run left: a directory that lost its name gets it back, the rest
    goes.
    """
    stage = open_folder(STAGE_PREFIX, top)
    if stage is None:
        return
    try:
        names = sorted(os.listdir(stage))
        for old in [n for n in names if n.endswith(".old")]:
            name = old.removesuffix(".old")
            try:
                os.stat(name, dir_fd=top, follow_symlinks=False)
            except FileNotFoundError:
                os.rename(old, name, src_dir_fd=stage, dst_dir_fd=top)
                continue
            if name in os.listdir(stage):
                _remove_directory(stage, name, top, _list_locked_paths(stage, name))
            os.rename(old, name, src_dir_fd=stage, dst_dir_fd=stage)
        for name in sorted(os.listdir(stage)):
            _remove_directory(stage, name, top, _list_locked_paths(stage, name))
    finally:
        os.close(stage)
    os.rmdir(STAGE_PREFIX, dir_fd=top)


def _list_locked_paths(stage: int, name: str) -> set[str]:
    """What the lock in a staged directory lists; the lock is the first file written there, and the
    last one removed.
    """
    if not stat.S_ISDIR(os.stat(name, dir_fd=stage, follow_symlinks=False).st_mode):
        return set()
    folder = require_folder(open_folder(name, stage), name)
    try:
        found = read_regular_file(MESH_LOCK, folder)
    finally:
        os.close(folder)
    lock = parse_lock(found[0]) if found is not None else None
    return {MESH_LOCK} if lock is None else {MESH_LOCK, *lock.files}
