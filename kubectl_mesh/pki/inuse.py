"""An intermediate that a running cluster signs with, judged as istiod would and taken in byte for
byte.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.pki.kept import Root, kept_intermediate, kept_root
from kubectl_mesh.x509.certificates import load_certificates, organization_of
from kubectl_mesh.x509.chain import direct_issuer
from kubectl_mesh.x509.layout import PARTS, ROOT_CERT, folder

NONE: Mapping[str, str] = {}
UNION = "`kubectl mesh certs import-root --union FILE` has every cluster trust both"


def take(
    name: str,
    clusters: Sequence[str],
    source: str,
    parts: Mapping[str, bytes],
    kept: Mapping[str, bytes],
    now: datetime,
    own: Mapping[str, str] = NONE,
) -> dict[str, bytes]:
    """The files to be written below `certs/` for a cluster, from the four files that it signs with.

    `source` names them in messages, but for those that are files of their own, whose names are in
    `own`. A root comes along where there is none yet. Raises a `MeshError` with every reason to
    refuse them.
    """
    now = now.replace(microsecond=0)
    base = folder(name)
    there = {part: kept[f"{base}/{part}"] for part in PARTS if f"{base}/{part}" in kept}
    problems: list[Problem] = []
    for part in ("ca-cert.pem", "ca-key.pem", "cert-chain.pem"):
        if part in there and there[part] != parts[part]:
            what = f"{part} is another than certs/{base}/{part}, which is there and is kept"
            problems.append(
                Problem(
                    Place(source),
                    what,
                    f"move certs/{base} away if the cluster signs with this one",
                    "certs-own",
                )
            )
    if problems:
        raise MeshError(problems)
    new: dict[str, bytes] = {}
    brought: tuple[object, ...] = ()
    try:
        brought = load_certificates("root-cert.pem", parts["root-cert.pem"])
        root = kept_root({ROOT_CERT: kept.get(ROOT_CERT, parts["root-cert.pem"])}, now, ())
    except MeshError as error:
        raise MeshError(_named(source, own, base, error.problems)) from None
    if ROOT_CERT not in kept:
        new[ROOT_CERT] = parts["root-cert.pem"]
    elif not set(brought) <= set(root.certificates):
        what = (
            f"root-cert.pem holds a root that is not in certs/{ROOT_CERT}: the cluster trusts"
            " another root than the mesh"
        )
        problems.append(Problem(Place(source), what, UNION, "certs-one-root"))
    judged = {f"{base}/{part}": body for part, body in parts.items()} | {
        f"{base}/root-cert.pem": root.pem
    }
    if not problems:
        problems += _judged(name, clusters, judged, root, now)
    if ROOT_CERT not in kept:
        named = own.get("root-cert.pem", "root-cert.pem")
        problems = [replace(p, what=p.what.replace(f"certs/{ROOT_CERT}", named)) for p in problems]
    if problems:
        raise MeshError(_named(source, own, base, problems))
    return new | {path: body for path, body in judged.items() if path not in kept}


def _judged(
    name: str, clusters: Sequence[str], judged: Mapping[str, bytes], root: Root, now: datetime
) -> list[Problem]:
    try:
        state = kept_intermediate(name, judged, root, now)
    except MeshError as error:
        return list(error.problems)
    assert state.certificate is not None
    locality = [
        a.value for a in state.certificate.subject.get_attributes_for_oid(NameOID.LOCALITY_NAME)
    ]
    others = [c for c in clusters if c != name and folder(c) in locality]
    what = f'was made for "{others[0]}", as its L= says' if others else ""
    return (
        [
            Problem(
                Place(f"certs/{folder(name)}/ca-cert.pem"),
                what,
                f"import it as {others[0]}",
                "certs-own",
            )
        ]
        if others
        else []
    )


def _named(
    source: str, own: Mapping[str, str], base: str, problems: Sequence[Problem]
) -> list[Problem]:
    """Problems of files that are not in `certs/` yet, with the file that they come from."""
    found = []
    for p in problems:
        part = p.where.file.rpartition("/")[2]
        if part not in PARTS or not (
            p.where.file.startswith(f"certs/{base}/")
            or p.where.file in (part, f"certs/{ROOT_CERT}")
        ):
            found.append(p)
            continue
        fix = _FIXES.get(p.id, p.fix).replace(f"certs/{base}/", "")
        if part in own:
            found.append(
                Problem(
                    Place(own[part]),
                    p.what.replace("ca-key.pem beside it", own["ca-key.pem"]),
                    fix,
                    p.id,
                )
            )
        else:
            found.append(Problem(Place(source), f"{part} {p.what}", fix, p.id))
    return found


_FIXES = {
    "certs-chain": f"a cert-chain.pem begins with ca-cert.pem and goes up to a root; {UNION}",
    "certs-pair": "give the pair that belongs together",
    "certs-expired": "have the cluster sign with a CA that is valid",
    "certs-readable": "dump it again; a PEM block has BEGIN and END on lines of their own",
}


def of_chain(pem: bytes, key: bytes, root: bytes, own: Mapping[str, str]) -> dict[str, bytes]:
    """The four files of an intermediate from its chain, its own certificate first, with key and
    root; `own` has the names of their files.
    """
    chain = load_certificates(own["ca-cert.pem"], pem)
    first = chain[0].public_bytes(serialization.Encoding.PEM)
    roots = load_certificates(own["root-cert.pem"], root)
    top = direct_issuer(chain[-1], roots)
    whole = b"".join(
        c.public_bytes(serialization.Encoding.PEM)
        for c in (*chain, *([] if top is None or top in chain else [top]))
    )
    return {"ca-cert.pem": first, "ca-key.pem": key, "cert-chain.pem": whole, "root-cert.pem": root}


def organization(root: bytes) -> str | None:
    """The O= of the first root of a bundle, None where it has none."""
    return organization_of(load_certificates("root-cert.pem", root)[0])
