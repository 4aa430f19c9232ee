"""docs/review.md: what it has CI systems do is run here, and the hooks for pre-commit are what pre-commit takes."""

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import TOP, Run, WorkDir
from tests.support import broken

BLOCKS = [
    yaml.safe_load(text)
    for text in re.findall(
        r"^```yaml\n(.*?)^```$", (TOP / "docs/review.md").read_text(), re.MULTILINE | re.DOTALL
    )
]
HOOKS = yaml.safe_load((TOP / ".pre-commit-hooks.yaml").read_text())
STUB = """#!/usr/bin/env bash
# Stands for what would go over the network; it notes its arguments and what it is given to send.
set -eu
echo "$(basename "$0") $*" >> "{log}"
case "$(basename "$0") $*" in
  "python3 -m pip install "*) ;;
  "gh pr comment 7 --body-file mesh.md "*) cat mesh.md >> "{log}" ;;
  "curl "*) cat >> "{log}.header"; cat mesh.md >> "{log}" ;;
  *) echo "not foreseen: $0 $*" >&2; exit 1 ;;
esac
"""


class Repository:
    """A repository with a mesh, a change on top of what was merged, and the programs of a CI."""

    def __init__(self, mesh: WorkDir, folder: Path) -> None:
        self.mesh, self.log = mesh, folder / "log"
        (folder / "bin").mkdir()
        for name in ("python3", "gh", "curl"):
            (folder / "bin" / name).write_text(STUB.format(log=self.log))
            (folder / "bin" / name).chmod(0o755)
        (folder / "bin/kubectl-mesh").write_text(
            f'#!/bin/sh\nPYTHONPATH="{TOP}" exec "{sys.executable}" -m kubectl_mesh "$@"\n'
        )
        (folder / "bin/kubectl-mesh").chmod(0o755)
        self.path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"

    def git(self, *words: str) -> str:
        """A command of git, and what it prints."""
        who = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        return subprocess.run(
            ["git", "-C", self.mesh, *who, *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    def run(self, script: str, **env: str) -> subprocess.CompletedProcess[str]:
        """A script as a CI system runs it."""
        words = ["bash", "-e", "-o", "pipefail", "-c", script]
        return subprocess.run(
            words,
            cwd=self.mesh,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": self.path, **env},
        )


@pytest.fixture
def repository(tmp_path: Path, run: Run) -> Repository:
    """Merged: two clusters. In the change: a token is another one, and a gateway more."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not on PATH")
    mesh = WorkDir(tmp_path / "mesh")
    mesh.path.mkdir()
    broken.make(mesh, names=("a", "b", "c"))
    mesh.topology({"secrets": {"store": "plain"}})
    assert run("render", cwd=mesh).code == 0
    made = Repository(mesh, tmp_path)
    made.git("init", "-q")
    made.git("add", "-A")
    made.git("commit", "-qm", "merged")
    mesh.token("a", "another-token-that-nobody-may-see")
    mesh.topology({"eastWestGateway": {"replicas": 3}})
    assert run("render", cwd=mesh).code == 0
    made.git("add", "-A")
    made.git("commit", "-qm", "change")
    return made


def variables(value: dict[str, str] | None, known: dict[str, str]) -> dict[str, str]:
    """The environment of a step, with what the host would put into it."""
    return {
        name: re.sub(r"\$\{\{ (.*?) \}\}", lambda m: known[m[1]], str(text))
        for name, text in (value or {}).items()
    }


def test_github_actions(repository: Repository) -> None:
    """Every step runs: the comment tells the change without a secret, the findings are SARIF, and a broken tree fails."""
    workflow: dict[Any, Any] = BLOCKS[0]
    assert workflow[True] == "pull_request"  # YAML 1.1 reads `on` so; GitHub does not
    assert workflow["permissions"] == {
        "contents": "read",
        "pull-requests": "write",
        "security-events": "write",
    }
    steps = workflow["jobs"]["review"]["steps"]
    assert steps[0]["with"] == {"fetch-depth": 0}
    known = {
        "github.event.pull_request.base.sha": repository.git("rev-parse", "HEAD~1"),
        "github.token": "token-of-the-job",
        "github.event.number": "7",
    }
    codes = {}
    for step in steps:
        if "run" in step:
            done = repository.run(
                step["run"],
                **variables(workflow["env"], known),
                **variables(step.get("env"), known),
            )
            codes[step["name"]] = done.returncode
    assert codes == dict.fromkeys(
        (
            "Install",
            "What it does to the mesh",
            "Is the tree what a render makes?",
            "Is the mesh sound?",
        ),
        0,
    )
    log = repository.log.read_text()
    assert "### mesh `acme`" in log
    assert "token" in log.lower()
    assert "another-token-that-nobody-may-see" not in log
    assert "token-of-the-job" not in log
    upload = next(s for s in steps if "upload-sarif" in s.get("uses", ""))
    assert (
        json.loads((repository.mesh / upload["with"]["sarif_file"]).read_text())["version"]
        == "2.1.0"
    )
    broken.wrong_root(repository.mesh, "a")
    by_name = {s.get("name"): s for s in steps}
    assert repository.run(by_name["Is the tree what a render makes?"]["run"]).returncode == 1
    assert repository.run(by_name["Is the mesh sound?"]["run"]).returncode == 1
    found = json.loads((repository.mesh / "mesh.sarif").read_text())["runs"][0]["results"]
    assert [
        (r["ruleId"], r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"])
        for r in found
        if r["level"] == "error"
    ] == [("tree-root", "out/a/1-trust/cacerts.yaml")]


def test_gitlab_ci(repository: Repository) -> None:
    """The script in one shell: the note is sent, its token is no argument, the tests are JUnit, and a broken tree fails after all that."""
    job = BLOCKS[1]["mesh-review"]
    env = {
        **job["variables"],
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": repository.git("rev-parse", "HEAD~1"),
        "MESH_BOT_TOKEN": "token-of-the-bot",
        "CI_API_V4_URL": "https://gitlab.example.com/api/v4",
        "CI_PROJECT_ID": "1",
        "CI_MERGE_REQUEST_IID": "7",
    }
    done = repository.run("\n".join(job["script"]), **env)
    assert done.returncode == 0, done.stdout + done.stderr
    log = repository.log.read_text()
    assert "https://gitlab.example.com/api/v4/projects/1/merge_requests/7/notes" in log
    assert "### mesh `acme`" in log
    assert "token-of-the-bot" not in log
    assert Path(f"{repository.log}.header").read_text() == "PRIVATE-TOKEN: token-of-the-bot\n"
    assert (
        ET.parse(repository.mesh / job["artifacts"]["reports"]["junit"]).getroot().get("failures")
        == "0"
    )
    broken.deleted(repository.mesh, "a", "b")
    assert repository.run("\n".join(job["script"]), **env).returncode == 1
    top = ET.parse(repository.mesh / job["artifacts"]["reports"]["junit"]).getroot()
    assert [
        c.get("name", "").split(":")[0]
        for c in top.iter("testcase")
        if c.find("failure") is not None
    ] == ["remote-missing"]
    assert set(job["artifacts"]["paths"]) == {"mesh.md"}


def test_hooks(repository: Repository) -> None:
    """What each hook runs says yes to a sound mesh and no to a broken one; its pattern takes what a mesh is made of, and nothing else."""
    used = BLOCKS[2]["repos"][0]["hooks"]
    assert {h["id"] for h in used} == {h["id"] for h in HOOKS}
    entries = {h["id"]: h["entry"] for h in HOOKS}
    commands = [" ".join([entries[h["id"]], *h.get("args", [])]) for h in used]
    for command in commands:
        assert repository.run(command).returncode == 0
    broken.labelled(repository.mesh, "a", "elsewhere")
    for command in commands:
        assert repository.run(command).returncode == 1
    for hook in HOOKS:
        assert set(hook) == {
            "id",
            "name",
            "description",
            "entry",
            "language",
            "pass_filenames",
            "files",
        }
        assert (hook["language"], hook["pass_filenames"]) == ("python", False)
        taken = re.compile(hook["files"])
        for path in (
            "topology.yaml",
            "mesh/base.yaml",
            "out/a/mesh.lock",
            "mesh/certs/root-cert.pem",
            ".gitignore",
            "clusters/a.crt",
        ):
            assert taken.search(path), path
        for path in ("README.md", "src/topology.yaml.md", "about/x", "my-base.yaml"):
            assert not taken.search(path), path


def test_pre_commit_takes_the_hooks(tmp_path: Path) -> None:
    """By its own validator, and the example of the page too."""
    program = shutil.which("pre-commit")
    if program is None:
        pytest.skip("pre-commit is not on PATH")
    subprocess.run([program, "validate-manifest", TOP / ".pre-commit-hooks.yaml"], check=True)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(BLOCKS[2]))
    subprocess.run([program, "validate-config", tmp_path / "config.yaml"], check=True)
