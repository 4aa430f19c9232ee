"""A new intermediate in the place of one in use: under the same root, with a key of its own unless
told otherwise.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from cryptography.hazmat.primitives import hashes, serialization

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import CertsChange
from kubectl_mesh.pki.kept import kept_root
from kubectl_mesh.pki.make import Issuer, build_intermediate, make_keys, pem_key
from kubectl_mesh.pki.requests import (
    Awaited,
    accept,
    existing_intermediate,
    request,
    requested_organization,
)
from kubectl_mesh.pki.rotation import waits
from kubectl_mesh.pki.wanted import NamedFile, Progress, Wanted, silent
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


def renew(
    wanted: Wanted,
    certs: CertsFolder,
    now: datetime,
    progress: Progress = silent,
    *,
    keep_key: bool = False,
) -> CertsChange:
    """New intermediates for the clusters of `wanted`, signed by the root whose key is in `certs/`;
    the old folders go to the archive.

    Raises a `MeshError` that names everything that is missing or does not fit; nothing is made
    then.
    """
    now, kept = now.replace(microsecond=0), certs.files
    root = kept_root(kept, now, ())
    if not root.certificates or root.key is None:
        missing = ROOT_KEY if root.certificates else ROOT_CERT
        fix = "put it back; where somebody else holds the root, write `certificates: {issuer: csr}`"
        if root.certificates and NEXT_ROOT_KEY in kept:
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
    if early := waits(kept, sorted(wanted.namespaces), issuer.certificate):
        raise MeshError(early)
    return sign_intermediates(wanted, certs, issuer, now, progress, keep_key=keep_key)


def sign_intermediates(
    wanted: Wanted,
    certs: CertsFolder,
    issuer: Issuer,
    now: datetime,
    progress: Progress = silent,
    *,
    keep_key: bool = False,
) -> CertsChange:
    """New intermediates for the clusters of `wanted`, signed by one of the roots in `certs/`; the
    old folders go to the archive.
    """
    names, kept = sorted(wanted.namespaces), certs.files
    bundle = kept[ROOT_CERT]
    keys = (
        _kept_keys(names, kept)
        if keep_key
        else make_keys(wanted.key_type, names, root=False, progress=progress)
    )
    put: dict[str, bytes] = {}
    roots = load_certificates(f"certs/{ROOT_CERT}", bundle)
    for name in names:
        base = intermediate_folder(name)
        made = build_intermediate(
            wanted, name, keys[name], issuer, now, existing_intermediate(kept, name)
        )
        faults = list(chain_problems(f"certs/{base}/ca-cert.pem", made, (), roots, now))
        if faults:
            raise MeshError(faults)
        pem = made.public_bytes(serialization.Encoding.PEM)
        put[f"{base}/ca-key.pem"] = kept[f"{base}/ca-key.pem"] if keep_key else pem_key(keys[name])
        put[f"{base}/ca-cert.pem"] = pem
        put[f"{base}/cert-chain.pem"] = pem + issuer.certificate.public_bytes(
            serialization.Encoding.PEM
        )
        put[f"{base}/root-cert.pem"] = bundle
    return CertsChange(
        put, to_archive([intermediate_folder(name) for name in names], kept, certs.archive_names)
    )


def to_archive(
    folders: Sequence[str], kept: Mapping[str, bytes], archived: Collection[str]
) -> dict[str, str]:
    """Where the folders of intermediates go: each has the beginning of its certificate's
    fingerprint in its name, and takes nobody's place.
    """
    taken = set(archived)
    moved = {}
    for base in folders:
        name = free_name(f"{base}-{short(kept.get(f'{base}/ca-cert.pem', b''))}", taken)
        taken.add(name)
        moved[base] = f"{ARCHIVE_FOLDER}/{name}"
    return moved


def free_name(name: str, taken: Collection[str]) -> str:
    """A name that nothing in the archive has yet."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def short(pem: bytes) -> str:
    """The first eight digits of a certificate's SHA-256; of the text where it is none."""
    try:
        return parse_certificate(pem).fingerprint(hashes.SHA256()).hex()[:8]
    except PemError:
        return hashlib.sha256(pem).hexdigest()[:8]


def _kept_keys(names: Sequence[str], kept: Mapping[str, bytes]) -> dict[str, Key]:
    keys: dict[str, Key] = {}
    problems: list[Problem] = []
    for name in names:
        path = f"{intermediate_folder(name)}/ca-key.pem"
        if path not in kept:
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
            keys[name] = load_key(f"certs/{path}", kept[path])
        except MeshError as error:
            problems += error.problems
    if problems:
        raise MeshError(problems)
    return keys


def ask(
    wanted: Wanted,
    kept: Mapping[str, bytes],
    progress: Progress = silent,
    *,
    keep_key: bool = False,
) -> dict[str, bytes]:
    """Requests for new intermediates beside those in use, for whoever holds the root: path below
    `certs/` -> bytes. One that is there is kept.
    """
    names = [
        name
        for name in sorted(wanted.namespaces)
        if f"{next_intermediate_folder(name)}/{CSR_FILE}" not in kept
    ]
    put: dict[str, bytes] = {}
    keys: dict[str, Key] = {}
    if keep_key:
        keys = _kept_keys(names, kept)
        put |= {
            _next_key_path(name): kept[f"{intermediate_folder(name)}/ca-key.pem"] for name in names
        }
    else:
        # A killed run may have left a key without its request.
        left = [name for name in names if _next_key_path(name) in kept]
        keys = {
            name: load_key(f"certs/{_next_key_path(name)}", kept[_next_key_path(name)])
            for name in left
        }
        made = make_keys(
            wanted.key_type,
            [name for name in names if name not in keys],
            root=False,
            progress=progress,
        )
        put |= {_next_key_path(name): pem_key(key) for name, key in made.items()}
        keys |= made
    for name in names:
        put[f"{next_intermediate_folder(name)}/{CSR_FILE}"] = request(
            requested_organization(wanted, kept, name), name, wanted.namespaces[name], keys[name]
        )
    return put


def _next_key_path(name: str) -> str:
    return f"{next_intermediate_folder(name)}/ca-key.pem"


def expiring(
    names: Sequence[str], kept: Mapping[str, bytes], now: datetime, within: timedelta
) -> list[str]:
    """The clusters whose intermediates end within a time, or have ended."""
    found = []
    for name in names:
        path = f"{intermediate_folder(name)}/ca-cert.pem"
        if (
            path in kept
            and load_certificates(f"certs/{path}", kept[path])[0].not_valid_after_utc - now
            <= within
        ):
            found.append(name)
    return found


def accept_next(
    name: str, clusters: Sequence[str], came: NamedFile, certs: CertsFolder, now: datetime
) -> CertsChange:
    """What came back for a cluster whose intermediate is in use, judged against the key that waits
    for it; the two folders change places in one.
    """
    base, following, kept = intermediate_folder(name), next_intermediate_folder(name), certs.files
    waiting = {path: body for path, body in kept.items() if not path.startswith(f"{base}/")}
    waiting |= {
        f"{base}/{path.partition('/')[2]}": body
        for path, body in kept.items()
        if path.startswith(f"{following}/")
    }
    put = accept(Awaited(name, clusters, following), came, None, waiting, now)
    return CertsChange(put, {**to_archive([base], kept, certs.archive_names), following: base})
