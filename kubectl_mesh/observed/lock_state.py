"""The lock of a directory, and the differences between the directory and its lock."""

import hashlib
from collections.abc import Collection, Mapping

from kubectl_mesh.model import MESH_LOCK
from kubectl_mesh.observed.mesh_state import LockState
from kubectl_mesh.observed.tree_parser import TreeParser
from kubectl_mesh.tree.lock_file import parse_lock

NOT_READ = ""


def hash_files(
    files: Mapping[str, bytes | None], wanted: Collection[str] | None = None
) -> dict[str, str]:
    """The SHA-256 of each file in hex; `NOT_READ` for files not in `wanted`, "no file" for what is
    not a regular file.
    """
    return {
        path: (
            NOT_READ
            if wanted is not None and path not in wanted
            else "no file"
            if body is None
            else hashlib.sha256(body).hexdigest()
        )
        for path, body in files.items()
    }


def read_lock_state(
    name: str, files: Mapping[str, bytes | None], digests: Mapping[str, str], parser: TreeParser
) -> LockState | None:
    """The state of a directory's lock; None if it has no lock."""
    if MESH_LOCK not in files:
        return None
    file = f"{name}/{MESH_LOCK}"
    says = parse_lock(files[MESH_LOCK])
    if says is None:
        parser.add_problem(
            file, "is damaged", "render again, and look at the difference", code="lock-damaged"
        )
        return LockState(file, is_damaged=True)
    return LockState(
        file,
        says,
        edited_files=tuple(
            sorted(
                path
                for path, digest in says.files.items()
                if path in digests and digests[path] not in (digest, NOT_READ)
            )
        ),
        missing_files=tuple(sorted(path for path in says.files if path not in digests)),
        foreign_files=tuple(
            sorted(path for path in digests if path not in says.files and path != MESH_LOCK)
        ),
    )
