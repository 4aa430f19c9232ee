"""compare: the tree on disk and a rendered `Tree` become the changes between them, without
following a symbolic link.

A file is ours when the lock beside it lists it. Ours that differ from the lock were edited by a
person; what no lock lists is foreign and stays.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.fs.folders import open_folder, prefix_places, read_regular_file
from kubectl_mesh.fs.read import not_readable_error
from kubectl_mesh.model import MESH_LOCK, Change, File, Folder, FolderChange, FolderOnDisk, Tree
from kubectl_mesh.text import value_text
from kubectl_mesh.tree.lock_file import LockFile, parse_lock

_NOTHING: Mapping[str, FolderOnDisk] = MappingProxyType({})


def scan_folder(folder: int) -> FolderOnDisk:
    """Reads one directory by its descriptor."""
    files: dict[str, tuple[bytes, int]] = {}
    folders: dict[str, int] = {}
    others: set[str] = set()
    damaged = False
    try:
        lock = read_regular_file(MESH_LOCK, folder, "lock")
    except PermissionError:
        raise not_readable_error(MESH_LOCK) from None
    except MeshError:
        lock, damaged = None, True
    lock_file = LockFile()
    if lock is not None:
        files[MESH_LOCK] = lock
        parsed = parse_lock(lock[0])
        lock_file, damaged = parsed or lock_file, parsed is None
    _scan_entries(folder, "", files, folders, others, lock_file.files)
    has_lock = MESH_LOCK in files or MESH_LOCK in others
    return FolderOnDisk(
        files,
        folders,
        frozenset(others),
        lock_file.files,
        has_lock,
        damaged,
        lock_file.cluster,
        lock_file.mesh,
        lock_file.sealed,
    )


def _scan_entries(
    folder: int,
    prefix: str,
    files: dict[str, tuple[bytes, int]],
    folders: dict[str, int],
    others: set[str],
    locked: Mapping[str, str],
) -> None:
    with os.scandir(folder) as entries:
        entries_by_name = sorted(entries, key=lambda e: e.name)
    for entry in entries_by_name:
        path = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            with prefix_places(prefix):
                inner = open_folder(entry.name, folder)
            if inner is None:
                continue
            try:
                folders[path] = stat.S_IMODE(os.fstat(inner).st_mode)
                _scan_entries(inner, path + "/", files, folders, others, locked)
            finally:
                os.close(inner)
        elif path == MESH_LOCK and MESH_LOCK in files:
            files[MESH_LOCK] = files.pop(MESH_LOCK)  # in its place, which is that of its name
        elif entry.is_file(follow_symlinks=False):
            try:
                body = read_regular_file(
                    entry.name, folder, "manifest" if path in locked else "foreign"
                )
            except PermissionError:
                raise not_readable_error(path) from None
            except (
                MeshError
            ):  # Nothing that is so large is rendered: that it is there is all that counts.
                body = None
            if body is None:
                others.add(path)
            else:
                files[path] = body
        else:
            others.add(path)


def list_owned_paths(disk: FolderOnDisk) -> list[str]:
    """The paths of a directory that its lock lists and that are there, the lock itself among
    them.
    """
    present = [
        path for path in disk.locked_digests if path in disk.files or path in disk.other_entries
    ]
    return [*present, MESH_LOCK] if disk.has_lock else present


def compare_folder(where: str, disk: FolderOnDisk | None, new: Folder) -> FolderChange:
    """The changes that make one directory what was rendered; `where` names it in a refusal."""
    name = where.rsplit("/", 1)[-1]
    if disk is None:
        return FolderChange(name, "create", tuple(Change(path, "create") for path in new), ())
    _refuse_other_lock(where, name, disk)
    changes: list[Change] = []
    unlisted: list[str] = []
    for path, file in new.items():
        change = _compare_file(path, file, disk)
        if change is None:
            unlisted.append(path)
        else:
            changes.append(change)
    blocked = [
        Problem(Place(f"{where}/{path}"), what, "move it away, and render again", code=code)
        for code, path, what in _obstacles(disk, new, unlisted)
    ]
    if blocked:
        raise MeshError(blocked)
    changes += _removals(disk, new)
    owned = {*new, *disk.locked_digests, MESH_LOCK}
    foreign = tuple(
        sorted(path for path in (*disk.files, *disk.other_entries) if path not in owned)
    )
    # A folder that gets its first secret shows nobody any.
    secret = {
        path: file
        for path, file in new.items()
        if path in disk.files and path not in disk.sealed_digests
    }
    loose_folders = [p for p in list_private_folders(secret) if disk.folders.get(p, 0o700) & 0o077]
    changes += [Change(path + "/", "tighten") for path in loose_folders]
    actions = {c.action for c in changes} - {"identical"}
    action = "identical" if not actions else "tighten" if actions == {"tighten"} else "update"
    return FolderChange(
        name,
        action,
        tuple(changes),
        foreign,
        _foreign_folders(disk, foreign, owned),
        disk.has_damaged_lock,
    )


def _refuse_other_lock(where: str, name: str, disk: FolderOnDisk) -> None:
    """Raises a `MeshError` where the lock of a directory names another cluster."""
    if disk.has_lock and not disk.has_damaged_lock and disk.cluster != name:
        what = f"is the lock of {value_text(disk.cluster)}: the directory was copied or renamed"
        raise MeshError(
            [
                Problem(
                    Place(f"{where}/{MESH_LOCK}"),
                    what,
                    f"move {where} away, and render again",
                    code="lock-of-other-directory",
                )
            ]
        )


def _compare_file(path: str, file: File, disk: FolderOnDisk) -> Change | None:
    """What a render does to one file; None where something that is not ours is in its place."""
    on_disk = disk.files.get(path)
    if on_disk is not None and on_disk[0] == file.body:
        loose = file.is_private and on_disk[1] & 0o077
        return Change(path, "tighten" if loose else "identical")
    if on_disk is None and path not in disk.other_entries and path not in disk.folders:
        return Change(path, "create", was_edited=path in disk.locked_digests)
    if path not in disk.locked_digests and path != MESH_LOCK and not disk.has_damaged_lock:
        return None
    edited = path != MESH_LOCK and (
        on_disk is None or hashlib.sha256(on_disk[0]).hexdigest() != disk.locked_digests.get(path)
    )
    return Change(path, "update", was_edited=edited and not disk.has_damaged_lock)


def _obstacles(
    disk: FolderOnDisk, new: Folder, unlisted: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    """What is in the way of a render: code, path and fact; `unlisted` are the paths at which a file
    is that the lock does not list.
    """
    for path in unlisted:
        what = "is in the way: the lock does not list it, so it is not of kubectl mesh's making"
        yield "file-not-in-lock", path, what
    for path in new:
        if path in disk.folders:
            yield "folder-in-place-of-file", path, "is a folder, where a file is to be written"
    for path in sorted(_parent_folders(new)):
        if path in disk.files or path in disk.other_entries:
            yield "file-in-place-of-folder", path, "is in the way: a folder belongs there"


def _removals(disk: FolderOnDisk, new: Folder) -> Iterator[Change]:
    """The files of ours that are not rendered any more."""
    for path, digest in disk.locked_digests.items():
        if path not in new and (path in disk.files or path in disk.other_entries):
            on_disk = disk.files.get(path)
            edited = on_disk is None or hashlib.sha256(on_disk[0]).hexdigest() != digest
            yield Change(path, "remove", was_edited=edited)


def _foreign_folders(
    disk: FolderOnDisk, foreign: tuple[str, ...], owned: set[str]
) -> tuple[str, ...]:
    """The folders that hold a foreign file, or none of ours; a person may want an empty one, as git
    does.
    """
    ours_in, theirs_in = _parent_folders(owned), _parent_folders(foreign)
    return tuple(sorted(path for path in disk.folders if path in theirs_in or path not in ours_in))


def _parent_folders(paths: Iterable[str]) -> set[str]:
    """All folders above some paths."""
    folders: set[str] = set()
    parents = {path.rpartition("/")[0] for path in paths} - {""}
    while parents:
        folders |= parents
        parents = {path.rpartition("/")[0] for path in parents} - {""}
    return folders


def list_private_folders(new: Folder) -> list[str]:
    """The folders that hold a secret, which nobody else may enter; not the cluster's own, since its
    public files may be read.
    """
    folders: dict[str, None] = {}
    for path, file in new.items():
        parent = path.rpartition("/")[0]
        if file.is_private and parent:
            folders[parent] = None
    return list(folders)


def compare_tree(
    out: str,
    tree: Tree,
    mesh: str,
    only: frozenset[str] | None = None,
    faults: list[Problem] | None = None,
    scanned: Mapping[str, FolderOnDisk] = _NOTHING,
) -> tuple[FolderChange, ...]:
    """The changes of every directory; `only` leaves the directories of other clusters as they are.

    A directory of no cluster is removed only if its lock says that it is one of this mesh under its
    own name. With a list in `faults` the problems of directories that cannot be compared go there,
    and the changes of the others are returned. The directories in `scanned` are not read again.
    """
    changes: list[FolderChange] = []
    problems: list[Problem] = []
    top = open_folder(out)
    try:
        for name, disk in _list_directories(top, out, tree, scanned):
            if only is not None and name not in only:
                continue
            if isinstance(disk, MeshError):
                problems += disk.problems
            elif name in tree:
                try:
                    changes.append(compare_folder(f"{out}/{name}", disk, tree[name]))
                except MeshError as error:
                    problems += error.problems
            elif (
                disk is not None
                and not disk.has_damaged_lock
                and (disk.cluster, disk.mesh) == (name, mesh)
            ):
                changes.append(_remove_directory(name, disk))
    finally:
        if top is not None:
            os.close(top)
    if faults is not None:
        faults += problems
    elif problems:
        raise MeshError(problems)
    return tuple(changes)


def _remove_directory(name: str, disk: FolderOnDisk) -> FolderChange:
    """A directory of a cluster that left the topology: what its lock lists goes."""
    changes = [
        Change(
            path,
            "remove",
            was_edited=path in disk.other_entries
            or hashlib.sha256(disk.files[path][0]).hexdigest() != disk.locked_digests.get(path),
        )
        for path in list_owned_paths(disk)
        if path != MESH_LOCK
    ]
    owned = {*list_owned_paths(disk), MESH_LOCK}
    foreign = tuple(
        sorted(path for path in (*disk.files, *disk.other_entries) if path not in owned)
    )
    return FolderChange(
        name,
        "remove",
        (*changes, Change(MESH_LOCK, "remove")),
        foreign,
        _foreign_folders(disk, foreign, owned),
    )


def _list_directories(
    top: int | None, out: str, tree: Tree, scanned: Mapping[str, FolderOnDisk]
) -> Iterator[tuple[str, FolderOnDisk | MeshError | None]]:
    """Every directory that is rendered or has a lock, in order; an error in the place of one that
    cannot be read.
    """
    names = set() if top is None else {name for name in os.listdir(top) if not name.startswith(".")}
    for name in sorted({*tree, *names}):
        if top is None or name not in names:
            yield name, None
            continue
        if name in scanned:
            yield name, scanned[name]
            continue
        if name not in tree and not stat.S_ISDIR(os.lstat(name, dir_fd=top).st_mode):
            continue
        try:
            with prefix_places(out):
                folder = open_folder(name, top)
            if folder is None:
                yield name, None
                continue
            try:
                with prefix_places(f"{out}/{name}"):
                    disk = scan_folder(folder) if name in tree or _has_lock(folder) else None
            finally:
                os.close(folder)
        except MeshError as error:
            yield name, error
            continue
        if disk is not None:
            yield name, disk


def _has_lock(folder: int) -> bool:
    try:
        return stat.S_ISREG(os.stat(MESH_LOCK, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def find_foreign_entries(
    out: str, tree: Tree, changes: tuple[FolderChange, ...]
) -> tuple[str, ...]:
    """What lies beside the directories of the clusters and is not ours; hidden files do not
    count.
    """
    known = {*tree, *(c.name for c in changes)}
    try:
        return tuple(
            sorted(
                name for name in os.listdir(out) if name not in known and not name.startswith(".")
            )
        )
    except FileNotFoundError:
        return ()
