"""What may stand in the place of a certificate or a CRL: too much, no text, names that lead a terminal, a calendar or a reader astray."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kubectl_mesh.pki.certificate_builder import build_root
from kubectl_mesh.pki.profile import CertificateProfile
from tests.conftest import Run, WorkDir
from tests.support.authorities import make_root, openssl
from tests.support.clocks import Clock
from tests.support.rotations import ROTATE, advance, render_sail_mesh, rendered

Make = Callable[..., WorkDir]
UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
HOSTILE = "\x1b[31m\u202egnp\u200b;\r\n,BEGIN:X\u2066\x00"


@pytest.fixture
def mesh(workdir: Make, run: Run, clock: Clock) -> WorkDir:
    """The mesh of each test."""
    return render_sail_mesh(workdir, run)


def refused(run: Run, mesh: WorkDir, words: "tuple[str | Path, ...]", said: str) -> None:
    """In this one sentence, and nothing is written."""
    before = mesh.snapshot()
    ran = run(*words, cwd=mesh)
    assert (ran.code, ran.err) == (2, f"error: {words[-1]}: {said}\n")
    assert {k: v for k, v in mesh.snapshot().items() if not k.endswith(".lock")} == {
        k: v for k, v in before.items() if not k.endswith(".lock")
    }


# Certificates


TAKING = (
    ("certs", "import-root", "--union"),
    ("certs", "revoke", "--certificate"),
    ("certs", "crl", "--add"),
    ("certs", "sign", "--to", "signed"),
)


@pytest.mark.parametrize("verb", TAKING, ids=" ".join)
def test_no_file_of_this_kind(
    mesh: WorkDir, run: Run, tmp_path: Path, verb: tuple[str, ...]
) -> None:
    """A socket, a link in a circle, a file of 17 MiB that begins as it should: told what is wrong, and what to do."""
    if verb[1] == "crl":
        assert run("remove", "context-west-1", cwd=mesh).code == 0
        assert run("certs", "revoke", "context-west-1", cwd=mesh).code == 0
    make_root(tmp_path / "own")
    huge = tmp_path / "huge.pem"
    huge.write_bytes((tmp_path / "own/own.pem").read_bytes() + b"#" * (17 << 20))
    refused(
        run,
        mesh,
        (*verb, huge),
        "is larger than 16 MiB, so no file of this kind\n  fix: name the right one, or put it back",
    )
    os.symlink("circle.pem", tmp_path / "circle.pem")
    refused(
        run,
        mesh,
        (*verb, tmp_path / "circle.pem"),
        "is a symbolic link that leads in a circle\n  fix: put the file itself there",
    )
    with socket.socket(socket.AF_UNIX) as made:
        old = Path.cwd()
        os.chdir(tmp_path)
        try:
            made.bind("socket.pem")
        finally:
            os.chdir(old)
        refused(
            run,
            mesh,
            (*verb, tmp_path / "socket.pem"),
            "is no regular file\n  fix: put the file itself there",
        )


def test_roots_that_no_cluster_could_take(workdir: Make, run: Run, tmp_path: Path) -> None:
    """More than a Secret holds, bytes that a ConfigMap has no room for, a serial number that RFC 5280 forbids."""
    mesh = workdir(over={"certificates": {"issuer": "csr"}})
    make_root(tmp_path / "own")
    own = (tmp_path / "own/own.pem").read_bytes()
    small = "is larger than 1 MiB, which a Secret of Kubernetes may have at most\n  fix: leave out what the mesh does not need"
    text = "has bytes beside its certificates that are no text, and a ConfigMap takes none\n"
    text += "  fix: leave out all that is not between BEGIN CERTIFICATE and END CERTIFICATE"
    for body, said in (
        (own * 3000, small),
        (b"# caf\xe9\n" + own, text),
        (b"\x1b[2J\n" + own, text),
    ):
        (tmp_path / "odd.pem").write_bytes(body)
        refused(run, mesh, ("certs", "import-root", tmp_path / "odd.pem"), said)
    (tmp_path / "utf-8.pem").write_bytes("# Autorité de certification\n".encode() + own)
    assert run("certs", "import-root", tmp_path / "utf-8.pem", cwd=mesh).code == 0


@pytest.mark.parametrize("serial", ["0", "-5"])
def test_serials_that_are_not_positive(workdir: Make, tmp_path: Path, serial: str) -> None:
    """Told by us, and not by a warning of a library that names a file of this machine."""
    mesh = workdir(over={"certificates": {"issuer": "csr"}})
    make_root(tmp_path / "own")
    words = (
        "req",
        "-x509",
        "-config",
        "root.conf",
        "-new",
        "-key",
        "own.key",
        "-days",
        "3650",
        "-subj",
        "/CN=odd",
        "-set_serial",
        serial,
    )
    openssl(
        *words,
        "-addext",
        "basicConstraints=critical,CA:TRUE",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
        "-out",
        "odd.pem",
        cwd=tmp_path / "own",
    )
    words = (
        sys.executable,
        "-m",
        "kubectl_mesh",
        "certs",
        "import-root",
        str(tmp_path / "own/odd.pem"),
    )
    ran = subprocess.run(words, cwd=mesh.path, capture_output=True, text=True, check=False)
    what = "holds a certificate with a serial number that is not positive; RFC 5280 forbids it, and what reads certificates refuses it"
    assert (ran.returncode, ran.stderr) == (
        2,
        f"error: {words[-1]}: {what}\n  fix: have it made anew with a positive one\n",
    )


def test_subjects_that_lead_astray(workdir: Make, run: Run, clock: Clock, tmp_path: Path) -> None:
    """Controls and invisible characters of a subject reach no terminal and no calendar; in JSON they mean what they are."""
    mesh = workdir(over={"certificates": {"issuer": "csr"}})
    key = ec.generate_private_key(ec.SECP256R1())
    root = build_root(CertificateProfile("acme", "ec-p256", 3650, 730, {}), key, clock.now)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOSTILE)])
    builder = x509.CertificateBuilder(
        name,
        name,
        key.public_key(),
        5,
        root.not_valid_before_utc,
        root.not_valid_after_utc,
        list(root.extensions),
    )
    path = tmp_path / "root.pem"
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    assert run("certs", "import-root", path, cwd=mesh).code == 0
    for words in ((), ("-o", "json")):
        ran = run("certs", "status", *words, cwd=mesh)
        assert ran.code == 0
        assert not UNSEEN.search(ran.out)
    assert json.loads(ran.out)["roots"][0]["subject"] == f"CN={HOSTILE}"
    calendar = run("certs", "status", "-o", "ics", cwd=mesh).out
    assert not UNSEEN.search(calendar.replace("\r\n", ""))
    # The root, and the CAs of three API servers.
    begins = ["BEGIN:VEVENT", "BEGIN:VALARM"] * 4
    assert [line for line in calendar.split("\r\n") if line.startswith("BEGIN:")] == [
        "BEGIN:VCALENDAR",
        *begins,
    ]
    assert (
        r"the root CN=\\x1b[31m\\u202egnp\\u200b\;\\x0d\n\,BEGIN:X\\u2066\\x00 ends"
        in calendar.replace("\r\n ", "")
    )


def test_no_newline_at_the_end_of_the_roots(mesh: WorkDir, run: Run, clock: Clock) -> None:
    """As an editor leaves a file: every step of a rotation is taken all the same, and the bundle is sound after it."""
    assert run(*ROTATE, "begin", cwd=mesh).code == 0
    for _ in range(2):
        for path in (mesh / "certs").rglob("root-cert.pem"):
            path.write_bytes(path.read_bytes().rstrip(b"\n"))
        rendered(mesh, run)
        advance(mesh, run, clock)
    bundle = (mesh / "certs/root-cert.pem").read_bytes()
    assert bundle.count(b"BEGIN") == 1
    assert bundle.endswith(b"-----END CERTIFICATE-----\n")


# CRLs


@pytest.fixture
def revoked(mesh: WorkDir, run: Run) -> WorkDir:
    """The page's mesh, with one cluster that was lost."""
    assert run("remove", "context-west-1", cwd=mesh).code == 0
    assert run("certs", "revoke", "context-west-1", cwd=mesh).code == 0
    rendered(mesh, run)
    return mesh


