"""New keys and certificates."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from kubectl_mesh.pki.profile import CertificateProfile, Progress
from kubectl_mesh.x509.certificates import (
    CURVES,
    KEY_TYPES,
    Key,
    PublicKey,
    extension_value,
    subject_organization,
)
from kubectl_mesh.x509.layout import intermediate_folder

_BACKDATE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Issuer:
    """A root that signs: its certificate, and its key."""

    certificate: x509.Certificate
    key: Key = field(repr=False)


def generate_keys(
    kind: str, names: Sequence[str], root: bool, progress: Progress
) -> dict[str, Key]:
    """Keys by name, the root's under the empty one; several at once, for OpenSSL works outside
    Python's lock.
    """
    names = [*([""] if root else []), *names]
    if not names:
        return {}
    if kind in CURVES:
        return {name: ec.generate_private_key(CURVES[kind]) for name in names}
    size = KEY_TYPES[kind].size
    keys: dict[str, Key] = {}
    progress(0, len(names))
    for name, key in _rsa_keys(size, names):
        keys[name] = key
        progress(len(keys), len(names))
    return keys


def _rsa_keys(size: int, names: Sequence[str]) -> Iterator[tuple[str, Key]]:
    """RSA keys as they are ready."""
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        work = {pool.submit(rsa.generate_private_key, 65537, size): name for name in names}
    except RuntimeError:  # There may be no more threads, as under a limit of processes.
        pool.shutdown(wait=False, cancel_futures=True)
        for name in names:
            yield name, rsa.generate_private_key(65537, size)
        return
    try:
        for done in as_completed(work):
            yield work[done], done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def dump_key(key: Key) -> bytes:
    """PKCS#8 PEM (RFC 5958), which every version of istiod reads for RSA, and those that read EC
    keys read for EC.
    """
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _subject(organization: str, common_name: str, locality: str = "") -> x509.Name:
    attributes = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
    ]
    if locality:
        attributes.append(x509.NameAttribute(NameOID.LOCALITY_NAME, locality))
    return x509.Name(attributes)


def intermediate_subject(organization: str, name: str) -> x509.Name:
    """The subject of a cluster's intermediate."""
    return _subject(organization, "Intermediate CA", intermediate_folder(name))


def choose_organization(
    profile: CertificateProfile,
    root: x509.Certificate | None,
    former: x509.Certificate | None = None,
) -> str:
    """The O= of a new certificate of a mesh with this root: what somebody stated, else that of the
    certificate that it follows, else the root's.

    The certificate that follows another one keeps its subject: a CRL counts for a subject, and
    clusters may be late.
    """
    for certificate in () if profile.is_organization_stated else (former, root):
        organization = subject_organization(certificate) if certificate is not None else None
        if organization:
            return organization
    return profile.organization


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: Key | PublicKey,
    path_length: int | None,
    start: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    public = key if isinstance(key, PublicKey) else key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def build_root(
    profile: CertificateProfile,
    key: Key,
    now: datetime,
    common_name: str = "Root CA",
    former: x509.Certificate | None = None,
) -> x509.Certificate:
    """A self-signed root; `former` is the root that it follows."""
    name = _subject(choose_organization(profile, former), common_name)
    return _builder(
        name, name, key, None, now - _BACKDATE, now + timedelta(days=profile.root_days)
    ).sign(key, hashes.SHA256())


def build_intermediate(
    profile: CertificateProfile,
    name: str,
    key: Key | PublicKey,
    issuer: Issuer,
    now: datetime,
    former: x509.Certificate | None = None,
) -> x509.Certificate:
    """An intermediate for one cluster, signed by a root; `former` is the one that it follows."""
    root = issuer.certificate
    subject = intermediate_subject(choose_organization(profile, root, former), name)
    # A certificate neither outlives nor predates its issuer.
    start = max(now - _BACKDATE, root.not_valid_before_utc)
    end = min(now + timedelta(days=profile.intermediate_days), root.not_valid_after_utc)
    identifier = extension_value(root, x509.SubjectKeyIdentifier)
    authority = (
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        if identifier is not None
        else x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    )
    return (
        _builder(subject, root.subject, key, 0, start, end)
        .add_extension(authority, critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(f"istiod.{profile.namespaces[name]}.svc")]),
            critical=False,
        )
        .sign(issuer.key, hashes.SHA256())
    )
