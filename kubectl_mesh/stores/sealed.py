"""SealedSecrets (bitnami-labs/sealed-secrets: pkg/crypto, pkg/apis): each value encrypted for the
controller of its cluster, strict scope.

A value is `uint16(length) || RSA-OAEP(session key) || AES-256-GCM(value)`, the label of OAEP is
`namespace/name`. The session key is derived from the seal key, the certificate, the label, the name
and the value: no two values have the same one, so the nonce of zeros that the format asks for is
safe; and the part of an old value that is AES tells, without the controller's key, whether it is
still the same.
"""

import base64
import binascii
import hmac
import re
import shlex
import struct
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import yaml

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model import Cluster, FolderOnDisk, Pending, SecretManifest, Topology
from kubectl_mesh.stores.sealing import Opener, Sealing, digest_parts
from kubectl_mesh.stores.store import Certificate, Certificates, Health, StoreInputs
from kubectl_mesh.workdir.places import sealing_certificate_file
from kubectl_mesh.yaml_io.manifest import read_manifest
from kubectl_mesh.yaml_io.write import dump_yaml, string_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

SHORTEST = 2048
"""Bits of a controller's key; a controller makes 4096 unless told otherwise."""
_LINE = re.compile(rb'^    ("?)([-._a-zA-Z0-9]+)\1: "([A-Za-z0-9+/=]+)"$', re.MULTILINE)


def fetch_certificate_command(cluster: Cluster, directory: str) -> str:
    """The command that fetches it."""
    path = join_path(directory, sealing_certificate_file(cluster.name))
    return (
        f"kubeseal {shlex.quote(f'--context={cluster.context}')} --fetch-cert > {shlex.quote(path)}"
    )


def load_certificate(
    name: str, pem: bytes, now: datetime, fetch: str
) -> tuple[Certificate, tuple[Problem, ...]]:
    """A controller's certificate, and what deserves a warning; `fetch` is the command that gets it.
    Raises a `MeshError`.
    """
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.hashes import SHA256

    from kubectl_mesh.x509.parse import PemError, parse_certificate

    place, check = Place(name), "sealing-certificate"
    if b"PRIVATE KEY" in pem:
        what = "holds a private key; it is a public file"
        fix = "take the key out, have the controller make a new one, and fetch its certificate"
        raise MeshError([Problem(place, what, fix, check, code="private-key-in-public-file")])
    fix = f"fetch it anew: {fetch}"
    try:
        certificate = parse_certificate(pem)
    except PemError:
        what = "is not a PEM certificate that can be read"
        unreadable = Problem(place, what, fix, check, code="certificate-unreadable")
        raise MeshError([unreadable]) from None
    key = certificate.public_key()
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not isinstance(key, RSAPublicKey):
        what = "has no RSA key, so it is not the certificate of a Sealed Secrets controller"
        raise MeshError([Problem(place, what, fix, check, code="key-not-rsa")])
    fault = _certificate_fault(key, begins, ends, now)
    if fault is not None:
        what, code = fault
        raise MeshError([Problem(place, what, fix, check, code=code)])
    warnings = []
    if now >= begins + (ends - begins) * 4 / 5:
        what = f"has less than a fifth of its life left (it expires on {ends:%Y-%m-%d})"
        newest = f"fetch the newest one: {fetch}"
        code = "certificate-expires-soon"
        warnings.append(Problem(place, what, newest, "sealing-expiring", code=code))
    return Certificate(key, certificate.fingerprint(SHA256()).hex()), tuple(warnings)


def _certificate_fault(
    key: "RSAPublicKey", begins: datetime, ends: datetime, now: datetime
) -> tuple[str, str] | None:
    """Why nothing is sealed with a certificate, and the code of that; None: nothing is wrong."""
    if key.key_size < SHORTEST:
        what = (
            f"has an RSA key of {key.key_size} bits, with which no CA key is sealed; have the"
            " controller make one of 4096 (its --key-size)"
        )
        return what, "key-too-short"
    if ends <= now:
        what = f"expired on {ends:%Y-%m-%d}; kubeseal refuses it, and so does kubectl mesh"
        return what, "certificate-expired"
    if begins > now + timedelta(days=1):
        return f"is not valid before {begins:%Y-%m-%d}", "certificate-not-yet-valid"
    return None


def load_private_keys(name: str, pem: bytes) -> list[Any]:
    """The private keys of a controller, one PEM after the other. Raises a `MeshError` that shows
    none.
    """
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from kubectl_mesh.x509.parse import PemError, find_blocks, parse_key

    found = []
    for block in find_blocks(pem):
        if block.label not in (b"PRIVATE KEY", b"RSA PRIVATE KEY"):
            continue
        try:
            key = parse_key(pem[block.start : block.end])
        except PemError:
            key = None
        if not isinstance(key, RSAPrivateKey):
            raise MeshError(
                [
                    Problem(
                        Place(name),
                        "holds a private key that is no RSA key",
                        "name a file with the controller's tls.key",
                        code="key-not-rsa",
                    )
                ]
            )
        found.append(key)
    if not found:
        fix = (
            "name a file with the tls.key of the Secrets that are labelled"
            " sealedsecrets.bitnami.com/sealed-secrets-key"
        )
        raise MeshError(
            [Problem(Place(name), "holds no private key in PEM", fix, code="no-private-key")]
        )
    return found


