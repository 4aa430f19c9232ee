"""Running clusters come under one root: the union of their roots as the first step of a rotation,
and the way back to what each signed with.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from cryptography import x509

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import CertsChange
from kubectl_mesh.pki.ahead import ahead
from kubectl_mesh.pki.own import Taken
from kubectl_mesh.pki.renew import to_archive
from kubectl_mesh.pki.rotation import Rotation, fingerprint, read, trusts, write
from kubectl_mesh.pki.union import union
from kubectl_mesh.pki.wanted import NamedFile
from kubectl_mesh.text import mesh_command
from kubectl_mesh.workdir.certs_folder import CertsFolder
from kubectl_mesh.x509.certificates import is_for_key, load_certificates, load_key
from kubectl_mesh.x509.chain import ca_problems, find_root
from kubectl_mesh.x509.layout import (
    ARCHIVE_FOLDER,
    CRL_FILE,
    INTERMEDIATE_FILES,
    NEXT_ROOT_KEY,
    ROOT_CERT,
    ROOT_KEY,
    ROTATION_FILE,
    intermediate_folder,
)


def join(
    others: Sequence[NamedFile],
    key: NamedFile | None,
    kept: Mapping[str, bytes],
    clusters: Sequence[str],
    now: datetime,
) -> tuple[CertsChange, Taken]:
    """The union of roots, and the rotation that it begins: every cluster trusts all of them and
    signs as before.

    The one root that stays is that of `key`, else that of the key which is here, else the only one
    that is here. Refused while another rotation is on, and where nothing says which root stays.
    """
    now = now.replace(microsecond=0)
    on = read(kept)
    taken = union(others, kept, clusters, now, before=_last(on, kept))
    bundle = taken.files.get(ROOT_CERT, kept[ROOT_CERT])
    roots = load_certificates(f"certs/{ROOT_CERT}", bundle)
    if on is not None and (not on.union or on.step != "trust-both"):
        if not taken.files and key is None:
            return CertsChange({}), taken
        what, fix = (
            f"says that a rotation is on ({on.step}), and another root waits for it",
            f"finish it with `{mesh_command('certs rotate-root advance')}`",
        )
        back = ", or go back with abort" if on.step in ("trust-both", "sign-new") else ""
        raise MeshError(
            [Problem(Place(f"certs/{ROTATION_FILE}"), what, f"{fix}{back}", code="rotation-is-on")]
        )
    one, put = _one(roots, key, kept, on)
    old = tuple(fingerprint(c) for c in dict.fromkeys(roots) if c != one)
    put = {**taken.files, **put}
    if CRL_FILE in kept and put:
        put[CRL_FILE] = ahead(kept[CRL_FILE], {**kept, **put}, now)
    state = Rotation("trust-both", old, fingerprint(one), now, union=True)
    if old and (on is None or (set(on.old), on.new) != (set(old), state.new)):
        put[ROTATION_FILE] = write(state)
    return CertsChange(put), taken


def _last(on: Rotation | None, kept: Mapping[str, bytes]) -> bool:
    """Whether the one root ends the bundle: what comes to the others then comes before them, so
    that they can stay in one piece without it.
    """
    roots = load_certificates(f"certs/{ROOT_CERT}", kept[ROOT_CERT]) if ROOT_CERT in kept else ()
    return on is not None and len(roots) > 1 and fingerprint(roots[-1]) == on.new


def _one(
    roots: Sequence[x509.Certificate],
    key: NamedFile | None,
    kept: Mapping[str, bytes],
    on: Rotation | None,
) -> tuple[x509.Certificate, dict[str, bytes]]:
    """The root that stays, and its key where that is new here."""
    if key is not None:
        return _root_of_key(roots, key, kept, on)
    if on is not None:
        return next(c for c in roots if fingerprint(c) == on.new), {}
    before = load_certificates(f"certs/{ROOT_CERT}", kept[ROOT_CERT])
    if ROOT_KEY in kept:
        here = load_key(f"certs/{ROOT_KEY}", kept[ROOT_KEY], for_istio=False)
        if (own := next((c for c in before if is_for_key(c, here)), None)) is not None:
            return own, {}
    if len(before) > 1:
        what = "holds several roots, and no key here says which of them all are to come under"
        fix = (
            "name it with its key:"
            f" `{mesh_command('certs import-root --union FILE --key KEY')}`; without it:"
            f" `{mesh_command('certs rotate-root begin --root FILE')}`"
        )
        raise MeshError(
            [
                Problem(
                    Place(f"certs/{ROOT_CERT}"),
                    what,
                    fix,
                    "certs-one-root",
                    code="root-that-stays-unknown",
                )
            ]
        )
    return before[0], {}


def _root_of_key(
    roots: Sequence[x509.Certificate],
    key: NamedFile,
    kept: Mapping[str, bytes],
    on: Rotation | None,
) -> tuple[x509.Certificate, dict[str, bytes]]:
    """The root of a key that was named, and that key where it is new here."""
    given = load_key(key.name, key.body, for_istio=False)
    root = next((c for c in roots if is_for_key(c, given)), None)
    if root is None:
        problem = Problem(
            Place(key.name),
            "belongs to none of these roots",
            "give the key of the root that all are to come under",
            "certs-pair",
            code="root-key-of-another-root",
        )
        raise MeshError([problem])
    there = next(
        (
            load_key(f"certs/{name}", kept[name], for_istio=False)
            for name in (NEXT_ROOT_KEY, ROOT_KEY)
            if name in kept
        ),
        None,
    )
    if on is not None and fingerprint(root) != on.new:
        problem = Problem(
            Place(key.name),
            "belongs to another root than the one that all are to come under already",
            f"leave it out, or go back first with `{mesh_command('certs rotate-root abort')}`",
            "certs-pair",
            code="root-key-of-another-root",
        )
        raise MeshError([problem])
    return root, {} if there is not None and is_for_key(root, there) else {NEXT_ROOT_KEY: key.body}


def alone(kept: Mapping[str, bytes], names: Sequence[str]) -> list[str]:
    """The clusters that sign with a root of their own, as an istiod does that found no `cacerts`
    when it started.
    """
    found = []
    for name in names:
        path = f"{intermediate_folder(name)}/ca-cert.pem"
        certificate = load_certificates(f"certs/{path}", kept[path])[0] if path in kept else None
        if certificate is not None and certificate.subject == certificate.issuer:
            found.append(name)
    return found


def restored(
    on: Rotation,
    names: Sequence[str],
    certs: CertsFolder,
    now: datetime,
) -> tuple[CertsChange, list[str]]:
    """The intermediates that signed before, out of the archive (`archived_files`), in the place of
    those that the one root signed.

    Second, the clusters that have none there.
    """
    kept = certs.files
    roots = load_certificates(f"certs/{ROOT_CERT}", kept[ROOT_CERT])
    put: dict[str, bytes] = {}
    back, lacking = [], []
    for name in [n for n, trust in sorted(trusts(kept, names).items()) if trust.signer == on.new]:
        found = _former(on, name, roots, certs, now)
        if found is None:
            lacking.append(name)
            continue
        put |= {f"{intermediate_folder(name)}/{part}": body for part, body in found.items()} | {
            f"{intermediate_folder(name)}/{ROOT_CERT}": kept[ROOT_CERT]
        }
        back.append(intermediate_folder(name))
    return CertsChange(put, to_archive(back, kept, certs.archive_names)), lacking


def _former(
    on: Rotation,
    name: str,
    roots: Sequence[x509.Certificate],
    certs: CertsFolder,
    now: datetime,
) -> dict[str, bytes] | None:
    """The latest intermediate of a cluster in the archive that an old root signed, with its key;
    None where there is none that is valid.
    """
    files = certs.archived_files
    best: tuple[datetime, dict[str, bytes]] | None = None
    for base in sorted(certs.archive_names):
        parts = {
            part: files[f"{ARCHIVE_FOLDER}/{base}/{part}"]
            for part in INTERMEDIATE_FILES
            if f"{ARCHIVE_FOLDER}/{base}/{part}" in files
        }
        if (
            not base.startswith(f"{intermediate_folder(name)}-")
            or not {"ca-cert.pem", "ca-key.pem"} <= parts.keys()
        ):
            continue
        try:
            chain = [
                c
                for part in ("ca-cert.pem", "cert-chain.pem")
                if part in parts
                for c in load_certificates(part, parts[part])
            ]
            fits = is_for_key(chain[0], load_key("ca-key.pem", parts["ca-key.pem"]))
        except MeshError:
            continue
        signer = find_root(chain, roots)
        if (
            fits
            and signer is not None
            and fingerprint(signer) in on.old
            and not list(ca_problems("ca-cert.pem", chain[0], now))
        ):
            found = (chain[0].not_valid_before_utc, parts)
            best = found if best is None or found[0] > best[0] else best
    return best[1] if best is not None else None
