"""What is in `certs/`, checked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import RENEW
from kubectl_mesh.x509.certificates import Key, load_certificates, load_key, path_length, same_key
from kubectl_mesh.x509.chain import ca_problems, chain_problems, root_of
from kubectl_mesh.x509.layout import PARTS, ROOT_CERT, ROOT_KEY, folder

ENDED = (
    "nothing that it signed is accepted any more: go on with a rotation that is on; where none is,"
    " move certs/ and the tree away, and render"
)


@dataclass(slots=True)
class Root:
    """The root that is there: its certificates (none: there is no root yet), their text, and the
    key, if it is there too.
    """

    certificates: tuple[x509.Certificate, ...]
    pem: bytes
    key: Key | None


@dataclass(slots=True)
class State:
    """What is there for one intermediate; made complete as it is issued."""

    files: dict[str, bytes]
    certificate: x509.Certificate | None
    key: Key | None


def kept_root(kept: Mapping[str, bytes], now: datetime, folders: Iterable[str]) -> Root:
    """The root of the mesh, checked."""
    key = (
        load_key(f"certs/{ROOT_KEY}", kept[ROOT_KEY], for_istio=False) if ROOT_KEY in kept else None
    )
    if ROOT_CERT not in kept:
        orphans = sorted({*folders, *(p.split("/")[0] for p in kept if p.endswith("/ca-cert.pem"))})
        if orphans:
            what = (
                f"is missing, but {', '.join(orphans)} {'were' if len(orphans) > 1 else 'was'}"
                " signed by a root that is not here"
            )
            fix = (
                f"put the root's certificate back; certs/{orphans[0]}/root-cert.pem is a copy of it"
            )
            raise MeshError([Problem(Place(f"certs/{ROOT_CERT}"), what, fix, "certs-complete")])
        return Root((), b"", key)
    name = f"certs/{ROOT_CERT}"
    certificates = load_certificates(name, kept[ROOT_CERT])
    problems = [
        _ended(p)
        for c in certificates
        if c.not_valid_after_utc > now or not _idle(c, certificates, kept, now)
        for p in ca_problems(name, c, now)
    ]
    what = "has pathlen:0, so it may not sign an intermediate"
    narrow = [c for c in certificates if path_length(c) == 0 and c.subject == c.issuer]
    problems += [Problem(Place(name), what, "use another root", "certs-ca") for _ in narrow]
    if key is not None and not any(same_key(c, key) for c in certificates):
        what = (
            f"does not belong to {ROOT_KEY} beside it"
            if len(certificates) == 1
            else f"holds no certificate for {ROOT_KEY} beside it"
        )
        problems.append(
            Problem(Place(name), what, "put back the pair that belongs together", "certs-pair")
        )
    if problems:
        raise MeshError(problems)
    return Root(certificates, kept[ROOT_CERT], key)


def _idle(
    root: x509.Certificate,
    roots: Sequence[x509.Certificate],
    kept: Mapping[str, bytes],
    now: datetime,
) -> bool:
    """Whether a root that has ended may stay: another has not, and no intermediate leads to this
    one.
    """
    if all(c.not_valid_after_utc <= now for c in roots):
        return False
    for path in kept:
        if path.startswith("intermediate-") and path.endswith("/ca-cert.pem"):
            chain = [*load_certificates(f"certs/{path}", kept[path])]
            above = path.replace("ca-cert", "cert-chain")
            chain += load_certificates(f"certs/{above}", kept[above]) if above in kept else ()
            if root_of(chain, roots) == root:
                return False
    return True


def _ended(problem: Problem) -> Problem:
    return (
        replace(problem, fix=ENDED)
        if problem.id == "certs-expired" and problem.fix == RENEW
        else problem
    )


def kept_intermediate(
    name: str, kept: Mapping[str, bytes], root: Root, now: datetime, *, keyless: bool = False
) -> State:
    """The intermediate of one cluster, checked; `keyless`: its key need not be here."""
    base = f"certs/{folder(name)}"
    files = {
        part: kept[f"{folder(name)}/{part}"] for part in PARTS if f"{folder(name)}/{part}" in kept
    }
    key = load_key(f"{base}/ca-key.pem", files["ca-key.pem"]) if "ca-key.pem" in files else None
    if "ca-cert.pem" not in files:
        stray = [part for part in ("cert-chain.pem", "root-cert.pem") if part in files]
        if stray:
            what = (
                f"is missing, though {' and '.join(stray)} are there"
                if len(stray) > 1
                else f"is missing, though {stray[0]} is there"
            )
            fix = f"put it back, or move {base} away to have a new intermediate made"
            raise MeshError([Problem(Place(f"{base}/ca-cert.pem"), what, fix, "certs-complete")])
        return State(files, None, key)
    if key is None and not keyless:
        fix = f"put the key back, or move {base} away to have a new intermediate made"
        raise MeshError(
            [
                Problem(
                    Place(f"{base}/ca-key.pem"),
                    "is missing, and the certificate beside it is of no use without it",
                    fix,
                    "certs-complete",
                )
            ]
        )
    place = f"{base}/ca-cert.pem"
    certificates = load_certificates(place, files["ca-cert.pem"])
    certificate = certificates[0]
    problems = list(ca_problems(place, certificate, now))
    if key is not None and not same_key(certificate, key):
        problems.append(
            Problem(
                Place(place),
                "does not belong to ca-key.pem beside it",
                "put back the pair that belongs together",
                "certs-pair",
            )
        )
    chain: Sequence[x509.Certificate] = certificates
    if "cert-chain.pem" in files:
        chain = load_certificates(f"{base}/cert-chain.pem", files["cert-chain.pem"])
        if chain[0] != certificate:
            what = "does not begin with the certificate in ca-cert.pem"
            problems.append(
                Problem(
                    Place(f"{base}/cert-chain.pem"),
                    what,
                    "write ca-cert.pem first, then its issuers up to the root",
                    "certs-chain",
                )
            )
    problems += chain_problems(place, certificate, chain, root.certificates, now)
    if "root-cert.pem" in files:
        copy = load_certificates(f"{base}/root-cert.pem", files["root-cert.pem"])
        if set(copy) != set(root.certificates):
            what = f"differs from certs/{ROOT_CERT}: the clusters of a mesh share one root"
            problems.append(
                Problem(
                    Place(f"{base}/root-cert.pem"),
                    what,
                    f"find out which is right; the other is then a copy of it ({base} as a whole,"
                    " where another root signed it)",
                    "certs-one-root",
                )
            )
    if problems:
        raise MeshError(problems)
    return State(files, certificate, key)


def of_another(
    states: Mapping[str, "State"], others: Mapping[str, bytes], *, shared: bool
) -> Iterable[Problem]:
    """Intermediates that were made for another cluster of the mesh, which has it too (`shared`), or
    has not; `others` as in `Wanted`.
    """
    bodies = {
        **others,
        **{name: state.files.get("ca-cert.pem", b"") for name, state in states.items()},
    }
    for name, state in states.items():
        for other in _made_for(state, set(bodies) - {name})[:1]:
            if (bodies[other] == state.files["ca-cert.pem"]) == shared:
                place = Place(f"certs/{folder(name)}/ca-cert.pem")
                yield Problem(
                    place,
                    f'was made for "{other}", as its L= says',
                    "put each folder back in its place, or move it away to have one made for this"
                    " cluster",
                    "certs-own",
                )


def _made_for(state: "State", names: Iterable[str]) -> list[str]:
    """Of these clusters the one that an intermediate says it is for."""
    subject = state.certificate.subject if state.certificate is not None else ()
    places = {a.value for a in subject if a.oid == NameOID.LOCALITY_NAME}
    return sorted(n for n in names if folder(n) in places)


def not_own(states: Mapping[str, "State"]) -> Iterable[Problem]:
    """Intermediates that two clusters share."""
    owners: dict[Any, str] = {}
    for name, state in states.items():
        assert state.certificate is not None
        place = Place(f"certs/{folder(name)}/ca-cert.pem")
        other = owners.setdefault(state.certificate, name)
        if other != name:
            yield Problem(
                place,
                f'is the certificate of "{other}" too',
                "move the folder away to have one made for this cluster",
                "certs-own",
            )
