"""Certificates: what is made has the profile, what is there is kept byte for byte, what does not fit is refused and nothing is made."""
# ruff: noqa: PT017 -- where an error is one of two right answers, it is looked at where it is caught

import base64
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from kubectl_mesh.errors import MeshError
from kubectl_mesh.model import File, Pki, Server
from kubectl_mesh.pki.certificate_builder import generate_keys
from kubectl_mesh.pki.issue import issue_pki
from kubectl_mesh.pki.profile import CertificateProfile
from kubectl_mesh.plan import KnownClusters, build_plan
from kubectl_mesh.topology.validation import validate_document
from kubectl_mesh.workdir.certs_folder import CertsFolder
from kubectl_mesh.x509.layout import INTERMEDIATE_FILES
from kubectl_mesh.yaml_io import assets
from kubectl_mesh.yaml_io.read import load_document

KEY_TYPES = tuple(
    assets.load_schema("topology.schema.json")["properties"]["certificates"]["properties"][
        "keyType"
    ]["enum"]
)

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
SECOND = NOW.replace(microsecond=0)
DAY = timedelta(days=1)
PEM = serialization.Encoding.PEM
CERT, KEY, CHAIN = (
    f"certs/intermediate-east/{part}.pem" for part in ("ca-cert", "ca-key", "cert-chain")
)
Kept = dict[str, bytes]


def wanted(
    *names: str, key_type: str = "ec-p256", root_days: int = 3650, days: int = 730
) -> CertificateProfile:
    """What a topology with these clusters asks for."""
    return CertificateProfile(
        "Acme, Inc.",
        key_type,
        root_days,
        days,
        dict.fromkeys(names or ("east", "west"), "istio-system"),
    )


def certificate(pem: bytes) -> x509.Certificate:
    """The first certificate of a PEM text."""
    return x509.load_pem_x509_certificates(pem)[0]


def extension(cert: x509.Certificate, kind: Any) -> Any:
    """One extension, with its criticality."""
    return cert.extensions.get_extension_for_class(kind)


def public(cert: x509.Certificate) -> bytes:
    """The public key of a certificate."""
    return cert.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def pem(
    key: Any, layout: Any = serialization.PrivateFormat.PKCS8, password: bytes | None = None
) -> bytes:
    """A private key in PEM."""
    how = (
        serialization.NoEncryption()
        if password is None
        else serialization.BestAvailableEncryption(password)
    )
    body: bytes = key.private_bytes(PEM, layout, how)
    return body


@cache
def rsa_key(size: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    """An RSA key, made once."""
    return rsa.generate_private_key(65537, size)


def ec_key() -> ec.EllipticCurvePrivateKey:
    """A new key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def named(common_name: str) -> x509.Name:
    """A name with this CN."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


class Authority:
    """A CA of the tests' own, made in any wrong way that is asked for."""

    def __init__(
        self,
        name: str = "Other",
        issuer: "Authority | None" = None,
        *,
        key: Any = None,
        ca: bool | None = True,
        path_length: int | None = None,
        sign: bool | None = True,
        extended: Iterable[x509.ObjectIdentifier] = (),
        start: datetime = NOW - DAY,
        end: datetime = NOW + 365 * DAY,
        digest: Any = None,
        identifiers: bool = True,
    ) -> None:
        self.key = key if key is not None else ec_key()
        above = issuer if issuer is not None else self
        self.name = named(name)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(above.name)
            .public_key(self.key.public_key())
        )
        builder = (
            builder.serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
        )
        if ca is not None:
            builder = builder.add_extension(
                x509.BasicConstraints(ca=ca, path_length=path_length if ca else None), critical=True
            )
        if sign is not None:
            usage = x509.KeyUsage(not sign, False, False, False, False, sign, sign, False, False)
            builder = builder.add_extension(usage, critical=True)
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        if identifiers:
            builder = builder.add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False
            )
            builder = builder.add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(above.key.public_key()),
                critical=False,
            )
        self.certificate = builder.sign(above.key, digest or hashes.SHA256())
        self.pem = self.certificate.public_bytes(PEM)


def kept_from(
    root: Authority,
    intermediate: Authority,
    *between: Authority,
    name: str = "east",
    root_key: bool = True,
) -> Kept:
    """The files of a root and an intermediate that a person brought along."""
    base = f"intermediate-{name}"
    kept = {
        "root-cert.pem": root.pem,
        f"{base}/ca-cert.pem": intermediate.pem,
        f"{base}/ca-key.pem": pem(intermediate.key),
        f"{base}/cert-chain.pem": intermediate.pem + b"".join(b.pem for b in between) + root.pem,
        f"{base}/root-cert.pem": root.pem,
    }
    return kept | ({"root-key.pem": pem(root.key)} if root_key else {})


def refused(kept: Mapping[str, bytes], *names: str) -> list[str]:
    """The problems for which files are refused; nothing is made, and no key stands in them."""
    made: list[object] = []
    spy = pytest.MonkeyPatch()

    def make_keys(*args: object) -> dict[str, object]:
        made.append(args)
        return {}

    spy.setattr("kubectl_mesh.pki.issue.generate_keys", make_keys)
    try:
        with pytest.raises(MeshError) as caught:
            issue_pki(wanted(*names or ("east",)), kept, NOW)
    finally:
        spy.undo()
    assert made == []
    problems = caught.value.problems
    for key in (body for name, body in kept.items() if name.endswith("key.pem")):
        lines = [
            line
            for line in key.decode("latin-1").splitlines()
            if len(line) > 30 and "-----" not in line
        ]
        assert not [line for line in lines if line in str(caught.value) + repr(caught.value)]
    assert all(p.fix and p.id.startswith("certs-") for p in problems)
    return [f"{p.where}: {p.what}" for p in problems]


