"""`kubectl mesh certs status` and `certs renew`: what is there is shown as it is, and what is replaced is never lost."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import TOP, Golden, Run, WorkDir
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from test_golden import DAY, copy_of

from kubectl_mesh import assets
from kubectl_mesh.cli import workdir as shell

Make = Callable[..., WorkDir]
TEXTS = TOP / "tests" / "golden" / "certs"
NAMES = ("context-east-1", "context-east-2", "context-west-1")


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkDir:
    """The page's mesh with the certificates of the golden case, on the day of the golden cases."""
    monkeypatch.setattr(shell, "now", lambda: DAY)
    return WorkDir(copy_of("seed", tmp_path / "mesh"))


def status(mesh: WorkDir, run: Run) -> dict[str, Any]:
    """The status for programs, checked against its schema."""
    ran = run("certs", "status", "-o", "json", cwd=mesh)
    assert ran.code == 0, ran.err
    value: dict[str, Any] = json.loads(ran.out)
    jsonschema.Draft202012Validator(assets.schema("output/certs-status.schema.json")).validate(value)
    return value


def load(path: Path) -> list[x509.Certificate]:
    """The certificates of a file."""
    return x509.load_pem_x509_certificates(path.read_bytes())


def fingerprint(path: Path) -> str:
    """Of the first certificate of a file, as openssl prints it, but lower case and without colons."""
    return load(path)[0].fingerprint(hashes.SHA256()).hex()


# certs status


def test_status_text(mesh: WorkDir, run: Run, golden: Golden) -> None:
    """For people: every certificate, in 80 columns."""
    ran = run("certs", "status", cwd=mesh)
    assert (ran.code, ran.err) == (0, "")
    golden(TEXTS / "status.txt", ran.out)
    assert max(map(len, ran.out.splitlines())) <= 80


def test_status_json(mesh: WorkDir, run: Run) -> None:
    """For programs: what the files say, who signed whom, which keys are here."""
    value = status(mesh, run)
    (root,) = value["roots"]
    assert root["fingerprint"] == fingerprint(mesh / "certs/root-cert.pem")
    assert (root["signs"], root["keyHere"], root["trusted"]) == (True, True, True)
    assert [i["cluster"] for i in value["intermediates"]] == list(NAMES)
    for one in value["intermediates"]:
        certificate = load(mesh / f"certs/intermediate-{one['cluster']}/ca-cert.pem")[0]
        assert one["serial"] == f"{certificate.serial_number:x}"
        assert one["notAfter"] == f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
        assert one["signedBy"] == root["fingerprint"]
    (mesh / "certs/root-key.pem").unlink()
    (mesh / "certs/intermediate-context-east-1/ca-key.pem").unlink()
    (mesh / "certs/archive/intermediate-east-1").mkdir(parents=True)
    value = status(mesh, run)
    assert (value["roots"][0]["signs"], value["roots"][0]["keyHere"]) == (True, False)
    assert [i["keyHere"] for i in value["intermediates"]] == [False, True, True]
    assert value["archived"] == 1


def test_status_of_what_has_expired(mesh: WorkDir, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is shown all the same: that is when one looks."""
    end = load(mesh / "certs/intermediate-context-east-1/ca-cert.pem")[0].not_valid_after_utc
    monkeypatch.setattr(shell, "now", lambda: end + timedelta(days=2, hours=1))
    ran = run("certs", "status", cwd=mesh)
    assert ran.code == 0
    assert ran.out.count(", expired 2 days ago\n") == 3
    assert status(mesh, run)["intermediates"][0]["daysLeft"] == -3
    assert run("check", cwd=mesh).code == 1


def test_status_of_nothing(workdir: Make, run: Run) -> None:
    """Before the first render, and where no certificate is here at all."""
    mesh = workdir()
    value = status(mesh, run)
    assert (value["roots"], value["intermediates"], value["missing"]) == ([], [], list(NAMES))
    assert "no root yet: `kubectl mesh render` makes one\n" in run("certs", "status", cwd=mesh).out
    mesh.topology({"certificates": {"issuer": "cert-manager", "issuerRef": {"name": "ca"}, "keyType": None}})
    ran = run("certs", "status", cwd=mesh)
    assert ran.code == 2
    assert re.fullmatch(r"error: topology\.yaml: says issuer: cert-manager, which makes the certificates in the clusters; none is here\n  fix: .*\n", ran.err)


def test_status_wraps_long_names(mesh: WorkDir, run: Run) -> None:
    """A name of 63 characters, and an organization of many words, still fit a terminal."""
    mesh.topology({"mesh_id": "m" * 60, "contexts": {"c" * 63: {"network": "network-far"}}})
    ran = run("certs", "status", cwd=mesh)
    assert ran.code == 0
    assert max(map(len, ran.out.splitlines())) <= 80


def test_help_of_every_verb_below_certs(run: Run) -> None:
    """--help fits a terminal."""
    for verb in ("status", "csr", "sign", "import", "export"):
        ran = run("certs", verb, "--help")
        assert ran.code == 0
        assert max(map(len, ran.out.splitlines())) <= 80, ran.out
