"""Intermediates that somebody else signs: the request (RFC 2986), the signature under a root, and
what comes back, judged.

The root may be an offline machine, an HSM, Vault, a cloud's CA; or a directory of this tool
elsewhere.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.pki.kept import Root, kept_intermediate, kept_root
from kubectl_mesh.pki.make import (
    build_intermediate,
    intermediate_name,
    make_keys,
    organization_under,
    pem_key,
)
from kubectl_mesh.pki.wanted import Wanted
from kubectl_mesh.x509.certificates import Key, describe, load_certificates, load_key, same_key
from kubectl_mesh.x509.chain import ca_problems, direct_issuer
from kubectl_mesh.x509.layout import REQUEST, ROOT_CERT, ROOT_KEY, folder, next_folder
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
        path = f"{folder(name)}/ca-key.pem"
        if path in kept:
            try:
                keys[name] = load_key(f"certs/{path}", kept[path])
            except MeshError as error:
                problems += error.problems
        there = kept.get(f"{folder(name)}/{REQUEST}")
        if there is not None and (name not in keys or not _same(there, keys[name])):
            what = (
                "is a request for another key than ca-key.pem beside it"
                if path in kept
                else "is a request whose key, ca-key.pem beside it, is not here"
            )
            fix = "put the key back; or move the request away to have a new one made"
            problems.append(
                Problem(Place(f"certs/{folder(name)}/{REQUEST}"), what, fix, "certs-pair")
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
        new[f"{folder(name)}/ca-key.pem"] = pem_key(key)
    for name, namespace in sorted(wanted.namespaces.items()):
        if f"{folder(name)}/{REQUEST}" not in kept:
            new[f"{folder(name)}/{REQUEST}"] = request(
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
    path = f"{folder(name)}/ca-cert.pem"
    return load_certificates(f"certs/{path}", kept[path])[0] if path in kept else None


def _same(pem: bytes, key: Key) -> bool:
    try:
        public: Any = parse_request(pem).public_key()
    except PemError:
        return False
    own: Any = key.public_key()
    return type(public) is type(own) and bool(public.public_numbers() == own.public_numbers())


def read_request(name: str, pem: bytes) -> Request:
    """A request as `request` makes it; anything else is refused, for a signature under a root is
    not given to what nobody asked for.
    """
    place = Place(name)

    # It is made elsewhere: a whole command of ours would be printed with the options of this run.
    def refused(
        what: str, fix: str = "have it made anew where it comes from, by `certs csr`"
    ) -> MeshError:
        return MeshError([Problem(place, what, fix, "certs-readable")])

    if b"PRIVATE KEY" in pem:
        raise refused(
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
        raise refused("is no request in PEM, or not one of `certs csr`") from None
    except Exception:  # noqa: BLE001 -- cryptography raises a dozen types for what is malformed
        raise refused("is a request that cannot be read") from None
    if not valid:
        raise refused("is not signed by its own key")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        pass
    elif not (
        isinstance(key, ec.EllipticCurvePublicKey)
        and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1)
    ):
        raise refused(
            "is for a key that istiod does not take: RSA from 2048 bits on, or EC on P-256 or P-384"
        )
    subject = {oid: str(value) for oid, value in names}
    cluster = re.fullmatch(
        r"intermediate-([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)",
        subject.get(NameOID.LOCALITY_NAME, ""),
    )
    namespace = (
        re.fullmatch(r"istiod\.([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)\.svc", alternatives[0])
        if len(alternatives) == 1
        else None
    )
    if (
        len(names) != 3
        or cluster is None
        or namespace is None
        or subject.get(NameOID.COMMON_NAME) != "Intermediate CA"
    ):
        raise refused(
            "asks for other names than the intermediate of a cluster has (O=, CN=Intermediate CA,"
            " L=intermediate-NAME; istiod.NAMESPACE.svc)"
        )
    return Request(cluster[1], namespace[1], subject.get(NameOID.ORGANIZATION_NAME, ""), key)


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
                )
            ]
        )
    issuer = next(c for c in root.certificates if same_key(c, root.key))
    wanted = Wanted(found.organization, "", 0, days, {found.cluster: found.namespace})
    made = build_intermediate(
        wanted, found.cluster, found.key, issuer, root.key, now.replace(microsecond=0)
    )
    return made.public_bytes(serialization.Encoding.PEM) + issuer.public_bytes(
        serialization.Encoding.PEM
    )


def accept(
    name: str,
    clusters: Sequence[str],
    file: str,
    pem: bytes,
    root: tuple[str, bytes] | None,
    kept: Mapping[str, bytes],
    now: datetime,
) -> dict[str, bytes]:
    """What came back for a cluster, judged: path below `certs/` -> bytes to be written. `file` is
    its name, `root` a root that is not here yet.

    Raises a `MeshError` with every reason to refuse it.
    """
    place = Place(file)
    now = now.replace(microsecond=0)

    def refused(what: str, fix: str, check: str) -> MeshError:
        return MeshError([Problem(place, what, fix, check)])

    base = folder(name)
    # A killed import may have left the certificate without its chain, or without the root.
    if all(f"{base}/{part}" in kept for part in ("ca-cert.pem", "cert-chain.pem", "root-cert.pem")):
        raise refused(
            f"is not needed: certs/{base}/ca-cert.pem is there, and is kept",
            f"have another requested with `kubectl mesh certs renew {name}`",
            "certs-own",
        )
    if f"{base}/ca-key.pem" not in kept:
        what = f"is for a key that is not here: certs/{base}/ca-key.pem is missing"
        raise refused(
            what, f"put it back, or begin with `kubectl mesh certs csr {name}`", "certs-complete"
        )
    if not pem.strip():
        raise refused("is empty", "have the request signed again", "certs-readable")
    if pem[:1] == b"\x30":
        raise refused(
            "is in binary (DER), and istiod reads PEM",
            "convert it: openssl x509 -inform DER -in FILE -out NEW",
            "certs-readable",
        )
    chain = load_certificates(file, pem)
    certificate = chain[0]
    new: dict[str, bytes] = {}
    named = f"certs/{ROOT_CERT}"
    if ROOT_CERT in kept:
        trusted = kept_root({ROOT_CERT: kept[ROOT_CERT]}, now, ())
    elif root is None:
        fix = (
            f"name its root with --root FILE; it becomes certs/{ROOT_CERT}, which every cluster"
            " trusts"
        )
        raise refused(
            f"cannot be judged, for there is no certs/{ROOT_CERT} yet", fix, "certs-complete"
        )
    else:
        trusted = _root(*root, now)
        named, new[ROOT_CERT] = root
    own = load_key(f"certs/{base}/ca-key.pem", kept[f"{base}/ca-key.pem"])
    problems: list[Problem] = []
    if not same_key(certificate, own):
        problems += _other_key(place, name, clusters, chain, own, kept)
    problems += [replace(p, fix=_fix(p)) for p in ca_problems(file, certificate, now)]
    if certificate in trusted.certificates:
        problems.append(
            Problem(
                place,
                "begins with the root itself, where the certificate of the cluster belongs",
                "put the cluster's certificate first",
                "certs-chain",
            )
        )
    else:
        problems += _out_of_order(place, chain)
    locality = [a.value for a in certificate.subject.get_attributes_for_oid(NameOID.LOCALITY_NAME)]
    strangers = [c for c in clusters if c != name and folder(c) in locality]
    if strangers:
        problems.append(
            Problem(
                place,
                f'was made for "{strangers[0]}", as its L= says',
                f"import it as {strangers[0]}",
                "certs-own",
            )
        )
    if not problems:
        new |= _files(base, chain, trusted)
        judged = {**kept, **new}
        judged.setdefault(ROOT_CERT, trusted.pem)
        try:
            kept_intermediate(name, judged, trusted, now)
        except MeshError as error:
            ours = f"certs/{base}/"
            problems += [
                (
                    Problem(place, _what(p, named), _fix(p, first=ROOT_CERT in new), p.id)
                    if p.where.file.startswith(ours)
                    else p
                )
                for p in error.problems
            ]
    # What a killed import left is no reason to refuse the same certificate; another one is kept.
    for path in [p for p in new if p in kept]:
        if kept[path] != new.pop(path):
            what = f"is another than certs/{path}, which is there already"
            problems.append(Problem(place, what, f"move certs/{path} away", "certs-own"))
    if problems:
        raise MeshError(problems)
    return new


def _what(problem: Problem, root: str) -> str:
    """What is wrong with a certificate that came back; `root` is the file with the root that it was
    judged by.
    """
    what = problem.what.replace(f"certs/{ROOT_CERT}", root)
    return f"holds an issuer that {what}" if problem.where.file.endswith("cert-chain.pem") else what


def follows(name: str, kept: Mapping[str, bytes]) -> bool:
    """Whether a cluster waits for an intermediate that follows the one in use."""
    return f"{folder(name)}/ca-cert.pem" in kept and f"{next_folder(name)}/ca-key.pem" in kept


def _fix(problem: Problem, *, first: bool = False) -> str:
    """What to do about a certificate that came back; `first`: the root comes with it."""
    if problem.what.startswith("expired"):
        return "have the request signed again"
    if first and problem.what.startswith("is not signed by the root"):
        return (
            "name the root that signed it with --root; or give the CAs between, each below the one"
            " that it signed"
        )
    if problem.id == "certs-chain":
        return (
            "have it signed by the root of this mesh; or give the CAs between, each below the one"
            " that it signed"
        )
    return problem.fix


def _root(name: str, pem: bytes, now: datetime) -> Root:
    certificates = load_certificates(name, pem)
    problems = [p for c in certificates for p in ca_problems(name, c, now)]
    problems += [
        Problem(
            Place(name),
            "is signed by another: it is no root",
            "give the self-signed certificate at the end of its chain",
            "certs-ca",
        )
        for c in certificates
        if direct_issuer(c, [c]) is None
    ]
    if problems:
        raise MeshError(problems)
    return Root(certificates, pem, None)


def _other_key(
    place: Place,
    name: str,
    clusters: Sequence[str],
    chain: Sequence[x509.Certificate],
    own: Key,
    kept: Mapping[str, bytes],
) -> list[Problem]:
    """Whose key a certificate is for, if it is for one that is here."""
    if any(same_key(c, own) for c in chain[1:]):
        return [
            Problem(
                place,
                "is out of order: the cluster's own certificate is not the first",
                "put it first, then its issuers up to the root",
                "certs-chain",
            )
        ]
    for other in clusters:
        pem = kept.get(f"{folder(other)}/ca-key.pem")
        if (
            other != name
            and pem is not None
            and same_key(chain[0], load_key(f"certs/{folder(other)}/ca-key.pem", pem))
        ):
            return [
                Problem(place, f'is for the key of "{other}"', f"import it as {other}", "certs-own")
            ]
    fix = f"have certs/{folder(name)}/{REQUEST} signed, and no other request"
    return [
        Problem(place, f"is not for the key in certs/{folder(name)}/ca-key.pem", fix, "certs-pair")
    ]


def _out_of_order(place: Place, chain: Sequence[x509.Certificate]) -> list[Problem]:
    for below, above in itertools.pairwise(chain):
        if direct_issuer(below, [above]) is None:
            what = (
                f"is out of order: {describe(below).subject} is not signed by the certificate"
                " below it"
            )
            return [
                Problem(
                    place, what, "put each certificate above the one that signed it", "certs-chain"
                )
            ]
    return []


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
