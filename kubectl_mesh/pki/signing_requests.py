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
from kubectl_mesh.pki.certificate_builder import (
    Issuer,
    build_intermediate,
    choose_organization,
    dump_key,
    generate_keys,
    intermediate_subject,
)
from kubectl_mesh.pki.profile import CertificateProfile, NamedFile
from kubectl_mesh.pki.stored_pki import (
    STORED_LABELS,
    FileLabels,
    StoredRoot,
    load_intermediate,
    load_root,
    self_signed_problems,
)
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
class SigningRequest:
    """A request that may be signed: for which cluster, in which namespace Istio is there, and its
    key.
    """

    cluster: str
    namespace: str
    organization: str
    key: Any = field(repr=False)


def build_request(organization: str, name: str, namespace: str, key: Key) -> bytes:
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
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(intermediate_subject(organization, name))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(f"istiod.{namespace}.svc")]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    return csr.public_bytes(serialization.Encoding.PEM)


def prepare_requests(
    profile: CertificateProfile, files: Mapping[str, bytes], progress: Any
) -> dict[str, bytes]:
    """The requests for the clusters of `profile`, and the keys that are missing, as bytes by path
    below `certs/`. A request that fits its key stays as it is.
    """
    keys: dict[str, Key] = {}
    new: dict[str, bytes] = {}
    problems: list[Problem] = []
    for name in sorted(profile.namespaces):
        path = f"{intermediate_folder(name)}/ca-key.pem"
        if path in files:
            try:
                keys[name] = load_key(f"certs/{path}", files[path])
            except MeshError as error:
                problems += error.problems
        existing = files.get(f"{intermediate_folder(name)}/{CSR_FILE}")
        if existing is not None and (name not in keys or not _is_request_for(existing, keys[name])):
            problems.append(_request_key_problem(name, has_key=path in files))
    if problems:
        raise MeshError(problems)
    new_keys = generate_keys(
        profile.key_type,
        [name for name in sorted(profile.namespaces) if name not in keys],
        root=False,
        progress=progress,
    )
    for name, key in new_keys.items():
        new[f"{intermediate_folder(name)}/ca-key.pem"] = dump_key(key)
    for name, namespace in sorted(profile.namespaces.items()):
        if f"{intermediate_folder(name)}/{CSR_FILE}" not in files:
            new[f"{intermediate_folder(name)}/{CSR_FILE}"] = build_request(
                requested_organization(profile, files, name),
                name,
                namespace,
                keys.get(name) or new_keys[name],
            )
    return new


def _request_key_problem(name: str, *, has_key: bool) -> Problem:
    """The request of a cluster is for another key, or its key is missing."""
    what = (
        "is a request for another key than ca-key.pem beside it"
        if has_key
        else "is a request whose key, ca-key.pem beside it, is not here"
    )
    return Problem(
        Place(f"certs/{intermediate_folder(name)}/{CSR_FILE}"),
        what,
        "put the key back; or move the request away to have a new one made",
        "certs-pair",
        code="request-of-another-key" if has_key else "request-key-missing",
    )


def requested_organization(
    profile: CertificateProfile, files: Mapping[str, bytes], name: str
) -> str:
    """The O= that a cluster's request asks for, with the root and the intermediate that are in
    `files`, as far as they are.
    """
    root = (
        load_certificates(f"certs/{ROOT_CERT}", files[ROOT_CERT])[0] if ROOT_CERT in files else None
    )
    return choose_organization(profile, root, find_intermediate(files, name))


def find_intermediate(files: Mapping[str, bytes], name: str) -> x509.Certificate | None:
    """The intermediate that a cluster has; None if it has none."""
    path = f"{intermediate_folder(name)}/ca-cert.pem"
    return load_certificates(f"certs/{path}", files[path])[0] if path in files else None


def _is_request_for(pem: bytes, key: Key) -> bool:
    try:
        public: Any = parse_request(pem).public_key()
    except PemError:
        return False
    own: Any = key.public_key()
    return type(public) is type(own) and bool(public.public_numbers() == own.public_numbers())


