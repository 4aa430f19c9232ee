"""Golden trees as working directories: the cases below tests/golden, the day they were rendered on, and copies of them."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

from tests.conftest import TOP

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
