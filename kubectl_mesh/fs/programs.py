"""git: the only module that runs git, so that no repository's configuration starts a program and
git opens no connection.
"""

import os
import shlex
import subprocess
from collections.abc import Mapping

from kubectl_mesh.errors import Place, Problem

GIT_SETTINGS = (
    "core.fsmonitor=false",  # a program that git asks which files changed
    "core.hooksPath=/dev/null",
    # else a folder that looks like a bare repository takes the place of the repository around it
    "safe.bareRepository=explicit",
    # Before 2.44, git fetches what a partial clone lacks. It checks the protocol of the remote, but
    # not that of these bundles.
    "fetch.bundleURI=",
    "credential.helper=",
    "core.askPass=",
)
"""Settings of the command line, which win over every configuration file."""
GIT_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": (
        "none"
    ),  # no remote may be asked, so none of its programs runs: uploadpack, ssh, proxies, helpers
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
PERSONAL_VARIABLES = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")
"""Variables that say where a person's own configuration is, with `safe.directory` and excludes; all
others of git are dropped.
"""


def run_git(
    directory: str,
    *words: str,
    environment: Mapping[str, str],
    stdin: bytes = b"",
    settings: tuple[str, ...] = (),
    use_named_repository: bool = False,
) -> "subprocess.CompletedProcess[bytes] | None":
    """Runs git in a directory and returns what it answers; None where git is missing.

    The repository is the one that the directory lies in; `named`: the one that GIT_DIR and
    GIT_WORK_TREE name.
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
    """Whether git missed an object of a partial clone; it may still exit with 0, as if the object
    did not exist.
    """
    return any(
        sign in answer.stderr
        for sign in (b"lazy fetching disabled", b"promisor remote", b"' not allowed")
    )


def git_problem(directory: str, answer: "subprocess.CompletedProcess[bytes] | None") -> Problem:
    """Why git did not answer about a directory, and what to do about it."""
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
