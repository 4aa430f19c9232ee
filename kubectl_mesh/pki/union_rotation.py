"""Running clusters come under one root: the union of their roots as the first step of a rotation,
and the way back to what each signed with.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from cryptography import x509

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import CertsChange
from kubectl_mesh.pki.next_root_crl import add_next_root_crl
from kubectl_mesh.pki.profile import NamedFile
from kubectl_mesh.pki.renewal import plan_archive_moves
from kubectl_mesh.pki.root_import import RootImport
from kubectl_mesh.pki.root_union import merge_roots
from kubectl_mesh.pki.rotation import (
    Rotation,
    dump_rotation,
    read_rotation,
    read_trust,
    sha256_fingerprint,
)
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


def begin_union(
    others: Sequence[NamedFile],
    key: NamedFile | None,
    files: Mapping[str, bytes],
    clusters: Sequence[str],
    now: datetime,
) -> tuple[CertsChange, RootImport]:
    """The union of roots, and the rotation that it begins: every cluster trusts all of them and
    signs as before.

    The one root that stays is that of `key`, else that of the key which is here, else the only one
    that is here. Refused while another rotation is on, and where nothing says which root stays.
    """
    now = now.replace(microsecond=0)
    current = read_rotation(files)
    merged = merge_roots(others, files, clusters, now, first=_is_last_root(current, files))
    bundle = merged.files.get(ROOT_CERT, files[ROOT_CERT])
    roots = load_certificates(f"certs/{ROOT_CERT}", bundle)
    if current is not None and (not current.is_union or current.step != "trust-both"):
        if not merged.files and key is None:
            return CertsChange({}), merged
        what, fix = (
            f"says that a rotation is on ({current.step}), and another root waits for it",
            f"finish it with `{mesh_command('certs rotate-root advance')}`",
        )
        back = ", or go back with abort" if current.step in ("trust-both", "sign-new") else ""
        raise MeshError(
            [Problem(Place(f"certs/{ROTATION_FILE}"), what, f"{fix}{back}", code="rotation-is-on")]
        )
    kept_root, write = _choose_root(roots, key, files, current)
    old = tuple(sha256_fingerprint(c) for c in dict.fromkeys(roots) if c != kept_root)
    write = {**merged.files, **write}
    if CRL_FILE in files and write:
        write[CRL_FILE] = add_next_root_crl(files[CRL_FILE], {**files, **write}, now)
    state = Rotation("trust-both", old, sha256_fingerprint(kept_root), now, is_union=True)
    if old and (
        current is None or (set(current.old_roots), current.new_root) != (set(old), state.new_root)
    ):
        write[ROTATION_FILE] = dump_rotation(state)
    return CertsChange(write), merged


def _is_last_root(current: Rotation | None, files: Mapping[str, bytes]) -> bool:
    """Whether the one root ends the bundle: what comes to the others then comes before them, so
    that they can stay in one piece without it.
    """
    roots = load_certificates(f"certs/{ROOT_CERT}", files[ROOT_CERT]) if ROOT_CERT in files else ()
    return (
        current is not None and len(roots) > 1 and sha256_fingerprint(roots[-1]) == current.new_root
    )


def _choose_root(
    roots: Sequence[x509.Certificate],
    key: NamedFile | None,
    files: Mapping[str, bytes],
    current: Rotation | None,
) -> tuple[x509.Certificate, dict[str, bytes]]:
    """The root that stays, and its key where that is new here."""
    if key is not None:
        return _root_of_key(roots, key, files, current)
    if current is not None:
        return next(c for c in roots if sha256_fingerprint(c) == current.new_root), {}
    known_roots = load_certificates(f"certs/{ROOT_CERT}", files[ROOT_CERT])
    if ROOT_KEY in files:
        key_here = load_key(f"certs/{ROOT_KEY}", files[ROOT_KEY], for_istio=False)
        if (own := next((c for c in known_roots if is_for_key(c, key_here)), None)) is not None:
            return own, {}
    if len(known_roots) > 1:
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
    return known_roots[0], {}


def _root_of_key(
    roots: Sequence[x509.Certificate],
    key: NamedFile,
    files: Mapping[str, bytes],
    current: Rotation | None,
) -> tuple[x509.Certificate, dict[str, bytes]]:
    """The root of a key that was named, and that key where it is new here."""
    named_key = load_key(key.name, key.body, for_istio=False)
    root = next((c for c in roots if is_for_key(c, named_key)), None)
    if root is None:
        problem = Problem(
            Place(key.name),
            "belongs to none of these roots",
            "give the key of the root that all are to come under",
            "certs-pair",
            code="root-key-of-another-root",
        )
        raise MeshError([problem])
    key_here = next(
        (
            load_key(f"certs/{name}", files[name], for_istio=False)
            for name in (NEXT_ROOT_KEY, ROOT_KEY)
            if name in files
        ),
        None,
    )
    if current is not None and sha256_fingerprint(root) != current.new_root:
        problem = Problem(
            Place(key.name),
            "belongs to another root than the one that all are to come under already",
            f"leave it out, or go back first with `{mesh_command('certs rotate-root abort')}`",
            "certs-pair",
            code="root-key-of-another-root",
        )
        raise MeshError([problem])
    return root, {} if key_here is not None and is_for_key(root, key_here) else {
        NEXT_ROOT_KEY: key.body
    }


def find_self_signed_clusters(files: Mapping[str, bytes], names: Sequence[str]) -> list[str]:
    """The clusters that sign with a root of their own, as an istiod does that found no `cacerts`
    when it started.
    """
    clusters = []
    for name in names:
        path = f"{intermediate_folder(name)}/ca-cert.pem"
        certificate = load_certificates(f"certs/{path}", files[path])[0] if path in files else None
        if certificate is not None and certificate.subject == certificate.issuer:
            clusters.append(name)
    return clusters


def restore_intermediates(
    current: Rotation,
    names: Sequence[str],
    certs: CertsFolder,
    now: datetime,
) -> tuple[CertsChange, list[str]]:
    """The intermediates that signed before, out of the archive (`archived_files`), in the place of
    those that the one root signed.

    Second, the clusters that have none there.
    """
    files = certs.files
    roots = load_certificates(f"certs/{ROOT_CERT}", files[ROOT_CERT])
    write: dict[str, bytes] = {}
    replaced_folders, missing = [], []
    for name in [
        n
        for n, trust in sorted(read_trust(files, names).items())
        if trust.signer == current.new_root
    ]:
        former_files = _find_former_intermediate(current, name, roots, certs, now)
        if former_files is None:
            missing.append(name)
            continue
        write |= {
            f"{intermediate_folder(name)}/{part}": body for part, body in former_files.items()
        } | {f"{intermediate_folder(name)}/{ROOT_CERT}": files[ROOT_CERT]}
        replaced_folders.append(intermediate_folder(name))
    return CertsChange(
        write, plan_archive_moves(replaced_folders, files, certs.archive_names)
    ), missing


def _find_former_intermediate(
    current: Rotation,
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
            is_pair = is_for_key(chain[0], load_key("ca-key.pem", parts["ca-key.pem"]))
        except MeshError:
            continue
        signer = find_root(chain, roots)
        if (
            is_pair
            and signer is not None
            and sha256_fingerprint(signer) in current.old_roots
            and not list(ca_problems("ca-cert.pem", chain[0], now))
        ):
            candidate = (chain[0].not_valid_before_utc, parts)
            best = candidate if best is None or candidate[0] > best[0] else best
    return best[1] if best is not None else None
