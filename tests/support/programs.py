"""Programs that tests run: git, and those that `make setup` installs next to this Python."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TOP, Run, WorkDir

BIN = Path(sys.executable).parent
SHARED = TOP.parent / "shared" / "conformance.sh"


def tool(name: str) -> str:
    """A program beside this Python or on PATH; the test is skipped where there is none, but for kubeconform, which `make` installs."""
    found = shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        assert name != "kubeconform", "`make setup` installs kubeconform"
        pytest.skip(f"{name} is not on PATH")
    return found


def location(run: Run) -> str:
    """The schema location that the verb prints."""
    return run("schema", "--location").out.strip()


def git(mesh: WorkDir, *words: str) -> str:
    """Runs git in a working directory."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    named = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", "-C", mesh, *named, *words],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    ).stdout