# --- What is made


@pytest.fixture(scope="module", params=KEY_TYPES)
def made(request: pytest.FixtureRequest) -> tuple[str, Pki]:
    """A mesh of two, made with one type of key."""
    clusters = ("east",) if request.param == "rsa-4096" else ("east", "west")
    return request.param, issue_pki(wanted(*clusters, key_type=request.param), {}, NOW)


def test_the_root(made: tuple[str, Pki]) -> None:
    """The root is a self-signed CA that may sign certificates and CRLs and nothing else."""
    kind, mesh = made
    root = certificate(mesh.root_cert)
    assert (
        root.subject.rfc4514_string() == root.issuer.rfc4514_string() == r"CN=Root CA,O=Acme\, Inc."
    )
    root.verify_directly_issued_by(root)
    assert profile(root, kind) == {x509.BasicConstraints, x509.KeyUsage, x509.SubjectKeyIdentifier}
    assert extension(root, x509.BasicConstraints).value == x509.BasicConstraints(
        ca=True, path_length=None
    )
    assert root.not_valid_before_utc == SECOND - timedelta(minutes=10)
    assert root.not_valid_after_utc == SECOND + 3650 * DAY
    assert set(mesh.new_files) >= {"root-cert.pem", "root-key.pem"}


def test_an_intermediate(made: tuple[str, Pki]) -> None:
    """An intermediate is a CA with pathlen:0 under the root, with the name, the key identifiers and the one DNS name of its profile."""
    kind, mesh = made
    root = certificate(mesh.root_cert)
    for name, intermediate in mesh.intermediates.items():
        cert = certificate(intermediate.ca_cert)
        assert [(a.oid, a.value) for a in cert.subject] == [
            (NameOID.ORGANIZATION_NAME, "Acme, Inc."),
            (NameOID.COMMON_NAME, "Intermediate CA"),
            (NameOID.LOCALITY_NAME, f"intermediate-{name}"),
        ]
        assert cert.issuer == root.subject
        cert.verify_directly_issued_by(root)
        kinds = {
            x509.BasicConstraints,
            x509.KeyUsage,
            x509.SubjectKeyIdentifier,
            x509.AuthorityKeyIdentifier,
            x509.SubjectAlternativeName,
        }
        assert profile(cert, kind) == kinds
        assert extension(cert, x509.BasicConstraints).value == x509.BasicConstraints(
            ca=True, path_length=0
        )
        assert (
            extension(cert, x509.AuthorityKeyIdentifier).value.key_identifier
            == extension(root, x509.SubjectKeyIdentifier).value.digest
        )
        alternatives = extension(cert, x509.SubjectAlternativeName)
        assert list(alternatives.value) == [x509.DNSName("istiod.istio-system.svc")]
        assert not alternatives.critical
        assert cert.not_valid_before_utc == SECOND - timedelta(minutes=10)
        assert cert.not_valid_after_utc == SECOND + 730 * DAY
        assert intermediate.certificate.key_type == kind
        assert (
            intermediate.certificate.subject
            == f"O=Acme, Inc., CN=Intermediate CA, L=intermediate-{name}"
        )
        assert intermediate.certificate.fingerprint == cert.fingerprint(hashes.SHA256()).hex()


def profile(cert: x509.Certificate, kind: str) -> set[type]:
    """Asserts what root and intermediates have in common, and gives the types of the extensions."""
    assert cert.version == x509.Version.v3
    assert isinstance(cert.signature_hash_algorithm, hashes.SHA256)
    assert 0 < cert.serial_number.bit_length() <= 159
    assert extension(cert, x509.BasicConstraints).critical
    usage = extension(cert, x509.KeyUsage)
    assert usage.critical
    said = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
    )
    assert [name for name in said if getattr(usage.value, name)] == ["key_cert_sign", "crl_sign"]
    identifier = extension(cert, x509.SubjectKeyIdentifier)
    assert not identifier.critical
    assert identifier.value == x509.SubjectKeyIdentifier.from_public_key(cert.public_key())
    key = cert.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        assert (kind, key.public_numbers().e) == (f"rsa-{key.key_size}", 65537)
    else:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert kind == f"ec-p{key.key_size}"
    return {type(e.value) for e in cert.extensions}


def test_the_files(made: tuple[str, Pki]) -> None:
    """The chain is the intermediate, then the root; the copy of the root is the root; the key is PKCS#8 and the certificate's; all are new."""
    _, mesh = made
    for name, intermediate in mesh.intermediates.items():
        assert intermediate.cert_chain == intermediate.ca_cert + mesh.root_cert
        assert intermediate.root_cert == mesh.root_cert
        assert intermediate.ca_key.startswith(b"-----BEGIN PRIVATE KEY-----\n")
        key: Any = serialization.load_pem_private_key(intermediate.ca_key, None)
        assert key.public_key() == certificate(intermediate.ca_cert).public_key()
        files = {
            f"intermediate-{name}/{part}": getattr(
                intermediate, part.removesuffix(".pem").replace("-", "_")
            )
            for part in INTERMEDIATE_FILES
        }
        assert files.items() <= mesh.new_files.items()
    assert len(mesh.new_files) == 2 + 4 * len(mesh.intermediates)
    assert mesh.warnings == ()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on PATH")
