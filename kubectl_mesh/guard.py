"""guard: keeps private files out of git. It asks git itself what is ignored; where git does not answer, nothing counts as ignored."""

import os
import subprocess
from collections.abc import Sequence

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