_DNS_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# A request comes from elsewhere: a whole command would be printed with the options of this run.
_REQUEST_AGAIN_FIX = "have it made anew where it comes from, by `certs csr`"


def _request_error(name: str, code: str, what: str, fix: str = _REQUEST_AGAIN_FIX) -> MeshError:
    return MeshError([Problem(Place(name), what, fix, "certs-readable", code=code)])


def read_request(name: str, pem: bytes) -> SigningRequest:
    """A request as `request` makes it; anything else is refused, for a signature under a root is
    not given to what nobody asked for.
    """
    if b"PRIVATE KEY" in pem:
        raise _request_error(
            name,
            "private-key-in-request",
            "holds a private key; a request has none",
            "take the key for known to others, and have a new one made",
        )
    try:
        csr = parse_request(pem)
        valid = csr.is_signature_valid
        key = csr.public_key()
        names = [(a.oid, a.value) for a in csr.subject]
        alternatives = [
            n.value if isinstance(n, x509.DNSName) else ""
            for n in csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        ]
    except (ValueError, TypeError, x509.ExtensionNotFound, InvalidSignature):
        raise _request_error(
            name, "request-not-pem", "is no request in PEM, or not one of `certs csr`"
        ) from None
    except Exception:  # noqa: BLE001 -- cryptography raises a dozen types for what is malformed
        raise _request_error(
            name, "request-unreadable", "is a request that cannot be read"
        ) from None
    if not valid:
        raise _request_error(name, "request-not-signed", "is not signed by its own key")
    if not is_supported_key(key):
        raise _request_error(
            name,
            "request-key-not-supported",
            "is for a key that istiod does not take: RSA from 2048 bits on, or EC on P-256 or"
            " P-384",
        )
    requested = _requested_names(names, alternatives)
    if requested is None:
        raise _request_error(
            name,
            "request-names-not-of-an-intermediate",
            "asks for other names than the intermediate of a cluster has (O=, CN=Intermediate CA,"
            " L=intermediate-NAME; istiod.NAMESPACE.svc)",
        )
    return SigningRequest(*requested, key)


