"""pki: what is in `certs/` and what the plan wants become a `Pki`: what is there is kept and checked, what is missing is made.

Profile of RFC 5280 and of what istiod verifies when it loads `cacerts` (istio: security/pkg/pki/util/keycertbundle.go):
root CA:TRUE; intermediate CA:TRUE with pathlen:0; both keyCertSign and cRLSign; subject key identifier, and the issuer's in the
intermediate; no URI SAN, since a CA's SPIFFE ID must not have a path. Keys on disk are never validated number by number (that
costs 0.3 s for RSA-4096): their public half is compared with the certificate's.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, PublicKeyAlgorithmOID

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import RENEW, Certificate, Intermediate, Pki

ROOT_CERT, ROOT_KEY = "root-cert.pem", "root-key.pem"
PARTS = ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")
_BACKDATE = timedelta(minutes=10)
_CURVES = {"ec-p256": ec.SECP256R1, "ec-p384": ec.SECP384R1}
_CLOSE = 10
"""How many certificates a chain may have."""

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What new certificates are to be like; `namespaces` has an entry per cluster of the plan."""

    organization: str
    key_type: str
    root_days: int
    intermediate_days: int
    namespaces: Mapping[str, str]


def folder(name: str) -> str:
    """The folder of a cluster's intermediate below `certs/`."""
    return f"intermediate-{name}"


def issue(
    wanted: Wanted,
    kept: Mapping[str, bytes],
    now: datetime,
    progress: Progress = lambda done, of: None,
    folders: Iterable[str] = (),
) -> Pki:
    """Checks the files in `kept` (path below `certs/` -> bytes) and makes the missing ones.

    `now` is in UTC. `progress` is called with the number of keys made and to be made. `folders` are the intermediates that are
    there, those of clusters outside the plan too: while there is one, no root is made in the place of its own. Raises a
    `MeshError` that names each file that does not fit; nothing is made then.
    """
    now = now.replace(microsecond=0)
    root = _kept_root(kept, now, folders)
    problems: list[Problem] = []
    states: dict[str, _State] = {}
    for name in sorted(wanted.namespaces):
        try:
            states[name] = _kept_intermediate(name, kept, root, now)
        except MeshError as error:
            problems += error.problems
    unmade = [name for name, state in states.items() if state.certificate is None]
    if root.certificates and unmade and root.key is None:
        names = ", ".join(unmade)
        fix = "put the root's key there, or the intermediates that were made with it"
        problems.append(Problem(Place(f"certs/{ROOT_KEY}"), f"is missing, and without it no intermediate can be made for {names}", fix, "certs-complete"))
    if problems:
        raise MeshError(problems)
    new: dict[str, bytes] = {}
    keys = _make_keys(wanted.key_type, [name for name in unmade if states[name].key is None], not root.certificates and root.key is None, progress)
    if not root.certificates:
        key = root.key or keys[""]
        if root.key is None:
            new[ROOT_KEY] = _pem_key(key)
        certificate = _build_root(wanted, key, now)
        new[ROOT_CERT] = certificate.public_bytes(serialization.Encoding.PEM)
        root = _Root((certificate,), new[ROOT_CERT], key)
    intermediates = {}
    warnings = [w for c in root.certificates for w in (*_soon(f"certs/{ROOT_CERT}", c, now), *_constrained(f"certs/{ROOT_CERT}", c))]
    for name, state in states.items():
        base = folder(name)
        if state.certificate is None:
            assert root.key is not None
            key = state.key or keys[name]
            if state.key is None:
                new[f"{base}/ca-key.pem"] = state.files["ca-key.pem"] = _pem_key(key)
            issuer = _matching(root.certificates, root.key)
            state.certificate = _build_intermediate(wanted, name, key, issuer, root.key, now)
            faults = list(_chain_problems(f"certs/{base}/ca-cert.pem", state.certificate, (), root.certificates, now))
            if faults:
                raise MeshError(faults)
            new[f"{base}/ca-cert.pem"] = state.files["ca-cert.pem"] = state.certificate.public_bytes(serialization.Encoding.PEM)
        if "cert-chain.pem" not in state.files:
            issuer = _direct_issuer(state.certificate, root.certificates) or root.certificates[0]
            chain = _line(state.files["ca-cert.pem"]) + issuer.public_bytes(serialization.Encoding.PEM)
            new[f"{base}/cert-chain.pem"] = state.files["cert-chain.pem"] = chain
        if "root-cert.pem" not in state.files:
            new[f"{base}/root-cert.pem"] = state.files["root-cert.pem"] = root.pem
        warnings += (*_soon(f"certs/{base}/ca-cert.pem", state.certificate, now), *_constrained(f"certs/{base}/ca-cert.pem", state.certificate))
        intermediates[name] = Intermediate(
            ca_cert=state.files["ca-cert.pem"],
            cert_chain=state.files["cert-chain.pem"],
            root_cert=root.pem,
            ca_key=state.files["ca-key.pem"],
            certificate=describe(state.certificate),
        )
    warnings += _not_own(states)
    return Pki(root.pem, tuple(map(describe, root.certificates)), intermediates, new, tuple(sorted(warnings)))


