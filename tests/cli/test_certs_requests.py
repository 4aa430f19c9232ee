"""`kubectl mesh certs`: requests, signatures elsewhere, what comes back, and what must not be taken in."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kubectl_mesh.pki.signing_requests import build_request, read_request
from tests.conftest import TOP, Golden, Run, WorkDir

CLUSTERS = ("context-east-1", "context-east-2", "context-west-1")
Make = Callable[..., WorkDir]
CSR = {"certificates": {"issuer": "csr"}, "secrets": {"store": "plain"}}


@pytest.fixture
def root(workdir: Make, run: Run) -> WorkDir:
    """Whoever holds the root, with this tool."""
    made = workdir("root")
    (made / "topology.yaml").unlink()
    assert run("init", "--mesh-id", "the-root", cwd=made).code == 0
    return made


@pytest.fixture
def mesh(workdir: Make, run: Run) -> WorkDir:
    """A mesh whose requests are written."""
    made = workdir(over=CSR, tokens=True)
    ran = run("certs", "csr", cwd=made)
    assert ran.code == 0, ran.err
    return made


def pem(certificate: x509.Certificate) -> bytes:
    """A certificate in PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def load(path: Path) -> list[x509.Certificate]:
    """The certificates of a file."""
    return x509.load_pem_x509_certificates(path.read_bytes())


