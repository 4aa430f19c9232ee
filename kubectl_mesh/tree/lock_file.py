"""mesh.lock: the files of a directory with their SHA-256, and what the directory was made from.
Read and written here alone.

A lock is JSON with a line per file and per source, so that a review sees what changed. Nothing is
in it but names, addresses, public fingerprints and digests. Its format is frozen: keys are only
ever added.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any

FORMAT = 1
_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Source:
    """What a remote secret is made from, as far as it is public: the server, the SHA-256 of its CA
    in hex, the name in its certificate.
    """

    server: str | None
    ca: str | None
    tls_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFile:
    """What a lock says; "" or None where it says nothing of it."""

    cluster: str = ""
    """The name of the directory."""
    mesh: str = ""
    context: str = ""
    network: str = ""
    namespace: str = ""
    control_plane: str = ""
    """The kind that base.yaml asked for."""
    pending: str | None = None
    issuer: str | None = None
    """Who makes the intermediate, where it is made in the cluster."""
    intermediate: str | None = None
    """The fingerprint of the intermediate."""
    signer: str | None = None
    """The root that signed the intermediate, where there are several."""
    crl: str | None = None
    """The SHA-256 of the CRLs, where there are any."""
    served_by: str | None = None
    roots: tuple[str, ...] = ()
    """The fingerprints of the roots."""
    store: str | None = None
    """The store, where it is one that encrypts."""
    recipients: tuple[str, ...] = ()
    sealed_for: str | None = None
    remote: Mapping[str, Source] = field(default_factory=lambda: _NONE)
    """What the remote secrets are made from, by peer."""
    sealed: Mapping[str, str] = field(default_factory=lambda: _NONE)
    """The digest of what is public of each sealed file, by path."""
    files: Mapping[str, str] = field(default_factory=lambda: _NONE)
    """The SHA-256 of each file, by path."""


_KEYS = {
    "context": "context",
    "mesh": "mesh",
    "network": "network",
    "namespace": "namespace",
    "controlPlane": "control_plane",
    "waits": "pending",
    "issuer": "issuer",
    "intermediate": "intermediate",
    "signer": "signer",
    "crl": "crl",
    "servedBy": "served_by",
    "roots": "roots",
    "store": "store",
    "recipients": "recipients",
    "sealedFor": "sealed_for",
}
"""The keys of `madeFrom` in their order, and the fields of a `LockFile` that they hold."""
_LISTS = ("roots", "recipients")
_ALWAYS = ("mesh", "controlPlane")


@lru_cache(maxsize=256)
def parse_lock(body: bytes | None) -> LockFile | None:
    """What the bytes of a lock say; None where there are none, or where they are no lock.

    Cached, because several stages ask the same lock.
    """
    try:
        value = json.loads(body or b"")
        made_from = value["madeFrom"]
        stated = {
            name: made_from[key] for key, name in _KEYS.items() if made_from.get(key) is not None
        }
        texts = {name: str(part) for name, part in stated.items() if name not in _LISTS}
        lists = {name: tuple(map(str, stated[name])) for name in _LISTS if name in stated}
        remote = {
            str(peer): _parse_source(source)
            for peer, source in made_from.get("remoteSecrets", {}).items()
        }
        sealed, files = _digests(value.get("sealed", {})), _digests(value["files"])
        if "mesh" not in texts:
            return None
        return LockFile(
            cluster=str(value["cluster"]),
            **texts,  # type: ignore[arg-type]
            **lists,  # type: ignore[arg-type]
            remote=remote,
            sealed=sealed,
            files=files,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _digests(value: Any) -> dict[str, str]:
    return {str(path): str(digest) for path, digest in value.items()}


def _parse_source(value: Any) -> Source:
    return _source(value.get("server"), value.get("ca"), value.get("tlsServerName"))


@lru_cache(maxsize=8192)
def _source(*parts: Any) -> Source:
    # Of a cluster there is one in the lock of every peer.
    return Source(*(None if part is None else str(part) for part in parts))


def dump_lock(lock: LockFile) -> bytes:
    """The bytes of a lock; the same lock gives the same bytes."""
    always = (*_ALWAYS, "roots") if lock.context else _ALWAYS
    stated = {key: getattr(lock, name) for key, name in _KEYS.items()}
    head = {key: part for key, part in stated.items() if part or key in always}
    peers = ",\n".join(
        f"      {json.dumps(peer)}: {_dump_source(source)}" for peer, source in lock.remote.items()
    )
    made_from = "".join(f"    {json.dumps(k)}: {json.dumps(v)},\n" for k, v in head.items())
    opening = (
        f'{{\n  "lock": {FORMAT},\n  "cluster": {json.dumps(lock.cluster)},\n  "madeFrom":'
        f" {{\n{made_from}"
    )
    remote = f'    "remoteSecrets": {{\n{peers}\n    }}\n' if peers else '    "remoteSecrets": {}\n'
    inputs = f'  "sealed": {_dump_digests(lock.sealed)},\n' if lock.sealed else ""
    files = _dump_digests(lock.files)
    return f'{opening}{remote}  }},\n{inputs}  "files": {files}\n}}\n'.encode()


def _dump_digests(digests: Mapping[str, str]) -> str:
    """The text of an object of paths and digests, an entry per line."""
    entries = json.dumps(dict(digests), separators=(",\n    ", ": "))[1:-1]
    return f"{{\n    {entries}\n  }}" if digests else "{\n\n  }"


@lru_cache(maxsize=8192)
def _dump_source(source: Source) -> str:
    value = {"ca": source.ca, "server": source.server, "tlsServerName": source.tls_name}
    return json.dumps(
        {key: part for key, part in value.items() if part is not None}, sort_keys=True
    )
