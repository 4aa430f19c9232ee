"""SOPS files (getsops/sops: aes/cipher.go, sops.go, stores/yaml, age/keysource.go): `data`
encrypted with AES-256-GCM, the rest readable.

All files of a directory have one data key, derived from the seal key and the recipients, and
wrapped for each recipient by age once; so a cluster more costs one wrap more, and who is no
recipient any more has no key for what is written from then on. Every initialisation vector is
derived from the key, the path and the value: the same value gives the same text, another value
another one.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import yaml

from kubectl_mesh.errors import Problem
from kubectl_mesh.model import BUNDLE_FOLDER, FolderOnDisk, Json, SecretManifest, Topology
from kubectl_mesh.stores import age
from kubectl_mesh.stores.sealing import Opener, Sealing, digest_parts
from kubectl_mesh.stores.store import Certificates, StoreInputs
from kubectl_mesh.text import value_text
from kubectl_mesh.yaml_io.lookup import items_at, text_at
from kubectl_mesh.yaml_io.manifest import read_manifest
from kubectl_mesh.yaml_io.write import dump_yaml, string_text

ENCRYPTED_REGEX = "^(data|stringData)$"
TIME = "2000-01-01T00:00:00Z"
"""What stands as `lastmodified`, which the format asks for: a time of its own would change a file
that says the same; git knows when.
"""
VERSION = "3.11.0"
"""The version of sops whose format this is."""
CONFIG = ".sops.yaml"
"""What makes `sops edit` and `sops updatekeys` do the right thing when they are run in a cluster's
directory.
"""

_VALUE = re.compile(
    r"ENC\[AES256_GCM,data:([A-Za-z0-9+/=]*),iv:([A-Za-z0-9+/=]+),tag:([A-Za-z0-9+/=]+),type:(str|int|float|bool|bytes|comment)\]\Z"
)
_RECIPIENT = re.compile(rb'(- )?recipient: "?(age1[0-9a-z]+)"?')
_HIDDEN = re.compile(
    rb'"ENC\[AES256_GCM,data:[A-Za-z0-9+/=]+,iv:[A-Za-z0-9+/=]+,tag:[A-Za-z0-9+/=]+,type:str\]"'
)
_WRAPPED = re.compile(rb"      [!-~][ -~]*")
_LAST = b"-----END AGE ENCRYPTED FILE-----"
_MAC = re.compile(rb'^ +mac: "?(ENC\[[^\]\n]*\])"?$', re.MULTILINE)
_WHEN = re.compile(rb'^ +lastmodified: "?([^"\n]*)"?$', re.MULTILINE)


class SopsError(ValueError):
    """Why a file is not opened."""


class Sops(Sealing):
    """The files of a mesh for the recipients of each directory."""

    NAME = "sops"
    NEEDS_DECRYPTION = True
    DESCRIPTION = "encrypted by SOPS"
    MARK = "sops"
    SECRET_FIELDS = ("data", "stringData", MARK)

    def __init__(
        self,
        out: str,
        key: bytes | None,
        before: Callable[[str], FolderOnDisk | None],
        recipients: Mapping[str, tuple[str, ...]],
    ) -> None:
        super().__init__(out, key, before)
        self.recipients = recipients
        self._keys: dict[str, tuple[bytes, str]] = {}
        self._parsed: dict[str, tuple[dict[str, str], str, str]] = {}
        self._blocks: dict[str, bytes] = {}

    @classmethod
    def open_store(cls, inputs: StoreInputs) -> Self:
        """The store of a run."""
        topology = inputs.topology
        recipients = {
            c.name: tuple(dict.fromkeys((*c.recipients, *topology.recipients)))
            for c in topology.clusters
        }
        everyone = dict.fromkeys(r for own in recipients.values() for r in own)
        all_of_them = {**recipients, BUNDLE_FOLDER: tuple(everyone)}
        return cls(inputs.out, inputs.key, inputs.before, all_of_them)

    @classmethod
    def find_recipients(cls, value: Json) -> tuple[str, ...]:
        """The age recipients of a file."""
        return tuple(
            found
            for item in items_at(value, cls.MARK, "age")
            if (found := text_at(item, "recipient")) is not None
        )

    @classmethod
    def read_identity(cls, name: str, body: bytes, certificates: Certificates) -> Opener:
        """What an age identity opens."""
        unwrap = age.read_identities(name, body)
        return Opener(
            lambda directory, disk: any(
                can_open(disk.files[p][0], unwrap) for p in disk.sealed_digests if p in disk.files
            ),
            lambda directory, file: open_file(file, unwrap).document,
        )

    @classmethod
    def topology_problems(cls, topology: Topology) -> Iterator[Problem]:
        """Recipients that are none."""
        stated: list[tuple[tuple[str | int, ...], str]] = [
            (("secrets", "recipients", i), r) for i, r in enumerate(topology.recipients)
        ]
        stated += [
            (("contexts", c.context, "recipients", i), r)
            for c in topology.clusters
            for i, r in enumerate(c.recipients)
        ]
        for path, recipient in stated:
            if not age.is_recipient(recipient):
                yield Problem(
                    topology.document.field_place(*path),
                    "is no age recipient: its checksum is wrong, or it is no point to share a"
                    " secret with",
                    "copy it once more, as a whole",
                    code="recipient-invalid",
                )

    @classmethod
    def recipient_warnings(
        cls, topology: Topology, certificates: Certificates, *, shared_identity: bool
    ) -> Iterator[Problem]:
        """Recipients that open the secrets of several clusters."""
        owners: dict[str, str] = {}
        for cluster in topology.clusters:
            place = topology.document.field_place("contexts", cluster.context, "recipients")
            fix = "give every cluster a key of its own (`age-keygen`)"
            if not cluster.recipients and len(topology.clusters) > 1 and not shared_identity:
                yield Problem(
                    cluster.place,
                    f"{value_text(cluster.context)} has no recipient of its own: it opens its"
                    " secrets by"
                    " a key that opens those of all clusters",
                    fix,
                    "recipient-shared",
                    code="recipient-of-all-clusters",
                )
            for recipient in cluster.recipients:
                first = owners.setdefault(recipient, cluster.context)
                if first != cluster.context:
                    yield Problem(
                        place,
                        f"shares a recipient with {value_text(first)}: each opens the CA key of the"
                        " other",
                        fix,
                        "recipient-shared",
                        code="recipient-of-another-cluster",
                    )
                if recipient in topology.recipients:
                    yield Problem(
                        place,
                        "is one of secrets.recipients too, and opens the secrets of all clusters",
                        fix,
                        "recipient-shared",
                        code="recipient-of-all-clusters",
                    )

    def recipients_id(self, directory: str) -> bytes:
        """The recipients."""
        return "\n".join(self.recipients[directory]).encode()

    def lock_fields(self, directory: str) -> dict[str, object]:
        """Who can open the directory."""
        return {"store": self.NAME, "recipients": tuple(self.recipients[directory])}

    def extra_files(self, directory: str) -> dict[str, str]:
        """The settings for sops itself."""
        rule = {
            "path_regex": r"\.yaml$",
            "encrypted_regex": ENCRYPTED_REGEX,
            "age": ",".join(self.recipients[directory]),
        }
        return {CONFIG: dump_yaml({"creation_rules": [rule]})}

    def seal_file(
        self, directory: str, path: str, secret: SecretManifest, old: bytes | None
    ) -> bytes:
        """The file; `old` tells nothing that is not known without it, but for the wrapped keys."""
        assert secret.text is not None
        key, wrapped = self._key(directory)
        data, head, mac = self._parts(secret.text)
        values = {name: encrypt_value(key, ("data", name), value) for name, value in data.items()}
        return _file(head, values, wrapped, encrypt_value(key, None, mac)).encode()

    def is_current(self, directory: str, public: str, old: bytes) -> bool:
        """Whether all but the encrypted values is as it would be sealed, with the wrapped keys that
        the other files of the directory have.
        """
        data, head, _ = self._parts(public)
        wanted = _file(
            head,
            dict.fromkeys(data, "\0"),
            age.age_block(dict.fromkeys(self.recipients[directory], "")),
            "\0",
        )
        if _without_values(old) != wanted.encode():
            return False
        if directory not in self._blocks:
            disk = self.before(directory)
            # What somebody edited, as the lock tells, says nothing of the others.
            bodies = (
                [
                    disk.files[path][0]
                    for path in disk.sealed_digests
                    if path in disk.files and not _edited(disk, path)
                ]
                if disk is not None
                else []
            )
            found = Counter(block for block in map(_age_block, bodies) if block is not None)
            self._blocks[directory] = found.most_common(1)[0][0] if found else b""
        return _age_block(old) == self._blocks[directory]

    def _parts(self, plain: str) -> tuple[dict[str, str], str, str]:
        """Of a manifest its `data`, what stands before that, and the digest of all; the same
        manifest may stand in many directories.
        """
        found = self._parsed.get(plain)
        if found is None:
            value = yaml.load(plain, Loader=yaml.CSafeLoader)
            head, _, _ = plain.partition("\ndata:\n")
            assert list(value)[-1] == "data", "a Secret ends with its data"
            found = self._parsed[plain] = (value["data"], head + "\n", document_checksum(value))
        return found

    def _key(self, directory: str) -> tuple[bytes, str]:
        """The data key of a directory, and the text that has it for each recipient: the one that is
        there, else a new one.
        """
        if directory not in self._keys:
            assert self.key is not None
            recipients = self.recipients[directory]
            key = data_key(self.key, directory, recipients)
            self._keys[directory] = (
                key,
                self._wrapped_before(directory, key) or age.wrap_data_key(key, recipients),
            )
        return self._keys[directory]

    def _wrapped_before(self, directory: str, key: bytes) -> str | None:
        """The wrapped keys of a file that was made with this key, if possible one that nobody
        edited.
        """
        disk = self.before(directory)
        if disk is None:
            return None
        unlike = [
            path for path in disk.sealed_digests if path in disk.files and _edited(disk, path)
        ]
        for path in (
            *(p for p in disk.sealed_digests if p in disk.files and p not in unlike),
            *unlike,
        ):
            body = disk.files[path][0]
            stanzas = {recipient.decode(): wrapped for recipient, wrapped in _stanzas(body)}
            mac, when = _MAC.search(body), _WHEN.search(body)
            if (
                mac is None
                or when is None
                or set(stanzas) != set(self.recipients[directory])
                or not all(s.isascii() for s in stanzas.values())
            ):
                continue
            if _opens(key, mac[1].decode("ascii", "replace"), when[1].decode("ascii", "replace")):
                return age.age_block({r: stanzas[r].decode() for r in self.recipients[directory]})
        return None


def _edited(disk: FolderOnDisk, path: str) -> bool:
    return hashlib.sha256(disk.files[path][0]).hexdigest() != disk.locked_digests.get(path)


def data_key(seal_key: bytes, directory: str, recipients: Iterable[str]) -> bytes:
    """The data key of a directory for some recipients."""
    return hmac.digest(
        seal_key,
        digest_parts(
            b"kubectl-mesh sops 1", directory.encode(), *sorted(r.encode() for r in recipients)
        ),
        "sha256",
    )


def is_sealed_value(old: bytes, key: bytes, name: str, value: str) -> bool:
    """Whether a file that we sealed with a data key has this under `data`."""
    return encrypt_value(key, ("data", name), value).encode() in old


def _file(head: str, values: Mapping[str, str], wrapped: str, mac: str) -> str:
    lines = "".join(f'  {string_text(name)}: "{value}"\n' for name, value in values.items())
    block = (
        f'  encrypted_regex: "{ENCRYPTED_REGEX}"\n  lastmodified: "{TIME}"\n  mac: "{mac}"\n '
        f' version: "{VERSION}"\n'
    )
    return f"{head}data:\n{lines}sops:\n{wrapped}{block}"


def _opens(key: bytes, value: str, additional: str) -> bool:
    try:
        decrypt_value(key, value, additional)
    except SopsError:
        return False
    return True


def encrypt_value(key: bytes, path: tuple[str, ...] | None, value: str) -> str:
    """A value as SOPS writes it; `path` None is for the digest of a file."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if not value:
        return value
    additional = TIME if path is None else ":".join(path) + ":"
    body = value.encode()
    vector = hmac.digest(key, digest_parts(b"iv", additional.encode(), body), "sha256")
    sealed = AESGCM(key).encrypt(vector, body, additional.encode())
    parts = (base64.b64encode(part).decode() for part in (sealed[:-16], vector, sealed[-16:]))
    return "ENC[AES256_GCM,data:{},iv:{},tag:{},type:str]".format(*parts)


