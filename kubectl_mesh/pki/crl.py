"""Which intermediates are revoked: `certs/ca-crl.pem`, a bundle of CRLs (RFC 5280, section 5) that
istiod hands to every proxy.

Envoy asks for a CRL of every CA in a chain that it verifies, of the intermediates of all clusters
too, and refuses the chain where one is missing or past its nextUpdate. istiod takes the bundle only
if each certificate of its own cert-chain.pem signed a CRL in it
(security/pkg/pki/util/keycertbundle.go), and drops it, and every other change of cacerts with it,
if not. So one bundle holds them all, the same in every cluster: the root's, which lists what is
revoked, and one of each intermediate, which lists nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import Crl
from kubectl_mesh.pki.stored_pki import StoredIntermediate, StoredRoot
from kubectl_mesh.text import mesh_command, work_path
from kubectl_mesh.x509.certificates import (
    Key,
    describe_certificate,
    extension_value,
    is_for_key,
    load_certificates,
)
from kubectl_mesh.x509.chain import direct_issuer
from kubectl_mesh.x509.layout import CRL_FILE, ROOT_KEY, intermediate_folder
from kubectl_mesh.x509.parse import PemError, find_blocks, parse_crl, text_outside

CRL_PATH = f"certs/{CRL_FILE}"
SIGN_AGAIN_FIX = f"sign it anew with `{mesh_command('certs crl')}`, render and apply"
RESTORE_FIX = (
    "put it back as git has it; where it is lost, move it away and revoke anew with"
    f" `{mesh_command('certs revoke')}`"
)
_BACKDATE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class CrlSigner:
    """A CA whose CRL belongs into the bundle: its certificate, its key where that is here, and
    where it would be.
    """

    certificate: x509.Certificate
    key: Key | None
    key_place: str


def load_crls(name: str, pem: bytes) -> tuple[x509.CertificateRevocationList, ...]:
    """The CRLs of a file that holds nothing else; one for istiod has to be PEM."""
    fix = RESTORE_FIX if name == CRL_PATH else "name CRLs in PEM"
    blocks = find_blocks(pem)
    if {block.label for block in blocks} != {b"X509 CRL"} or text_outside(pem, blocks).strip():
        raise MeshError(
            [
                Problem(
                    Place(name),
                    "is not made of PEM CRLs alone (BEGIN X509 CRL), as istiod reads them",
                    fix,
                    "crl-readable",
                    code="crl-not-pem",
                )
            ]
        )
    try:
        return tuple(parse_crl(pem[block.start : block.end]) for block in blocks)
    except PemError:
        raise MeshError(
            [
                Problem(
                    Place(name),
                    "holds a CRL that cannot be read",
                    fix,
                    "crl-readable",
                    code="crl-unreadable",
                )
            ]
        ) from None


class CrlIndex:
    """CRLs by the name of their issuer, which an intermediate shares with the one that it took the
    place of.
    """

    def __init__(self, crls: Iterable[x509.CertificateRevocationList]) -> None:
        self.crls = tuple(crls)
        self._named: dict[x509.Name, list[x509.CertificateRevocationList]] = {}
        for crl in self.crls:
            self._named.setdefault(crl.issuer, []).append(crl)

    def find_newest(self, certificate: x509.Certificate) -> x509.CertificateRevocationList | None:
        """The newest CRL that a CA signed."""
        public: Any = certificate.public_key()
        mine = [c for c in self._named.get(certificate.subject, ()) if is_signed_by(c, public)]
        return max(mine, key=lambda c: c.last_update_utc, default=None)

    def highest_number(self) -> int:
        """The highest CRL number."""
        return max(map(_crl_number, self.crls), default=0)


def is_signed_by(crl: x509.CertificateRevocationList, public: Any) -> bool:
    """Whether a CRL is of this key."""
    try:
        return crl.is_signature_valid(public)
    except Exception:  # noqa: BLE001 -- a key of another kind than the signature's
        return False


def _crl_number(crl: x509.CertificateRevocationList) -> int:
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0


def find_crl_signers(
    states: Mapping[str, StoredIntermediate], root: StoredRoot
) -> tuple[CrlSigner, ...]:
    """Every CA in the chains of the clusters, the roots first, each once."""
    signers: dict[bytes, CrlSigner] = {}

    def add(certificate: x509.Certificate | None, key: Key | None, place: str) -> None:
        assert certificate is not None
        signers.setdefault(
            certificate.fingerprint(hashes.SHA256()), CrlSigner(certificate, key, place)
        )

    for certificate in root.certificates:
        own = root.key is not None and is_for_key(certificate, root.key)
        known = describe_certificate(certificate)
        other = f"the key of {known.subject} (sha256 {known.fingerprint[:16]}…)"
        add(
            certificate,
            root.key if own else None,
            f"certs/{ROOT_KEY}" if own or len(root.certificates) == 1 else other,
        )
    for name in sorted(states):
        if states[name].certificate is not None:
            add(
                states[name].certificate,
                states[name].key,
                f"certs/{intermediate_folder(name)}/ca-key.pem",
            )
    for name in sorted(states):
        pem = states[name].files.get("cert-chain.pem")
        for certificate in (
            load_certificates(f"certs/{intermediate_folder(name)}/cert-chain.pem", pem)
            if pem is not None
            else ()
        ):
            add(certificate, None, f"the key of {describe_certificate(certificate).subject}")
    # A root that signed nothing here needs no CRL: nobody's chain has it.
    chained = {c.fingerprint(hashes.SHA256()) for c in root.certificates if _is_in_chain(c, states)}
    roots = {c.fingerprint(hashes.SHA256()) for c in root.certificates}
    return tuple(
        s for f, s in signers.items() if f not in roots or f in chained or s.key is not None
    )


def _is_in_chain(root: x509.Certificate, states: Mapping[str, StoredIntermediate]) -> bool:
    chains = ((name, s.files.get("cert-chain.pem", b"")) for name, s in states.items())
    return any(
        root == c
        for name, pem in chains
        if pem
        for c in load_certificates(f"certs/{intermediate_folder(name)}/cert-chain.pem", pem)
    )


def sign_crl(
    signer: CrlSigner,
    entries: Sequence[x509.RevokedCertificate],
    number: int,
    now: datetime,
    next_update: datetime,
) -> bytes:
    """A CRL in PEM."""
    certificate = signer.certificate
    assert signer.key is not None
    identifier = extension_value(certificate, x509.SubjectKeyIdentifier)
    authority = (
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        if identifier is not None
        else x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    )
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(certificate.subject)
        .last_update(max(now - _BACKDATE, certificate.not_valid_before_utc))
        .next_update(next_update)
        .add_extension(authority, critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for entry in entries:
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def missing_crl_sign_text(certificate: x509.Certificate) -> str:
    """Why a CA may not sign CRLs; empty where it may."""
    usage = extension_value(certificate, x509.KeyUsage)
    return (
        ""
        if usage is None or usage.crl_sign
        else "may not sign CRLs (no cRLSign), so neither istiod nor a proxy takes one of it"
    )


def is_crl_valid(crl: x509.CertificateRevocationList, now: datetime) -> bool:
    """Whether a CRL is not past its nextUpdate."""
    return crl.next_update_utc is not None and crl.next_update_utc > now


@dataclass(frozen=True, slots=True)
class CompletedCrl:
    """A bundle that has a CRL for each CA of today."""

    crl: Crl
    added_subjects: tuple[str, ...]
    """The subjects of the CAs for which an empty one was added."""
    warnings: tuple[Problem, ...]


def complete_crls(
    pem: bytes, states: Mapping[str, StoredIntermediate], root: StoredRoot, now: datetime
) -> CompletedCrl:
    """The bundle that is there, with an empty CRL for each CA of today that has none and whose key
    is here.

    Raises a `MeshError` with all that istiod or a proxy would refuse.
    """
    now = now.replace(microsecond=0)
    crls = CrlIndex(load_crls(CRL_PATH, pem))
    signers = find_crl_signers(states, root)
    crl_by_place = {s.key_place: crls.find_newest(s.certificate) for s in signers}
    next_update = _earliest_next_update(
        [*crl_by_place.values()], map(crls.find_newest, root.certificates), now
    )
    problems: list[Problem] = []
    added: list[str] = []
    number = crls.highest_number()
    for signer in signers:
        crl = crl_by_place[signer.key_place]
        if crl is None and signer.key is not None and not missing_crl_sign_text(signer.certificate):
            # The first of what is here, so that whoever goes by the name alone takes it.
            pem = sign_crl(signer, [], number + 1, now, next_update) + pem
            added.append(describe_certificate(signer.certificate).subject)
        else:
            problems += _signer_problems(signer, crl, now)
    problems += _revoked_in_use_problems(crls, states, root)
    if problems:
        raise MeshError(problems)
    issued = min((c.last_update_utc for c in crl_by_place.values() if c is not None), default=now)
    revoked = tuple(
        sorted({(f"{r.serial_number:x}", r.revocation_date_utc) for c in crls.crls for r in c})
    )
    completed = Crl(pem, number + bool(added), issued, next_update, revoked)
    return CompletedCrl(completed, tuple(added), tuple(_crl_warnings(completed, added, now)))


def _earliest_next_update(
    signer_crls: Sequence[x509.CertificateRevocationList | None],
    root_crls: Iterable[x509.CertificateRevocationList | None],
    now: datetime,
) -> datetime:
    """The first nextUpdate of the CRLs that count; in 30 days where there is none."""
    next_updates = [
        c.next_update_utc for c in signer_crls if c is not None and c.next_update_utc is not None
    ]
    # That of a root that does not sign now counts too: it will, or late clusters are still signed
    # by it.
    next_updates += [
        c.next_update_utc
        for c in root_crls
        if c is not None and c.next_update_utc is not None and is_crl_valid(c, now)
    ]
    return min(next_updates, default=now + timedelta(days=30))


def _signer_problems(
    signer: CrlSigner, crl: x509.CertificateRevocationList | None, now: datetime
) -> Iterator[Problem]:
    """That a CA has no CRL, or an old one."""
    subject = describe_certificate(signer.certificate).subject
    if crl is None:
        what = (
            f"has no CRL of {subject}: istiod would take neither it nor any other change of cacerts"
        )
        yield Problem(
            Place(CRL_PATH), what, SIGN_AGAIN_FIX, "crl-complete", code="crl-missing-for-ca"
        )
    elif not is_crl_valid(crl, now):
        when = (
            "has no nextUpdate"
            if crl.next_update_utc is None
            else f"expired on {crl.next_update_utc:%Y-%m-%d %H:%M:%S} UTC"
        )
        yield Problem(
            Place(CRL_PATH),
            f"holds a CRL of {subject} that {when}: proxies refuse every certificate below it",
            SIGN_AGAIN_FIX,
            "crl-expired",
            code="crl-expired",
        )


def _crl_warnings(crl: Crl, added: Sequence[str], now: datetime) -> Iterator[Problem]:
    """That CRLs end soon, and that some are new."""
    left = crl.next_update - now
    if left < min(timedelta(days=30), (crl.next_update - crl.issued) / 3):
        what = (
            f"is valid until {crl.next_update:%Y-%m-%d}, for {left.days} days; after that proxies"
            " refuse"
            " every connection"
        )
        yield Problem(
            Place(CRL_PATH), what, SIGN_AGAIN_FIX, "crl-expiring", code="crl-expires-soon"
        )
    if added:
        what = (
            f"has a CRL of {'; '.join(added)} now, without which a proxy takes no certificate"
            " below it"
        )
        fix = (
            "apply stage 1 of the other clusters first, and wait until their proxies have it"
            " (minutes); its own may refuse it for as long"
        )
        yield Problem(Place(CRL_PATH), what, fix, "crl-complete", code="crl-added")


def _revoked_in_use_problems(
    crls: CrlIndex, states: Mapping[str, StoredIntermediate], root: StoredRoot
) -> list[Problem]:
    """What is revoked and signs all the same: a cluster that was lost came back as it was."""
    problems = []
    for name, state in sorted(states.items()):
        issuer = (
            direct_issuer(state.certificate, root.certificates)
            if state.certificate is not None
            else None
        )
        crl = crls.find_newest(issuer) if issuer is not None else None
        if (
            crl is None
            or state.certificate is None
            or crl.get_revoked_certificate_by_serial_number(state.certificate.serial_number) is None
        ):
            continue
        what = (
            f"is revoked (serial {state.certificate.serial_number:x}), and proxies refuse every"
            " workload that it signs for"
        )
        fix = (
            f"move {work_path(f'certs/{intermediate_folder(name)}')} away and render, which makes"
            " another; or,"
            f" where nothing was lost, take all back with `{mesh_command('certs crl --clear')}`"
        )
        problems.append(
            Problem(
                Place(f"certs/{intermediate_folder(name)}/ca-cert.pem"),
                what,
                fix,
                "crl-revoked",
                code="intermediate-revoked",
            )
        )
    return problems