def _not_own(states: Mapping[str, "_State"]) -> Iterable[Problem]:
    """Intermediates that two clusters share, or that were made for another cluster of the mesh."""
    owners: dict[Any, str] = {}
    for name, state in states.items():
        assert state.certificate is not None
        place = Place(f"certs/{folder(name)}/ca-cert.pem")
        other = owners.setdefault(state.certificate, name)
        if other != name:
            yield Problem(place, f'is the certificate of "{other}" too', "move the folder away to have one made for this cluster", "certs-own")
        made_for = [a.value for a in state.certificate.subject.get_attributes_for_oid(NameOID.LOCALITY_NAME)]
        strangers = [n for n in states if n != name and folder(n) in made_for]
        if strangers:
            yield Problem(place, f'was made for "{strangers[0]}", as its L= says', "put each folder back in its place", "certs-own")


@dataclass(slots=True)
class _Root:
    certificates: tuple[x509.Certificate, ...]
    pem: bytes
    key: Key | None


@dataclass(slots=True)
class _State:
    """What is there for one intermediate; made complete as it is issued."""

    files: dict[str, bytes]
    certificate: x509.Certificate | None
    key: Key | None


def _kept_root(kept: Mapping[str, bytes], now: datetime, folders: Iterable[str]) -> _Root:
    key = _load_key(f"certs/{ROOT_KEY}", kept[ROOT_KEY], for_istio=False) if ROOT_KEY in kept else None
    if ROOT_CERT not in kept:
        orphans = sorted({*folders, *(p.split("/")[0] for p in kept if p.endswith("/ca-cert.pem"))})
        if orphans:
            what = f"is missing, but {', '.join(orphans)} {'were' if len(orphans) > 1 else 'was'} signed by a root that is not here"
            fix = f"put the root's certificate back; certs/{orphans[0]}/root-cert.pem is a copy of it"
            raise MeshError([Problem(Place(f"certs/{ROOT_CERT}"), what, fix, "certs-complete")])
        return _Root((), b"", key)
    name = f"certs/{ROOT_CERT}"
    certificates = _load_certificates(name, kept[ROOT_CERT])
    problems = [p for c in certificates for p in _ca_problems(name, c, now)]
    what = "has pathlen:0, so it may not sign an intermediate"
    narrow = [c for c in certificates if _path_length(c) == 0 and c.subject == c.issuer]
    problems += [Problem(Place(name), what, "use another root", "certs-ca") for _ in narrow]
    if key is not None and not any(_same_key(c, key) for c in certificates):
        what = f"does not belong to {ROOT_KEY} beside it" if len(certificates) == 1 else f"holds no certificate for {ROOT_KEY} beside it"
        problems.append(Problem(Place(name), what, "put back the pair that belongs together", "certs-pair"))
    if problems:
        raise MeshError(problems)
    return _Root(certificates, kept[ROOT_CERT], key)


