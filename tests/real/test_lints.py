"""What other programs' lints say of certificates, in every state of a rotation and for every type of key: nothing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from kubectl_mesh.cli import clock as shell
from tests.conftest import Run, WorkDir
from tests.support.clocks import Clock
from tests.support.rotations import ISTIO, ROTATE

Make = Callable[..., WorkDir]
TYPES = ["ec-p256", "ec-p384", "rsa-2048", "rsa-3072", "rsa-4096"]
SOURCES = "RFC5280,RFC5480,RFC6962,RFC8813,Community"
"""Of zlint's sources those that are about any certificate; the others are about servers on the web."""
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
GO = r"""
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

// An intermediate, its chain and the bundle that a cluster trusts, verified as istiod does it when it loads them.
func main() {
	pools := []*x509.CertPool{x509.NewCertPool(), x509.NewCertPool()}
	for i, name := range os.Args[2:4] {
		body, _ := os.ReadFile(name)
		if !pools[i].AppendCertsFromPEM(body) {
			fmt.Println("no certificate in", name)
			os.Exit(1)
		}
	}
	body, _ := os.ReadFile(os.Args[1])
	block, _ := pem.Decode(body)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err == nil {
		_, err = certificate.Verify(x509.VerifyOptions{Intermediates: pools[0], Roots: pools[1]})
	}
	if err != nil || !certificate.IsCA {
		fmt.Println(err)
		os.Exit(1)
	}
}
"""


def program(name: str) -> str:
    """A program, or the reason to skip."""
    found = shutil.which(name, path=PATH)
    if found is None:
        pytest.skip(f"{name} is not on PATH")
    return found


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program in Go that verifies a chain."""
    folder = tmp_path_factory.mktemp("go")
    (folder / "main.go").write_text(GO)
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "GO111MODULE": "off"}
    subprocess.run(
        [program("go"), "build", "-o", folder / "verify", folder / "main.go"],
        check=True,
        env=environment,
    )
    return folder / "verify"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that ends today, for Go has its own."""
    found = Clock()
    found.now = datetime.now(UTC).replace(microsecond=0) - timedelta(days=12)
    monkeypatch.setattr(shell, "read_clock", lambda: found.now)
    return found


@pytest.fixture(params=TYPES)
def states(
    request: pytest.FixtureRequest, workdir: Make, run: Run, clock: Clock, tmp_path: Path
) -> dict[str, Path]:
    """`certs/` in every state of a rotation, and after a cluster was lost."""
    mesh = workdir(over={"certificates": {"keyType": request.param}}, tokens=True)
    mesh.write("base.yaml", ISTIO)
    found = {}

    def done(*words: str) -> None:
        ran = run(*words, cwd=mesh)
        assert ran.code == 0, ran.err

    def keep(name: str) -> None:
        done("render")
        clock.pass_(days=2)
        found[name] = Path(shutil.copytree(mesh / "certs", tmp_path / name))

    keep("one root")
    done(*ROTATE, "begin")
    keep("trust both")
    for name in ("sign with the new", "drop the old"):
        done(*ROTATE, "advance", "--seen-for", "24h")
        keep(name)
    done(*ROTATE, "advance", "--seen-for", "0h")
    done("remove", "context-west-1")
    done("certs", "revoke", "context-west-1")
    keep("a cluster was lost")
    return found


def parts(states: dict[str, Path], pattern: str) -> dict[str, bytes]:
    """Every certificate of all states in DER, by fingerprint."""
    found = {}
    for certs in states.values():
        for path in certs.glob(pattern):
            for one in x509.load_pem_x509_certificates(path.read_bytes()):
                found[one.fingerprint(hashes.SHA256()).hex()] = one.public_bytes(
                    serialization.Encoding.PEM
                )
    return found


PKILINT = """
import sys
from pkilint.bin import lint_crl, lint_pkix_cert

main, *words = {"cert": [lint_pkix_cert.main, "lint"], "crl": [lint_crl.main, "lint", "-t", "CRL", "-p", "PKIX"]}[sys.argv[1]]
for path in sys.argv[2:]:
    print(path, main([*words, "-s", "NOTICE", path]))
"""


def pkilint(kind: str, paths: Sequence[Path]) -> None:
    """Has pkilint look at files, all in one process, since loading it takes most of the time; of each it has to say nothing and end with 0."""
    assert said(sys.executable, "-c", PKILINT, kind, *paths) == (
        0,
        "\n\n".join(f"{path} 0" for path in paths),
    )


def said(*words: "str | Path") -> tuple[int, str]:
    """What a program says."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


@pytest.mark.slow
def test_no_lint_finds_anything(states: dict[str, Path], tmp_path: Path, verifier: Path) -> None:
    """zlint, pkilint, OpenSSL and Go, over roots, intermediates, chains and CRLs."""
    zlint = program("zlint")
    found = {**parts(states, "root-cert.pem"), **parts(states, "intermediate-*/ca-cert.pem")}
    assert len(found) == 2 + 6
    for mark, pem in found.items():
        path = tmp_path / f"{mark}.pem"
        path.write_bytes(pem)
        code, text = said(zlint, f"-includeSources={SOURCES}", path)
        assert code == 0, text
        assert text.count('"pass"') > 30, text
        assert not [
            word for word in ('"info"', '"notice"', '"warn"', '"error"', '"fatal"') if word in text
        ], text
    pkilint("cert", [tmp_path / f"{mark}.pem" for mark in found])
    for state, certs in states.items():
        for folder in sorted(certs.glob("intermediate-*")):
            lost = state == "a cluster was lost" and folder.name == "intermediate-context-west-1"
            chain, bundle = (
                folder / "cert-chain.pem",
                folder / ("root-cert.pem" if not lost else "../root-cert.pem"),
            )
            assert said(verifier, folder / "ca-cert.pem", chain, bundle) == (0, ""), (
                state,
                folder.name,
            )
            crls = (
                ["-CRLfile", certs / "ca-crl.pem", "-crl_check_all"]
                if (certs / "ca-crl.pem").exists()
                else []
            )
            code, text = said(
                "openssl",
                "verify",
                "-x509_strict",
                "-purpose",
                "any",
                *crls,
                "-CAfile",
                bundle,
                "-untrusted",
                chain,
                folder / "ca-cert.pem",
            )
            assert (code == 0) is not lost, (state, folder.name, text)
            assert not lost or "certificate revoked" in text
    blocks = (
        (states["a cluster was lost"] / "ca-crl.pem")
        .read_bytes()
        .split(b"-----END X509 CRL-----\n")[:-1]
    )
    assert len(blocks) == 3
    for number, block in enumerate(blocks):
        (tmp_path / f"{number}.crl").write_bytes(block + b"-----END X509 CRL-----\n")
    pkilint("crl", [tmp_path / f"{number}.crl" for number in range(len(blocks))])
