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
from kubectl_mesh.pki.ahead import ahead, lacking
from kubectl_mesh.pki.joining import restored
from kubectl_mesh.pki.kept import kept_root, path_length_problems, self_signed_problems
from kubectl_mesh.pki.make import Issuer, build_root, make_keys, pem_key
from kubectl_mesh.pki.renew import free_name, sign_intermediates, to_archive
from kubectl_mesh.pki.rotation import Rotation, back, fingerprint, follows, trusts, write
from kubectl_mesh.pki.wanted import NamedFile, Progress, Wanted, silent
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


def begin(
    wanted: Wanted,
    certs: CertsFolder,
    now: datetime,
    given: NamedFile | None = None,
    progress: Progress = silent,
) -> CertsChange:
    """A second root beside the first, trusted and not signing; made here, or `given` as a file."""
    now = now.replace(microsecond=0)
    kept = certs.files
    root = kept_root(kept, now, certs.intermediate_folders)
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
    put: dict[str, bytes] = {}
    if given is None:
        key = make_keys(wanted.key_type, (), root=True, progress=progress)[""]
        put[NEXT_ROOT_KEY] = pem_key(key)
        made = build_root(wanted, key, now, _next_name(root.certificates), root.certificates[0])
        pem = made.public_bytes(serialization.Encoding.PEM)
    else:
        made, pem = _given(*given, root.certificates, now)
    # The old text stays as it is, byte for byte, and in one piece: up to 1.29 istiod looks for it
    # within the new one.
    bundle = root.pem + (b"" if root.pem.endswith(b"\n") else b"\n") + pem
    put |= _bundle(bundle, certs)
    if CRL_FILE in kept:
        put[CRL_FILE] = ahead(kept[CRL_FILE], {**kept, **put}, now)
    # Several roots already: each cluster has its own, and they come under this one.
    put[ROTATION_FILE] = write(
        Rotation(
            "trust-both",
            tuple(map(fingerprint, root.certificates)),
            fingerprint(made),
            now,
            len(root.certificates) > 1,
        )
    )
    return CertsChange(put)


def _next_name(roots: Sequence[x509.Certificate]) -> str:
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


def _given(
    name: str, pem: bytes, roots: Sequence[x509.Certificate], now: datetime
) -> tuple[x509.Certificate, bytes]:
    """A root that somebody else made."""
    certificates = load_certificates(name, pem)
    found = certificates[0]
    problems = list(ca_problems(name, found, now))
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
    problems += self_signed_problems(name, found)
    problems += path_length_problems(name, found)
    if found in roots or any(r.public_key() == found.public_key() for r in roots):
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
    return found, split_certificates(pem)[0][1]


def _bundle(bundle: bytes, certs: CertsFolder) -> dict[str, bytes]:
    """The bundle, wherever it stands."""
    return {
        ROOT_CERT: bundle,
        **{f"{base}/root-cert.pem": bundle for base in certs.intermediate_folders},
    }


def _archive_root(
    certificate: bytes, key: str, certs: CertsFolder, taken: Collection[str]
) -> tuple[dict[str, bytes], dict[str, str]]:
    """A root that no longer signs, or never will: its certificate and its key for the archive."""
    mark = fingerprint(load_certificates(f"certs/{ROOT_CERT}", certificate)[0])[:8]
    name = f"{ARCHIVE_FOLDER}/{free_name(f'root-{mark}', {*certs.archive_names, *taken})}"
    return {f"{name}/root-cert.pem": certificate}, (
        {key: f"{name}/root-key.pem"} if key in certs.files else {}
    )


def advance(
    rotation: Rotation,
    wanted: Wanted,
    certs: CertsFolder,
    now: datetime,
    *,
    local: bool,
    progress: Progress = silent,
) -> CertsChange:
    """The next step; that the one before is everywhere is for the caller to know. `local`: the
    roots sign here.
    """
    now = now.replace(microsecond=0)
    step = follows(rotation, _signers(certs, wanted))
    if not step:
        return CertsChange({}, {}, frozenset((ROTATION_FILE,)))
    change = CertsChange({})
    if step == "sign-new" and (problems := lacking(certs.files, {rotation.new}, now)):
        raise MeshError(problems)
    key = _key_of(rotation.new, certs)
    if step == "sign-new" and local:
        issuer = _issuer(certs, certs.files.get(key), key, {rotation.new}, now)
        change = _sign(wanted, certs, issuer, now, progress)
        if key == NEXT_ROOT_KEY:
            old = _block(certs.files[ROOT_CERT], _signing(certs, rotation.old))
            put, moved = _archive_root(old, ROOT_KEY, certs, ())
            change = replace(
                change,
                write={**change.write, **put},
                rename={**change.rename, **moved, NEXT_ROOT_KEY: ROOT_KEY},
            )
    elif step == "drop-old":
        change = _drop(certs, {rotation.new}, wanted)
    elif step == "drop-new":
        change = _drop(certs, set(rotation.old), wanted)
        put, moved = _archive_root(_block(certs.files[ROOT_CERT], rotation.new), key, certs, ())
        change = replace(change, write={**change.write, **put}, rename={**change.rename, **moved})
    return replace(
        change,
        write={**change.write, ROTATION_FILE: write(replace(rotation, step=step, since=now))},
    )