def _kept_intermediate(name: str, kept: Mapping[str, bytes], root: _Root, now: datetime) -> _State:
    base = f"certs/{folder(name)}"
    files = {part: kept[f"{folder(name)}/{part}"] for part in PARTS if f"{folder(name)}/{part}" in kept}
    key = _load_key(f"{base}/ca-key.pem", files["ca-key.pem"]) if "ca-key.pem" in files else None
    if "ca-cert.pem" not in files:
        stray = [part for part in ("cert-chain.pem", "root-cert.pem") if part in files]
        if stray:
            what = f"is missing, though {' and '.join(stray)} are there" if len(stray) > 1 else f"is missing, though {stray[0]} is there"
            fix = f"put it back, or move {base} away to have a new intermediate made"
            raise MeshError([Problem(Place(f"{base}/ca-cert.pem"), what, fix, "certs-complete")])
        return _State(files, None, key)
    if key is None:
        fix = f"put the key back, or move {base} away to have a new intermediate made"
        raise MeshError([Problem(Place(f"{base}/ca-key.pem"), "is missing, and the certificate beside it is of no use without it", fix, "certs-complete")])
    place = f"{base}/ca-cert.pem"
    certificates = _load_certificates(place, files["ca-cert.pem"])
    certificate = certificates[0]
    problems = list(_ca_problems(place, certificate, now))
    if not _same_key(certificate, key):
        problems.append(Problem(Place(place), "does not belong to ca-key.pem beside it", "put back the pair that belongs together", "certs-pair"))
    chain: Sequence[x509.Certificate] = certificates
    if "cert-chain.pem" in files:
        chain = _load_certificates(f"{base}/cert-chain.pem", files["cert-chain.pem"])
        if chain[0] != certificate:
            what = "does not begin with the certificate in ca-cert.pem"
            problems.append(Problem(Place(f"{base}/cert-chain.pem"), what, "write ca-cert.pem first, then its issuers up to the root", "certs-chain"))
    problems += _chain_problems(place, certificate, chain, root.certificates, now)
    if "root-cert.pem" in files:
        copy = _load_certificates(f"{base}/root-cert.pem", files["root-cert.pem"])
        if set(copy) != set(root.certificates):
            what = f"differs from certs/{ROOT_CERT}: the clusters of a mesh share one root"
            problems.append(
                Problem(
                    Place(f"{base}/root-cert.pem"),
                    what,
                    f"find out which is right; the other is then a copy of it ({base} as a whole, where another root signed it)",
                    "certs-one-root",
                )
            )
    if problems:
        raise MeshError(problems)
    return _State(files, certificate, key)


# A PEM block as Go's encoding/pem takes it: both lines begin at the start of a line and hold nothing else.
_BLOCK = re.compile(rb"^-----BEGIN ([^-\r\n]+)-----[ \t]*\r?\n(.*?)^-----END \1-----[ \t]*(?:\r?\n|\Z)", re.MULTILINE | re.DOTALL)


