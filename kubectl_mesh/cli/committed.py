"""What git's HEAD has of a folder."""

import os
import subprocess


def committed(folder: str) -> frozenset[str] | None:
    """The paths below a folder that are in the last commit; None where there is no repository, or no commit yet."""
    there = os.path.abspath(folder)
    while not os.path.isdir(there):
        there = os.path.dirname(there)
    # As in `guard`: a repository's own configuration may name a program for git to run.
    words = ["git", "-c", "core.fsmonitor=false", "-C", there, "ls-tree", "-r", "-z", "--name-only", "HEAD"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(words, capture_output=True, check=False, env=clean)
    except OSError:
        return None
    if done.returncode != 0:
        return None
    if there != os.path.abspath(folder):
        return frozenset()
    return frozenset(os.fsdecode(path) for path in done.stdout.split(b"\0") if path)
