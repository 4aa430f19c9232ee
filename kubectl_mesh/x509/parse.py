"""Splits PEM text into blocks, and parses certificates, keys, CRLs and requests.

cryptography raises a dozen types of errors for malformed input, some of them only when a field is
read, and its Rust code can panic. Each function here reads every field that the package uses, so
that `PemError` is raised here or nowhere.
"""

import re
import warnings
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import serialization

T = TypeVar("T")

# The first or the last line of a block as Go's encoding/pem reads it: alone on its line.
_LINE = re.compile(rb"-----(BEGIN|END) ([^-\r\n]+)-----[ \t]*\r?\Z")


class PemError(ValueError):
    """A certificate, key, CRL or request that cannot be parsed."""


class Block(NamedTuple):
    """A block of a PEM text: its label, its start and its end, with both of its lines."""

    label: bytes
    start: int
    end: int


def find_blocks(pem: bytes) -> list[Block]:
    """The blocks of a PEM text, in order. Takes linear time for any text."""
    begins: list[tuple[bytes, int]] = []
    ends: dict[bytes, tuple[list[int], list[int]]] = {}
    start = 0
    while start < len(pem):
        stop = pem.find(b"\n", start)
        after = len(pem) if stop < 0 else stop + 1
        if pem.startswith(b"-----", start):
            line = pem[start : len(pem) if stop < 0 else stop]
            match = _LINE.match(line)
            if match is not None and (
                stop >= 0 or (match[1] == b"END" and not line.endswith(b"\r"))
            ):
                if match[1] == b"BEGIN":
                    begins.append((match[2], start))
                else:
                    starts, stops = ends.setdefault(match[2], ([], []))
                    starts.append(start)
                    stops.append(after)
        start = after
    blocks: list[Block] = []
    at = 0
    for label, begin in begins:
        starts, stops = ends.get(label, ([], []))
        if begin < at or (index := bisect_right(starts, begin)) == len(starts):
            continue
        at = stops[index]
        blocks.append(Block(label, begin, at))
    return blocks


def text_outside(pem: bytes, blocks: Sequence[Block]) -> bytes:
    """The text outside of the blocks."""
    edges = [0, *(edge for block in blocks for edge in (block.start, block.end)), len(pem)]
    return b"".join(pem[start:stop] for start, stop in zip(edges[::2], edges[1::2], strict=True))


def parse_certificates(pem: bytes, *, strict: bool = True) -> "tuple[x509.Certificate, ...]":
    """The certificates of a text, at least one; raises `PemError`.

    With `strict` false a certificate can have a key or an extension that cryptography does not
    know, as the CA of an API server may.
    """
    return _parse(
        lambda: tuple(
            _read_certificate(c, strict=strict) for c in x509.load_pem_x509_certificates(pem)
        )
    )


def parse_certificate(pem: bytes) -> "x509.Certificate":
    """The first certificate of a text; raises `PemError`."""
    return _parse(lambda: _read_certificate(x509.load_pem_x509_certificate(pem), strict=True))


def _read_certificate(certificate: "x509.Certificate", *, strict: bool) -> "x509.Certificate":
    _ = (
        certificate.version,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        certificate.serial_number,
    )
    _ = ([*certificate.subject], [*certificate.issuer])
    if strict:
        _ = (certificate.public_key(), certificate.extensions, certificate.signature_hash_algorithm)
    return certificate


def parse_crl(pem: bytes) -> "x509.CertificateRevocationList":
    """A CRL; raises `PemError`."""

    def read() -> "x509.CertificateRevocationList":
        crl = x509.load_pem_x509_crl(pem)
        _ = (
            crl.extensions,
            [*crl.issuer],
            crl.next_update_utc,
            crl.last_update_utc,
            [(r.serial_number, r.revocation_date_utc, r.extensions) for r in crl],
        )
        return crl

    return _parse(read)


def parse_request(pem: bytes) -> "x509.CertificateSigningRequest":
    """A certificate signing request; raises `PemError`."""

    def read() -> "x509.CertificateSigningRequest":
        request = x509.load_pem_x509_csr(pem)
        _ = (
            request.extensions,
            [*request.subject],
            request.public_key(),
            request.is_signature_valid,
        )
        return request

    return _parse(read)


def parse_key(pem: bytes, *, validate: bool = True) -> Any:
    """A private key without a password; raises `PemError`. With `validate` false the numbers of an
    RSA key are not verified, which is slow.
    """
    return _parse(
        lambda: serialization.load_pem_private_key(
            pem, None, unsafe_skip_rsa_key_validation=not validate
        )
    )


def _parse(read: Callable[[], T]) -> T:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the callers reject what it would warn of
            return read()
    except Exception:  # noqa: BLE001 -- see above
        raise PemError("cannot be parsed") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # the Rust code's, which is not an Exception
            raise
        raise PemError("cannot be parsed") from None
