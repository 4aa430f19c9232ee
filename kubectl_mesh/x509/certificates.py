"""Loads keys and certificates from PEM, with the limits of istiod, Envoy and Kubernetes."""

import re
from collections.abc import Mapping
from datetime import UTC
from functools import lru_cache
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID, PublicKeyAlgorithmOID

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import Certificate
from kubectl_mesh.text import work_path
from kubectl_mesh.x509.parse import (
    Block,
    PemError,
    find_blocks,
    parse_certificate,
    parse_key,
    text_outside,
)


class KeyType(NamedTuple):
    """A type of keys, in the words of cert-manager, and its size in bits."""

    algorithm: str
    size: int


KEY_TYPES: Mapping[str, KeyType] = {
    "ec-p256": KeyType("ECDSA", 256),
    "ec-p384": KeyType("ECDSA", 384),
    "rsa-2048": KeyType("RSA", 2048),
    "rsa-3072": KeyType("RSA", 3072),
    "rsa-4096": KeyType("RSA", 4096),
}
"""Every type by the name that topology.yaml has for it."""
DEFAULT_KEY_TYPE = "ec-p256"
CURVES: dict[str, ec.EllipticCurve] = {"ec-p256": ec.SECP256R1(), "ec-p384": ec.SECP384R1()}

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

_KEYS = {"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"}
_CONTROLS = re.compile("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f]")
_MAX_BYTES = 2**20 - 2**14


class _UnreadableError(ValueError):
    """A file of certificates that istiod or Kubernetes would reject."""

    def __init__(self, code: str, what: str, fix: str, check: str = "certs-readable") -> None:
        super().__init__(what)
        self.code, self.what, self.fix, self.check = code, what, fix, check


