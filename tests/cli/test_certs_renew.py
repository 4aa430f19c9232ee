"""`kubectl mesh certs status` and `certs renew`: what is there is shown as it is, and what is replaced is never lost."""

import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from kubectl_mesh.cli import clock as shell
from kubectl_mesh.fs import durable, exchange
from kubectl_mesh.fs.exchange import exchange_certificates
from kubectl_mesh.fs.locking import hold_lock
from kubectl_mesh.model import CertsChange
from kubectl_mesh.workdir.git_ignore import GITIGNORE
from kubectl_mesh.yaml_io import assets
from tests.conftest import TOP, Golden, Run, WorkDir
from tests.support.goldens import DAY, copy_case

Make = Callable[..., WorkDir]
TEXTS = TOP / "tests" / "golden" / "certs"
NAMES = ("context-east-1", "context-east-2", "context-west-1")


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkDir:
    """The page's mesh with the certificates of the golden case, on the day of the golden cases."""
    monkeypatch.setattr(shell, "read_clock", lambda: DAY)
    return WorkDir(copy_case("seed", tmp_path / "mesh"))


def status(mesh: WorkDir, run: Run) -> dict[str, Any]:
    """The status for programs, checked against its schema."""
    ran = run("certs", "status", "-o", "json", cwd=mesh)
    assert ran.code == 0, ran.err
    value: dict[str, Any] = json.loads(ran.out)
    jsonschema.Draft202012Validator(assets.load_schema("output/certs-status.schema.json")).validate(
        value
    )
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