def decrypt_value(key: bytes, value: str, additional: str) -> bytes:
    """The bytes of an encrypted value; raises `Refused`."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    match = _VALUE.match(value)
    if match is None:
        raise SopsError("a value is not encrypted as SOPS does it")
    try:
        data, vector, tag = (base64.b64decode(part, validate=True) for part in match.groups()[:3])
        return AESGCM(key).decrypt(vector, data + tag, additional.encode())
    except (InvalidTag, ValueError, binascii.Error, OverflowError):
        raise SopsError("a value was changed, or encrypted for another place") from None


def list_leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The values of a document in its order; an item of a list has the path of the list, null is
    none.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            yield from list_leaves(item, (*path, str(key)))
    elif isinstance(value, list):
        for item in value:
            yield from list_leaves(item, path)
    elif value is not None:
        yield path, value


def plain_bytes(value: Any) -> bytes:
    """The bytes of a value as they count for the digest of a file."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bool):
        return b"True" if value else b"False"
    if isinstance(value, int):
        return str(value).encode()
    raise SopsError(
        f"holds a {type(value).__name__}, which is written one way here and another there"
    )


def document_checksum(document: Any) -> str:
    """SHA-512 over all values of a document, in upper-case hex."""
    made = hashlib.sha512()
    for _, value in list_leaves(document):
        made.update(plain_bytes(value))
    return made.hexdigest().upper()