def _load_certificates(name: str, pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a file that holds nothing else: what stands in it is copied into every cluster."""
    place = Place(name)
    blocks = _BLOCK.findall(pem)
    if b"PRIVATE KEY" in pem:
        raise MeshError([Problem(place, "holds a private key; it is a public file", "take the key out, and take it for known to others", "certs-readable")])
    if not blocks or {label for label, _ in blocks} != {b"CERTIFICATE"} or b"-----" in _BLOCK.sub(b"", pem):
        fix = "write it anew with BEGIN CERTIFICATE and END CERTIFICATE each on a line of its own"
        raise MeshError([Problem(place, "is not made of PEM certificates as istiod reads them", fix, "certs-readable")])
    try:
        certificates = tuple(x509.load_pem_x509_certificates(pem))
        for certificate in certificates:
            # Whatever cannot be read fails here, and nowhere later.
            describe(certificate)
            _ = (certificate.extensions, certificate.signature_hash_algorithm, _path_length(certificate))
            if certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
                raise MeshError([Problem(place, "has an RSA-PSS key, which istiod refuses", "use a plain RSA or EC key", "certs-key-type")])
    except MeshError:
        raise
    except Exception:  # noqa: BLE001 -- cryptography raises a dozen types for what is malformed
        raise MeshError([Problem(place, "holds a certificate that cannot be read", "put back the certificate", "certs-readable")]) from None
    return certificates


def _load_key(name: str, pem: bytes, *, for_istio: bool = True) -> Key:
    """A private key. One for istiod has to be as istiod reads it: the first PEM block, unencrypted, RSA or EC; a root's is read here only."""
    blocks = re.findall(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", pem, re.DOTALL)
    kinds = [kind.decode() for kind in blocks]
    anew = f"write it anew with `openssl pkey -in {name} -out NEW`"
    what, fix = "", ""
    if "ENCRYPTED PRIVATE KEY" in kinds or b"Proc-Type: 4,ENCRYPTED" in pem:
        what, fix = "is encrypted, and nobody could be asked for its password", anew
    elif not {"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"} & set(kinds):
        what, fix = "is not a PEM private key", "put back the key"
    elif for_istio and kinds[0] not in ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"):
        what, fix = f"begins with {kinds[0]}, and istiod reads the first block only", anew
    if what:
        raise MeshError([Problem(Place(name), what, fix, "certs-readable")])
    first = re.search(rb"-----BEGIN ((?:RSA |EC )?PRIVATE KEY)-----.*?-----END \1-----", pem, re.DOTALL)
    pem = first[0] if first else pem
    try:
        key: Any = serialization.load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise MeshError([Problem(Place(name), "is not a private key that can be read", "put back the key", "certs-readable")]) from None
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048 and key.public_key().public_numbers().e < 2**31:
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, tuple(_CURVES.values())):
        return key
    what = "is neither an RSA key of at least 2048 bits nor an EC key on P-256 or P-384, which is what istiod and Envoy take"
    raise MeshError([Problem(Place(name), what, "use a key of such a type", "certs-key-type")])


def _same_key(certificate: x509.Certificate, key: Key) -> bool:
    public: Any = certificate.public_key()
    own: Any = key.public_key()
    return type(public) is type(own) and bool(public.public_numbers() == own.public_numbers())


def _matching(certificates: Iterable[x509.Certificate], key: Key) -> x509.Certificate:
    return next(c for c in certificates if _same_key(c, key))


def _extension(certificate: x509.Certificate, kind: Any) -> Any:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _path_length(certificate: x509.Certificate) -> int | None:
    constraints = _extension(certificate, x509.BasicConstraints)
    return constraints.path_length if constraints is not None else None


def _ca_problems(name: str, certificate: x509.Certificate, now: datetime) -> Iterable[Problem]:
    """What keeps a certificate from being a CA that istiod and Envoy accept."""
    place = Place(name)
    constraints = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    extended = _extension(certificate, x509.ExtendedKeyUsage)
    unknown = [e.oid.dotted_string for e in certificate.extensions if e.critical and isinstance(e.value, x509.UnrecognizedExtension)]
    if unknown:
        yield Problem(place, f"has a critical extension that istiod does not know ({unknown[0]})", "use a certificate without it", "certs-ca")
    if constraints is None or not constraints.ca:
        yield Problem(place, "is not a CA certificate (no CA:TRUE)", "use a CA certificate, not a leaf", "certs-ca")
    if usage is not None and not usage.key_cert_sign:
        yield Problem(place, "may not sign certificates (no keyCertSign)", "use a CA certificate", "certs-ca")
    if extended is not None and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in extended:
        lacking = [n for n, o in (("serverAuth", ExtendedKeyUsageOID.SERVER_AUTH), ("clientAuth", ExtendedKeyUsageOID.CLIENT_AUTH)) if o not in extended]
        if lacking:
            what = f"has an extended key usage without {' and '.join(lacking)}, so no workload's certificate would verify"
            yield Problem(place, what, "use a CA certificate without extended key usage", "certs-ca")
    weak = isinstance(certificate.signature_hash_algorithm, hashes.SHA1 | hashes.MD5)
    if weak and certificate.issuer != certificate.subject:
        yield Problem(place, "is signed with SHA-1 or MD5, which istiod refuses", "use SHA-256 or better", "certs-ca")
    if certificate.not_valid_after_utc <= now:
        yield Problem(place, f"expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC", RENEW, "certs-expired")
    if certificate.not_valid_before_utc > now:
        yield Problem(
            place, f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC", "set the clock right, or use another", "certs-expired"
        )


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    if certificate.issuer != issuer.subject:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # noqa: BLE001 -- whatever it is that keeps it from being verified
        return False
    return True


def _direct_issuer(certificate: x509.Certificate, issuers: Iterable[x509.Certificate]) -> x509.Certificate | None:
    return next((issuer for issuer in issuers if _issued(certificate, issuer)), None)


def _chain_problems(
    name: str, certificate: x509.Certificate, chain: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], now: datetime
) -> Iterable[Problem]:
    """Follows a certificate to one of the roots through the others of its chain."""
    if not roots:
        return
    current = certificate
    for below in range(_CLOSE):
        root = _direct_issuer(current, roots)
        if root is not None:
            limit = _path_length(root)
            if limit is not None and below + 1 > limit:
                what = f"is at depth {below + 1} below a root whose pathlen:{limit} allows {limit}"
                yield Problem(Place(name), what, "use a shorter chain", "certs-chain")
            return
        above = _direct_issuer(current, (c for c in chain if c not in (current, certificate)))
        if above is None:
            break
        yield from _ca_problems(name.replace("ca-cert.pem", "cert-chain.pem"), above, now)
        limit = _path_length(above)
        if limit is not None and below + 1 > limit:
            what = f"is at depth {below + 1} below a CA of its chain whose pathlen:{limit} allows {limit}"
            yield Problem(Place(name), what, "use a shorter chain", "certs-chain")
        current = above
    what = f"is not signed by the root in certs/{ROOT_CERT}"
    fix = "put back the root that signed it; moved away, its folder is made anew under the root that is here"
    yield Problem(Place(name), what, fix, "certs-chain")


