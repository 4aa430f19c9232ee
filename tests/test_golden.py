"""Golden trees: a working directory in, and byte for byte the tree, the report and the description out."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kubectl_mesh.cli import clock as shell
from tests.conftest import TOP, Golden, Run

GOLDEN = TOP / "tests" / "golden"
CASES = sorted(p.parent.name for p in GOLDEN.glob("*/in"))
DAY = datetime(2026, 12, 1, 12, 0, 0, tzinfo=UTC)


def copy_of(case: str, to: Path) -> Path:
    """A working directory made from a case, its private files private, as a checkout of git does not have them."""
    shutil.copytree(GOLDEN / case / "in", to)
    for path in [*to.rglob("*key.pem"), *to.rglob("*.token"), *to.rglob("seal-key")]:
        path.chmod(0o600)
    if (to / "certs" / "seal-key").exists() and (GOLDEN / case / "tree").is_dir():
        # What age and RSA make by chance is in the tree, where a render keeps it.
        shutil.copytree(GOLDEN / case / "tree", to / "out")
    return to


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.mark.parametrize("case", CASES)
def test_tree_report_and_description(
    case: str, tmp_path: Path, run: Run, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a render writes and prints, and what `describe` says of it."""
    monkeypatch.setattr(shell, "now", lambda: DAY)
    mesh = copy_of(case, tmp_path / "mesh")
    ran = run("render", cwd=mesh)
    assert ran.code == 0
    golden.tree(GOLDEN / case / "tree", files(mesh / "out"))
    golden(GOLDEN / case / "stdout.txt", ran.out)
    golden(GOLDEN / case / "stderr.txt", ran.err)
    described = run("describe", cwd=mesh)
    assert described.code == 0
    golden(GOLDEN / case / "describe.txt", described.out)
    again = run("render", cwd=mesh)
    assert again.code == 0
    assert f"identical {len(list((mesh / 'out').iterdir()))} director" in again.out
    assert files(mesh / "out") == files(GOLDEN / case / "tree")
    assert run("render", "--check", cwd=mesh).code == 0


def test_there_are_cases() -> None:
    """A folder that moved away would make the tests above empty."""
    assert {"first-day", "seed", "fleet"} <= set(CASES)