@dataclass(frozen=True, slots=True)
class Opened:
    """A file, opened: its document with everything in clear, and for whom it is."""

    document: Any = field(repr=False)
    recipients: tuple[str, ...]


def open_file(body: bytes, unwrap: Callable[[bytes], bytes | None]) -> Opened:
    """Opens a file; `unwrap` gives the data key of one recipient's text, None where that is for
    somebody else. Raises `Refused`.
    """
    try:
        document = read_manifest(body)
    except ValueError as error:
        raise SopsError(str(error)) from None
    block: Any = document.pop("sops", None) if isinstance(document, dict) else None
    try:
        recipients = tuple(str(entry["recipient"]) for entry in block["age"])
        wrapped = [str(entry["enc"]).encode() for entry in block["age"]]
        mac, when, regex = (
            str(block["mac"]),
            str(block["lastmodified"]),
            str(block["encrypted_regex"]),
        )
        partial = bool(block.get("mac_only_encrypted"))
    except (TypeError, KeyError, AttributeError):
        raise SopsError("is no SOPS file for age recipients") from None
    if regex != ENCRYPTED_REGEX or partial:
        raise SopsError("has other rules than ours for what is encrypted")
    key = next((k for k in map(unwrap, wrapped) if k is not None), None)
    if key is None or len(key) != 32:
        raise SopsError("is not encrypted for this identity")
    wanted = re.compile(regex)

    def clear(value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, dict):
            return {k: clear(v, (*path, str(k))) for k, v in value.items()}
        if isinstance(value, list):
            return [clear(v, path) for v in value]
        if value in (None, "") or not any(map(wanted.search, path)):
            return value
        return decrypt_value(key, str(value), ":".join(path) + ":").decode()

    document = {k: clear(v, (str(k),)) for k, v in document.items()}
    if not hmac.compare_digest(
        decrypt_value(key, mac, when).decode("ascii", "replace"), document_checksum(document)
    ):
        raise SopsError("something in it was changed since it was sealed: its MAC does not match")
    return Opened(document, recipients)


