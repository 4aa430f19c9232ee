"""Runs git. No other module does, so that no configuration of a repository starts a program, and
git opens no connection.
"""

import os
import shlex
import subprocess
from collections.abc import Mapping

from kubectl_mesh.errors import Place, Problem

GIT_SETTINGS = (
    "core.fsmonitor=false",  # a program that git would run
    "core.hooksPath=/dev/null",
    # otherwise a folder that looks like a bare repository replaces the repository around it
    "safe.bareRepository=explicit",
    # Before 2.44, git fetches missing objects of a partial clone. It checks the protocol of the
    # remote, but not that of bundles.
    "fetch.bundleURI=",
    "credential.helper=",
    "core.askPass=",
)
"""Settings for the command line of git, which override every configuration file."""
GIT_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": (
        "none"
    ),  # no connection, so no program of a remote runs: uploadpack, ssh, proxies, helpers
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
PERSONAL_VARIABLES = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")
"""Variables with the path of a person's own configuration, which has `safe.directory` and excludes.
All other variables of git are dropped.
"""


def run_git(
    directory: str,
    *words: str,
    environment: Mapping[str, str],
    stdin: bytes = b"",
    settings: tuple[str, ...] = (),
    use_named_repository: bool = False,
) -> "subprocess.CompletedProcess[bytes] | None":
    """Runs git in a directory and returns its result; None if git is missing.

    The repository is the one around the directory. With `use_named_repository` it is the one of
    GIT_DIR and GIT_WORK_TREE.
    """
    options = [word for setting in (*GIT_SETTINGS, *settings) for word in ("-c", setting)]
    inherited = (
        environment
        if use_named_repository
        else {
            k: v
            for k, v in environment.items()
            if not k.startswith("GIT_") or k in PERSONAL_VARIABLES
        }
    )
    try:
        return subprocess.run(
            ["git", *options, "-C", directory, *words],
            input=stdin,
            capture_output=True,
            env={**inherited, **GIT_ENVIRONMENT},
            check=False,
        )
    except OSError:
        return None


def lacks_objects(answer: "subprocess.CompletedProcess[bytes]") -> bool:
    """Whether an object of a partial clone is missing. git may still exit with 0, as if the object
    did not exist.
    """
    return any(
        sign in answer.stderr
        for sign in (b"lazy fetching disabled", b"promisor remote", b"' not allowed")
    )


def git_problem(directory: str, answer: "subprocess.CompletedProcess[bytes] | None") -> Problem:
    """Why git did not answer for a directory, and the remedy."""
    place = Place(directory)
    where = shlex.quote(os.path.realpath(directory))
    if answer is None:
        return Problem(
            place,
            "is in a git work tree, but git is not on PATH",
            "install git",
            code="git-missing",
        )
    if b"dubious ownership" in answer.stderr:
        fix = f"if you trust this repository: git config --global --add safe.directory {where}"
        return Problem(
            place,
            "is in a repository of another user, and git refuses to read it",
            fix,
            code="git-repository-of-other-user",
        )
    if lacks_objects(answer):
        what = (
            "is in a partial clone that lacks objects of this commit, and this tool fetches nothing"
        )
        return Problem(
            place,
            what,
            f"fetch them: git -C {where} fetch --refetch --no-filter",
            code="git-objects-missing",
        )
    return Problem(
        place,
        "is in a git work tree, but git does not answer",
        f"see what this says: git -C {where} status",
        code="git-silent",
    )