def test_openssl_accepts_it(made: tuple[str, Pki], tmp_path: Path) -> None:
    """openssl verifies every chain under -x509_strict, and reads every key."""
    _, mesh = made
    (tmp_path / "root").write_bytes(mesh.root_cert)
    (tmp_path / "root-key").write_bytes(mesh.new_files["root-key.pem"])
    openssl(tmp_path, "pkey", "-in", "root-key", "-noout")
    # The certificates are of a day in 2026; that the clock of the machine is past it does not matter here.
    at = ("-attime", str(int(NOW.timestamp())))
    for intermediate in mesh.intermediates.values():
        (tmp_path / "chain").write_bytes(intermediate.cert_chain)
        (tmp_path / "cert").write_bytes(intermediate.ca_cert)
        (tmp_path / "key").write_bytes(intermediate.ca_key)
        assert "cert: OK" in openssl(
            tmp_path,
            "verify",
            "-x509_strict",
            *at,
            "-CAfile",
            "root",
            "-untrusted",
            "chain",
            "cert",
        )
        openssl(tmp_path, "pkey", "-in", "key", "-noout", "-check")


def openssl(folder: Path, *args: str, body: bytes = b"") -> str:
    """What openssl prints; it has to succeed."""
    done = subprocess.run(
        ["openssl", *args], cwd=folder, input=body, capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("latin-1")


def test_nothing_outlives_the_root() -> None:
    """Where more days are asked for than the root has left, an intermediate ends with the root; where the root is younger, it begins with it."""
    short = issue_pki(wanted(root_days=100, days=730), {}, NOW)
    root = certificate(short.root_cert)
    for intermediate in short.intermediates.values():
        assert (
            certificate(intermediate.ca_cert).not_valid_after_utc
            == root.not_valid_after_utc
            == SECOND + 100 * DAY
        )
    fresh = Authority(start=SECOND - timedelta(minutes=1), end=SECOND + 1000 * DAY)
    late = issue_pki(wanted(), {"root-cert.pem": fresh.pem, "root-key.pem": pem(fresh.key)}, NOW)
    cert = certificate(late.intermediates["east"].ca_cert)
    assert cert.not_valid_before_utc == SECOND - timedelta(minutes=1)
    assert cert.not_valid_after_utc == SECOND + 730 * DAY


@settings(max_examples=40, deadline=None)
@given(
    names=st.lists(
        st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True),
        min_size=1,
        max_size=8,
        unique=True,
    ),
    root_days=st.integers(1, 4000),
    days=st.integers(1, 4000),
    organization=st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20
    ),
)
def test_any_mesh(names: list[str], root_days: int, days: int, organization: str) -> None:
    """Of any number of clusters every certificate verifies under the root, lies within its life, and has a serial and a key of its own."""
    asked = CertificateProfile(
        organization, "ec-p256", root_days, days, dict.fromkeys(names, "istio-system")
    )
    mesh = issue_pki(asked, {}, NOW)
    root = certificate(mesh.root_cert)
    assert set(mesh.intermediates) == set(names)
    certs = [root, *(certificate(i.ca_cert) for i in mesh.intermediates.values())]
    for cert in certs:
        cert.verify_directly_issued_by(root)
        assert (
            root.not_valid_before_utc
            <= cert.not_valid_before_utc
            < NOW
            < cert.not_valid_after_utc
            <= root.not_valid_after_utc
        )
        assert (
            cert.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == organization
        )
    assert len({c.serial_number for c in certs}) == len({public(c) for c in certs}) == len(certs)
    again = issue_pki(asked, mesh.new_files, NOW + timedelta(hours=1))
    assert again.new_files == {}
    assert again.intermediates == mesh.intermediates


# --- What is kept


@cache
def mesh() -> Kept:
    """The files of a mesh of east and west."""
    return dict(issue_pki(wanted(), {}, NOW).new_files)


def test_what_is_there_is_kept() -> None:
    """Files that are there are given back byte for byte, whatever their line ends and what stands around the PEM; nothing is new."""
    kept = {
        name: b"# a note\r\n" + body.replace(b"\n", b"\r\n") + b"\r\nafter\r\n"
        for name, body in mesh().items()
    }
    kept = {name: body if name.endswith("key.pem") else kept[name] for name, body in mesh().items()}
    again = issue_pki(wanted(), kept, NOW + DAY)
    assert again.new_files == {}
    assert again.root_cert == kept["root-cert.pem"]
    for name, intermediate in again.intermediates.items():
        base = f"intermediate-{name}"
        assert intermediate.ca_cert == kept[f"{base}/ca-cert.pem"]
        assert intermediate.ca_key == kept[f"{base}/ca-key.pem"]
        assert intermediate.cert_chain == kept[f"{base}/cert-chain.pem"]


def test_a_render_needs_no_root_key() -> None:
    """With all intermediates there, the root's key need not be."""
    kept = {name: body for name, body in mesh().items() if name != "root-key.pem"}
    assert issue_pki(wanted(), kept, NOW).new_files == {}


def test_a_newcomer_gets_an_intermediate() -> None:
    """A cluster that is added gets an intermediate under the root that is there; the others stay."""
    again = issue_pki(wanted("east", "west", "north"), mesh(), NOW + DAY)
    assert sorted(again.new_files) == [f"intermediate-north/{part}" for part in INTERMEDIATE_FILES]
    certificate(again.intermediates["north"].ca_cert).verify_directly_issued_by(
        certificate(mesh()["root-cert.pem"])
    )


def test_what_was_left_is_of_no_matter() -> None:
    """The folder of a cluster that left the topology is not looked at."""
    kept = {**mesh(), "intermediate-west/ca-cert.pem": b"garbage"}
    assert issue_pki(wanted("east"), kept, NOW).new_files == {}


