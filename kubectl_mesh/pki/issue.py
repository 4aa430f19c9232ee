"""What is in `certs/` and what the plan wants become a `Pki`: what is there is kept and checked,
what is missing is made.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import Intermediate, Pki
from kubectl_mesh.pki import ahead, crl, rotation
from kubectl_mesh.pki.kept import Root, State, kept_intermediate, kept_root, not_own, of_another
from kubectl_mesh.pki.make import Issuer, build_intermediate, build_root, make_keys, pem_key
from kubectl_mesh.pki.rotation import waits
from kubectl_mesh.pki.wanted import Progress, Wanted, silent
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


def issue(
    wanted: Wanted,
    kept: Mapping[str, bytes],
    now: datetime,
    progress: Progress = silent,
    folders: Iterable[str] = (),
) -> Pki:
    """The PKI of a mesh: the files in `kept` are checked, missing ones are issued.

    `kept` maps a path below `certs/` to bytes; `now` is in UTC; `progress` gets the numbers of
    created and of missing keys. No root is created while `folders` names an existing intermediate.
    Raises a `MeshError` that names each file that does not fit.
    """
    now = now.replace(microsecond=0)
    root = kept_root(kept, now, folders)
    states = _checked_intermediates(wanted, kept, root, now)
    new: dict[str, bytes] = {}
    keys = make_keys(
        wanted.key_type,
        [n for n, s in states.items() if s.certificate is None and s.key is None],
        not root.certificates and root.key is None,
        progress,
    )
    if not root.certificates:
        root, files = _new_root(wanted, root.key or keys[""], now)
        new |= files if "" in keys else {ROOT_CERT: files[ROOT_CERT]}
    warnings = _date_warnings(f"certs/{ROOT_CERT}", root.certificates, now)
    intermediates = {}
    for name, state in states.items():
        if state.certificate is None:
            new |= _sign_intermediate(wanted, name, state, root, keys.get(name), now)
        new |= _complete_files(name, state, root)
        assert state.certificate is not None
        warnings += _date_warnings(
            f"certs/{intermediate_folder(name)}/ca-cert.pem", [state.certificate], now
        )
        intermediates[name] = _intermediate(state, root)
    warnings += (*not_own(states), *of_another(states, {}, shared=True))
    completed = crl.complete(kept[CRL_FILE], states, root, now) if CRL_FILE in kept else None
    if completed is not None:
        warnings += (*completed.warnings, *_next_root_problems(kept, now))
        new |= {CRL_FILE: completed.crl.pem} if completed.added else {}
    return Pki(
        root.pem,
        tuple(map(describe_certificate, root.certificates)),
        intermediates,
        new,
        tuple(sorted(warnings)),
        completed.crl if completed is not None else None,
    )


def _intermediate(state: State, root: Root) -> Intermediate:
    assert state.certificate is not None
    return Intermediate(
        ca_cert=state.files["ca-cert.pem"],
        cert_chain=state.files["cert-chain.pem"],
        root_cert=root.pem,
        ca_key=state.files.get("ca-key.pem"),
        certificate=describe_certificate(state.certificate),
        signer=_signer(state, root) if len(root.certificates) > 1 else "",
    )


def _checked_intermediates(
    wanted: Wanted, kept: Mapping[str, bytes], root: Root, now: datetime
) -> dict[str, State]:
    """What is there for each intermediate, checked; refused where one cannot be made."""
    problems: list[Problem] = []
    states: dict[str, State] = {}
    for name in sorted(wanted.namespaces):
        try:
            states[name] = kept_intermediate(name, kept, root, now, keyless=name in wanted.keyless)
        except MeshError as error:
            problems += error.problems
    problems += of_another(states, wanted.others, shared=False)
    unmade = [name for name, state in states.items() if state.certificate is None]
    if root.certificates and unmade:
        problems += _unsignable_problems(unmade, kept, root)
    if problems:
        raise MeshError(problems)
    return states


def _unsignable_problems(
    unmade: Sequence[str], kept: Mapping[str, bytes], root: Root
) -> list[Problem]:
    """Why intermediates cannot be signed now."""
    issuer = None if root.key is None else matching(root.certificates, root.key)
    if early := waits(kept, unmade, issuer):
        return early
    if root.key is not None:
        return []
    return [
        Problem(
            Place(f"certs/{ROOT_KEY}"),
            f"is missing, and without it no intermediate can be made for {', '.join(unmade)}",
            "put the root's key there, or the intermediates that were made with it",
            "certs-complete",
            code="root-key-missing",
        )
    ]


def _new_root(wanted: Wanted, key: Key, now: datetime) -> tuple[Root, dict[str, bytes]]:
    """A new root, and its files."""
    certificate = build_root(wanted, key, now)
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    return Root((certificate,), pem, key), {ROOT_KEY: pem_key(key), ROOT_CERT: pem}


def _sign_intermediate(
    wanted: Wanted, name: str, state: State, root: Root, key: Key | None, now: datetime
) -> dict[str, bytes]:
    """Signs an intermediate that is missing, for the key that is there or for a new one; gives the
    files that are new.
    """
    assert root.key is not None
    base, new = intermediate_folder(name), {}
    if state.key is None:
        assert key is not None
        state.key = key
        new["ca-key.pem"] = pem_key(key)
    issuer = Issuer(matching(root.certificates, root.key), root.key)
    state.certificate = build_intermediate(wanted, name, state.key, issuer, now)
    faults = list(
        chain_problems(f"certs/{base}/ca-cert.pem", state.certificate, (), root.certificates, now)
    )
    if faults:
        raise MeshError(faults)
    new["ca-cert.pem"] = state.certificate.public_bytes(serialization.Encoding.PEM)
    state.files |= new
    return {f"{base}/{part}": body for part, body in new.items()}


def _complete_files(name: str, state: State, root: Root) -> dict[str, bytes]:
    """The chain of an intermediate and its copy of the root, where they are missing."""
    assert state.certificate is not None
    new = {}
    if "cert-chain.pem" not in state.files:
        issuer = direct_issuer(state.certificate, root.certificates) or root.certificates[0]
        new["cert-chain.pem"] = _line(state.files["ca-cert.pem"]) + issuer.public_bytes(
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


def _next_root_problems(kept: Mapping[str, bytes], now: datetime) -> list[Problem]:
    """That proxies have no CRL of the root that signs next."""
    on = rotation.read(kept)
    return ahead.lacking(kept, {on.new}, now) if on is not None and on.step == "trust-both" else []


def _signer(state: State, root: Root) -> str:
    """The root that an intermediate leads to; judged already, so there is one."""
    assert state.certificate is not None
    found = find_root(
        (state.certificate, *load_certificates("cert-chain.pem", state.files["cert-chain.pem"])),
        root.certificates,
    )
    return describe_certificate(found).fingerprint if found is not None else ""


def matching(certificates: Iterable[x509.Certificate], key: Key) -> x509.Certificate:
    """The certificate of a key that belongs to one of them."""
    return next(c for c in certificates if is_for_key(c, key))


def check_pair(name: str, certificate: bytes, key: bytes) -> list[Problem]:
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


def _line(pem: bytes) -> bytes:
    return pem if pem.endswith(b"\n") else pem + b"\n"


def judge_bundle(files: Mapping[str, bytes], now: datetime) -> list[Problem]:
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
