"""The trust of a cluster: the certificates of `cacerts` where they are in clear, what the lock and
the objects say where not.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kubectl_mesh.errors import MeshError
from kubectl_mesh.model import CACERTS, Certificate, Json
from kubectl_mesh.observed.cacerts_keys import key_names
from kubectl_mesh.observed.crls import CRL
from kubectl_mesh.observed.parse import CACERTS_INCOMPLETE, Parser, flat, opaque
from kubectl_mesh.observed.values import Cacerts, Lock, Opaque
from kubectl_mesh.pki.issue import check_pair
from kubectl_mesh.x509.certificates import describe, load_certificates
from kubectl_mesh.x509.chain import root_of
from kubectl_mesh.x509.parse import PemError, parse_certificates
from kubectl_mesh.yaml_io.lookup import decode_base64, items_at, mapping_at, text_at


def store_of(value: Json) -> str:
    """How an object holds what is secret in it."""
    kind = text_at(value, "kind")
    if kind == "SealedSecret":
        return "sealed"
    if kind == "ExternalSecret":
        return "external"
    if kind == "Certificate":
        return "cert-manager"
    return "sops" if isinstance(value, dict) and "sops" in value else "plain"


def recipients(value: Json) -> tuple[str, ...]:
    """The age recipients of a file of SOPS."""
    return tuple(
        found
        for item in items_at(value, "sops", "age")
        if (found := text_at(item, "recipient")) is not None
    )


class Certificates:
    """Reads PEM; the same text once, for the root is the same everywhere."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Certificate, ...]] = {}

    def read(self, file: str, pem: bytes, parser: Parser, path: str) -> tuple[Certificate, ...]:
        """The certificates of a text."""
        if pem not in self._known:
            try:
                self._known[pem] = tuple(map(describe, load_certificates(file, pem)))
            except MeshError as error:
                for problem in error.problems:
                    parser.problem(file, problem.what, problem.fix, path, code=problem.code)
                return ()
        return self._known[pem]

    def signer(self, files: Mapping[str, bytes]) -> str | None:
        """The fingerprint of the root that an intermediate leads to, by the signatures; None where
        it leads to none.
        """
        try:
            chain = [
                c
                for name in ("ca-cert.pem", "cert-chain.pem")
                for c in parse_certificates(files.get(name, b""))
            ]
            root = (
                root_of(chain, parse_certificates(files.get("root-cert.pem", b"")))
                if chain
                else None
            )
        except PemError:  # it is told where it is read
            return None
        return describe(root).fingerprint if root is not None else None


def trust(
    directory: str, value: Json, lock: Lock | None, parser: Parser, certificates: Certificates
) -> Cacerts:
    """The trust of a cluster whose `cacerts` is `value`; None where there is none."""
    file = f"{directory}/{CACERTS}"
    lock = lock if lock is not None else Lock(file)
    if value is None:
        csr = lock.says.issuer is not None and lock.says.issuer.startswith("istio-csr")
        return _with_lock(
            Cacerts(
                lock.file,
                "istio-csr" if csr else "none",
                issuer={"issuer": lock.says.issuer} if csr else {},
            ),
            value,
            lock,
        )
    store, kind = store_of(value), text_at(value, "kind") or ""
    if store == "plain":
        return _plain(file, kind, mapping_at(value, "data"), parser, certificates)
    sealed: Opaque | None = None
    issuer_fields: Mapping[str, Json] = {}
    if store == "sops":
        sealed = opaque(mapping_at(value, "data"))
    elif store == "sealed":
        sealed = opaque(mapping_at(value, "spec", "encryptedData"))
    else:
        issuer_fields = flat(mapping_at(value, "spec"))
    return _with_lock(Cacerts(file, store, kind, sealed=sealed, issuer=issuer_fields), value, lock)


def _with_lock(made: Cacerts, value: Json, lock: Lock) -> Cacerts:
    """The trust with what the lock says of what cannot be read."""
    return replace(
        made,
        intermediate_fingerprint=lock.says.intermediate,
        root_fingerprints=lock.says.roots,
        signer=made.signer or lock.says.signer,
        others={CRL: opaque(lock.says.crl)} if lock.says.crl is not None else {},
        recipients=recipients(value) or lock.says.recipients,
        sealed_for=lock.says.sealed_for,
    )


def _plain(
    file: str, kind: str, data: Mapping[str, Any], parser: Parser, certificates: Certificates
) -> Cacerts:
    files: dict[str, bytes] = {}
    names = key_names(data)
    for name, key_name in names.items():
        encoded = data.get(key_name)
        if not isinstance(encoded, str):
            parser.problem(
                file, f"{name} is missing", path=f'data."{name}"', code=CACERTS_INCOMPLETE
            )
            continue
        body = decode_base64(encoded)
        if body is None:
            parser.problem(file, "is not base64", path=f'data."{key_name}"', code="not-base64")
        else:
            files[name] = body
    key, crl = files.pop("ca-key.pem", None), _crl(data)
    read = {
        name: certificates.read(file, body, parser, f'data."{name}"')
        for name, body in files.items()
    }
    own, roots = read.get("ca-cert.pem", ()), read.get("root-cert.pem", ())
    return Cacerts(
        file,
        "plain",
        kind,
        intermediate=own[0] if own else None,
        chain=read.get("cert-chain.pem", ()),
        roots=roots,
        intermediate_fingerprint=own[0].fingerprint if own else None,
        root_fingerprints=tuple(root.fingerprint for root in roots),
        signer=certificates.signer(files),
        root_pem=files.get("root-cert.pem"),
        key=opaque(key) if key is not None else None,
        pair=_pair(file, files["ca-cert.pem"], key) if own and key is not None else None,
        files=files if crl is None else {**files, CRL: crl},
        others={
            str(name): opaque(value) for name, value in data.items() if name not in names.values()
        },
    )


def _crl(data: Mapping[str, Any]) -> bytes | None:
    """The CRLs that istiod hands to its proxies; None where there are none, or not in base64."""
    encoded = data.get(CRL)
    return decode_base64(encoded) if isinstance(encoded, str) else None


def _pair(file: str, certificate: bytes, key: bytes) -> bool:
    return not check_pair(file, certificate, key)