def load_certificates(name: str, pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a file. Raises a `MeshError` if it contains anything else, because it is
    copied into every cluster.
    """
    try:
        return _parse_strictly(pem)
    except _UnreadableError as e:
        raise MeshError([Problem(Place(name), e.what, e.fix, e.check, code=e.code)]) from None


def _parse_strictly(pem: bytes) -> tuple[x509.Certificate, ...]:
    blocks = _certificate_blocks(pem)
    try:
        certificates = tuple(_parse_block(pem[block.start : block.end]) for block in blocks)
        if any(certificate.serial_number <= 0 for certificate in certificates):
            raise _UnreadableError(
                "certificate-serial-not-positive",
                "holds a certificate with a serial number that is not positive; RFC 5280 forbids"
                " it, and what reads certificates refuses it",
                "have it made anew with a positive one",
            )
        for certificate in certificates:
            _check_certificate(certificate)
    except _UnreadableError:
        raise
    except Exception:  # noqa: BLE001 -- cryptography raises a dozen types for malformed input
        raise _UnreadableError(
            "certificate-unreadable",
            "holds a certificate that cannot be read",
            "put back the certificate",
        ) from None
    return certificates


@lru_cache(maxsize=256)
def _parse_block(pem: bytes) -> x509.Certificate:
    # Cached, because every chain repeats an intermediate and its root.
    return parse_certificate(pem)


def _certificate_blocks(pem: bytes) -> list[Block]:
    """The blocks of a text; raises an error for one that contains more than certificates."""
    if len(pem) > _MAX_BYTES:
        raise _UnreadableError(
            "certificates-too-large",
            "is larger than 1 MiB, which a Secret of Kubernetes may have at most",
            "leave out what the mesh does not need",
        )
    if b"PRIVATE KEY" in pem:
        raise _UnreadableError(
            "private-key-in-certificates",
            "holds a private key; it is a public file",
            "take the key out, and take it for known to others",
        )
    blocks = find_blocks(pem)
    if {block.label for block in blocks} != {b"CERTIFICATE"} or b"-----" in text_outside(
        pem, blocks
    ):
        raise _UnreadableError(
            "certificates-not-pem",
            "is not made of PEM certificates as istiod reads them",
            "write it anew with BEGIN CERTIFICATE and END CERTIFICATE each on a line of its own",
        )
    if not _is_text(pem):
        raise _UnreadableError(
            "certificates-not-text",
            "has bytes beside its certificates that are no text, and a ConfigMap takes none",
            "leave out all that is not between BEGIN CERTIFICATE and END CERTIFICATE",
        )
    return blocks


def _check_certificate(certificate: x509.Certificate) -> None:
    """Raises an error for a certificate that istiod cannot read, so that no later stage fails on
    it.
    """
    describe_certificate(certificate)
    path_length(certificate)
    if certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
        raise _UnreadableError(
            "certificate-key-rsa-pss",
            "has an RSA-PSS key, which istiod refuses",
            "use a plain RSA or EC key",
            "certs-key-type",
        )


def _is_text(pem: bytes) -> bool:
    try:
        text = pem.decode()
    except UnicodeDecodeError:
        return False
    return not _CONTROLS.search(text)


def split_certificates(pem: bytes) -> list[tuple[x509.Certificate, bytes]]:
    """The certificates of a file, each with its PEM text as it is in the file."""
    texts = [pem[block.start : block.end] for block in find_blocks(pem)]
    return [
        (parse_certificate(text), text if text.endswith(b"\n") else text + b"\n") for text in texts
    ]


def load_key(name: str, pem: bytes, *, for_istio: bool = True) -> Key:
    """The private key of a file; raises a `MeshError`. A key for istiod must be the first PEM
    block, unencrypted, RSA or EC; with `for_istio` false it can be a later block.
    """
    blocks = find_blocks(pem)
    kinds = [block.label.decode("ascii", "replace") for block in blocks]
    rewrite = f"write it anew with `openssl pkey -in {work_path(name)} -out NEW`"
    code, what, fix = "", "", ""
    if "ENCRYPTED PRIVATE KEY" in kinds or b"Proc-Type: 4,ENCRYPTED" in pem:
        code, fix = "key-encrypted", rewrite
        what = "is encrypted, and nobody could be asked for its password"
    elif not _KEYS & set(kinds):
        code, what, fix = "key-not-pem", "is not a PEM private key", "put back the key"
    elif for_istio and kinds[0] not in _KEYS:
        code, fix = "key-not-first", rewrite
        what = f"begins with {kinds[0]}, and istiod reads the first block only"
    if code:
        raise MeshError([Problem(Place(name), what, fix, "certs-readable", code=code)])
    first = next(block for block, kind in zip(blocks, kinds, strict=True) if kind in _KEYS)
    try:
        key = parse_key(pem[first.start : first.end], validate=False)
    except PemError:
        raise MeshError(
            [
                Problem(
                    Place(name),
                    "is not a private key that can be read",
                    "put back the key",
                    "certs-readable",
                    code="key-unreadable",
                )
            ]
        ) from None
    if isinstance(key, Key) and is_supported_key(key.public_key()) and not _has_large_exponent(key):
        return key
    what = (
        "is neither an RSA key of at least 2048 bits nor an EC key on P-256 or P-384, which is what"
        " istiod and Envoy take"
    )
    raise MeshError(
        [
            Problem(
                Place(name),
                what,
                "use a key of such a type",
                "certs-key-type",
                code="key-type-not-supported",
            )
        ]
    )


def _has_large_exponent(key: Key) -> bool:
    """Whether Go rejects an RSA key because of its exponent."""
    return isinstance(key, rsa.RSAPrivateKey) and key.public_key().public_numbers().e >= 2**31


def is_supported_key(public: object) -> bool:
    """Whether istiod and Envoy accept a public key: RSA of at least 2048 bits, EC on P-256 or
    P-384.
    """
    if isinstance(public, rsa.RSAPublicKey):
        return public.key_size >= 2048
    return isinstance(public, ec.EllipticCurvePublicKey) and isinstance(
        public.curve, ec.SECP256R1 | ec.SECP384R1
    )


def is_for_key(certificate: x509.Certificate, key: Key) -> bool:
    """Whether the public key of a certificate belongs to a private key."""
    public: Any = certificate.public_key()
    expected: Any = key.public_key()
    return type(public) is type(expected) and bool(
        public.public_numbers() == expected.public_numbers()
    )


def extension_value(certificate: x509.Certificate, kind: Any) -> Any:
    """The value of an extension, None if the certificate does not have it."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def path_length(certificate: x509.Certificate) -> int | None:
    """The path length constraint of a CA certificate, None if it has none."""
    constraints = extension_value(certificate, x509.BasicConstraints)
    return constraints.path_length if constraints is not None else None


@lru_cache(maxsize=4096)
def describe_certificate(certificate: x509.Certificate) -> Certificate:
    """The facts of a certificate for reports. Cached, because several files and stages share
    certificates.
    """
    public = certificate.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        kind = f"rsa-{public.key_size}"
    elif isinstance(public, ec.EllipticCurvePublicKey):
        kind = f"ec-p{public.key_size}"
    else:
        kind = type(public).__name__
    return Certificate(
        subject=_name_text(certificate.subject),
        issuer=_name_text(certificate.issuer),
        serial=f"{certificate.serial_number:x}",
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        key_type=kind,
        not_before=certificate.not_valid_before_utc.astimezone(UTC),
        not_after=certificate.not_valid_after_utc.astimezone(UTC),
        organization=subject_organization(certificate),
    )


def subject_organization(certificate: x509.Certificate) -> str | None:
    """The O= of a certificate's subject; None if it has none."""
    values = [
        str(a.value) for a in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    ]
    return values[0] if values else None


def _name_text(name: x509.Name) -> str:
    """A name as openssl prints it: `O=acme, CN=Root CA`, in the order of the certificate."""
    return ", ".join(
        f"{a.rfc4514_attribute_name}={a.value if isinstance(a.value, str) else a.value.hex()}"
        for a in name
    )
