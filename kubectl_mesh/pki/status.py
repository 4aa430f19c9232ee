"""What is in `certs/` as it is, valid or not: roots and intermediates, who signed which, what signs
now and what is trusted.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from kubectl_mesh.model import Certificate, Topology
from kubectl_mesh.pki import crl, rotation
from kubectl_mesh.workdir.certs_folder import CertsFolder
from kubectl_mesh.x509.certificates import (
    Key,
    describe_certificate,
    is_for_key,
    load_certificates,
    load_key,
)
from kubectl_mesh.x509.chain import find_root
from kubectl_mesh.x509.layout import (
    CRL_FILE,
    CSR_FILE,
    NEXT_ROOT_KEY,
    ROOT_CERT,
    ROOT_KEY,
    intermediate_folder,
    next_intermediate_folder,
)


def certs_status_json(topology: Topology, certs: CertsFolder, now: datetime) -> dict[str, Any]:
    """The certificates for programs; the schema is `report/certs-status`."""
    kept, current = certs.files, rotation.read_rotation(certs.files)
    roots = load_certificates(f"certs/{ROOT_CERT}", kept[ROOT_CERT]) if ROOT_CERT in kept else ()
    keys = {
        name: load_key(f"certs/{name}", kept[name], for_istio=False)
        for name in (ROOT_KEY, NEXT_ROOT_KEY)
        if name in kept
    }
    clusters = sorted(c.name for c in topology.clusters if c.primary is None)
    existing = [name for name in clusters if f"{intermediate_folder(name)}/ca-cert.pem" in kept]
    chains = {name: _chain(kept, name) for name in existing}
    signers = {name: find_root(chain, roots) for name, chain in chains.items()}
    used = [signer for signer in signers.values() if signer is not None]
    return {
        "mesh": topology.mesh_id,
        "issuer": topology.issuer,
        "rotation": current.step if current is not None else None,
        "roots": [_root_json(root, keys, used, now) for root in roots],
        "intermediates": [
            {
                "cluster": name,
                **_certificate_json(chain[0], now),
                "signedBy": _fingerprint(signer) if (signer := signers[name]) else None,
                "keyHere": f"{intermediate_folder(name)}/ca-key.pem" in kept,
                "renewalRequested": f"{next_intermediate_folder(name)}/{CSR_FILE}" in kept,
            }
            for name, chain in chains.items()
        ],
        "missing": [name for name in clusters if name not in chains],
        "archived": len(certs.archive_names),
    }


def _chain(files: Mapping[str, bytes], name: str) -> tuple[x509.Certificate, ...]:
    """The certificate of an intermediate and its chain."""
    base = intermediate_folder(name)
    chain = load_certificates(f"certs/{base}/ca-cert.pem", files[f"{base}/ca-cert.pem"])
    if f"{base}/cert-chain.pem" in files:
        chain += load_certificates(f"certs/{base}/cert-chain.pem", files[f"{base}/cert-chain.pem"])
    return chain


def server_cas_json(
    validity: Mapping[str, tuple[datetime, datetime]], now: datetime
) -> list[dict[str, Any]]:
    """The dates of the CAs of the API servers, by cluster, for programs."""
    return [
        {
            "cluster": name,
            "notBefore": f"{begin:%Y-%m-%dT%H:%M:%SZ}",
            "notAfter": f"{end:%Y-%m-%dT%H:%M:%SZ}",
            "daysLeft": (end - now).days,
        }
        for name, (begin, end) in sorted(validity.items())
    ]


def read_validity(
    files: Mapping[str, bytes], clusters: Sequence[str]
) -> tuple[list[Certificate], dict[str, Certificate], tuple[datetime, datetime] | None]:
    """What has a date: the roots, the intermediates by cluster, and when the CRLs were made and the
    first of them ends, where there are any.
    """
    roots = (
        [describe_certificate(c) for c in load_certificates(f"certs/{ROOT_CERT}", files[ROOT_CERT])]
        if ROOT_CERT in files
        else []
    )
    paths = {name: f"{intermediate_folder(name)}/ca-cert.pem" for name in sorted(clusters)}
    intermediates = {
        name: describe_certificate(load_certificates(f"certs/{path}", files[path])[0])
        for name, path in paths.items()
        if path in files
    }
    if CRL_FILE not in files:
        return roots, intermediates, None

    validity = [
        (c.last_update_utc, c.next_update_utc)
        for c in crl.load_crls(f"certs/{CRL_FILE}", files[CRL_FILE])
        if c.next_update_utc is not None
    ]
    return roots, intermediates, min(validity, key=lambda dates: dates[1], default=None)


def _root_json(
    root: x509.Certificate,
    keys: Mapping[str, Key],
    signers: Sequence[x509.Certificate],
    now: datetime,
) -> dict[str, Any]:
    """A root; where no key is here, the one that signed all intermediates is the one that signs."""
    signs = is_for_key(root, keys[ROOT_KEY]) if ROOT_KEY in keys else set(signers) == {root}
    return {
        **_certificate_json(root, now),
        "trusted": True,
        "signs": signs,
        "keyHere": any(is_for_key(root, key) for key in keys.values()),
    }


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def _certificate_json(certificate: x509.Certificate, now: datetime) -> dict[str, Any]:
    described = describe_certificate(certificate)
    return {
        "subject": described.subject,
        "issuer": described.issuer,
        "serial": described.serial,
        "fingerprint": described.fingerprint,
        "keyType": described.key_type,
        "notBefore": f"{described.not_before:%Y-%m-%dT%H:%M:%SZ}",
        "notAfter": f"{described.not_after:%Y-%m-%dT%H:%M:%SZ}",
        "daysLeft": (described.not_after - now).days,
    }
