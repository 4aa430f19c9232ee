"""What git's HEAD has of a folder."""

import os


def committed(folder: str) -> frozenset[str] | None:
    """The paths below a folder that are in the last commit; None where there is no repository, no commit yet, or git does not answer."""
    from kubectl_mesh.git import run_git

    there = os.path.abspath(folder)
    while not os.path.isdir(there):
        there = os.path.dirname(there)
    done = run_git(there, "ls-tree", "-r", "-z", "--name-only", "HEAD", environment=os.environ)
    if done is None or done.returncode != 0:
        return None
    if there != os.path.abspath(folder):
        return frozenset()
    return frozenset(os.fsdecode(path) for path in done.stdout.split(b"\0") if path)