def test_status_of_what_has_expired(
    mesh: WorkDir, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is shown all the same: that is when one looks."""
    end = load(mesh / "certs/intermediate-context-east-1/ca-cert.pem")[0].not_valid_after_utc
    monkeypatch.setattr(shell, "read_clock", lambda: end + timedelta(days=2, hours=1))
    ran = run("certs", "status", cwd=mesh)
    assert ran.code == 0
    assert ran.out.count(", expired 2 days ago\n") == 4
    assert status(mesh, run)["intermediates"][0]["daysLeft"] == -3
    assert run("check", cwd=mesh).code == 1


def test_status_of_nothing(workdir: Make, run: Run) -> None:
    """Before the first render, and where no certificate is here at all."""
    mesh = workdir()
    value = status(mesh, run)
    assert (value["roots"], value["intermediates"], value["missing"]) == ([], [], list(NAMES))
    assert "no root yet: `kubectl mesh render` makes one\n" in run("certs", "status", cwd=mesh).out
    mesh.topology(
        {"certificates": {"issuer": "cert-manager", "issuerRef": {"name": "ca"}, "keyType": None}}
    )
    ran = run("certs", "status", cwd=mesh)
    assert ran.code == 2
    assert re.fullmatch(
        r"error: topology\.yaml: says issuer: cert-manager, which makes the certificates in the clusters; none is here\n  fix: .*\n",
        ran.err,
    )


def test_status_wraps_long_names(mesh: WorkDir, run: Run) -> None:
    """A name of 63 characters, and an organization of many words, still fit a terminal."""
    mesh.topology({"mesh_id": "m" * 60, "contexts": {"c" * 63: {"network": "network-far"}}})
    ran = run("certs", "status", cwd=mesh)
    assert ran.code == 0
    assert max(map(len, ran.out.splitlines())) <= 80


def test_help_of_every_verb_below_certs(run: Run) -> None:
    """--help fits a terminal."""
    for verb in ("status", "renew", "csr", "sign", "import", "export"):
        ran = run("certs", verb, "--help")
        assert ran.code == 0
        assert max(map(len, ran.out.splitlines())) <= 80, ran.out


# certs renew


def strictly(mesh: WorkDir, name: str) -> None:
    """OpenSSL accepts the chain of a cluster, by the letter of RFC 5280."""
    base = mesh / f"certs/intermediate-{name}"
    words = [
        "openssl",
        "verify",
        "-x509_strict",
        "-purpose",
        "any",
        "-attime",
        str(int(DAY.timestamp())),
        "-CAfile",
        base / "root-cert.pem",
        base / "ca-cert.pem",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_renew_all(mesh: WorkDir, run: Run) -> None:
    """New keys and certificates under the same root; the old ones are in the archive, as they were, for their owner only."""
    assert run("render", cwd=mesh).code == 0
    before, tree = mesh.snapshot(), status(mesh, run)
    ran = run("certs", "renew", "--all", cwd=mesh)
    assert ran.code == 0, ran.err
    after = mesh.snapshot()
    assert after["certs/root-cert.pem"] == before["certs/root-cert.pem"]
    assert after["certs/root-key.pem"] == before["certs/root-key.pem"]
    for name in NAMES:
        base = f"certs/intermediate-{name}"
        short = fingerprint(
            mesh
            / f"certs/archive/intermediate-{name}-{one(tree, name)['fingerprint'][:8]}/ca-cert.pem"
        )
        assert short == one(tree, name)["fingerprint"]
        for part in ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"):
            old = f"certs/archive/intermediate-{name}-{short[:8]}/{part}"
            assert after[old] == before[f"{base}/{part}"], part
            assert (after[f"{base}/{part}"] == before[f"{base}/{part}"]) == (
                part == "root-cert.pem"
            )
        strictly(mesh, name)
        assert (
            f"renewed  {base}\n  is valid until 2028-11-30, with a new key; the old one is now\n  certs/archive/intermediate-{name}-{short[:8]}\n"
            in ran.out
        )
    modes = {
        path: stat.S_IMODE(mode) for path, (mode, _) in after.items() if path.startswith("certs/")
    }
    assert {m for p, m in modes.items() if p.endswith("key.pem")} == {0o600}
    assert {
        m
        for p, m in modes.items()
        if p == "certs/archive" or (p.count("/") == 2 and p.startswith("certs/archive"))
    } == {0o700}
    assert not [p for p in after if ".kubectl-mesh" in p]
    rendered = run("render", cwd=mesh)
    assert rendered.code == 0
    assert rendered.out.count("2 updated") == 3
    assert status(mesh, run)["archived"] == 3


def one(value: dict[str, Any], name: str) -> dict[str, Any]:
    """One intermediate of a status."""
    found: dict[str, Any] = next(i for i in value["intermediates"] if i["cluster"] == name)
    return found


def test_renew_again_and_again(mesh: WorkDir, run: Run) -> None:
    """Nothing in the archive is ever overwritten or removed, whatever its name."""
    seen: dict[str, tuple[int, bytes]] = {}
    for turn in range(3):
        if turn == 1:
            # Somebody made a folder of the very name that comes next.
            name = f"certs/archive/intermediate-context-east-1-{fingerprint(mesh / 'certs/intermediate-context-east-1/ca-cert.pem')[:8]}"
            mesh.write(f"{name}/notes.txt", "of somebody else\n")
        assert run("certs", "renew", "context-east-1", "--keep-key", cwd=mesh).code == 0
        found = {
            p: v for p, v in mesh.snapshot().items() if p.startswith("certs/archive/") and v[1]
        }
        assert seen.items() <= found.items()
        seen = found
    names = sorted(p.name for p in (mesh / "certs/archive").iterdir())
    assert len(names) == 4
    assert len([n for n in names if n.endswith("-2")]) == 1
    keys = {
        p.read_bytes() for p in (mesh / "certs").rglob("ca-key.pem") if "context-east-1" in str(p)
    }
    assert len(keys) == 1, "--keep-key made another key"
    strictly(mesh, "context-east-1")


def test_renew_within(mesh: WorkDir, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that end soon, or have ended; and none where none does."""
    ran = run("certs", "renew", "--within", "60d", cwd=mesh)
    assert (ran.code, ran.out) == (0, "no intermediate is due\n")
    assert run("certs", "renew", "context-west-1", cwd=mesh).code == 0
    monkeypatch.setattr(shell, "read_clock", lambda: DAY + timedelta(days=731))
    assert run("check", cwd=mesh).code == 1
    ran = run("certs", "renew", "--within", "1d", cwd=mesh)
    assert ran.code == 0, ran.err
    assert re.findall("^renewed  .*$", ran.out, re.MULTILINE) == [
        "renewed  certs/intermediate-context-west-1"
    ]
    assert one(status(mesh, run), "context-west-1")["daysLeft"] == 730


def test_renew_dry_run(mesh: WorkDir, run: Run) -> None:
    """It tells, and writes nothing, not even a lock."""
    before = mesh.snapshot()
    ran = run("certs", "renew", "--all", "--dry-run", cwd=mesh)
    assert ran.code == 0
    assert ran.out.count("would renew  certs/") == 3
    assert mesh.snapshot() == before


REFUSED = {
    "no root key": (
        ("--all",),
        "certs/root-key.pem: is not here, and no intermediate can be signed without it",
    ),
    "no such cluster": (
        ("context-eats-1",),
        'NAME: no cluster "context-eats-1" in the topology (did you mean "context-east-1"?)',
    ),
    "nothing named": ((), "say whose, in one way: NAME..., --all or --within TIME"),
    "two ways": (
        ("context-east-1", "--all"),
        "say whose, in one way: NAME..., --all or --within TIME",
    ),
    "none to renew": (
        ("context-east-2",),
        "certs/intermediate-context-east-2/ca-cert.pem: is not there, so there is nothing to renew",
    ),
    "no key to keep": (
        ("context-east-1", "--keep-key"),
        "certs/intermediate-context-east-1/ca-key.pem: is not here, and cannot be kept",
    ),
    "issuer elsewhere": (
        ("--all",),
        "topology.yaml: says issuer: istio-csr, which makes and renews the certificates in the clusters",
    ),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_renew_refuses(mesh: WorkDir, run: Run, case: str) -> None:
    """One sentence, and nothing changes."""
    if case == "no root key":
        (mesh / "certs/root-key.pem").unlink()
    elif case == "none to renew":
        shutil.rmtree(mesh / "certs/intermediate-context-east-2")
    elif case == "no key to keep":
        (mesh / "certs/intermediate-context-east-1/ca-key.pem").unlink()
    elif case == "issuer elsewhere":
        mesh.topology(
            {
                "certificates": {"issuer": "istio-csr", "issuerRef": {"name": "ca"}},
                "istio": {"version": "1.31.3"},
            }
        )
        mesh.write("base.yaml", "apiVersion: sailoperator.io/v1\nkind: Istio\nspec: {}\n")
    before = mesh.snapshot()
    words, sentence = REFUSED[case]
    ran = run("certs", "renew", *words, cwd=mesh)
    assert ran.code == 2
    assert ran.err.startswith(f"error: {sentence}\n"), ran.err
    assert ran.err.count("error: ") == 1
    assert mesh.snapshot() == before


def test_the_archive_stays_out_of_git(mesh: WorkDir, run: Run) -> None:
    """git ignores it; where a .gitignore of an earlier version does not, nothing is written before the line is there."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed here")
    subprocess.run(["git", "init", "-q", mesh], check=True)
    mesh.topology({"secrets": {"store": "plain"}})
    earlier = "".join(
        f"{line}\n"
        for line in GITIGNORE.splitlines()
        if "archive" not in line and "next-" not in line
    )
    mesh.write(".gitignore", earlier)
    assert run("render", cwd=mesh).code == 0
    before = mesh.snapshot()
    ran = run("certs", "renew", "--all", cwd=mesh)
    assert ran.code == 2
    assert "\n    /certs/archive/" in ran.err
    assert mesh.snapshot() == before
    mesh.write(".gitignore", GITIGNORE)
    assert run("certs", "renew", "--all", cwd=mesh).code == 0
    subprocess.run(["git", "-C", mesh, "add", "."], check=True)
    taken = subprocess.run(
        ["git", "-C", mesh, "ls-files"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not [p for p in taken if "archive" in p or p.endswith("key.pem")]
    assert "certs/intermediate-context-east-1/ca-cert.pem" in taken
    mesh.write(".gitignore", earlier)
    assert "/certs/archive/" in run("render", cwd=mesh).err


def test_what_running_clusters_do(mesh: WorkDir, run: Run) -> None:
    """By version, with the commands that are needed."""
    assert (
        "Citadel reads it when it starts; once it is applied, run\n  kubectl --context=context-east-1 -n istio-system rollout restart deployment istio-citadel\n"
        in (run("certs", "renew", "--all", cwd=mesh).err)
    )
    mesh.write(
        "base.yaml", "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {}\n"
    )
    mesh.topology(
        {
            "istio": {"version": "1.31.3"},
            "contexts": {"context-west-1": {"istio": {"version": "1.17.8"}}},
        }
    )
    err = run("certs", "renew", "--all", cwd=mesh).err
    assert (
        "context-east-1, context-east-2: istiod reads it by itself, about a minute after it is applied\n"
        in err
    )
    assert (
        "context-west-1: istiod reads it when it starts (by itself from 1.18 on); once it is applied, run\n"
        in err
    )
    assert (
        "  kubectl --context=context-west-1 -n istio-system rollout restart deployment -l app=istiod\n"
        in err
    )
    assert err.endswith(
        "next: `kubectl mesh render`, look at the difference, and apply it, in any order\n"
    )


def test_renew_by_request(mesh: WorkDir, run: Run) -> None:
    """With `issuer: csr` the one in use stays until the certificate for the request comes back; then all changes at once."""
    mesh.topology({"certificates": {"issuer": "csr", "keyType": "ec-p256"}})
    root = WorkDir(mesh.path.parent / "root")
    shutil.copytree(mesh / "certs", root / "certs")
    (mesh / "certs/root-key.pem").unlink()
    before = mesh.snapshot()
    ran = run("certs", "renew", "context-east-1", cwd=mesh)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("wrote  certs/next-intermediate-context-east-1/ca.csr\n")
    assert (
        "kubectl mesh certs sign -C ROOT-DIR --days 730 --to signed certs/next-intermediate-*/ca.csr\n"
        in ran.out
    )
    assert (
        "for name in context-east-1; do kubectl mesh certs import $name signed/$name.pem; done\n"
        in ran.out
    )
    assert before.items() <= mesh.snapshot().items()
    assert one(status(mesh, run), "context-east-1")["renewalRequested"]
    assert run("certs", "renew", "context-east-1", cwd=mesh).out.startswith(
        "kept  certs/next-intermediate"
    )
    request = mesh / "certs/next-intermediate-context-east-1/ca.csr"
    assert run("certs", "sign", "-C", root, "--to", root / "signed", request).code == 0
    waiting = mesh.snapshot()
    wrong = run(
        "certs",
        "import",
        "context-east-1",
        root / "certs/intermediate-context-east-1/ca-cert.pem",
        cwd=mesh,
    )
    assert wrong.code == 2
    assert (
        "have certs/next-intermediate-context-east-1/ca.csr signed, and no other request"
        in wrong.err
    )
    assert mesh.snapshot() == waiting
    ran = run("certs", "import", "context-east-1", root / "signed/context-east-1.pem", cwd=mesh)
    assert ran.code == 0, ran.err
    after = mesh.snapshot()
    assert (
        after["certs/intermediate-context-east-1/ca-key.pem"]
        == waiting["certs/next-intermediate-context-east-1/ca-key.pem"]
    )
    assert not (mesh / "certs/next-intermediate-context-east-1").exists()
    (name,) = (mesh / "certs/archive").iterdir()
    assert (
        after[f"certs/archive/{name.name}/ca-key.pem"]
        == before["certs/intermediate-context-east-1/ca-key.pem"]
    )
    strictly(mesh, "context-east-1")
    assert run("render", cwd=mesh).code == 0
    assert (
        run("certs", "import", "context-east-1", root / "signed/context-east-1.pem", cwd=mesh).code
        == 2
    )


# The exchange


def exchanged(mesh: WorkDir) -> tuple[dict[str, Any], dict[str, Any]]:
    """An exchange with one file new, one replaced, one folder moved; what was before and what is after."""
    before = mesh.snapshot()
    put = {
        "root-cert.pem": b"another\n",
        "intermediate-context-east-1/ca-key.pem": b"new key\n",
        "new/file": b"new\n",
    }
    exchange_certificates(
        str(mesh),
        CertsChange(
            put,
            {"intermediate-context-east-1": "archive/x"},
            frozenset(("intermediate-context-west-1/root-cert.pem",)),
        ),
    )
    return before, mesh.snapshot()


def expected(before: dict[str, Any], after: dict[str, Any]) -> None:
    """The files are those that were asked for, and nothing else."""
    wanted = {
        p.replace("certs/intermediate-context-east-1/", "certs/archive/x/"): v[1]
        for p, v in before.items()
        if stat.S_ISREG(v[0])
    }
    wanted |= {
        "certs/root-cert.pem": b"another\n",
        "certs/intermediate-context-east-1/ca-key.pem": b"new key\n",
        "certs/new/file": b"new\n",
    }
    del wanted["certs/intermediate-context-west-1/root-cert.pem"]
    assert {p: v[1] for p, v in after.items() if stat.S_ISREG(v[0])} == wanted


@pytest.mark.parametrize("lacking", ["nothing", "exchange", "links", "both"])
def test_exchange(mesh: WorkDir, monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    """Files of others, links and modes are carried over; so too where the system lacks an exchange or the file system hard links."""
    mesh.write("certs/Makefile", "of somebody else\n", 0o640)
    mesh.write("certs/intermediate-elsewhere/ca-key.pem", "of another mesh\n", 0o600)
    (mesh / "certs/link").symlink_to("/nowhere")
    (mesh / "certs").chmod(0o755)
    if lacking in ("exchange", "both"):
        monkeypatch.setattr(durable, "libc_rename", lambda *a: False)
    if lacking in ("links", "both"):

        def link(*args: object, **more: object) -> None:
            raise PermissionError(1, "no hard links here")

        monkeypatch.setattr(os, "link", link)
    before, after = exchanged(mesh)
    expected(before, after)
    assert after["certs/link"] == before["certs/link"]
    assert after["certs/Makefile"] == before["certs/Makefile"]
    assert stat.S_IMODE((mesh / "certs").stat().st_mode) == 0o755
    assert stat.S_IMODE(after["certs/intermediate-context-east-1/ca-key.pem"][0]) == 0o600
    assert stat.S_IMODE(after["certs/archive"][0]) == 0o700


def test_exchange_loses_no_key(mesh: WorkDir) -> None:
    """A change that would drop or replace a private file is refused, and nothing is left of it."""
    before = mesh.snapshot()
    for change in (
        CertsChange({}, {}, frozenset(("root-key.pem",))),
        CertsChange({"root-key.pem": b"another"}),
    ):
        with pytest.raises(Exception, match=r"certs/root-key.pem: is private, and would be lost"):
            exchange_certificates(str(mesh), change)
        assert mesh.snapshot() == before
    body = before["certs/root-key.pem"][1]
    exchange_certificates(
        str(mesh),
        CertsChange({"archive/root/root-key.pem": body}, {}, frozenset(("root-key.pem",))),
    )
    assert (mesh / "certs/archive/root/root-key.pem").read_bytes() == body


def test_exchange_through_no_link(mesh: WorkDir) -> None:
    """A link in the place of the archive is followed nowhere."""
    outside = mesh.path.parent / "outside"
    outside.mkdir()
    (mesh / "certs/archive").symlink_to(outside)
    before = mesh.snapshot()
    with pytest.raises(Exception, match="certs/archive: is in the way: a folder belongs there"):
        exchanged(mesh)
    assert mesh.snapshot() == before
    assert not list(outside.iterdir())


def test_what_came_meanwhile_goes_back(mesh: WorkDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was put into certs/ just before the exchange, and one that was replaced by an editor, are there after it."""

    def rename(*args: Any) -> bool:
        mesh.write("certs/late.txt", "late\n")
        mesh.write("certs/.new", "edited\n")
        os.replace(mesh / "certs/.new", mesh / "certs/intermediate-context-east-2/root-cert.pem")
        monkeypatch.undo()
        return durable.libc_rename(*args)

    monkeypatch.setattr(durable, "libc_rename", rename)
    _, after = exchanged(mesh)
    assert after["certs/late.txt"][1] == b"late\n"
    assert after["certs/intermediate-context-east-2/root-cert.pem.kept-1"][1] == b"edited\n"
    assert not [p for p in after if ".kubectl-mesh" in p]


def test_the_next_run_settles(mesh: WorkDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends right after the exchange, and leaves the old folder, is put right by whoever takes the lock next."""
    monkeypatch.setattr(exchange, "_recover", lambda top: None)
    before, after = exchanged(mesh)
    assert [p for p in after if p.startswith(".kubectl-mesh-certs/")]
    monkeypatch.undo()
    with hold_lock(str(mesh)):
        pass
    expected(before, mesh.snapshot())
