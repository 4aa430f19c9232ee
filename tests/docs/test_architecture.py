"""docs/architecture.md and SECURITY.md: packages and tests that they name exist."""

import re
import tomllib
from collections.abc import Iterator

import pytest

from tests.conftest import TOP

PAGE = (TOP / "docs/architecture.md").read_text()


def test_the_page_lists_the_packages() -> None:
    """Every package of `kubectl_mesh` has a line, and the order is that of import-linter's layers."""
    listed = re.findall(r"^\| `(\w+)` \|", PAGE.split("\n## Packages\n")[1], re.MULTILINE)
    contracts = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = [c["layers"] for c in contracts["contracts"] if c["type"] == "layers"]
    found = {
        path.stem
        for path in (TOP / "kubectl_mesh").iterdir()
        if not path.name.startswith(("_", "py."))
    }
    assert listed == layers
    assert set(listed) == found


def list_named_tests() -> Iterator[tuple[str, str]]:
    """Each page, and each test that it names."""
    for page in ("docs/architecture.md", "SECURITY.md"):
        for name in re.findall(r"`(test_\w+)`", (TOP / page).read_text()):
            yield page, name


@pytest.mark.parametrize(("page", "name"), list(list_named_tests()))
def test_named_tests_exist(page: str, name: str) -> None:
    """A statement that names a test has that test."""
    wanted = re.compile(rf"^def {name}\(", re.MULTILINE)
    assert any(wanted.search(p.read_text()) for p in (TOP / "tests").rglob("test_*.py")), name
