"""Tests mirror the package: each module has a test file of its name, or tests/tested_by.txt names the file that tests it."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import TOP

PACKAGE = TOP / "kubectl_mesh"


def module_name(path: Path) -> str:
    """`pki.issue` for kubectl_mesh/pki/issue.py, `pki` for its package, `__init__` for kubectl_mesh itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def has_code(path: Path) -> bool:
    """Whether a module is more than a docstring."""
    return any(
        not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in ast.parse(path.read_text()).body
    )


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py")) if has_code(path)}
FILES = {module_name(path) for path in PACKAGE.rglob("*.py")}


def own_file(module: str) -> Path:
    """The test file of a module's name."""
    *folders, name = module.split(".")
    unit = () if folders[:1] == ["cli"] else ("unit",)
    return TOP.joinpath("tests", *unit, *folders, f"test_{name}.py")


def read_table() -> Iterator[tuple[str, str, str]]:
    """Each module of the table, with its test file and the reason."""
    place = reason = ""
    for line in (TOP / "tests/tested_by.txt").read_text().splitlines():
        if heading := re.fullmatch(r"## (\S+): (.+)", line):
            place, reason = heading.groups()
        elif not line.startswith("#"):
            for module in line.split():
                yield module, place, reason


TABLE = list(read_table())


@cache
def imported_names(path: Path) -> set[str]:
    """The modules of the package that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found |= {n.removeprefix("kubectl_mesh.") for n in names if n.startswith("kubectl_mesh.")}
    return found & FILES


@cache
def reached_modules(module: str) -> frozenset[str]:
    """A module and all that it imports, and what these import."""
    found, new = set(), {module}
    while new:
        found |= new
        paths = [PACKAGE.joinpath(*name.split(".")) for name in new]
        new = {
            inner
            for path in paths
            for inner in imported_names(
                path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            )
        } - found
    return frozenset(found)


@cache
def named_verbs(path: Path) -> set[str]:
    """The modules of the verbs whose words a test file has among its texts."""
    tree = ast.parse(path.read_text())
    docstrings = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    words = {
        word
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
        for word in re.findall(r"[a-z]+", node.value)
    }
    stems = [name.removeprefix("cli.") for name in FILES if name.startswith("cli.")]
    return {f"cli.{stem}" for stem in stems if set(stem.split("_")) <= words}


def test_each_module_has_a_test_file_or_is_in_the_table() -> None:
    """And in the table are only modules that exist, once each."""
    listed = [module for module, _, _ in TABLE]
    assert len(set(listed)) == len(listed)
    assert not set(listed) - MODULES.keys(), "is not a module; take it from tests/tested_by.txt"
    missing = {name for name in MODULES if not own_file(name).exists()}
    assert not missing - set(listed), "has no test file and no line in tests/tested_by.txt"
    assert not set(listed) - missing, "has a test file; take it from tests/tested_by.txt"


@pytest.mark.parametrize("place", sorted({place for _, place, _ in TABLE}))
def test_a_file_of_the_table_runs_its_modules(place: str) -> None:
    """It imports each, or what imports it, or names the words of a verb that does."""
    path = TOP / place
    first = imported_names(path) | named_verbs(path)
    reached = {name for start in first for name in reached_modules(start)}
    modules = {module for module, file, _ in TABLE if file == place}
    # A module that only the table of verbs, the package or Python itself loads.
    assert modules - reached <= {"__init__", "__main__", "cli", "cli.clock"}
