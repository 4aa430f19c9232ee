"""What is in `certs/` and what the plan wants become a `Pki`: what is there is kept and checked,
what is missing is made.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import Intermediate, Pki
from kubectl_mesh.pki import ahead, crl, rotation
from kubectl_mesh.pki.kept import Root, State, kept_intermediate, kept_root, not_own, of_another
from kubectl_mesh.pki.make import build_intermediate, build_root, make_keys, pem_key
from kubectl_mesh.pki.rotation import waits
from kubectl_mesh.pki.wanted import Progress, Wanted, silent
from kubectl_mesh.x509.certificates import Key, describe, load_certificates, load_key, same_key
from kubectl_mesh.x509.chain import (
    ca_problems,
    chain_problems,
    constrained,
    direct_issuer,
    root_of,
    soon,
)
from kubectl_mesh.x509.layout import CRL, ROOT_CERT, ROOT_KEY, folder


def issue(
    wanted: Wanted,
    kept: Mapping[str, bytes],
    now: datetime,
    progress: Progress = silent,
    folders: Iterable[str] = (),
) -> Pki:
    """Checks the files in `kept` (path below `certs/` -> bytes) and makes the missing ones.

    `now` is in UTC. `progress` is called with the number of keys made and to be made. `folders` are
    the intermediates that are there, those of clusters outside the plan too: while there is one, no
    root is made in the place of its own. Raises a `MeshError` that names each file that does not
    fit; nothing is made then.
    """
    now = now.replace(microsecond=0)
    root = kept_root(kept, now, folders)
    problems: list[Problem] = []
    states: dict[str, State] = {}
    for name in sorted(wanted.namespaces):
        try:
            states[name] = kept_intermediate(name, kept, root, now, keyless=name in wanted.keyless)
        except MeshError as error:
            problems += error.problems
    problems += of_another(states, wanted.others, shared=False)
    unmade = [name for name, state in states.items() if state.certificate is None]
    early = (
        waits(kept, unmade, None if root.key is None else matching(root.certificates, root.key))
        if root.certificates and unmade
        else []
    )
    if early:
        problems += early
    elif root.certificates and unmade and root.key is None:
        names = ", ".join(unmade)
        fix = "put the root's key there, or the intermediates that were made with it"
        problems.append(
            Problem(
                Place(f"certs/{ROOT_KEY}"),
                f"is missing, and without it no intermediate can be made for {names}",
                fix,
                "certs-complete",
            )
        )
    if problems:
        raise MeshError(problems)
    new: dict[str, bytes] = {}
    keys = make_keys(
        wanted.key_type,
        [name for name in unmade if states[name].key is None],
        not root.certificates and root.key is None,
        progress,
    )
    if not root.certificates:
        key = root.key or keys[""]
        if root.key is None:
            new[ROOT_KEY] = pem_key(key)
        certificate = build_root(wanted, key, now)
        new[ROOT_CERT] = certificate.public_bytes(serialization.Encoding.PEM)
        root = Root((certificate,), new[ROOT_CERT], key)
    intermediates = {}
    warnings = [
        w
        for c in root.certificates
        for w in (*soon(f"certs/{ROOT_CERT}", c, now), *constrained(f"certs/{ROOT_CERT}", c))
    ]
    for name, state in states.items():
        base = folder(name)
        if state.certificate is None:
            assert root.key is not None
            key = state.key or keys[name]
            if state.key is None:
                new[f"{base}/ca-key.pem"] = state.files["ca-key.pem"] = pem_key(key)
            issuer = matching(root.certificates, root.key)
            state.certificate = build_intermediate(wanted, name, key, issuer, root.key, now)
            faults = list(
                chain_problems(
                    f"certs/{base}/ca-cert.pem", state.certificate, (), root.certificates, now
                )
            )
            if faults:
                raise MeshError(faults)
            new[f"{base}/ca-cert.pem"] = state.files["ca-cert.pem"] = (
                state.certificate.public_bytes(serialization.Encoding.PEM)
            )
        if "cert-chain.pem" not in state.files:
            issuer = direct_issuer(state.certificate, root.certificates) or root.certificates[0]
            chain = _line(state.files["ca-cert.pem"]) + issuer.public_bytes(
                serialization.Encoding.PEM
            )
            new[f"{base}/cert-chain.pem"] = state.files["cert-chain.pem"] = chain
        if "root-cert.pem" not in state.files:
            new[f"{base}/root-cert.pem"] = state.files["root-cert.pem"] = root.pem
        warnings += (
            *soon(f"certs/{base}/ca-cert.pem", state.certificate, now),
            *constrained(f"certs/{base}/ca-cert.pem", state.certificate),
        )
        intermediates[name] = Intermediate(
            ca_cert=state.files["ca-cert.pem"],
            cert_chain=state.files["cert-chain.pem"],
            root_cert=root.pem,
            ca_key=state.files.get("ca-key.pem"),
            certificate=describe(state.certificate),
            signer=_signer(state, root) if len(root.certificates) > 1 else "",
        )
        state.key = state.key or keys.get(name)
    warnings += (*not_own(states), *of_another(states, {}, shared=True))
    listed = None
    if CRL in kept:
        pem, listed, added, told = crl.complete(kept[CRL], states, root, now)
        on = rotation.read(kept)
        warnings += (
            *told,
            *(
                ahead.lacking(kept, {on.new}, now)
                if on is not None and on.step == "trust-both"
                else ()
            ),
        )
        if added:
            new[CRL] = pem
    return Pki(
        root.pem,
        tuple(map(describe, root.certificates)),
        intermediates,
        new,
        tuple(sorted(warnings)),
        listed,
    )


def _signer(state: State, root: Root) -> str:
    """The root that an intermediate leads to; judged already, so there is one."""
    assert state.certificate is not None
    found = root_of(
        (state.certificate, *load_certificates("cert-chain.pem", state.files["cert-chain.pem"])),
        root.certificates,
    )
    return describe(found).fingerprint if found is not None else ""


def matching(certificates: Iterable[x509.Certificate], key: Key) -> x509.Certificate:
    """The certificate of a key that belongs to one of them."""
    return next(c for c in certificates if same_key(c, key))


def check_pair(name: str, certificate: bytes, key: bytes) -> list[Problem]:
    """What is wrong with a certificate and its key, as they stand in a file called `name`."""
    try:
        if same_key(load_certificates(name, certificate)[0], load_key(name, key)):
            return []
    except MeshError as error:
        return list(error.problems)
    return [
        Problem(
            Place(name),
            "holds a key that does not belong to its certificate",
            "render it again where the right key is",
            "certs-pair",
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
            )
        )
    for problem in chain_problems("ca-cert.pem", own, chain, roots, now):
        named = (
            problem if problem.id != "certs-chain" or "is not signed" not in problem.what else None
        )
        problems.append(
            named
            or Problem(problem.where, "is not signed by the root beside it", "", "certs-chain")
        )
    return list(dict.fromkeys(problems))
