"""All of `certs/` becomes a bundle of CRLs: of the CAs of today, of the other roots that are
trusted, and of what late clusters may still sign with.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.pki.crl import NAME, Listed, Signer, alive, load, sign, signed_by, signers, unable
from kubectl_mesh.pki.kept import Root, State
from kubectl_mesh.x509.certificates import Key, describe, load_certificates, load_key, same_key
from kubectl_mesh.x509.chain import direct_issuer
from kubectl_mesh.x509.layout import ARCHIVE, NEXT_KEY, folder

_LARGEST = 2**20 - 2**14


def revoke(
    kept: Mapping[str, bytes],
    archive: Mapping[str, bytes],
    states: Mapping[str, State],
    root: Root,
    old: Listed,
    gone: Sequence[x509.Certificate],
    now: datetime,
    until: datetime,
    *,
    clear: bool = False,
) -> tuple[bytes, list[Problem]]:
    """All CRLs anew, with `gone` revoked too, and warnings; `archive` holds the files of
    `certs/archive/`, by their paths below `certs/`.

    A proxy that goes by CRLs takes no chain of a CA that it has none of. So whatever a cluster that
    lags may still sign with has one as well: what is in the archive and valid when the first bundle
    is made; later the keys stay, and no other CA comes up. Raises a `MeshError` with all that
    cannot be signed.
    """
    used = signers(states, root)
    idle = frozenset(root.certificates) - {s.certificate for s in used}
    wanted = _with_roots(used, kept, archive, root, old, gone, now)
    taken = {_mark(s.certificate) for s in wanted}
    spare: dict[tuple[bytes, bytes], Signer] = {}
    for found in _replaced(archive, states, root, now):
        mark = _mark(found.certificate)
        known = not old.crls or old.of(found.certificate) is not None
        if (
            mark not in taken
            and known
            and not unable(found.certificate)
            and (mark not in spare or spare[mark].key is None)
        ):
            spare[mark] = found
    pem = bundle(
        wanted,
        old,
        gone,
        now,
        until,
        clear=clear,
        idle=idle,
        spare=[s for s in spare.values() if s.key is not None],
    )
    listed = Listed(load(NAME, pem)) if spare else old
    lacking = [
        s for s in spare.values() if s.certificate not in gone and listed.of(s.certificate) is None
    ]
    return pem, [_late(s) for s in lacking]


def former(
    name: str, archive: Mapping[str, bytes], root: Root, listed: Listed, now: datetime
) -> Iterator[x509.Certificate]:
    """What a cluster signed with before and still could: whoever has the cluster may have those
    keys, or the same key, which a renewal kept.
    """
    for path in sorted(archive):
        base, _, last = path.rpartition("/")
        if last != "ca-cert.pem" or not base.startswith(f"{ARCHIVE}/{folder(name)}-"):
            continue
        try:
            certificate = load_certificates(f"certs/{path}", archive[path])[0]
        except MeshError:
            continue
        # A cluster may have a name that begins with another's.
        if not base.removeprefix(f"{ARCHIVE}/{folder(name)}-").startswith(
            certificate.fingerprint(hashes.SHA256()).hex()[:8]
        ):
            continue
        issuer = direct_issuer(certificate, root.certificates)
        if issuer is None or issuer == certificate or certificate.not_valid_after_utc <= now:
            continue
        before = listed.of(issuer)
        if (
            before is None
            or before.get_revoked_certificate_by_serial_number(certificate.serial_number) is None
        ):
            yield certificate


def entry(certificate: x509.Certificate, now: datetime) -> x509.RevokedCertificate:
    """That a certificate is revoked from now on."""
    return (
        x509.RevokedCertificateBuilder()
        .serial_number(certificate.serial_number)
        .revocation_date(now)
        .build()
    )


def bundle(
    wanted: Sequence[Signer],
    old: Listed,
    revoked: Sequence[x509.Certificate],
    now: datetime,
    until: datetime,
    *,
    clear: bool = False,
    idle: Collection[x509.Certificate] = (),
    spare: Sequence[Signer] = (),
) -> bytes:
    """All CRLs signed anew, with the next number; `revoked` are added to what their issuers revoked
    before, `clear` takes all of that away.

    `idle` are roots that sign nothing: without its key, the CRL of one is kept whatever it revokes.
    `spare` are CAs of yesterday whose keys are here; theirs come last, as far as there is room.

    Of a CA whose key is not here, and of one that is in no chain any more, the CRL is kept while it
    is valid: what they signed may still be in use. Raises a `MeshError` with each CA that has none.
    """
    now = now.replace(microsecond=0)
    number = old.number() + 1
    problems, made = [], []
    kept: list[x509.CertificateRevocationList] = []
    for signer in wanted:
        before = old.of(signer.certificate)
        fault = unable(signer.certificate)
        new = [entry(c, now) for c in revoked if direct_issuer(c, [signer.certificate]) is not None]
        if fault:
            problems.append(
                Problem(
                    Place(NAME),
                    f"cannot be made: {describe(signer.certificate).subject} {fault}",
                    "have it renewed with cRLSign",
                    "certs-ca",
                )
            )
        elif signer.key is not None:
            entries = [] if before is None or clear else list(before)
            made.append(sign(signer, [*entries, *new], number, now, until))
        elif (
            before is not None
            and alive(before, now)
            and not new
            and (signer.certificate in idle or not (clear and len(before)))
        ):
            kept.append(before)
        else:
            fix = (
                "put it back for as long as this takes; or have its holder sign a CRL, and give"
                " that with `kubectl mesh certs crl --add FILE`"
            )
            problems.append(
                Problem(
                    Place(signer.place),
                    "is not here, and its CRL is signed with it",
                    fix,
                    "crl-complete",
                )
            )
    if problems:
        raise MeshError(problems)
    # A proxy that goes by the name alone takes the first: those of today's CAs come before those of
    # yesterday's.
    current = [
        c.fingerprint(hashes.SHA256()) for s in wanted if (c := old.of(s.certificate)) is not None
    ]
    named: dict[x509.Name, list[x509.Certificate]] = {}
    for certificate in (s.certificate for s in (*wanted, *spare)):
        named.setdefault(certificate.subject, []).append(certificate)
    kept += [
        c
        for c in old.crls
        if alive(c, now) and c.fingerprint(hashes.SHA256()) not in current and not _by(c, named)
    ]
    pem = b"".join(made) + b"".join(c.public_bytes(Encoding.PEM) for c in kept)
    if len(pem) > _LARGEST:
        what = (
            f"would have {len(pem)} bytes, and a ConfigMap, by which istiod hands it to the"
            " proxies, has at most 1 MiB"
        )
        raise MeshError(
            [
                Problem(
                    Place(NAME),
                    what,
                    "have smaller keys (certificates.keyType: ec-p256), or fewer clusters in one"
                    " mesh",
                    "crl-complete",
                )
            ]
        )
    for more in (sign(s, (), number, now, until) for s in spare):
        pem += more if len(pem) + len(more) <= _LARGEST else b""
    return pem


def _by(
    crl: x509.CertificateRevocationList, named: Mapping[x509.Name, Sequence[x509.Certificate]]
) -> bool:
    return any(
        signed_by(crl, certificate.public_key()) for certificate in named.get(crl.issuer, ())
    )


def _late(signer: Signer) -> Problem:
    known = describe(signer.certificate)
    what = (
        f"has no CRL of {known.subject} (serial {known.serial}), which was in use before: proxies"
        " refuse what is still signed by it"
    )
    return Problem(
        Place(NAME),
        what,
        "apply it once every cluster signs with the intermediate that is in certs/",
        "crl-complete",
    )


def _mark(certificate: x509.Certificate) -> tuple[bytes, bytes]:
    """Name and key: a CA that was renewed with its key has the same CRL."""
    return certificate.subject.public_bytes(), certificate.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )


def _with_roots(
    wanted: Sequence[Signer],
    kept: Mapping[str, bytes],
    archive: Mapping[str, bytes],
    root: Root,
    old: Listed,
    gone: Sequence[x509.Certificate],
    now: datetime,
) -> list[Signer]:
    """The signers, and the roots that are trusted and do not sign now: one to come, whose key
    waits, and one that signed, whose key is in the archive.
    """
    keys = [*_keys({f"certs/{NEXT_KEY}": kept[NEXT_KEY]} if NEXT_KEY in kept else {})]
    keys += _keys(
        {
            f"certs/{path}": body
            for path, body in sorted(archive.items())
            if path.endswith("/root-key.pem")
        }
    )

    def with_key(signer: Signer) -> Signer:
        place, key = next(
            ((p, k) for p, k in keys if same_key(signer.certificate, k)), (signer.place, None)
        )
        return (
            signer
            if signer.key is not None or key is None
            else Signer(signer.certificate, key, place)
        )

    there = {s.certificate for s in wanted}
    more = [
        with_key(Signer(c, None, f"the key of {describe(c).subject}"))
        for c in root.certificates
        if c not in there
    ]
    issued = {direct_issuer(c, root.certificates) for c in gone}

    def counts(signer: Signer) -> bool:
        crl = old.of(signer.certificate)
        told = crl is not None and alive(crl, now)
        return not unable(signer.certificate) and (
            signer.key is not None or told or signer.certificate in issued
        )

    return [
        *(with_key(s) if s.certificate in root.certificates else s for s in wanted),
        *filter(counts, more),
    ]


def _keys(files: Mapping[str, bytes]) -> Iterator[tuple[str, Key]]:
    for place, body in files.items():
        try:
            yield place, load_key(place, body, for_istio=False)
        except MeshError:
            continue  # What lies in the archive is nobody's concern until it is put back.


def _replaced(
    archive: Mapping[str, bytes], states: Mapping[str, State], root: Root, now: datetime
) -> Iterator[Signer]:
    """The intermediates of today's clusters that were replaced and are valid, each with its key
    where that is there.
    """
    for path in sorted(archive):
        base, _, last = path.rpartition("/")
        if last != "ca-cert.pem" or not any(
            base.startswith(f"{ARCHIVE}/{folder(name)}-") for name in states
        ):
            continue
        try:
            certificate = load_certificates(f"certs/{path}", archive[path])[0]
        except MeshError:
            continue
        if (
            certificate.not_valid_after_utc <= now
            or direct_issuer(certificate, root.certificates) is None
        ):
            continue
        place = f"{base}/ca-key.pem"
        own = [
            key
            for _, key in _keys({place: archive[place]} if place in archive else {})
            if same_key(certificate, key)
        ]
        yield Signer(certificate, own[0] if own else None, f"certs/{place}")
