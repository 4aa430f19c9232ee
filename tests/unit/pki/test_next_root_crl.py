"""A root that is elsewhere is rotated while proxies go by CRLs: its CRL is asked for, taken in and applied before it signs."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from tests.conftest import Run, WorkDir
from tests.support.clocks import START, Clock
from tests.support.meshes import EAST, OTHER, WEST, Csr
from tests.support.rotations import ROTATE

Make = Callable[..., WorkDir]
LACKS = "certs/ca-crl.pem: has no valid CRL of O=new, CN=Root CA, which is to sign next: proxies would refuse what it signs\n"
FIX = "  fix: have its holder sign one, an empty one too; take it in with `kubectl mesh certs crl --add FILE`, render and apply\n"
ADVANCE = (*ROTATE, "advance", "--seen-for")


@pytest.fixture
def mesh(workdir: Make, run: Run, clock: Clock, tmp_path: Path) -> Csr:
    """A mesh with its root elsewhere, after a cluster was lost; the new root is trusted, and has no CRL yet."""
    made = Csr(workdir, run, tmp_path)
    made.start()
    made.quiet("render")
    made.quiet("remove", WEST)
    made.take("certs", "revoke", WEST)
    made.quiet("render")
    made.began = made.quiet(*ROTATE, "begin", "--root", "../new/certs/root-cert.pem").out  # type: ignore[attr-defined]
    return made


def crls(mesh: Csr) -> list[tuple[str, int]]:
    """The issuers of the bundle, in order, each with how many it revokes."""
    blocks = (mesh.place / "certs/ca-crl.pem").read_bytes().split(b"-----END X509 CRL-----\n")[:-1]
    found = [x509.load_pem_x509_crl(block + b"-----END X509 CRL-----\n") for block in blocks]
    return [(crl.issuer.rfc4514_string().split(",")[-1], len(crl)) for crl in found]


def test_it_is_asked_for(mesh: Csr) -> None:
    """By the step, by `status`, by every render, and by `check`; once it is there, by none."""
    line = "0. have the new root sign a CRL, an empty one too, for proxies go by CRLs; kubectl mesh certs crl --add FILE\n1. kubectl mesh render; "
    for text in (mesh.began, mesh.quiet(*ROTATE, "status").out):  # type: ignore[attr-defined]
        assert text.startswith(
            f"trust-both: every cluster is to trust the old root and the new one; the old one signs\n\n{line}"
        )
    assert mesh.quiet("render").err.count(f"warning: {LACKS}{FIX}") == 1
    found = json.loads(mesh.quiet("check", "-o", "json").out)["checks"]
    assert [c["status"] for c in found if c["id"] == "crl-complete"] == ["warning"]
    made = mesh.quiet("certs", "crl", "-C", "../new").out
    assert made == (
        f"create  ../new/certs/ca-crl.pem: CRL number 1, valid until {START + timedelta(days=365):%Y-%m-%d}\nnothing is revoked\n"
        "next: in the directory of the mesh, kubectl mesh certs crl --add ../new/certs/ca-crl.pem\n"
    )
    said = mesh.quiet("certs", "crl", "--add", "../new/certs/ca-crl.pem").out
    assert (
        "\ntrust-both counts from now on, for the new root may sign only where proxies have its CRL\n"
        in said
    )
    assert "\n0. " not in mesh.quiet(*ROTATE, "status").out
    assert LACKS not in mesh.quiet("render").err
    assert crls(mesh) == [("O=mymeshname", 0)] * 2 + [("O=old", 1), ("O=new", 0)]


def test_the_new_root_signs_only_after_it(mesh: Csr, clock: Clock) -> None:
    """Not without it; not before the tree has it; and not by what was seen before it came."""
    mesh.quiet("render")
    clock.pass_(days=2)
    before = mesh.place.snapshot()
    assert mesh.quiet(*ADVANCE, "24h", code=2).err == f"error: {LACKS}{FIX}"
    assert mesh.place.snapshot() == before
    mesh.quiet("certs", "crl", "-C", "../new")
    mesh.quiet("certs", "crl", "--add", "../new/certs/ca-crl.pem")
    behind = "has other CRLs than certs/ has, and the new root may sign only where proxies have its own\n"
    fix = "  fix: run `kubectl mesh render`, apply it everywhere, and see that it is there\n"
    assert mesh.quiet(*ADVANCE, "0h", code=2).err == "".join(
        f"error: out/{name}: {behind}{fix}" for name in (EAST, OTHER)
    )
    mesh.quiet("render")
    clock.pass_(hours=23)
    late = f"error: --seen-for: is longer than the step is old: trust-both was made on {START + timedelta(days=2):%Y-%m-%d %H:%M} UTC\n"
    assert mesh.quiet(*ADVANCE, "24h", code=2).err.startswith(late)
    clock.pass_(hours=1)
    mesh.quiet(*ADVANCE, "24h")


def test_it_stays_and_is_renewed(mesh: Csr, clock: Clock) -> None:
    """`certs crl` keeps it, the newest of a root alone; one that has ended is none."""
    mesh.quiet("certs", "crl", "-C", "../new", "--days", "20")
    mesh.quiet("certs", "crl", "--add", "../new/certs/ca-crl.pem")
    mesh.quiet("render")
    mesh.quiet("certs", "crl")
    assert crls(mesh) == [("O=mymeshname", 0)] * 2 + [("O=old", 1), ("O=new", 0)]
    since = json.loads((mesh.place / "certs/rotation.json").read_text())["since"]
    clock.pass_(days=1)
    mesh.quiet("certs", "crl", "-C", "../new", "--days", "20")
    assert (
        "counts from now on"
        not in mesh.quiet("certs", "crl", "--add", "../new/certs/ca-crl.pem").out
    )
    assert crls(mesh) == [("O=mymeshname", 0)] * 2 + [("O=old", 1), ("O=new", 0)]
    assert json.loads((mesh.place / "certs/rotation.json").read_text())["since"] == since
    clock.pass_(days=21)
    mesh.quiet("certs", "crl")
    mesh.quiet("render")
    assert mesh.quiet(*ADVANCE, "24h", code=2).err == f"error: {LACKS}{FIX}"


def test_the_way_back_needs_the_old_one(mesh: Csr, clock: Clock) -> None:
    """Where the old root's has ended meanwhile, it does not sign again until there is another."""
    mesh.quiet("certs", "crl", "-C", "../new", "--days", "900")
    mesh.quiet("certs", "crl", "--add", "../new/certs/ca-crl.pem")
    mesh.quiet("render")
    clock.pass_(days=2)
    mesh.take(*ADVANCE, "24h")
    mesh.quiet("render")
    clock.pass_(days=364)
    mesh.quiet("certs", "crl")
    said = mesh.quiet(*ROTATE, "abort", code=2).err
    assert said == f"error: {LACKS.replace('O=new', 'O=old')}{FIX}"
    mesh.quiet("certs", "crl", "-C", "../old")
    mesh.quiet("certs", "crl", "--add", "../old/certs/ca-crl.pem")
    assert mesh.quiet(*ROTATE, "abort").out.startswith("sign-old: ")


