"""What is in `certs/` and what the plan wants become a `Pki`: what is there is kept and checked,
what is missing is made.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import Intermediate, Pki
from kubectl_mesh.pki import crl, next_root_crl, rotation
from kubectl_mesh.pki.certificate_builder import (
    Issuer,
    build_intermediate,
    build_root,
    dump_key,
    generate_keys,
)
from kubectl_mesh.pki.profile import CertificateProfile, Progress, ignore_progress
from kubectl_mesh.pki.rotation import untrusted_signer_problems
from kubectl_mesh.pki.stored_pki import (
    StoredIntermediate,
    StoredRoot,
    load_intermediate,
    load_root,
    shared_intermediate_problems,
    swapped_intermediate_problems,
)
from kubectl_mesh.x509.certificates import (
    Key,
    describe_certificate,
    is_for_key,
    load_certificates,
    load_key,
)
from kubectl_mesh.x509.chain import (
    ca_problems,
    chain_problems,
    direct_issuer,
    expiring_soon_problems,
    find_root,
    name_constraint_problems,
)
from kubectl_mesh.x509.layout import CRL_FILE, ROOT_CERT, ROOT_KEY, intermediate_folder


def issue_pki(
    profile: CertificateProfile,
    certs_files: Mapping[str, bytes],
    now: datetime,
    progress: Progress = ignore_progress,
    folders: Iterable[str] = (),
) -> Pki:
    """The PKI of a mesh: the files in `certs_files` are checked, missing ones are issued.

    `certs_files` maps a path below `certs/` to bytes; `now` is in UTC; `progress` gets the numbers
    of created and of missing keys. No root is created while `folders` names an existing
    intermediate. Raises a `MeshError` that names each file that does not fit.
    """
    now = now.replace(microsecond=0)
    root = load_root(certs_files, now, folders)
    states = _check_intermediates(profile, certs_files, root, now)
    new: dict[str, bytes] = {}
    keys = generate_keys(
        profile.key_type,
        [n for n, s in states.items() if s.certificate is None and s.key is None],
        not root.certificates and root.key is None,
        progress,
    )
    if not root.certificates:
        root, files = _new_root(profile, root.key or keys[""], now)
        new |= files if "" in keys else {ROOT_CERT: files[ROOT_CERT]}
    warnings = _date_warnings(f"certs/{ROOT_CERT}", root.certificates, now)
    intermediates = {}
    for name, state in states.items():
        if state.certificate is None:
            new |= _sign_intermediate(profile, name, state, root, keys.get(name), now)
        new |= _complete_files(name, state, root)
        assert state.certificate is not None
        warnings += _date_warnings(
            f"certs/{intermediate_folder(name)}/ca-cert.pem", [state.certificate], now
        )
        intermediates[name] = _intermediate(state, root)
    warnings += _owner_warnings(states)
    completed = _complete_crls(certs_files, states, root, now)
    if completed is not None:
        warnings += (*completed.warnings, *_next_root_problems(certs_files, now))
        new |= {CRL_FILE: completed.crl.pem} if completed.added_subjects else {}
    return Pki(
        root.pem,
        tuple(map(describe_certificate, root.certificates)),
        intermediates,
        new,
        tuple(sorted(warnings)),
        completed.crl if completed is not None else None,
    )


def _owner_warnings(states: Mapping[str, StoredIntermediate]) -> Iterator[Problem]:
    """Warnings of intermediates that two clusters share."""
    yield from shared_intermediate_problems(states)
    yield from swapped_intermediate_problems(states, {}, shared=True)


def _complete_crls(
    files: Mapping[str, bytes],
    states: Mapping[str, StoredIntermediate],
    root: StoredRoot,
    now: datetime,
) -> crl.CompletedCrl | None:
    """The CRLs of the mesh with one for each CA; None if there is no bundle of CRLs."""
    return crl.complete_crls(files[CRL_FILE], states, root, now) if CRL_FILE in files else None


def _intermediate(state: StoredIntermediate, root: StoredRoot) -> Intermediate:
    assert state.certificate is not None
    return Intermediate(
        ca_cert=state.files["ca-cert.pem"],
        cert_chain=state.files["cert-chain.pem"],
        root_cert=root.pem,
        ca_key=state.files.get("ca-key.pem"),
        certificate=describe_certificate(state.certificate),
        signer=_signer_fingerprint(state, root) if len(root.certificates) > 1 else "",
    )


def _check_intermediates(
    profile: CertificateProfile, files: Mapping[str, bytes], root: StoredRoot, now: datetime
) -> dict[str, StoredIntermediate]:
    """What is there for each intermediate, checked; refused where one cannot be made."""
    problems: list[Problem] = []
    states: dict[str, StoredIntermediate] = {}
    for name in sorted(profile.namespaces):
        try:
            states[name] = load_intermediate(
                name, files, root, now, keyless=name in profile.keyless_clusters
            )
        except MeshError as error:
            problems += error.problems
    problems += swapped_intermediate_problems(states, profile.unselected_ca_certs, shared=False)
    unmade = [name for name, state in states.items() if state.certificate is None]
    if root.certificates and unmade:
        problems += _unsignable_problems(unmade, files, root)
    if problems:
        raise MeshError(problems)
    return states


def _unsignable_problems(
    missing: Sequence[str], files: Mapping[str, bytes], root: StoredRoot
) -> list[Problem]:
    """Why intermediates cannot be signed now."""
    issuer = None if root.key is None else find_certificate_of_key(root.certificates, root.key)
    if problems := untrusted_signer_problems(files, missing, issuer):
        return problems
    if root.key is not None:
        return []
    return [
        Problem(
            Place(f"certs/{ROOT_KEY}"),
            f"is missing, and without it no intermediate can be made for {', '.join(missing)}",
            "put the root's key there, or the intermediates that were made with it",
            "certs-complete",
            code="root-key-missing",
        )
    ]


def _new_root(
    profile: CertificateProfile, key: Key, now: datetime
) -> tuple[StoredRoot, dict[str, bytes]]:
    """A new root, and its files."""
    certificate = build_root(profile, key, now)
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    return StoredRoot((certificate,), pem, key), {ROOT_KEY: dump_key(key), ROOT_CERT: pem}


def _sign_intermediate(
    profile: CertificateProfile,
    name: str,
    state: StoredIntermediate,
    root: StoredRoot,
    key: Key | None,
    now: datetime,
) -> dict[str, bytes]:
    """Signs an intermediate that is missing, for the key that is there or for a new one; gives the
    files that are new.
    """
    assert root.key is not None
    base, new = intermediate_folder(name), {}
    if state.key is None:
        assert key is not None
        state.key = key
        new["ca-key.pem"] = dump_key(key)
    issuer = Issuer(find_certificate_of_key(root.certificates, root.key), root.key)
    state.certificate = build_intermediate(profile, name, state.key, issuer, now)
    faults = list(
        chain_problems(f"certs/{base}/ca-cert.pem", state.certificate, (), root.certificates, now)
    )
    if faults:
        raise MeshError(faults)
    new["ca-cert.pem"] = state.certificate.public_bytes(serialization.Encoding.PEM)
    state.files |= new
    return {f"{base}/{part}": body for part, body in new.items()}


def _complete_files(name: str, state: StoredIntermediate, root: StoredRoot) -> dict[str, bytes]:
    """The chain of an intermediate and its copy of the root, where they are missing."""
    assert state.certificate is not None
    new = {}
    if "cert-chain.pem" not in state.files:
        issuer = direct_issuer(state.certificate, root.certificates) or root.certificates[0]
        new["cert-chain.pem"] = _end_line(state.files["ca-cert.pem"]) + issuer.public_bytes(
            serialization.Encoding.PEM
        )
    if "root-cert.pem" not in state.files:
        new["root-cert.pem"] = root.pem
    state.files |= new
    return {f"{intermediate_folder(name)}/{part}": body for part, body in new.items()}


def _date_warnings(
    name: str, certificates: Iterable[x509.Certificate], now: datetime
) -> list[Problem]:
    """What deserves a warning in a certificate that is valid."""
    return [
        w
        for c in certificates
        for w in (*expiring_soon_problems(name, c, now), *name_constraint_problems(name, c))
    ]


def _next_root_problems(files: Mapping[str, bytes], now: datetime) -> list[Problem]:
    """That proxies have no CRL of the root that signs next."""
    rotation_state = rotation.read_rotation(files)
    return (
        next_root_crl.missing_crl_problems(files, {rotation_state.new_root}, now)
        if rotation_state is not None and rotation_state.step == "trust-both"
        else []
    )


def _signer_fingerprint(state: StoredIntermediate, root: StoredRoot) -> str:
    """The root that an intermediate leads to; judged already, so there is one."""
    assert state.certificate is not None
    root_certificate = find_root(
        (state.certificate, *load_certificates("cert-chain.pem", state.files["cert-chain.pem"])),
        root.certificates,
    )
    return (
        describe_certificate(root_certificate).fingerprint if root_certificate is not None else ""
    )


def find_certificate_of_key(certificates: Iterable[x509.Certificate], key: Key) -> x509.Certificate:
    """The certificate of a key that belongs to one of them."""
    return next(c for c in certificates if is_for_key(c, key))


def key_pair_problems(name: str, certificate: bytes, key: bytes) -> list[Problem]:
    """What is wrong with a certificate and its key, as they stand in a file called `name`."""
    try:
        if is_for_key(load_certificates(name, certificate)[0], load_key(name, key)):
            return []
    except MeshError as error:
        return list(error.problems)
    return [
        Problem(
            Place(name),
            "holds a key that does not belong to its certificate",
            "render it again where the right key is",
            "certs-pair",
            code="key-of-another-certificate",
        )
    ]


def _end_line(pem: bytes) -> bytes:
    return pem if pem.endswith(b"\n") else pem + b"\n"


def cacerts_problems(files: Mapping[str, bytes], now: datetime) -> list[Problem]:
    """What is wrong with the public files of one `cacerts`, by name: with `ca-cert.pem`, its chain
    and the roots, as istiod verifies them.

    The places of the problems are the names of the files.
    """
    own, *_ = load_certificates("ca-cert.pem", files["ca-cert.pem"])
    chain = load_certificates("cert-chain.pem", files["cert-chain.pem"])
    roots = load_certificates("root-cert.pem", files["root-cert.pem"])
    problems = [p for root in roots for p in ca_problems("root-cert.pem", root, now)] + list(
        ca_problems("ca-cert.pem", own, now)
    )
    if chain[0] != own:
        problems.append(
            Problem(
                Place("cert-chain.pem"),
                "does not begin with the certificate in ca-cert.pem",
                "",
                "certs-chain",
                code="chain-begins-with-another-certificate",
            )
        )
    problems += [
        replace(p, fix="") if p.code == "certificate-not-signed-by-root" else p
        for p in chain_problems("ca-cert.pem", own, chain, roots, now, "the root beside it")
    ]
    return list(dict.fromkeys(problems))