def is_key_for(keys: list[Any], certificate: Certificate | None) -> bool:
    """Whether one of the keys belongs to a certificate."""
    return certificate is not None and any(
        k.public_key().public_numbers() == certificate.key.public_numbers() for k in keys
    )


def unseal_secret(keys: list[Any], body: bytes) -> Any:
    """The Secret that the controller makes of a SealedSecret. Raises a ValueError that says why
    not.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        value = read_manifest(body)
        place, spec = value["metadata"], value["spec"]
        label = f"{place['namespace']}/{place['name']}".encode()
        blobs = {
            name: base64.b64decode(text, validate=True)
            for name, text in spec["encryptedData"].items()
        }
        template = spec["template"]
        made = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": template["metadata"],
            "type": template["type"],
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError("is no SealedSecret") from None
    named = template["metadata"] if isinstance(template["metadata"], dict) else {}
    if value.get("kind") != "SealedSecret" or [named.get(k) for k in ("name", "namespace")] != [
        place["name"],
        place["namespace"],
    ]:
        raise ValueError("is no SealedSecret, or its template has another name")
    data = {}
    for name, blob in blobs.items():
        size = int.from_bytes(blob[:2], "big")
        for key in keys:
            try:
                session = key.decrypt(blob[2 : 2 + size], OAEP(MGF1(SHA256()), SHA256(), label))
                data[name] = base64.b64encode(
                    AESGCM(session).decrypt(bytes(12), blob[2 + size :], None)
                ).decode()
                break
            except (ValueError, InvalidTag):
                continue
        else:
            raise ValueError(
                f"does not open: {name} was changed, or is sealed for another controller or another"
                " name"
            )
    return {**made, "data": data}


class SealedSecrets(Sealing):
    """The files of a mesh for the controller of each cluster."""

    NAME = "sealed"
    CONTROLLER = "sealedsecrets.bitnami.com"
    WRITER = "the Sealed Secrets controller"
    HEALTH = Health("bitnami.com/v1alpha1", "SealedSecret", "Synced")
    DESCRIPTION = "sealed for the controller of each cluster"
    OBJECT_KIND = HEALTH.kind
    METADATA = ("spec", "template", "metadata")
    DATA = ("spec", "encryptedData")
    SECRET_FIELDS = ("data", "stringData", ".".join(DATA))

    def __init__(
        self,
        out: str,
        key: bytes | None,
        before: Callable[[str], FolderOnDisk | None],
        certificates: Certificates,
    ) -> None:
        super().__init__(out, key, before)
        self.certificates = certificates
        self._parsed: dict[str, tuple[bytes, dict[str, bytes], tuple[str, str]]] = {}

    @classmethod
    def open_store(cls, inputs: StoreInputs) -> Self:
        """The store of a run."""
        return cls(inputs.out, inputs.key, inputs.before, inputs.certificates)

    @classmethod
    def read_identity(cls, name: str, body: bytes, certificates: Certificates) -> Opener:
        """What the keys of a controller open."""
        keys = load_private_keys(name, body)
        return Opener(
            lambda directory, disk: is_key_for(keys, certificates.get(directory)),
            lambda directory, file: unseal_secret(keys, file),
        )

    @classmethod
    def recipient_warnings(
        cls, topology: Topology, certificates: Certificates, *, shared_identity: bool
    ) -> Iterator[Problem]:
        """Controllers with the same key."""
        owners: dict[Any, str] = {}
        for cluster in topology.clusters:
            if cluster.name not in certificates:
                continue
            numbers, own = (
                certificates[cluster.name].key.public_numbers(),
                sealing_certificate_file(cluster.name),
            )
            first = owners.setdefault(numbers, own)
            if first != own:
                yield Problem(
                    Place(own),
                    f"has the key of {first} too: either it is the wrong one, and"
                    " nothing opens here; or each controller opens the CA key of the other",
                    f"fetch it anew: {fetch_certificate_command(cluster, '.')}",
                    "recipient-shared",
                    code="controller-key-shared",
                )

    @classmethod
    def pending_certificates(
        cls, topology: Topology, certificates: Certificates, directory: str
    ) -> list[Pending]:
        """The certificates of controllers that are not here."""
        return [
            Pending(
                "sealing",
                c.name,
                "the certificate of its Sealed Secrets controller"
                f" ({join_path(directory, sealing_certificate_file(c.name))})",
                "all but its namespace",
                fetch_certificate_command(c, directory),
            )
            for c in topology.clusters
            if c.primary is None and c.name not in certificates
        ]

    def recipients_id(self, directory: str) -> bytes:
        """The certificate."""
        return self.certificates[directory].fingerprint.encode()

    def lock_fields(self, directory: str) -> dict[str, object]:
        """Who can open the directory."""
        return {"store": self.NAME, "sealed_for": self.certificates[directory].fingerprint}

    def seal_file(
        self, directory: str, path: str, secret: SecretManifest, old: bytes | None
    ) -> bytes:
        """The file, with the values of `old` that are still right."""
        assert secret.text is not None
        assert self.key is not None
        label, data, (head, tail) = self._parts(secret.text)
        there = _there(old) if old is not None else {}
        certificate = self.certificates[directory]
        values = {}
        for name, body in data.items():
            session = session_key(self.key, certificate.fingerprint, label, name, body)
            values[name] = encrypt_value(certificate.key, session, label, body, there.get(name))
        return _file(head, values, tail)

    def _parts(self, plain: str) -> tuple[bytes, dict[str, bytes], tuple[str, str]]:
        """Of a Secret its label, its values, and what stands round them once sealed; the same
        Secret may be sealed for many clusters.
        """
        found = self._parsed.get(plain)
        if found is None:
            value = yaml.load(plain, Loader=yaml.CSafeLoader)
            label = f"{value['metadata']['namespace']}/{value['metadata']['name']}".encode()
            found = self._parsed[plain] = (
                label,
                {name: base64.b64decode(body) for name, body in value["data"].items()},
                manifest_frame(value),
            )
        return found

    def is_current(self, directory: str, public: str, old: bytes) -> bool:
        """Whether all but the values is as it would be sealed, and each value is as long as its
        wrapped key asks for.
        """
        _, data, (head, tail) = self._parts(public)
        there = _there(old)
        if (
            set(there) != set(data)
            or _file(head, {name: there[name] for name in data}, tail) != old
        ):
            return False
        size = self.certificates[directory].key.key_size // 8
        return all(
            blob[:2] == struct.pack(">H", size) and len(blob) > 2 + size + 16
            for blob in map(_blob, there.values())
        )


def session_key(seal_key: bytes, fingerprint: str, label: bytes, name: str, body: bytes) -> bytes:
    """The session key of one value for one certificate."""
    return hmac.digest(
        seal_key,
        digest_parts(b"kubectl-mesh sealed 1", fingerprint.encode(), label, name.encode(), body),
        "sha256",
    )


def is_sealed_value(old: bytes, session: bytes, name: str, body: bytes) -> bool:
    """Whether a file that we sealed has this value, whatever wraps its session key."""
    blob = _blob(_there(old).get(name, ""))
    return blob[2 + int.from_bytes(blob[:2], "big") :] == _aes(session, body)


def _there(old: bytes) -> dict[str, str]:
    return {name.decode(): blob.decode() for _, name, blob in _LINE.findall(old)}


def _file(head: str, values: Mapping[str, str], tail: str) -> bytes:
    lines = "".join(f'    {string_text(name)}: "{value}"\n' for name, value in values.items())
    return f"{head}spec:\n  encryptedData:\n{lines}{tail}".encode()


def _blob(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        return b""


def manifest_frame(secret: Any) -> tuple[str, str]:
    """What of a SealedSecret stands before its values, and what after; what keeps a tool from
    deleting the Secret has to stand on both.
    """
    metadata = secret["metadata"]
    names = {"name": metadata["name"], "namespace": metadata["namespace"]}
    kept = {
        k: v
        for k, v in metadata.get("annotations", {}).items()
        if "argocd.argoproj.io/" in k or "toolkit.fluxcd.io/" in k
    }
    head = dump_yaml(
        {
            "apiVersion": "bitnami.com/v1alpha1",
            "kind": "SealedSecret",
            "metadata": {**names, **({"annotations": kept} if kept else {})},
        }
    )
    template = dump_yaml({"template": {"metadata": metadata, "type": secret["type"]}})
    return head, "".join(f"  {line}\n" for line in template.splitlines())


def _aes(session: bytes, body: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(session).encrypt(bytes(12), body, None)


def encrypt_value(key: Any, session: bytes, label: bytes, body: bytes, old: str | None) -> str:
    """A value in base64; the old one, if its part that is AES is what would be made."""
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
    from cryptography.hazmat.primitives.hashes import SHA256

    sealed = _aes(session, body)
    size = key.key_size // 8
    if old is not None:
        blob = _blob(old)
        if blob[:2] == struct.pack(">H", size) and blob[2 + size :] == sealed:
            return old
    wrapped = key.encrypt(session, OAEP(MGF1(SHA256()), SHA256(), label))
    return base64.b64encode(struct.pack(">H", len(wrapped)) + wrapped + sealed).decode()
