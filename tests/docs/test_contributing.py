"""CONTRIBUTING.md: every example diff applies, and the commands of its section pass in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TOP

PAGE = TOP / "CONTRIBUTING.md"
SECTIONS = dict(
    re.findall(r"^## (Add .+?)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
)
PYTEST = ".venv/bin/python -m pytest -q "
SKIPPED = (".git", ".*_cache", ".venv*", ".hypothesis", "__pycache__", "golden", "adopt", "diff")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the repository with the programs and libraries of this virtual environment."""
    copy = tmp_path / "copy"

    def skip_names(folder: str, names: list[str]) -> set[str]:
        kept = SKIPPED if Path(folder).name == "tests" else SKIPPED[:5]
        return shutil.ignore_patterns(*kept)(folder, names)

    shutil.copytree(TOP, copy, ignore=skip_names)
    (copy / ".venv").mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (copy / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    (copy / ".venv/.ready").touch()
    return copy


def run_words(copy: Path, *words: str, text: str = "") -> None:
    """Runs a program in the copy, whose package comes before the installed one."""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "MAKE"))},
        "PYTHONPATH": str(copy),
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
        "GIT_CEILING_DIRECTORIES": str(copy.parent),
    }
    done = subprocess.run(
        words, cwd=copy, input=text, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_an_example_of_each_extension() -> None:
    """A section for each way to extend the package."""
    names = ("a target", "a store", "a delivery tool", "a check", "an Istio release")
    assert list(SECTIONS) == [f"Add {name}" for name in names]


def read_block(title: str, language: str) -> str:
    """The one block of a section in a language."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", SECTIONS[title], re.MULTILINE | re.DOTALL)
    return block


@pytest.mark.parametrize("title", SECTIONS)
def test_an_example_applies(title: str) -> None:
    """Each diff applies alone."""
    run_words(TOP, "git", "apply", "--check", "-", text=read_block(title, "diff"))


@pytest.mark.slow
def test_the_examples_work(copied: Path) -> None:
    """With all diffs applied, the commands of every section pass, and the code is formatted, linted and typed.

    What several sections run is run once, and their tests run in one process.
    """
    commands: list[str] = []
    tests: list[str] = []
    for title in SECTIONS:
        run_words(copied, "git", "apply", "-", text=read_block(title, "diff"))
        for line in read_block(title, "sh").splitlines():
            if line.startswith(PYTEST) and "--" not in line:
                tests += line.removeprefix(PYTEST).split()
            else:
                commands.append(line)
    assert len(set(tests)) == len(SECTIONS) + 1
    run_words(copied, "bash", "-euc", "\n".join(dict.fromkeys(commands)))
    run_words(copied, *PYTEST.split(), *dict.fromkeys(tests))
    run_words(copied, ".venv/bin/ruff", "format", "--check", "kubectl_mesh", "tests")
    run_words(copied, ".venv/bin/ruff", "check", "kubectl_mesh", "tests")
    run_words(copied, ".venv/bin/mypy", "--cache-dir", str(copied / ".mypy"))
    words = ("tests/unit/test_extension_points.py", "-k", "generated_words")
    run_words(copied, *PYTEST.split(), *words)
