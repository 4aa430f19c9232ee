"""guard: keeps private files out of git. It asks git itself what is ignored; where git does not answer, nothing counts as ignored."""

import os
import subprocess
from collections.abc import Sequence

from kubectl_mesh.errors import Place, Problem

GITIGNORE = """\
# What kubectl mesh keeps out of git: private keys, tokens, kubeconfigs (they may hold credentials), and its own locks.
/certs/root-key.pem
/certs/*/ca-key.pem
/credentials/
/kubeconfig.yaml
.kubectl-mesh-*
"""


def work_tree(path: str) -> bool:
    """Whether a path, which need not exist yet, lies in a git work tree."""
    current = os.path.realpath(path)
    while True:
        if os.path.exists(os.path.join(current, ".git")):
            return True
        above = os.path.dirname(current)
        if above == current:
            return False
        current = above


def not_ignored(directory: str, paths: Sequence[str]) -> list[str]:
    """Which of the paths git would take into a commit; all of them where git cannot be asked. Paths are absolute or below `directory`."""
    absolute = [os.path.join(os.path.realpath(directory), path) for path in paths]
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory.rstrip("/")) or "."
    try:
        done = subprocess.run(
            ["git", "-C", directory, "check-ignore", "-z", "--stdin"],
            input=b"\0".join(map(os.fsencode, absolute)),
            capture_output=True,
            check=False,
        )
    except OSError:
        return list(paths)
    if done.returncode not in (0, 1):
        return list(paths)
    ignored = set(done.stdout.split(b"\0"))
    return [path for path, full in zip(paths, absolute, strict=True) if os.fsencode(full) not in ignored]


def lines(private: Sequence[str]) -> list[str]:
    """The lines of a .gitignore that keeps the private files out, those in unusual places among them."""
    usual = [line for line in GITIGNORE.splitlines() if not line.startswith("#")]
    return [*usual, *sorted({f"/{path}" for path in private if not path.startswith(("certs/", "credentials/"))})]


def let_through(directory: str, private: Sequence[str], ignore: str) -> list[Problem]:
    """The private files of a working directory that git would take, as a problem of its .gitignore; `private` are paths below it."""
    if not work_tree(directory):
        return []
    bare = not_ignored(directory, private)
    if not bare:
        return []
    try:
        with open(os.path.join(directory, ".gitignore"), encoding="utf-8", errors="replace") as file:
            there = set(file.read().splitlines())
    except OSError:
        there = set()
    wanted = "".join(f"\n    {line}" for line in lines(private) if line not in there)
    fix = f"add these lines to it:{wanted}" if wanted else "find the line that takes them in again, or `git rm --cached` what is tracked"
    some = bare[0] + (f" and {len(bare) - 1} more private file{'' if len(bare) == 2 else 's'}" if len(bare) > 1 else "")
    return [Problem(Place(ignore), f"does not keep {some} out of git", fix, "git-ignored")]


def in_clear(out: str, secret: Sequence[str], version: str) -> list[Problem]:
    """A tree of the store `plain` where git would take it; `secret` are paths below `out`."""
    if not work_tree(out) or not not_ignored(out, [os.path.join(os.path.realpath(out), path) for path in secret]):
        return []
    what = "lies in a git work tree, and the store `plain` would put private keys there in clear"
    fix = (
        "add the folder to .gitignore; or state `secrets: {store: plain}` in topology.yaml if the repository may hold them;"
        f" the stores sops, sealed and external are for trees that others read ({version})"
    )
    return [Problem(Place(out), what, fix, "git-ignored")]
