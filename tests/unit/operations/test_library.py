"""The library interface: the program of docs/library.md, and that it gives what the commands give."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

import kubectl_mesh
from kubectl_mesh import MeshError, build, check, diff, load
from kubectl_mesh.workdir.git_ignore import GITIGNORE
from tests.conftest import TOP, Run, WorkDir
from tests.support.goldens import read_files

Make = Callable[..., WorkDir]
NOW = datetime.now(UTC)


def program() -> str:
    """The program of the page."""
    (found,) = re.findall(r"```python\n(.*?)```", (TOP / "docs/library.md").read_text(), re.DOTALL)
    return str(found)


def printed(folder: Path) -> "subprocess.CompletedProcess[str]":
    """What the program prints in a folder."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program()],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_program_of_the_page_runs(workdir: Make, run: Run, tmp_path: Path) -> None:
    """Before a render it tells all that is new, after it nothing; of a mistake it tells what the commands tell."""
    made = workdir("mesh", tokens=True)
    new = printed(made.path.parent)
    assert (new.returncode, new.stderr) == (0, "")
    assert "3 clusters change" in new.stdout
    assert run("render", cwd=made).code == 0
    same = printed(made.path.parent)
    assert (same.returncode, same.stderr) == (0, "")
    assert same.stdout.splitlines() == [f"{len(read_files(made / 'out'))} files, 0 clusters change"]
    made.write("credentials/context-east-1.token", "")
    wrong = printed(made.path.parent)
    assert wrong.returncode == 1
    assert "credentials/context-east-1.token: is empty" in wrong.stderr


def test_it_is_typed(tmp_path: Path) -> None:
    """mypy takes the program as strict as the package, by py.typed."""
    assert (TOP / "kubectl_mesh/py.typed").read_bytes() == b""
    assert len(program().splitlines()) <= 20
    (tmp_path / "program.py").write_text(
        program() + "reveal_type(built.tree)\nreveal_type(change)\n"
    )
    words = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--cache-dir",
        str(tmp_path / "cache"),
        "program.py",
    ]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert re.findall(r'Revealed type is "(.*)"', done.stdout) == [
        "typing.Mapping[str, bytes]",
        "kubectl_mesh.differences.values.Diff",
    ]


def test_a_build_is_what_a_render_writes(workdir: Make, run: Run) -> None:
    """File by file, and without writing one; the certificates that it makes are the ones that the tree holds."""
    made = workdir(tokens=True)
    before = made.snapshot()
    built = build(load(made.path, NOW))
    assert made.snapshot() == before
    assert "root-cert.pem" in built.certs
    for path, body in built.certs.items():
        made.write(f"certs/{path}", body, 0o600)
    assert run("render", cwd=made).code == 0
    assert read_files(made / "out") == built.tree
    again = build(load(made.path, NOW))
    assert (again.tree, again.certs) == (built.tree, {})


def test_a_check_is_that_of_the_command(workdir: Make, run: Run) -> None:
    """The same statuses in the same order."""
    made = workdir()
    printed = json.loads(run("check", "-o", "json", cwd=made).out)["checks"]
    assert [(r.check.id, r.status) for r in check(made.path, NOW)] == [
        (c["id"], c["status"]) for c in printed
    ]


def test_a_diff_refuses_what_a_render_refuses(workdir: Make, run: Run) -> None:
    """Two roots that do not know each other."""
    made = workdir(tokens=True)
    first = build(load(made.path, NOW))
    second = build(load(made.path, NOW))
    change = diff(first.tree, second.tree)
    assert [p.id for p in change.order.refused] == ["root-exchange"]
    assert not diff(first.tree, first.tree).lines


def test_no_secret_shows(workdir: Make) -> None:
    """Nothing of a key is in a repr."""
    built = build(load(workdir(tokens=True).path, NOW))
    assert "PRIVATE" not in repr(built)
    assert b"PRIVATE" in b"".join(built.certs.values())


def test_what_is_wrong_is_one_error(workdir: Make) -> None:
    """All problems at once."""
    made = workdir(tokens=True)
    for name in ("context-east-1", "context-east-2"):
        made.write(f"credentials/{name}.token", "")
    with pytest.raises(MeshError) as caught:
        load(made.path, NOW)
    assert len(caught.value.problems) == 2


def test_the_command_line_starts_without_it() -> None:
    """Only who asks for a name loads it, and there are no others."""
    code = "import sys, kubectl_mesh; print('kubectl_mesh.operations.library' in sys.modules); kubectl_mesh.load; print(*sorted(kubectl_mesh.__all__))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "False",
        "MeshError",
        "__version__",
        "build",
        "check",
        "diff",
        "load",
    ]
    with pytest.raises(AttributeError, match="has no attribute 'rendre'"):
        kubectl_mesh.rendre  # noqa: B018


def test_git_starts_with_the_environment(workdir: Make, tmp_path: Path) -> None:
    """With HOME, git goes by the global excludes of its owner; without, private files that only these ignore are an error."""
    made = workdir(over={"secrets": {"store": "plain"}}, tokens=True)
    subprocess.run(["git", "init", "-q", made.path], check=True, capture_output=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "excludes").write_text(GITIGNORE)
    (tmp_path / "home/.gitconfig").write_text(f"[core]\n  excludesFile = {tmp_path / 'excludes'}\n")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home")}
    made.write(".gitignore", "")
    status = {
        name: {r.check.id: r.status for r in check(made.path, NOW, environment=e)}["git-ignored"]
        for name, e in (("with", environment), ("without", None))
    }
    assert status == {"with": "ok", "without": "error"}
