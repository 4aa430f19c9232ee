"""All of `certs/` becomes a bundle of CRLs: of the CAs of today, of the other roots that are
trusted, and of what late clusters may still sign with.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kubectl_mesh.errors import MeshError, Place, Problem, refuse
from kubectl_mesh.model import Crl
from kubectl_mesh.pki.ahead import idle, lacking
from kubectl_mesh.pki.crl import (
    NAME,
    Listed,
    Signer,
    alive,
    complete,
    load,
    sign,
    signed_by,
    signers,
    unable,
)
from kubectl_mesh.pki.kept import Root, State, kept_intermediate, kept_root
from kubectl_mesh.pki.rotation import read, write
from kubectl_mesh.pki.wanted import NamedFile
from kubectl_mesh.text import mesh_command, work_path
from kubectl_mesh.workdir.certs_folder import CertsFolder
from kubectl_mesh.x509.certificates import (
    Key,
    describe_certificate,
    is_for_key,
    load_certificates,
    load_key,
)
from kubectl_mesh.x509.chain import direct_issuer
from kubectl_mesh.x509.layout import (
    ARCHIVE_FOLDER,
    CRL_FILE,
    NEXT_ROOT_KEY,
    ROTATION_FILE,
    intermediate_folder,
)

_LARGEST = 2**20 - 2**14


@dataclass(frozen=True, slots=True)
class Authorities:
    """The CAs of a mesh, and the CRLs that they have."""

    certs: CertsFolder
    """With `archived_files`."""
    states: Mapping[str, State]
    root: Root
    listed: Listed


@dataclass(frozen=True, slots=True)
class Revocation:
    """What CRLs are to say that are signed now."""

    gone: Sequence[x509.Certificate]
    """The certificates that are revoked from now on."""
    now: datetime
    until: datetime
    clear: bool = False
    """Take away what was revoked before."""


@dataclass(frozen=True, slots=True)
class CrlOrder:
    """What somebody asked the CRLs to say."""

    clusters: Sequence[str]
    """Clusters that have left: what they signed with before is revoked too."""
    certificates: Sequence[NamedFile]
    """The certificates that are revoked from now on."""
    crls: Sequence[NamedFile]
    """CRLs of CAs whose keys are not here."""
    until: datetime
    clear: bool
    """Take away what was revoked before."""
    problems: tuple[Problem, ...] = ()
    """What is wrong with files of certificates."""


@dataclass(frozen=True, slots=True)
class SignedCrls:
    """The CRLs of a mesh."""

    crl: Crl
    files: Mapping[str, bytes]
    """To be written, by path below `certs/`."""
    warnings: tuple[Problem, ...]


def sign_bundle(
    certs: CertsFolder, own: Sequence[str], order: CrlOrder, now: datetime
) -> SignedCrls:
    """The bundle of CRLs of a mesh, and the step of a rotation that waits for it; `own` are the
    clusters whose intermediates are here, `certs` has files of the archive.
    """
    root = kept_root(certs.files, now, certs.intermediate_folders)
    states = {name: kept_intermediate(name, certs.files, root, now, keyless=True) for name in own}
    there = load(NAME, certs.files[CRL_FILE]) if CRL_FILE in certs.files else ()
    used = signers(states, root)
    known = (*(s.certificate for s in used), *idle(root.certificates, used))
    before = Listed((*there, *_added(order.crls, known)))
    current = {s.certificate: name for name, s in states.items() if s.certificate is not None}
    gone = _revocable(order, current, root, before)
    gone += [
        c
        for name in order.clusters
        for c in former(name, certs.archived_files, root, before, now)
        if c not in current
    ]
    body, late = revoke(
        Authorities(certs, states, root, before),
        Revocation(list(dict.fromkeys(gone)), now, order.until, order.clear),
    )
    completed = complete(body, states, root, now)
    return SignedCrls(
        completed.crl,
        {**_repeated_step(certs.files, body, now), CRL_FILE: body},
        (*completed.warnings, *late),
    )


def _added(
    files: Sequence[NamedFile], authorities: Sequence[x509.Certificate]
) -> list[x509.CertificateRevocationList]:
    """CRLs that somebody else signed; refused where one is of no CA of the mesh."""
    found: list[x509.CertificateRevocationList] = []
    for file in files:
        given = load(file.name, file.body)
        known = Listed(given)
        if len([c for c in authorities if known.of(c) is not None]) < len(given):
            raise refuse(
                file.name,
                "is of no CA of this mesh, or not signed by it",
                "leave it out, or find out whose it is",
                code="crl-of-another-mesh",
            )
        found += given
    return found


def _revocable(
    order: CrlOrder, current: Mapping[x509.Certificate, str], root: Root, listed: Listed
) -> list[x509.Certificate]:
    """The certificates that are to be revoked; refused with all that keeps one from it."""
    found: list[x509.Certificate] = []
    problems = list(order.problems)
    for file in order.certificates:
        try:
            certificate = load_certificates(file.name, file.body)[0]
            check_revocable(file.name, certificate, current, root, listed)
            found.append(certificate)
        except MeshError as error:
            problems += error.problems
    if problems:
        raise MeshError(problems)
    return found


def check_revocable(
    path: str,
    certificate: x509.Certificate,
    current: Mapping[x509.Certificate, str],
    root: Root,
    listed: Listed,
) -> None:
    """Refuses what is in use, is revoked already, or is none of this root's."""
    if certificate in current:
        name = current[certificate]
        fix = (
            f"remove the cluster first (`{mesh_command('remove')}`), or have another intermediate"
            f" made: move {work_path(f'certs/{intermediate_folder(name)}')} away and render"
        )
        raise refuse(
            path,
            f'is what "{name}" signs with: every workload there would be refused',
            fix,
            code="intermediate-in-use",
        )
    issuer = direct_issuer(certificate, root.certificates)
    if issuer is None:
        raise refuse(
            path,
            "is not signed by the root of this mesh, so its CRL cannot list it",
            "name an intermediate of this mesh",
            code="certificate-not-signed-by-root",
        )
    before = listed.of(issuer)
    serial = certificate.serial_number
    if before is not None and before.get_revoked_certificate_by_serial_number(serial) is not None:
        raise refuse(
            path,
            f"is revoked already (serial {serial:x})",
            f"leave it out; `{mesh_command('certs crl')}` signs anew what is there",
            code="certificate-revoked-already",
        )


