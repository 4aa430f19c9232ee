"""Every step of the sequences over the years: the tree is current before it, what it does to the mesh is told as the golden text says, and the mesh is sound after it."""

import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kubectl_mesh.x509.certificates import load_key
from tests.conftest import TOP, Golden, Run, WorkDir
from tests.support.authorities import make_root
from tests.support.clocks import Clock
from tests.support.meshes import MESHES, Mesh
from tests.support.rotations import ISTIO, ROTATE

STEPS = TOP / "tests" / "golden" / "steps"
EAST, WEST = "context-east-1", "context-west-1"
CHANCE = [
    (re.compile(r"\b[0-9a-f]{64}\b"), "SHA-256"),
    (re.compile(r"\b[0-9a-f]{30,40}\b"), "SERIAL"),
    (re.compile(r"\b[0-9a-f]{8}\b"), "MARK"),
]
"""What is another in every run."""

Make = Callable[..., WorkDir]


RENEW = (("renew", ("certs", "renew", EAST)),)
ROTATION = (
    ("begin", (*ROTATE, "begin")),
    ("sign-new", (*ROTATE, "advance", "--seen-for", "24h")),
    ("drop-old", (*ROTATE, "advance", "--seen-for", "24h")),
    ("end", (*ROTATE, "advance", "--seen-for", "0h")),
)
ONE_ROOT = (
    ("union", ("certs", "import-root", "--union", "../west/certs/root-cert.pem")),
    ("join", ("join",)),
    *ROTATION[1:],
)
BACK = (
    ("begin", (*ROTATE, "begin")),
    ("sign-new", (*ROTATE, "advance", "--seen-for", "24h")),
    ("sign-old", (*ROTATE, "abort")),
    ("drop-new", (*ROTATE, "advance", "--seen-for", "24h")),
    ("end", (*ROTATE, "advance", "--seen-for", "0h")),
)
TOKENS = (
    ("begin", ("tokens", "rotate", EAST, "begin", "--with-restarts")),
    ("move", ("tokens", "rotate", EAST, "advance")),
    ("end", ("tokens", "rotate", EAST, "advance", "--seen-for", "2h")),
)
TOKENS_BACK = (
    *TOKENS[:2],
    ("back", ("tokens", "rotate", EAST, "abort")),
    ("end", ("tokens", "rotate", EAST, "abort", "--seen-for", "2h")),
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
    "rotate-token-and-back": TOKENS_BACK,
    "cluster-lost": (*LOST, ("clear", ("certs", "crl", "--clear"))),
}


BY_HAND = (
    "and put it into the store: `kubectl mesh certs export --to FOLDER` writes what belongs there"
)
PUSHED = "the cluster pushes the other token into the store within 1h, and the peers take it within 1h more; no peer's directory changes"
ELSEWHERE = "certs/root-key.pem: is not here, and its CRL is signed with it"
SAID = (
    (
        "external",
        ("renew", "begin", "sign-new", "drop-old", "sign-old", "drop-new"),
        ("renew", "rotate-root", "rotate-root-and-back"),
        BY_HAND,
    ),
    ("external", ("move",), ("rotate-token", "rotate-token-and-back"), PUSHED),
    ("csr", ("revoke",), ("cluster-lost",), ELSEWHERE),
)
"""What a step says in one kind of mesh, for it is taken otherwise there, and in no other."""


def begun(kind: str, name: str, workdir: Make, run: Run, scratch: Path) -> Mesh:
    """A mesh before the first step, rendered."""
    mesh = MESHES[kind](workdir, run, scratch)
    if name == "one-root":
        mesh.without_west()
    mesh.start()
    mesh.quiet("render")
    mesh.said.clear()
    return mesh


@pytest.mark.parametrize(
    ("kind", "name"),
    [(k, n) for k in MESHES for n in SEQUENCES if n != "cluster-lost" or k in ("plain", "csr")],
)
def test_each_step(
    kind: str, name: str, workdir: Make, run: Run, golden: Golden, clock: Clock, tmp_path: Path
) -> None:
    """`render --check` before, the golden text of `diff`, a render that gives every cluster what it should hold, and no error of `check` after."""
    mesh = begun(kind, name, workdir, run, tmp_path)
    mesh.verify()
    for step, words in SEQUENCES[name]:
        mesh.quiet("render", "--check")
        clock.pass_(days=2)
        mesh.said.append(f"# {step}\n")
        ran = mesh.take(*words)
        for of, steps, names, sentence in SAID:
            if step in steps and name in names:
                assert (sentence in ran.out + ran.err) == (kind == of), (step, ran)
        told = run("diff", cwd=mesh.place)
        assert told.code in (0, 1)
        mesh.said.append(f"$ kubectl mesh diff\n{told.out}\n")
        mesh.quiet("render", *(("--with-restarts",) if step in ("move", "back") else ()))
        mesh.verify()
        mesh.quiet("check")
    text = "\n".join(mesh.said)
    for pattern, word in CHANCE:
        text = pattern.sub(word, text)
    golden(STEPS / name / f"{kind}.txt", text)


