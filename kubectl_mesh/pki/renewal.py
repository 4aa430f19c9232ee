"""A new intermediate in the place of one in use: under the same root, with a key of its own unless
told otherwise.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from cryptography.hazmat.primitives import hashes, serialization

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import CertsChange
from kubectl_mesh.pki.certificate_builder import Issuer, build_intermediate, dump_key, generate_keys
from kubectl_mesh.pki.profile import CertificateProfile, NamedFile, Progress, ignore_progress
from kubectl_mesh.pki.rotation import untrusted_signer_problems
from kubectl_mesh.pki.signing_requests import (
    AwaitedIntermediate,
    accept_intermediate,
    build_request,
    find_intermediate,
    requested_organization,
)
from kubectl_mesh.pki.stored_pki import load_root
from kubectl_mesh.text import mesh_command
from kubectl_mesh.workdir.certs_folder import CertsFolder
from kubectl_mesh.x509.certificates import Key, is_for_key, load_certificates, load_key
from kubectl_mesh.x509.chain import chain_problems
from kubectl_mesh.x509.layout import (
    ARCHIVE_FOLDER,
    CSR_FILE,
    NEXT_ROOT_KEY,
    ROOT_CERT,
    ROOT_KEY,
    intermediate_folder,
    next_intermediate_folder,
)
from kubectl_mesh.x509.parse import PemError, parse_certificate


def plan_renewal(
    profile: CertificateProfile,
    certs: CertsFolder,
    now: datetime,
    progress: Progress = ignore_progress,
    *,
    keep_key: bool = False,
) -> CertsChange:
    """New intermediates for the clusters of `profile`, signed by the root whose key is in `certs/`;
    the old folders go to the archive.

    Raises a `MeshError` that names everything that is missing or does not fit.
    """
    now, files = now.replace(microsecond=0), certs.files
    root = load_root(files, now, ())
    if not root.certificates or root.key is None:
        missing = ROOT_KEY if root.certificates else ROOT_CERT
        fix = "put it back; where somebody else holds the root, write `certificates: {issuer: csr}`"
        if root.certificates and NEXT_ROOT_KEY in files:
            fix = (
                "the root that is to sign next has its key here: go on with"
                f" `{mesh_command('certs rotate-root advance')}` first; or put this key back"
            )
        raise MeshError(
            [
                Problem(
                    Place(f"certs/{missing}"),
                    "is not here, and no intermediate can be signed without it",
                    fix,
                    "certs-complete",
                    code="root-key-missing" if root.certificates else "root-certificate-missing",
                )
            ]
        )
    issuer = Issuer(next(c for c in root.certificates if is_for_key(c, root.key)), root.key)
    if problems := untrusted_signer_problems(files, sorted(profile.namespaces), issuer.certificate):
        raise MeshError(problems)
    return sign_intermediates(profile, certs, issuer, now, progress, keep_key=keep_key)


def sign_intermediates(
    profile: CertificateProfile,
    certs: CertsFolder,
    issuer: Issuer,
    now: datetime,
    progress: Progress = ignore_progress,
    *,
    keep_key: bool = False,
) -> CertsChange:
    """New intermediates for the clusters of `profile`, signed by one of the roots in `certs/`; the
    old folders go to the archive.
    """
    names, files = sorted(profile.namespaces), certs.files
    bundle = files[ROOT_CERT]
    keys = (
        _load_current_keys(names, files)
        if keep_key
        else generate_keys(profile.key_type, names, root=False, progress=progress)
    )
    write: dict[str, bytes] = {}
    roots = load_certificates(f"certs/{ROOT_CERT}", bundle)
    for name in names:
        base = intermediate_folder(name)
        certificate = build_intermediate(
            profile, name, keys[name], issuer, now, find_intermediate(files, name)
        )
        faults = list(chain_problems(f"certs/{base}/ca-cert.pem", certificate, (), roots, now))
        if faults:
            raise MeshError(faults)
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        write[f"{base}/ca-key.pem"] = (
            files[f"{base}/ca-key.pem"] if keep_key else dump_key(keys[name])
        )
        write[f"{base}/ca-cert.pem"] = pem
        write[f"{base}/cert-chain.pem"] = pem + issuer.certificate.public_bytes(
            serialization.Encoding.PEM
        )
        write[f"{base}/root-cert.pem"] = bundle
    return CertsChange(
        write,
        plan_archive_moves(
            [intermediate_folder(name) for name in names], files, certs.archive_names
        ),
    )


def plan_archive_moves(
    folders: Sequence[str], files: Mapping[str, bytes], archive: Collection[str]
) -> dict[str, str]:
    """Where the folders of intermediates go: each has the beginning of its certificate's
    fingerprint in its name, and takes nobody's place.
    """
    used_names = set(archive)
    moves = {}
    for base in folders:
        name = find_free_name(
            f"{base}-{short_fingerprint(files.get(f'{base}/ca-cert.pem', b''))}", used_names
        )
        used_names.add(name)
        moves[base] = f"{ARCHIVE_FOLDER}/{name}"
    return moves


def find_free_name(name: str, used_names: Collection[str]) -> str:
    """A name that nothing in the archive has yet."""
    number, candidate = 1, name
    while candidate in used_names:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def short_fingerprint(pem: bytes) -> str:
    """The first eight digits of a certificate's SHA-256; of the text where it is none."""
    try:
        return parse_certificate(pem).fingerprint(hashes.SHA256()).hex()[:8]
    except PemError:
        return hashlib.sha256(pem).hexdigest()[:8]


