"""The steps of a rotation, each as an `Exchange` of `certs/`; when one may be taken is judged in
`rotation`.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import RENEW, Exchange
from kubectl_mesh.pki.ahead import ahead, lacking
from kubectl_mesh.pki.joining import restored
from kubectl_mesh.pki.kept import kept_root
from kubectl_mesh.pki.make import build_root, make_keys, pem_key
from kubectl_mesh.pki.renew import free_name, signed, to_archive
from kubectl_mesh.pki.rotation import Rotation, back, fingerprint, follows, trusts, write
from kubectl_mesh.pki.wanted import Progress, Wanted, silent
from kubectl_mesh.x509.certificates import (
    Key,
    load_certificates,
    load_key,
    path_length,
    same_key,
    texts,
)
from kubectl_mesh.x509.chain import ca_problems, direct_issuer
from kubectl_mesh.x509.layout import ARCHIVE, CRL, NEXT_KEY, ROOT_CERT, ROOT_KEY, ROTATION, folder


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the steps go by: the files of `certs/`, the intermediates that lie there (others' too),
    the names in the archive.
    """

    kept: Mapping[str, bytes] = field(repr=False)
    folders: Sequence[str]
    archived: Collection[str]
    former: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """The files of the intermediates in the archive, where a step may put them back."""


def begin(
    wanted: Wanted,
    have: Holdings,
    now: datetime,
    given: tuple[str, bytes] | None = None,
    progress: Progress = silent,
) -> Exchange:
    """A second root beside the first, trusted and not signing; made here, or `given` as a file (its
    name, its text).
    """
    now = now.replace(microsecond=0)
    kept = have.kept
    root = kept_root(kept, now, have.folders)
    if not root.certificates:
        raise MeshError(
            [
                Problem(
                    Place(f"certs/{ROOT_CERT}"),
                    "is not there, so there is nothing to rotate",
                    "run `kubectl mesh render`",
                    "certs-complete",
                )
            ]
        )
    put: dict[str, bytes] = {}
    if given is None:
        key = make_keys(wanted.key_type, (), root=True, progress=progress)[""]
        put[NEXT_KEY] = pem_key(key)
        made = build_root(wanted, key, now, _next_name(root.certificates), root.certificates[0])
        pem = made.public_bytes(serialization.Encoding.PEM)
    else:
        made, pem = _given(*given, root.certificates, now)
    # The old text stays as it is, byte for byte, and in one piece: up to 1.29 istiod looks for it
    # within the new one.
    bundle = root.pem + (b"" if root.pem.endswith(b"\n") else b"\n") + pem
    put |= _bundle(bundle, have)
    if CRL in kept:
        put[CRL] = ahead(kept[CRL], {**kept, **put}, now)
    # Several roots already: each cluster has its own, and they come under this one.
    put[ROTATION] = write(
        Rotation(
            "trust-both",
            tuple(map(fingerprint, root.certificates)),
            fingerprint(made),
            now,
            len(root.certificates) > 1,
        )
    )
    return Exchange(put)


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
                Place(name), "holds several certificates", "give the new root alone", "certs-chain"
            )
        )
    if direct_issuer(found, [found]) is None:
        problems.append(
            Problem(
                Place(name),
                "is signed by another: it is no root",
                "give the self-signed certificate at the end of its chain",
                "certs-ca",
            )
        )
    if path_length(found) == 0:
        problems.append(
            Problem(
                Place(name),
                "has pathlen:0, so it may not sign an intermediate",
                "use another root",
                "certs-ca",
            )
        )
    if found in roots or any(r.public_key() == found.public_key() for r in roots):
        problems.append(
            Problem(
                Place(name),
                "has the key of a root that is trusted already",
                "give a root with a key of its own",
                "certs-own",
            )
        )
    if problems:
        raise MeshError(problems)
    return found, texts(pem)[0][1]


def _bundle(bundle: bytes, have: Holdings) -> dict[str, bytes]:
    """The bundle, wherever it stands."""
    return {ROOT_CERT: bundle, **{f"{base}/root-cert.pem": bundle for base in have.folders}}


def _archive_root(
    certificate: bytes, key: str, have: Holdings, taken: Collection[str]
) -> tuple[dict[str, bytes], dict[str, str]]:
    """A root that no longer signs, or never will: its certificate and its key for the archive."""
    mark = fingerprint(load_certificates(f"certs/{ROOT_CERT}", certificate)[0])[:8]
    name = f"{ARCHIVE}/{free_name(f'root-{mark}', {*have.archived, *taken})}"
    return {f"{name}/root-cert.pem": certificate}, (
        {key: f"{name}/root-key.pem"} if key in have.kept else {}
    )


