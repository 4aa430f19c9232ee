"""The certificates of a mesh that is adopted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kubectl_mesh.adopt.evidence import Notes
from kubectl_mesh.adopt.running_mesh import RunningMesh
from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.observed.signing_ca import SigningCa
from kubectl_mesh.pki import intermediate_import
from kubectl_mesh.pki.root_union import bundle_roots
from kubectl_mesh.workdir.certs_folder import read_root_certificates
from kubectl_mesh.x509.layout import ROOT_CERT


@dataclass(frozen=True, slots=True)
class AdoptedCertificates:
    """The certificates of a mesh, as a working directory has them."""

    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Path in the working directory, below `certs/`, to the bytes."""
    stated: Mapping[str, Any] = field(default_factory=dict)
    """The key `certificates` of the topology."""
    organization: str | None = None
    """The organization in the root, where it is not a root of Istio's own."""


def adopt_certificates(
    mesh: RunningMesh, directory: str, now: datetime, notes: Notes
) -> AdoptedCertificates:
    """The certificates that the clusters have; what does not fit goes to the notes."""
    authorities = {
        c.name: c.signing_ca
        for c in mesh.clusters
        if c.signing_ca is not None and c.primary is None
    }
    issuers = {a.issuer for a in authorities.values()}
    if len(issuers) == 1 and (issuer := next(iter(issuers))) is not None:
        reference = dict(zip(("name", "kind", "group"), issuer, strict=True))
        return AdoptedCertificates(stated={"issuer": "cert-manager", "issuerRef": reference})
    if len(issuers) > 1 and any(issuers):
        notes.problems.append(_issuers_problem(authorities))
        return AdoptedCertificates()
    root = _find_root(authorities, directory, notes)
    if root is None:
        return AdoptedCertificates()
    new: dict[str, bytes] = {ROOT_CERT: root} if root else {}
    kept = dict(new)
    for name, authority in authorities.items():
        try:
            given = intermediate_import.CacertsFiles(str(authority.resource.place), authority.files)
            new |= intermediate_import.import_intermediate(
                name, list(authorities), given, kept, now
            )
        except MeshError as error:
            notes.problems += error.problems
    is_own = any(a.is_self_signed for a in authorities.values())
    return AdoptedCertificates(
        {f"certs/{path}": body for path, body in new.items()},
        {"issuer": "csr"},
        intermediate_import.root_organization(root) if root and not is_own else None,
    )


def _issuers_problem(authorities: Mapping[str, SigningCa]) -> Problem:
    """Says that cert-manager has not issued all of the certificates alike."""
    first = next(a for a in authorities.values() if a.issuer is not None)
    return Problem(
        first.resource.place,
        "was made by cert-manager, and not as those of the other clusters: a topology has one"
        " issuer",
        "have cert-manager make all of them, with an issuer of the same name, or none",
        code="issuers-differ",
    )


def _find_root(authorities: Mapping[str, SigningCa], directory: str, notes: Notes) -> bytes | None:
    """The roots of the clusters together, empty if they have none; None if they cannot be adopted,
    which the notes then say.
    """
    try:
        roots = {str(a.resource.place): a.files["root-cert.pem"] for a in authorities.values()}
        root = bundle_roots(roots) if roots else b""
    except MeshError as error:
        notes.problems += error.problems
        return None
    there = read_root_certificates(directory)
    if there is None or not root or there.split() == root.split():
        return root
    what = (
        "is there and is kept, and is another root than that of the clusters in"
        f" {next(iter(roots))}"
    )
    notes.problems.append(
        Problem(
            Place(join_path(directory, f"certs/{ROOT_CERT}")),
            what,
            "adopt into an empty directory",
            code="root-differs",
        )
    )
    return None
