"""What git's HEAD has of a folder."""

import hashlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kubectl_mesh.errors import MeshError
from kubectl_mesh.fs.programs import git_problem, lacks_objects, run_git
from kubectl_mesh.model import MESH_LOCK, REMOTE_SECRETS_PREFIX
from kubectl_mesh.operations import git_revision
from kubectl_mesh.workdir import git_ignore

if TYPE_CHECKING:
    from kubectl_mesh.operations.git_revision import RawTree


def list_committed_paths(folder: str, environment: Mapping[str, str]) -> frozenset[str] | None:
    """The paths below a folder that are in the last commit; None where there is no repository, no
    commit yet, or git does not answer.
    """
    there = os.path.abspath(folder)
    while not os.path.isdir(there):
        there = os.path.dirname(there)
    done = run_git(there, "ls-tree", "-r", "-z", "--name-only", "HEAD", environment=environment)
    if done is None or done.returncode != 0:
        return None
    if there != os.path.abspath(folder):
        return frozenset()
    return frozenset(os.fsdecode(path) for path in done.stdout.split(b"\0") if path)


def read_commit(out: str, environment: Mapping[str, str]) -> "RawTree":
    """The tree in `out` as the last commit has it, without the contents of remote secrets; nothing
    where the locks on disk are the same.

    Raises `MeshError` where there is a repository and git does not answer.
    """
    top = git_ignore.find_work_tree(out)
    if top is None:
        return {}
    where = os.path.relpath(os.path.realpath(out), top)
    prefix = "" if where == "." else where.replace(os.sep, "/") + "/"
    folders = [
        path
        for path, kind, _ in _list_entries(top, [prefix] if prefix else [], environment)
        if kind == b"tree" and not path.startswith(f"{prefix}.")
    ]
    locks = (
        _list_entries(top, [f"{path}/{MESH_LOCK}" for path in folders], environment)
        if folders
        else []
    )
    if all(_is_on_disk(os.path.join(top, path), name) for path, _, name in locks):
        return {}
    return git_revision.read_revision(out, "HEAD", environment, without=REMOTE_SECRETS_PREFIX)


def _list_entries(
    top: str, paths: list[str], environment: Mapping[str, str]
) -> list[tuple[str, bytes, str]]:
    """What the last commit has at paths: path, kind and the name of the object; nothing where there
    is no commit yet.
    """
    done = run_git(
        top,
        "ls-tree",
        "-z",
        "--full-tree",
        "HEAD",
        *(["--", *paths] if paths else []),
        environment=environment,
    )
    if done is None or done.returncode != 0 or lacks_objects(done):
        if done is not None and has_no_commit(top, environment):
            return []
        raise MeshError([git_problem(top, done)])
    entries = (entry.partition(b"\t") for entry in done.stdout.split(b"\0") if entry)
    return [
        (os.fsdecode(path), meta.split()[1], meta.split()[2].decode()) for meta, _, path in entries
    ]


def _is_on_disk(path: str, name: str) -> bool:
    """Whether a file is the object of that name."""
    try:
        with open(path, "rb") as file:
            body = file.read()
    except OSError:
        return False
    digest = hashlib.sha256 if len(name) == hashlib.sha256().digest_size * 2 else hashlib.sha1
    return digest(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest() == name


def has_no_commit(folder: str, environment: Mapping[str, str]) -> bool:
    """Whether a repository is there and empty yet."""
    done = run_git(folder, "rev-parse", "--verify", "--quiet", "HEAD", environment=environment)
    return done is not None and done.returncode == 1
