"""Folders by descriptor, and files in them; no symbolic link is followed."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import replace

from kubectl_mesh.errors import MeshError, refuse
from kubectl_mesh.fs.read import LIMITS, not_readable_error, too_large_error

_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

FOLDER_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC


def join_path(directory: str, name: str) -> str:
    """A path as messages show it: without a prefix for the current directory."""
    return name if directory in (".", "") else os.path.join(directory, name)


@contextlib.contextmanager
def prefix_places(folder: str) -> Iterator[None]:
    """A context that adds the folder to the file names of errors raised in it."""
    try:
        yield
    except PermissionError as error:
        raise not_readable_error(os.path.join(folder, error.filename)) from None
    except MeshError as error:
        raise MeshError(
            replace(p, where=replace(p.where, file=os.path.join(folder, p.where.file)))
            for p in error.problems
        ) from None


def open_folder(path: str, dir_fd: int | None = None) -> int | None:
    """A descriptor of a folder, None if it does not exist. Raises a `MeshError` for a symbolic link
    or a file.
    """
    try:
        return os.open(path, FOLDER_FLAGS, dir_fd=dir_fd)
    except FileNotFoundError:
        return None
    except PermissionError:
        raise not_readable_error(path) from None
    except NotADirectoryError:
        raise (
            _link_error(path)
            if _is_link(path, dir_fd)
            else refuse(
                path, "is in the way: a folder belongs there", "move it away", code="not-a-folder"
            )
        ) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _link_error(path) from None
        raise


def _link_error(path: str) -> MeshError:
    what = "is a symbolic link, and kubectl mesh writes through none"
    return refuse(path, what, "move it away", code="symbolic-link")


def _is_link(path: str, dir_fd: int | None) -> bool:
    return (
        stat.S_ISLNK(os.lstat(path, dir_fd=dir_fd).st_mode)
        if dir_fd is not None
        else os.path.islink(path)
    )


def read_regular_file(
    name: str, folder: int | None = None, kind: str = "manifest"
) -> tuple[bytes, int] | None:
    """The bytes and the mode of a regular file, None if there is none. Raises a `MeshError` if it
    is larger than its kind allows.
    """
    try:
        descriptor = os.open(name, _READ_FLAGS, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENOTDIR):
            return None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_size > LIMITS[kind]:
            raise too_large_error(name, kind)
        body = os.read(descriptor, status.st_size + 1)
        # One read is enough for a file of the stated size; one that grows or shrinks meanwhile is
        # read to its end.
        while (
            len(body) != status.st_size
            and len(body) <= LIMITS[kind]
            and (more := os.read(descriptor, 65536))
        ):
            body += more
        if len(body) > LIMITS[kind]:
            raise too_large_error(name, kind)
        return body, stat.S_IMODE(status.st_mode)
    finally:
        os.close(descriptor)
