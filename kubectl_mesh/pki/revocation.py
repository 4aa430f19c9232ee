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
from kubectl_mesh.pki.crl import (
    CRL_PATH,
    CrlIndex,
    CrlSigner,
    complete_crls,
    find_crl_signers,
    is_crl_valid,
    is_signed_by,
    load_crls,
    missing_crl_sign_text,
    sign_crl,
)
from kubectl_mesh.pki.next_root_crl import find_idle_roots, missing_crl_problems
from kubectl_mesh.pki.profile import NamedFile
from kubectl_mesh.pki.rotation import dump_rotation, read_rotation
from kubectl_mesh.pki.stored_pki import StoredIntermediate, StoredRoot, load_intermediate, load_root
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

_MAX_BYTES = 2**20 - 2**14


@dataclass(frozen=True, slots=True)
class Authorities:
    """The CAs of a mesh, and the CRLs that they have."""

    certs: CertsFolder
    """With `archived_files`."""
    states: Mapping[str, StoredIntermediate]
    root: StoredRoot
    crls: CrlIndex


@dataclass(frozen=True, slots=True)
class Revocation:
    """What CRLs are to say that are signed now."""

    revoked: Sequence[x509.Certificate]
    """The certificates that are revoked from now on."""
    now: datetime
    next_update: datetime
    clear: bool = False
    """Take away what was revoked before."""


@dataclass(frozen=True, slots=True)
class CrlRequest:
    """What somebody asked the CRLs to say."""

    clusters: Sequence[str]
    """Clusters that have left: what they signed with before is revoked too."""
    certificates: Sequence[NamedFile]
    """The certificates that are revoked from now on."""
    crls: Sequence[NamedFile]
    """CRLs of CAs whose keys are not here."""
    next_update: datetime
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


def sign_crl_bundle(
    certs: CertsFolder, clusters: Sequence[str], request: CrlRequest, now: datetime
) -> SignedCrls:
    """The bundle of CRLs of a mesh, and the step of a rotation that waits for it; `clusters` are
    the clusters whose intermediates are here, `certs` has files of the archive.
    """
    root = load_root(certs.files, now, certs.intermediate_folders)
    states = {
        name: load_intermediate(name, certs.files, root, now, keyless=True) for name in clusters
    }
    stored = load_crls(CRL_PATH, certs.files[CRL_FILE]) if CRL_FILE in certs.files else ()
    signers = find_crl_signers(states, root)
    authorities = (*(s.certificate for s in signers), *find_idle_roots(root.certificates, signers))
    crls = CrlIndex((*stored, *_load_added_crls(request.crls, authorities)))
    current = {s.certificate: name for name, s in states.items() if s.certificate is not None}
    revoked = _load_revoked(request, current, root, crls)
    revoked += [
        c
        for name in request.clusters
        for c in find_former_intermediates(name, certs.archived_files, root, crls, now)
        if c not in current
    ]
    body, late_warnings = sign_all_crls(
        Authorities(certs, states, root, crls),
        Revocation(list(dict.fromkeys(revoked)), now, request.next_update, request.clear),
    )
    completed = complete_crls(body, states, root, now)
    return SignedCrls(
        completed.crl,
        {**_restart_step(certs.files, body, now), CRL_FILE: body},
        (*completed.warnings, *late_warnings),
    )


def _load_added_crls(
    files: Sequence[NamedFile], authorities: Sequence[x509.Certificate]
) -> list[x509.CertificateRevocationList]:
    """CRLs that somebody else signed; refused where one is of no CA of the mesh."""
    added: list[x509.CertificateRevocationList] = []
    for file in files:
        crls = load_crls(file.name, file.body)
        index = CrlIndex(crls)
        if len([c for c in authorities if index.find_newest(c) is not None]) < len(crls):
            raise refuse(
                file.name,
                "is of no CA of this mesh, or not signed by it",
                "leave it out, or find out whose it is",
                code="crl-of-another-mesh",
            )
        added += crls
    return added