@pytest.mark.parametrize(
    "body", [b"", b"\x00\xff", b"-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n"]
)
def test_crls_that_cannot_be_read(revoked: WorkDir, run: Run, body: bytes) -> None:
    """No verb makes them anew, for what they revoked would be lost; the way that is told instead works."""
    revoked.write("certs/ca-crl.pem", body)
    fix = "put it back as git has it; where it is lost, move it away and revoke anew with `kubectl mesh certs revoke`"
    for verb in (
        ("certs", "crl"),
        ("certs", "crl", "--clear"),
        ("certs", "revoke", "context-west-1"),
        ("render",),
    ):
        ran = run(*verb, cwd=revoked)
        assert ran.code == 2
        assert ran.err.startswith("error: certs/ca-crl.pem: ")
        assert ran.err.endswith(f"\n  fix: {fix}\n")
    (revoked / "certs/ca-crl.pem").unlink()
    assert run("certs", "revoke", "context-west-1", cwd=revoked).code == 0
    rendered(revoked, run)
    assert run("check", cwd=revoked).code == 0


def test_a_crl_that_cannot_be_cleared(revoked: WorkDir, run: Run, clock: Clock) -> None:
    """Of a root that signs no more: what it revoked stays revoked, and is told once, with the reason."""
    assert run(*ROTATE, "begin", cwd=revoked).code == 0
    rendered(revoked, run)
    advance(revoked, run, clock)
    rendered(revoked, run)
    (key,) = (revoked / "certs/archive").glob("root-*/root-key.pem")
    key.unlink()
    body = (revoked / "certs/ca-crl.pem").read_bytes()
    revoked.write("certs/ca-crl.pem", body + body)
    ran = run("certs", "crl", "--clear", cwd=revoked)
    assert ran.code == 0
    assert ran.out.count("revoked ") == 1
    assert (
        "\nits CRL is kept until it ends, for it is of a root that signs no more, and whose key is not here\n"
        in ran.out
    )


