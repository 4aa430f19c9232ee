"""One file of the working directory as a value."""

import shlex
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.read import read_with_mode


@dataclass(frozen=True, slots=True)
class WorkFile:
    """A file of the working directory as it was read."""

    path: str
    """As messages show it."""
    body: bytes | None = field(default=None, repr=False)
    """None if the file is missing or cannot be read."""
    mode: int = 0
    problems: tuple[Problem, ...] = ()
    """Why it cannot be read."""


def read_work_file(directory: str, name: str, kind: str, check: str) -> WorkFile:
    """Reads a file below the working directory; `kind` is one of `fs.read.LIMITS`, `check` the id
    of the check that reports an unreadable file.
    """
    path = join_path(directory, name)
    try:
        found = read_with_mode(directory, name, kind)
    except MeshError as error:
        return WorkFile(path, problems=with_check_id(error.problems, check))
    return WorkFile(path) if found is None else WorkFile(path, *found)


@dataclass(frozen=True, slots=True)
class WorkFiles:
    """Files of one kind."""

    bodies: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Those that exist, by their names below the working directory."""
    problems: tuple[Problem, ...] = ()
    """Why others cannot be read."""


def read_work_files(directory: str, names: Iterable[str], kind: str, check: str) -> WorkFiles:
    """As `read_work_file`, for several files."""
    bodies: dict[str, bytes] = {}
    problems: list[Problem] = []
    for name in names:
        file = read_work_file(directory, name, kind, check)
        problems += file.problems
        if file.body is not None:
            bodies[name] = file.body
    return WorkFiles(bodies, tuple(problems))


def with_check_id(problems: Iterable[Problem], check: str) -> tuple[Problem, ...]:
    """Problems with the id of a check, where they have none yet."""
    return tuple(p if p.id else replace(p, id=check) for p in problems)


def mode_problems(path: str, mode: int) -> Iterator[Problem]:
    """A warning if others may read a private file."""
    if stat.S_IMODE(mode) & 0o077:
        what = f"is private, but others may read it (mode {stat.S_IMODE(mode):04o})"
        fix = f"chmod 600 {shlex.quote(path)}"
        yield Problem(Place(path), what, fix, "private-mode", code="private-file-exposed")