@pytest.mark.parametrize(
    "key",
    [ec_key(), ec.generate_private_key(ec.SECP384R1()), rsa_key()],
    ids=["ec-p256", "ec-p384", "rsa-2048"],
)
def test_a_kept_key_gets_its_certificate(key: Any) -> None:
    """A key without a certificate, the root's or an intermediate's, is kept, and the certificate is made for it."""
    for layout in (
        serialization.PrivateFormat.PKCS8,
        serialization.PrivateFormat.TraditionalOpenSSL,
    ):
        kept = {"root-key.pem": pem(key, layout), "intermediate-east/ca-key.pem": pem(key, layout)}
        fresh = issue_pki(wanted("east"), kept, NOW)
        assert sorted(fresh.new_files) == [
            "intermediate-east/ca-cert.pem",
            "intermediate-east/cert-chain.pem",
            "intermediate-east/root-cert.pem",
            "root-cert.pem",
        ]
        assert fresh.intermediates["east"].ca_key == kept["intermediate-east/ca-key.pem"]
        for cert in (
            certificate(fresh.root_cert),
            certificate(fresh.intermediates["east"].ca_cert),
        ):
            assert cert.public_key() == key.public_key()


@pytest.mark.parametrize(
    "lost", [("cert-chain.pem",), ("root-cert.pem",), ("cert-chain.pem", "root-cert.pem")]
)
def test_what_can_be_derived_is_made_anew(lost: tuple[str, ...]) -> None:
    """A lost chain or copy of the root is made again from what is there, as it was."""
    names = {f"intermediate-east/{part}" for part in lost}
    again = issue_pki(
        wanted(), {name: body for name, body in mesh().items() if name not in names}, NOW
    )
    assert again.new_files == {name: mesh()[name] for name in names}


def test_a_longer_chain_is_accepted() -> None:
    """An intermediate below a CA below the root is accepted, with its chain in any order behind it, with the root in it or not."""
    root = Authority("Root")
    sub = Authority("Sub", root, path_length=1)
    intermediate = Authority("East", sub, path_length=0)
    kept = kept_from(root, intermediate, sub)
    chain = "intermediate-east/cert-chain.pem"
    for body in (kept[chain], intermediate.pem + sub.pem, intermediate.pem + root.pem + sub.pem):
        assert issue_pki(wanted("east"), {**kept, chain: body}, NOW).new_files == {}
    bundle = {**kept, "intermediate-east/ca-cert.pem": intermediate.pem + sub.pem}
    del bundle[chain]
    done = issue_pki(wanted("east"), bundle, NOW)
    assert set(done.new_files) == {chain}


def test_a_bundle_of_two_roots() -> None:
    """While a root is changed for another, both stand in one file; an intermediate of either is accepted, new ones come from the key's."""
    old, new = Authority("Root"), Authority("Root")
    bundle = old.pem + new.pem
    kept = kept_from(old, Authority("East", old, path_length=0)) | {
        "root-cert.pem": bundle,
        "intermediate-east/root-cert.pem": bundle,
        "root-key.pem": pem(new.key),
    }
    done = issue_pki(wanted(), kept, NOW)
    assert (
        done.root_cert
        == bundle
        == done.intermediates["east"].root_cert
        == done.intermediates["west"].root_cert
    )
    assert len(done.roots) == 2
    certificate(done.intermediates["west"].ca_cert).verify_directly_issued_by(new.certificate)
    assert done.intermediates["west"].cert_chain.endswith(new.pem)
    turned = {**kept, "intermediate-east/root-cert.pem": new.pem + old.pem}
    assert issue_pki(wanted("east"), turned, NOW).new_files == {}


def test_a_root_without_identifiers() -> None:
    """A root of old, without key identifiers, signs intermediates that have them."""
    root = Authority("Old", identifiers=False, sign=None)
    done = issue_pki(wanted(), {"root-cert.pem": root.pem, "root-key.pem": pem(root.key)}, NOW)
    cert = certificate(done.intermediates["east"].ca_cert)
    assert extension(
        cert, x509.AuthorityKeyIdentifier
    ).value == x509.AuthorityKeyIdentifier.from_issuer_public_key(root.key.public_key())


