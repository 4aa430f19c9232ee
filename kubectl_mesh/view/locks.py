"""The lock of a directory, and how the directory differs from it."""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from kubectl_mesh.model import LOCK
from kubectl_mesh.view.parse import Parser
from kubectl_mesh.view.values import Lock, Source

UNASKED = ""


def digests(files: Mapping[str, bytes | None], wanted: Collection[str] | None = None) -> dict[str, str]:
    """The SHA-256 of every file in hex, `UNASKED` where only others are wanted; of what is no regular file a word that is none."""
    return {
        path: UNASKED if wanted is not None and path not in wanted else "no file" if body is None else hashlib.sha256(body).hexdigest()
        for path, body in files.items()
    }


def lock(name: str, files: Mapping[str, bytes | None], found: Mapping[str, str], parser: Parser) -> Lock | None:
    """The lock of a directory; None where there is none."""
    if LOCK not in files:
        return None
    file = f"{name}/{LOCK}"
    try:
        value = json.loads(files[LOCK] or b"")
        made = _lock(file, value, found)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        parser.problem(file, "is damaged", "render again, and look at the difference")
        return Lock(file, damaged=True)
    return made


def _lock(file: str, value: Any, found: Mapping[str, str]) -> Lock:
    head = value["madeFrom"]
    listed = {str(path): str(digest) for path, digest in value["files"].items()}
    return Lock(
        file,
        cluster=str(value["cluster"]),
        mesh=str(head["mesh"]),
        context=str(head.get("context", "")),
        network=str(head.get("network", "")),
        namespace=str(head.get("namespace", "")),
        control_plane=str(head.get("controlPlane", "")),
        intermediate=_text(head.get("intermediate")),
        roots=tuple(map(str, head.get("roots", ()))),
        signer=_text(head.get("signer")),
        crl=_text(head.get("crl")),
        issuer=_text(head.get("issuer")),
        served_by=_text(head.get("servedBy")),
        waits=_text(head.get("waits")),
        store=_text(head.get("store")),
        recipients=tuple(map(str, head.get("recipients", ()))),
        sealed_for=_text(head.get("sealedFor")),
        remote={
            str(peer): Source(_text(source.get("server")), _text(source.get("ca")), _text(source.get("tlsServerName")))
            for peer, source in head.get("remoteSecrets", {}).items()
        },
        files=listed,
        sealed={str(path): str(digest) for path, digest in value.get("sealed", {}).items()},
        edited=tuple(sorted(path for path, digest in listed.items() if path in found and found[path] not in (digest, UNASKED))),
        missing=tuple(sorted(path for path in listed if path not in found)),
        foreign=tuple(sorted(path for path in found if path not in listed and path != LOCK)),
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
