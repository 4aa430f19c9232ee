"""`kubectl mesh certs import-root`: an own root is judged, taken in whole, and replaces nothing."""

import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Run, WorkDir

Make = Callable[..., WorkDir]


def openssl(*words: object, cwd: Path) -> None:
    """Runs openssl."""
    done = subprocess.run(["openssl", *map(str, words)], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


ROOT = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")


def make_root(folder: Path, name: str = "own", *, key: tuple[str, ...] = ("EC", "-pkeyopt", "ec_paramgen_curve:P-256"), extra: tuple[str, ...] = ROOT) -> None:
    """A root as a company's CA has it: NAME.pem and NAME.key."""
    config = folder / "root.conf"
    config.write_text("[req]\ndistinguished_name=dn\nprompt=no\n[dn]\n")
    openssl("genpkey", "-algorithm", *key, "-out", f"{name}.key", cwd=folder)
    openssl(
        "req",
        "-x509",
        "-config",
        config,
        "-new",
        "-key",
        f"{name}.key",
        "-days",
        "3650",
        "-subj",
        f"/O=Acme/CN={name}",
        *extra,
        "-out",
        f"{name}.pem",
        cwd=folder,
    )


@pytest.fixture
def mesh(workdir: Make) -> WorkDir:
    """The page's mesh, without certificates."""
    return workdir(over={"secrets": {"store": "plain"}})


def test_with_its_key_it_signs_here(mesh: WorkDir, run: Run) -> None:
    """Certificate and key are copied as they are, the key for nobody else; the render signs with them."""
    make_root(mesh.path)
    ran = run("certs", "import-root", "own.pem", "--key", "own.key", cwd=mesh)
    assert (ran.code, ran.out) == (0, "create  certs/root-cert.pem\ncreate  certs/root-key.pem\n")
    assert ran.err == "wrote .gitignore, which keeps keys and tokens out of git\nnext: kubectl mesh render\n"
    assert (mesh / "certs/root-cert.pem").read_bytes() == (mesh / "own.pem").read_bytes()
    assert (mesh / "certs/root-key.pem").read_bytes() == (mesh / "own.key").read_bytes()
    assert stat.S_IMODE((mesh / "certs/root-key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((mesh / "certs").stat().st_mode) == 0o700
    assert run("render", cwd=mesh).code == 0
    for name in ("context-east-1", "context-east-2", "context-west-1"):
        openssl("verify", "-x509_strict", "-CAfile", "own.pem", f"certs/intermediate-{name}/ca-cert.pem", cwd=mesh.path)
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
    assert "keep    mesh/certs/root-cert.pem\n" in run("init", "-C", "mesh", "--mesh-id", "acme", cwd=tmp_path).out
    assert (tmp_path / "mesh/certs/root-cert.pem").read_bytes() == (tmp_path / "own.pem").read_bytes()


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
    openssl("verify", "-CAfile", "own.pem", "certs/intermediate-context-east-1/ca-cert.pem", cwd=mesh.path)
    ran = run("certs", "import-root", "both.pem", "--key", "other.key", cwd=mesh)
    assert (ran.code, ran.err) == (2, "error: other.key: is not there\n  fix: name the root's key\n")


RSA = ("RSA", "-pkeyopt", "rsa_keygen_bits:2048")
LEAF = ("-addext", "basicConstraints=critical,CA:FALSE", "-addext", "keyUsage=critical,keyCertSign")
UNFIT = {
    "leaf": ({"extra": LEAF}, "own.pem: is not a CA certificate (no CA:TRUE)\n  fix: use a CA certificate, not a leaf\n"),
    "no-sign": (
        {"extra": ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,cRLSign")},
        "own.pem: may not sign certificates (no keyCertSign)\n  fix: use a CA certificate\n",
    ),
    "pathlen": (
        {"extra": ("-addext", "basicConstraints=critical,CA:TRUE,pathlen:0", *ROOT[2:])},
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

    from kubectl_mesh.cli import workdir as shell

    make_root(mesh.path)
    for year, what in ((2050, "expired on 20"), (2020, "is not valid before 20")):
        monkeypatch.setattr(shell, "now", lambda year=year: datetime(year, 1, 1, tzinfo=UTC))
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

    assert said("other.key") == "other.key: does not belong to own.pem\n  fix: give the pair that belongs together\n"
    openssl("pkey", "-in", "own.key", "-aes256", "-passout", "pass:x", "-out", "locked.key", cwd=mesh.path)
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
    assert ran.err == ("error: own.key: holds a private key; it is a public file\n  fix: take the key out, and take it for known to others\n")


def test_an_intermediate_is_no_root(mesh: WorkDir, run: Run) -> None:
    """What another signed."""
    make_root(mesh.path)
    assert run("certs", "import-root", "own.pem", "--key", "own.key", cwd=mesh).code == 0
    assert run("render", cwd=mesh).code == 0
    below = mesh / "certs/intermediate-context-east-1"
    other = mesh / "elsewhere"
    ran = run("certs", "import-root", "-C", other, below / "ca-cert.pem", "--key", below / "ca-key.pem", cwd=mesh)
    assert ran.code == 2
    assert "ca-cert.pem: has pathlen:0, so it may not sign an intermediate\n  fix: use another root\n" in ran.err
    assert ran.err.endswith("is signed by another: it is no root\n  fix: give the self-signed certificate at the end of its chain\n")
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
    assert ".gitignore: does not keep certs/root-key.pem and 3 more private files out of git" in ran.err
    assert not (mesh / "certs").exists()