def abort(
    rotation: Rotation,
    wanted: Wanted,
    certs: CertsFolder,
    now: datetime,
    *,
    local: bool,
    progress: Progress = silent,
) -> CertsChange:
    """The way back, while the old root is still trusted. Where the new one signs, `archived_files`
    has the key of the old root, or the intermediates that signed before.
    """
    now = now.replace(microsecond=0)
    step = back(rotation, _signers(certs, wanted)) or ""
    if step == "drop-new":
        return advance(replace(rotation, step="sign-old"), wanted, certs, now, local=local)
    if step == "drop-old":
        change = _drop_union(rotation, wanted, certs)
    else:
        if not local and (problems := lacking(certs.files, set(rotation.old), now)):
            raise MeshError(problems)
        old_key = archived_root_key(rotation, certs)
        if rotation.union and old_key is None:
            change = _restore(rotation, wanted, certs, now)
        elif local:
            change = _sign_old(rotation, wanted, certs, old_key, now, progress)
        else:
            change = CertsChange({})
    return replace(
        change,
        write={**change.write, ROTATION_FILE: write(replace(rotation, step=step, since=now))},
    )


def archived_roots(rotation: Rotation, archive: Collection[str]) -> list[str]:
    """The folders of the archive that have an old root of a rotation."""
    return [
        name
        for mark in rotation.old
        for name in archive
        if name == f"root-{mark[:8]}" or name.startswith(f"root-{mark[:8]}-")
    ]


def archived_root_key(rotation: Rotation, certs: CertsFolder) -> bytes | None:
    """The key of an old root out of `archived_files`; None where it is not there."""
    paths = (
        f"{ARCHIVE_FOLDER}/{name}/{ROOT_KEY}"
        for name in archived_roots(rotation, certs.archive_names)
    )
    return next((certs.archived_files[p] for p in paths if p in certs.archived_files), None)


def _drop_union(rotation: Rotation, wanted: Wanted, certs: CertsFolder) -> CertsChange:
    """Only the root that stays is trusted; refused while a cluster signs with another."""
    others = sorted(
        name
        for name, trust in trusts(certs.files, sorted(wanted.namespaces)).items()
        if trust.signer in rotation.old
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
    return _drop(certs, {rotation.new}, wanted)


def _restore(rotation: Rotation, wanted: Wanted, certs: CertsFolder, now: datetime) -> CertsChange:
    """The intermediates that signed before the union, out of the archive."""
    change, without = restored(rotation, sorted(wanted.namespaces), certs, now)
    if not change.write:
        what = f"holds no intermediate that an old root signed, for {', '.join(without)}"
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
    wanted: Wanted,
    certs: CertsFolder,
    old_key: bytes | None,
    now: datetime,
    progress: Progress,
) -> CertsChange:
    """All intermediates signed by the old root again, whose key comes back from the archive."""
    path = f"{ARCHIVE_FOLDER}/root-{rotation.old[0][:8]}/{ROOT_KEY}"
    issuer = _issuer(certs, old_key, path, set(rotation.old), now)
    change = _sign(wanted, certs, issuer, now, progress)
    assert old_key is not None
    return replace(
        change,
        write={**change.write, ROOT_KEY: old_key},
        rename={**change.rename, ROOT_KEY: NEXT_ROOT_KEY},
    )


def _signers(certs: CertsFolder, wanted: Wanted) -> set[str]:
    """The roots that sign in the clusters now."""
    return {trust.signer or "" for trust in trusts(certs.files, sorted(wanted.namespaces)).values()}


