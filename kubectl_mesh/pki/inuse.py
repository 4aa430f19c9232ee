"""An intermediate that a running cluster signs with, judged as istiod would and taken in byte for
byte.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from cryptography.hazmat.primitives import serialization

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.pki.kept import IN_PLACE, Labels, Root, kept_intermediate, kept_root
from kubectl_mesh.pki.requests import other_cluster_problems
from kubectl_mesh.pki.wanted import NamedFile
from kubectl_mesh.text import marked_text, mesh_command, work_path
from kubectl_mesh.x509.certificates import load_certificates, subject_organization
from kubectl_mesh.x509.chain import ROOT_LABEL, direct_issuer
from kubectl_mesh.x509.layout import INTERMEDIATE_FILES, ROOT_CERT, intermediate_folder

UNION = f"`{mesh_command('certs import-root --union FILE')}` has every cluster trust both"


@dataclass(frozen=True, slots=True)
class ClusterFiles:
    """The four files that a cluster signs with, by their names in `cacerts`."""

    source: str
    """The name of the dump or the folder that they come from, for messages."""
    parts: Mapping[str, bytes] = field(repr=False)
    names: Mapping[str, str] = field(default_factory=dict)
    """The names of those that are files of their own."""


def take(
    name: str,
    clusters: Sequence[str],
    given: ClusterFiles,
    kept: Mapping[str, bytes],
    now: datetime,
) -> dict[str, bytes]:
    """The files to be written below `certs/` for a cluster, from the four files that it signs with.

    A root comes along where there is none yet. Raises a `MeshError` with every reason to refuse
    them.
    """
    now = now.replace(microsecond=0)
    base, parts = intermediate_folder(name), given.parts
    if problems := list(_existing_problems(base, given, kept)):
        raise MeshError(problems)
    try:
        brought = load_certificates("root-cert.pem", parts["root-cert.pem"])
        root = kept_root({ROOT_CERT: kept.get(ROOT_CERT, parts["root-cert.pem"])}, now, ())
    except MeshError as error:
        raise MeshError(_named(given, base, error.problems)) from None
    judged = {f"{base}/{part}": body for part, body in parts.items()} | {
        f"{base}/root-cert.pem": root.pem
    }
    is_known = ROOT_CERT in kept
    if is_known and not set(brought) <= set(root.certificates):
        what = (
            f"root-cert.pem holds a root that is not in {work_path(f'certs/{ROOT_CERT}')}: the"
            " cluster trusts another root than the mesh"
        )
        problems = [
            Problem(
                Place(given.source), what, UNION, "certs-one-root", code="root-of-cluster-unknown"
            )
        ]
    else:
        labels = Labels(
            root=ROOT_LABEL if is_known else f"the root in {given.names.get(ROOT_CERT, ROOT_CERT)}",
            key=given.names.get("ca-key.pem", IN_PLACE.key),
        )
        problems = _judged(name, clusters, judged, root, now, labels)
    if problems:
        raise MeshError(_named(given, base, problems))
    new = {} if is_known else {ROOT_CERT: parts["root-cert.pem"]}
    return new | {path: body for path, body in judged.items() if path not in kept}


def _existing_problems(
    base: str, given: ClusterFiles, kept: Mapping[str, bytes]
) -> Iterator[Problem]:
    """That a cluster has an intermediate already, and another one."""
    for part in ("ca-cert.pem", "ca-key.pem", "cert-chain.pem"):
        path = f"{base}/{part}"
        if path in kept and kept[path] != given.parts[part]:
            yield Problem(
                Place(given.source),
                f"{part} is another than {work_path(f'certs/{path}')}, which is there and is kept",
                f"move {work_path(f'certs/{base}')} away if the cluster signs with this one",
                "certs-own",
                code="intermediate-exists",
            )


def _judged(
    name: str,
    clusters: Sequence[str],
    judged: Mapping[str, bytes],
    root: Root,
    now: datetime,
    labels: Labels,
) -> list[Problem]:
    try:
        state = kept_intermediate(name, judged, root, now, labels=labels)
    except MeshError as error:
        return list(error.problems)
    assert state.certificate is not None
    place = Place(f"certs/{intermediate_folder(name)}/ca-cert.pem")
    return list(other_cluster_problems(place, state.certificate, name, clusters))


def _named(given: ClusterFiles, base: str, problems: Sequence[Problem]) -> list[Problem]:
    """Problems of files that are not in `certs/` yet, with the file that they come from."""
    found = []
    for p in problems:
        part = p.where.file.rpartition("/")[2]
        if part not in INTERMEDIATE_FILES or not (
            p.where.file.startswith(f"certs/{base}/")
            or p.where.file in (part, f"certs/{ROOT_CERT}")
        ):
            found.append(p)
            continue
        fix = _FIXES.get(p.id, p.fix)
        if part in given.names:
            found.append(replace(p, where=Place(given.names[part]), fix=fix))
        else:
            found.append(
                replace(p, where=Place(given.source), what=f"{part} {marked_text(p.what)}", fix=fix)
            )
    return found


_FIXES = {
    "certs-chain": f"a cert-chain.pem begins with ca-cert.pem and goes up to a root; {UNION}",
    "certs-pair": "give the pair that belongs together",
    "certs-expired": "have the cluster sign with a CA that is valid",
    "certs-readable": "dump it again; a PEM block has BEGIN and END on lines of their own",
}


def read_files(chain: NamedFile, key: NamedFile, root: NamedFile) -> ClusterFiles:
    """The four files of an intermediate from its chain, its own certificate first, with key and
    root.
    """
    certificates = load_certificates(chain.name, chain.body)
    top = direct_issuer(certificates[-1], load_certificates(root.name, root.body))
    whole = b"".join(
        c.public_bytes(serialization.Encoding.PEM)
        for c in (*certificates, *([] if top is None or top in certificates else [top]))
    )
    parts = {
        "ca-cert.pem": certificates[0].public_bytes(serialization.Encoding.PEM),
        "ca-key.pem": key.body,
        "cert-chain.pem": whole,
        "root-cert.pem": root.body,
    }
    names = {
        "ca-cert.pem": chain.name,
        "ca-key.pem": key.name,
        "cert-chain.pem": chain.name,
        "root-cert.pem": root.name,
    }
    return ClusterFiles(chain.name, parts, names)


def organization(root: bytes) -> str | None:
    """The O= of the first root of a bundle, None where it has none."""
    return subject_organization(load_certificates("root-cert.pem", root)[0])
