"""A tree as it was in a revision of git, read without touching work tree or index, and without a
network.
"""

import os
import shlex
from collections.abc import Iterable, Mapping

from kubectl_mesh.errors import MeshError, refuse
from kubectl_mesh.fs.programs import git_problem, lacks_objects, run_git
from kubectl_mesh.text import mesh_command, value_text
from kubectl_mesh.workdir.git_ignore import find_work_tree

RawTree = dict[str, dict[str, bytes | None]]


def read_revision(
    out: str, revision: str, environment: Mapping[str, str], *, without: str | None = None
) -> RawTree:
    """The files of the tree at `out` as a revision has them: directory -> path -> bytes, None for
    what is no regular file there.

    `without`: a folder of each directory whose files are listed and not read; they count as None
    too.
    """
    top = find_work_tree(out)
    if top is None:
        raise refuse(
            out,
            "lies in no git work tree, so there is no revision to compare with",
            f"compare two directories: {mesh_command('diff DIR DIR')}",
            code="not-in-git",
        )
    where = os.path.relpath(os.path.realpath(out), top)
    prefix = "" if where == "." else where.replace(os.sep, "/") + "/"
    commit = _find_commit(top, revision, environment)
    listed = _run_git(
        top,
        environment,
        "ls-tree",
        "-r",
        "-z",
        "--full-tree",
        commit,
        *(["--", prefix] if prefix else []),
    )
    if not listed:
        what = f"{value_text(revision)} has no tree at {prefix.rstrip('/') or 'the top'}"
        raise refuse(
            "--against",
            what,
            "name a revision in which it was committed; where `out/` is ignored, there is none",
            code="tree-not-in-revision",
        )
    entries = []
    for entry in listed.split(b"\0")[:-1]:
        meta, _, file = entry.partition(b"\t")
        mode, kind, name = meta.split()
        path = os.fsdecode(file)[len(prefix) :]
        is_read = without is None or not path.partition("/")[2].startswith(without)
        entries.append((path, is_read and kind == b"blob" and mode in (b"100644", b"100755"), name))
    bodies = _read_bodies(top, [name for _, regular, name in entries if regular], environment)
    return _build_tree((path, bodies[name] if regular else None) for path, regular, name in entries)


def _build_tree(files: Iterable[tuple[str, bytes | None]]) -> RawTree:
    """Files by directory and path; hidden directories do not count."""
    tree: RawTree = {}
    for path, body in files:
        first, _, rest = path.partition("/")
        if not (first.startswith(".") and rest):
            tree.setdefault(first if rest else "", {})[rest or first] = body
    return tree


def _find_commit(top: str, revision: str, environment: Mapping[str, str]) -> str:
    """The name of the commit of a revision."""
    if revision.startswith("-") or not revision.strip():
        raise refuse(
            "--against",
            f"{value_text(revision)} is no revision",
            "name a branch, a tag or a commit",
            code="revision-invalid",
        )
    found = _run_git(top, environment, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if found is None:
        raise refuse(
            "--against",
            f"git knows no commit {value_text(revision)}",
            f"fetch it, or name another (git -C {shlex.quote(top)} log --oneline)",
            code="revision-unknown",
        )
    return found.decode().strip()


def _read_bodies(
    top: str, names: list[bytes], environment: Mapping[str, str]
) -> dict[bytes, bytes]:
    """What objects hold, asked for all at once."""
    if not names:
        return {}
    wanted = list(dict.fromkeys(names))
    out = _run_git(
        top, environment, "cat-file", "--batch", feed=b"".join(name + b"\n" for name in wanted)
    )
    if out is None:
        raise refuse(
            "--against",
            "git could not give all files of this revision",
            "look at `git fsck`, or fetch what is missing",
            code="revision-incomplete",
        )
    found, at = {}, 0
    for name in wanted:
        end = out.index(b"\n", at)
        head = out[at:end].split()
        if len(head) != 3:
            raise refuse(
                "--against",
                "git lacks files of this revision",
                "fetch them: the repository is a partial clone",
                code="revision-incomplete",
            )
        size = int(head[2])
        found[name] = out[end + 1 : end + 1 + size]
        at = end + 1 + size + 1
    return found


def _run_git(
    top: str, environment: Mapping[str, str], *words: str, feed: bytes = b""
) -> bytes | None:
    """What git prints; None where it says no."""
    done = run_git(top, *words, environment=environment, stdin=feed)
    if done is None:
        raise refuse(
            "git",
            "is not on PATH, and --against asks it for the revision",
            "install it, or compare two directories",
            code="git-missing",
        )
    if lacks_objects(done) or b"dubious ownership" in done.stderr:
        raise MeshError([git_problem(top, done)])
    return None if done.returncode else done.stdout