def advance(
    rotation: Rotation,
    wanted: Wanted,
    have: Holdings,
    now: datetime,
    *,
    local: bool,
    progress: Progress = silent,
) -> Exchange:
    """The next step; that the one before is everywhere is for the caller to know. `local`: the
    roots sign here.
    """
    now = now.replace(microsecond=0)
    step = follows(rotation, _signers(have, wanted))
    if not step:
        return Exchange({}, {}, frozenset((ROTATION,)))
    change = Exchange({})
    if step == "sign-new" and (problems := lacking(have.kept, {rotation.new}, now)):
        raise MeshError(problems)
    key = _key_of(rotation.new, have)
    if step == "sign-new" and local:
        change = _sign(wanted, have, have.kept.get(key), key, {rotation.new}, now, progress)
        if key == NEXT_KEY:
            old = _block(have.kept[ROOT_CERT], _signing(have, rotation.old))
            put, moved = _archive_root(old, ROOT_KEY, have, ())
            change = replace(
                change,
                put={**change.put, **put},
                moved={**change.moved, **moved, NEXT_KEY: ROOT_KEY},
            )
    elif step == "drop-old":
        change = _drop(have, {rotation.new}, wanted)
    elif step == "drop-new":
        change = _drop(have, set(rotation.old), wanted)
        put, moved = _archive_root(_block(have.kept[ROOT_CERT], rotation.new), key, have, ())
        change = replace(change, put={**change.put, **put}, moved={**change.moved, **moved})
    return replace(
        change, put={**change.put, ROTATION: write(replace(rotation, step=step, since=now))}
    )


def abort(
    rotation: Rotation,
    wanted: Wanted,
    have: Holdings,
    old_key: bytes | None,
    now: datetime,
    *,
    local: bool,
    progress: Progress = silent,
) -> Exchange:
    """The way back, while the old root is still trusted; `old_key` is its key, out of the archive,
    where the new one signs.
    """
    now = now.replace(microsecond=0)
    signers = _signers(have, wanted)
    step = back(rotation, signers) or ""
    if step == "drop-new":
        return advance(replace(rotation, step="sign-old"), wanted, have, now, local=local)
    if step == "drop-old":
        if others := sorted(
            n
            for n, t in trusts(have.kept, sorted(wanted.namespaces)).items()
            if t.signer in rotation.old
        ):
            what = (
                "says trust-both, and some sign with the root that stays: without the others'"
                f" roots, {', '.join(others)} would be cut off"
            )
            fix = (
                "take them out of the mesh first (`kubectl mesh remove`), and render; or go on with"
                " advance"
            )
            raise MeshError([Problem(Place(f"certs/{ROTATION}"), what, fix)])
        change = _drop(have, {rotation.new}, wanted)
        return replace(
            change, put={**change.put, ROTATION: write(replace(rotation, step=step, since=now))}
        )
    if not local and (problems := lacking(have.kept, set(rotation.old), now)):
        raise MeshError(problems)
    change = Exchange({})
    if rotation.union and old_key is None:
        change, without = restored(
            rotation, sorted(wanted.namespaces), have.kept, have.archived, have.former, now
        )
        if not change.put:
            what = f"holds no intermediate that an old root signed, for {', '.join(without)}"
            raise MeshError(
                [
                    Problem(
                        Place(f"certs/{ARCHIVE}"),
                        what,
                        "put back what they signed with",
                        "certs-complete",
                    )
                ]
            )
    elif local:
        change = _sign(
            wanted,
            have,
            old_key,
            f"{ARCHIVE}/root-{rotation.old[0][:8]}/{ROOT_KEY}",
            set(rotation.old),
            now,
            progress,
        )
        assert old_key is not None
        change = replace(
            change,
            put={**change.put, ROOT_KEY: old_key},
            moved={**change.moved, ROOT_KEY: NEXT_KEY},
        )
    return replace(
        change, put={**change.put, ROTATION: write(replace(rotation, step=step, since=now))}
    )


def _signers(have: Holdings, wanted: Wanted) -> set[str]:
    """The roots that sign in the clusters now."""
    return {trust.signer or "" for trust in trusts(have.kept, sorted(wanted.namespaces)).values()}


def _key_of(mark: str, have: Holdings) -> str:
    """Where the key of a new root is, or belongs: beside the one that signs, or in its place where
    clusters come under a root that is here.
    """
    if NEXT_KEY not in have.kept and ROOT_KEY in have.kept:
        key = load_key(f"certs/{ROOT_KEY}", have.kept[ROOT_KEY], for_istio=False)
        if any(
            same_key(c, key) and fingerprint(c) == mark
            for c in load_certificates(f"certs/{ROOT_CERT}", have.kept[ROOT_CERT])
        ):
            return ROOT_KEY
    return NEXT_KEY


def _signing(have: Holdings, old: Sequence[str]) -> str:
    """Which of the old roots the key here belongs to."""
    if ROOT_KEY in have.kept:
        key = load_key(f"certs/{ROOT_KEY}", have.kept[ROOT_KEY], for_istio=False)
        for certificate in load_certificates(f"certs/{ROOT_CERT}", have.kept[ROOT_CERT]):
            if same_key(certificate, key):
                return fingerprint(certificate)
    return old[0]


