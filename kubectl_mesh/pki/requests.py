"""Intermediates that somebody else signs: the request (RFC 2986), the signature under a root, and
what comes back, judged.

The root may be an offline machine, an HSM, Vault, a cloud's CA; or a directory of this tool
elsewhere.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.pki.kept import (
    IN_PLACE,
    Labels,
    Root,
    kept_intermediate,
    kept_root,
    self_signed_problems,
)
from kubectl_mesh.pki.make import (
    Issuer,
    build_intermediate,
    intermediate_name,
    make_keys,
    organization_under,
    pem_key,
)
from kubectl_mesh.pki.wanted import NamedFile, Wanted
from kubectl_mesh.text import marked_text, mesh_command, work_path
from kubectl_mesh.x509.certificates import (
    Key,
    describe_certificate,
    is_for_key,
    is_supported_key,
    load_certificates,
    load_key,
)
from kubectl_mesh.x509.chain import ca_problems, direct_issuer
from kubectl_mesh.x509.layout import (
    CSR_FILE,
    ROOT_CERT,
    ROOT_KEY,
    intermediate_folder,
    next_intermediate_folder,
)
from kubectl_mesh.x509.parse import PemError, parse_request


@dataclass(frozen=True, slots=True)
class Request:
    """A request that may be signed: for which cluster, in which namespace Istio is there, and its
    key.
    """

    cluster: str
    namespace: str
    organization: str
    key: Any = field(repr=False)


def request(organization: str, name: str, namespace: str, key: Key) -> bytes:
    """A request in PEM for the intermediate of a cluster, with all that the certificate is to
    have.
    """
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    made = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(intermediate_name(organization, name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(f"istiod.{namespace}.svc")]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def requests(wanted: Wanted, kept: Mapping[str, bytes], progress: Any) -> dict[str, bytes]:
    """The requests of `wanted`, with the keys that are missing: path below `certs/` -> bytes. One
    that is there and fits its key is kept.
    """
    keys: dict[str, Key] = {}
    new: dict[str, bytes] = {}
    problems: list[Problem] = []
    for name in sorted(wanted.namespaces):
        path = f"{intermediate_folder(name)}/ca-key.pem"
        if path in kept:
            try:
                keys[name] = load_key(f"certs/{path}", kept[path])
            except MeshError as error:
                problems += error.problems
        there = kept.get(f"{intermediate_folder(name)}/{CSR_FILE}")
        if there is not None and (name not in keys or not _same(there, keys[name])):
            what = (
                "is a request for another key than ca-key.pem beside it"
                if path in kept
                else "is a request whose key, ca-key.pem beside it, is not here"
            )
            fix = "put the key back; or move the request away to have a new one made"
            problems.append(
                Problem(
                    Place(f"certs/{intermediate_folder(name)}/{CSR_FILE}"),
                    what,
                    fix,
                    "certs-pair",
                    code="request-of-another-key" if path in kept else "request-key-missing",
                )
            )
    if problems:
        raise MeshError(problems)
    made = make_keys(
        wanted.key_type,
        [name for name in sorted(wanted.namespaces) if name not in keys],
        root=False,
        progress=progress,
    )
    for name, key in made.items():
        new[f"{intermediate_folder(name)}/ca-key.pem"] = pem_key(key)
    for name, namespace in sorted(wanted.namespaces.items()):
        if f"{intermediate_folder(name)}/{CSR_FILE}" not in kept:
            new[f"{intermediate_folder(name)}/{CSR_FILE}"] = request(
                requested_organization(wanted, kept, name),
                name,
                namespace,
                keys.get(name) or made[name],
            )
    return new


def requested_organization(wanted: Wanted, kept: Mapping[str, bytes], name: str) -> str:
    """The O= that a cluster's request asks for, with the root and the intermediate that are in
    `kept`, as far as they are.
    """
    root = (
        load_certificates(f"certs/{ROOT_CERT}", kept[ROOT_CERT])[0] if ROOT_CERT in kept else None
    )
    return organization_under(wanted, root, existing_intermediate(kept, name))


def existing_intermediate(kept: Mapping[str, bytes], name: str) -> x509.Certificate | None:
    """The intermediate that a cluster has; None if it has none."""
    path = f"{intermediate_folder(name)}/ca-cert.pem"
    return load_certificates(f"certs/{path}", kept[path])[0] if path in kept else None


def _same(pem: bytes, key: Key) -> bool:
    try:
        public: Any = parse_request(pem).public_key()
    except PemError:
        return False
    own: Any = key.public_key()
    return type(public) is type(own) and bool(public.public_numbers() == own.public_numbers())


_NAME = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# A request comes from elsewhere: a whole command would be printed with the options of this run.
_AGAIN = "have it made anew where it comes from, by `certs csr`"


def _refused(name: str, code: str, what: str, fix: str = _AGAIN) -> MeshError:
    return MeshError([Problem(Place(name), what, fix, "certs-readable", code=code)])


def read_request(name: str, pem: bytes) -> Request:
    """A request as `request` makes it; anything else is refused, for a signature under a root is
    not given to what nobody asked for.
    """
    if b"PRIVATE KEY" in pem:
        raise _refused(
            name,
            "private-key-in-request",
            "holds a private key; a request has none",
            "take the key for known to others, and have a new one made",
        )
    try:
        found = parse_request(pem)
        valid = found.is_signature_valid
        key = found.public_key()
        names = [(a.oid, a.value) for a in found.subject]
        alternatives = [
            n.value if isinstance(n, x509.DNSName) else ""
            for n in found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        ]
    except (ValueError, TypeError, x509.ExtensionNotFound, InvalidSignature):
        raise _refused(
            name, "request-not-pem", "is no request in PEM, or not one of `certs csr`"
        ) from None
    except Exception:  # noqa: BLE001 -- cryptography raises a dozen types for what is malformed
        raise _refused(name, "request-unreadable", "is a request that cannot be read") from None
    if not valid:
        raise _refused(name, "request-not-signed", "is not signed by its own key")
    if not is_supported_key(key):
        raise _refused(
            name,
            "request-key-not-supported",
            "is for a key that istiod does not take: RSA from 2048 bits on, or EC on P-256 or"
            " P-384",
        )
    requested = _requested_names(names, alternatives)
    if requested is None:
        raise _refused(
            name,
            "request-names-not-of-an-intermediate",
            "asks for other names than the intermediate of a cluster has (O=, CN=Intermediate CA,"
            " L=intermediate-NAME; istiod.NAMESPACE.svc)",
        )
    return Request(*requested, key)


def _requested_names(
    names: Sequence[tuple[x509.ObjectIdentifier, str | bytes]], alternatives: Sequence[str]
) -> tuple[str, str, str] | None:
    """The cluster, the namespace and the O= that a request names; None where it has other names
    than the intermediate of a cluster.
    """
    subject = {oid: str(value) for oid, value in names}
    cluster = re.fullmatch(rf"intermediate-({_NAME})", subject.get(NameOID.LOCALITY_NAME, ""))
    namespace = (
        re.fullmatch(rf"istiod\.({_NAME})\.svc", alternatives[0])
        if len(alternatives) == 1
        else None
    )
    if (
        len(names) != 3
        or cluster is None
        or namespace is None
        or subject.get(NameOID.COMMON_NAME) != "Intermediate CA"
    ):
        return None
    return cluster[1], namespace[1], subject.get(NameOID.ORGANIZATION_NAME, "")


def sign(found: Request, kept: Mapping[str, bytes], days: int, now: datetime) -> bytes:
    """The intermediate for a request and the root it is signed by, PEM, from the root in `kept` and
    its key.
    """
    root = kept_root(kept, now, ())
    if not root.certificates or root.key is None:
        missing = ROOT_CERT if not root.certificates else ROOT_KEY
        raise MeshError(
            [
                Problem(
                    Place(f"certs/{missing}"),
                    "is not here, and nothing can be signed without it",
                    "name the directory that has it with -C",
                    "certs-complete",
                    code="root-key-missing" if root.certificates else "root-certificate-missing",
                )
            ]
        )
    issuer = next(c for c in root.certificates if is_for_key(c, root.key))
    wanted = Wanted(found.organization, "", 0, days, {found.cluster: found.namespace})
    made = build_intermediate(
        wanted, found.cluster, found.key, Issuer(issuer, root.key), now.replace(microsecond=0)
    )
    return made.public_bytes(serialization.Encoding.PEM) + issuer.public_bytes(
        serialization.Encoding.PEM
    )


@dataclass(frozen=True, slots=True)
class Awaited:
    """The cluster that a certificate comes back for."""

    name: str
    clusters: Sequence[str]
    """All clusters of the mesh."""
    folder: str
    """The folder below `certs/` with the key and the request."""

    def path(self, part: str) -> str:
        """The path of a file of it, as a value inside a text."""
        return work_path(f"certs/{self.folder}/{part}")


def accept(
    awaited: Awaited,
    came: NamedFile,
    root: NamedFile | None,
    kept: Mapping[str, bytes],
    now: datetime,
) -> dict[str, bytes]:
    """What came back for a cluster, judged: path below `certs/` -> bytes to be written. `root` is
    one that is not here yet; `kept` has the key where that of an intermediate is.

    Raises a `MeshError` with every reason to refuse it.
    """
    now = now.replace(microsecond=0)
    base = intermediate_folder(awaited.name)
    if refusal := _unwanted_problem(awaited, came, kept):
        raise MeshError([refusal])
    chain = load_certificates(came.name, came.body)
    trusted, labels = _trusted_root(came.name, root, kept, now)
    new = {} if root is None or ROOT_CERT in kept else {ROOT_CERT: root.body}
    problems = list(_own_problems(awaited, came.name, chain, kept, now))
    problems += _order_problems(Place(came.name), chain, trusted)
    problems += other_cluster_problems(Place(came.name), chain[0], awaited.name, awaited.clusters)
    if not problems:
        new |= _files(base, chain, trusted)
        judged = {ROOT_CERT: trusted.pem, **kept, **new}
        try:
            kept_intermediate(awaited.name, judged, trusted, now, labels=labels)
        except MeshError as error:
            problems += [
                (
                    _came_back(p, came.name, is_first=ROOT_CERT in new)
                    if p.where.file.startswith(f"certs/{base}/")
                    else p
                )
                for p in error.problems
            ]
    problems += _existing_problems(awaited, came.name, new, kept)
    if problems:
        raise MeshError(problems)
    return {path: body for path, body in new.items() if path not in kept}


def _existing_problems(
    awaited: Awaited, file: str, new: Mapping[str, bytes], kept: Mapping[str, bytes]
) -> Iterator[Problem]:
    """Files that are there already, and others. What a killed import left is no reason to refuse
    the same certificate.
    """
    for path in [p for p in new if p in kept and kept[p] != new[p]]:
        shown = work_path(
            f"certs/{awaited.folder}{path.removeprefix(intermediate_folder(awaited.name))}"
        )
        yield Problem(
            Place(file),
            f"is another than {shown}, which is there already",
            f"move {shown} away",
            "certs-own",
            code="intermediate-exists",
        )


def _trusted_root(
    file: str, root: NamedFile | None, kept: Mapping[str, bytes], now: datetime
) -> tuple[Root, Labels]:
    """The root that a certificate is judged by, and what messages call it."""
    if ROOT_CERT in kept:
        return kept_root({ROOT_CERT: kept[ROOT_CERT]}, now, ()), IN_PLACE
    if root is None:
        what = f"cannot be judged, for there is no {work_path(f'certs/{ROOT_CERT}')} yet"
        fix = (
            f"name its root with --root FILE; it becomes {work_path(f'certs/{ROOT_CERT}')}, which"
            " every cluster trusts"
        )
        raise MeshError([Problem(Place(file), what, fix, "certs-complete", code="root-not-named")])
    return _root(root, now), Labels(root=f"the root in {root.name}")


def _unwanted_problem(
    awaited: Awaited, came: NamedFile, kept: Mapping[str, bytes]
) -> Problem | None:
    """Why nothing can be accepted for a cluster, or not this file, whatever certificate is in
    it.
    """
    place, base = Place(came.name), intermediate_folder(awaited.name)
    # A killed import may have left the certificate without its chain, or without the root.
    if all(f"{base}/{part}" in kept for part in ("ca-cert.pem", "cert-chain.pem", "root-cert.pem")):
        return Problem(
            place,
            f"is not needed: {awaited.path('ca-cert.pem')} is there, and is kept",
            f"have another requested with `{mesh_command(f'certs renew {awaited.name}')}`",
            "certs-own",
            code="intermediate-exists",
        )
    if f"{base}/ca-key.pem" not in kept:
        return Problem(
            place,
            f"is for a key that is not here: {awaited.path('ca-key.pem')} is missing",
            f"put it back, or begin with `{mesh_command(f'certs csr {awaited.name}')}`",
            "certs-complete",
            code="intermediate-key-missing",
        )
    if not came.body.strip():
        return Problem(
            place,
            "is empty",
            "have the request signed again",
            "certs-readable",
            code="certificate-file-empty",
        )
    if came.body[:1] == b"\x30":
        return Problem(
            place,
            "is in binary (DER), and istiod reads PEM",
            "convert it: openssl x509 -inform DER -in FILE -out NEW",
            "certs-readable",
            code="certificates-not-pem",
        )
    return None


def _own_problems(
    awaited: Awaited,
    file: str,
    chain: Sequence[x509.Certificate],
    kept: Mapping[str, bytes],
    now: datetime,
) -> Iterator[Problem]:
    """What is wrong with the first certificate of a file that came back, apart from who signed
    it.
    """
    path = f"{intermediate_folder(awaited.name)}/ca-key.pem"
    own = load_key(f"certs/{path}", kept[path])
    if not is_for_key(chain[0], own):
        yield _other_key(awaited, Place(file), chain, own, kept)
    yield from ca_problems(file, chain[0], now, expired_fix=SIGN_AGAIN)


def _order_problems(
    place: Place, chain: Sequence[x509.Certificate], trusted: Root
) -> Iterator[Problem]:
    """That a chain does not go from the certificate of the cluster to its issuers."""
    if chain[0] in trusted.certificates:
        yield Problem(
            place,
            "begins with the root itself, where the certificate of the cluster belongs",
            "put the cluster's certificate first",
            "certs-chain",
            code="chain-begins-with-root",
        )
        return
    for below, above in itertools.pairwise(chain):
        if direct_issuer(below, [above]) is None:
            yield Problem(
                place,
                f"is out of order: {describe_certificate(below).subject} is not signed by the"
                " certificate"
                " below it",
                "put each certificate above the one that signed it",
                "certs-chain",
                code="chain-out-of-order",
            )
            return


def other_cluster_problems(
    place: Place, certificate: x509.Certificate, name: str, clusters: Sequence[str]
) -> Iterator[Problem]:
    """That a certificate says that it is for another cluster of the mesh."""
    locality = [a.value for a in certificate.subject.get_attributes_for_oid(NameOID.LOCALITY_NAME)]
    strangers = [c for c in clusters if c != name and intermediate_folder(c) in locality]
    if strangers:
        yield Problem(
            place,
            f'was made for "{strangers[0]}", as its L= says',
            f"import it as {strangers[0]}",
            "certs-own",
            code="intermediate-of-another-cluster",
        )


def follows(name: str, kept: Mapping[str, bytes]) -> bool:
    """Whether a cluster waits for an intermediate that follows the one in use."""
    return (
        f"{intermediate_folder(name)}/ca-cert.pem" in kept
        and f"{next_intermediate_folder(name)}/ca-key.pem" in kept
    )


SIGN_AGAIN = "have the request signed again"
_BETWEEN = "or give the CAs between, each below the one that it signed"


def _came_back(problem: Problem, file: str, *, is_first: bool) -> Problem:
    """A problem of an intermediate, said of the file that came back; `is_first`: the root comes
    with it.
    """
    what, fix = marked_text(problem.what), marked_text(problem.fix)
    if problem.where.file.endswith("cert-chain.pem"):
        what = f"holds an issuer that {what}"
    if problem.code == "certificate-expired":
        fix = SIGN_AGAIN
    elif is_first and problem.code == "certificate-not-signed-by-root":
        fix = f"name the root that signed it with --root; {_BETWEEN}"
    elif problem.id == "certs-chain":
        fix = f"have it signed by the root of this mesh; {_BETWEEN}"
    return replace(problem, where=Place(file), what=what, fix=fix)


def _root(root: NamedFile, now: datetime) -> Root:
    certificates = load_certificates(root.name, root.body)
    problems = [p for c in certificates for p in ca_problems(root.name, c, now)]
    problems += [p for c in certificates for p in self_signed_problems(root.name, c)]
    if problems:
        raise MeshError(problems)
    return Root(certificates, root.body, None)


def _other_key(
    awaited: Awaited,
    place: Place,
    chain: Sequence[x509.Certificate],
    own: Key,
    kept: Mapping[str, bytes],
) -> Problem:
    """Whose key a certificate is for, if it is for one that is here."""
    if any(is_for_key(c, own) for c in chain[1:]):
        return Problem(
            place,
            "is out of order: the cluster's own certificate is not the first",
            "put it first, then its issuers up to the root",
            "certs-chain",
            code="chain-out-of-order",
        )
    for other in awaited.clusters:
        pem = kept.get(f"{intermediate_folder(other)}/ca-key.pem")
        if (
            other != awaited.name
            and pem is not None
            and is_for_key(
                chain[0], load_key(f"certs/{intermediate_folder(other)}/ca-key.pem", pem)
            )
        ):
            return Problem(
                place,
                f'is for the key of "{other}"',
                f"import it as {other}",
                "certs-own",
                code="intermediate-of-another-cluster",
            )
    return Problem(
        place,
        f"is not for the key in {awaited.path('ca-key.pem')}",
        f"have {awaited.path(CSR_FILE)} signed, and no other request",
        "certs-pair",
        code="key-of-another-certificate",
    )


def _files(base: str, chain: Sequence[x509.Certificate], trusted: Root) -> dict[str, bytes]:
    """The three public files of an intermediate; the chain goes up to the root, which may not have
    come along.
    """
    pems = [c.public_bytes(serialization.Encoding.PEM) for c in chain]
    top = direct_issuer(chain[-1], trusted.certificates)
    if top is not None and top != chain[-1]:
        pems.append(top.public_bytes(serialization.Encoding.PEM))
    return {
        f"{base}/ca-cert.pem": pems[0],
        f"{base}/cert-chain.pem": b"".join(pems),
        f"{base}/root-cert.pem": trusted.pem,
    }