def test_extended_key_usage_of_both_ends_is_accepted() -> None:
    """An extended key usage that has both serverAuth and clientAuth, or any, is one under which workloads verify."""
    root = Authority("Root")
    for usage in (
        [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
        [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE],
    ):
        kept = kept_from(root, Authority("East", root, extended=usage))
        assert issue_pki(wanted("east"), kept, NOW).new_files == {}


def test_what_ends_soon_is_warned_of() -> None:
    """A certificate of whose life less than 30 days, or less than a tenth, is left is warned of, with its day."""
    root = Authority("Root", end=NOW + 3000 * DAY)
    for start, left, warned in ((700, 29, True), (700, 31, False), (50, 4, True), (50, 8, False)):
        intermediate = Authority("East", root, start=NOW - start * DAY, end=NOW + left * DAY)
        root = Authority("Root", key=root.key, start=NOW - 800 * DAY, end=NOW + 3000 * DAY)
        warnings = issue_pki(wanted("east"), kept_from(root, intermediate), NOW).warnings
        assert [str(w.where) for w in warnings] == (
            ["certs/intermediate-east/ca-cert.pem"] if warned else []
        )
        if warned:
            end = NOW + left * DAY
            assert f"expires on {end:%Y-%m-%d}, in " in warnings[0].what


def test_whose_intermediate_it_is() -> None:
    """A certificate that two clusters share is warned of; one that was made for another cluster of the mesh, which has its own, is refused."""
    parts = {part: mesh()[f"intermediate-west/{part}"] for part in INTERMEDIATE_FILES}
    shared = {**mesh(), **{f"intermediate-east/{part}": body for part, body in parts.items()}}
    found = [f"{w.where}: {w.what}" for w in issue_pki(wanted(), shared, NOW).warnings]
    assert f'{CERT.replace("east", "west")}: is the certificate of "east" too' in found
    assert f'{CERT}: was made for "west", as its L= says' in found
    assert issue_pki(wanted("east"), shared, NOW).warnings == ()
    own = {"west": mesh()["intermediate-east/ca-cert.pem"]}
    with pytest.raises(MeshError, match='was made for "west", as its L= says'):
        issue_pki(replace(wanted("east"), unselected_ca_certs=own), shared, NOW)
    assert (
        issue_pki(
            replace(wanted("east"), unselected_ca_certs={"west": parts["ca-cert.pem"]}), shared, NOW
        ).warnings
        == ()
    )


# --- What is refused


def east(**changes: bytes | None) -> Kept:
    """The files of a mesh whose cluster east has other ones; None takes one away."""
    kept = dict(mesh())
    for part, body in changes.items():
        name = f"intermediate-east/{part.replace('_', '-')}.pem"
        if body is None:
            kept.pop(name)
        else:
            kept[name] = body
    return kept


def test_the_key_of_another() -> None:
    """A key that is not the certificate's is refused, the intermediate's and the root's."""
    other = mesh()["intermediate-west/ca-key.pem"]
    assert refused(east(ca_key=other)) == [f"{CERT}: does not belong to ca-key.pem beside it"]
    assert refused(east(ca_key=pem(rsa_key()))) == [
        f"{CERT}: does not belong to ca-key.pem beside it"
    ]
    assert refused({**mesh(), "root-key.pem": other}) == [
        "certs/root-cert.pem: does not belong to root-key.pem beside it"
    ]
    bundle = mesh()["root-cert.pem"] + Authority("Root").pem
    assert refused({**mesh(), "root-cert.pem": bundle, "root-key.pem": other}) == [
        "certs/root-cert.pem: holds no certificate for root-key.pem beside it"
    ]


def test_dates() -> None:
    """What has expired, or is not valid yet, is refused with its day; the last second is still good."""
    root = Authority("Root", start=NOW - 800 * DAY, end=NOW + 3000 * DAY)
    gone = kept_from(root, Authority("East", root, start=NOW - 9 * DAY, end=NOW - DAY))
    assert refused(gone) == [f"{CERT}: expired on 2026-02-28 12:00:00 UTC"]
    early = kept_from(root, Authority("East", root, start=NOW + DAY))
    assert refused(early) == [f"{CERT}: is not valid before 2026-03-02 12:00:00 UTC"]
    last = kept_from(root, Authority("East", root, end=SECOND + timedelta(seconds=1)))
    assert issue_pki(wanted("east"), last, NOW).new_files == {}
    over = kept_from(root, Authority("East", root, start=NOW - DAY, end=SECOND))
    assert refused(over) == [f"{CERT}: expired on 2026-03-01 12:00:00 UTC"]
    old = Authority("Root", start=NOW - 9 * DAY, end=NOW - DAY)
    assert refused({"root-cert.pem": old.pem, "root-key.pem": pem(old.key)}) == [
        "certs/root-cert.pem: expired on 2026-02-28 12:00:00 UTC"
    ]
    sub = Authority("Sub", root, start=NOW - 9 * DAY, end=NOW - DAY)
    assert refused(kept_from(root, Authority("East", sub), sub)) == [
        f"{CHAIN}: expired on 2026-02-28 12:00:00 UTC"
    ]


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (
            {"ca": False, "sign": False},
            ["is not a CA certificate (no CA:TRUE)", "may not sign certificates (no keyCertSign)"],
        ),
        ({"ca": None}, ["is not a CA certificate (no CA:TRUE)"]),
        ({"sign": False}, ["may not sign certificates (no keyCertSign)"]),
        (
            {"extended": [ExtendedKeyUsageOID.CLIENT_AUTH]},
            [
                "has an extended key usage without serverAuth, so no workload's certificate would verify"
            ],
        ),
        (
            {"extended": [ExtendedKeyUsageOID.SERVER_AUTH]},
            [
                "has an extended key usage without clientAuth, so no workload's certificate would verify"
            ],
        ),
        (
            {"extended": [ExtendedKeyUsageOID.CODE_SIGNING]},
            [
                "has an extended key usage without serverAuth and clientAuth, so no workload's certificate would verify"
            ],
        ),
    ],
    ids=["leaf", "no constraints", "no keyCertSign", "clientAuth", "serverAuth", "neither"],
)
def test_what_is_no_ca(fault: dict[str, Any], what: list[str]) -> None:
    """A certificate that may not sign as istiod wants it is refused, as an intermediate, as a root, and between."""
    root = Authority("Root")
    assert refused(kept_from(root, Authority("East", root, **fault))) == [
        f"{CERT}: {w}" for w in what
    ]
    bad = Authority("Root", **fault)
    assert refused({"root-cert.pem": bad.pem, "root-key.pem": pem(bad.key)}) == [
        f"certs/root-cert.pem: {w}" for w in what
    ]
    sub = Authority("Sub", root, **fault)
    assert refused(kept_from(root, Authority("East", sub), sub)) == [f"{CHAIN}: {w}" for w in what]


