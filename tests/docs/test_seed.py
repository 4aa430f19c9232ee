"""The committed example: examples/seed and its tree in out/, as somebody has them who cloned the repository and has no key."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import TOP, Run

IDENTITY = TOP / "tests" / "seed.agekey"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What git would hand to somebody else, in a repository of its own; an sdist has no out/ and no git."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "examples/seed", "out"],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("this is no checkout of git")
    copy = tmp_path / "clone"
    for name in filter(lambda n: (TOP / n).exists(), listed.stdout.splitlines()):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TOP / name, copy / name)
    subprocess.run(["git", "init", "-q", copy], check=True)
    subprocess.run(["git", "-C", copy, "add", "."], check=True)
    return copy


def test_a_render_without_any_key_changes_nothing(clone: Path, run: Run) -> None:
    """No key and no token is there; `render --check` and `check` say yes all the same."""
    assert not [
        p
        for p in clone.rglob("*")
        if p.name in ("ca-key.pem", "root-key.pem", "seal-key") or p.suffix == ".token"
    ]
    ran = run("render", "-C", "examples/seed", "--out", "out", "--check", cwd=clone)
    assert (ran.code, ran.err) == (0, "")
    assert "identical 4 directories" in ran.out
    assert run("check", "-C", "examples/seed", "--out", "out", cwd=clone).code == 0


def test_a_change_is_seen_without_any_key(clone: Path, run: Run) -> None:
    """What is public may be rendered by anybody; what needs a key says which."""
    base = clone / "examples/seed/base.yaml"
    base.write_text(base.read_text().replace("/dev/stdout", "/dev/stderr"))
    assert run("render", "-C", "examples/seed", "--out", "out", "--check", cwd=clone).code == 1
    topology = clone / "examples/seed/topology.yaml"
    topology.write_text(topology.read_text().replace("203.0.113.12", "203.0.113.99"))
    ran = run("render", "-C", "examples/seed", "--out", "out", cwd=clone)
    assert ran.code == 2
    assert "credentials/context-east-2.token" in ran.err
    assert "certs/seal-key" in ran.err


def test_its_recipient_opens_it(clone: Path, run: Run) -> None:
    """The tree holds what it should, seen with the identity of its common recipient."""
    ran = run("verify", "-C", "examples/seed", "--out", "out", "--identity", IDENTITY, cwd=clone)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.count("verified  ") == 3


def test_it_is_what_the_page_describes(clone: Path) -> None:
    """The same clusters on the same networks as the topology of the page."""
    seed, page = (
        yaml.safe_load(path.read_text())
        for path in (clone / "examples/seed/topology.yaml", TOP / "examples/page/topology.yaml")
    )
    assert seed["mesh_id"] == page["mesh_id"]
    assert {c: v["network"] for c, v in seed["contexts"].items()} == {
        c: v["network"] for c, v in page["contexts"].items()
    }
