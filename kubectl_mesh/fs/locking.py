"""The lock of a working directory against other runs."""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator

from kubectl_mesh.errors import refuse
from kubectl_mesh.fs.durable import ASK_OWNER_FIX, NOT_WRITABLE, STAGE_PREFIX
from kubectl_mesh.fs.exchange import recover_exchange
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.read import not_readable_error
from kubectl_mesh.model import PRIVATE_MODE

LOCK_FILE = ".kubectl-mesh-lock"


@contextlib.contextmanager
def hold_lock(directory: str) -> Iterator[None]:
    """A context that holds the lock of a directory; the kernel releases it when the process ends.
    Leftovers of killed runs are removed first.
    """
    path = os.path.join(directory, LOCK_FILE)
    descriptor = _acquire_lock(directory, path)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        for folder in (
            directory,
            *(join_path(directory, name) for name in ("clusters", "credentials")),
        ):
            _clear_files(folder)
        recover_exchange(directory)
        yield
    finally:
        # The file is removed while the lock is held, so that a process that opened it meanwhile
        # sees that it is not the file at the path.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        os.close(descriptor)


def _clear_files(folder: str) -> None:
    """Removes the unfinished files of killed runs."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    except PermissionError:
        raise not_readable_error(folder) from None
    for name in names:
        if name.startswith(f"{STAGE_PREFIX}-"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))


def _open_lock(directory: str, path: str) -> int:
    """A descriptor of the lock file, which is created if it is missing."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(path, flags, PRIVATE_MODE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            what = "is a symbolic link, and kubectl mesh writes through none"
            raise refuse(path, what, "move it away", code="symbolic-link") from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise refuse(
                directory, "cannot be written to", ASK_OWNER_FIX, code=NOT_WRITABLE
            ) from None
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            fix = "name the working directory with -C"
            raise refuse(directory, "is no folder", fix, code="not-a-folder") from None
        raise


def _acquire_lock(directory: str, path: str) -> int:
    while True:
        descriptor = _open_lock(directory, path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            who = f"process {holder}" if holder.isdigit() else "another process"
            raise refuse(
                directory,
                f"is being written to by another run ({who}, which holds {LOCK_FILE})",
                "wait until it is done",
                code="locked-by-other-run",
            ) from None
        with contextlib.suppress(FileNotFoundError):
            current = os.stat(path, follow_symlinks=False)
            opened = os.fstat(descriptor)
            body = os.pread(descriptor, 32, 0) if stat.S_ISREG(opened.st_mode) else b"?"
            if opened.st_nlink > 1 or body.strip(b"0123456789\n"):
                os.close(descriptor)
                raise refuse(
                    path,
                    "is not what a run of kubectl mesh leaves there",
                    "move it away",
                    code="lock-file-foreign",
                )
            if (current.st_dev, current.st_ino) == (opened.st_dev, opened.st_ino):
                return descriptor
        os.close(descriptor)
