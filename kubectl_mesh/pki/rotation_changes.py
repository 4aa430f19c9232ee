"""The steps of a rotation, each as a `CertsChange` of `certs/`; when one may be taken is judged in
`rotation`.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import CertsChange
from kubectl_mesh.pki.certificate_builder import Issuer, build_root, dump_key, generate_keys
from kubectl_mesh.pki.next_root_crl import add_next_root_crl, missing_crl_problems
from kubectl_mesh.pki.profile import CertificateProfile, NamedFile, Progress, ignore_progress
from kubectl_mesh.pki.renewal import find_free_name, plan_archive_moves, sign_intermediates
from kubectl_mesh.pki.rotation import (
    Rotation,
    abort_step,
    dump_rotation,
    next_step,
    read_trust,
    sha256_fingerprint,
)
from kubectl_mesh.pki.stored_pki import load_root, path_length_problems, self_signed_problems
from kubectl_mesh.pki.union_rotation import restore_intermediates
from kubectl_mesh.text import mesh_command
from kubectl_mesh.workdir.certs_folder import CertsFolder
from kubectl_mesh.x509.certificates import (
    is_for_key,
    load_certificates,
    load_key,
    split_certificates,
)
from kubectl_mesh.x509.chain import ca_problems
from kubectl_mesh.x509.layout import (
    ARCHIVE_FOLDER,
    CRL_FILE,
    NEXT_ROOT_KEY,
    ROOT_CERT,
    ROOT_KEY,
    ROTATION_FILE,
    intermediate_folder,
)


def begin_rotation(
    profile: CertificateProfile,
    certs: CertsFolder,
    now: datetime,
    named_root: NamedFile | None = None,
    progress: Progress = ignore_progress,
) -> CertsChange:
    """A second root, trusted and not signing yet: the file `named_root`, else a new one."""
    now = now.replace(microsecond=0)
    files = certs.files
    root = load_root(files, now, certs.intermediate_folders)
    if not root.certificates:
        raise MeshError(
            [
                Problem(
                    Place(f"certs/{ROOT_CERT}"),
                    "is not there, so there is nothing to rotate",
                    f"run `{mesh_command('render')}`",
                    "certs-complete",
                    code="root-certificate-missing",
                )
            ]
        )
    write: dict[str, bytes] = {}
    if named_root is None:
        key = generate_keys(profile.key_type, (), root=True, progress=progress)[""]
        write[NEXT_ROOT_KEY] = dump_key(key)
        new_root = build_root(
            profile, key, now, _find_free_common_name(root.certificates), root.certificates[0]
        )
        pem = new_root.public_bytes(serialization.Encoding.PEM)
    else:
        new_root, pem = _load_named_root(*named_root, root.certificates, now)
    # The old text stays as it is, byte for byte, and in one piece: up to 1.29 istiod looks for it
    # within the new one.
    bundle = root.pem + (b"" if root.pem.endswith(b"\n") else b"\n") + pem
    write |= _bundle_files(bundle, certs)
    if CRL_FILE in files:
        write[CRL_FILE] = add_next_root_crl(files[CRL_FILE], {**files, **write}, now)
    # Several roots already: each cluster has its own, and they come under this one.
    write[ROTATION_FILE] = dump_rotation(
        Rotation(
            "trust-both",
            tuple(map(sha256_fingerprint, root.certificates)),
            sha256_fingerprint(new_root),
            now,
            len(root.certificates) > 1,
        )
    )
    return CertsChange(write)


def _find_free_common_name(roots: Sequence[x509.Certificate]) -> str:
    """A common name that none of the roots has: where two roots share a name, some verifiers try
    one of them only.
    """
    numbers = [0]
    for root in roots:
        for attribute in root.subject:
            match = re.fullmatch(r"Root CA(?: ([0-9]{1,6}))?", str(attribute.value))
            if match:
                numbers.append(int(match[1] or 1))
    return "Root CA" if max(numbers) == 0 else f"Root CA {max(numbers) + 1}"


def _load_named_root(
    name: str, pem: bytes, roots: Sequence[x509.Certificate], now: datetime
) -> tuple[x509.Certificate, bytes]:
    """A root that somebody else made."""
    certificates = load_certificates(name, pem)
    root = certificates[0]
    problems = list(ca_problems(name, root, now))
    if len(certificates) > 1:
        problems.append(
            Problem(
                Place(name),
                "holds several certificates",
                "give the new root alone",
                "certs-chain",
                code="several-roots-named",
            )
        )
    problems += self_signed_problems(name, root)
    problems += path_length_problems(name, root)
    if root in roots or any(r.public_key() == root.public_key() for r in roots):
        problems.append(
            Problem(
                Place(name),
                "has the key of a root that is trusted already",
                "give a root with a key of its own",
                "certs-own",
                code="root-key-trusted-already",
            )
        )
    if problems:
        raise MeshError(problems)
    return root, split_certificates(pem)[0][1]


def _bundle_files(bundle: bytes, certs: CertsFolder) -> dict[str, bytes]:
    """The bundle, wherever it stands."""
    return {
        ROOT_CERT: bundle,
        **{f"{base}/root-cert.pem": bundle for base in certs.intermediate_folders},
    }


def _archive_root(
    certificate: bytes, key: str, certs: CertsFolder, used_names: Collection[str]
) -> tuple[dict[str, bytes], dict[str, str]]:
    """A root that no longer signs, or never will: its certificate and its key for the archive."""
    prefix = sha256_fingerprint(load_certificates(f"certs/{ROOT_CERT}", certificate)[0])[:8]
    name = (
        f"{ARCHIVE_FOLDER}/{find_free_name(f'root-{prefix}', {*certs.archive_names, *used_names})}"
    )
    return {f"{name}/root-cert.pem": certificate}, (
        {key: f"{name}/root-key.pem"} if key in certs.files else {}
    )


def advance_rotation(
    rotation: Rotation,
    profile: CertificateProfile,
    certs: CertsFolder,
    now: datetime,
    *,
    local: bool,
    progress: Progress = ignore_progress,
) -> CertsChange:
    """The next step; that the one before is everywhere is for the caller to know. `local`: the
    roots sign here.
    """
    now = now.replace(microsecond=0)
    step = next_step(rotation, _signing_roots(certs, profile))
    if not step:
        return CertsChange({}, {}, frozenset((ROTATION_FILE,)))
    change = CertsChange({})
    if step == "sign-new" and (
        problems := missing_crl_problems(certs.files, {rotation.new_root}, now)
    ):
        raise MeshError(problems)
    key = _new_root_key_path(rotation.new_root, certs)
    if step == "sign-new" and local:
        issuer = _load_issuer(certs, certs.files.get(key), key, {rotation.new_root}, now)
        change = _sign_all(profile, certs, issuer, now, progress)
        if key == NEXT_ROOT_KEY:
            old = _root_text(certs.files[ROOT_CERT], _signing_root(certs, rotation.old_roots))
            archived, moved = _archive_root(old, ROOT_KEY, certs, ())
            change = replace(
                change,
                write={**change.write, **archived},
                rename={**change.rename, **moved, NEXT_ROOT_KEY: ROOT_KEY},
            )
    elif step == "drop-old":
        change = _drop_roots(certs, {rotation.new_root}, profile)
    elif step == "drop-new":
        change = _drop_roots(certs, set(rotation.old_roots), profile)
        archived, moved = _archive_root(
            _root_text(certs.files[ROOT_CERT], rotation.new_root), key, certs, ()
        )
        change = replace(
            change, write={**change.write, **archived}, rename={**change.rename, **moved}
        )
    return replace(
        change,
        write={
            **change.write,
            ROTATION_FILE: dump_rotation(replace(rotation, step=step, since=now)),
        },
    )


def abort_rotation(
    rotation: Rotation,
    profile: CertificateProfile,
    certs: CertsFolder,
    now: datetime,
    *,
    local: bool,
    progress: Progress = ignore_progress,
) -> CertsChange:
    """The way back, while the old root is still trusted. Where the new one signs, `archived_files`
    has the key of the old root, or the intermediates that signed before.
    """
    now = now.replace(microsecond=0)
    step = abort_step(rotation, _signing_roots(certs, profile)) or ""
    if step == "drop-new":
        return advance_rotation(
            replace(rotation, step="sign-old"), profile, certs, now, local=local
        )
    if step == "drop-old":
        change = _drop_union(rotation, profile, certs)
    else:
        if not local and (
            problems := missing_crl_problems(certs.files, set(rotation.old_roots), now)
        ):
            raise MeshError(problems)
        old_key = find_archived_root_key(rotation, certs)
        if rotation.is_union and old_key is None:
            change = _restore_union(rotation, profile, certs, now)
        elif local:
            change = _sign_old(rotation, profile, certs, old_key, now, progress)
        else:
            change = CertsChange({})
    return replace(
        change,
        write={
            **change.write,
            ROTATION_FILE: dump_rotation(replace(rotation, step=step, since=now)),
        },
    )


def find_archived_roots(rotation: Rotation, archive: Collection[str]) -> list[str]:
    """The folders of the archive that have an old root of a rotation."""
    return [
        name
        for mark in rotation.old_roots
        for name in archive
        if name == f"root-{mark[:8]}" or name.startswith(f"root-{mark[:8]}-")
    ]


def find_archived_root_key(rotation: Rotation, certs: CertsFolder) -> bytes | None:
    """The key of an old root out of `archived_files`; None where it is not there."""
    paths = (
        f"{ARCHIVE_FOLDER}/{name}/{ROOT_KEY}"
        for name in find_archived_roots(rotation, certs.archive_names)
    )
    return next((certs.archived_files[p] for p in paths if p in certs.archived_files), None)


def _drop_union(rotation: Rotation, profile: CertificateProfile, certs: CertsFolder) -> CertsChange:
    """Only the root that stays is trusted; refused while a cluster signs with another."""
    others = sorted(
        name
        for name, trust in read_trust(certs.files, sorted(profile.namespaces)).items()
        if trust.signer in rotation.old_roots
    )
    if others:
        what = (
            "says trust-both, and some sign with the root that stays: without the others'"
            f" roots, {', '.join(others)} would be cut off"
        )
        fix = (
            f"take them out of the mesh first (`{mesh_command('remove')}`), and render; or go on"
            " with advance"
        )
        raise MeshError(
            [
                Problem(
                    Place(f"certs/{ROTATION_FILE}"), what, fix, code="rotation-abort-cuts-clusters"
                )
            ]
        )
    return _drop_roots(certs, {rotation.new_root}, profile)


def _restore_union(
    rotation: Rotation, profile: CertificateProfile, certs: CertsFolder, now: datetime
) -> CertsChange:
    """The intermediates that signed before the union, out of the archive."""
    change, missing = restore_intermediates(rotation, sorted(profile.namespaces), certs, now)
    if not change.write:
        what = f"holds no intermediate that an old root signed, for {', '.join(missing)}"
        raise MeshError(
            [
                Problem(
                    Place(f"certs/{ARCHIVE_FOLDER}"),
                    what,
                    "put back what they signed with",
                    "certs-complete",
                    code="archived-intermediate-missing",
                )
            ]
        )
    return change


def _sign_old(
    rotation: Rotation,
    profile: CertificateProfile,
    certs: CertsFolder,
    old_key: bytes | None,
    now: datetime,
    progress: Progress,
) -> CertsChange:
    """All intermediates signed by the old root again, whose key comes back from the archive."""
    path = f"{ARCHIVE_FOLDER}/root-{rotation.old_roots[0][:8]}/{ROOT_KEY}"
    issuer = _load_issuer(certs, old_key, path, set(rotation.old_roots), now)
    change = _sign_all(profile, certs, issuer, now, progress)
    assert old_key is not None
    return replace(
        change,
        write={**change.write, ROOT_KEY: old_key},
        rename={**change.rename, ROOT_KEY: NEXT_ROOT_KEY},
    )


def _signing_roots(certs: CertsFolder, profile: CertificateProfile) -> set[str]:
    """The roots that sign in the clusters now."""
    return {
        trust.signer or "" for trust in read_trust(certs.files, sorted(profile.namespaces)).values()
    }


def _new_root_key_path(root: str, certs: CertsFolder) -> str:
    """Where the key of a new root is, or belongs: beside the one that signs, or in its place where
    clusters come under a root that is here.
    """
    if NEXT_ROOT_KEY not in certs.files and ROOT_KEY in certs.files:
        key = load_key(f"certs/{ROOT_KEY}", certs.files[ROOT_KEY], for_istio=False)
        if any(
            is_for_key(c, key) and sha256_fingerprint(c) == root
            for c in load_certificates(f"certs/{ROOT_CERT}", certs.files[ROOT_CERT])
        ):
            return ROOT_KEY
    return NEXT_ROOT_KEY


def _signing_root(certs: CertsFolder, old: Sequence[str]) -> str:
    """Which of the old roots the key here belongs to."""
    if ROOT_KEY in certs.files:
        key = load_key(f"certs/{ROOT_KEY}", certs.files[ROOT_KEY], for_istio=False)
        for certificate in load_certificates(f"certs/{ROOT_CERT}", certs.files[ROOT_CERT]):
            if is_for_key(certificate, key):
                return sha256_fingerprint(certificate)
    return old[0]


def _root_text(bundle: bytes, root: str) -> bytes:
    """The text of one root out of the bundle."""
    return next(
        text
        for certificate, text in split_certificates(bundle)
        if sha256_fingerprint(certificate) == root
    )


def _load_issuer(
    certs: CertsFolder, pem: bytes | None, path: str, roots: set[str], now: datetime
) -> Issuer:
    """The root that signs next, one of `roots`, with its key `pem`, which belongs at `path`."""
    place = f"certs/{path}"
    if pem is None:
        raise MeshError(
            [
                Problem(
                    Place(place),
                    "is not here, and no intermediate can be signed without it",
                    "put it there",
                    "certs-complete",
                    code="root-key-missing",
                )
            ]
        )
    key = load_key(place, pem, for_istio=False)
    issuer = next(
        (
            c
            for c in load_certificates(f"certs/{ROOT_CERT}", certs.files[ROOT_CERT])
            if is_for_key(c, key) and sha256_fingerprint(c) in roots
        ),
        None,
    )
    if issuer is None:
        raise MeshError(
            [
                Problem(
                    Place(place),
                    f"belongs to none of the roots in {ROOT_CERT} that are to sign now",
                    "put the key of the root that is to sign there",
                    "certs-pair",
                    code="root-key-of-another-root",
                )
            ]
        )
    expired_fix = (
        f"go on with `{mesh_command('certs rotate-root advance')}`, to the root that has not"
    )
    faults = list(ca_problems(f"certs/{ROOT_CERT}", issuer, now, expired_fix=expired_fix))
    if faults:
        raise MeshError(faults)
    return Issuer(issuer, key)


def _sign_all(
    profile: CertificateProfile,
    certs: CertsFolder,
    issuer: Issuer,
    now: datetime,
    progress: Progress,
) -> CertsChange:
    """All intermediates that a root did not sign yet, signed by it; those of no cluster of the mesh
    go to the archive.
    """
    existing = {
        name: space
        for name, space in profile.namespaces.items()
        if f"{intermediate_folder(name)}/ca-cert.pem" in certs.files
    }
    signers, issuer_fingerprint = (
        read_trust(certs.files, sorted(existing)),
        sha256_fingerprint(issuer.certificate),
    )
    unsigned = {
        name: space
        for name, space in existing.items()
        if signers[name].signer != issuer_fingerprint
    }
    # A proxy that goes by CRLs refuses a key that it has no CRL of, and no order of applying gives
    # all of them that of each other's new one.
    change = sign_intermediates(
        replace(profile, namespaces=unsigned),
        certs,
        issuer,
        now,
        progress,
        keep_key=CRL_FILE in certs.files,
    )
    return replace(change, rename={**change.rename, **_archive_left_clusters(certs, existing)})


def _archive_left_clusters(certs: CertsFolder, names: Collection[str]) -> dict[str, str]:
    """The intermediates of clusters that left the mesh, for the archive: a root that goes could not
    vouch for them any more.
    """
    return plan_archive_moves(
        [
            base
            for base in certs.intermediate_folders
            if base not in {intermediate_folder(name) for name in names}
        ],
        certs.files,
        certs.archive_names,
    )


def _drop_roots(
    certs: CertsFolder, kept_roots: set[str], profile: CertificateProfile
) -> CertsChange:
    """Only the roots in `kept_roots` are trusted; refused while another one signs."""
    trust_by_cluster = read_trust(certs.files, sorted(profile.namespaces))
    blocked = [name for name, trust in trust_by_cluster.items() if trust.signer not in kept_roots]
    if blocked:
        what = (
            "is signed by the root that would be"
            f" dropped{'' if len(blocked) == 1 else f', as {len(blocked) - 1} more are'}"
        )
        problem = Problem(
            Place(f"certs/{intermediate_folder(blocked[0])}/ca-cert.pem"),
            what,
            f"have it renewed first: `{mesh_command('certs renew ' + ' '.join(blocked))}`",
            "certs-chain",
            code="intermediate-signed-by-dropped-root",
        )
        raise MeshError([problem])
    bundle = _remaining_bundle(certs.files[ROOT_CERT], kept_roots)
    moved = _archive_left_clusters(certs, trust_by_cluster)
    remaining = tuple(base for base in certs.intermediate_folders if base not in moved)
    return CertsChange(_bundle_files(bundle, replace(certs, intermediate_folders=remaining)), moved)


def _remaining_bundle(text: bytes, kept_roots: set[str]) -> bytes:
    """The roots in `kept_roots`, as one piece of the old text: istiod up to 1.29 looks for it
    there.
    """
    certificates = split_certificates(text)
    blocks = [
        block
        for certificate, block in certificates
        if sha256_fingerprint(certificate) in kept_roots
    ]
    fingerprints = [sha256_fingerprint(certificate) for certificate, _ in certificates]
    first = next(i for i, mark in enumerate(fingerprints) if mark in kept_roots)
    if not set(fingerprints[first : first + len(blocks)]) <= kept_roots:
        what = (
            "holds the root that would go between those that stay, and istiod up to 1.29 takes only"
            " one piece of it"
        )
        problem = Problem(
            Place(f"certs/{ROOT_CERT}"),
            what,
            f"go on with `{mesh_command('certs rotate-root advance')}`, and drop the others",
            "certs-chain",
            code="root-bundle-not-contiguous",
        )
        raise MeshError([problem])
    whole = text + (b"" if text.endswith(b"\n") else b"\n")
    return whole[whole.index(blocks[0]) : whole.index(blocks[-1])] + blocks[-1]