def _load_revoked(
    request: CrlRequest, current: Mapping[x509.Certificate, str], root: StoredRoot, crls: CrlIndex
) -> list[x509.Certificate]:
    """The certificates that are to be revoked; refused with all that keeps one from it."""
    revoked: list[x509.Certificate] = []
    problems = list(request.problems)
    for file in request.certificates:
        try:
            certificate = load_certificates(file.name, file.body)[0]
            check_revocable(file.name, certificate, current, root, crls)
            revoked.append(certificate)
        except MeshError as error:
            problems += error.problems
    if problems:
        raise MeshError(problems)
    return revoked


def check_revocable(
    path: str,
    certificate: x509.Certificate,
    current: Mapping[x509.Certificate, str],
    root: StoredRoot,
    crls: CrlIndex,
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
    root_crl = crls.find_newest(issuer)
    serial = certificate.serial_number
    if (
        root_crl is not None
        and root_crl.get_revoked_certificate_by_serial_number(serial) is not None
    ):
        raise refuse(
            path,
            f"is revoked already (serial {serial:x})",
            f"leave it out; `{mesh_command('certs crl')}` signs anew what is there",
            code="certificate-revoked-already",
        )


def _restart_step(files: Mapping[str, bytes], body: bytes, now: datetime) -> dict[str, bytes]:
    """The step of a rotation, made now, where it is complete only with the CRL that has come."""
    current = read_rotation(files)
    if (
        current is None
        or current.step != "trust-both"
        or not missing_crl_problems(files, {current.new_root}, now)
        or missing_crl_problems({**files, CRL_FILE: body}, {current.new_root}, now)
    ):
        return {}
    return {ROTATION_FILE: dump_rotation(replace(current, since=now))}


def sign_all_crls(authorities: Authorities, revocation: Revocation) -> tuple[bytes, list[Problem]]:
    """All CRLs signed again, and warnings.

    A proxy that goes by CRLs takes no chain of a CA that it has none of. So whatever a cluster that
    lags may still sign with has one as well: what is in the archive and valid when the first bundle
    is made; later the keys stay, and no other CA comes up. Raises a `MeshError` with all that
    cannot be signed.
    """
    root, crls = authorities.root, authorities.crls
    signers = find_crl_signers(authorities.states, root)
    idle_roots = frozenset(root.certificates) - {s.certificate for s in signers}
    all_signers = _add_trusted_roots(signers, authorities, revocation)
    spare = _spare_signers(all_signers, authorities, revocation.now)
    pem = build_bundle(
        all_signers,
        crls,
        revocation,
        idle_roots=idle_roots,
        spare_signers=[s for s in spare if s.key is not None],
    )
    signed = CrlIndex(load_crls(CRL_PATH, pem)) if spare else crls
    unsigned = [
        s
        for s in spare
        if s.certificate not in revocation.revoked and signed.find_newest(s.certificate) is None
    ]
    return pem, [_late_cluster_problem(s) for s in unsigned]


def _spare_signers(
    signers: Sequence[CrlSigner], authorities: Authorities, now: datetime
) -> list[CrlSigner]:
    """The CAs of yesterday that late clusters may still sign with, each name and key once, one with
    its key before one without.
    """
    crls, identities = authorities.crls, {_ca_identity(s.certificate) for s in signers}
    spare: dict[tuple[bytes, bytes], CrlSigner] = {}
    for signer in _find_replaced_signers(authorities, now):
        identity = _ca_identity(signer.certificate)
        known = not crls.crls or crls.find_newest(signer.certificate) is not None
        if (
            identity not in identities
            and known
            and not missing_crl_sign_text(signer.certificate)
            and (identity not in spare or spare[identity].key is None)
        ):
            spare[identity] = signer
    return list(spare.values())


def find_former_intermediates(
    name: str, archive: Mapping[str, bytes], root: StoredRoot, crls: CrlIndex, now: datetime
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
        root_crl = crls.find_newest(issuer)
        if (
            root_crl is None
            or root_crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is None
        ):
            yield certificate


def revocation_entry(certificate: x509.Certificate, now: datetime) -> x509.RevokedCertificate:
    """That a certificate is revoked from now on."""
    return (
        x509.RevokedCertificateBuilder()
        .serial_number(certificate.serial_number)
        .revocation_date(now)
        .build()
    )


def build_bundle(
    signers: Sequence[CrlSigner],
    crls: CrlIndex,
    revocation: Revocation,
    *,
    idle_roots: Collection[x509.Certificate] = (),
    spare_signers: Sequence[CrlSigner] = (),
) -> bytes:
    """All CRLs signed again, with the next number.

    `idle_roots` are roots that sign nothing: without its key, the CRL of one is kept whatever it
    revokes. `spare_signers` are CAs of yesterday whose keys are here; theirs come last, as far as
    there is room.

    Of a CA whose key is not here, and of one that is in no chain any more, the CRL is kept while it
    is valid: what they signed may still be in use. Raises a `MeshError` with each CA that has none.
    """
    revocation = replace(revocation, now=revocation.now.replace(microsecond=0))
    problems: list[Problem] = []
    signed: list[bytes] = []
    kept_crls: list[x509.CertificateRevocationList] = []
    for signer in signers:
        old_crl = crls.find_newest(signer.certificate)
        new = _new_entries(signer, revocation)
        if fault := missing_crl_sign_text(signer.certificate):
            problems.append(_unable_problem(signer, fault))
        elif signer.key is not None:
            entries = [] if old_crl is None or revocation.clear else list(old_crl)
            signed.append(_sign_next_crl(signer, [*entries, *new], crls, revocation))
        elif (
            old_crl is not None
            and is_crl_valid(old_crl, revocation.now)
            and not new
            and (signer.certificate in idle_roots or not (revocation.clear and len(old_crl)))
        ):
            kept_crls.append(old_crl)
        else:
            problems.append(_keyless_problem(signer))
    if problems:
        raise MeshError(problems)
    kept_crls += _find_unused_crls(crls, signers, spare_signers, revocation.now)
    pem = b"".join(signed) + b"".join(c.public_bytes(Encoding.PEM) for c in kept_crls)
    if len(pem) > _MAX_BYTES:
        raise MeshError([_size_problem(len(pem))])
    for spare_crl in (_sign_next_crl(s, (), crls, revocation) for s in spare_signers):
        pem += spare_crl if len(pem) + len(spare_crl) <= _MAX_BYTES else b""
    return pem


def _new_entries(signer: CrlSigner, revocation: Revocation) -> list[x509.RevokedCertificate]:
    """The entries of the certificates of a CA that are revoked now."""
    return [
        revocation_entry(certificate, revocation.now)
        for certificate in revocation.revoked
        if direct_issuer(certificate, [signer.certificate]) is not None
    ]


def _sign_next_crl(
    signer: CrlSigner,
    entries: Sequence[x509.RevokedCertificate],
    crls: CrlIndex,
    revocation: Revocation,
) -> bytes:
    """A CRL with the number after the highest one."""
    number = crls.highest_number() + 1
    return sign_crl(signer, entries, number, revocation.now, revocation.next_update)


def _find_unused_crls(
    crls: CrlIndex, signers: Sequence[CrlSigner], spare_signers: Sequence[CrlSigner], now: datetime
) -> list[x509.CertificateRevocationList]:
    """The valid CRLs of CAs that are in no chain any more."""
    # A proxy that goes by the name alone takes the first: those of today's CAs come before those of
    # yesterday's.
    current = [
        c.fingerprint(hashes.SHA256())
        for s in signers
        if (c := crls.find_newest(s.certificate)) is not None
    ]
    named: dict[x509.Name, list[x509.Certificate]] = {}
    for certificate in (s.certificate for s in (*signers, *spare_signers)):
        named.setdefault(certificate.subject, []).append(certificate)
    return [
        c
        for c in crls.crls
        if is_crl_valid(c, now)
        and c.fingerprint(hashes.SHA256()) not in current
        and not _is_signed_by_any(c, named)
    ]


def _unable_problem(signer: CrlSigner, fault: str) -> Problem:
    return Problem(
        Place(CRL_PATH),
        f"cannot be made: {describe_certificate(signer.certificate).subject} {fault}",
        "have it renewed with cRLSign",
        "certs-ca",
        code="certificate-without-crl-sign",
    )


def _keyless_problem(signer: CrlSigner) -> Problem:
    fix = (
        "put it back for as long as this takes; or have its holder sign a CRL, and give"
        f" that with `{mesh_command('certs crl --add FILE')}`"
    )
    return Problem(
        Place(signer.key_place),
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
        Place(CRL_PATH),
        what,
        "have smaller keys (certificates.keyType: ec-p256), or fewer clusters in one mesh",
        "crl-complete",
        code="crl-too-large",
    )


def _is_signed_by_any(
    crl: x509.CertificateRevocationList, named: Mapping[x509.Name, Sequence[x509.Certificate]]
) -> bool:
    return any(
        is_signed_by(crl, certificate.public_key()) for certificate in named.get(crl.issuer, ())
    )


def _late_cluster_problem(signer: CrlSigner) -> Problem:
    known = describe_certificate(signer.certificate)
    what = (
        f"has no CRL of {known.subject} (serial {known.serial}), which was in use before: proxies"
        " refuse what is still signed by it"
    )
    return Problem(
        Place(CRL_PATH),
        what,
        f"apply it once every cluster signs with the intermediate that is in {work_path('certs/')}",
        "crl-complete",
        code="crl-missing-for-replaced-ca",
    )


def _ca_identity(certificate: x509.Certificate) -> tuple[bytes, bytes]:
    """Name and key: a CA that was renewed with its key has the same CRL."""
    return certificate.subject.public_bytes(), certificate.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )


def _add_trusted_roots(
    signers: Sequence[CrlSigner], authorities: Authorities, revocation: Revocation
) -> list[CrlSigner]:
    """The signers, and the roots that are trusted and do not sign now: one to come, whose key
    waits, and one that signed, whose key is in the archive.
    """
    kept, archive = authorities.certs.files, authorities.certs.archived_files
    root, crls = authorities.root, authorities.crls
    keys = [
        *_load_keys(
            {f"certs/{NEXT_ROOT_KEY}": kept[NEXT_ROOT_KEY]} if NEXT_ROOT_KEY in kept else {}
        )
    ]
    keys += _load_keys(
        {
            f"certs/{path}": body
            for path, body in sorted(archive.items())
            if path.endswith("/root-key.pem")
        }
    )

    def with_key(signer: CrlSigner) -> CrlSigner:
        place, key = next(
            ((p, k) for p, k in keys if is_for_key(signer.certificate, k)), (signer.key_place, None)
        )
        return (
            signer
            if signer.key is not None or key is None
            else CrlSigner(signer.certificate, key, place)
        )

    signing = {s.certificate for s in signers}
    more = [
        with_key(CrlSigner(c, None, f"the key of {describe_certificate(c).subject}"))
        for c in root.certificates
        if c not in signing
    ]
    issued = {direct_issuer(c, root.certificates) for c in revocation.revoked}

    def counts(signer: CrlSigner) -> bool:
        crl = crls.find_newest(signer.certificate)
        is_listed = crl is not None and is_crl_valid(crl, revocation.now)
        return not missing_crl_sign_text(signer.certificate) and (
            signer.key is not None or is_listed or signer.certificate in issued
        )

    return [
        *(with_key(s) if s.certificate in root.certificates else s for s in signers),
        *filter(counts, more),
    ]


def _load_keys(files: Mapping[str, bytes]) -> Iterator[tuple[str, Key]]:
    for place, body in files.items():
        try:
            yield place, load_key(place, body, for_istio=False)
        except MeshError:
            continue  # What lies in the archive is nobody's concern until it is put back.


def _find_replaced_signers(authorities: Authorities, now: datetime) -> Iterator[CrlSigner]:
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
            for _, key in _load_keys({place: archive[place]} if place in archive else {})
            if is_for_key(certificate, key)
        ]
        yield CrlSigner(certificate, own[0] if own else None, f"certs/{place}")
