"""The union of roots: the first barrier on the way to one root, in which every cluster trusts all
of them and signs as before.

istiod up to 1.29 takes a changed bundle only if the text of one is a part of the other's, so each
old text stays as it is, in one piece.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.pki.profile import NamedFile
from kubectl_mesh.pki.root_import import RootImport, root_problems
from kubectl_mesh.text import mesh_command
from kubectl_mesh.x509.certificates import describe_certificate, extension_value, load_certificates
from kubectl_mesh.x509.chain import expiring_soon_problems
from kubectl_mesh.x509.layout import ROOT_CERT, intermediate_folder


def merge_roots(
    others: Sequence[NamedFile],
    certs_files: Mapping[str, bytes],
    clusters: Sequence[str],
    now: datetime,
    *,
    first: bool = False,
) -> RootImport:
    """The root that is there and those of `others`, as the new root-cert.pem and as the copies
    beside the intermediates of `clusters`.

    The others come behind it; with `first`, in front of it.
    """
    now = now.replace(microsecond=0)
    problems = list(_missing_root_problems(certs_files))
    bundle, name = certs_files.get(ROOT_CERT, b""), f"certs/{ROOT_CERT}"
    trusted = [(name, c) for c in load_certificates(name, bundle)] if bundle else []
    warnings: list[Problem] = []
    for other in others:
        try:
            certificates = load_certificates(other.name, other.body)
        except MeshError as error:
            problems += error.problems
            continue
        problems += [p for c in certificates for p in root_problems(other.name, c, now)]
        warnings += [w for c in certificates for w in expiring_soon_problems(other.name, c, now)]
        trusted += [(other.name, c) for c in certificates]
        text = _end_line(other.body)
        if text not in bundle:
            bundle = text + bundle if first else _end_line(bundle) + text if bundle else text
    problems += ambiguous_root_problems(trusted, certs_files, clusters)
    if problems:
        raise MeshError(problems)
    copies = [f"{intermediate_folder(c)}/{ROOT_CERT}" for c in clusters]
    files = {
        path: bundle
        for path in (ROOT_CERT, *copies)
        if certs_files.get(path) != bundle and (path == ROOT_CERT or path in certs_files)
    }
    return RootImport(files, tuple(sorted(set(warnings))))


def _missing_root_problems(files: Mapping[str, bytes]) -> Iterator[Problem]:
    if ROOT_CERT not in files:
        fix = (
            f"make one with `{mesh_command('init')}`, or take in your own with"
            f" `{mesh_command('certs import-root FILE --key FILE')}`"
        )
        yield Problem(
            Place(f"certs/{ROOT_CERT}"),
            "is not there: the clusters are to come under it",
            fix,
            "certs-complete",
            code="root-certificate-missing",
        )


def ambiguous_root_problems(
    trusted: Sequence[tuple[str, x509.Certificate]],
    files: Mapping[str, bytes],
    clusters: Sequence[str],
) -> Iterable[Problem]:
    """Roots of one name that a proxy cannot tell apart.

    BoringSSL takes the first root that has the issuer's name and, where both sides state one, its
    key identifier; it does not try a second.
    """
    seen: dict[tuple[str, str], tuple[str, x509.Certificate]] = {}
    shared: set[bytes] = set()
    for name, certificate in trusted:
        key = certificate.subject.public_bytes()
        for (_, _), (other, first) in list(seen.items()):
            if first.subject.public_bytes() != key or _same_key(first, certificate):
                continue
            shared.add(key)
            ids = [extension_value(c, x509.SubjectKeyIdentifier) for c in (first, certificate)]
            if None in ids:
                what = (
                    f"has the same name as the root in {other}"
                    f" ({describe_certificate(certificate).subject}),"
                    " and not both have a key identifier"
                )
                fix = (
                    "Envoy takes the first for both and refuses what the other signed: such"
                    " clusters come together by new roots and a restart, not step by step"
                )
                yield Problem(Place(name), what, fix, "certs-chain", code="roots-indistinguishable")
        seen[name, str(certificate.serial_number)] = (name, certificate)
    for cluster in clusters:
        path = f"{intermediate_folder(cluster)}/cert-chain.pem"
        for certificate in load_certificates(f"certs/{path}", files[path]) if path in files else ():
            if (
                certificate.issuer != certificate.subject
                and certificate.issuer.public_bytes() in shared
                and extension_value(certificate, x509.AuthorityKeyIdentifier) is None
            ):
                what = (
                    "names its issuer by a name that two roots have, and by no key identifier;"
                    " Envoy takes the first of them"
                )
                yield Problem(
                    Place(f"certs/{path}"),
                    what,
                    "have this intermediate made anew under its root first",
                    "certs-chain",
                    code="intermediate-issuer-ambiguous",
                )


def _same_key(one: x509.Certificate, other: x509.Certificate) -> bool:
    a, b = one.public_key(), other.public_key()
    if isinstance(a, rsa.RSAPublicKey) and isinstance(b, rsa.RSAPublicKey):
        return a.public_numbers() == b.public_numbers()
    return (
        isinstance(a, ec.EllipticCurvePublicKey)
        and isinstance(b, ec.EllipticCurvePublicKey)
        and a.public_numbers() == b.public_numbers()
    )


def bundle_roots(roots: Mapping[str, bytes]) -> bytes:
    """The roots of all clusters as one bundle, each text once and in one piece; refused where a
    proxy could not tell them apart.

    `roots` are by their source.
    """
    bundle = b""
    trusted: list[tuple[str, x509.Certificate]] = []
    for name, pem in roots.items():
        trusted += [(name, c) for c in load_certificates(name, pem)]
        if _end_line(pem) not in bundle and not (
            bundle and set(load_certificates(name, pem)) <= set(load_certificates(name, bundle))
        ):
            bundle += (
                pem if not bundle else (b"" if bundle.endswith(b"\n") else b"\n") + _end_line(pem)
            )
    if problems := list(ambiguous_root_problems(trusted, {}, ())):
        raise MeshError(problems)
    return bundle


def _end_line(pem: bytes) -> bytes:
    return pem if pem.endswith(b"\n") else pem + b"\n"
