"""certs/: the files of roots and intermediates, read without following links."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kubectl_mesh.errors import MeshError, Place, Problem, refuse
from kubectl_mesh.fs.durable import STAGE_PREFIX
from kubectl_mesh.fs.folders import join_path, open_folder, prefix_places, read_regular_file
from kubectl_mesh.fs.read import not_readable_error, read_inside
from kubectl_mesh.model import PRIVATE_ENDINGS
from kubectl_mesh.workdir.files import mode_problems
from kubectl_mesh.x509.layout import (
    ARCHIVE_FOLDER,
    CRL_FILE,
    CSR_FILE,
    INTERMEDIATE_FILES,
    NEXT_ROOT_KEY,
    ROOT_CERT,
    ROOT_KEY,
    ROTATION_FILE,
    SEAL_KEY,
    intermediate_folder,
    next_intermediate_folder,
)

CERTS_FOLDER = "certs"
_TOP_FILES = (ROOT_CERT, ROOT_KEY, NEXT_ROOT_KEY, ROTATION_FILE, CRL_FILE, SEAL_KEY)


@dataclass(frozen=True, slots=True)
class CertsFolder:
    """What is in `certs/`."""

    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """The files that concern the mesh, by path below `certs/`."""
    intermediate_folders: tuple[str, ...] = ()
    """The folders of intermediates that are there, those of clusters outside the topology too."""
    was_interrupted: bool = False
    """A killed run left something unfinished."""
    archive_names: tuple[str, ...] = ()
    """The names in the archive."""
    warnings: tuple[Problem, ...] = ()
    """Private files that others may read."""
    archived_files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Those files of the archive that were asked for, by path below `certs/`."""


def read_certs(directory: str, clusters: Iterable[str] | None) -> CertsFolder:
    """Reads `certs/` of a working directory, with the intermediates of these clusters, or of all
    that are there.

    Raises a `MeshError` for what is no regular file, what may not be read, and what is too large
    for its kind.
    """
    path = join_path(directory, CERTS_FOLDER)
    top = open_folder(path)
    if top is None:
        return CertsFolder()
    reader = _CertsReader(path, top)
    try:
        with prefix_places(path):
            folders = tuple(_list_intermediates(top))
        names = os.listdir(top)
        reader.read_files(_TOP_FILES, top, "")
        for cluster in (
            clusters
            if clusters is not None
            else [name.removeprefix(intermediate_folder("")) for name in folders]
        ):
            names += reader.read_folder(intermediate_folder(cluster))
            if next_intermediate_folder(cluster) in names:
                names += reader.read_folder(next_intermediate_folder(cluster))
        archive = tuple(
            sorted(name for name in reader.read_folder(ARCHIVE_FOLDER) if not name.startswith("."))
        )
    finally:
        os.close(top)
    return CertsFolder(
        reader.files,
        folders,
        any(name.startswith(STAGE_PREFIX) for name in names),
        archive,
        tuple(reader.warnings),
    )


def read_root_certificates(directory: str) -> bytes | None:
    """The roots in `certs/` as PEM, or None; links are followed while they stay in the working
    directory.
    """
    return read_inside(directory, f"{CERTS_FOLDER}/{ROOT_CERT}", "certificates")


def read_archive(
    directory: str, names: Iterable[str], file_names: Sequence[str]
) -> dict[str, bytes]:
    """The files `parts` of these folders of the archive, by path below `certs/`, as far as they
    are there. Links are followed while they stay in the working directory.
    """
    found = {}
    for path in (f"{ARCHIVE_FOLDER}/{name}/{part}" for name in names for part in file_names):
        kind = "key" if path.endswith("key.pem") else "certificates"
        body = read_inside(directory, f"{CERTS_FOLDER}/{path}", kind)
        if body is not None:
            found[path] = body
    return found


class _CertsReader:
    """Reads files of `certs/` one by one."""

    def __init__(self, path: str, top: int) -> None:
        self._path, self._top = path, top
        self.files: dict[str, bytes] = {}
        self.warnings: list[Problem] = []

    def read_folder(self, name: str) -> list[str]:
        """Reads the files of a folder, and gives the names of all that it holds; none where there
        is no folder.
        """
        with prefix_places(self._path):
            inner = open_folder(name, self._top)
        if inner is None:
            return []
        try:
            self.read_files((*INTERMEDIATE_FILES, CSR_FILE), inner, f"{name}/")
            return os.listdir(inner)
        finally:
            os.close(inner)

    def read_files(self, names: Sequence[str], inner: int, prefix: str) -> None:
        """Reads those of the files that are there."""
        for name in names:
            path, is_private = f"{self._path}/{prefix}{name}", name.endswith(PRIVATE_ENDINGS)
            try:
                found = read_regular_file(name, inner, "key" if is_private else "state")
            except PermissionError:
                raise not_readable_error(path) from None
            except MeshError as error:
                raise MeshError(replace(p, where=Place(path)) for p in error.problems) from None
            if found is not None:
                self.files[prefix + name] = found[0]
                self.warnings += mode_problems(path, found[1]) if is_private else ()
            elif _exists(name, inner):
                raise refuse(
                    path,
                    "is no regular file (a link is not followed here)",
                    "put the file itself there",
                    code="not-a-regular-file",
                )


def _list_intermediates(certs: int) -> Iterator[str]:
    """The folders below `certs/` that hold an intermediate, whosever it is."""
    return (
        n
        for n in sorted(os.listdir(certs))
        if n.startswith(intermediate_folder("")) and _exists(f"{n}/ca-cert.pem", certs)
    )


def _exists(name: str, inner: int) -> bool:
    try:
        os.stat(name, dir_fd=inner, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
