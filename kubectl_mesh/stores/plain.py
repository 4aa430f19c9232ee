"""Secrets in clear."""

from typing import Self

from kubectl_mesh.model import SecretManifest
from kubectl_mesh.stores.store import Store, StoreInputs


class Plain(Store):
    """The tree holds each Secret as it is."""

    NAME = "plain"
    private = True
    CLEAR = True
    SHOWS_KUBECONFIGS = True

    def __init__(self) -> None:
        self._bytes: dict[str, bytes] = {}

    @classmethod
    def open_store(cls, inputs: StoreInputs) -> Self:
        """The store of a run."""
        return cls()

    def render_file(
        self, directory: str, path: str, secret: SecretManifest
    ) -> tuple[bytes, str | None]:
        """The bytes of a file; the lock says nothing of it."""
        assert secret.text is not None
        if secret.text not in self._bytes:
            # The same secret stands in many directories.
            self._bytes[secret.text] = secret.text.encode()
        return self._bytes[secret.text], None
