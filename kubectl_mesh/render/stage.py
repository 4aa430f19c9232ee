"""A stage of a cluster's directory while it is put together."""


class Stage:
    """Files by their path in the stage (text, and whether it is secret), and what its kustomization lists, in order."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[str, bool]] = {}
        self.resources: list[str] = []

    def add(self, path: str, text: str, *, private: bool = False) -> None:
        """Adds a file, which the kustomization lists."""
        self.files[path] = (text, private)
        self.resources.append(path)