ISSUED = {"certificates": {"issuer": "cert-manager", "issuerRef": {"name": "ca"}, "keyType": None}}
THERE = "topology.yaml: says issuer: cert-manager, which makes and renews the certificates in the clusters\n  fix: renew them there"
REVOKED = "topology.yaml: says issuer: cert-manager; what it signed, it revokes\n  fix: revoke it where that issuer is"
ROOTED = "topology.yaml: says issuer: cert-manager, which has its root in the clusters; one that is here signs nothing"
IN_THERE = "  fix: bring the root in there; or write issuer: local or csr"
GIVEN = "--root: is for a root that somebody else holds, and topology.yaml says issuer: local\n  fix: leave it out, or write issuer: csr"
ASKED = "topology.yaml: says issuer: csr: the new root is made by whoever holds it\n  fix: name it with --root FILE"
BY_TOOL = "topology.yaml: says store: plain; only the store external is filled by hand\n  fix: write store: external"
REQUESTS = "topology.yaml: says issuer: local; requests are for intermediates that somebody else signs\n  fix: write `certificates: {issuer: csr}`"
NOT_HERE = [
    ("cert-manager", ("certs", "renew", "--all"), THERE),
    ("cert-manager", (*ROTATE, "begin"), THERE),
    (
        "cert-manager",
        ("certs", "import-root", "own.pem", "--key", "own.key"),
        f"{ROOTED}\n{IN_THERE}",
    ),
    ("cert-manager", ("certs", "import-root", "--union", "own.pem"), f"{ROOTED}\n{IN_THERE}"),
    ("cert-manager", ("certs", "revoke", WEST), REVOKED),
    ("cert-manager", ("certs", "crl"), REVOKED),
    ("local", (*ROTATE, "begin", "--root", "own.pem"), GIVEN),
    ("local", ("certs", "csr"), REQUESTS),
    ("local", ("certs", "export"), BY_TOOL),
    ("csr", (*ROTATE, "begin"), ASKED),
]


@pytest.mark.parametrize(
    ("issuer", "words", "said"),
    NOT_HERE,
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_not_done_there(
    issuer: str, words: tuple[str, ...], said: str, workdir: Make, run: Run
) -> None:
    """A sequence that is nothing for an issuer or a store is refused in a sentence that says what to do, and nothing is written."""
    mesh = workdir(
        over={"certificates": {"issuer": "csr"}}
        if issuer == "csr"
        else ISSUED
        if issuer == "cert-manager"
        else {},
        tokens=True,
    )
    mesh.write("base.yaml", ISTIO)
    make_root(mesh.path)
    if issuer == "csr":
        assert run("certs", "import-root", "own.pem", cwd=mesh).code == 0
    assert run("render", cwd=mesh).code == 0
    before = mesh.snapshot()
    ran = run(*words, cwd=mesh)
    assert (ran.code, ran.out, ran.err) == (2, "", f"error: {said}\n")
    assert mesh.snapshot() == before


def workload(folder: Path, at: datetime) -> bytes:
    """A workload's certificate, as istiod signs it with an intermediate."""
    key = load_key("key", (folder / "ca-key.pem").read_bytes())
    issuer = x509.load_pem_x509_certificate((folder / "ca-cert.pem").read_bytes())
    own = ec.generate_private_key(ec.SECP256R1())
    identity = x509.SubjectAlternativeName(
        [x509.UniformResourceIdentifier("spiffe://cluster.local/ns/a/sa/b")]
    )
    builder = x509.CertificateBuilder(
        issuer.subject,
        x509.Name([]),
        own.public_key(),
        x509.random_serial_number(),
        at,
        at + timedelta(days=1),
    )
    builder = builder.add_extension(identity, critical=True)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
    )
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def meet(mine: Path, other: Path, name: str, at: datetime) -> None:
    """A proxy that holds what `mine` says takes what the cluster signs by `other`, CRLs and all."""
    base = other / f"intermediate-{name}"
    leaf = other / "leaf.pem"
    leaf.write_bytes(workload(base, at))
    crls = (
        ["-CRLfile", mine / "ca-crl.pem", "-crl_check_all"]
        if (mine / "ca-crl.pem").exists()
        else []
    )
    words = [
        "openssl",
        "verify",
        "-x509_strict",
        "-attime",
        str(int(at.timestamp()) + 60),
        *crls,
        "-CAfile",
        mine / "root-cert.pem",
    ]
    done = subprocess.run(
        [*words, "-untrusted", base / "cert-chain.pem", leaf],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (mine.name, other.name, name, done.stdout + done.stderr)


@pytest.mark.parametrize("name", [n for n in SEQUENCES if not n.startswith("rotate-token")])
@pytest.mark.parametrize("kind", ["plain", "csr"])
def test_late_clusters_are_not_cut(
    kind: str, name: str, workdir: Make, run: Run, clock: Clock, tmp_path: Path
) -> None:
    """Whoever has a step and whoever does not have it yet take each other's certificates, both ways, while both live."""
    mesh = begun(kind, name, workdir, run, tmp_path)
    before = shutil.copytree(mesh.place / "certs", tmp_path / "0")
    for number, (step, words) in enumerate(SEQUENCES[name], 1):
        clock.pass_(days=2)
        mesh.take(*words)
        mesh.quiet("render")
        after = shutil.copytree(mesh.place / "certs", tmp_path / f"{number}-{step}")
        for cluster in (
            EAST,
            "context-east-2",
            *([] if name.startswith("cluster-lost") else [WEST]),
        ):
            for mine, other in ((before, before), (before, after), (after, before), (after, after)):
                if (other / f"intermediate-{cluster}").exists():
                    meet(mine, other, cluster, clock.now)
        before = after