def test_whose_it_may_be(mesh: Csr, run: Run, tmp_path: Path) -> None:
    """A root that is trusted, and no other; nothing changes where it is refused."""
    mesh.root("stranger")
    mesh.quiet("certs", "crl", "-C", "../stranger")
    before = mesh.place.snapshot()
    said = mesh.quiet("certs", "crl", "--add", "../stranger/certs/ca-crl.pem", code=2).err
    assert (
        said
        == "error: ../stranger/certs/ca-crl.pem: is of no CA of this mesh, or not signed by it\n  fix: leave it out, or find out whose it is\n"
    )
    assert mesh.place.snapshot() == before
    # A mesh that has clusters begins with what is revoked; a directory without a root has nothing to sign with.
    (mesh.place / "certs/ca-crl.pem").unlink()
    assert mesh.quiet("certs", "crl", code=2).err.startswith(
        "error: certs/ca-crl.pem: is not there: nothing is revoked, and no proxy asks for it\n"
    )
    (tmp_path / "stranger/certs/root-key.pem").unlink()
    (tmp_path / "stranger/certs/ca-crl.pem").unlink()
    assert mesh.quiet("certs", "crl", "-C", "../stranger", code=2).err.startswith(
        "error: ../stranger/certs/root-key.pem: is not here, and its CRL is signed with it\n"
    )
