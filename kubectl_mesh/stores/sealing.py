"""What the stores that encrypt share: what is kept, what is sealed, what cannot be for want of a
key.
"""

import hashlib
import os
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model import FolderOnDisk, SecretManifest
from kubectl_mesh.stores.store import Certificates, Store
from kubectl_mesh.text import mesh_command, work_path
from kubectl_mesh.x509.layout import SEAL_KEY

LENGTH = 32


def new_key() -> bytes:
    """A new seal key, as its file holds it: 32 random bytes in hex, and a newline."""
    return os.urandom(LENGTH).hex().encode() + b"\n"


def read_key(body: bytes) -> bytes | None:
    """The key in a file, None where it is none."""
    try:
        key = bytes.fromhex(body.decode("ascii").strip())
    except ValueError:
        return None
    return key if len(key) == LENGTH else None


def digest_parts(*parts: bytes) -> bytes:
    """SHA-256 over parts, each with its length before it, so that no two lists of parts are the
    same.
    """
    made = hashlib.sha256()
    for part in parts:
        made.update(len(part).to_bytes(8, "big") + part)
    return made.digest()


@dataclass(frozen=True, slots=True)
class Opener:
    """What an identity opens."""

    is_for: Callable[[str, FolderOnDisk], bool]
    """Whether a directory is sealed for it."""
    open_file: Callable[[str, bytes], Any]
    """Opens a file of a directory; raises a ValueError that says why it cannot."""


class Sealing(Store):
    """A store that encrypts. `before` gives a directory of `out` as it is on disk, `key` is the
    seal key (None: it is not here).
    """

    ENCRYPTS = True

    def __init__(
        self, out: str, key: bytes | None, before: Callable[[str], FolderOnDisk | None]
    ) -> None:
        self.out, self.key, self._before = out, key, before
        self.lacking: list[Problem] = []
        """What has to be sealed and cannot be."""
        self.touched: dict[str, str] = {}
        """Of that what was only edited or deleted: its path below `out`, and the SHA-256 that it
        had.
        """
        self.unproven = False
        """Something was kept though its secret is here, because without the seal key nobody can
        tell whether it is still the same.
        """
        self.used = False
        """Something was sealed with the seal key."""
        self._at: tuple[str, FolderOnDisk | None] = ("", None)

    def before(self, directory: str) -> FolderOnDisk | None:
        """A directory as it was; only the last one is held, for they come one after the other."""
        if self._at[0] != directory:
            self._at = (directory, self._before(directory))
        return self._at[1]

    @classmethod
    @abstractmethod
    def read_identity(cls, name: str, body: bytes, certificates: Certificates) -> Opener:
        """What the identity in a file opens; `certificates` are those of the controllers. Raises a
        `MeshError` if it is none.
        """

    @abstractmethod
    def recipients_id(self, directory: str) -> bytes:
        """For whom a directory is sealed, so that a change of it is seen."""

    @abstractmethod
    def seal_file(
        self, directory: str, path: str, secret: SecretManifest, old: bytes | None
    ) -> bytes:
        """Seals, with all of `old` that is still right."""

    @abstractmethod
    def is_current(self, directory: str, public: str, old: bytes) -> bool:
        """Whether everything in a sealed file that can be read without a key is as it would be
        sealed today.
        """

    def render_file(
        self, directory: str, path: str, secret: SecretManifest
    ) -> tuple[bytes, str | None]:
        """The bytes of a file, and what they were made from as far as that is public."""
        made_from = digest_parts(secret.public_text.encode(), self.recipients_id(directory)).hex()
        disk = self.before(directory)
        found = disk.files.get(path) if disk is not None else None
        old = found[0] if found is not None else None
        if self.key is not None and secret.text is not None:
            self.used = True
            return self.seal_file(directory, path, secret, old), made_from
        listed = (
            disk is not None
            and old is not None
            and disk.sealed_digests.get(path) == made_from
            and disk.locked_digests.get(path) == hashlib.sha256(old).hexdigest()
        )
        # A lock is a file like any other: who edits a sealed file may edit that too.
        if listed and old is not None and self.is_current(directory, secret.public_text, old):
            self.unproven = self.unproven or secret.text is not None
            return old, made_from
        was = None if disk is None else disk.sealed_digests.get(path)
        if disk is not None and was == made_from:
            self.touched[f"{directory}/{path}"] = disk.locked_digests.get(path, "")
        self._lacks(f"{self.out}/{directory}/{path}", secret, was, made_from, old is not None)
        return b"", made_from

    def _lacks(
        self, where: str, secret: SecretManifest, was: str | None, now: str, there: bool
    ) -> None:
        needs = [
            *((work_path(secret.source_file),) if secret.text is None else ()),
            *((work_path(f"certs/{SEAL_KEY}"),) if self.key is None else ()),
        ]
        if was is None:
            why = "has to be sealed"
        elif was != now:
            why = "has to be sealed anew, for what it is made from changed"
        else:
            why = "has to be sealed anew, for it was " + ("edited" if there else "deleted")
        what = f"{why}, and {' and '.join(needs)} {'are' if len(needs) > 1 else 'is'} not here"
        lost = (
            f"; where {SEAL_KEY} is lost, `{mesh_command('render --reseal')}` makes a new one,"
            " with all keys and credentials here"
        )
        fix = "put back what is not here" + (lost if self.key is None else "")
        self.lacking.append(
            Problem(Place(where), what, fix, "sealed-current", code="secret-cannot-be-sealed")
        )
