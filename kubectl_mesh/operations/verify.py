"""Opens what is sealed in a tree with the identity of a cluster, and compares it with a render."""

from collections.abc import Iterator
from dataclasses import dataclass

from kubectl_mesh.errors import MeshError, Place, Problem, refuse
from kubectl_mesh.fs.read import read_file
from kubectl_mesh.model import FolderOnDisk
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations import build, private_files
from kubectl_mesh.operations.checked_inputs import CheckedInputs, load_inputs
from kubectl_mesh.operations.paths import Paths
from kubectl_mesh.operations.sealed_tree import SealedTree
from kubectl_mesh.stores import store_of, verify
from kubectl_mesh.stores.sealing import Opener, Sealing
from kubectl_mesh.text import mesh_command
from kubectl_mesh.topology.selection import select_clusters
from kubectl_mesh.yaml_io.manifest import parse_yaml, read_manifest


@dataclass(frozen=True, slots=True)
class VerifiedFolder:
    """A directory of the tree that holds sealed files."""

    path: str
    files: int
    is_for_others: bool = False
    """It is sealed for other identities, so that nothing of it was opened."""


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """The directories that are as they should be or for others, and what is wrong with the rest."""

    folders: tuple[VerifiedFolder, ...]
    problems: tuple[Problem, ...]
    identity: str
    tree: str

    def check_opened(self) -> None:
        """Raises a `MeshError` if the identity opens nothing of the tree."""
        if not self.problems and all(folder.is_for_others for folder in self.folders):
            raise refuse(
                self.identity,
                f"opens nothing in {self.tree}",
                "name the identity of one of its clusters",
                code="identity-opens-nothing",
            )


def verify_mesh(
    paths: Paths, identity: str, clusters: tuple[str, ...], machine: Machine
) -> VerifyResult:
    """Opens the sealed files of `clusters`, or of all that `identity` opens, and compares them.

    `identity` is the path of an age identity or of a key of Sealed Secrets.
    """
    private_files.check_folders(paths.directory, paths.out)
    inputs = load_inputs(paths.directory, paths.kubeconfig, machine)
    opener = _read_identity(inputs, identity)
    meant, folder = verify.ExpectedFiles(), paths.tree
    tree = SealedTree(inputs, folder, store=meant)
    build.build_mesh(inputs, machine.now, folder, sealed=tree, throwaway=True)
    only = select_clusters(inputs.topology, clusters) if clusters else None
    folders: list[VerifiedFolder] = []
    problems: list[Problem] = []
    for name in dict.fromkeys(directory for directory, _ in meant.public):
        disk, where = tree.read_folder(name), f"{folder}/{name}"
        if only is not None and name not in only:
            continue
        if disk is None or not disk.sealed_digests:
            problems.append(
                Problem(
                    Place(where),
                    "is not sealed yet",
                    f"run `{mesh_command('render')}`",
                    "tree-current",
                    code="not-sealed",
                )
            )
        elif only is None and not opener.is_for(name, disk):
            folders.append(VerifiedFolder(where, 0, is_for_others=True))
        elif found := list(_folder_problems(where, name, disk, meant, opener)):
            problems += found
        else:
            files = sum(directory == name for directory, _ in meant.public)
            folders.append(VerifiedFolder(where, files))
    return VerifyResult(tuple(folders), MeshError(problems).problems, identity, folder)


def _read_identity(inputs: CheckedInputs, identity: str) -> Opener:
    """Reads an identity for the store of the topology; refuses a store that does not encrypt."""
    store = store_of(inputs.topology)
    if not issubclass(store, Sealing):
        raise refuse(
            "verify",
            "opens what is sealed by the stores sops and sealed; the topology says store:"
            f" {store.NAME}",
            "look at the tree itself",
            code="store-does-not-encrypt",
        )
    body = read_file(identity, "key", pipe=True)
    if body is None:
        raise refuse(
            identity,
            "is not there",
            "name the file with the identity of a cluster",
            code="identity-missing",
        )
    return store.read_identity(identity, body, inputs.sealing)


def _folder_problems(
    where: str, name: str, disk: FolderOnDisk, meant: verify.ExpectedFiles, opener: Opener
) -> Iterator[Problem]:
    """What is wrong with the sealed files of a directory."""
    for path in sorted(path for directory, path in meant.public if directory == name):
        yield from verify.lock_problems(where, path, disk)
        if path not in disk.files:
            continue
        try:
            document = opener.open_file(name, disk.files[path][0])
        except ValueError as error:
            yield Problem(
                Place(f"{where}/{path}"),
                str(error),
                verify.REPAIR,
                "sealed-current",
                code="sealed-file-not-opened",
            )
            continue
        text = meant.text[name, path]
        yield from verify.compare_manifests(
            f"{where}/{path}",
            document,
            parse_yaml(meant.public[name, path]),
            None if text is None else parse_yaml(text),
            read_manifest,
        )
