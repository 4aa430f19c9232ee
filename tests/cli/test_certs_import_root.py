"""`kubectl mesh certs import-root`: an own root is judged, taken in whole, and replaces nothing."""

import json
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import Golden, Run, WorkDir
from tests.support.authorities import (
    CA,
    cacerts,
    dump,
    make_root,
    makefile,
    openssl,
    printed,
    self_signed,
)
from tests.support.clocks import Clock
from tests.support.rotations import ISTIO, NAMES, TEXTS

Make = Callable[..., WorkDir]
ROTATE = ("certs", "rotate-root")


@pytest.fixture
def mesh(workdir: Make) -> WorkDir:
    """The page's mesh, without certificates."""
    return workdir(over={"secrets": {"store": "plain"}})


def test_with_its_key_it_signs_here(mesh: WorkDir, run: Run) -> None:
    """Certificate and key are copied as they are, the key for nobody else; the render signs with them."""
    make_root(mesh.path)
    ran = run("certs", "import-root", "own.pem", "--key", "own.key", cwd=mesh)
    assert (ran.code, ran.out) == (0, "create  certs/root-cert.pem\ncreate  certs/root-key.pem\n")
    assert (
        ran.err
        == "wrote .gitignore, which keeps keys and tokens out of git\nnext: kubectl mesh render\n"
    )
    assert (mesh / "certs/root-cert.pem").read_bytes() == (mesh / "own.pem").read_bytes()
    assert (mesh / "certs/root-key.pem").read_bytes() == (mesh / "own.key").read_bytes()
    assert stat.S_IMODE((mesh / "certs/root-key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((mesh / "certs").stat().st_mode) == 0o700
    assert run("render", cwd=mesh).code == 0
    for name in ("context-east-1", "context-east-2", "context-west-1"):
        openssl(
            "verify",
            "-x509_strict",
            "-CAfile",
            "own.pem",
            f"certs/intermediate-{name}/ca-cert.pem",
            cwd=mesh.path,
        )
    before = mesh.snapshot()
    ran = run("certs", "import-root", "own.pem", "--key", "own.key", cwd=mesh)
    assert (ran.code, ran.out) == (0, "keep    certs/root-cert.pem\nkeep    certs/root-key.pem\n")
    assert mesh.snapshot() == before


def test_before_there_is_a_mesh(tmp_path: Path, run: Run) -> None:
    """The root comes first, and `init` keeps it."""
    make_root(tmp_path)
    ran = run("certs", "import-root", "-C", "mesh", "own.pem", "--key", "own.key", cwd=tmp_path)
    assert ran.code == 0
    assert ran.err.endswith("next: kubectl mesh init -C mesh --mesh-id NAME\n")
    assert (
        "keep    mesh/certs/root-cert.pem\n"
        in run("init", "-C", "mesh", "--mesh-id", "acme", cwd=tmp_path).out
    )
    assert (tmp_path / "mesh/certs/root-cert.pem").read_bytes() == (
        tmp_path / "own.pem"
    ).read_bytes()


def test_without_its_key_somebody_else_signs(workdir: Make, run: Run) -> None:
    """Under issuer csr the certificate alone is taken; under local it is refused, with both ways."""
    mesh = workdir()
    make_root(mesh.path)
    ran = run("certs", "import-root", "own.pem", cwd=mesh)
    assert (ran.code, ran.err) == (
        2,
        (
            "error: topology.yaml: says issuer: local, and without its key the root in own.pem signs nothing here\n"
            "  fix: give --key FILE; or write `certificates: {issuer: csr}`, and somebody else signs\n"
        ),
    )
    assert not (mesh / "certs").exists()
    mesh.topology({"certificates": {"issuer": "csr"}})
    assert run("certs", "import-root", "own.pem", cwd=mesh).out == "create  certs/root-cert.pem\n"
    assert not (mesh / "certs/root-key.pem").exists()


def test_a_bundle_signs_with_the_one_that_has_the_key(mesh: WorkDir, run: Run) -> None:
    """Several roots in one file are all trusted; one of them signs."""
    make_root(mesh.path, "old")
    make_root(mesh.path)
    mesh.write("both.pem", (mesh / "old.pem").read_bytes() + (mesh / "own.pem").read_bytes())
    assert run("certs", "import-root", "both.pem", "--key", "own.key", cwd=mesh).code == 0
    assert run("render", cwd=mesh).code == 0
    openssl(
        "verify",
        "-CAfile",
        "own.pem",
        "certs/intermediate-context-east-1/ca-cert.pem",
        cwd=mesh.path,
    )
    ran = run("certs", "import-root", "both.pem", "--key", "other.key", cwd=mesh)
    assert (ran.code, ran.err) == (
        2,
        "error: other.key: is not there\n  fix: name the root's key\n",
    )


LEAF = ("-addext", "basicConstraints=critical,CA:FALSE", "-addext", "keyUsage=critical,keyCertSign")
UNFIT = {
    "leaf": (
        {"extra": LEAF},
        "own.pem: is not a CA certificate (no CA:TRUE)\n  fix: use a CA certificate, not a leaf\n",
    ),
    "no-sign": (
        {
            "extra": (
                "-addext",
                "basicConstraints=critical,CA:TRUE",
                "-addext",
                "keyUsage=critical,cRLSign",
            )
        },
        "own.pem: may not sign certificates (no keyCertSign)\n  fix: use a CA certificate\n",
    ),
    "pathlen": (
        {"extra": ("-addext", "basicConstraints=critical,CA:TRUE,pathlen:0", *CA[2:])},
        "own.pem: has pathlen:0, so it may not sign an intermediate\n  fix: use another root\n",
    ),
    "ed25519": (
        {"key": ("ED25519",)},
        (
            "own.key: is neither an RSA key of at least 2048 bits nor an EC key on P-256 or P-384, which is what istiod and Envoy take\n"
            "  fix: use a key of such a type\n"
            "error: own.pem: has neither an RSA key of at least 2048 bits nor an EC key on P-256 or P-384, which is what istiod and Envoy take\n"
            "  fix: use a root with such a key\n"
        ),
    ),
    "rsa-1024": (
        {"key": ("RSA", "-pkeyopt", "rsa_keygen_bits:1024")},
        (
            "own.key: is neither an RSA key of at least 2048 bits nor an EC key on P-256 or P-384, which is what istiod and Envoy take\n"
            "  fix: use a key of such a type\n"
            "error: own.pem: has neither an RSA key of at least 2048 bits nor an EC key on P-256 or P-384, which is what istiod and Envoy take\n"
            "  fix: use a root with such a key\n"
        ),
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_is_no_root_is_refused(case: str, mesh: WorkDir, run: Run) -> None:
    """Every reason at once, and nothing is written."""
    how, text = UNFIT[case]
    make_root(mesh.path, **how)
    before = mesh.snapshot()
    ran = run("certs", "import-root", "own.pem", "--key", "own.key", cwd=mesh)
    assert (ran.code, ran.out, ran.err) == (2, "", f"error: {text}")
    assert mesh.snapshot() == before


def test_dates(mesh: WorkDir, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A root that has expired, or is not valid yet."""
    from datetime import UTC, datetime

    from kubectl_mesh.cli import clock as shell

    make_root(mesh.path)
    for year, what in ((2050, "expired on 20"), (2020, "is not valid before 20")):
        monkeypatch.setattr(shell, "read_clock", lambda year=year: datetime(year, 1, 1, tzinfo=UTC))
        ran = run("certs", "import-root", "own.pem", "--key", "own.key", cwd=mesh)
        assert ran.code == 2
        assert f"error: own.pem: {what}" in ran.err
        assert ran.err.endswith("fix: take a root that is valid today\n")


def test_keys(mesh: WorkDir, run: Run) -> None:
    """A key of another root, one that is encrypted, a certificate in its place; a key with EC PARAMETERS before it is taken, for only we read it."""
    make_root(mesh.path)
    make_root(mesh.path, "other")

    def said(key: str) -> str:
        ran = run("certs", "import-root", "own.pem", "--key", key, cwd=mesh)
        assert ran.code == 2
        assert not (mesh / "certs").exists()
        return ran.err.removeprefix("error: ")

    assert (
        said("other.key")
        == "other.key: does not belong to own.pem\n  fix: give the pair that belongs together\n"
    )
    openssl(
        "pkey",
        "-in",
        "own.key",
        "-aes256",
        "-passout",
        "pass:x",
        "-out",
        "locked.key",
        cwd=mesh.path,
    )
    assert said("locked.key") == (
        "locked.key: is encrypted, and nobody could be asked for its password\n  fix: write it anew with `openssl pkey -in locked.key -out NEW`\n"
    )
    assert said("own.pem") == "own.pem: is not a PEM private key\n  fix: put back the key\n"
    openssl("ecparam", "-name", "prime256v1", "-out", "parameters.pem", cwd=mesh.path)
    mesh.write("with.key", (mesh / "parameters.pem").read_bytes() + (mesh / "own.key").read_bytes())
    assert run("certs", "import-root", "own.pem", "--key", "with.key", cwd=mesh).code == 0
    assert run("render", cwd=mesh).code == 0


def test_certificate_and_key_exchanged_shows_no_key(mesh: WorkDir, run: Run) -> None:
    """The private key in the place of the certificate."""
    make_root(mesh.path)
    ran = run("certs", "import-root", "own.key", "--key", "own.pem", cwd=mesh)
    assert ran.code == 2
    assert ran.err == (
        "error: own.key: holds a private key; it is a public file\n  fix: take the key out, and take it for known to others\n"
    )


def test_an_intermediate_is_no_root(mesh: WorkDir, run: Run) -> None:
    """What another signed."""
    make_root(mesh.path)
    assert run("certs", "import-root", "own.pem", "--key", "own.key", cwd=mesh).code == 0
    assert run("render", cwd=mesh).code == 0
    below = mesh / "certs/intermediate-context-east-1"
    other = mesh / "elsewhere"
    ran = run(
        "certs",
        "import-root",
        "-C",
        other,
        below / "ca-cert.pem",
        "--key",
        below / "ca-key.pem",
        cwd=mesh,
    )
    assert ran.code == 2
    assert (
        "ca-cert.pem: has pathlen:0, so it may not sign an intermediate\n  fix: use another root\n"
        in ran.err
    )
    assert ran.err.endswith(
        "is signed by another: it is no root\n  fix: give the self-signed certificate at the end of its chain\n"
    )
    assert not (other / "certs").exists()


def test_another_root_is_there(mesh: WorkDir, run: Run) -> None:
    """It is kept, and the way to another is told."""
    assert run("render", cwd=mesh).code == 0
    make_root(mesh.path)
    before = mesh.snapshot()
    ran = run("certs", "import-root", "own.pem", "--key", "own.key", cwd=mesh)
    assert (ran.code, ran.err) == (
        2,
        (
            "error: own.pem: does not belong to certs/root-key.pem, which is there and is kept\n"
            "  fix: find out which root is the mesh's; `kubectl mesh certs rotate-root begin` brings in another root while traffic flows\n"
            "error: own.pem: is another root than certs/root-cert.pem, which is there and is kept\n"
            "  fix: `kubectl mesh certs rotate-root begin` brings in another root while traffic flows\n"
        ),
    )
    assert mesh.snapshot() == before


def test_the_root_of_what_is_there_comes_back(mesh: WorkDir, run: Run) -> None:
    """A lost root certificate is taken in again; another is refused, for it signed none of the intermediates."""
    assert run("render", cwd=mesh).code == 0
    shutil.move(mesh / "certs/root-cert.pem", mesh / "back.pem")
    shutil.move(mesh / "certs/root-key.pem", mesh / "back.key")
    make_root(mesh.path)
    ran = run("certs", "import-root", "own.pem", "--key", "own.key", cwd=mesh)
    assert ran.code == 2
    assert ran.err.count("is not signed by own.pem") == 3
    assert run("certs", "import-root", "back.pem", "--key", "back.key", cwd=mesh).code == 0
    assert run("render", "--check", cwd=mesh).code == 0


def test_git_would_take_the_key(mesh: WorkDir, run: Run) -> None:
    """A .gitignore that lets the key through is refused before it is written."""
    subprocess.run(["git", "init", "-q", mesh.path], check=True)
    mesh.write(".gitignore", "out/\n")
    make_root(mesh.path)
    ran = run("certs", "import-root", "own.pem", "--key", "own.key", cwd=mesh)
    assert ran.code == 2
    assert (
        ".gitignore: does not keep certs/root-key.pem and 3 more private files out of git"
        in ran.err
    )
    assert not (mesh / "certs").exists()


# The union: every cluster trusts all roots, and signs as before


def test_union_of_clusters_that_signed_for_themselves(
    mesh: WorkDir, run: Run, clock: Clock, golden: Golden
) -> None:
    """The new root first, each old one behind it with its text as it was; each cluster signs with what it has, until all trust the new one."""
    names = ("context-east-1", "context-east-2", "context-west-1")
    dumps = {name: dump(mesh / f"{name}.yaml", self_signed(mesh.path, name)) for name in names}
    make_root(mesh.path)
    assert run("certs", "import-root", "own.pem", "--key", "own.key", cwd=mesh).code == 0
    configmap = printed(
        "ConfigMap",
        "istio-ca-root-cert",
        "default",
        data={"root-cert.pem": (mesh / "context-west-1.pem").read_text()},
    )
    dump(mesh / "west.yaml", configmap)
    ran = run(
        "certs",
        "import-root",
        "--union",
        "context-east-1.yaml",
        "context-east-2.pem",
        "west.yaml",
        cwd=mesh,
    )
    assert (ran.code, ran.out) == (0, "update  certs/root-cert.pem\ncreate  certs/rotation.json\n")
    golden(TEXTS / "union.txt", ran.err)
    whole = (mesh / "certs/root-cert.pem").read_bytes()
    assert whole == b"".join((mesh / f"{name}.pem").read_bytes() for name in ("own", *names))
    for name, path in dumps.items():
        ran = run("certs", "import", name, path.name, cwd=mesh)
        assert ran.code == 0, ran.err
        folder = mesh / "certs" / f"intermediate-{name}"
        assert (
            (folder / "ca-cert.pem").read_bytes()
            == (folder / "cert-chain.pem").read_bytes()
            == (mesh / f"{name}.pem").read_bytes()
        )
        assert (folder / "ca-key.pem").read_bytes() == (mesh / f"{name}.key").read_bytes()
        assert (folder / "root-cert.pem").read_bytes() == whole
    ran = run("render", cwd=mesh)
    assert ran.code == 0, ran.err
    assert run("check", cwd=mesh).code == 0
    assert json.loads(run(*ROTATE, "status", "-o", "json", cwd=mesh).out)["union"] is True
    assert run("certs", "status", cwd=mesh).out.count("is trusted, signs for context-") == 3
    # Nothing is signed by the new root before all trust it, whichever way it is asked for.
    ran = run("certs", "renew", "context-east-1", cwd=mesh)
    assert ran.code == 2
    assert (
        "ca-cert.pem: would be signed by a root that not every cluster trusts before the rotation of the root is past trust-both\n"
        in ran.err
    )
    (mesh / "certs/intermediate-context-east-1").rename(mesh / "aside")
    ran = run("render", cwd=mesh)
    assert ran.code == 2
    assert (
        "fix: take in what signs there: `kubectl mesh certs import context-east-1 FILE`; if it runs nothing yet"
        in ran.err
    )
    (mesh / "aside").rename(mesh / "certs/intermediate-context-east-1")
    clock.pass_(days=91)
    assert (
        "until 2160h have passed in every cluster"
        in run(*ROTATE, "advance", "--seen-for", "24h", cwd=mesh).err
    )
    old = {name: (mesh / f"certs/intermediate-{name}/ca-key.pem").read_bytes() for name in names}
    for time in ("90d", "90d", "0h"):
        ran = run(*ROTATE, "advance", "--seen-for", time, cwd=mesh)
        assert ran.code == 0, ran.err
        ran = run("render", cwd=mesh)
        assert ran.code == 0, ran.err
        for name in names:
            openssl(
                "verify",
                "-x509_strict",
                "-attime",
                int(clock.now.timestamp()),
                "-CAfile",
                "own.pem",
                f"certs/intermediate-{name}/ca-cert.pem",
                cwd=mesh.path,
            )
        clock.pass_(days=91)
    assert {
        p.read_bytes()
        for p in (mesh / "certs").glob("**/root-cert.pem")
        if "archive" not in p.parts
    } == {(mesh / "own.pem").read_bytes()}
    assert set(old.values()) <= {
        p.read_bytes() for p in (mesh / "certs/archive").glob("*/ca-key.pem")
    }
    assert not (mesh / "certs/rotation.json").exists()
    assert run("check", cwd=mesh).code == 0


def test_union_in_a_mesh_that_runs(mesh: WorkDir, run: Run) -> None:
    """Roots of clusters that are to join are added to a bundle in use: its own text stays in one piece, copies follow; twice is once."""
    assert run("render", cwd=mesh).code == 0
    before = (mesh / "certs/root-cert.pem").read_bytes()
    make_root(mesh.path, "joins")
    ran = run("certs", "import-root", "--union", "joins.pem", cwd=mesh)
    assert ran.code == 0, ran.err
    assert ran.out.count("update  certs/") == 4
    assert ran.out.endswith("create  certs/rotation.json\n")
    whole = before + (mesh / "joins.pem").read_bytes()
    assert {p.read_bytes() for p in (mesh / "certs").rglob("root-cert.pem")} == {whole}
    ran = run("render", cwd=mesh)
    assert ran.code == 0, ran.err
    assert ran.out.count("update    out/context-") == 3
    snapshot = mesh.snapshot()
    ran = run("certs", "import-root", "--union", "joins.pem", cwd=mesh)
    assert (ran.code, ran.out) == (0, "keep    certs/root-cert.pem\n")
    assert mesh.snapshot() == snapshot


def test_half_a_union_is_completed(mesh: WorkDir, run: Run) -> None:
    """With the bundle written and the copies not yet, as by hand or by a run of an older release, a render refuses, and the same command repairs."""
    assert run("render", cwd=mesh).code == 0
    make_root(mesh.path, "joins")
    with (mesh / "certs/root-cert.pem").open("ab") as file:
        file.write((mesh / "joins.pem").read_bytes())
    assert "differs from certs/root-cert.pem" in run("render", cwd=mesh).err
    assert run("certs", "import-root", "--union", "joins.pem", cwd=mesh).out.count("update") == 3
    assert run("render", cwd=mesh).code == 0


def joined(run: Run, mesh: WorkDir) -> dict[str, bytes]:
    """A mesh of two that sign with its root, and a third that joins it. Gives what signs before."""
    dump(mesh / "west.yaml", self_signed(mesh.path, "context-west-1"))
    west = yaml.safe_load((mesh / "topology.yaml").read_text())["contexts"]["context-west-1"]
    mesh.topology({"contexts": {"context-west-1": None}})
    assert run("render", cwd=mesh).code == 0
    ran = run("certs", "import-root", "--union", "west.yaml", cwd=mesh)
    assert ran.code == 0, ran.err
    # Those who are there trust its root before it comes.
    assert run("render", cwd=mesh).code == 0
    mesh.topology({"contexts": {"context-west-1": west}})
    assert run("certs", "import", "context-west-1", "west.yaml", cwd=mesh).code == 0
    return signing(mesh)


def signing(mesh: WorkDir) -> dict[str, bytes]:
    """The intermediates in use."""
    return {name: (mesh / f"certs/intermediate-{name}/ca-cert.pem").read_bytes() for name in NAMES}


def test_a_cluster_joins_a_mesh_that_runs(workdir: Make, run: Run, clock: Clock) -> None:
    """Only who comes is signed anew; on the way back each has what it had, and the way on is open; the mesh's own root never goes."""
    mesh = workdir(over={"secrets": {"store": "plain"}})
    mesh.write("base.yaml", ISTIO)
    before = joined(run, mesh)

    def at(step: str, following: str) -> None:
        value = json.loads(run(*ROTATE, "status", "-o", "json", cwd=mesh).out)
        assert (value["step"], value["next"]) == (step, following)
        ran = run("render", cwd=mesh)
        assert ran.code == 0, ran.err
        clock.pass_(days=2)

    at("trust-both", "sign-new")
    ran = run(*ROTATE, "abort", cwd=mesh)
    assert (ran.code, ran.err) == (
        2,
        (
            "error: certs/rotation.json: says trust-both, and some sign with the root that stays: without the others' roots, context-west-1 would be cut off\n"
            "  fix: take them out of the mesh first (`kubectl mesh remove`), and render; or go on with advance\n"
        ),
    )
    assert run(*ROTATE, "advance", "--seen-for", "24h", cwd=mesh).code == 0
    assert {n for n, body in signing(mesh).items() if body != before[n]} == {"context-west-1"}
    at("sign-new", "drop-old")
    ran = run(*ROTATE, "abort", cwd=mesh)
    assert ran.code == 0, ran.err
    assert signing(mesh) == before
    at("sign-old", "trust-both")
    assert run(*ROTATE, "advance", "--seen-for", "23h", cwd=mesh).code == 2
    assert run(*ROTATE, "advance", "--seen-for", "24h", cwd=mesh).code == 0
    at("trust-both", "sign-new")
    # It leaves again: its root goes, at once.
    assert run("remove", "context-west-1", cwd=mesh).code == 0
    assert run("render", cwd=mesh).code == 0
    assert run(*ROTATE, "abort", cwd=mesh).code == 0
    at("drop-old", "end")
    assert len((mesh / "certs/root-cert.pem").read_bytes().split(b"BEGIN")) == 2
    assert run(*ROTATE, "advance", "--seen-for", "0h", cwd=mesh).code == 0
    assert run("render", cwd=mesh).code == 0
    assert run("check", cwd=mesh).code == 0


def test_a_union_under_a_root_that_comes_with_its_key(
    workdir: Make, run: Run, clock: Clock
) -> None:
    """As after `adopt`: the key waits until all trust its root; back is what each signed with, and the new root goes with its key into the archive."""
    mesh = workdir(over={"secrets": {"store": "plain"}, "certificates": {"issuer": "csr"}})
    mesh.write("base.yaml", ISTIO)
    for name in NAMES:
        dump(mesh / f"{name}.yaml", self_signed(mesh.path, name))
    make_root(mesh.path)
    bundle = b"".join((mesh / f"{name}.pem").read_bytes() for name in NAMES)
    (mesh / "all.pem").write_bytes(bundle)
    assert run("certs", "import-root", "all.pem", cwd=mesh).code == 0
    for name in NAMES:
        assert run("certs", "import", name, f"{name}.yaml", cwd=mesh).code == 0
    before = signing(mesh)
    ran = run("certs", "import-root", "--union", "own.pem", cwd=mesh)
    assert (ran.code, ran.err) == (
        2,
        (
            "error: certs/root-cert.pem: holds several roots, and no key here says which of them all are to come under\n"
            "  fix: name it with its key: `kubectl mesh certs import-root --union FILE --key KEY`; "
            "without it: `kubectl mesh certs rotate-root begin --root FILE`\n"
        ),
    )
    make_root(mesh.path, "other")
    ran = run("certs", "import-root", "--union", "own.pem", "--key", "other.key", cwd=mesh)
    assert (ran.code, ran.err) == (
        2,
        "error: other.key: belongs to none of these roots\n  fix: give the key of the root that all are to come under\n",
    )
    ran = run("certs", "import-root", "--union", "own.pem", "--key", "own.key", cwd=mesh)
    assert ran.code == 0, ran.err
    assert ran.out.endswith("create  certs/next-root-key.pem\ncreate  certs/rotation.json\n")
    assert stat.S_IMODE((mesh / "certs/next-root-key.pem").stat().st_mode) == 0o600
    assert (mesh / "certs/root-cert.pem").read_bytes() == bundle + (mesh / "own.pem").read_bytes()
    assert ran.err.count("rollout restart deployment -l app=istiod") == 3
    mesh.topology({"certificates": {"issuer": "local"}})
    # One more comes while nothing is signed by the new root: the old ones stay in one piece.
    ran = run("certs", "import-root", "--union", "other.pem", cwd=mesh)
    assert ran.code == 0, ran.err
    assert (mesh / "certs/root-cert.pem").read_bytes() == (
        mesh / "other.pem"
    ).read_bytes() + bundle + (mesh / "own.pem").read_bytes()

    def forth(time: str = "24h") -> None:
        ran = run("render", cwd=mesh)
        assert ran.code == 0, ran.err
        clock.pass_(days=2)
        ran = run(*ROTATE, "advance", "--seen-for", time, cwd=mesh)
        assert ran.code == 0, ran.err

    forth()
    ran = run("certs", "import-root", "--union", "context-east-1.pem", cwd=mesh)
    assert (ran.code, ran.out) == (0, "keep    certs/root-cert.pem\n")
    make_root(mesh.path, "late")
    assert (
        "says that a rotation is on (sign-new), and another root waits for it"
        in run("certs", "import-root", "--union", "late.pem", cwd=mesh).err
    )
    for name in NAMES:
        openssl(
            "verify",
            "-x509_strict",
            "-attime",
            int(clock.now.timestamp()),
            "-CAfile",
            "own.pem",
            f"certs/intermediate-{name}/ca-cert.pem",
            cwd=mesh.path,
        )
    assert run("render", cwd=mesh).code == 0
    ran = run(*ROTATE, "abort", cwd=mesh)
    assert ran.code == 0, ran.err
    assert signing(mesh) == before
    forth()
    assert (mesh / "certs/root-cert.pem").read_bytes() == (mesh / "other.pem").read_bytes() + bundle
    assert (mesh / "own.key").read_bytes() in [
        p.read_bytes() for p in (mesh / "certs/archive").glob("root-*/root-key.pem")
    ]
    forth("0h")
    assert not (mesh / "certs/rotation.json").exists()
    assert run("render", cwd=mesh).code == 0


def test_union_needs_a_root(mesh: WorkDir, run: Run) -> None:
    """Without a root to come under there is no union; every problem at once."""
    make_root(mesh.path, "leaf", extra=LEAF)
    ran = run("certs", "import-root", "--union", "leaf.pem", cwd=mesh)
    assert (ran.code, ran.err) == (
        2,
        (
            "error: certs/root-cert.pem: is not there: the clusters are to come under it\n"
            "  fix: make one with `kubectl mesh init`, or take in your own with `kubectl mesh certs import-root FILE --key FILE`\n"
            "error: leaf.pem: is not a CA certificate (no CA:TRUE)\n  fix: use a CA certificate, not a leaf\n"
        ),
    )
    assert not (mesh / "certs").exists()


NO_SKI = (*CA, "-addext", "subjectKeyIdentifier=none")


def test_roots_that_a_proxy_cannot_tell_apart(mesh: WorkDir, run: Run, tmp_path: Path) -> None:
    """Two roots of one name are told apart by their key identifiers, or not at all: OpenSSL refuses then what the second signed, as BoringSSL does."""
    make_root(mesh.path)
    make_root(mesh.path, "one", subject="/O=cluster.local", extra=NO_SKI)
    make_root(mesh.path, "two", subject="/O=cluster.local", extra=NO_SKI)
    assert run("certs", "import-root", "own.pem", "--key", "own.key", cwd=mesh).code == 0
    ran = run("certs", "import-root", "--union", "one.pem", "two.pem", cwd=mesh)
    assert (ran.code, ran.err) == (
        2,
        (
            "error: two.pem: has the same name as the root in one.pem (O=cluster.local), and not both have a key identifier\n"
            "  fix: Envoy takes the first for both and refuses what the other signed: such clusters come together by new roots and a restart, not step by step\n"
        ),
    )
    (mesh / "both.pem").write_bytes(
        (mesh / "one.pem").read_bytes() + (mesh / "two.pem").read_bytes()
    )
    openssl(
        "req",
        "-new",
        "-config",
        "root.conf",
        "-key",
        "own.key",
        "-subj",
        "/CN=leaf",
        "-out",
        "leaf.csr",
        cwd=mesh.path,
    )
    verified = []
    for name in ("one", "two"):
        (mesh / "leaf.ext").write_text("basicConstraints=CA:FALSE\nauthorityKeyIdentifier=none\n")
        openssl(
            "x509",
            "-req",
            "-in",
            "leaf.csr",
            "-CA",
            f"{name}.pem",
            "-CAkey",
            f"{name}.key",
            "-extfile",
            "leaf.ext",
            "-out",
            "leaf.pem",
            cwd=mesh.path,
        )
        words = ["openssl", "verify", "-CAfile", mesh / "both.pem", mesh / "leaf.pem"]
        verified.append(subprocess.run(words, capture_output=True, check=False).returncode == 0)
    assert sorted(verified) == [False, True]


def test_an_intermediate_without_a_key_identifier(workdir: Make, run: Run) -> None:
    """Two meshes of the old tool, whose roots have one name: their intermediates do not say by whose key they were signed."""
    mesh = workdir(over={"secrets": {"store": "plain"}, "certificates": {"issuer": "csr"}})
    makefile(mesh / "one", ("a",), "Istio")
    makefile(mesh / "two", ("b",), "Istio")
    ran = run("certs", "import", "context-east-1", "one/intermediate-a", cwd=mesh)
    assert ran.code == 0, ran.err
    ran = run("certs", "import-root", "--union", "two/intermediate-b", cwd=mesh)
    assert (ran.code, ran.err) == (
        2,
        (
            "error: certs/intermediate-context-east-1/cert-chain.pem: names its issuer by a name that two roots have, and by no key identifier; "
            "Envoy takes the first of them\n  fix: have this intermediate made anew under its root first\n"
        ),
    )


# What a running cluster signs with


@pytest.mark.parametrize("shape", ["dump", "list", "folder", "pem"])
def test_an_intermediate_in_use(shape: str, workdir: Make, run: Run) -> None:
    """Its four files are taken in byte for byte; a key is for nobody else; the root comes along the first time."""
    mesh = workdir(over={"secrets": {"store": "plain"}, "certificates": {"issuer": "csr"}})
    makefile(mesh / "old", ("context-east-1",))
    folder = mesh / "old/intermediate-context-east-1"
    words = {
        "dump": [dump(mesh / "dump.yaml", cacerts(folder))],
        "list": [dump(mesh / "dump.yaml", printed("ConfigMap", "istio"), cacerts(folder))],
        "folder": [folder],
        "pem": [
            folder / "ca-cert.pem",
            "--key",
            folder / "ca-key.pem",
            "--root",
            folder / "root-cert.pem",
        ],
    }[shape]
    ran = run("certs", "import", "context-east-1", *words, cwd=mesh)
    assert ran.code == 0, ran.err
    parts = ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")
    assert (
        ran.out
        == "".join(f"create  certs/intermediate-context-east-1/{p}\n" for p in parts)
        + "create  certs/root-cert.pem\n"
    )
    for part in parts:
        assert (mesh / "certs/intermediate-context-east-1" / part).read_bytes() == (
            folder / part
        ).read_bytes(), part
    assert (
        stat.S_IMODE((mesh / "certs/intermediate-context-east-1/ca-key.pem").stat().st_mode)
        == 0o600
    )
    ran = run("certs", "import", "context-east-1", *words, cwd=mesh)
    assert (ran.code, ran.out) == (0, "keep    certs/intermediate-context-east-1\n")
    ran = run("render", cwd=mesh)
    assert ran.code == 0, ran.err


def test_an_intermediate_in_use_is_judged(workdir: Make, run: Run) -> None:
    """What istiod would refuse, or no other cluster would trust: the file, the part, what to do; nothing is written, no key shown."""
    mesh = workdir(over={"secrets": {"store": "plain"}, "certificates": {"issuer": "csr"}})
    makefile(mesh / "old", ("context-east-1", "context-east-2"))
    folder, other = (
        mesh / "old/intermediate-context-east-1",
        mesh / "old/intermediate-context-east-2",
    )
    assert run("certs", "import", "context-east-1", folder, cwd=mesh).code == 0
    good = {p.name: p.read_bytes() for p in other.glob("*.pem")}

    def said(name: str = "context-east-2", **changed: "bytes | None") -> str:
        inner = mesh / "changed"
        inner.mkdir(exist_ok=True)
        for part, body in (
            good | {k.replace("_", "-") + ".pem": v for k, v in changed.items()}
        ).items():
            if body is None:
                (inner / part).unlink(missing_ok=True)
            else:
                (inner / part).write_bytes(body)
        before = {p: body for p, body in mesh.snapshot().items() if not p.startswith("changed")}
        ran = run("certs", "import", name, "changed", cwd=mesh)
        assert ran.code == 2, ran.out
        assert {
            p: body for p, body in mesh.snapshot().items() if not p.startswith("changed")
        } == before
        assert "PRIVATE" not in ran.err
        return ran.err.removeprefix("error: ")

    lacks = "changed: Secret cacerts lacks ca-key.pem and cert-chain.pem\n  fix: istiod does not start with a part of it; dump the whole Secret\n"
    assert said(ca_key=None, cert_chain=None) == lacks
    assert said(ca_key=(folder / "ca-key.pem").read_bytes()) == (
        "changed: ca-cert.pem does not belong to ca-key.pem beside it\n  fix: give the pair that belongs together\n"
    )
    assert said(cert_chain=(folder / "cert-chain.pem").read_bytes()).startswith(
        "changed: cert-chain.pem does not begin with the certificate in ca-cert.pem\n"
    )
    assert said(
        ca_key=b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        + good["ca-key.pem"]
    ) == (
        "changed: ca-key.pem begins with EC PARAMETERS, and istiod reads the first block only\n  fix: dump it again; a PEM block has BEGIN and END on lines of their own\n"
    )
    make_root(mesh.path, "foreign")
    assert said(root_cert=(mesh / "foreign.pem").read_bytes()) == (
        "changed: root-cert.pem holds a root that is not in certs/root-cert.pem: the cluster trusts another root than the mesh\n"
        "  fix: `kubectl mesh certs import-root --union FILE` has every cluster trust both\n"
    )
    assert said(ca_cert=b"nothing") == (
        "changed: ca-cert.pem is not made of PEM certificates as istiod reads them\n  fix: dump it again; a PEM block has BEGIN and END on lines of their own\n"
    )
    same = {
        p.name.removesuffix(".pem").replace("-", "_"): p.read_bytes() for p in folder.glob("*.pem")
    }
    assert (
        said(**same)
        == 'changed: ca-cert.pem was made for "context-east-1", as its L= says\n  fix: import it as context-east-1\n'
    )
    assert said("context-east-1").startswith(
        "changed: ca-cert.pem is another than certs/intermediate-context-east-1/ca-cert.pem, which is there and is kept\n"
    )


def test_pem_files_are_named_in_what_is_wrong(workdir: Make, run: Run) -> None:
    """Where chain, key and root are files of their own, each is called by its name."""
    mesh = workdir(over={"secrets": {"store": "plain"}, "certificates": {"issuer": "csr"}})
    makefile(mesh / "old", ("context-east-1",))
    make_root(mesh.path, "other", key=("RSA", "-pkeyopt", "rsa_keygen_bits:2048"))
    chain = "old/intermediate-context-east-1/cert-chain.pem"

    def said(*words: str) -> str:
        ran = run("certs", "import", "context-east-1", chain, *words, cwd=mesh)
        assert ran.code == 2
        assert not (mesh / "certs").exists()
        return ran.err.removeprefix("error: ")

    key = "old/intermediate-context-east-1/ca-key.pem"
    assert (
        said("--key", key)
        == f"{chain}: cannot be judged, for there is no certs/root-cert.pem yet\n  fix: name its root with --root FILE\n"
    )
    assert (
        said("--key", "nowhere", "--root", "old/root-cert.pem")
        == "nowhere: is not there\n  fix: name a PEM file\n"
    )
    assert (
        said("--key", "other.key", "--root", "old/root-cert.pem")
        == f"{chain}: does not belong to other.key\n  fix: give the pair that belongs together\n"
    )
    assert said("--key", "other.pem", "--root", "old/root-cert.pem") == (
        "other.pem: is not a PEM private key\n  fix: dump it again; a PEM block has BEGIN and END on lines of their own\n"
    )
    assert said("--key", key, "--root", "other.pem").startswith(
        f"{chain}: is not signed by the root in other.pem\n"
    )
    assert (
        said("--key", key, "--root", key)
        == f"{key}: holds a private key; it is a public file\n  fix: take the key out, and take it for known to others\n"
    )


@pytest.mark.parametrize("issuer", ["local", "csr"])
def test_a_file_that_is_not_there(issuer: str, workdir: Make, run: Run) -> None:
    """That is what is said of it, whoever signs."""
    mesh = workdir(over={"certificates": {"issuer": issuer}})
    for words, name, fix in (
        (("nofile",), "nofile", "name the file that came back, or what was printed of cacerts"),
        (("own.pem", "--root", "noroot"), "noroot", "name the root's certificate"),
    ):
        make_root(mesh.path)
        before = mesh.snapshot()
        ran = run("certs", "import", "context-east-1", *words, cwd=mesh)
        assert (ran.code, ran.out, ran.err) == (
            2,
            "",
            f"error: {name}: is not there\n  fix: {fix}\n",
        )
        assert mesh.snapshot() == before


def test_dumps_that_hold_no_ca(workdir: Make, run: Run) -> None:
    """A dump of something else, of nothing, with what is not base64; and none of it is shown."""
    mesh = workdir(over={"certificates": {"issuer": "csr"}})
    dump(mesh / "dump.yaml", printed("Secret", "other", data={"token": "c2VjcmV0"}))
    ran = run("certs", "import", "context-east-1", "dump.yaml", cwd=mesh)
    assert (ran.code, ran.err) == (
        2,
        "error: dump.yaml: holds neither a Secret cacerts nor istio-ca-secret\n  fix: give `kubectl get secret cacerts -o yaml`\n",
    )
    dump(
        mesh / "dump.yaml",
        printed("Secret", "cacerts", data={"ca-cert.pem": "not base64, but a secret"}),
    )
    ran = run("certs", "import", "context-east-1", "dump.yaml", cwd=mesh)
    assert (ran.code, ran.err) == (
        2,
        'error: dump.yaml:1:1: the key "ca-cert.pem" of Secret istio-system/cacerts is not base64\n  fix: dump it again with `kubectl get secret -o yaml`\n',
    )
    mesh.write(
        "dump.yaml",
        "kind: Secret\nmetadata: {name: cacerts}\nstringData:\n  ca-key.pem: 0xsecret\n  pin: 0x1234\n",
    )
    ran = run("certs", "import", "context-east-1", "dump.yaml", cwd=mesh)
    assert (ran.code, ran.err) == (
        2,
        "error: dump.yaml:5:8: stringData.pin: is not read alike by every program\n  fix: quote it\n",
    )
