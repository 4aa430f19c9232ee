"""What a command does with the files of the working directory."""

import os
from typing import NamedTuple

from kubectl_mesh.fs import owned_files


class FileAction(NamedTuple):
    """What was done with a file: `create`, `update` or `keep`, and its path in the working
    directory.
    """

    action: str
    path: str


def add_missing_file(
    directory: str, path: str, body: bytes, *, private: bool = False
) -> FileAction:
    """Writes a file of the working directory if there is none; an existing one is kept."""
    if os.path.lexists(os.path.join(directory, path)):
        return FileAction("keep", path)
    owned_files.add_files(directory, {path: body}, private=private)
    return FileAction("create", path)
