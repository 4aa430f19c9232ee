"""`kubectl mesh certs revoke` and `certs crl`: what is made is judged by OpenSSL, and as istiod judges it, by Go."""

import base64
import json
import os
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

from kubectl_mesh.cli import clock as shell
from kubectl_mesh.pki import crl
from kubectl_mesh.pki import revocation as revoking
from tests.conftest import Run, WorkDir, snapshot
from tests.support.checked import valid
from tests.support.goldens import GOLDEN, copy_case

Make = Callable[..., WorkDir]
DAY = datetime.now(UTC).replace(microsecond=0)
EAST, OTHER, WEST = "context-east-1", "context-east-2", "context-west-1"
BUNDLE = "certs/ca-crl.pem"
TYPES = ["ec-p256", "ec-p384", "rsa-2048", "rsa-3072", "rsa-4096"]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Sets the clock; OpenSSL has its own, so the day is today."""

    def at(when: datetime) -> None:
        monkeypatch.setattr(shell, "read_clock", lambda: when)

    at(DAY)
    return at


def sail(
    workdir: Make,
    version: str = "1.30.4",
    over: "dict[str, object] | None" = None,
    name: str = "mesh",
) -> WorkDir:
    """A mesh of today's Istio."""
    made = workdir(
        name,
        over={"secrets": {"store": "plain"}, "istio": {"version": version}, **(over or {})},
        tokens=True,
    )
    made.write(
        "base.yaml",
        f"apiVersion: sailoperator.io/v1\nkind: Istio\nmetadata: {{name: default}}\nspec: {{version: v{version}, namespace: istio-system}}\n",
    )
    return made


def done(run: Run, mesh: WorkDir, *words: str) -> str:
    """What a verb printed that had to succeed."""
    ran = run(*words, cwd=mesh)
    assert ran.code == 0, ran.err
    return ran.out


def lost(run: Run, mesh: WorkDir) -> WorkDir:
    """The mesh after one cluster was lost: removed, and its intermediate revoked."""
    done(run, mesh, "render")
    done(run, mesh, "remove", WEST)
    done(run, mesh, "certs", "revoke", WEST)
    done(run, mesh, "render")
    return mesh


def certificate(mesh: WorkDir, name: str) -> x509.Certificate:
    """The intermediate of a cluster."""
    return x509.load_pem_x509_certificate(
        (mesh / f"certs/intermediate-{name}/ca-cert.pem").read_bytes()
    )


def leaf(mesh: WorkDir, name: str) -> Path:
    """A workload's certificate in a cluster, as istiod signs it."""
    folder = mesh / f"certs/intermediate-{name}"
    key: Any = serialization.load_pem_private_key((folder / "ca-key.pem").read_bytes(), None)
    own = ec.generate_private_key(ec.SECP256R1())
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(certificate(mesh, name).subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(DAY - timedelta(minutes=1))
        .not_valid_after(DAY + timedelta(hours=24))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.UniformResourceIdentifier("spiffe://cluster.local/ns/a/sa/b")]
            ),
            critical=True,
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = mesh / f"leaf-{name}.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


def revoked(mesh: WorkDir, path: "Path | None" = None) -> bool:
    """Whether OpenSSL finds an intermediate revoked, that of the lost cluster where no other is named."""
    path = path or mesh / f"certs/intermediate-{WEST}/ca-cert.pem"
    words = [
        "openssl",
        "verify",
        "-x509_strict",
        "-crl_check_all",
        "-CAfile",
        mesh / "certs/root-cert.pem",
        "-CRLfile",
        mesh / BUNDLE,
        path,
    ]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == (2 if "certificate revoked" in ran.stderr else 0), ran.stderr
    return ran.returncode != 0