def test_a_signature_with_sha1(tmp_path: Path) -> None:
    """A certificate that is signed with SHA-1 is refused."""
    root = Authority("Root")
    try:
        bad = Authority("East", root, digest=hashes.SHA1()).pem
    except Exception:  # noqa: BLE001 -- cryptography makes none any more; openssl may
        if shutil.which("openssl") is None:
            pytest.skip("nothing here signs with SHA-1")
        (tmp_path / "root").write_bytes(root.pem)
        (tmp_path / "key").write_bytes(pem(root.key))
        (tmp_path / "x").write_text(
            "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
        )
        (tmp_path / "own").write_bytes(pem(key := ec_key()))
        request = openssl(tmp_path, "req", "-new", "-key", "own", "-subj", "/CN=East").encode()
        args = (
            "x509",
            "-req",
            "-sha1",
            "-CA",
            "root",
            "-CAkey",
            "key",
            "-set_serial",
            "7",
            "-days",
            "36500",
            "-extfile",
            "x",
            "-in",
            "/dev/stdin",
        )
        bad = openssl(tmp_path, *args, body=request).encode()
        kept = kept_from(root, root) | {
            "intermediate-east/ca-cert.pem": bad,
            "intermediate-east/ca-key.pem": pem(key),
            "intermediate-east/cert-chain.pem": bad,
        }
    else:
        kept = kept_from(root, root) | {
            "intermediate-east/ca-cert.pem": bad,
            "intermediate-east/cert-chain.pem": bad,
        }
    found = refused(kept)
    assert f"{CERT}: is signed with SHA-1 or MD5, which istiod refuses" in found


def test_another_root() -> None:
    """An intermediate of another root, or of one of the same name, is refused."""
    other = issue_pki(wanted(), {}, NOW).new_files
    foreign = {
        **mesh(),
        **{name: body for name, body in other.items() if name.startswith("intermediate-east/")},
    }
    differs = "differs from certs/root-cert.pem: the clusters of a mesh share one root"
    unsigned = f"{CERT}: is not signed by the root in certs/root-cert.pem"
    assert refused(foreign) == [unsigned, f"certs/intermediate-east/root-cert.pem: {differs}"]
    del foreign["intermediate-east/root-cert.pem"]
    assert refused(foreign) == [unsigned]


def test_the_root_is_missing() -> None:
    """Without the root's certificate, intermediates that are there are of no use, and no new root is made beside them."""
    kept = {name: body for name, body in mesh().items() if name != "root-cert.pem"}
    both = "is missing, but intermediate-east, intermediate-west were signed by a root that is not here"
    assert refused(kept, "east", "west") == [f"certs/root-cert.pem: {both}"]
    kept = {
        name: body for name, body in kept.items() if "west" not in name and name != "root-key.pem"
    }
    assert refused(kept) == [
        "certs/root-cert.pem: is missing, but intermediate-east was signed by a root that is not here"
    ]


def test_the_root_key_is_missing() -> None:
    """Without the root's key no intermediate can be made, and those that lack one are named."""
    kept = {"root-cert.pem": mesh()["root-cert.pem"]}
    what = "is missing, and without it no intermediate can be made for east, west"
    assert refused(kept, "east", "west") == [f"certs/root-key.pem: {what}"]


def test_half_of_an_intermediate() -> None:
    """A certificate without its key, or a chain without its certificate, is refused and not made anew."""
    assert refused(east(ca_key=None)) == [
        f"{KEY}: is missing, and the certificate beside it is of no use without it"
    ]
    assert refused(east(ca_cert=None)) == [
        f"{CERT}: is missing, though cert-chain.pem and root-cert.pem are there"
    ]
    assert refused(east(ca_cert=None, root_cert=None)) == [
        f"{CERT}: is missing, though cert-chain.pem is there"
    ]


def test_chains() -> None:
    """A chain that does not begin with the certificate, or lacks one between, or is longer than a CA allows, is refused."""
    root = Authority("Root")
    sub = Authority("Sub", root)
    intermediate = Authority("East", sub, path_length=0)
    kept = kept_from(root, intermediate, sub)
    turned = {**kept, "intermediate-east/cert-chain.pem": sub.pem + intermediate.pem + root.pem}
    assert refused(turned) == [f"{CHAIN}: does not begin with the certificate in ca-cert.pem"]
    short = {**kept, "intermediate-east/cert-chain.pem": intermediate.pem + root.pem}
    assert refused(short) == [f"{CERT}: is not signed by the root in certs/root-cert.pem"]
    narrow = Authority("Root", path_length=1)
    one = Authority("One", narrow)
    two = Authority("Two", one)
    deep = kept_from(narrow, Authority("East", two), one, two)
    assert refused(deep) == [f"{CERT}: is at depth 3 below a root whose pathlen:1 allows 1"]
    closed = Authority("Root", path_length=0)
    assert refused({"root-cert.pem": closed.pem, "root-key.pem": pem(closed.key)}) == [
        "certs/root-cert.pem: has pathlen:0, so it may not sign an intermediate"
    ]


def test_the_path_length_of_a_ca_between_counts() -> None:
    """A CA between that allows none below itself is refused, as openssl and Envoy refuse it."""
    root = Authority("Root")
    sub = Authority("Sub", root, path_length=0)
    assert refused(kept_from(root, Authority("East", sub), sub))


def test_the_path_length_of_a_root_counts_the_intermediate_too() -> None:
    """A root that allows one CA below itself does not allow two: the CA between and the intermediate, which signs workloads."""
    root = Authority("Root", path_length=1)
    sub = Authority("Sub", root)
    assert refused(kept_from(root, Authority("East", sub), sub))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on PATH")
