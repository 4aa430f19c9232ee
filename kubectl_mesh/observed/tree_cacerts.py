"""The CA and the roots of a cluster in a tree: from `cacerts` in clear, else from the lock and the
objects.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kubectl_mesh.errors import MeshError
from kubectl_mesh.model import CACERTS_PATH, Certificate, Json
from kubectl_mesh.model.issuers import CERT_MANAGER, ISTIO_CSR
from kubectl_mesh.observed.cacerts_keys import find_key_names
from kubectl_mesh.observed.crls import CRL_KEY
from kubectl_mesh.observed.mesh_state import Cacerts, LockState
from kubectl_mesh.observed.tree_parser import (
    CACERTS_INCOMPLETE,
    TreeParser,
    digest_value,
    flatten_value,
)
from kubectl_mesh.pki.issue import key_pair_problems
from kubectl_mesh.stores import find_store
from kubectl_mesh.stores.plain import Plain
from kubectl_mesh.x509.certificates import describe_certificate, load_certificates
from kubectl_mesh.x509.chain import find_root
from kubectl_mesh.x509.parse import PemError, parse_certificates
from kubectl_mesh.yaml_io.lookup import decode_base64, mapping_at, text_at

_CERTIFICATE = "Certificate"
"""The kind of the object by which cert-manager creates `cacerts`."""


class CertificateReader:
    """Reads PEM; identical text is parsed once."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Certificate, ...]] = {}

    def read_certificates(
        self, file: str, pem: bytes, parser: TreeParser, path: str
    ) -> tuple[Certificate, ...]:
        """The certificates of a PEM text."""
        if pem not in self._known:
            try:
                self._known[pem] = tuple(map(describe_certificate, load_certificates(file, pem)))
            except MeshError as error:
                for problem in error.problems:
                    parser.add_problem(file, problem.what, problem.fix, path, code=problem.code)
                return ()
        return self._known[pem]

    def find_signer(self, files: Mapping[str, bytes]) -> str | None:
        """The fingerprint of the root that signs an intermediate's chain; None if no root does."""
        try:
            chain = [
                c
                for name in ("ca-cert.pem", "cert-chain.pem")
                for c in parse_certificates(files.get(name, b""))
            ]
            root = (
                find_root(chain, parse_certificates(files.get("root-cert.pem", b"")))
                if chain
                else None
            )
        except PemError:  # it is told where it is read
            return None
        return describe_certificate(root).fingerprint if root is not None else None


def parse_cacerts(
    directory: str,
    value: Json,
    lock: LockState | None,
    parser: TreeParser,
    certificates: CertificateReader,
) -> Cacerts:
    """The CA and roots of a cluster from its `cacerts` object; from the lock if `value` is None."""
    file = f"{directory}/{CACERTS_PATH}"
    lock = lock if lock is not None else LockState(file)
    if value is None:
        csr = lock.contents.issuer is not None and lock.contents.issuer.startswith(ISTIO_CSR)
        return _with_lock(
            Cacerts(
                lock.file,
                ISTIO_CSR if csr else "none",
                issuer={"issuer": lock.contents.issuer} if csr else {},
            ),
            value,
            lock,
        )
    store, kind = find_store(value), text_at(value, "kind") or ""
    if kind == _CERTIFICATE or store.OUTSIDE:
        name = CERT_MANAGER if kind == _CERTIFICATE else store.NAME
        made = Cacerts(file, name, kind, issuer=flatten_value(mapping_at(value, "spec")))
        return _with_lock(made, value, lock)
    data = mapping_at(value, *store.DATA)
    if store.CLEAR:
        return _parse_clear(file, kind, data, parser, certificates)
    return _with_lock(Cacerts(file, store.NAME, kind, ciphertext=digest_value(data)), value, lock)


def _with_lock(made: Cacerts, value: Json, lock: LockState) -> Cacerts:
    """The CA with the facts that the lock records for encrypted parts."""
    return replace(
        made,
        intermediate_fingerprint=lock.contents.intermediate,
        root_fingerprints=lock.contents.roots,
        signer=made.signer or lock.contents.signer,
        other_keys={CRL_KEY: digest_value(lock.contents.crl)}
        if lock.contents.crl is not None
        else {},
        recipients=find_store(value).find_recipients(value) or lock.contents.recipients,
        sealed_for=lock.contents.sealed_for,
    )


def _parse_clear(
    file: str,
    kind: str,
    data: Mapping[str, Any],
    parser: TreeParser,
    certificates: CertificateReader,
) -> Cacerts:
    files: dict[str, bytes] = {}
    names = find_key_names(data)
    for name, key_name in names.items():
        encoded = data.get(key_name)
        if not isinstance(encoded, str):
            parser.add_problem(
                file, f"{name} is missing", path=f'data."{name}"', code=CACERTS_INCOMPLETE
            )
            continue
        body = decode_base64(encoded)
        if body is None:
            parser.add_problem(file, "is not base64", path=f'data."{key_name}"', code="not-base64")
        else:
            files[name] = body
    key, crl = files.pop("ca-key.pem", None), _decode_crl(data)
    read = {
        name: certificates.read_certificates(file, body, parser, f'data."{name}"')
        for name, body in files.items()
    }
    own, roots = read.get("ca-cert.pem", ()), read.get("root-cert.pem", ())
    return Cacerts(
        file,
        Plain.NAME,
        kind,
        intermediate=own[0] if own else None,
        chain=read.get("cert-chain.pem", ()),
        roots=roots,
        intermediate_fingerprint=own[0].fingerprint if own else None,
        root_fingerprints=tuple(root.fingerprint for root in roots),
        signer=certificates.find_signer(files),
        root_pem=files.get("root-cert.pem"),
        key=digest_value(key) if key is not None else None,
        has_matching_key=_is_pair(file, files["ca-cert.pem"], key)
        if own and key is not None
        else None,
        files=files if crl is None else {**files, CRL_KEY: crl},
        other_keys={
            str(name): digest_value(value)
            for name, value in data.items()
            if name not in names.values()
        },
    )


def _decode_crl(data: Mapping[str, Any]) -> bytes | None:
    """The CRLs that istiod distributes to its proxies; None if there are none, or if they are not
    base64.
    """
    encoded = data.get(CRL_KEY)
    return decode_base64(encoded) if isinstance(encoded, str) else None


def _is_pair(file: str, certificate: bytes, key: bytes) -> bool:
    return not key_pair_problems(file, certificate, key)