def _block(bundle: bytes, mark: str) -> bytes:
    """The text of one root out of the bundle."""
    return next(text for certificate, text in texts(bundle) if fingerprint(certificate) == mark)


def _sign(
    wanted: Wanted,
    have: Holdings,
    pem: bytes | None,
    name: str,
    marks: set[str],
    now: datetime,
    progress: Progress,
) -> Exchange:
    """All intermediates anew under one of the roots; those of no cluster of the mesh go to the
    archive.
    """
    place = f"certs/{name}"
    if pem is None:
        raise MeshError(
            [
                Problem(
                    Place(place),
                    "is not here, and no intermediate can be signed without it",
                    "put it there",
                    "certs-complete",
                )
            ]
        )
    key: Key = load_key(place, pem, for_istio=False)
    bundle = have.kept[ROOT_CERT]
    issuer = next(
        (
            c
            for c in load_certificates(f"certs/{ROOT_CERT}", bundle)
            if same_key(c, key) and fingerprint(c) in marks
        ),
        None,
    )
    if issuer is None:
        fix = "put the key of the root that is to sign there"
        raise MeshError(
            [
                Problem(
                    Place(place),
                    f"belongs to none of the roots in {ROOT_CERT} that are to sign now",
                    fix,
                    "certs-pair",
                )
            ]
        )
    faults = [
        (
            replace(
                p,
                fix="go on with `kubectl mesh certs rotate-root advance`, to the root that has not",
            )
            if p.fix == RENEW
            else p
        )
        for p in ca_problems(f"certs/{ROOT_CERT}", issuer, now)
    ]
    if faults:
        raise MeshError(faults)
    there = {
        name: space
        for name, space in wanted.namespaces.items()
        if f"{folder(name)}/ca-cert.pem" in have.kept
    }
    signers = trusts(have.kept, sorted(there))
    anew = {
        name: space for name, space in there.items() if signers[name].signer != fingerprint(issuer)
    }
    # A proxy that goes by CRLs refuses a key that it has no CRL of, and no order of applying gives
    # all of them that of each other's new one.
    same = CRL in have.kept
    change = signed(
        replace(wanted, namespaces=anew),
        have.kept,
        have.archived,
        issuer,
        key,
        bundle,
        now,
        progress,
        keep_key=same,
    )
    return replace(change, moved={**change.moved, **_strangers(have, there)})


def _strangers(have: Holdings, names: Collection[str]) -> dict[str, str]:
    """The intermediates of clusters that left the mesh, for the archive: a root that goes could not
    vouch for them any more.
    """
    return to_archive(
        [base for base in have.folders if base not in {folder(name) for name in names}],
        have.kept,
        have.archived,
    )


def _drop(have: Holdings, stay: set[str], wanted: Wanted) -> Exchange:
    """Only the roots in `stay` are trusted; refused while an intermediate leads to another."""
    there = trusts(have.kept, sorted(wanted.namespaces))
    bound = [name for name, trust in there.items() if trust.signer not in stay]
    if bound:
        what = (
            "is signed by the root that would be"
            f" dropped{'' if len(bound) == 1 else f', as {len(bound) - 1} more are'}"
        )
        fix = f"have it renewed first: `kubectl mesh certs renew {' '.join(bound)}`"
        raise MeshError(
            [Problem(Place(f"certs/{folder(bound[0])}/ca-cert.pem"), what, fix, "certs-chain")]
        )
    blocks = [
        text
        for certificate, text in texts(have.kept[ROOT_CERT])
        if fingerprint(certificate) in stay
    ]
    # One piece of the old text, as istiod up to 1.29 looks for it there.
    kept = [c for c, _ in texts(have.kept[ROOT_CERT])]
    inside = kept[kept.index(next(c for c in kept if fingerprint(c) in stay)) :][: len(blocks)]
    if any(fingerprint(c) not in stay for c in inside):
        what = (
            "holds the root that would go between those that stay, and istiod up to 1.29 takes only"
            " one piece of it"
        )
        raise MeshError(
            [
                Problem(
                    Place(f"certs/{ROOT_CERT}"),
                    what,
                    "go on with `kubectl mesh certs rotate-root advance`, and drop the others",
                    "certs-chain",
                )
            ]
        )
    whole = have.kept[ROOT_CERT] + (b"" if have.kept[ROOT_CERT].endswith(b"\n") else b"\n")
    bundle = whole[whole.index(blocks[0]) : whole.index(blocks[-1])] + blocks[-1]
    moved = _strangers(have, there)
    return Exchange(
        _bundle(
            bundle, replace(have, folders=[base for base in have.folders if base not in moved])
        ),
        moved,
    )