def verified(mesh: WorkDir, name: str, bundle: "Path | None" = None) -> str:
    """What OpenSSL says of a workload of a cluster, every CA of its chain checked against the bundle: empty where it is good."""
    words = [
        "openssl",
        "verify",
        "-x509_strict",
        "-crl_check_all",
        "-purpose",
        "any",
        "-CAfile",
        mesh / "certs/root-cert.pem",
    ]
    words += [
        "-CRLfile",
        bundle or mesh / BUNDLE,
        "-untrusted",
        mesh / f"certs/intermediate-{name}/cert-chain.pem",
        leaf(mesh, name),
    ]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr


GO = r"""
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

// The certificates of the first file have each to have signed a list in the second.
func main() {
	var chain []*x509.Certificate
	var lists []*x509.RevocationList
	for i, name := range os.Args[1:] {
		rest, err := os.ReadFile(name)
		if err != nil {
			panic(err)
		}
		for block, more := pem.Decode(rest); block != nil; block, more = pem.Decode(more) {
			if i == 0 {
				c, err := x509.ParseCertificate(block.Bytes)
				if err != nil {
					panic(err)
				}
				chain = append(chain, c)
			} else {
				l, err := x509.ParseRevocationList(block.Bytes)
				if err != nil {
					panic(err)
				}
				lists = append(lists, l)
			}
		}
	}
	for _, c := range chain {
		found := false
		for _, l := range lists {
			found = found || l.CheckSignatureFrom(c) == nil
		}
		if !found {
			fmt.Println("missing CRL signed by", c.Subject)
			os.Exit(1)
		}
	}
	fmt.Println(len(chain), "signed,", len(lists), "lists")
}
"""