def _key_of(mark: str, certs: CertsFolder) -> str:
    """Where the key of a new root is, or belongs: beside the one that signs, or in its place where
    clusters come under a root that is here.
    """
    if NEXT_ROOT_KEY not in certs.files and ROOT_KEY in certs.files:
        key = load_key(f"certs/{ROOT_KEY}", certs.files[ROOT_KEY], for_istio=False)
        if any(
            is_for_key(c, key) and fingerprint(c) == mark
            for c in load_certificates(f"certs/{ROOT_CERT}", certs.files[ROOT_CERT])
        ):
            return ROOT_KEY
    return NEXT_ROOT_KEY


def _signing(certs: CertsFolder, old: Sequence[str]) -> str:
    """Which of the old roots the key here belongs to."""
    if ROOT_KEY in certs.files:
        key = load_key(f"certs/{ROOT_KEY}", certs.files[ROOT_KEY], for_istio=False)
        for certificate in load_certificates(f"certs/{ROOT_CERT}", certs.files[ROOT_CERT]):
            if is_for_key(certificate, key):
                return fingerprint(certificate)
    return old[0]


def _block(bundle: bytes, mark: str) -> bytes:
    """The text of one root out of the bundle."""
    return next(
        text for certificate, text in split_certificates(bundle) if fingerprint(certificate) == mark
    )


def _issuer(
    certs: CertsFolder, pem: bytes | None, path: str, marks: set[str], now: datetime
) -> Issuer:
    """The root that signs next, one of `marks`, with its key `pem`, which belongs at `path`."""
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
            if is_for_key(c, key) and fingerprint(c) in marks
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


def _sign(
    wanted: Wanted, certs: CertsFolder, issuer: Issuer, now: datetime, progress: Progress
) -> CertsChange:
    """All intermediates that a root did not sign yet, signed by it; those of no cluster of the mesh
    go to the archive.
    """
    there = {
        name: space
        for name, space in wanted.namespaces.items()
        if f"{intermediate_folder(name)}/ca-cert.pem" in certs.files
    }
    signers, mark = trusts(certs.files, sorted(there)), fingerprint(issuer.certificate)
    unsigned = {name: space for name, space in there.items() if signers[name].signer != mark}
    # A proxy that goes by CRLs refuses a key that it has no CRL of, and no order of applying gives
    # all of them that of each other's new one.
    change = sign_intermediates(
        replace(wanted, namespaces=unsigned),
        certs,
        issuer,
        now,
        progress,
        keep_key=CRL_FILE in certs.files,
    )
    return replace(change, rename={**change.rename, **_strangers(certs, there)})


def _strangers(certs: CertsFolder, names: Collection[str]) -> dict[str, str]:
    """The intermediates of clusters that left the mesh, for the archive: a root that goes could not
    vouch for them any more.
    """
    return to_archive(
        [
            base
            for base in certs.intermediate_folders
            if base not in {intermediate_folder(name) for name in names}
        ],
        certs.files,
        certs.archive_names,
    )


def _drop(certs: CertsFolder, stay: set[str], wanted: Wanted) -> CertsChange:
    """Only the roots in `stay` are trusted; refused while an intermediate leads to another."""
    there = trusts(certs.files, sorted(wanted.namespaces))
    bound = [name for name, trust in there.items() if trust.signer not in stay]
    if bound:
        what = (
            "is signed by the root that would be"
            f" dropped{'' if len(bound) == 1 else f', as {len(bound) - 1} more are'}"
        )
        problem = Problem(
            Place(f"certs/{intermediate_folder(bound[0])}/ca-cert.pem"),
            what,
            f"have it renewed first: `{mesh_command('certs renew ' + ' '.join(bound))}`",
            "certs-chain",
            code="intermediate-signed-by-dropped-root",
        )
        raise MeshError([problem])
    bundle = _remaining_bundle(certs.files[ROOT_CERT], stay)
    moved = _strangers(certs, there)
    remaining = tuple(base for base in certs.intermediate_folders if base not in moved)
    return CertsChange(_bundle(bundle, replace(certs, intermediate_folders=remaining)), moved)


def _remaining_bundle(text: bytes, stay: set[str]) -> bytes:
    """The roots in `stay`, as one piece of the old text: istiod up to 1.29 looks for it there."""
    known = split_certificates(text)
    blocks = [block for certificate, block in known if fingerprint(certificate) in stay]
    marks = [fingerprint(certificate) for certificate, _ in known]
    first = next(i for i, mark in enumerate(marks) if mark in stay)
    if not set(marks[first : first + len(blocks)]) <= stay:
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