def _repeated_step(held: Mapping[str, bytes], body: bytes, now: datetime) -> dict[str, bytes]:
    """The step of a rotation, made now, where it is complete only with the CRL that has come."""
    on = read(held)
    if (
        on is None
        or on.step != "trust-both"
        or not lacking(held, {on.new}, now)
        or lacking({**held, CRL_FILE: body}, {on.new}, now)
    ):
        return {}
    return {ROTATION_FILE: write(replace(on, since=now))}


def revoke(authorities: Authorities, order: Revocation) -> tuple[bytes, list[Problem]]:
    """All CRLs signed again, and warnings.

    A proxy that goes by CRLs takes no chain of a CA that it has none of. So whatever a cluster that
    lags may still sign with has one as well: what is in the archive and valid when the first bundle
    is made; later the keys stay, and no other CA comes up. Raises a `MeshError` with all that
    cannot be signed.
    """
    root, old = authorities.root, authorities.listed
    used = signers(authorities.states, root)
    unused = frozenset(root.certificates) - {s.certificate for s in used}
    wanted = _with_roots(used, authorities, order)
    spare = _spare_signers(wanted, authorities, order.now)
    pem = bundle(wanted, old, order, idle=unused, spare=[s for s in spare if s.key is not None])
    listed = Listed(load(NAME, pem)) if spare else old
    lacking = [
        s for s in spare if s.certificate not in order.gone and listed.of(s.certificate) is None
    ]
    return pem, [_late(s) for s in lacking]


