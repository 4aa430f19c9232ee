"""A stage of a cluster's directory while it is put together."""

from kubectl_mesh.model import SecretManifest


class Stage:
    """Files by their path in the stage, and what its kustomization lists, in order."""

    def __init__(self) -> None:
        self.files: dict[str, str | SecretManifest] = {}
        self.resources: list[str] = []

    def add_file(self, path: str, text: str | SecretManifest) -> None:
        """Adds a file, which the kustomization lists."""
        self.files[path] = text
        self.resources.append(path)
