"""Where a command reads and writes."""

import os
from dataclasses import dataclass

from kubectl_mesh.fs.folders import join_path


@dataclass(frozen=True, slots=True)
class Paths:
    """The working directory, and the folder of the tree and the kubeconfig where these are
    stated.
    """

    directory: str
    out: str | None = None
    kubeconfig: str | None = None

    @property
    def tree(self) -> str:
        """The folder of the tree: `out` in the working directory, if no other is stated."""
        return self.out if self.out is not None else join_path(self.directory, "out")

    def locate(self, path: str) -> str:
        """A path of the working directory as seen from where the command runs; below `out/` it is
        a path of the tree.
        """
        folder, slash, rest = path.partition("/")
        if folder == "out" and slash:
            return os.path.join(self.tree, rest)
        return join_path(self.directory, path)
