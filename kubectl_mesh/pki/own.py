"""An own root, judged before anything of it is taken in: a CA that istiod and Envoy accept, whose
key is its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.pki.kept import Root, kept_intermediate
from kubectl_mesh.x509.certificates import load_certificates, load_key, path_length, same_key
from kubectl_mesh.x509.chain import ca_problems, constrained, direct_issuer, soon
from kubectl_mesh.x509.layout import ROOT_CERT, ROOT_KEY

ROTATE = "`kubectl mesh certs rotate-root begin` brings in another root while traffic flows"


@dataclass(frozen=True, slots=True)
class Taken:
    """What is to be written below `certs/`, in this order, and what deserves a warning."""

    files: Mapping[str, bytes] = field(repr=False)
    warnings: tuple[Problem, ...] = ()


def own_root(
    root: tuple[str, bytes],
    key: tuple[str, bytes] | None,
    kept: Mapping[str, bytes],
    clusters: Sequence[str],
    now: datetime,
) -> Taken:
    """A root of one's own, of several certificates or one, and its key. Each file comes with its
    name, for messages.

    `kept` are the files below `certs/`, `clusters` those whose intermediates are there. The
    certificate is written before its key: a key without a certificate would have one made for it.
    """
    name, pem = root
    now = now.replace(microsecond=0)
    certificates = load_certificates(name, pem)
    problems = [p for c in certificates for p in (*judged(name, c, now), *_fit(name, c))]
    if key is not None:
        problems += _pair(name, certificates, key)
    there = kept.get(ROOT_CERT)
    if there is not None and set(load_certificates(f"certs/{ROOT_CERT}", there)) != set(
        certificates
    ):
        what = f"is another root than certs/{ROOT_CERT}, which is there and is kept"
        problems.append(Problem(Place(name), what, ROTATE, "certs-one-root"))
    if key is not None and ROOT_KEY in kept:
        own = load_key(f"certs/{ROOT_KEY}", kept[ROOT_KEY], for_istio=False)
        if not any(same_key(c, own) for c in certificates):
            what = f"does not belong to certs/{ROOT_KEY}, which is there and is kept"
            problems.append(
                Problem(
                    Place(name), what, f"find out which root is the mesh's; {ROTATE}", "certs-pair"
                )
            )
    if not problems and there is None:
        problems += unfit_intermediates(Root(certificates, pem, None), kept, clusters, now, name)
    if problems:
        raise MeshError(problems)
    files = {} if there is not None else {ROOT_CERT: pem}
    if key is not None and ROOT_KEY not in kept:
        files[ROOT_KEY] = key[1]
    return Taken(
        files,
        tuple(
            sorted(
                {
                    w
                    for c in certificates
                    for w in (*soon(name, c, now), *constrained(name, c), *weak(name, c))
                }
            )
        ),
    )


def judged(name: str, certificate: x509.Certificate, now: datetime) -> Iterable[Problem]:
    """What keeps a certificate from being a root that the clusters of a mesh can trust."""
    for problem in ca_problems(name, certificate, now):
        fix = "take a root that is valid today" if problem.id == "certs-expired" else problem.fix
        yield Problem(problem.where, problem.what, fix, problem.id)
    if direct_issuer(certificate, [certificate]) is None:
        what = "is signed by another: it is no root"
        yield Problem(
            Place(name),
            what,
            "give the self-signed certificate at the end of its chain",
            "certs-ca",
        )


def _fit(name: str, certificate: x509.Certificate) -> Iterable[Problem]:
    """What keeps a root from signing intermediates."""
    key = certificate.public_key()
    large = isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048
    if not large and not (
        isinstance(key, ec.EllipticCurvePublicKey)
        and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1)
    ):
        what = (
            "has neither an RSA key of at least 2048 bits nor an EC key on P-256 or P-384, which is"
            " what istiod and Envoy take"
        )
        yield Problem(Place(name), what, "use a root with such a key", "certs-key-type")
    if path_length(certificate) == 0:
        yield Problem(
            Place(name),
            "has pathlen:0, so it may not sign an intermediate",
            "use another root",
            "certs-ca",
        )


def _pair(
    name: str, certificates: Sequence[x509.Certificate], key: tuple[str, bytes]
) -> list[Problem]:
    try:
        own = load_key(key[0], key[1], for_istio=False)
    except MeshError as error:
        return list(error.problems)
    if any(same_key(c, own) for c in certificates):
        return []
    what = (
        f"does not belong to {name}"
        if len(certificates) == 1
        else f"belongs to none of the {len(certificates)} certificates in {name}"
    )
    return [Problem(Place(key[0]), what, "give the pair that belongs together", "certs-pair")]


def weak(name: str, certificate: x509.Certificate) -> Iterable[Problem]:
    """A warning for a weak signature of a root, which nobody verifies, but which an auditor will
    ask about.
    """
    if isinstance(certificate.signature_hash_algorithm, hashes.SHA1 | hashes.MD5):
        what = (
            "is signed with SHA-1 or MD5 by itself; istiod and Envoy do not look at that of a root"
        )
        yield Problem(
            Place(name), what, "use a root with SHA-256 where there is a choice", "certs-ca"
        )


def unfit_intermediates(
    root: Root, kept: Mapping[str, bytes], clusters: Sequence[str], now: datetime, name: str
) -> list[Problem]:
    """The intermediates that are there and that this root did not sign."""
    problems: list[Problem] = []
    for cluster in clusters:
        try:
            kept_intermediate(cluster, {**kept, ROOT_CERT: root.pem}, root, now, keyless=True)
        except MeshError as error:
            problems += [
                Problem(
                    p.where, p.what.replace(f"the root in certs/{ROOT_CERT}", name), p.fix, p.id
                )
                for p in error.problems
            ]
    return problems