def test_all_that_cannot_be_revoked(revoked: WorkDir, run: Run) -> None:
    """Revoked already, in use, not there, no certificate: one run tells all of it, and nothing is signed. Named twice, it is revoked once."""
    odd = revoked.write("odd.pem", "x")
    before = (revoked / "certs/ca-crl.pem").read_bytes()
    ran = run(
        "certs",
        "revoke",
        "context-west-1",
        "context-east-1",
        "nope",
        "../x",
        "--certificate",
        odd,
        cwd=revoked,
    )
    assert ran.code == 2
    said = (
        "is what",
        "is revoked already",
        "intermediate-nope/ca-cert.pem: is not there",
        "intermediate-../x/ca-cert.pem: is not there",
        "is not made of PEM",
    )
    assert [word for word in said if word not in ran.err] == []
    assert (revoked / "certs/ca-crl.pem").read_bytes() == before
    assert run("certs", "crl", "--clear", cwd=revoked).code == 0
    ran = run("certs", "revoke", "context-west-1", "context-west-1", cwd=revoked)
    assert (ran.code, ran.out.count("revoked ")) == (0, 1)


def test_all_files_that_are_not_there(workdir: Make, run: Run) -> None:
    """Of several that are named."""
    mesh = workdir(over={"certificates": {"issuer": "csr"}})
    for words in (
        ("certs", "import-root", "no.pem", "--key", "no.key"),
        ("certs", "import", "context-east-1", "no.pem", "--root", "no.key"),
    ):
        ran = run(*words, cwd=mesh)
        assert (ran.code, ran.err.count("is not there")) == (2, 2)