def can_open(body: bytes, unwrap: Callable[[bytes], bytes | None]) -> bool:
    """Whether one of the wrapped keys of a file opens."""
    return any(unwrap(wrapped) is not None for _, wrapped in _stanzas(body))


def _stanzas(body: bytes) -> list[tuple[bytes, bytes]]:
    """The recipients of a file and the data key wrapped for each, whoever wrote the file: sops
    indents by four, we by two.

    The time is in proportion to the length. What lacks its last line, or its recipient, is left
    out.
    """
    found: list[tuple[bytes, bytes]] = []
    lines = body.split(b"\n")
    number = 0
    while number < len(lines) - 1:
        line = lines[number].lstrip(b" ")
        number += 1
        recipient = _RECIPIENT.fullmatch(line)
        if recipient is not None and recipient[1] and lines[number].lstrip(b" ") == b"enc: |":
            number += 1
        elif line != b"- enc: |":
            continue
        wrapped: list[bytes] = []
        while (
            number < len(lines)
            and lines[number].startswith(b" ")
            and not lines[number].lstrip(b" ").startswith((b"- ", b"recipient:"))
        ):
            wrapped.append(lines[number].strip() + b"\n")
            number += 1
            if wrapped[-1].startswith(_LAST):
                break
        if line == b"- enc: |" and number < len(lines):
            recipient = _RECIPIENT.fullmatch(lines[number].lstrip(b" "))
            recipient = None if recipient is None or recipient[1] else recipient
        if recipient is not None and wrapped and wrapped[-1] == _LAST + b"\n":
            found.append((recipient[2], b"".join(wrapped)))
    return found


def _age_block(body: bytes) -> bytes | None:
    """The wrapped keys of a file as we write it, None where there are none."""
    found: list[bytes] = []
    for line in body.split(b"\n"):
        if found and line.startswith(b"  - " if len(found) == 1 else (b"  - ", b"    ")):
            found.append(line)
        elif len(found) > 1:
            break
        else:
            found = [line] if line == b"  age:" else []
    return b"\n".join(found) if len(found) > 1 else None


def _without_values(body: bytes) -> bytes:
    """A file as we write it, with a mark for each encrypted value, and without the wrapped keys."""
    kept: list[bytes] = []
    inside = False
    for line in body.split(b"\n"):
        inside = line == b"    enc: |" or (inside and _WRAPPED.fullmatch(line) is not None)
        if not inside or line == b"    enc: |":
            kept.append(line)
    return _HIDDEN.sub(b'"\0"', b"\n".join(kept))