def strictly(root: Path, chain: Path) -> None:
    """OpenSSL accepts a chain, by the letter of RFC 5280."""
    words = [
        "openssl",
        "verify",
        "-x509_strict",
        "-purpose",
        "any",
        "-CAfile",
        root,
        "-untrusted",
        chain,
        chain,
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_certs_alone_is_help(run: Run) -> None:
    """As `kubectl mesh` alone is, each verb below it with its whole line."""
    ran = run("certs")
    assert ran.code == 0
    assert ran.err == ""
    assert ran.out == run("certs", "--help").out
    assert "..." not in ran.out.split("Commands:")[1]


def test_awaiting_is_pending(workdir: Make, run: Run) -> None:
    """Before the certificates come, nothing is rendered that would start without them."""
    mesh = workdir(over=CSR, tokens=True)
    ran = run("render", cwd=mesh)
    assert ran.code == 0, ran.err
    assert (
        "  cluster context-east-1: its intermediate's certificate (certs/intermediate-context-east-1/ca-cert.pem)"
        in ran.out
    )
    assert "    kubectl mesh certs csr context-east-1\n" in ran.out
    assert {p.name for p in (mesh / "out" / "context-east-1").iterdir()} == {
        "1-trust",
        "kustomization.yaml",
        "mesh.lock",
    }
    assert sorted(p.name for p in (mesh / "out" / "context-east-1" / "1-trust").iterdir()) == [
        "kustomization.yaml",
        "namespace.yaml",
    ]
    assert not (mesh / "certs").exists()
    assert run("describe", cwd=mesh).code == 0
    assert run("check", cwd=mesh).code == 0
    assert run("certs", "csr", cwd=mesh).code == 0
    ran = run("render", cwd=mesh)
    assert "kubectl mesh certs import context-east-1 FILE" in ran.out


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on PATH")
def test_csr_sign_import_is_the_same_mesh(
    mesh: WorkDir, root: WorkDir, run: Run, workdir: Make
) -> None:
    """As with a local root: the tree differs in no file but cacerts and the locks; OpenSSL accepts every chain."""
    requests = sorted((mesh / "certs").glob("intermediate-*/ca.csr"))
    assert len(requests) == 3
    for path in (mesh / "certs").rglob("*key.pem"):
        assert path.stat().st_mode & 0o777 == 0o600
    ran = run("certs", "sign", "-C", root, "--to", root / "signed", *requests)
    assert ran.code == 0, ran.err
    says = f"next: give back {root}/signed, the first time with {root}/certs/root-cert.pem; where the requests come from, `certs import NAME FILE` takes it in\n"
    assert ran.err == says
    again = run("certs", "sign", "-C", root, "--to", "signed", *requests, cwd=root)
    assert again.code == 2
    assert again.err.startswith("error: signed/context-east-1.pem: is there already")
    for name in CLUSTERS:
        ran = run(
            "certs",
            "import",
            "--root",
            root / "certs" / "root-cert.pem",
            name,
            root / "signed" / f"{name}.pem",
            cwd=mesh,
        )
        assert ran.code == 0, ran.err
    assert (mesh / "certs" / "root-cert.pem").read_bytes() == (
        root / "certs" / "root-cert.pem"
    ).read_bytes()
    assert not (mesh / "certs" / "root-key.pem").exists()
    ran = run("render", cwd=mesh)
    assert ran.code == 0, ran.err
    for name in CLUSTERS:
        folder = mesh / "certs" / f"intermediate-{name}"
        strictly(folder / "root-cert.pem", folder / "cert-chain.pem")
        (certificate,) = load(folder / "ca-cert.pem")
        assert (
            certificate.subject.rfc4514_string()
            == f"L=intermediate-{name},CN=Intermediate CA,O=mymeshname"
        )
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["istiod.istio-system.svc"]
        assert certificate.extensions.get_extension_for_class(
            x509.BasicConstraints
        ).value == x509.BasicConstraints(ca=True, path_length=0)
    local = workdir("local", over={"secrets": {"store": "plain"}}, tokens=True)
    assert run("render", cwd=local).code == 0
    one, two = (
        {
            p.relative_to(m / "out").as_posix(): p.read_bytes()
            for p in (m / "out").rglob("*")
            if p.is_file()
        }
        for m in (mesh, local)
    )
    assert one.keys() == two.keys()
    assert {p.split("/", 1)[1] for p in one if one[p] != two[p]} == {
        "1-trust/cacerts.yaml",
        "mesh.lock",
    }
    assert run("render", "--check", cwd=mesh).code == 0
    assert run("check", cwd=mesh).code == 0
    assert "no cluster awaits a certificate" in run("certs", "csr", cwd=mesh).out


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on PATH")
def test_the_printed_openssl_command_signs(
    mesh: WorkDir, root: WorkDir, run: Run, tmp_path: Path
) -> None:
    """As it is printed, in bash; and what it signs is taken in, by the command that is printed below it."""
    out = run("certs", "csr", cwd=mesh).out
    assert out.startswith("keep    certs/intermediate-context-east-1/ca.csr\n")
    for name in ("root-cert.pem", "root-key.pem"):
        shutil.copyfile(root / "certs" / name, mesh / name)
    command = out.split("openssl (bash):\n")[1].split("  step:")[0]
    assert "extfile" in command
    done = subprocess.run(
        ["bash", "-euc", command], cwd=mesh, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in CLUSTERS:
        ran = run(
            "certs", "import", "--root", "root-cert.pem", name, f"signed/{name}.pem", cwd=mesh
        )
        assert ran.code == 0, ran.err
        strictly(
            mesh / "certs" / "root-cert.pem",
            mesh / "certs" / f"intermediate-{name}" / "cert-chain.pem",
        )
    assert run("render", cwd=mesh).code == 0


def issuer(
    name: str, key: Any = None, above: "tuple[x509.Certificate, Any] | None" = None, **over: Any
) -> tuple[x509.Certificate, Any]:
    """A CA of a test: its certificate and its key, signed by `above`, else by itself."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    return certificate(
        key.public_key(),
        above or (None, key),
        subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
        **over,
    ), key


def certificate(
    public: Any,
    above: "tuple[x509.Certificate | None, Any]",
    subject: "x509.Name | None" = None,
    ca: bool = True,
    days: tuple[int, int] = (-1, 300),
    length: "int | None" = None,
    sign: bool = True,
    digest: Any = None,
    more: "tuple[x509.ExtensionType, bool] | None" = None,
) -> x509.Certificate:
    """A certificate, as one asks for it."""
    now = datetime.now(UTC)
    subject = subject or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Intermediate CA")])
    usage = x509.KeyUsage(not sign, False, False, False, False, sign, sign, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above[0].subject if above[0] is not None else subject)
        .public_key(public)
    )
    builder = (
        builder.serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
    )
    builder = builder.add_extension(
        x509.BasicConstraints(ca, length if ca else None), critical=True
    ).add_extension(usage, critical=True)
    if more is not None:
        builder = builder.add_extension(more[0], critical=more[1])
    return builder.sign(above[1], digest or hashes.SHA256())


WRONG = (
    "another key",
    "no CA",
    "may not sign",
    "for another purpose",
    "a critical extension",
    "expired",
    "not yet valid",
    "another root",
    "a root of the same name",
    "swapped clusters",
    "the root itself",
    "chain out of order",
    "chain with a gap",
    "path too long",
    "an issuer that is no CA",
    "an issuer that expired",
    "no PEM",
    "in binary",
    "nothing",
    "a private key",
    "a request",
    "another cluster's name",
)


@pytest.mark.parametrize("kind", WRONG)
def test_what_must_not_be_taken_in(
    kind: str, mesh: WorkDir, run: Run, tmp_path: Path, golden: Golden
) -> None:
    """Each with its exact reason, and nothing changed; the right one is taken in afterwards."""
    top = issuer("Root")
    (tmp_path / "root.pem").write_bytes(pem(top[0]))
    key: Any = serialization.load_pem_private_key(
        (mesh / "certs/intermediate-context-east-1/ca-key.pem").read_bytes(), None
    )
    other: Any = serialization.load_pem_private_key(
        (mesh / "certs/intermediate-context-east-2/ca-key.pem").read_bytes(), None
    )
    public = key.public_key()
    between = issuer("Between", above=top)
    narrow = issuer("Narrow", above=top, length=0)
    leaf = issuer("Leaf", above=top, ca=False)
    old = issuer("Old", above=top, days=(-30, -1))
    good = certificate(public, top)
    locality = x509.Name([x509.NameAttribute(NameOID.LOCALITY_NAME, "intermediate-context-west-1")])
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
    bodies = {
        "another key": lambda: pem(issuer("x", above=top)[0]),
        "no CA": lambda: pem(certificate(public, top, ca=False)),
        "may not sign": lambda: pem(certificate(public, top, sign=False)),
        "for another purpose": lambda: pem(certificate(public, top, more=(purpose, False))),
        "a critical extension": lambda: pem(certificate(public, top, more=(unknown, True))),
        "expired": lambda: pem(certificate(public, top, days=(-30, -1))),
        "not yet valid": lambda: pem(certificate(public, top, days=(3, 30))),
        "another root": lambda: pem(certificate(public, issuer("Another"))),
        "a root of the same name": lambda: pem(certificate(public, issuer("Root"))),
        "swapped clusters": lambda: pem(certificate(other.public_key(), top)),
        "the root itself": lambda: pem(top[0]),
        "chain out of order": lambda: pem(between[0]) + pem(certificate(public, between)),
        "chain with a gap": lambda: pem(certificate(public, between)) + pem(top[0]),
        "path too long": lambda: pem(certificate(public, narrow, length=None)) + pem(narrow[0]),
        "an issuer that is no CA": lambda: pem(certificate(public, leaf)) + pem(leaf[0]),
        "an issuer that expired": lambda: pem(certificate(public, old)) + pem(old[0]),
        "no PEM": lambda: pem(good).replace(b"-----", b"----"),
        "in binary": lambda: good.public_bytes(serialization.Encoding.DER),
        "nothing": lambda: b"",
        "a private key": lambda: (
            pem(good) + (mesh / "certs/intermediate-context-east-1/ca-key.pem").read_bytes()
        ),
        "a request": (mesh / "certs/intermediate-context-east-1/ca.csr").read_bytes,
        "another cluster's name": lambda: pem(certificate(public, top, subject=locality)),
    }
    file = tmp_path / "back.pem"
    file.write_bytes(bodies[kind]())
    before = mesh.snapshot()
    ran = run("certs", "import", "--root", tmp_path / "root.pem", "context-east-1", file, cwd=mesh)
    assert (ran.code, ran.out) == (2, ""), kind
    text = re.sub(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8} UTC", "DATE", ran.err.replace(f"{tmp_path}/", "")
    )
    golden(TOP / "tests/invalid/imports" / f"{kind.replace(' ', '-')}.txt", text)
    assert mesh.snapshot() == before
    file.write_bytes(pem(good))
    assert (
        run(
            "certs", "import", "--root", tmp_path / "root.pem", "context-east-1", file, cwd=mesh
        ).code
        == 0
    )
    assert mesh.snapshot() != before


def test_a_longer_chain_is_taken_in(mesh: WorkDir, run: Run, tmp_path: Path) -> None:
    """Between root and intermediate there may be others; with or without the root at the end."""
    top = issuer("Root")
    between = issuer("Between", above=top)
    (tmp_path / "root.pem").write_bytes(pem(top[0]))
    for name, end in (("context-east-1", b""), ("context-east-2", pem(top[0]))):
        key: Any = serialization.load_pem_private_key(
            (mesh / f"certs/intermediate-{name}/ca-key.pem").read_bytes(), None
        )
        (tmp_path / "back.pem").write_bytes(
            pem(certificate(key.public_key(), between)) + pem(between[0]) + end
        )
        ran = run(
            "certs",
            "import",
            "--root",
            tmp_path / "root.pem",
            name,
            tmp_path / "back.pem",
            cwd=mesh,
        )
        assert ran.code == 0, ran.err
        assert [
            c.subject.rfc4514_string()
            for c in load(mesh / f"certs/intermediate-{name}/cert-chain.pem")
        ] == ["CN=Intermediate CA", "CN=Between", "CN=Root"]
        again = run("certs", "import", name, tmp_path / "back.pem", cwd=mesh)
        assert again.code == 2
        assert (
            f"is not needed: certs/intermediate-{name}/ca-cert.pem is there, and is kept"
            in again.err
        )
    ran = run("render", cwd=mesh)
    assert ran.code == 0
    assert "context-west-1: its intermediate's certificate" in ran.out
    assert (mesh / "out/context-east-1/3-mesh").is_dir()


def test_the_root_has_to_be_named_once(mesh: WorkDir, run: Run, tmp_path: Path) -> None:
    """Without it nothing can be judged; a leaf is no root; another root later is refused."""
    top = issuer("Root")
    key: Any = serialization.load_pem_private_key(
        (mesh / "certs/intermediate-context-east-1/ca-key.pem").read_bytes(), None
    )
    file, named = tmp_path / "back.pem", tmp_path / "root.pem"
    file.write_bytes(pem(certificate(key.public_key(), top)))
    (tmp_path / "certs").mkdir()
    shutil.copyfile(file, tmp_path / "certs/back.pem")
    named.write_bytes(pem(issuer("Wrong")[0]))
    ran = run(
        "certs",
        "import",
        "-C",
        mesh,
        "--root",
        "root.pem",
        "context-east-1",
        "certs/back.pem",
        cwd=tmp_path,
    )
    assert ran.err.startswith("error: certs/back.pem: is not signed by the root in root.pem\n")
    ran = run("certs", "import", "context-east-1", file, cwd=mesh)
    assert "cannot be judged, for there is no certs/root-cert.pem yet" in ran.err
    named.write_bytes(pem(issuer("Between", above=top)[0]))
    assert (
        "root.pem: is signed by another: it is no root"
        in run("certs", "import", "--root", named, "context-east-1", file, cwd=mesh).err
    )
    named.write_bytes(pem(top[0]))
    assert run("certs", "import", "--root", named, "context-east-1", file, cwd=mesh).code == 0
    named.write_bytes(pem(issuer("Another")[0]))
    assert (
        "root.pem: is another root than certs/root-cert.pem"
        in run("certs", "import", "--root", named, "context-east-2", file, cwd=mesh).err
    )
    assert (
        "nothing.pem: is not there"
        in run("certs", "import", "context-east-2", "nothing.pem", cwd=mesh).err
    )
    assert 'no cluster "context-east"' in run("certs", "import", "context-east", file, cwd=mesh).err


def test_an_intermediate_that_outlives_its_root(mesh: WorkDir, run: Run, tmp_path: Path) -> None:
    """It is taken in with a warning that has both days, the first time and when it follows another; one that ends before is taken in without."""
    top = issuer("Root", days=(-1, 100))
    (tmp_path / "root.pem").write_bytes(pem(top[0]))
    named = ("--root", tmp_path / "root.pem")

    def said(name: str, days: int, folder: str = "intermediate", *words: "str | Path") -> str:
        key: Any = serialization.load_pem_private_key(
            (mesh / f"certs/{folder}-{name}/ca-key.pem").read_bytes(), None
        )
        (tmp_path / "back.pem").write_bytes(
            pem(certificate(key.public_key(), top, days=(-1, days)))
        )
        ran = run("certs", "import", *words, name, "../back.pem", cwd=mesh)
        assert ran.code == 0, ran.err
        return "".join(
            line + "\n" for line in ran.err.splitlines() if not line.startswith("next: ")
        )

    first = said("context-east-1", 300, "intermediate", *named)
    ends, last = (
        f"{c.not_valid_after_utc:%Y-%m-%d}" for c in (load(tmp_path / "back.pem")[0], top[0])
    )
    warning = f"warning: ../back.pem: is valid until {ends}, longer than its root, which ends on {last}; from then on it is worth nothing\n"
    assert first == f"{warning}  fix: rotate the root before {last}\n"
    assert said("context-east-2", 90, "intermediate", *named) == ""
    assert run("certs", "renew", "context-east-2", cwd=mesh).code == 0
    assert warning in said("context-east-2", 300, "next-intermediate")


def test_requests_that_are_not_signed(
    root: WorkDir, mesh: WorkDir, run: Run, tmp_path: Path
) -> None:
    """A signature under a root is for what this tool asks for, and for nothing else; all problems at once, nothing written."""
    key = ec.generate_private_key(ec.SECP256R1())
    good = build_request("acme", "east", "istio-system", key)
    assert read_request("x", good).cluster == "east"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "www.example.com")])
    odd = {
        "server.csr": x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("www.example.com")]), critical=False
        )
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM),
        "names.csr": build_request("acme", "east", "istio-system.svc.evil", key),
        "small.csr": build_request("acme", "east", "x", ec.generate_private_key(ec.SECP224R1())),
        "bytes.csr": b"\x00\x01",
        "twice.csr": good,
        "once.csr": good,
    }
    for name, body in odd.items():
        (tmp_path / name).write_bytes(body)
    ran = run(
        "certs",
        "sign",
        "-C",
        root,
        "--to",
        tmp_path / "signed",
        *(tmp_path / name for name in odd),
        tmp_path / "none.csr",
    )
    assert ran.code == 2
    for text in (
        "server.csr: asks for other names",
        "names.csr: asks for other names",
        "small.csr: is for a key that istiod does not take",
        "bytes.csr: is no request in PEM",
        "once.csr: asks for east, as",
        "none.csr: is not there",
    ):
        assert text in ran.err, ran.err
    assert not (tmp_path / "signed").exists()
    given = "certs/names.csr"
    (tmp_path / "certs").mkdir()
    (tmp_path / "names.csr").rename(tmp_path / given)
    ran = run("certs", "sign", "-C", root, "--to", "signed", given, cwd=tmp_path)
    assert ran.err.startswith(f"error: {given}: asks for other names")
    assert ran.err.endswith("\n  fix: have it made anew where it comes from, by `certs csr`\n")
    assert str(root) not in ran.err
    (root / "certs" / "root-key.pem").unlink()
    ran = run("certs", "sign", "-C", root, "--to", tmp_path / "signed", tmp_path / "once.csr")
    assert "certs/root-key.pem: is not here, and nothing can be signed without it" in ran.err


def test_requests_keep_what_is_there(mesh: WorkDir, run: Run) -> None:
    """A request that fits is kept; one whose key is gone or another is told; a directory with a local root asks for none."""
    before = mesh.snapshot()
    assert run("certs", "csr", cwd=mesh).code == 0
    assert mesh.snapshot() == before
    shutil.copyfile(
        mesh / "certs/intermediate-context-east-1/ca-key.pem",
        mesh / "certs/intermediate-context-east-2/ca-key.pem",
    )
    (mesh / "certs/intermediate-context-west-1/ca-key.pem").unlink()
    ran = run("certs", "csr", cwd=mesh)
    assert ran.code == 2
    assert (
        "intermediate-context-east-2/ca.csr: is a request for another key than ca-key.pem beside it"
        in ran.err
    )
    assert (
        "intermediate-context-west-1/ca.csr: is a request whose key, ca-key.pem beside it, is not here"
        in ran.err
    )
    mesh.topology({"certificates": {"issuer": "local"}})
    assert (
        "says issuer: local; requests are for intermediates that somebody else signs"
        in run("certs", "csr", cwd=mesh).err
    )


def test_export_is_for_the_store_external(workdir: Make, run: Run, tmp_path: Path) -> None:
    """Other stores have no use for it; a git work tree that would take the keys is refused."""
    mesh = workdir(over={"secrets": {"store": "plain"}})
    assert "only the store external is filled by hand" in run("certs", "export", cwd=mesh).err
    other = workdir(
        "other",
        over={
            "secrets": {"store": "external", "secretStore": {"kind": "SecretStore", "name": "aws"}}
        },
    )
    assert "has no intermediate yet for some cluster" in run("certs", "export", cwd=other).err
    assert run("render", cwd=other).code == 0
    out = run("certs", "export", "--cluster", "context-east-1", cwd=other)
    assert (
        out.out
        == "mymeshname/context-east-1/cacerts  ca-cert.pem, ca-key.pem, cert-chain.pem, root-cert.pem\n"
    )
    subprocess.run(["git", "init", "-q", tmp_path / "repo"], check=True)
    ran = run("certs", "export", "--to", tmp_path / "repo" / "x", cwd=other)
    assert ran.code == 2
    assert "lies in a git work tree that would take" in ran.err
    assert not (tmp_path / "repo" / "x").exists()


ISSUED = {
    "certificates": {
        "issuer": "cert-manager",
        "issuerRef": {"name": "mesh-ca"},
        "intermediateDays": 90,
    },
    "secrets": {"store": "plain"},
}
SAIL = "apiVersion: sailoperator.io/v1\nkind: Istio\nspec:\n  version: v1.31.3\n"


def test_cert_manager_leaves_no_key_here(workdir: Make, run: Run) -> None:
    """No certs/ at all; a Certificate for cacerts in every cluster; the lock names the issuer."""
    mesh = workdir(over=ISSUED, tokens=True)
    mesh.write("base.yaml", SAIL)
    ran = run("render", "--strict", cwd=mesh)
    assert ran.code == 0, ran.err
    assert not (mesh / "certs").exists()
    value = yaml.safe_load((mesh / "out/context-east-1/1-trust/cacerts.yaml").read_text())
    assert value["kind"] == "Certificate"
    assert value["spec"]["secretName"] == "cacerts"
    assert (value["spec"]["duration"], value["spec"]["renewBefore"]) == ("2160h", "270h")
    assert value["spec"]["privateKey"] == {
        "algorithm": "ECDSA",
        "size": 256,
        "rotationPolicy": "Always",
    }
    lock = json.loads((mesh / "out/context-east-1/mesh.lock").read_text())["madeFrom"]
    assert lock["issuer"] == "cert-manager: ClusterIssuer.cert-manager.io/mesh-ca"
    assert run("render", "--check", cwd=mesh).code == 0
    for verb in ("describe", "check", "teardown"):
        assert run(verb, cwd=mesh).code == 0


@pytest.mark.parametrize("kind", ["Istio", "IstioOperator", "Application", "HelmRelease"])
@pytest.mark.parametrize("ambient", [False, True])
def test_istio_csr_and_istiod_agree(workdir: Make, run: Run, kind: str, ambient: bool) -> None:
    """istiod signs nothing, every proxy asks istio-csr, and that knows the cluster by the same name."""
    data_plane = (
        {"istio": {"version": "1.31.3", "dataPlane": "ambient"}}
        if ambient
        else {"istio": {"version": "1.31.3"}}
    )
    networks = {"contexts": {"context-east-2": {"network": "network-east-2"}}} if ambient else {}
    mesh = workdir(
        over={
            "certificates": {
                "issuer": "istio-csr",
                "issuerRef": {"name": "mesh-ca", "kind": "Issuer"},
            },
            "trustDomain": "acme.example",
            **data_plane,
            **networks,
        },
        tokens=True,
    )
    (mesh / "topology.yaml").write_text(
        (mesh / "topology.yaml").read_text() + "secrets: {store: plain}\n"
    )
    from kubectl_mesh import targets

    mesh.write("base.yaml", targets.KINDS[kind].STARTER)
    ran = run("render", cwd=mesh)
    assert ran.code == 0, ran.err
    folder = mesh / "out" / "context-east-1"
    values = yaml.safe_load((folder / "1-trust" / "istio-csr.values").read_text())["app"]
    assert values["server"]["clusterID"] == "context-east-1"
    assert values["tls"]["trustDomain"] == "acme.example"
    assert values["certmanager"]["issuer"] == {
        "enabled": True,
        "group": "cert-manager.io",
        "kind": "Issuer",
        "name": "mesh-ca",
    }
    assert ("caTrustedNodeAccounts" in values["server"]) == ambient
    text = "\n".join(p.read_text() for p in sorted((folder / "2-control-plane").glob("*.yaml")))
    assert re.search(r'ENABLE_CA_SERVER: "false"', text)
    assert text.count("caAddress: cert-manager-istio-csr.cert-manager.svc:443") == (
        2 if ambient else 1
    )
    assert not (folder / "1-trust" / "cacerts.yaml").exists()
