"""Golden trees: a working directory in, and byte for byte the tree, the report and the description out."""

from pathlib import Path

import pytest

from kubectl_mesh.cli import clock as shell
from tests.conftest import Golden, Run
from tests.support.goldens import CASES, DAY, GOLDEN, copy_of, files


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
