"""Every step of the sequences over the years: the tree is current before it, what it does to the mesh is told as the golden text says, and the mesh is sound after it."""

import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from conftest import TOP, Golden, Run, WorkDir
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from meshes import MESHES, Mesh
from test_rotation import ROTATE, Clock
from test_rotation import clock as clock  # noqa: PLC0414 -- a fixture

from kubectl_mesh.pki.read import load_key

STEPS = TOP / "tests" / "golden" / "steps"
EAST, WEST = "context-east-1", "context-west-1"
CHANCE = [(re.compile(r"\b[0-9a-f]{64}\b"), "SHA-256"), (re.compile(r"\b[0-9a-f]{30,40}\b"), "SERIAL"), (re.compile(r"\b[0-9a-f]{8}\b"), "MARK")]
"""What is another in every run."""

Make = Callable[..., WorkDir]


RENEW = (("renew", ("certs", "renew", EAST)),)
ROTATION = (
    ("begin", (*ROTATE, "begin")),
    ("sign-new", (*ROTATE, "advance", "--seen-for", "24h")),
    ("drop-old", (*ROTATE, "advance", "--seen-for", "24h")),
    ("end", (*ROTATE, "advance", "--seen-for", "0h")),
)
ONE_ROOT = (("union", ("certs", "import-root", "--union", "../joins/certs/root-cert.pem")), *ROTATION)
BACK = (
    ("begin", (*ROTATE, "begin")),
    ("sign-new", (*ROTATE, "advance", "--seen-for", "24h")),
    ("sign-old", (*ROTATE, "abort")),
    ("drop-new", (*ROTATE, "advance", "--seen-for", "24h")),
    ("end", (*ROTATE, "advance", "--seen-for", "0h")),
)
TOKENS = (
    ("begin", ("tokens", "rotate", EAST, "begin")),
    ("move", ("tokens", "rotate", EAST, "advance")),
    ("end", ("tokens", "rotate", EAST, "advance")),
)
LOST = (
    ("remove", ("remove", WEST)),
    ("revoke", ("certs", "revoke", WEST)),
    ("crl", ("certs", "crl")),
)
LOST_AND_ROTATED = (*LOST, *RENEW, *ROTATION, ("crl-again", ("certs", "crl")), *RENEW)
SEQUENCES = {
    "renew": RENEW,
    "one-root": ONE_ROOT,
    "rotate-root": ROTATION,
    "cluster-lost-root-rotated": LOST_AND_ROTATED,
    "rotate-root-and-back": BACK,
    "rotate-token": TOKENS,
    "cluster-lost": LOST,
}


def begun(kind: str, name: str, workdir: Make, run: Run, scratch: Path) -> Mesh:
    """A mesh before the first step, rendered."""
    mesh = MESHES[kind](workdir, run, scratch)
    if name == "one-root":
        mesh.joined()
    mesh.start()
    mesh.quiet("render")
    mesh.said.clear()
    return mesh


@pytest.mark.parametrize("name", SEQUENCES)
@pytest.mark.parametrize("kind", MESHES)
def test_each_step(kind: str, name: str, workdir: Make, run: Run, golden: Golden, clock: Clock, tmp_path: Path) -> None:
    """`render --check` before, the golden text of `diff`, a render that gives every cluster what it should hold, and no error of `check` after."""
    mesh = begun(kind, name, workdir, run, tmp_path)
    mesh.verify()
    for step, words in SEQUENCES[name]:
        mesh.quiet("render", "--check")
        clock.pass_(days=2)
        mesh.said.append(f"# {step}\n")
        mesh.take(*words)
        told = run("diff", cwd=mesh.place)
        assert told.code in (0, 1)
        mesh.said.append(f"$ kubectl mesh diff\n{told.out}\n")
        mesh.quiet("render")
        mesh.verify()
        mesh.quiet("check")
    text = "\n".join(mesh.said)
    for pattern, word in CHANCE:
        text = pattern.sub(word, text)
    golden(STEPS / name / f"{kind}.txt", text)


def workload(folder: Path, at: datetime) -> bytes:
    """A workload's certificate, as istiod signs it with an intermediate."""
    key = load_key("key", (folder / "ca-key.pem").read_bytes())
    issuer = x509.load_pem_x509_certificate((folder / "ca-cert.pem").read_bytes())
    own = ec.generate_private_key(ec.SECP256R1())
    identity = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://cluster.local/ns/a/sa/b")])
    builder = x509.CertificateBuilder(issuer.subject, x509.Name([]), own.public_key(), x509.random_serial_number(), at, at + timedelta(days=1))
    builder = builder.add_extension(identity, critical=True)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def meet(mine: Path, other: Path, name: str, at: datetime) -> None:
    """A proxy that holds what `mine` says takes what the cluster signs by `other`, CRLs and all."""
    base = other / f"intermediate-{name}"
    leaf = other / "leaf.pem"
    leaf.write_bytes(workload(base, at))
    crls = ["-CRLfile", mine / "ca-crl.pem", "-crl_check_all"] if (mine / "ca-crl.pem").exists() else []
    words = ["openssl", "verify", "-x509_strict", "-attime", str(int(at.timestamp()) + 60), *crls, "-CAfile", mine / "root-cert.pem"]
    done = subprocess.run([*words, "-untrusted", base / "cert-chain.pem", leaf], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (mine.name, other.name, name, done.stdout + done.stderr)


@pytest.mark.parametrize("name", [n for n in SEQUENCES if n != "rotate-token"])
@pytest.mark.parametrize("kind", ["plain", "csr"])
def test_late_clusters_are_not_cut(kind: str, name: str, workdir: Make, run: Run, clock: Clock, tmp_path: Path) -> None:
    """Whoever has a step and whoever does not have it yet take each other's certificates, both ways, while both live."""
    mesh = begun(kind, name, workdir, run, tmp_path)
    before = shutil.copytree(mesh.place / "certs", tmp_path / "0")
    for number, (step, words) in enumerate(SEQUENCES[name], 1):
        clock.pass_(days=2)
        mesh.take(*words)
        mesh.quiet("render")
        after = shutil.copytree(mesh.place / "certs", tmp_path / f"{number}-{step}")
        for cluster in (EAST, "context-east-2", *([] if name.startswith("cluster-lost") else [WEST])):
            for mine, other in ((before, before), (before, after), (after, before), (after, after)):
                meet(mine, other, cluster, clock.now)
        before = after
