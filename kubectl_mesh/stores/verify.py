"""verify: what a cluster would really get, compared with what a render means to give it. No value
of either is ever told.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Self

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model import CACERTS_PATH, SEALED_PLACEHOLDER, FolderOnDisk, SecretManifest
from kubectl_mesh.pki.issue import key_pair_problems
from kubectl_mesh.stores.store import Store, StoreInputs

REPAIR = "render it again where the keys and credentials are, and look at how it came to be so"


class ExpectedFiles(Store):
    """A store that writes nothing: it keeps what a render means to seal, by directory and path."""

    def __init__(self) -> None:
        self.public: dict[tuple[str, str], str] = {}
        self.text: dict[tuple[str, str], str | None] = {}

    @classmethod
    def open_store(cls, inputs: StoreInputs) -> Self:
        """The store of a run."""
        return cls()

    def render_file(
        self, directory: str, path: str, secret: SecretManifest
    ) -> tuple[bytes, str | None]:
        """Keeps a file."""
        self.public[directory, path], self.text[directory, path] = secret.public_text, secret.text
        return b"", None


def lock_problems(where: str, path: str, disk: FolderOnDisk) -> Iterator[Problem]:
    """A sealed file that the lock does not list, or lists otherwise."""
    found = disk.files.get(path)
    if found is None:
        yield Problem(
            Place(f"{where}/{path}"), "is missing", REPAIR, "tree-edited", code="file-missing"
        )
    elif disk.locked_digests.get(path) != hashlib.sha256(found[0]).hexdigest():
        yield Problem(
            Place(f"{where}/{path}"),
            "is not what the lock beside it lists",
            REPAIR,
            "tree-edited",
            code="file-edited",
        )


def compare_manifests(
    place: str, opened: Any, public: Any, text: Any, read: Any
) -> Iterator[Problem]:
    """What differs between an opened manifest and what a render would seal: `public` with
    `SEALED_PLACEHOLDER` for what is secret, `text` all of it, or None.

    `read` reads YAML.
    """
    paths = sorted(set(_differences(_clear(opened, read), _clear(public, read), ())))
    for path in paths:
        yield Problem(
            Place(place, path=".".join(path)),
            "is not what the topology, the certificates and the lock say",
            REPAIR,
            "sealed-current",
            code="sealed-content-differs",
        )
    if not paths and text is not None and _clear(opened, read) != _clear(text, read):
        yield Problem(
            Place(place),
            "holds another key or token than the one that is here",
            REPAIR,
            "sealed-current",
            code="sealed-content-differs",
        )
    if not paths and place.endswith(CACERTS_PATH):
        data = {name: base64.b64decode(value) for name, value in opened["data"].items()}
        yield from key_pair_problems(place, data["ca-cert.pem"], data["ca-key.pem"])


def _clear(manifest: Any, read: Any) -> Any:
    """A Secret with its data decoded, and the kubeconfig in it read, so that a difference can be
    told by its path.
    """
    if not isinstance(manifest, Mapping) or not isinstance(manifest.get("data"), Mapping):
        return manifest
    data = {}
    for name, value in manifest["data"].items():
        try:
            body = base64.b64decode(str(value), validate=True).decode()
            data[name] = (
                read(body) if manifest.get("metadata", {}).get("name") != "cacerts" else body
            )
        except (ValueError, binascii.Error):
            data[name] = ""
    return {**manifest, "data": data}


def _differences(found: Any, meant: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if meant == SEALED_PLACEHOLDER:
        if not isinstance(found, str) or not found or found == SEALED_PLACEHOLDER:
            yield path
    elif isinstance(meant, Mapping) and isinstance(found, Mapping):
        for key in {*meant, *found}:
            if key in meant and key in found:
                yield from _differences(found[key], meant[key], (*path, str(key)))
            else:
                yield (*path, str(key))
    elif isinstance(meant, list) and isinstance(found, list) and len(meant) == len(found):
        for index, (one, other) in enumerate(zip(found, meant, strict=True)):
            yield from _differences(one, other, (*path, str(index)))
    elif found != meant:
        yield path