@pytest.mark.parametrize(
    ("root_length", "sub_length", "good"),
    [
        (None, None, True),
        (None, 1, True),
        (2, 1, True),
        (None, 0, False),
        (1, None, False),
        (1, 1, False),
    ],
)
def test_what_openssl_says_of_path_lengths(
    root_length: int | None, sub_length: int | None, good: bool, tmp_path: Path
) -> None:
    """openssl, with a workload's certificate at the end, bears out the two tests above."""
    root = Authority("Root", path_length=root_length)
    sub = Authority("Sub", root, path_length=sub_length)
    east = Authority("East", sub, path_length=0)
    leaf = Authority("Leaf", east, ca=False, sign=False)
    (tmp_path / "root").write_bytes(root.pem)
    (tmp_path / "chain").write_bytes(east.pem + sub.pem)
    (tmp_path / "leaf").write_bytes(leaf.pem)
    at = str(int(NOW.timestamp()))
    command = ["openssl", "verify", "-attime", at, "-CAfile", "root", "-untrusted", "chain", "leaf"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=60)
    assert (done.returncode == 0) == good
    if good:
        assert issue_pki(wanted("east"), kept_from(root, east, sub), NOW).new_files == {}


UNREADABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "garbage": (lambda: b"garbage\n", "is not a PEM private key"),
    "empty": (lambda: b"", "is not a PEM private key"),
    "a certificate": (lambda: mesh()["root-cert.pem"], "is not a PEM private key"),
    "broken": (
        lambda: b"-----BEGIN PRIVATE KEY-----\nbm8=\n-----END PRIVATE KEY-----\n",
        "is not a private key that can be read",
    ),
    "cut off": (lambda: mesh()["intermediate-east/ca-key.pem"][:100], "is not a PEM private key"),
    "encrypted": (
        lambda: pem(ec_key(), password=b"x"),
        "is encrypted, and nobody could be asked for its password",
    ),
    "encrypted, traditional": (
        lambda: pem(ec_key(), serialization.PrivateFormat.TraditionalOpenSSL, b"x"),
        "is encrypted, and nobody could be asked for its password",
    ),
    "ed25519": (lambda: pem(ed25519.Ed25519PrivateKey.generate()), ""),
    "P-521": (lambda: pem(ec.generate_private_key(ec.SECP521R1())), ""),
    "secp256k1": (lambda: pem(ec.generate_private_key(ec.SECP256K1())), ""),
    "RSA 1024": (lambda: pem(rsa_key(1024)), ""),
}
TYPES = "is neither an RSA key of at least 2048 bits nor an EC key on P-256 or P-384, which is what istiod and Envoy take"


@pytest.mark.parametrize("name", UNREADABLE)
def test_keys_that_istiod_cannot_use(name: str) -> None:
    """A key that istiod cannot read, or cannot sign with, is refused with the reason, as an intermediate's and as the root's."""
    make, what = UNREADABLE[name]
    body = make()
    assert refused(east(ca_key=body)) == [f"{KEY}: {what or TYPES}"]
    assert refused({**mesh(), "root-key.pem": body}) == [f"certs/root-key.pem: {what or TYPES}"]
    assert refused({"root-key.pem": body}) == [f"certs/root-key.pem: {what or TYPES}"]


UNREADABLE_CERTIFICATES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is not made of PEM certificates as istiod reads them"),
    "garbage": (lambda: b"garbage", "is not made of PEM certificates as istiod reads them"),
    "on one line": (
        lambda: mesh()["root-cert.pem"].replace(b"\n", b" "),
        "is not made of PEM certificates as istiod reads them",
    ),
    "indented": (
        lambda: b"  " + mesh()["root-cert.pem"].replace(b"\n", b"\n  "),
        "is not made of PEM certificates as istiod reads them",
    ),
    "cut off": (
        lambda: mesh()["root-cert.pem"][:-30],
        "is not made of PEM certificates as istiod reads them",
    ),
    "broken": (
        lambda: b"-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n",
        "holds a certificate that cannot be read",
    ),
    "a key": (lambda: pem(ec_key()), "holds a private key; it is a public file"),
    "a key besides": (
        lambda: mesh()["root-cert.pem"] + pem(ec_key()),
        "holds a private key; it is a public file",
    ),
}


@pytest.mark.parametrize("name", UNREADABLE_CERTIFICATES)
def test_certificates_that_cannot_be_read(name: str) -> None:
    """A file that holds no certificate, or more than that, is named with what is wrong with it."""
    make, what = UNREADABLE_CERTIFICATES[name]
    body = make()
    assert refused(east(ca_cert=body)) == [f"{CERT}: {what}"]
    assert refused(east(cert_chain=body)) == [f"{CHAIN}: {what}"]
    assert refused(east(root_cert=body)) == [f"certs/intermediate-east/root-cert.pem: {what}"]
    assert refused({**mesh(), "root-cert.pem": body}) == [f"certs/root-cert.pem: {what}"]


def test_everything_wrong_is_told_at_once() -> None:
    """The problems of all intermediates are told in one go, in order."""
    kept = {**east(ca_key=None), "intermediate-west/ca-key.pem": b"garbage"}
    assert refused(kept, "east", "west") == [
        f"{KEY}: is missing, and the certificate beside it is of no use without it",
        "certs/intermediate-west/ca-key.pem: is not a PEM private key",
    ]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(mesh())), st.data())
def test_any_damage_is_a_sentence(name: str, data: st.DataObject) -> None:
    """Whatever befalls a file, the answer is a `MeshError` that shows nothing secret, or a mesh that is whole."""
    body = mesh()[name]
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(len(body), start + 20)))
    damaged = body[:start] + data.draw(st.binary(max_size=8)) + body[end:]
    try:
        done = issue_pki(wanted(), {**mesh(), name: damaged}, NOW)
    except MeshError as error:
        assert "PRIVATE KEY" not in str(error)
        return
    assert done.new_files == {}
    for intermediate in done.intermediates.values():
        cert = certificate(intermediate.ca_cert)
        cert.verify_directly_issued_by(certificate(done.root_cert))


