"""The source of the package, module by module."""

import ast
from collections.abc import Iterator

from tests.conftest import TOP

PACKAGE = TOP / "kubectl_mesh"


def list_modules() -> Iterator[tuple[str, ast.Module, str]]:
    """Every module of the package: its path below it, its tree and its text."""
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text()
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(text), text
