"""Reads files of the user: up to a limit for their kind, through no link out of the working
directory, and never a device.

`LIMITS` is above the largest file of a mesh of 1,000 clusters. A larger file is there by mistake,
or by an attacker.
"""

import errno
import os
import shlex
import stat
from collections.abc import Callable
from typing import BinaryIO

from kubectl_mesh.errors import MeshError, Place, Problem, refuse

KIB, MIB = 2**10, 2**20
LIMITS = {
    "topology": 16 * MIB,  # 1,000 clusters with every key: 1 MiB
    "base": 4 * MIB,
    "kubeconfig": 16 * MIB,  # 1,000 contexts with certificates: 6 MiB
    "certificates": (
        16 * MIB
    ),  # any number of certificates; a bundle of 1,000 CRLs, RSA-4096: 1.2 MiB
    "key": MIB,
    "credential": MIB,  # tokens above 64 KiB are rejected
    "state": 16 * MIB,  # rotation.json of 1,000 clusters: 1 MiB
    "lock": 64 * MIB,  # 1,000 clusters with a reader for each peer: 1 MiB
    "manifest": 16 * MIB,  # the largest has the networks and the gateways of the mesh
    "foreign": MIB,  # a file in out/ that no lock lists; Kubernetes accepts no larger object
    "gitignore": MIB,
    "document": 16 * MIB,
}
"""The largest size of a file in bytes, by kind."""
PRIVATE_KINDS = frozenset(("key", "credential", "kubeconfig"))
_MAX_LINKS = 40
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_STEP_FLAGS = _FOLDER_FLAGS | os.O_NOFOLLOW
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class UnreadableError(MeshError):
    """A path that cannot be read because a permission is missing."""


def not_readable_error(path: str) -> UnreadableError:
    """The error of a path without read permission."""
    return UnreadableError(
        [
            Problem(
                Place(path),
                "may not be read by you",
                "ask its owner for the right to read it",
                code="not-readable",
            )
        ]
    )


class _OutsideError(Exception):
    """A path that leaves the folder below which it is opened."""


def too_large_error(path: str, kind: str) -> MeshError:
    """The error of a file that is larger than its kind allows."""
    limit = LIMITS[kind]
    size = f"{limit // MIB} MiB" if limit >= MIB else f"{limit // KIB} KiB"
    return refuse(
        path,
        f"is larger than {size}, so no file of this kind",
        "name the right one, or put it back",
        code="file-too-large",
    )


def read_file(path: str, kind: str = "document", *, pipe: bool = False) -> bytes | None:
    """The bytes of a file that a person names, None if it does not exist. Links are followed.

    With `pipe` a file named on the command line can be a pipe, as in a shell's `<(…)`.
    """
    content = _read_opened(
        lambda: os.open(
            path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | (0 if pipe else os.O_NONBLOCK)
        ),
        path,
        kind,
        pipe=pipe,
    )
    return None if content is None else content[0]


def read_inside(directory: str, name: str, kind: str) -> bytes | None:
    """The bytes of a file of the working directory, None if it does not exist. Links are followed
    while they stay inside.
    """
    content = read_with_mode(directory, name, kind)
    return None if content is None else content[0]


def read_with_mode(directory: str, name: str, kind: str) -> tuple[bytes, int] | None:
    """The bytes and the mode of a file of the working directory; otherwise as `read_inside`."""
    path = name if directory in (".", "") else os.path.join(directory, name)
    try:
        return _read_opened(lambda: open_beneath(directory, name), path, kind, pipe=False)
    except _OutsideError:
        mode = "600" if kind in PRIVATE_KINDS else "644"
        fix = f"install -m {mode} {shlex.quote(os.path.realpath(path))} {shlex.quote(path)}"
        raise refuse(
            path,
            "is a symbolic link, or lies behind one, that leaves the working directory",
            fix,
            code="link-leaves-directory",
        ) from None


def open_stream(path: str) -> BinaryIO | None:
    """A file named on the command line, opened to be read in parts; None if it does not exist."""
    return _open_regular(
        lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY), path, pipe=True
    )


def _read_opened(
    opened: Callable[[], int], path: str, kind: str, *, pipe: bool
) -> tuple[bytes, int] | None:
    file = _open_regular(opened, path, pipe=pipe)
    if file is None:
        return None
    with file:
        status = os.fstat(file.fileno())
        limit = LIMITS[kind]
        # A file whose stated size is too large is not read; a growing file or a pipe is read up to
        # the limit.
        body = file.read(limit + 1) if status.st_size <= limit else b""
        if status.st_size > limit or len(body) > limit:
            raise too_large_error(path, kind)
        return body, stat.S_IMODE(status.st_mode)


def _open_regular(opened: Callable[[], int], path: str, *, pipe: bool) -> BinaryIO | None:
    try:
        descriptor = opened()
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode) or (pipe and stat.S_ISFIFO(mode)):
            return open(descriptor, "rb")
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError
        raise refuse(
            path, "is no regular file", "put the file itself there", code="not-a-regular-file"
        )
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except IsADirectoryError:
        raise refuse(
            path,
            "is a folder, where a file belongs",
            "put the file itself there",
            code="not-a-regular-file",
        ) from None
    except PermissionError:
        raise not_readable_error(path) from None
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise refuse(
                path, "is no regular file", "put the file itself there", code="not-a-regular-file"
            ) from None
        if error.errno == errno.ELOOP:
            raise refuse(
                path,
                "is a symbolic link that leads in a circle",
                "put the file itself there",
                code="symbolic-link-circle",
            ) from None
        raise


def open_beneath(directory: str, name: str) -> int:
    """A descriptor of a file below a folder. Each link is followed step by step, so that nobody can
    exchange one meanwhile.

    Raises the errors of `os.open`, and `_OutsideError` for a path that leaves the folder, even if
    it returns.
    """
    folders = [os.open(directory or ".", _FOLDER_FLAGS)]
    steps = _split_path(name)
    links = 0
    try:
        while steps:
            step = steps.pop()
            if step == "..":
                if len(folders) == 1:
                    raise _OutsideError
                os.close(folders.pop())
                continue
            descriptor, target = _open_step(
                step, folders[-1], _STEP_FLAGS if steps else _FILE_FLAGS
            )
            if target is not None:
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                if target.startswith("/"):
                    target = _relative_target(directory, target)
                    while len(folders) > 1:
                        os.close(folders.pop())
                steps += _split_path(target)
            elif not steps:
                return descriptor
            else:
                folders.append(descriptor)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    finally:
        for folder in folders:
            os.close(folder)


def _open_step(step: str, folder: int, flags: int) -> tuple[int, str | None]:
    """A descriptor of an entry of a folder; for a link -1 and the target of the link."""
    try:
        return os.open(step, flags, dir_fd=folder), None
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
            raise
        try:
            return -1, os.readlink(step, dir_fd=folder)
        except OSError:
            raise error from None


def _split_path(path: str) -> list[str]:
    """The steps of a path, the first one last."""
    return [step for step in reversed(path.split("/")) if step not in ("", ".")]


def _relative_target(directory: str, target: str) -> str:
    """The target of an absolute link, relative to a folder; raises `_OutsideError` if it is
    outside.
    """
    for top in (os.path.realpath(directory), os.path.abspath(directory)):
        if target == top or target.startswith(top.rstrip("/") + "/"):
            return target[len(top) :]
    raise _OutsideError
