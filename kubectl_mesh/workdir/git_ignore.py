"""Keeps private files out of git. git itself is asked what it ignores; without an answer, nothing
counts as ignored.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.fs import owned_files
from kubectl_mesh.fs.programs import git_problem, lacks_objects, run_git
from kubectl_mesh.fs.read import read_file
from kubectl_mesh.text import count_text, single_line

_USUAL_PATHS = re.compile(
    r"credentials/|certs/archive/|certs/(?:(?:next-)?root-key\.pem|seal-key|[^/]+/ca-key\.pem)\Z|(?:.*/)?\.kubectl-mesh-",
    re.DOTALL,
)
"""What the lines of GITIGNORE match, but for the kubeconfig."""
_SPECIAL_CHARACTERS = re.compile(rb"[.+*?(){}$|\[\\^]")
GITIGNORE_FILE = ".gitignore"
FIRST_PRIVATE_FILES = (
    "certs/root-key.pem",
    "certs/intermediate-x/ca-key.pem",
    "credentials/x.token",
    "certs/.kubectl-mesh-stage-x",
)
"""The first private files of a mesh; x stands for any cluster."""
GITIGNORE = """\
# What kubectl mesh keeps out of git: private keys, tokens, kubeconfigs \
(they may hold credentials), and its own locks.
/certs/root-key.pem
/certs/next-root-key.pem
/certs/seal-key
/certs/*/ca-key.pem
/certs/archive/
/credentials/
/kubeconfig.yaml
.kubectl-mesh-*
"""


def find_work_tree(path: str) -> str | None:
    """The top of the innermost git work tree that contains a path; the path may not exist yet."""
    current = os.path.realpath(path)
    while True:
        if os.path.lexists(os.path.join(current, ".git")):
            return current
        above = os.path.dirname(current)
        if above == current:
            return None
        current = above


def _find_known_work_tree(folder: str, known: dict[str, str | None]) -> str | None:
    """As `find_work_tree`, for many folders; `known` collects the answers."""
    if folder not in known:
        above, name = os.path.split(folder)
        if name in ("", ".", "..") or os.path.islink(folder):
            known[folder] = find_work_tree(folder)
        else:
            known[folder] = (
                folder
                if os.path.lexists(os.path.join(folder, ".git"))
                else _find_known_work_tree(above, known)
            )
    return known[folder]


def _check_ignore_files(directory: str) -> None:
    """Refuses a .gitignore of the folder, or above it in its work tree, that git would wait for (a
    pipe) or read for ever.
    """
    top = find_work_tree(directory)
    if top is None:
        return
    base = os.path.realpath(directory)
    below = os.path.relpath(base, top).split(os.sep)
    for depth in range(len(below) + 1):
        path = os.path.join(top, *below[:depth], ".gitignore")
        if os.path.lexists(path):
            read_file(os.path.relpath(path) if os.path.dirname(path) == base else path, "gitignore")


def list_unignored_files(
    directory: str, paths: Sequence[str], environment: Mapping[str, str]
) -> list[str]:
    """The paths below a directory that git does not ignore; all of them if git cannot be asked.

    Each path is checked in its own repository, and in the one of GIT_DIR or GIT_WORK_TREE.
    """
    base = os.path.realpath(directory)
    _check_ignore_files(directory)
    full = {path: os.path.join(base, path) for path in paths}
    tops: dict[str, str | None] = {}
    groups: dict[str, list[str]] = {}
    for path, place in full.items():
        top = _find_known_work_tree(os.path.dirname(place), tops)
        if top is not None:
            groups.setdefault(top, []).append(path)
    unignored = {
        path
        for top, group in groups.items()
        for path in _not_ignored(top, group, full, environment)
    }
    if "GIT_DIR" in environment or "GIT_WORK_TREE" in environment:
        while not os.path.isdir(base):
            base = os.path.dirname(base)
        unignored |= set(_not_ignored(base, list(paths), full, environment, named=True))
    return [path for path in paths if path in unignored]


def _not_ignored(
    where: str,
    paths: list[str],
    full: Mapping[str, str],
    environment: Mapping[str, str],
    *,
    named: bool = False,
) -> list[str]:
    asked = b"\0".join(os.fsencode(full[path]) for path in paths)
    done = run_git(
        where,
        "check-ignore",
        "-z",
        "--stdin",
        environment=environment,
        stdin=asked,
        use_named_repository=named,
    )
    if done is None or done.returncode not in (0, 1):
        return paths
    ignored = set(done.stdout.split(b"\0"))
    return [path for path in paths if os.fsencode(full[path]) not in ignored]


def search_tracked_files(
    directory: str, texts: Sequence[bytes], environment: Mapping[str, str]
) -> list[str] | None:
    """The files below a directory that git tracks and that hold one of some texts; none outside of
    a work tree, None where git cannot be asked.

    git searches the work tree itself, which is quick in large ones. The texts go through a pipe:
    they are secrets, some of them.
    """
    if find_work_tree(directory) is None:
        return []
    settings = ("grep.fullName=false", "grep.fallbackToNoIndex=false", "submodule.recurse=false")
    words = ("grep", "-E", "-l", "-z", "--no-color", "-f", "-", "--", ".")
    # One pattern of many branches is searched at once; many patterns are searched one after the
    # other.
    pattern = b"|".join(
        _SPECIAL_CHARACTERS.sub(lambda m: rb"\^" if m[0] == b"^" else b"[" + m[0] + b"]", sign)
        for sign in texts
    )
    done = run_git(
        directory, *words, environment=environment, stdin=pattern + b"\n", settings=settings
    )
    if done is None or done.returncode not in (0, 1):
        return None
    return [os.fsdecode(path) for path in done.stdout.split(b"\0") if path]


def read_committed_files(
    directory: str, paths: Sequence[str], environment: Mapping[str, str]
) -> dict[str, bytes]:
    """The files of the last commit at paths below a directory; empty outside a repository.

    Raises `MeshError` if git does not answer.
    """
    top = find_work_tree(directory)
    if top is None:
        return {}
    asked = "".join(f"HEAD:./{path}\n" for path in paths).encode()
    done = run_git(directory, "cat-file", "--batch", environment=environment, stdin=asked)
    if done is None or done.returncode != 0 or lacks_objects(done):
        raise MeshError([git_problem(top, done)])
    found, left = {}, done.stdout
    for path in paths:
        head, _, left = left.partition(b"\n")
        words = head.decode("utf-8", "replace").split(" ")
        if len(words) == 3 and words[1] == "blob":
            size = int(words[2])
            found[path], left = left[:size], left[size + 1 :]
    return found


def ignore_pattern(path: str) -> str:
    """The line of a .gitignore that matches one path below its folder, and nothing but printable
    characters.
    """
    escaped = "".join(
        (
            f"\\{char}"
            if char in "\\*?["
            else char
            if char.isprintable()
            else "?" * len(char.encode("utf-8", "surrogateescape"))
        )
        for char in path
    )
    return f"/{escaped[:-1]}\\ " if escaped.endswith(" ") else f"/{escaped}"


def gitignore_lines(private: Sequence[str]) -> list[str]:
    """The lines of a .gitignore for the private files, including those in unusual places."""
    usual = [line for line in GITIGNORE.splitlines() if not line.startswith("#")]
    paths = map(os.path.normpath, private)
    unusual = {ignore_pattern(path) for path in paths if not _USUAL_PATHS.match(path)}
    return [*usual, *sorted(unusual - set(usual))]


def write_gitignore(directory: str, private: Sequence[str] = ()) -> bool:
    """Writes the .gitignore of a working directory where there is none, and says whether it did;
    `private` are paths below it, known already.
    """
    if os.path.lexists(os.path.join(directory, GITIGNORE_FILE)):
        return False
    more = [line for line in gitignore_lines(private) if line not in GITIGNORE.splitlines()]
    owned_files.add_files(
        directory, {GITIGNORE_FILE: (GITIGNORE + "".join(f"{line}\n" for line in more)).encode()}
    )
    return True


def _git_problems(directory: str, environment: Mapping[str, str]) -> list[Problem]:
    """Why git does not answer for a directory."""
    top = find_work_tree(directory)
    if top is None:
        return []
    done = run_git(top, "rev-parse", "--git-dir", environment=environment)
    return (
        []
        if done is not None and done.returncode == 0
        else [replace(git_problem(top, done), id="git-ignored")]
    )


def unignored_file_problems(
    directory: str, private: Sequence[str], gitignore_path: str, environment: Mapping[str, str]
) -> list[Problem]:
    """Private files of a working directory that git does not ignore, as a problem of its
    .gitignore.
    """
    unignored = list_unignored_files(directory, private, environment)
    if not unignored:
        return []
    if silent := _git_problems(directory, environment):
        return silent
    there = set(
        (read_file(os.path.join(directory, ".gitignore"), "gitignore") or b"")
        .decode("utf-8", "replace")
        .splitlines()
    )
    wanted = "".join(f"\n    {line}" for line in gitignore_lines(private) if line not in there)
    fix = (
        f"add these lines to it:{wanted}"
        if wanted
        else "find the line that takes them in again, or `git rm --cached` what is tracked"
    )
    some = single_line(unignored[0]) + (
        f" and {count_text(len(unignored) - 1, 'more private file')}" if len(unignored) > 1 else ""
    )
    return [
        Problem(
            Place(gitignore_path),
            f"does not keep {some} out of git",
            fix,
            "git-ignored",
            code="private-file-not-ignored",
        )
    ]


def unignored_tree_problems(
    out: str, secret_paths: Sequence[str], environment: Mapping[str, str]
) -> list[Problem]:
    """A tree with unencrypted private keys that git does not ignore; `secret_paths` are paths below
    `out`.
    """
    if not list_unignored_files(out, secret_paths, environment):
        return []
    if silent := _git_problems(out, environment):
        return silent
    what = "lies in a git work tree, and the store `plain` would put private keys there in clear"
    fix = (
        "state one of the stores sops, sealed or external in topology.yaml, which are for trees"
        " that others read; or add the folder to .gitignore; or state `secrets: {store: plain}` if"
        " the repository may hold them"
    )
    return [Problem(Place(out), what, fix, "git-ignored", code="tree-not-ignored")]