def _spare_signers(
    wanted: Sequence[Signer], authorities: Authorities, now: datetime
) -> list[Signer]:
    """The CAs of yesterday that late clusters may still sign with, each name and key once, one with
    its key before one without.
    """
    old, taken = authorities.listed, {_mark(s.certificate) for s in wanted}
    spare: dict[tuple[bytes, bytes], Signer] = {}
    for found in _replaced(authorities, now):
        mark = _mark(found.certificate)
        known = not old.crls or old.of(found.certificate) is not None
        if (
            mark not in taken
            and known
            and not unable(found.certificate)
            and (mark not in spare or spare[mark].key is None)
        ):
            spare[mark] = found
    return list(spare.values())


def former(
    name: str, archive: Mapping[str, bytes], root: Root, listed: Listed, now: datetime
) -> Iterator[x509.Certificate]:
    """What a cluster signed with before and still could: whoever has the cluster may have those
    keys, or the same key, which a renewal kept.
    """
    for path in sorted(archive):
        base, _, last = path.rpartition("/")
        if last != "ca-cert.pem" or not base.startswith(
            f"{ARCHIVE_FOLDER}/{intermediate_folder(name)}-"
        ):
            continue
        try:
            certificate = load_certificates(f"certs/{path}", archive[path])[0]
        except MeshError:
            continue
        # A cluster may have a name that begins with another's.
        if not base.removeprefix(f"{ARCHIVE_FOLDER}/{intermediate_folder(name)}-").startswith(
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
    order: Revocation,
    *,
    idle: Collection[x509.Certificate] = (),
    spare: Sequence[Signer] = (),
) -> bytes:
    """All CRLs signed again, with the next number.

    `idle` are roots that sign nothing: without its key, the CRL of one is kept whatever it revokes.
    `spare` are CAs of yesterday whose keys are here; theirs come last, as far as there is room.

    Of a CA whose key is not here, and of one that is in no chain any more, the CRL is kept while it
    is valid: what they signed may still be in use. Raises a `MeshError` with each CA that has none.
    """
    order = replace(order, now=order.now.replace(microsecond=0))
    problems: list[Problem] = []
    made: list[bytes] = []
    kept: list[x509.CertificateRevocationList] = []
    for signer in wanted:
        before = old.of(signer.certificate)
        new = [
            entry(c, order.now)
            for c in order.gone
            if direct_issuer(c, [signer.certificate]) is not None
        ]
        if fault := unable(signer.certificate):
            problems.append(_unable_problem(signer, fault))
        elif signer.key is not None:
            entries = [] if before is None or order.clear else list(before)
            made.append(sign(signer, [*entries, *new], old.number() + 1, order.now, order.until))
        elif (
            before is not None
            and alive(before, order.now)
            and not new
            and (signer.certificate in idle or not (order.clear and len(before)))
        ):
            kept.append(before)
        else:
            problems.append(_keyless_problem(signer))
    if problems:
        raise MeshError(problems)
    kept += _unused(old, wanted, spare, order.now)
    pem = b"".join(made) + b"".join(c.public_bytes(Encoding.PEM) for c in kept)
    if len(pem) > _LARGEST:
        raise MeshError([_size_problem(len(pem))])
    for more in (sign(s, (), old.number() + 1, order.now, order.until) for s in spare):
        pem += more if len(pem) + len(more) <= _LARGEST else b""
    return pem


def _unused(
    old: Listed, wanted: Sequence[Signer], spare: Sequence[Signer], now: datetime
) -> list[x509.CertificateRevocationList]:
    """The valid CRLs of CAs that are in no chain any more."""
    # A proxy that goes by the name alone takes the first: those of today's CAs come before those of
    # yesterday's.
    current = [
        c.fingerprint(hashes.SHA256()) for s in wanted if (c := old.of(s.certificate)) is not None
    ]
    named: dict[x509.Name, list[x509.Certificate]] = {}
    for certificate in (s.certificate for s in (*wanted, *spare)):
        named.setdefault(certificate.subject, []).append(certificate)
    return [
        c
        for c in old.crls
        if alive(c, now) and c.fingerprint(hashes.SHA256()) not in current and not _by(c, named)
    ]


