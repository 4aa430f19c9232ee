"""`diff`: changes of a mesh, each with the exact text, JSON and Markdown of what it does; and that no secret is in any of them."""

import base64
import json
import re
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from conftest import TOP, Golden, Run, merged

from kubectl_mesh import assets
from kubectl_mesh.cli import compose
from kubectl_mesh.cli import workdir as shell

CASES = TOP / "tests" / "diff"
NAMES = sorted(p.parent.name for p in CASES.glob("*/case.yaml"))
assert compose.now is shell.now, "imported before a test sets the clock"
DAY = datetime(2026, 12, 1, 12, 0, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "now", lambda: DAY)


def case(name: str) -> dict[str, Any]:
    """What a case says."""
    found: dict[str, Any] = yaml.safe_load((CASES / name / "case.yaml").read_text())
    return found


def lay(folder: Path, change: Mapping[str, Any]) -> None:
    """Lays a change over a working directory, or over a tree."""
    for name in ("topology", "base"):
        if name in change:
            path = folder / f"{name}.yaml"
            path.write_text(yaml.safe_dump(merged(yaml.safe_load(path.read_text()), change[name]), sort_keys=False))
    for target, source in change.get("copy", {}).items():
        place = folder / target
        if (CASES / source).is_dir():
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(CASES / source, place)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(CASES / source, place)
            if target == "certs/root-cert.pem":
                # Those beside the intermediates are made anew from it.
                for beside in folder.glob("certs/intermediate-*/root-cert.pem"):
                    beside.unlink()
    for path, text in change.get("write", {}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    for path, (old, new) in change.get("replace", {}).items():
        body = (folder / path).read_text()
        assert old in body
        (folder / path).write_text(body.replace(old, new))
    for path in change.get("remove", ()):
        (folder / path).unlink()
    for path in [*folder.rglob("*key.pem"), *folder.rglob("*.token"), *folder.rglob("seal-key")]:
        path.chmod(0o600)


@pytest.fixture
def built(tmp_path: Path, run: Run) -> Any:
    """Makes the working directory of a case: rendered, then changed."""

    def make(name: str) -> Path:
        what, mesh = case(name), tmp_path / "mesh"
        shutil.copytree(CASES / "base", mesh)
        lay(mesh, what.get("setup", {}))
        ran = run("render", cwd=mesh)
        assert ran.code == 0, ran.err
        lay(mesh, what.get("change", {}))
        lay(mesh / "out", what.get("tree", {}))
        return mesh

    return make


def secrets(mesh: Path) -> set[bytes]:
    """What nobody may see of a working directory: keys, tokens, ciphertexts; as they stand, in base64 and in hex, each in pieces."""
    found: set[bytes] = set()
    for path in [*mesh.rglob("*key.pem"), *mesh.rglob("*.token"), *mesh.rglob("seal-key")]:
        body = path.read_bytes()
        pieces = [piece for piece in body.split() if len(piece) > 15 and b"--" not in piece]
        for piece in pieces:
            found |= {
                piece,
                piece.hex().encode(),
                base64.b64encode(piece).rstrip(b"=")[:-1],
                base64.b64encode(b" " + piece)[4:24],
                base64.b64encode(b"  " + piece)[4:24],
            }
    for path in mesh.rglob("*.yaml"):
        for body in re.findall(rb"ENC\[AES256_GCM,data:([A-Za-z0-9+/]{16,})", path.read_bytes()):
            found |= {body[:40], body[-40:]}
        if "remote-secrets" in str(path):
            found |= {body[-60:-4] for body in re.findall(rb'^  [a-z0-9-]+: "?([A-Za-z0-9+/=]{200,})', path.read_bytes(), re.MULTILINE)}
    return {f for f in found if len(f) > 11}


@pytest.mark.parametrize("name", NAMES)
def test_a_change_is_told(name: str, built: Any, run: Run, golden: Golden) -> None:
    """Text, JSON and Markdown, byte for byte; the exit code; and no key, token or ciphertext in any of them."""
    what, mesh = case(name), built(name)
    hidden = secrets(mesh)
    assert len(hidden) > 20
    text = run("diff", cwd=mesh)
    value = run("diff", "-o", "json", cwd=mesh)
    markdown = run("diff", "-o", "markdown", cwd=mesh)
    assert (text.code, value.code, markdown.code) == (what.get("code", 0 if name == "foreign" else 1),) * 3, text.err
    golden(CASES / name / "text.txt", text.out)
    golden(CASES / name / "diff.json", value.out)
    golden(CASES / name / "diff.md", markdown.out)
    found = json.loads(value.out)
    jsonschema.Draft202012Validator(assets.schema("output/diff.schema.json")).validate(found)
    assert (found["order"]["refused"] is not None) == what.get("refused", False)
    for output in (text, value, markdown):
        for secret in hidden:
            assert secret not in output.out.encode() + output.err.encode(), secret
        for word in ("not-to-be-seen", "nobody-may-see", "PRIVATE KEY", "ENC["):
            assert word not in output.out + output.err


REFUSED = [name for name in NAMES if case(name).get("refused")]


@pytest.mark.parametrize("name", NAMES)
def test_render_refuses_what_is_safe_in_no_order(name: str, built: Any, run: Run) -> None:
    """With the steps that are safe, and nothing written; whatever else changes is rendered."""
    mesh = built(name)
    before = {p: p.read_bytes() for p in (mesh / "out").rglob("*") if p.is_file()}
    ran = run("render", cwd=mesh)
    if name not in REFUSED:
        assert ran.code == 0, ran.err
        assert run("diff", cwd=mesh).code == 0
        return
    assert ran.code == 2
    assert ran.err.startswith("error: certs/root-cert.pem: ")
    assert all(step in ran.err for step in ("1. trust both", "2. sign with the new", "3. drop the old"))
    assert {p: p.read_bytes() for p in (mesh / "out").rglob("*") if p.is_file()} == before
    assert run("render", "--check", cwd=mesh).code == 2
    checked = run("check", cwd=mesh)
    assert checked.code == 1
    assert "× root-exchange: certs/root-cert.pem: " in checked.out


def test_there_are_refused_cases() -> None:
    """Three ways to lose a mesh."""
    assert REFUSED == ["root-dropped-too-early", "roots-exchanged", "signer-too-early"]


def test_the_steps_that_are_told_are_taken(built: Any, run: Run) -> None:
    """The refusal's own steps, one render each, lead where it would not go at once; one cluster at a time is refused where others are behind."""
    mesh = built("roots-exchanged")
    assert run("render", cwd=mesh).code == 2
    for name in ("roots-grown", "signer-changed", "roots-shrunk"):
        if name == "roots-grown":
            shutil.rmtree(mesh / "certs")
            shutil.copytree(CASES / "base/certs", mesh / "certs")
        lay(mesh, case(name)["change"])
        told = run("diff", cwd=mesh)
        assert told.code == 1
        assert "safe in no order" not in told.out
        if name == "roots-grown":
            assert run("render", "--cluster", "east", cwd=mesh).code == 0
            lay(mesh, case("signer-changed")["change"])
            early = run("render", "--cluster", "east", cwd=mesh)
            assert early.code == 2
            assert "signed by a root that north, west does not trust yet" in early.err
            shutil.rmtree(mesh / "certs")
            shutil.copytree(CASES / "base/certs", mesh / "certs")
            lay(mesh, case(name)["change"])
        assert run("render", cwd=mesh).code == 0
    assert (mesh / "certs/root-cert.pem").read_bytes() == (CASES / "spare/b/root-cert.pem").read_bytes()


def test_a_root_that_is_missing_is_not_made_anew_under_a_running_mesh(built: Any, run: Run) -> None:
    """The tree says that there was one; without a tree it is made."""
    mesh = built("token-changed")
    shutil.rmtree(mesh / "certs")
    ran = run("render", cwd=mesh)
    assert ran.code == 2
    assert "certs/root-cert.pem: is missing, and a new root would take the place of the one" in ran.err
    assert not (mesh / "certs").exists()
    shutil.rmtree(mesh / "out")
    assert run("render", cwd=mesh).code == 0
