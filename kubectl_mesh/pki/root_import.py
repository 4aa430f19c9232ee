"""An own root, judged before anything of it is taken in: a CA that istiod and Envoy accept, whose
key is its own.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.pki.profile import NamedFile
from kubectl_mesh.pki.stored_pki import (
    FileLabels,
    StoredRoot,
    load_intermediate,
    path_length_problems,
    self_signed_problems,
)
from kubectl_mesh.text import mesh_command, work_path
from kubectl_mesh.x509.certificates import (
    is_for_key,
    is_supported_key,
    load_certificates,
    load_key,
)
from kubectl_mesh.x509.chain import ca_problems, expiring_soon_problems, name_constraint_problems
from kubectl_mesh.x509.layout import ROOT_CERT, ROOT_KEY

ROTATE_FIX = (
    f"`{mesh_command('certs rotate-root begin')}` brings in another root while traffic flows"
)


@dataclass(frozen=True, slots=True)
class RootImport:
    """What is to be written below `certs/`, in this order, and what deserves a warning."""

    files: Mapping[str, bytes] = field(repr=False)
    warnings: tuple[Problem, ...] = ()


def plan_root_import(
    root: NamedFile,
    key: NamedFile | None,
    certs_files: Mapping[str, bytes],
    clusters: Sequence[str],
    now: datetime,
) -> RootImport:
    """A root of one's own, of several certificates or one, and its key.

    `certs_files` are the files below `certs/`, `clusters` those whose intermediates are there. The
    certificate is written before its key: a key without a certificate would have one made for it.
    """
    now = now.replace(microsecond=0)
    name, pem = root
    certificates = load_certificates(name, pem)
    problems = [
        p for c in certificates for p in (*root_problems(name, c, now), *_signing_problems(name, c))
    ]
    if key is not None:
        problems += _key_pair_problems(name, certificates, key)
    problems += _other_root_problems(name, certificates, certs_files, with_key=key is not None)
    if not problems and ROOT_CERT not in certs_files:
        problems += foreign_intermediate_problems(
            StoredRoot(certificates, pem, None), certs_files, clusters, now, name
        )
    if problems:
        raise MeshError(problems)
    files = {} if ROOT_CERT in certs_files else {ROOT_CERT: pem}
    if key is not None and ROOT_KEY not in certs_files:
        files[ROOT_KEY] = key.body
    warnings = {
        w
        for c in certificates
        for w in (
            *expiring_soon_problems(name, c, now),
            *name_constraint_problems(name, c),
            *weak_signature_problems(name, c),
        )
    }
    return RootImport(files, tuple(sorted(warnings)))


def _other_root_problems(
    name: str,
    certificates: Sequence[x509.Certificate],
    files: Mapping[str, bytes],
    *,
    with_key: bool,
) -> Iterator[Problem]:
    """That another root, or the key of another, is there and stays."""
    stored_root = files.get(ROOT_CERT)
    if stored_root is not None and set(load_certificates(f"certs/{ROOT_CERT}", stored_root)) != set(
        certificates
    ):
        yield Problem(
            Place(name),
            f"is another root than {work_path(f'certs/{ROOT_CERT}')}, which is there and is kept",
            ROTATE_FIX,
            "certs-one-root",
            code="root-exists",
        )
    if with_key and ROOT_KEY in files:
        stored_key = load_key(f"certs/{ROOT_KEY}", files[ROOT_KEY], for_istio=False)
        if not any(is_for_key(c, stored_key) for c in certificates):
            yield Problem(
                Place(name),
                f"does not belong to {work_path(f'certs/{ROOT_KEY}')}, which is there and is kept",
                f"find out which root is the mesh's; {ROTATE_FIX}",
                "certs-pair",
                code="root-key-of-another-root",
            )


def root_problems(name: str, certificate: x509.Certificate, now: datetime) -> Iterator[Problem]:
    """What keeps a certificate from being a root that the clusters of a mesh can trust."""
    for problem in ca_problems(name, certificate, now):
        yield (
            replace(problem, fix="take a root that is valid today")
            if problem.id == "certs-expired"
            else problem
        )
    yield from self_signed_problems(name, certificate)


def _signing_problems(name: str, certificate: x509.Certificate) -> Iterator[Problem]:
    """What keeps a root from signing intermediates."""
    if not is_supported_key(certificate.public_key()):
        what = (
            "has neither an RSA key of at least 2048 bits nor an EC key on P-256 or P-384, which is"
            " what istiod and Envoy take"
        )
        yield Problem(
            Place(name),
            what,
            "use a root with such a key",
            "certs-key-type",
            code="key-type-not-supported",
        )
    yield from path_length_problems(name, certificate)


def _key_pair_problems(
    name: str, certificates: Sequence[x509.Certificate], key: NamedFile
) -> list[Problem]:
    try:
        named_key = load_key(key.name, key.body, for_istio=False)
    except MeshError as error:
        return list(error.problems)
    if any(is_for_key(c, named_key) for c in certificates):
        return []
    what = (
        f"does not belong to {name}"
        if len(certificates) == 1
        else f"belongs to none of the {len(certificates)} certificates in {name}"
    )
    return [
        Problem(
            Place(key.name),
            what,
            "give the pair that belongs together",
            "certs-pair",
            code="key-of-another-certificate",
        )
    ]


def weak_signature_problems(name: str, certificate: x509.Certificate) -> Iterable[Problem]:
    """A warning for a weak signature of a root, which nobody verifies, but which an auditor will
    ask about.
    """
    if isinstance(certificate.signature_hash_algorithm, hashes.SHA1 | hashes.MD5):
        what = (
            "is signed with SHA-1 or MD5 by itself; istiod and Envoy do not look at that of a root"
        )
        yield Problem(
            Place(name),
            what,
            "use a root with SHA-256 where there is a choice",
            "certs-ca",
            code="root-signature-weak",
        )


def foreign_intermediate_problems(
    root: StoredRoot, files: Mapping[str, bytes], clusters: Sequence[str], now: datetime, name: str
) -> list[Problem]:
    """The intermediates that are there and that this root did not sign."""
    judged_files, labels = {**files, ROOT_CERT: root.pem}, FileLabels(root=name)
    problems: list[Problem] = []
    for cluster in clusters:
        try:
            load_intermediate(cluster, judged_files, root, now, keyless=True, labels=labels)
        except MeshError as error:
            problems += error.problems
    return problems
