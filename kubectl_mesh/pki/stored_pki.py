"""What is in `certs/`, checked."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.text import work_path
from kubectl_mesh.x509.certificates import Key, is_for_key, load_certificates, load_key, path_length
from kubectl_mesh.x509.chain import (
    ROOT_LABEL,
    ca_problems,
    chain_problems,
    direct_issuer,
    find_root,
)
from kubectl_mesh.x509.layout import INTERMEDIATE_FILES, ROOT_CERT, ROOT_KEY, intermediate_folder

EXPIRED_ROOT_FIX = (
    "nothing that it signed is accepted any more: go on with a rotation that is on; where none is,"
    f" move {work_path('certs/')} and the tree away, and render"
)


@dataclass(frozen=True, slots=True)
class FileLabels:
    """What messages call the files that an intermediate is judged with."""

    root: str = ROOT_LABEL
    key: str = "ca-key.pem beside it"


STORED_LABELS = FileLabels()
"""The files are in `certs/` already."""


@dataclass(slots=True)
class StoredRoot:
    """The root that is there: its certificates (none: there is no root yet), their text, and the
    key, if it is there too.
    """

    certificates: tuple[x509.Certificate, ...]
    pem: bytes
    key: Key | None


@dataclass(slots=True)
class StoredIntermediate:
    """What is there for one intermediate; made complete as it is issued."""

    files: dict[str, bytes]
    certificate: x509.Certificate | None
    key: Key | None


def load_root(files: Mapping[str, bytes], now: datetime, folders: Iterable[str]) -> StoredRoot:
    """The root of the mesh, checked."""
    key = (
        load_key(f"certs/{ROOT_KEY}", files[ROOT_KEY], for_istio=False)
        if ROOT_KEY in files
        else None
    )
    if ROOT_CERT not in files:
        _check_no_orphans(files, folders)
        return StoredRoot((), b"", key)
    name = f"certs/{ROOT_CERT}"
    certificates = load_certificates(name, files[ROOT_CERT])
    problems = [
        p
        for c in certificates
        if c.not_valid_after_utc > now or not _is_idle_root(c, certificates, files, now)
        for p in ca_problems(name, c, now, expired_fix=EXPIRED_ROOT_FIX)
    ]
    problems += [
        p for c in certificates if c.subject == c.issuer for p in path_length_problems(name, c)
    ]
    if key is not None and not any(is_for_key(c, key) for c in certificates):
        what = (
            f"does not belong to {ROOT_KEY} beside it"
            if len(certificates) == 1
            else f"holds no certificate for {ROOT_KEY} beside it"
        )
        problems.append(
            Problem(
                Place(name),
                what,
                "put back the pair that belongs together",
                "certs-pair",
                code="root-key-of-another-root",
            )
        )
    if problems:
        raise MeshError(problems)
    return StoredRoot(certificates, files[ROOT_CERT], key)


def path_length_problems(name: str, certificate: x509.Certificate) -> Iterator[Problem]:
    """That a root may not sign an intermediate."""
    if path_length(certificate) == 0:
        yield Problem(
            Place(name),
            "has pathlen:0, so it may not sign an intermediate",
            "use another root",
            "certs-ca",
            code="root-signs-no-intermediate",
        )


def self_signed_problems(name: str, certificate: x509.Certificate) -> Iterator[Problem]:
    """That a certificate is not a root, because another signed it."""
    if direct_issuer(certificate, [certificate]) is None:
        yield Problem(
            Place(name),
            "is signed by another: it is no root",
            "give the self-signed certificate at the end of its chain",
            "certs-ca",
            code="certificate-not-self-signed",
        )


def _check_no_orphans(files: Mapping[str, bytes], folders: Iterable[str]) -> None:
    """Refuses intermediates whose root is missing."""
    orphans = sorted({*folders, *(p.split("/")[0] for p in files if p.endswith("/ca-cert.pem"))})
    if not orphans:
        return
    what = (
        f"is missing, but {', '.join(orphans)} {'were' if len(orphans) > 1 else 'was'}"
        " signed by a root that is not here"
    )
    copy = work_path(f"certs/{orphans[0]}/root-cert.pem")
    fix = f"put the root's certificate back; {copy} is a copy of it"
    raise MeshError(
        [
            Problem(
                Place(f"certs/{ROOT_CERT}"),
                what,
                fix,
                "certs-complete",
                code="root-certificate-missing",
            )
        ]
    )


def _is_idle_root(
    root: x509.Certificate,
    roots: Sequence[x509.Certificate],
    files: Mapping[str, bytes],
    now: datetime,
) -> bool:
    """Whether a root that has ended may stay: another has not, and no intermediate leads to this
    one.
    """
    if all(c.not_valid_after_utc <= now for c in roots):
        return False
    for path in files:
        if path.startswith("intermediate-") and path.endswith("/ca-cert.pem"):
            chain = [*load_certificates(f"certs/{path}", files[path])]
            above = path.replace("ca-cert", "cert-chain")
            chain += load_certificates(f"certs/{above}", files[above]) if above in files else ()
            if find_root(chain, roots) == root:
                return False
    return True


def load_intermediate(
    name: str,
    certs_files: Mapping[str, bytes],
    root: StoredRoot,
    now: datetime,
    *,
    keyless: bool = False,
    labels: FileLabels = STORED_LABELS,
) -> StoredIntermediate:
    """The intermediate of one cluster, checked; `keyless`: its key need not be here."""
    base = f"certs/{intermediate_folder(name)}"
    files = {
        part: certs_files[f"{intermediate_folder(name)}/{part}"]
        for part in INTERMEDIATE_FILES
        if f"{intermediate_folder(name)}/{part}" in certs_files
    }
    key = load_key(f"{base}/ca-key.pem", files["ca-key.pem"]) if "ca-key.pem" in files else None
    if missing := list(_missing_problems(base, files, keyless=keyless)):
        raise MeshError(missing)
    if "ca-cert.pem" not in files:
        return StoredIntermediate(files, None, key)
    place = f"{base}/ca-cert.pem"
    certificates = load_certificates(place, files["ca-cert.pem"])
    certificate = certificates[0]
    problems = list(ca_problems(place, certificate, now))
    if key is not None and not is_for_key(certificate, key):
        problems.append(
            Problem(
                Place(place),
                f"does not belong to {labels.key}",
                "put back the pair that belongs together",
                "certs-pair",
                code="key-of-another-certificate",
            )
        )
    chain: Sequence[x509.Certificate] = certificates
    if "cert-chain.pem" in files:
        chain = load_certificates(f"{base}/cert-chain.pem", files["cert-chain.pem"])
        problems += _chain_start_problems(base, certificate, chain)
    problems += chain_problems(place, certificate, chain, root.certificates, now, labels.root)
    if "root-cert.pem" in files:
        problems += _root_copy_problems(base, files["root-cert.pem"], root)
    if problems:
        raise MeshError(problems)
    return StoredIntermediate(files, certificate, key)


def _missing_problems(base: str, files: Mapping[str, bytes], *, keyless: bool) -> Iterator[Problem]:
    """What is missing of an intermediate that is there in part."""
    if "ca-cert.pem" not in files:
        stray = [part for part in ("cert-chain.pem", "root-cert.pem") if part in files]
        if stray:
            verb = "are" if len(stray) > 1 else "is"
            yield Problem(
                Place(f"{base}/ca-cert.pem"),
                f"is missing, though {' and '.join(stray)} {verb} there",
                f"put it back, or move {work_path(base)} away to have a new intermediate made",
                "certs-complete",
                code="intermediate-certificate-missing",
            )
    elif "ca-key.pem" not in files and not keyless:
        yield Problem(
            Place(f"{base}/ca-key.pem"),
            "is missing, and the certificate beside it is of no use without it",
            f"put the key back, or move {work_path(base)} away to have a new intermediate made",
            "certs-complete",
            code="intermediate-key-missing",
        )


def _chain_start_problems(
    base: str, certificate: x509.Certificate, chain: Sequence[x509.Certificate]
) -> Iterator[Problem]:
    if chain[0] != certificate:
        yield Problem(
            Place(f"{base}/cert-chain.pem"),
            "does not begin with the certificate in ca-cert.pem",
            "write ca-cert.pem first, then its issuers up to the root",
            "certs-chain",
            code="chain-begins-with-another-certificate",
        )


def _root_copy_problems(base: str, pem: bytes, root: StoredRoot) -> Iterator[Problem]:
    copy = load_certificates(f"{base}/root-cert.pem", pem)
    if set(copy) != set(root.certificates):
        yield Problem(
            Place(f"{base}/root-cert.pem"),
            f"differs from {work_path(f'certs/{ROOT_CERT}')}: the clusters of a mesh share one"
            " root",
            f"find out which is right; the other is then a copy of it ({work_path(base)} as a"
            " whole, where another root signed it)",
            "certs-one-root",
            code="root-copy-differs",
        )


def swapped_intermediate_problems(
    states: Mapping[str, "StoredIntermediate"], others: Mapping[str, bytes], *, shared: bool
) -> Iterable[Problem]:
    """Intermediates that were made for another cluster of the mesh, which has it too (`shared`), or
    has not; `others` as in `Wanted`.
    """
    ca_certs = {
        **others,
        **{name: state.files.get("ca-cert.pem", b"") for name, state in states.items()},
    }
    for name, state in states.items():
        for other in _subject_clusters(state, set(ca_certs) - {name})[:1]:
            if (ca_certs[other] == state.files["ca-cert.pem"]) == shared:
                place = Place(f"certs/{intermediate_folder(name)}/ca-cert.pem")
                yield Problem(
                    place,
                    f'was made for "{other}", as its L= says',
                    "put each folder back in its place, or move it away to have one made for this"
                    " cluster",
                    "certs-own",
                    code="intermediate-of-another-cluster",
                )


def _subject_clusters(state: "StoredIntermediate", names: Iterable[str]) -> list[str]:
    """Of these clusters the one that an intermediate says it is for."""
    subject = state.certificate.subject if state.certificate is not None else ()
    places = {a.value for a in subject if a.oid == NameOID.LOCALITY_NAME}
    return sorted(n for n in names if intermediate_folder(n) in places)


def shared_intermediate_problems(states: Mapping[str, "StoredIntermediate"]) -> Iterable[Problem]:
    """Intermediates that two clusters share."""
    owners: dict[Any, str] = {}
    for name, state in states.items():
        assert state.certificate is not None
        place = Place(f"certs/{intermediate_folder(name)}/ca-cert.pem")
        other = owners.setdefault(state.certificate, name)
        if other != name:
            yield Problem(
                place,
                f'is the certificate of "{other}" too',
                "move the folder away to have one made for this cluster",
                "certs-own",
                code="intermediate-shared",
            )