@pytest.fixture(scope="session")
def istiod(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that judges a bundle as istiod does, in Go's own standard library."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is not on PATH")
    folder = tmp_path_factory.mktemp("go")
    (folder / "main.go").write_text(GO)
    environment = {**os.environ, "GO111MODULE": "off", "GOTOOLCHAIN": "local"}
    subprocess.run(
        [go, "build", "-o", folder / "judge", folder / "main.go"], check=True, env=environment
    )
    return folder / "judge"


def judged(istiod: Path, mesh: WorkDir, name: str, tmp_path: Path) -> str:
    """What istiod would say of the rendered `cacerts` of a cluster."""
    data = yaml.safe_load((mesh / f"out/{name}/1-trust/cacerts.yaml").read_text())["data"]
    for key in ("cert-chain.pem", "ca-crl.pem"):
        (tmp_path / key).write_bytes(base64.b64decode(data[key]))
    return subprocess.run(
        [istiod, tmp_path / "cert-chain.pem", tmp_path / "ca-crl.pem"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout


@pytest.mark.parametrize("kind", TYPES)
def test_openssl_refuses_what_is_revoked_and_nothing_else(
    kind: str, workdir: Make, run: Run
) -> None:
    """For all key types; every list is signed by its issuer, and says of whom it is."""
    mesh = lost(run, sail(workdir, over={"certificates": {"keyType": kind}}))
    assert verified(mesh, EAST) == verified(mesh, OTHER) == ""
    assert revoked(mesh)
    assert verified(mesh, WEST) != ""
    issuers = [
        mesh / "certs/root-cert.pem",
        *(mesh / f"certs/intermediate-{name}/ca-cert.pem" for name in (EAST, OTHER)),
    ]
    blocks = (mesh / BUNDLE).read_text().split("-----END X509 CRL-----\n")[:-1]
    assert len(blocks) == len(issuers)
    for number, (block, issuer) in enumerate(zip(blocks, issuers, strict=True)):
        one = mesh.write("one.pem", block + "-----END X509 CRL-----\n")
        ran = subprocess.run(
            ["openssl", "crl", "-in", one, "-CAfile", issuer, "-noout", "-text"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0
        assert "verify OK" in ran.stderr + ran.stdout
        assert ("No Revoked Certificates." in ran.stdout) == (number > 0)
        assert "X509v3 Authority Key Identifier" in ran.stdout
        assert "X509v3 CRL Number" in ran.stdout


@pytest.mark.parametrize("kind", ["ec-p256", "ec-p384", "rsa-2048"])
def test_istiod_takes_it(kind: str, workdir: Make, run: Run, istiod: Path, tmp_path: Path) -> None:
    """Each certificate of the chain signed a list; the root's alone, which is what one would write by hand, istiod drops."""
    mesh = lost(run, sail(workdir, over={"certificates": {"keyType": kind}}))
    assert (
        judged(istiod, mesh, EAST, tmp_path)
        == judged(istiod, mesh, OTHER, tmp_path)
        == "2 signed, 3 lists\n"
    )
    first = (mesh / BUNDLE).read_text().split("-----END X509 CRL-----\n")[0]
    alone = mesh.write("alone.pem", first + "-----END X509 CRL-----\n")
    chain = mesh / f"certs/intermediate-{EAST}/cert-chain.pem"
    ran = subprocess.run([istiod, chain, alone], capture_output=True, text=True, check=False)
    assert ran.stdout.startswith("missing CRL signed by CN=Intermediate CA")
    assert "unable to get certificate CRL" in verified(mesh, EAST, alone)


def test_the_tree_holds_it_where_it_is_read(workdir: Make, run: Run) -> None:
    """The same bytes in every cluster; before Istio 1.27 nowhere, and one warning says so."""
    mesh = lost(run, sail(workdir))
    for name in (EAST, OTHER):
        data = yaml.safe_load((mesh / f"out/{name}/1-trust/cacerts.yaml").read_text())["data"]
        assert list(data) == [
            "ca-cert.pem",
            "ca-crl.pem",
            "ca-key.pem",
            "cert-chain.pem",
            "root-cert.pem",
        ]
        assert base64.b64decode(data["ca-crl.pem"]) == (mesh / BUNDLE).read_bytes()
    assert done(run, mesh, "render", "--check").count("identical 2 directories") == 1
    old = sail(workdir, "1.26.4", name="old")
    done(run, old, "render")
    done(run, old, "remove", WEST)
    ran = run("certs", "revoke", WEST, cwd=old)
    assert ran.err == (
        f"warning: certs/ca-crl.pem: does not reach the proxies of {EAST}, {OTHER}: Istio reads it from 1.27 on\n"
        "  fix: what is revoked stays trusted there until Istio is upgraded, or the root rotated\n"
    )
    done(run, old, "render")
    assert "ca-crl.pem" not in (old / f"out/{EAST}/1-trust/cacerts.yaml").read_text()
    found = json.loads(run("check", "-o", "json", cwd=old).out)
    assert [c["status"] for c in found["checks"] if c["id"] == "crl-read"] == ["warning"]


def test_ztunnel_reads_it_later(workdir: Make, run: Run) -> None:
    """Ambient: from 1.29 on."""
    mesh = sail(
        workdir,
        "1.28.0",
        {
            "istio": {"version": "1.28.0", "dataPlane": "ambient"},
            "contexts": {OTHER: {"network": "third"}},
            "networks": None,
        },
    )
    done(run, mesh, "render")
    done(run, mesh, "remove", WEST)
    assert "ztunnel reads it from Istio 1.29 on\n" in run("certs", "revoke", WEST, cwd=mesh).err


def test_what_is_told(workdir: Make, run: Run) -> None:
    """Serial, date, number, nextUpdate, and what comes next."""
    mesh = sail(workdir)
    done(run, mesh, "render")
    done(run, mesh, "remove", WEST)
    serial = f"{certificate(mesh, WEST).serial_number:x}"
    until = (DAY + timedelta(days=365)).strftime("%Y-%m-%d")
    rest = f"revoked {serial} since {DAY:%Y-%m-%d}\nnext: kubectl mesh render; it changes cacerts in 2 clusters, and istiod takes it without a restart\n"
    told = "a sidecar that is running goes by it from its next start on, and by later ones at once; gateways made by injection do not mount it\n"
    listed, _, after = rest.partition("\n")
    assert (
        done(run, mesh, "certs", "revoke", WEST)
        == f"create  certs/ca-crl.pem: CRL number 1, valid until {until}\n{listed}\n{told}{after}"
    )
    assert done(run, mesh, "certs", "crl", "--days", "30").startswith(
        "update  certs/ca-crl.pem: CRL number 2, valid until "
    )
    described = done(run, mesh, "describe")
    assert (
        f"revoked      1 intermediate; CRL number 2 until {DAY + timedelta(days=30):%Y-%m-%d} (30 days)\n             {serial} since {DAY:%Y-%m-%d}\n"
        in described
    )
    value: Any = valid("describe", done(run, mesh, "describe", "-o", "json"))
    assert value["crl"]["revoked"] == [{"serial": serial, "since": f"{DAY:%Y-%m-%dT%H:%M:%SZ}"}]
    assert (mesh / BUNDLE).stat().st_mode & 0o777 == 0o644


def test_clear_gives_empty_lists(workdir: Make, run: Run, istiod: Path, tmp_path: Path) -> None:
    """istiod takes no bundle away: what un-revokes is a valid one that lists nothing."""
    mesh = lost(run, sail(workdir))
    assert "nothing is revoked\n" in done(run, mesh, "certs", "crl", "--clear")
    done(run, mesh, "render")
    assert [verified(mesh, name) for name in (EAST, OTHER)] == ["", ""]
    assert judged(istiod, mesh, EAST, tmp_path) == "2 signed, 3 lists\n"
    assert not revoked(mesh)


def test_a_new_cluster_gets_a_list(workdir: Make, run: Run, istiod: Path, tmp_path: Path) -> None:
    """Without one every proxy would refuse its workloads: the render that makes its intermediate makes it, and says in which order to apply."""
    mesh = lost(run, sail(workdir))
    before = (mesh / BUNDLE).read_bytes()
    mesh.topology(
        {"contexts": {"north": {"network": "north", "server": "https://203.0.113.9:6443"}}}
    )
    mesh.write("clusters/north.crt", (GOLDEN / "two-networks/in/clusters/east.crt").read_bytes())
    ran = run("render", cwd=mesh)
    assert ran.code == 0, ran.err
    assert (
        "warning: certs/ca-crl.pem: has a CRL of O=mymeshname, CN=Intermediate CA, L=intermediate-north now, without which a proxy takes no certificate below it\n"
        "  fix: apply stage 1 of the other clusters first, and wait until their proxies have it (minutes); its own may refuse it for as long\n"
    ) in ran.err
    assert (mesh / BUNDLE).read_bytes().endswith(before)
    assert [verified(mesh, name) for name in (EAST, OTHER, "north")] == ["", "", ""]
    assert judged(istiod, mesh, "north", tmp_path) == "2 signed, 4 lists\n"
    assert run("render", "--check", cwd=mesh).code == 0


def test_what_a_replaced_intermediate_signed_stays_good(
    workdir: Make, run: Run, clock: Callable[[datetime], None]
) -> None:
    """Its workloads live on until they renew: its list is kept as long as it is valid; then it can be revoked by its file."""
    mesh = lost(run, sail(workdir))
    shutil.copytree(mesh / f"certs/intermediate-{EAST}", mesh / "archive/certs/intermediate-east")
    shutil.rmtree(mesh / f"certs/intermediate-{EAST}")
    done(run, mesh, "render")
    old = WorkDir(mesh / "archive")
    shutil.copy(mesh / "certs/root-cert.pem", old / "certs/root-cert.pem")
    assert (verified(mesh, EAST), verified(old, "east", mesh / BUNDLE)) == ("", "")
    done(run, mesh, "certs", "crl")
    assert (verified(mesh, EAST), verified(old, "east", mesh / BUNDLE)) == ("", "")
    done(
        run,
        mesh,
        "certs",
        "revoke",
        "--certificate",
        str(old / "certs/intermediate-east/ca-cert.pem"),
    )
    assert verified(mesh, EAST) == ""
    assert revoked(mesh, old / "certs/intermediate-east/ca-cert.pem")
    assert "certificate revoked" in verified(old, "east", mesh / BUNDLE)
    assert (mesh / BUNDLE).read_text().count("BEGIN") == 4
    clock(DAY + timedelta(days=360))
    done(run, mesh, "certs", "crl")
    clock(DAY + timedelta(days=370))
    done(run, mesh, "certs", "crl")
    assert (mesh / BUNDLE).read_text().count("BEGIN") == 3


def test_what_a_lost_cluster_signed_with_before_is_revoked_too(workdir: Make, run: Run) -> None:
    """A renewal that kept the key left a certificate of the same key, which everybody has seen; another cluster's are left alone, and are not named twice."""
    mesh = sail(workdir)
    done(run, mesh, "render")
    done(run, mesh, "certs", "renew", WEST, "--keep-key")
    done(run, mesh, "certs", "renew", WEST, EAST)
    done(run, mesh, "render")
    done(run, mesh, "remove", WEST)
    out = done(run, mesh, "certs", "revoke", WEST)
    former = sorted((mesh / "certs/archive").glob("intermediate-*/ca-cert.pem"))
    assert [WEST in str(path) for path in former] == [False, True, True]
    for path in former:
        assert revoked(mesh, path) == (WEST in str(path))
    assert revoked(mesh)
    assert out.count("\nrevoked ") == 3
    assert verified(mesh, EAST) == ""
    assert run("certs", "revoke", WEST, cwd=mesh).err.startswith(
        f"error: certs/intermediate-{WEST}/ca-cert.pem: is revoked already"
    )


def test_a_lost_cluster_does_not_come_back_as_it_was(workdir: Make, run: Run) -> None:
    """What is revoked signs nothing more; both ways on are told, and each works."""
    mesh = lost(run, sail(workdir))
    topology = (mesh / "topology.yaml").read_text()
    done(run, mesh, "add", WEST, "--network", "network-west")
    serial = certificate(mesh, WEST).serial_number
    refused = f"error: certs/intermediate-{WEST}/ca-cert.pem: is revoked (serial {serial:x}), and proxies refuse every workload that it signs for\n"
    fix = f"  fix: move certs/intermediate-{WEST} away and render, which makes another; or, where nothing was lost, take all back with "
    assert run("render", cwd=mesh).err == f"{refused}{fix}`kubectl mesh certs crl --clear`\n"
    (mesh / f"certs/intermediate-{WEST}").rename(mesh / "aside")
    done(run, mesh, "render")
    assert verified(mesh, WEST) == ""
    (mesh / "topology.yaml").write_text(topology)
    done(run, mesh, "render")
    (mesh / f"certs/intermediate-{WEST}").rename(mesh / "away")
    (mesh / "aside").rename(mesh / f"certs/intermediate-{WEST}")
    done(run, mesh, "add", WEST, "--network", "network-west")
    assert run("render", cwd=mesh).code == 2
    done(run, mesh, "certs", "crl", "--clear")
    done(run, mesh, "render")
    assert verified(mesh, WEST) == ""


def test_refusals(workdir: Make, run: Run) -> None:
    """What cannot be done is said in one sentence, and nothing is written."""
    mesh = sail(workdir)

    def refused(*words: str) -> str:
        before = snapshot(mesh.path)
        ran = run("certs", *words, cwd=mesh)
        assert (ran.code, ran.out) == (2, "")
        assert snapshot(mesh.path) == before
        return ran.err

    assert "error: certs: has no root yet, so nothing to revoke\n" in refused("revoke", WEST)
    done(run, mesh, "render")
    assert refused("crl").startswith(
        "error: certs/ca-crl.pem: is not there: nothing is revoked, and no proxy asks for it\n"
    )
    assert refused("revoke").startswith("error: NAME: is missing\n")
    assert (
        f'certs/intermediate-{WEST}/ca-cert.pem: is what "{WEST}" signs with: every workload there would be refused\n'
        in refused("revoke", WEST)
    )
    assert "certs/intermediate-nobody/ca-cert.pem: is not there\n" in refused("revoke", "nobody")
    assert "ca-cert.pem: is not there\n" in refused("revoke", "../..")
    stranger = GOLDEN / "two-networks/in/certs/intermediate-east/ca-cert.pem"
    assert "is not signed by the root of this mesh, so its CRL cannot list it\n" in refused(
        "revoke", "--certificate", str(stranger)
    )
    done(run, mesh, "remove", WEST)
    for key in ("root-key.pem", f"intermediate-{EAST}/ca-key.pem"):
        (mesh / f"certs/{key}").rename(mesh / "away.pem")
        assert f"error: certs/{key}: is not here, and its CRL is signed with it\n" in refused(
            "revoke", WEST
        )
        (mesh / "away.pem").rename(mesh / f"certs/{key}")
    done(run, mesh, "certs", "revoke", WEST)
    assert f"is revoked already (serial {certificate(mesh, WEST).serial_number:x})\n" in refused(
        "revoke", WEST
    )
    # Without the root's key, a list that is valid is kept; but nothing can be added to it, nor taken away.
    (mesh / "certs/root-key.pem").rename(mesh / "away.pem")
    done(run, mesh, "certs", "crl")
    assert "is not here, and its CRL is signed with it\n" in refused("crl", "--clear")
    mesh.topology({"certificates": {"issuer": "cert-manager", "issuerRef": {"name": "x"}}})
    assert (
        "says issuer: cert-manager; what it signed, it revokes\n  fix: revoke it where that issuer is\n"
        in refused("crl")
    )


@pytest.mark.parametrize(
    ("change", "check", "said"),
    [
        (lambda b: b"", "crl-readable", "is not made of PEM CRLs alone"),
        (lambda b: b + b"text\n", "crl-readable", "is not made of PEM CRLs alone"),
        (
            lambda b: b.replace(b"\nMII", b"\nAAA", 1),
            "crl-readable",
            "holds a CRL that cannot be read",
        ),
        (
            lambda b: b.split(b"-----END X509 CRL-----\n", 1)[1],
            "crl-complete",
            "has no CRL of O=mymeshname, CN=Root CA: istiod would take neither",
        ),
    ],
    ids=["empty", "text", "garbage", "no root"],
)
def test_a_bundle_that_istiod_would_drop_is_not_rendered(
    change: Callable[[bytes], bytes], check: str, said: str, workdir: Make, run: Run
) -> None:
    """With an empty one too, which clears nothing."""
    mesh = lost(run, sail(workdir))
    mesh.write(BUNDLE, change((mesh / BUNDLE).read_bytes()))
    (mesh / "certs/root-key.pem").unlink()
    before = snapshot(mesh.path)
    ran = run("render", cwd=mesh)
    assert (ran.code, snapshot(mesh.path) == before) == (2, True)
    assert f"error: certs/ca-crl.pem: {said}" in ran.err
    found = json.loads(run("check", "-o", "json", cwd=mesh).out)
    assert [c["id"] for c in found["checks"] if c["status"] == "error"] == [check]


def test_before_and_after_its_end(
    workdir: Make, run: Run, clock: Callable[[datetime], None]
) -> None:
    """A warning in time, an error with --fail-within, and no render of what would stop the mesh."""
    mesh = lost(run, sail(workdir))
    assert (
        run("check", "--fail-within", "364d", cwd=mesh).out.count(
            "crl-expiring: certs/ca-crl.pem: is valid until"
        )
        == 0
    )
    assert (
        run("check", "--fail-within", "366d", cwd=mesh).out.count(
            "× crl-expiring: certs/ca-crl.pem: is valid until"
        )
        == 1
    )
    clock(DAY + timedelta(days=340))
    ran = run("check", cwd=mesh)
    assert ran.code == 0
    assert (
        f"‼ crl-expiring: certs/ca-crl.pem: is valid until {DAY + timedelta(days=365):%Y-%m-%d}, for 25 days; after that proxies refuse every connection\n"
        in ran.out
    )
    clock(DAY + timedelta(days=366))
    ran = run("render", cwd=mesh)
    assert ran.code == 2
    assert "certs/ca-crl.pem: holds a CRL of O=mymeshname, CN=Root CA that expired on" in ran.err
    assert "fix: sign it anew with `kubectl mesh certs crl`, render and apply\n" in ran.err
    done(run, mesh, "certs", "crl")
    done(run, mesh, "render")


def test_a_root_that_is_elsewhere_signs_its_own(workdir: Make, run: Run) -> None:
    """With the issuer csr: whoever holds the root signs a list, and it is taken in; one of somebody else is not."""
    mesh = sail(workdir)
    done(run, mesh, "render")
    mesh.topology({"certificates": {"issuer": "csr"}})
    key: Any = serialization.load_pem_private_key((mesh / "certs/root-key.pem").read_bytes(), None)
    root = x509.load_pem_x509_certificate((mesh / "certs/root-cert.pem").read_bytes())
    (mesh / "certs/root-key.pem").unlink()
    done(run, mesh, "remove", WEST)
    assert "`kubectl mesh certs crl --add FILE`" in run("certs", "revoke", WEST, cwd=mesh).err
    signer = crl.CrlSigner(root, key, "elsewhere")
    mesh.write(
        "root.crl",
        crl.sign_crl(
            signer,
            [revoking.revocation_entry(certificate(mesh, WEST), DAY)],
            7,
            DAY,
            DAY + timedelta(days=90),
        ),
    )
    done(run, mesh, "certs", "crl", "--add", "root.crl")
    assert (verified(mesh, EAST), revoked(mesh)) == ("", True)
    done(run, mesh, "render")
    other = crl.CrlSigner(root, ec.generate_private_key(ec.SECP256R1()), "elsewhere")
    mesh.write("root.crl", crl.sign_crl(other, [], 8, DAY, DAY + timedelta(days=90)))
    assert (
        "root.crl: is of no CA of this mesh, or not signed by it\n"
        in run("certs", "crl", "--add", "root.crl", cwd=mesh).err
    )


@pytest.mark.parametrize("case", ["sops", "sealed", "external"])
def test_every_store_takes_it(case: str, tmp_path: Path, run: Run) -> None:
    """Encrypted with the rest, or in clear beside what a store of the user's holds; `verify` finds nothing."""
    mesh = WorkDir(copy_case(case, tmp_path / "mesh"))
    names = sorted(p.name for p in (mesh / "certs").glob("intermediate-*"))
    done(run, mesh, "render")
    shutil.copytree(mesh / "certs" / names[0], mesh / "old")
    shutil.rmtree(mesh / "certs" / names[0])
    done(run, mesh, "render")
    done(run, mesh, "certs", "revoke", "--certificate", str(mesh / "old/ca-cert.pem"))
    done(run, mesh, "render")
    done(run, mesh, "render", "--check")
    name = names[0].removeprefix("intermediate-")
    value = yaml.safe_load((mesh / f"out/{name}/1-trust/cacerts.yaml").read_text())
    if case == "external":
        assert value["spec"]["target"]["template"] == {
            "data": {"ca-crl.pem": (mesh / BUNDLE).read_text()},
            "engineVersion": "v2",
            "mergePolicy": "Merge",
        }
        return
    held = value["spec"]["encryptedData"] if case == "sealed" else value["data"]
    assert list(held) == [
        "ca-cert.pem",
        "ca-crl.pem",
        "ca-key.pem",
        "cert-chain.pem",
        "root-cert.pem",
    ]
    identity = next(iter(sorted(p for p in mesh.path.glob(f"{name}*key"))), None) or next(
        iter(sorted(mesh.path.glob("*key")))
    )
    assert f"verified  out/{name}" in done(run, mesh, "verify", "--identity", str(identity))