# --- Cost and secrecy


def test_kept_keys_are_not_validated_number_by_number() -> None:
    """An RSA key whose primes do not fit its modulus is compared by its public half only: the costly validation is never asked for."""
    root, other = rsa_key(2048, 1), rsa_key(2048, 2)
    der = root.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    odd = der.replace(
        root.private_numbers().q.to_bytes(128, "big"),
        other.private_numbers().q.to_bytes(128, "big"),
    )
    assert odd != der
    body = (
        b"-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(odd) + b"-----END PRIVATE KEY-----\n"
    )
    with pytest.raises(ValueError, match=r"."):
        serialization.load_pem_private_key(body, None)
    top = Authority("Root")
    kept = kept_from(top, Authority("East", top, key=root)) | {"intermediate-east/ca-key.pem": body}
    assert issue_pki(wanted("east"), kept, NOW).new_files == {}


def test_an_unchanged_mesh_makes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With everything there, no key is made, nothing is signed, and each key is loaded once."""
    loads: list[dict[str, object]] = []
    real = serialization.load_pem_private_key

    def load_key(*args: Any, **options: Any) -> Any:
        loads.append(options)
        return real(*args, **options)

    def never(*args: object, **options: object) -> Any:
        raise AssertionError

    kept = mesh()
    monkeypatch.setattr(serialization, "load_pem_private_key", load_key)
    monkeypatch.setattr(ec, "generate_private_key", never)
    monkeypatch.setattr(rsa, "generate_private_key", never)
    monkeypatch.setattr(x509, "CertificateBuilder", never)
    assert issue_pki(wanted(), kept, NOW).new_files == {}
    assert loads == [{"unsafe_skip_rsa_key_validation": True}] * 3


def test_progress_counts_rsa_keys() -> None:
    """While RSA keys are made, one is told how many of how many."""
    told: list[tuple[int, int]] = []
    issue_pki(
        wanted("east", key_type="rsa-2048"), {}, NOW, lambda done, of: told.append((done, of))
    )
    assert told == [(0, 2), (1, 2), (2, 2)]


def test_no_secret_has_a_repr() -> None:
    """No private key and no token stands in the repr of any value, nor in that of what holds it."""
    from dataclasses import fields

    from kubectl_mesh.credentials.api_servers import KubeconfigContext
    from kubectl_mesh.operations.build import RenderedMesh
    from kubectl_mesh.operations.checked_inputs import CheckedInputs
    from kubectl_mesh.render import RenderInputs, render_tree
    from kubectl_mesh.stores.plain import Plain
    from kubectl_mesh.targets import KINDS
    from kubectl_mesh.yaml_io import assets
    from kubectl_mesh.yaml_io.templates import Manifests

    document = load_document(
        "t.yaml", b"mesh_id: acme\ncontexts: {east: {network: a}, west: {network: b}}\n"
    )
    topology = validate_document(document, assets.load_schema("topology.schema.json"))
    done = issue_pki(wanted(), {}, NOW)
    servers = {n: Server("https://203.0.113.1", mesh()["root-cert.pem"]) for n in ("east", "west")}
    tokens = {
        ("east", ""): {"token": "tokentokentoken-east"},
        ("west", ""): {"token": "tokentokentoken-west"},
    }
    target = KINDS["IstioControlPlane"]
    made_plan = build_plan(topology, target.plan_traits(topology), KnownClusters(servers, tokens))
    tree = render_tree(
        RenderInputs(made_plan, {}, done, target), Manifests(assets.template_text), Plain()
    )
    told = {
        "directory": ".",
        "topology": topology,
        "target": target,
        "servers": servers,
        "logins": tokens,
        "certs": CertsFolder(done.new_files),
    }
    inputs = CheckedInputs(**({f.name: () for f in fields(CheckedInputs)} | told))  # type: ignore[arg-type]
    rendered = RenderedMesh(inputs, made_plan, done, tree, ())
    values = [
        done,
        done.intermediates["east"],
        File(b"tokentokentoken", True, "0"),
        tree,
        inputs,
        made_plan,
        made_plan.members["east"],
        rendered,
    ]
    values += [
        KubeconfigContext(document.field_place(), ca=done.new_files["root-key.pem"]),
        document,
    ]
    values.append(issue_pki)
    # The first line of PKCS#8 holds private numbers; on the second stands the public key too, which certificates show.
    secrets = [
        b.splitlines()[1].decode() for n, b in done.new_files.items() if n.endswith("key.pem")
    ]
    secrets += ["PRIVATE KEY", "tokentokentoken"]
    for value in values:
        for text in (repr(value), str(value), f"{value}"):
            assert not [s for s in secrets if s in text], type(value)


@pytest.mark.parametrize("least", [0, 1])
def test_keys_where_no_thread_can_be_started(least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under a limit of processes: they are made one after the other."""
    start, started = threading.Thread.start, []

    def limited(thread: threading.Thread) -> None:
        if thread.name.startswith("ThreadPoolExecutor"):
            if len(started) >= least:
                raise RuntimeError("can't start new thread")
            started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    told: list[tuple[int, int]] = []
    made = generate_keys(
        "rsa-2048", ["a", "b", "c"], root=True, progress=lambda done, of: told.append((done, of))
    )
    assert sorted(made) == ["", "a", "b", "c"]
    assert len({key.public_key().public_numbers().n for key in made.values()}) == 4
    assert told == [(n, 4) for n in range(5)]