def _soon(name: str, certificate: x509.Certificate, now: datetime) -> Iterable[Problem]:
    """A warning where less than 30 days, or less than a tenth of the certificate's life, are left."""
    end = certificate.not_valid_after_utc
    left = end - now
    if left < min(timedelta(days=30), (end - certificate.not_valid_before_utc) / 10):
        yield Problem(Place(name), f"expires on {end:%Y-%m-%d}, in {left.days} days", RENEW, "certs-expiring")


def _constrained(name: str, certificate: x509.Certificate) -> Iterable[Problem]:
    """A warning for name constraints, which are not judged here against the names that Istio gives."""
    if _extension(certificate, x509.NameConstraints) is not None:
        what = "has name constraints; Istio needs spiffe:// URIs of its trust domain and the DNS names of istiod"
        yield Problem(Place(name), what, "make sure that they are permitted", "certs-names")


def _make_keys(kind: str, names: Sequence[str], root: bool, progress: Progress) -> dict[str, Key]:
    """Keys by name, the root's under the empty one; several at once, for OpenSSL works outside Python's lock."""
    names = [*([""] if root else []), *names]
    if not names:
        return {}
    if kind in _CURVES:
        return {name: ec.generate_private_key(_CURVES[kind]()) for name in names}
    import os
    from concurrent.futures import ThreadPoolExecutor, as_completed

    size = int(kind.removeprefix("rsa-"))
    keys: dict[str, Key] = {}
    progress(0, len(names))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        work = {pool.submit(rsa.generate_private_key, 65537, size): name for name in names}
        try:
            for done in as_completed(work):
                keys[work[done]] = done.result()
                progress(len(keys), len(names))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return keys


def _pem_key(key: Key) -> bytes:
    """PKCS#8 PEM (RFC 5958), which every version of istiod reads for RSA, and those that read EC keys read for EC."""
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _line(pem: bytes) -> bytes:
    return pem if pem.endswith(b"\n") else pem + b"\n"


def _name(organization: str, common_name: str, locality: str = "") -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization), x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if locality:
        attributes.append(x509.NameAttribute(NameOID.LOCALITY_NAME, locality))
    return x509.Name(attributes)


def _builder(subject: x509.Name, issuer: x509.Name, key: Key, path_length: int | None, start: datetime, end: datetime) -> x509.CertificateBuilder:
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
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _build_root(wanted: Wanted, key: Key, now: datetime) -> x509.Certificate:
    name = _name(wanted.organization, "Root CA")
    return _builder(name, name, key, None, now - _BACKDATE, now + timedelta(days=wanted.root_days)).sign(key, hashes.SHA256())


def _build_intermediate(wanted: Wanted, name: str, key: Key, issuer: x509.Certificate, issuer_key: Key, now: datetime) -> x509.Certificate:
    subject = _name(wanted.organization, "Intermediate CA", folder(name))
    # A certificate neither outlives nor predates its issuer.
    start = max(now - _BACKDATE, issuer.not_valid_before_utc)
    end = min(now + timedelta(days=wanted.intermediate_days), issuer.not_valid_after_utc)
    identifier = _extension(issuer, x509.SubjectKeyIdentifier)
    authority = (
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        if identifier is not None
        else x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    )
    return (
        _builder(subject, issuer.subject, key, 0, start, end)
        .add_extension(authority, critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"istiod.{wanted.namespaces[name]}.svc")]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def describe(certificate: x509.Certificate) -> Certificate:
    """What people want to know of a certificate."""
    public = certificate.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        kind = f"rsa-{public.key_size}"
    elif isinstance(public, ec.EllipticCurvePublicKey):
        kind = f"ec-p{public.key_size}"
    else:
        kind = type(public).__name__
    return Certificate(
        subject=_text(certificate.subject),
        issuer=_text(certificate.issuer),
        serial=f"{certificate.serial_number:x}",
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        key_type=kind,
        not_before=certificate.not_valid_before_utc.astimezone(UTC),
        not_after=certificate.not_valid_after_utc.astimezone(UTC),
    )


def _text(name: x509.Name) -> str:
    """A name as openssl prints it: `O=acme, CN=Root CA`, in the order of the certificate."""
    return ", ".join(f"{a.rfc4514_attribute_name}={a.value if isinstance(a.value, str) else a.value.hex()}" for a in name)