def _load_current_keys(names: Sequence[str], files: Mapping[str, bytes]) -> dict[str, Key]:
    keys: dict[str, Key] = {}
    problems: list[Problem] = []
    for name in names:
        path = f"{intermediate_folder(name)}/ca-key.pem"
        if path not in files:
            problems.append(
                Problem(
                    Place(f"certs/{path}"),
                    "is not here, and cannot be kept",
                    "put it back, or leave --keep-key out",
                    "certs-complete",
                    code="intermediate-key-missing",
                )
            )
            continue
        try:
            keys[name] = load_key(f"certs/{path}", files[path])
        except MeshError as error:
            problems += error.problems
    if problems:
        raise MeshError(problems)
    return keys


def request_renewals(
    profile: CertificateProfile,
    files: Mapping[str, bytes],
    progress: Progress = ignore_progress,
    *,
    keep_key: bool = False,
) -> dict[str, bytes]:
    """Requests for new intermediates beside those in use, for whoever holds the root: path below
    `certs/` -> bytes. One that is there is kept.
    """
    names = [
        name
        for name in sorted(profile.namespaces)
        if f"{next_intermediate_folder(name)}/{CSR_FILE}" not in files
    ]
    write: dict[str, bytes] = {}
    keys: dict[str, Key] = {}
    if keep_key:
        keys = _load_current_keys(names, files)
        write |= {
            _next_key_path(name): files[f"{intermediate_folder(name)}/ca-key.pem"] for name in names
        }
    else:
        # A killed run may have left a key without its request.
        unfinished = [name for name in names if _next_key_path(name) in files]
        keys = {
            name: load_key(f"certs/{_next_key_path(name)}", files[_next_key_path(name)])
            for name in unfinished
        }
        new_keys = generate_keys(
            profile.key_type,
            [name for name in names if name not in keys],
            root=False,
            progress=progress,
        )
        write |= {_next_key_path(name): dump_key(key) for name, key in new_keys.items()}
        keys |= new_keys
    for name in names:
        write[f"{next_intermediate_folder(name)}/{CSR_FILE}"] = build_request(
            requested_organization(profile, files, name), name, profile.namespaces[name], keys[name]
        )
    return write


def _next_key_path(name: str) -> str:
    return f"{next_intermediate_folder(name)}/ca-key.pem"


def find_expiring_clusters(
    names: Sequence[str], files: Mapping[str, bytes], now: datetime, within: timedelta
) -> list[str]:
    """The clusters whose intermediates end within a time, or have ended."""
    clusters = []
    for name in names:
        path = f"{intermediate_folder(name)}/ca-cert.pem"
        if (
            path in files
            and load_certificates(f"certs/{path}", files[path])[0].not_valid_after_utc - now
            <= within
        ):
            clusters.append(name)
    return clusters


def accept_renewal(
    name: str, clusters: Sequence[str], signed_file: NamedFile, certs: CertsFolder, now: datetime
) -> CertsChange:
    """What came back for a cluster whose intermediate is in use, judged against the key that waits
    for it; the two folders change places in one.
    """
    base, next_folder, files = (
        intermediate_folder(name),
        next_intermediate_folder(name),
        certs.files,
    )
    waiting = {path: body for path, body in files.items() if not path.startswith(f"{base}/")}
    waiting |= {
        f"{base}/{path.partition('/')[2]}": body
        for path, body in files.items()
        if path.startswith(f"{next_folder}/")
    }
    write = accept_intermediate(
        AwaitedIntermediate(name, clusters, next_folder), signed_file, None, waiting, now
    )
    return CertsChange(
        write, {**plan_archive_moves([base], files, certs.archive_names), next_folder: base}
    )