def _unable_problem(signer: Signer, fault: str) -> Problem:
    return Problem(
        Place(NAME),
        f"cannot be made: {describe_certificate(signer.certificate).subject} {fault}",
        "have it renewed with cRLSign",
        "certs-ca",
        code="certificate-without-crl-sign",
    )


def _keyless_problem(signer: Signer) -> Problem:
    fix = (
        "put it back for as long as this takes; or have its holder sign a CRL, and give"
        f" that with `{mesh_command('certs crl --add FILE')}`"
    )
    return Problem(
        Place(signer.place),
        "is not here, and its CRL is signed with it",
        fix,
        "crl-complete",
        code="crl-key-missing",
    )


def _size_problem(length: int) -> Problem:
    what = (
        f"would have {length} bytes, and a ConfigMap, by which istiod hands it to the"
        " proxies, has at most 1 MiB"
    )
    return Problem(
        Place(NAME),
        what,
        "have smaller keys (certificates.keyType: ec-p256), or fewer clusters in one mesh",
        "crl-complete",
        code="crl-too-large",
    )


def _by(
    crl: x509.CertificateRevocationList, named: Mapping[x509.Name, Sequence[x509.Certificate]]
) -> bool:
    return any(
        signed_by(crl, certificate.public_key()) for certificate in named.get(crl.issuer, ())
    )


def _late(signer: Signer) -> Problem:
    known = describe_certificate(signer.certificate)
    what = (
        f"has no CRL of {known.subject} (serial {known.serial}), which was in use before: proxies"
        " refuse what is still signed by it"
    )
    return Problem(
        Place(NAME),
        what,
        f"apply it once every cluster signs with the intermediate that is in {work_path('certs/')}",
        "crl-complete",
        code="crl-missing-for-replaced-ca",
    )


def _mark(certificate: x509.Certificate) -> tuple[bytes, bytes]:
    """Name and key: a CA that was renewed with its key has the same CRL."""
    return certificate.subject.public_bytes(), certificate.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )


def _with_roots(
    wanted: Sequence[Signer], authorities: Authorities, order: Revocation
) -> list[Signer]:
    """The signers, and the roots that are trusted and do not sign now: one to come, whose key
    waits, and one that signed, whose key is in the archive.
    """
    kept, archive = authorities.certs.files, authorities.certs.archived_files
    root, old = authorities.root, authorities.listed
    keys = [
        *_keys({f"certs/{NEXT_ROOT_KEY}": kept[NEXT_ROOT_KEY]} if NEXT_ROOT_KEY in kept else {})
    ]
    keys += _keys(
        {
            f"certs/{path}": body
            for path, body in sorted(archive.items())
            if path.endswith("/root-key.pem")
        }
    )

    def with_key(signer: Signer) -> Signer:
        place, key = next(
            ((p, k) for p, k in keys if is_for_key(signer.certificate, k)), (signer.place, None)
        )
        return (
            signer
            if signer.key is not None or key is None
            else Signer(signer.certificate, key, place)
        )

    there = {s.certificate for s in wanted}
    more = [
        with_key(Signer(c, None, f"the key of {describe_certificate(c).subject}"))
        for c in root.certificates
        if c not in there
    ]
    issued = {direct_issuer(c, root.certificates) for c in order.gone}

    def counts(signer: Signer) -> bool:
        crl = old.of(signer.certificate)
        told = crl is not None and alive(crl, order.now)
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


def _replaced(authorities: Authorities, now: datetime) -> Iterator[Signer]:
    """The intermediates of today's clusters that were replaced and are valid, each with its key
    where that is there.
    """
    archive, states, root = (
        authorities.certs.archived_files,
        authorities.states,
        authorities.root,
    )
    for path in sorted(archive):
        base, _, last = path.rpartition("/")
        if last != "ca-cert.pem" or not any(
            base.startswith(f"{ARCHIVE_FOLDER}/{intermediate_folder(name)}-") for name in states
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
            if is_for_key(certificate, key)
        ]
        yield Signer(certificate, own[0] if own else None, f"certs/{place}")