def _requested_names(
    names: Sequence[tuple[x509.ObjectIdentifier, str | bytes]], alternatives: Sequence[str]
) -> tuple[str, str, str] | None:
    """The cluster, the namespace and the O= that a request names; None where it has other names
    than the intermediate of a cluster.
    """
    subject = {oid: str(value) for oid, value in names}
    cluster = re.fullmatch(rf"intermediate-({_DNS_LABEL})", subject.get(NameOID.LOCALITY_NAME, ""))
    namespace = (
        re.fullmatch(rf"istiod\.({_DNS_LABEL})\.svc", alternatives[0])
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


def sign_request(
    request: SigningRequest, files: Mapping[str, bytes], days: int, now: datetime
) -> bytes:
    """The intermediate for a request and the root it is signed by, PEM, from the root in `files`
    and its key.
    """
    root = load_root(files, now, ())
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
    wanted = CertificateProfile(
        request.organization, "", 0, days, {request.cluster: request.namespace}
    )
    certificate = build_intermediate(
        wanted, request.cluster, request.key, Issuer(issuer, root.key), now.replace(microsecond=0)
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + issuer.public_bytes(
        serialization.Encoding.PEM
    )


@dataclass(frozen=True, slots=True)
class AwaitedIntermediate:
    """The cluster that a certificate comes back for."""

    cluster: str
    clusters: Sequence[str]
    """All clusters of the mesh."""
    folder: str
    """The folder below `certs/` with the key and the request."""

    def file_path(self, part: str) -> str:
        """The path of a file of it, as a value inside a text."""
        return work_path(f"certs/{self.folder}/{part}")


def accept_intermediate(
    awaited: AwaitedIntermediate,
    signed_file: NamedFile,
    root: NamedFile | None,
    files: Mapping[str, bytes],
    now: datetime,
) -> dict[str, bytes]:
    """What came back for a cluster, judged: path below `certs/` -> bytes to be written. `root` is
    one that is not here yet; `files` has the key where that of an intermediate is.

    Raises a `MeshError` with every reason to refuse it.
    """
    now = now.replace(microsecond=0)
    base = intermediate_folder(awaited.cluster)
    if refusal := _unwanted_problem(awaited, signed_file, files):
        raise MeshError([refusal])
    chain = load_certificates(signed_file.name, signed_file.body)
    trusted, labels = _trusted_root(signed_file.name, root, files, now)
    new = {} if root is None or ROOT_CERT in files else {ROOT_CERT: root.body}
    problems = list(_certificate_problems(awaited, signed_file.name, chain, files, now))
    problems += _order_problems(Place(signed_file.name), chain, trusted)
    problems += other_cluster_problems(
        Place(signed_file.name), chain[0], awaited.cluster, awaited.clusters
    )
    if not problems:
        new |= _intermediate_files(base, chain, trusted)
        judged_files = {ROOT_CERT: trusted.pem, **files, **new}
        try:
            load_intermediate(awaited.cluster, judged_files, trusted, now, labels=labels)
        except MeshError as error:
            problems += [
                (
                    _relabel_problem(p, signed_file.name, is_first=ROOT_CERT in new)
                    if p.where.file.startswith(f"certs/{base}/")
                    else p
                )
                for p in error.problems
            ]
    problems += _existing_problems(awaited, signed_file.name, new, files)
    if problems:
        raise MeshError(problems)
    return {path: body for path, body in new.items() if path not in files}


def _existing_problems(
    awaited: AwaitedIntermediate, file: str, new: Mapping[str, bytes], files: Mapping[str, bytes]
) -> Iterator[Problem]:
    """Files that are there already, and others. What a killed import left is no reason to refuse
    the same certificate.
    """
    for path in [p for p in new if p in files and files[p] != new[p]]:
        stored = work_path(
            f"certs/{awaited.folder}{path.removeprefix(intermediate_folder(awaited.cluster))}"
        )
        yield Problem(
            Place(file),
            f"is another than {stored}, which is there already",
            f"move {stored} away",
            "certs-own",
            code="intermediate-exists",
        )


def _trusted_root(
    file: str, root: NamedFile | None, files: Mapping[str, bytes], now: datetime
) -> tuple[StoredRoot, FileLabels]:
    """The root that a certificate is judged by, and what messages call it."""
    if ROOT_CERT in files:
        return load_root({ROOT_CERT: files[ROOT_CERT]}, now, ()), STORED_LABELS
    if root is None:
        what = f"cannot be judged, for there is no {work_path(f'certs/{ROOT_CERT}')} yet"
        fix = (
            f"name its root with --root FILE; it becomes {work_path(f'certs/{ROOT_CERT}')}, which"
            " every cluster trusts"
        )
        raise MeshError([Problem(Place(file), what, fix, "certs-complete", code="root-not-named")])
    return _load_named_root(root, now), FileLabels(root=f"the root in {root.name}")


def _unwanted_problem(
    awaited: AwaitedIntermediate, signed_file: NamedFile, files: Mapping[str, bytes]
) -> Problem | None:
    """Why nothing can be accepted for a cluster, or not this file, whatever certificate is in
    it.
    """
    place, base = Place(signed_file.name), intermediate_folder(awaited.cluster)
    # A killed import may have left the certificate without its chain, or without the root.
    if all(
        f"{base}/{part}" in files for part in ("ca-cert.pem", "cert-chain.pem", "root-cert.pem")
    ):
        return Problem(
            place,
            f"is not needed: {awaited.file_path('ca-cert.pem')} is there, and is kept",
            f"have another requested with `{mesh_command(f'certs renew {awaited.cluster}')}`",
            "certs-own",
            code="intermediate-exists",
        )
    if f"{base}/ca-key.pem" not in files:
        return Problem(
            place,
            f"is for a key that is not here: {awaited.file_path('ca-key.pem')} is missing",
            f"put it back, or begin with `{mesh_command(f'certs csr {awaited.cluster}')}`",
            "certs-complete",
            code="intermediate-key-missing",
        )
    if not signed_file.body.strip():
        return Problem(
            place,
            "is empty",
            "have the request signed again",
            "certs-readable",
            code="certificate-file-empty",
        )
    if signed_file.body[:1] == b"\x30":
        return Problem(
            place,
            "is in binary (DER), and istiod reads PEM",
            "convert it: openssl x509 -inform DER -in FILE -out NEW",
            "certs-readable",
            code="certificates-not-pem",
        )
    return None


def _certificate_problems(
    awaited: AwaitedIntermediate,
    file: str,
    chain: Sequence[x509.Certificate],
    files: Mapping[str, bytes],
    now: datetime,
) -> Iterator[Problem]:
    """What is wrong with the first certificate of a file that came back, apart from who signed
    it.
    """
    path = f"{intermediate_folder(awaited.cluster)}/ca-key.pem"
    key = load_key(f"certs/{path}", files[path])
    if not is_for_key(chain[0], key):
        yield _other_key_problem(awaited, Place(file), chain, key, files)
    yield from ca_problems(file, chain[0], now, expired_fix=SIGN_AGAIN_FIX)


def _order_problems(
    place: Place, chain: Sequence[x509.Certificate], trusted: StoredRoot
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
    named_clusters = [c for c in clusters if c != name and intermediate_folder(c) in locality]
    if named_clusters:
        yield Problem(
            place,
            f'was made for "{named_clusters[0]}", as its L= says',
            f"import it as {named_clusters[0]}",
            "certs-own",
            code="intermediate-of-another-cluster",
        )


def is_renewal_pending(name: str, files: Mapping[str, bytes]) -> bool:
    """Whether a cluster waits for an intermediate that follows the one in use."""
    return (
        f"{intermediate_folder(name)}/ca-cert.pem" in files
        and f"{next_intermediate_folder(name)}/ca-key.pem" in files
    )


SIGN_AGAIN_FIX = "have the request signed again"
_BETWEEN_FIX = "or give the CAs between, each below the one that it signed"


def _relabel_problem(problem: Problem, file: str, *, is_first: bool) -> Problem:
    """A problem of an intermediate, said of the file that came back; `is_first`: the root comes
    with it.
    """
    what, fix = marked_text(problem.what), marked_text(problem.fix)
    if problem.where.file.endswith("cert-chain.pem"):
        what = f"holds an issuer that {what}"
    if problem.code == "certificate-expired":
        fix = SIGN_AGAIN_FIX
    elif is_first and problem.code == "certificate-not-signed-by-root":
        fix = f"name the root that signed it with --root; {_BETWEEN_FIX}"
    elif problem.id == "certs-chain":
        fix = f"have it signed by the root of this mesh; {_BETWEEN_FIX}"
    return replace(problem, where=Place(file), what=what, fix=fix)


def _load_named_root(root: NamedFile, now: datetime) -> StoredRoot:
    certificates = load_certificates(root.name, root.body)
    problems = [p for c in certificates for p in ca_problems(root.name, c, now)]
    problems += [p for c in certificates for p in self_signed_problems(root.name, c)]
    if problems:
        raise MeshError(problems)
    return StoredRoot(certificates, root.body, None)


def _other_key_problem(
    awaited: AwaitedIntermediate,
    place: Place,
    chain: Sequence[x509.Certificate],
    key: Key,
    files: Mapping[str, bytes],
) -> Problem:
    """Whose key a certificate is for, if it is for one that is here."""
    if any(is_for_key(c, key) for c in chain[1:]):
        return Problem(
            place,
            "is out of order: the cluster's own certificate is not the first",
            "put it first, then its issuers up to the root",
            "certs-chain",
            code="chain-out-of-order",
        )
    for other in awaited.clusters:
        pem = files.get(f"{intermediate_folder(other)}/ca-key.pem")
        if (
            other != awaited.cluster
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
        f"is not for the key in {awaited.file_path('ca-key.pem')}",
        f"have {awaited.file_path(CSR_FILE)} signed, and no other request",
        "certs-pair",
        code="key-of-another-certificate",
    )


def _intermediate_files(
    base: str, chain: Sequence[x509.Certificate], trusted: StoredRoot
) -> dict[str, bytes]:
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
