"""Whether istiod and Envoy accept a certificate as a CA, and whether its chain ends at a root."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.text import mesh_command, work_path
from kubectl_mesh.x509.certificates import extension_value, load_certificates, path_length
from kubectl_mesh.x509.layout import ROOT_CERT

_MAX_CHAIN_LENGTH = 10
"""The largest number of certificates in a chain."""
_WORKLOAD_USAGES = (
    ("serverAuth", ExtendedKeyUsageOID.SERVER_AUTH),
    ("clientAuth", ExtendedKeyUsageOID.CLIENT_AUTH),
)
"""The extended key usages of workload certificates."""
ROOT_LABEL = f"the root in {work_path(f'certs/{ROOT_CERT}')}"
"""The name of the root in messages."""
RENEW_FIX = (
    f"renew an intermediate with `{mesh_command('certs renew')}`, the root with"
    f" `{mesh_command('certs rotate-root')}`"
)
"""The remedy for a certificate that expires."""


class ChainStep(NamedTuple):
    """A certificate on the way to a root, and the certificate that signed it; None if the signer is
    not known.
    """

    certificate: x509.Certificate
    issuer: x509.Certificate | None
    is_root: bool = False


def ca_problems(
    name: str, certificate: x509.Certificate, now: datetime, *, expired_fix: str = RENEW_FIX
) -> Iterator[Problem]:
    """Why istiod and Envoy reject a certificate as a CA; `expired_fix` is the remedy for an expired
    one.
    """
    place = Place(name)
    yield from _extension_problems(place, certificate)
    weak = isinstance(certificate.signature_hash_algorithm, hashes.SHA1 | hashes.MD5)
    if weak and certificate.issuer != certificate.subject:
        yield Problem(
            place,
            "is signed with SHA-1 or MD5, which istiod refuses",
            "use SHA-256 or better",
            "certs-ca",
            code="certificate-signature-weak",
        )
    if certificate.not_valid_after_utc <= now:
        yield Problem(
            place,
            f"expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC",
            expired_fix,
            "certs-expired",
            code="certificate-expired",
        )
    if certificate.not_valid_before_utc > now:
        yield Problem(
            place,
            f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC",
            "set the clock right, or use another",
            "certs-expired",
            code="certificate-not-yet-valid",
        )


def _extension_problems(place: Place, certificate: x509.Certificate) -> Iterator[Problem]:
    """Extensions that Istio does not accept in a CA certificate."""
    unknown = [
        e.oid.dotted_string
        for e in certificate.extensions
        if e.critical and isinstance(e.value, x509.UnrecognizedExtension)
    ]
    if unknown:
        yield Problem(
            place,
            f"has a critical extension that istiod does not know ({unknown[0]})",
            "use a certificate without it",
            "certs-ca",
            code="certificate-extension-unknown",
        )
    constraints = extension_value(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        yield Problem(
            place,
            "is not a CA certificate (no CA:TRUE)",
            "use a CA certificate, not a leaf",
            "certs-ca",
            code="certificate-not-a-ca",
        )
    usage = extension_value(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        yield Problem(
            place,
            "may not sign certificates (no keyCertSign)",
            "use a CA certificate",
            "certs-ca",
            code="certificate-without-key-cert-sign",
        )
    extended = extension_value(certificate, x509.ExtendedKeyUsage)
    if extended is None or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in extended:
        return
    if lacking := [name for name, usage in _WORKLOAD_USAGES if usage not in extended]:
        what = (
            f"has an extended key usage without {' and '.join(lacking)}, so no workload's"
            " certificate would verify"
        )
        yield Problem(
            place,
            what,
            "use a CA certificate without extended key usage",
            "certs-ca",
            code="certificate-extended-key-usage",
        )


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if certificate.issuer != issuer.subject:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # noqa: BLE001 -- any failure means that it is not verified
        return False
    return True


def direct_issuer(
    certificate: x509.Certificate, issuers: Iterable[x509.Certificate]
) -> x509.Certificate | None:
    """The first of the issuers that signed a certificate; None if none did."""
    return next((issuer for issuer in issuers if _is_issued_by(certificate, issuer)), None)


def walk_chain(
    certificate: x509.Certificate,
    chain: Iterable[x509.Certificate],
    roots: Sequence[x509.Certificate],
) -> Iterator[ChainStep]:
    """The way from a certificate to its root: each certificate, and the certificate that signed it.

    The last step has the root, or None if the way ends before a root. `chain` are the other
    certificates of the file in any order, with or without the certificate itself. Each is used
    once.
    """
    current, remaining = certificate, [c for c in chain if c != certificate]
    for _ in range(_MAX_CHAIN_LENGTH):
        root = direct_issuer(current, roots)
        issuer = root or direct_issuer(current, remaining)
        yield ChainStep(current, issuer, is_root=root is not None)
        if root is not None or issuer is None:
            return
        remaining = [c for c in remaining if c != issuer]
        current = issuer
    yield ChainStep(current, None)


def find_root(
    chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]
) -> x509.Certificate | None:
    """The root of a chain, whose first certificate is the leaf; None if it is not one of
    `roots`.
    """
    return next(
        (step.issuer for step in walk_chain(chain[0], chain[1:], roots) if step.is_root), None
    )


def chain_problems(
    name: str,
    certificate: x509.Certificate,
    chain: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    now: datetime,
    root_label: str = ROOT_LABEL,
) -> Iterator[Problem]:
    """Problems on the way from a certificate to one of the roots; `root_label` is the name of the
    roots in messages.
    """
    if not roots:
        return
    for below, step in enumerate(walk_chain(certificate, chain, roots), 1):
        if step.issuer is None:
            fix = (
                "put back the root that signed it; moved away, its folder is made anew under the"
                " root that is here"
            )
            yield Problem(
                Place(name),
                f"is not signed by {root_label}",
                fix,
                "certs-chain",
                code="certificate-not-signed-by-root",
            )
            return
        if not step.is_root:
            yield from ca_problems(name.replace("ca-cert.pem", "cert-chain.pem"), step.issuer, now)
        limit = path_length(step.issuer)
        if limit is not None and below > limit:
            whom = "a root" if step.is_root else "a CA of its chain"
            what = f"is at depth {below} below {whom} whose pathlen:{limit} allows {limit}"
            yield Problem(
                Place(name), what, "use a shorter chain", "certs-chain", code="chain-too-long"
            )


def expiring_soon_problems(
    name: str, certificate: x509.Certificate, now: datetime
) -> Iterable[Problem]:
    """A warning if less than 30 days, or less than a tenth of the certificate's lifetime, are
    left.
    """
    end = certificate.not_valid_after_utc
    left = end - now
    if left <= timedelta():
        fix = "drop it: go on with the rotation that is on, or take it out of the bundle"
        yield Problem(
            Place(name),
            f"expired on {end:%Y-%m-%d}, and signs nothing here any more",
            fix,
            "certs-expiring",
            code="root-expired-and-idle",
        )
    elif left < min(timedelta(days=30), (end - certificate.not_valid_before_utc) / 10):
        yield Problem(
            Place(name),
            f"expires on {end:%Y-%m-%d}, in {left.days} days",
            RENEW_FIX,
            "certs-expiring",
            code="certificate-expires-soon",
        )


def outlives_root_problems(
    name: str, certs_files: Mapping[str, bytes], folder: str
) -> Iterable[Problem]:
    """A warning if the intermediate in `folder` (below `certs/`) is valid longer than its root;
    `name` is its name in messages.
    """
    chain, roots = (
        load_certificates(name, certs_files[f"{folder}/{part}"])
        for part in ("cert-chain.pem", ROOT_CERT)
    )
    root = find_root(chain, roots)
    if root is not None and chain[0].not_valid_after_utc > root.not_valid_after_utc:
        ends, last = chain[0].not_valid_after_utc, root.not_valid_after_utc
        what = (
            f"is valid until {ends:%Y-%m-%d}, longer than its root, which ends on {last:%Y-%m-%d};"
            " from then on it is worth nothing"
        )
        yield Problem(
            Place(name),
            what,
            f"rotate the root before {last:%Y-%m-%d}",
            "certs-expiring",
            code="certificate-outlives-root",
        )


def name_constraint_problems(name: str, certificate: x509.Certificate) -> Iterable[Problem]:
    """A warning for name constraints, which are not checked against the names that Istio uses."""
    if extension_value(certificate, x509.NameConstraints) is not None:
        what = (
            "has name constraints; Istio needs spiffe:// URIs of its trust domain and the DNS names"
            " of istiod"
        )
        yield Problem(
            Place(name),
            what,
            "make sure that they are permitted",
            "certs-names",
            code="certificate-name-constraints",
        )
