"""An intermediate that a running cluster signs with, judged as istiod would and taken in byte for
byte.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from cryptography.hazmat.primitives import serialization

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.pki.profile import NamedFile
from kubectl_mesh.pki.signing_requests import other_cluster_problems
from kubectl_mesh.pki.stored_pki import (
    STORED_LABELS,
    FileLabels,
    StoredRoot,
    load_intermediate,
    load_root,
)
from kubectl_mesh.text import marked_text, mesh_command, work_path
from kubectl_mesh.x509.certificates import load_certificates, subject_organization
from kubectl_mesh.x509.chain import ROOT_LABEL, direct_issuer
from kubectl_mesh.x509.layout import INTERMEDIATE_FILES, ROOT_CERT, intermediate_folder

UNION_FIX = f"`{mesh_command('certs import-root --union FILE')}` has every cluster trust both"


@dataclass(frozen=True, slots=True)
class CacertsFiles:
    """The four files that a cluster signs with, by their names in `cacerts`."""

    source: str
    """The name of the dump or the folder that they come from, for messages."""
    parts: Mapping[str, bytes] = field(repr=False)
    file_names: Mapping[str, str] = field(default_factory=dict)
    """The names of those that are files of their own."""


def import_intermediate(
    name: str,
    clusters: Sequence[str],
    cacerts: CacertsFiles,
    files: Mapping[str, bytes],
    now: datetime,
) -> dict[str, bytes]:
    """The files to be written below `certs/` for a cluster, from the four files that it signs with.

    A root comes along where there is none yet. Raises a `MeshError` with every reason to refuse
    them.
    """
    now = now.replace(microsecond=0)
    base, parts = intermediate_folder(name), cacerts.parts
    if problems := list(_existing_problems(base, cacerts, files)):
        raise MeshError(problems)
    try:
        cluster_roots = load_certificates("root-cert.pem", parts["root-cert.pem"])
        root = load_root({ROOT_CERT: files.get(ROOT_CERT, parts["root-cert.pem"])}, now, ())
    except MeshError as error:
        raise MeshError(_name_source_files(cacerts, base, error.problems)) from None
    judged = {f"{base}/{part}": body for part, body in parts.items()} | {
        f"{base}/root-cert.pem": root.pem
    }
    is_known = ROOT_CERT in files
    if is_known and not set(cluster_roots) <= set(root.certificates):
        what = (
            f"root-cert.pem holds a root that is not in {work_path(f'certs/{ROOT_CERT}')}: the"
            " cluster trusts another root than the mesh"
        )
        problems = [
            Problem(
                Place(cacerts.source),
                what,
                UNION_FIX,
                "certs-one-root",
                code="root-of-cluster-unknown",
            )
        ]
    else:
        labels = _file_labels(cacerts, is_root_known=is_known)
        problems = _intermediate_problems(name, clusters, judged, root, now, labels)
    if problems:
        raise MeshError(_name_source_files(cacerts, base, problems))
    new = {} if is_known else {ROOT_CERT: parts["root-cert.pem"]}
    return new | {path: body for path, body in judged.items() if path not in files}


def _file_labels(cacerts: CacertsFiles, *, is_root_known: bool) -> FileLabels:
    """What messages call the root and the key that the intermediate is checked with."""
    named_root = f"the root in {cacerts.file_names.get(ROOT_CERT, ROOT_CERT)}"
    return FileLabels(
        root=ROOT_LABEL if is_root_known else named_root,
        key=cacerts.file_names.get("ca-key.pem", STORED_LABELS.key),
    )


def _existing_problems(
    base: str, cacerts: CacertsFiles, files: Mapping[str, bytes]
) -> Iterator[Problem]:
    """That a cluster has an intermediate already, and another one."""
    for part in ("ca-cert.pem", "ca-key.pem", "cert-chain.pem"):
        path = f"{base}/{part}"
        if path in files and files[path] != cacerts.parts[part]:
            yield Problem(
                Place(cacerts.source),
                f"{part} is another than {work_path(f'certs/{path}')}, which is there and is kept",
                f"move {work_path(f'certs/{base}')} away if the cluster signs with this one",
                "certs-own",
                code="intermediate-exists",
            )


def _intermediate_problems(
    name: str,
    clusters: Sequence[str],
    files: Mapping[str, bytes],
    root: StoredRoot,
    now: datetime,
    labels: FileLabels,
) -> list[Problem]:
    try:
        state = load_intermediate(name, files, root, now, labels=labels)
    except MeshError as error:
        return list(error.problems)
    assert state.certificate is not None
    place = Place(f"certs/{intermediate_folder(name)}/ca-cert.pem")
    return list(other_cluster_problems(place, state.certificate, name, clusters))


def _name_source_files(
    cacerts: CacertsFiles, base: str, problems: Sequence[Problem]
) -> list[Problem]:
    """Problems of files that are not in `certs/` yet, with the file that they come from."""
    renamed = []
    for p in problems:
        part = p.where.file.rpartition("/")[2]
        if part not in INTERMEDIATE_FILES or not (
            p.where.file.startswith(f"certs/{base}/")
            or p.where.file in (part, f"certs/{ROOT_CERT}")
        ):
            renamed.append(p)
            continue
        fix = _FIXES.get(p.id, p.fix)
        if part in cacerts.file_names:
            renamed.append(replace(p, where=Place(cacerts.file_names[part]), fix=fix))
        else:
            renamed.append(
                replace(
                    p, where=Place(cacerts.source), what=f"{part} {marked_text(p.what)}", fix=fix
                )
            )
    return renamed


_FIXES = {
    "certs-chain": f"a cert-chain.pem begins with ca-cert.pem and goes up to a root; {UNION_FIX}",
    "certs-pair": "give the pair that belongs together",
    "certs-expired": "have the cluster sign with a CA that is valid",
    "certs-readable": "dump it again; a PEM block has BEGIN and END on lines of their own",
}


def assemble_cacerts(chain: NamedFile, key: NamedFile, root: NamedFile) -> CacertsFiles:
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
    return CacertsFiles(chain.name, parts, names)


def root_organization(root: bytes) -> str | None:
    """The O= of the first root of a bundle, None where it has none."""
    return subject_organization(load_certificates("root-cert.pem", root)[0])
