"""Writes files that cannot be created again: certificates, and files of the working directory that
people own. They are synced before they get their names.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Mapping, Sequence
from threading import Thread

from kubectl_mesh.errors import MeshError, Place, Problem, refuse
from kubectl_mesh.fs.durable import (
    STAGE_PREFIX,
    make_folder,
    publish_staged,
    require_folder,
    require_writable,
    write_file,
)
from kubectl_mesh.fs.folders import FOLDER_FLAGS, join_path, open_folder, read_regular_file
from kubectl_mesh.model import PRIVATE_ENDINGS, PRIVATE_FOLDER, PRIVATE_MODE

SYNC_THREADS = 8
"""How many folders are synced at the same time, if there are that many."""


def write_certificates(
    certs: str, new: Mapping[str, bytes], replaced: Collection[str] = ()
) -> None:
    """Writes new files of `certs/`, by path; each is synced before it gets its name.

    Keys are written before their certificates. Only paths in `replaced` may exist. A new folder
    gets its name when all its files are synced.
    """
    folders: dict[str, dict[str, bytes]] = {}
    for path, body in new.items():
        above, _, last = path.rpartition("/")
        folders.setdefault(above, {})[last] = body
    for above in ("", *sorted(folders)):
        require_writable(os.path.join(certs, above).removesuffix("/"))
    make_folder(certs, PRIVATE_FOLDER)
    top = require_folder(open_folder(certs), certs)
    try:
        clear_certificates(top)
        fresh: list[str] = []
        for above in sorted(folders):
            files = dict(
                sorted(folders[above].items(), key=lambda item: not item[0].endswith("key.pem"))
            )
            there = top if not above else open_folder(above, top)
            if there is None:
                _stage_folder(top, above, files)
                fresh.append(above)
                continue
            try:
                for name, body in files.items():
                    if name in replaced:
                        write_file(
                            f"{STAGE_PREFIX}-{name}", body, _file_mode(name), there, sync=True
                        )
                        os.rename(
                            f"{STAGE_PREFIX}-{name}", name, src_dir_fd=there, dst_dir_fd=there
                        )
                    else:
                        _add_file(there, name, body, os.path.join(certs, above, name))
            finally:
                if there != top:
                    os.close(there)
        # Everything is written before the first sync, which then syncs most of it.
        _sync_folders([f"{STAGE_PREFIX}-{name}" for name in fresh], top)
        for name in fresh:
            publish_staged(top, f"{STAGE_PREFIX}-{name}", name)
        os.fsync(top)
    finally:
        os.close(top)


def _file_mode(name: str) -> int:
    return PRIVATE_MODE if name.endswith(PRIVATE_ENDINGS) else 0o666


def _stage_folder(top: int, name: str, files: Mapping[str, bytes]) -> None:
    staged = f"{STAGE_PREFIX}-{name}"
    os.mkdir(staged, PRIVATE_FOLDER, dir_fd=top)
    folder = os.open(staged, FOLDER_FLAGS, dir_fd=top)
    try:
        for last, body in files.items():
            write_file(last, body, _file_mode(last), folder)
    finally:
        os.close(folder)


def _sync_folders(staged: Sequence[str], top: int) -> None:
    """Syncs many folders in threads, because a sync mostly waits: for 30 folders that halves the
    time on ext4. Raises the first error.
    """
    if len(staged) < SYNC_THREADS:
        for name in staged:
            _sync_folder(name, top)
        return

    failed: list[Exception] = []

    def sync(names: Sequence[str]) -> None:
        try:
            for name in names:
                _sync_folder(name, top)
        except Exception as error:  # noqa: BLE001 - raised below
            failed.append(error)

    threads = [
        Thread(target=sync, args=(staged[first::SYNC_THREADS],)) for first in range(SYNC_THREADS)
    ]
    started = []
    for first, thread in enumerate(threads):
        try:
            thread.start()
            started.append(thread)
        except RuntimeError:  # A limit of processes may forbid more threads.
            sync(staged[first::SYNC_THREADS])
    for thread in started:
        thread.join()
    if failed:
        raise failed[0]


def _sync_folder(staged: str, top: int) -> None:
    folder = os.open(staged, FOLDER_FLAGS, dir_fd=top)
    try:
        for name in os.listdir(folder):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        os.fsync(folder)
    finally:
        os.close(folder)


def _add_file(folder: int, name: str, body: bytes, where: str, mode: int | None = None) -> None:
    """Adds a new file to an existing folder; it gets its name when it is complete, and replaces
    nothing. `where` is its name in errors.
    """
    staged = f"{STAGE_PREFIX}-{name}"
    write_file(staged, body, _file_mode(name) if mode is None else mode, folder, sync=True)
    try:
        os.link(staged, name, src_dir_fd=folder, dst_dir_fd=folder)
    except FileExistsError:
        raise refuse(
            where,
            "is there already, or came into being meanwhile; it is kept",
            "look at it, and move it away if it is not wanted",
            code="file-exists",
        ) from None
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        publish_staged(folder, staged, name)
        return
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(staged, dir_fd=folder)
    os.fsync(folder)


def clear_certificates(top: int) -> None:
    """Removes unfinished files of killed runs: files without their final names, which were never
    used.
    """
    for name in os.listdir(top):
        status = os.stat(name, dir_fd=top, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            if name.startswith(f"{STAGE_PREFIX}-"):
                os.unlink(name, dir_fd=top)
            continue
        folder = open_folder(name, top)
        if folder is None:
            continue
        try:
            for last in os.listdir(folder):
                if name.startswith(f"{STAGE_PREFIX}-") or last.startswith(f"{STAGE_PREFIX}-"):
                    os.unlink(last, dir_fd=folder)
        finally:
            os.close(folder)
        if name.startswith(f"{STAGE_PREFIX}-"):
            os.rmdir(name, dir_fd=top)


def add_files(directory: str, new: Mapping[str, bytes], *, private: bool = False) -> None:
    """Writes new files of the working directory, synced. Raises a `MeshError` for an existing
    file.
    """
    for path, body in new.items():
        # The working directory itself may be a link; paths in it may not.
        full = os.path.join(os.path.realpath(directory), path)
        make_folder(os.path.dirname(full), PRIVATE_FOLDER if private else 0o777)
        folder = require_folder(open_folder(os.path.dirname(full) or "."), os.path.dirname(full))
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{STAGE_PREFIX}-{os.path.basename(full)}", dir_fd=folder)
            _add_file(
                folder,
                os.path.basename(full),
                body,
                join_path(directory, path),
                PRIVATE_MODE if private else 0o666,
            )
        finally:
            os.close(folder)


def replace_file(path: str, before: bytes, body: bytes) -> None:
    """Replaces the content `before` of a file by `body`, synced, with its mode. Raises a
    `MeshError` for a link, or if the file was edited meanwhile.
    """
    folder = require_folder(
        open_folder(os.path.realpath(os.path.dirname(path) or ".")), os.path.dirname(path)
    )
    name = os.path.basename(path)
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise MeshError(
                [
                    Problem(
                        Place(path),
                        "is no regular file, and kubectl mesh writes through no link",
                        "put the file itself there",
                        code="not-a-regular-file",
                    )
                ]
            )
        staged = f"{STAGE_PREFIX}-{name}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(staged, dir_fd=folder)
        try:
            write_file(staged, body, PRIVATE_MODE, folder, sync=True)
            os.chmod(staged, stat.S_IMODE(status.st_mode), dir_fd=folder)
            now = read_regular_file(name, folder)
            if now is None or now[0] != before:
                raise refuse(
                    path,
                    "was changed by somebody else meanwhile, and is kept so",
                    "run the command again",
                    code="file-changed-meanwhile",
                )
            os.rename(staged, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(staged, dir_fd=folder)
            raise
        os.fsync(folder)
    finally:
        os.close(folder)
