"""write: changes become files, so that a reader finds each directory old or new, whatever kills the run.

A directory of `out/` is built beside the old one and exchanged with it in one system call (renameat2, RENAME_EXCHANGE); it can
be rendered again, so nothing waits for the disk. What cannot be made again (`certs/`, the topology) is synced before it gets
its name. Private files are born 0600 in folders born 0700. No symbolic link is followed: every step goes by descriptor.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence

from kubectl_mesh.compare import FOLDER, open_folder, private_folders, read
from kubectl_mesh.errors import MeshError, Place, Problem, refuse
from kubectl_mesh.model import LOCK, PRIVATE_FOLDER, PRIVATE_MODE, Folder, FolderChange, Tree

STAGE = ".kubectl-mesh-stage"
LOCK_FILE = ".kubectl-mesh-lock"
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_EXCHANGE, _NO_REPLACE = 2, 1


@contextlib.contextmanager
def locked(directory: str) -> Iterator[None]:
    """Holds the directory against other runs; the kernel lets go of it when the process ends, however it ends."""
    path = os.path.join(directory, LOCK_FILE)
    descriptor = _lock(directory, path)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        for folder in (directory, os.path.join(directory, "clusters")):
            _clear_files(folder)
        yield
    finally:
        # The file goes while it is still held: whoever opened it meanwhile sees that it is not the one at the path.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        os.close(descriptor)


def _clear_files(folder: str) -> None:
    """Removes files that a killed run began and that never had their name."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for name in os.listdir(folder):
            if name.startswith(f"{STAGE}-"):
                os.unlink(os.path.join(folder, name))


def _lock(directory: str, path: str) -> int:
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, PRIVATE_MODE)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise refuse(path, "is a symbolic link, and kubectl mesh writes through none", "move it away") from None
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise refuse(directory, "cannot be written to", "ask its owner for the right to write; --check and --dry-run need none") from None
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise refuse(directory, "is no folder", "name the working directory with -C") from None
            raise
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            who = f"process {holder}" if holder.isdigit() else "another process"
            raise refuse(directory, f"is being written to by another run ({who}, which holds {LOCK_FILE})", "wait until it is done") from None
        with contextlib.suppress(FileNotFoundError):
            there = os.stat(path, follow_symlinks=False)
            own = os.fstat(descriptor)
            body = os.pread(descriptor, 32, 0) if stat.S_ISREG(own.st_mode) else b"?"
            if own.st_nlink > 1 or body.strip(b"0123456789\n"):
                os.close(descriptor)
                raise refuse(path, "is not what a run of kubectl mesh leaves there", "move it away")
            if (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino):
                return descriptor
        os.close(descriptor)


def make_folder(path: str, mode: int = 0o777) -> None:
    """Makes a folder and those above it; private ones are private from the start."""
    if path and not os.path.isdir(path):
        make_folder(os.path.dirname(path))
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, mode)
        above = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(above)  # a folder whose name is lost takes everything in it along
        finally:
            os.close(above)


def _write_file(name: str, body: bytes, mode: int, folder: int, *, sync: bool = False) -> None:
    descriptor = os.open(name, _CREATE, mode, dir_fd=folder)
    try:
        view = memoryview(body)
        while view:
            view = view[os.write(descriptor, view) :]
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _libc_rename(source_folder: int, source: str, target_folder: int, target: str, flags: int) -> bool:
    """renameat2(2) (renameatx_np on macOS); False where the system or the file system does not have it."""
    libc = ctypes.CDLL(None, use_errno=True)
    linux = getattr(libc, "renameat2", None)
    call = linux or getattr(libc, "renameatx_np", None)
    if call is None:
        return False
    value = flags if linux else {_EXCHANGE: 2, _NO_REPLACE: 4}[flags]
    if call(source_folder, os.fsencode(source), target_folder, os.fsencode(target), ctypes.c_uint(value)) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), target)


def clear(out: str) -> None:
    """Puts right what a killed run left in `out`, before anything is compared with it."""
    top = open_folder(out)
    if top is None:
        return
    try:
        _clear_stage(top)
    except MeshError as error:
        raise MeshError(Problem(Place(os.path.join(out, STAGE)), p.what, p.fix) for p in error.problems) from None
    finally:
        os.close(top)


def write_tree(out: str, tree: Tree, changes: Sequence[FolderChange]) -> None:
    """Makes the directories of `out` what was rendered, one exchange each; `clear` went before."""
    make_folder(out)
    top = _must(open_folder(out), out)
    try:
        if all(change.action == "identical" for change in changes):
            return
        os.mkdir(STAGE, PRIVATE_FOLDER, dir_fd=top)
        stage = os.open(STAGE, FOLDER, dir_fd=top)
        try:
            for change in changes:
                if change.action != "identical":
                    _replace(top, stage, change, tree.get(change.name, {}))
        finally:
            os.close(stage)
        os.rmdir(STAGE, dir_fd=top)
    finally:
        os.close(top)


def _must(folder: int | None, name: str) -> int:
    if folder is None:
        raise refuse(name, "vanished while it was written")
    return folder


def _replace(top: int, stage: int, change: FolderChange, new: Folder) -> None:
    """Builds one directory in the stage and exchanges it with the one in place."""
    name = change.name
    old = open_folder(name, top)
    try:
        dissolve: set[str] = {c.path for c in change.changes} if old is not None else set()
        if not new and not change.foreign and not change.folders:
            if old is not None:
                os.rename(name, name, src_dir_fd=top, dst_dir_fd=stage)
        else:
            _build(stage, name, old, change, new)
            if old is None:
                _take_name(stage, name, top)
            elif not _libc_rename(stage, name, top, name, _EXCHANGE):
                # Without an exchange the name is free for a moment; should the run end there, the next one puts it right.
                os.rename(name, f"{name}.old", src_dir_fd=top, dst_dir_fd=stage)
                os.rename(name, name, src_dir_fd=stage, dst_dir_fd=top)
                os.rename(f"{name}.old", name, src_dir_fd=stage, dst_dir_fd=stage)
        if old is not None:
            _dissolve(stage, name, top, dissolve)
    finally:
        if old is not None:
            os.close(old)


def _take_name(stage: int, name: str, top: int) -> None:
    if not _libc_rename(stage, name, top, name, _NO_REPLACE):
        os.rename(name, name, src_dir_fd=stage, dst_dir_fd=top)


class _Folders:
    """The folders of one directory by their paths, each opened once; made where `made` is given, which is told path and descriptor."""

    def __init__(self, root: int, made: Callable[[str, int], None] | None = None) -> None:
        self._open, self._made = {"": root}, made

    def __getitem__(self, path: str) -> int:
        if path not in self._open:
            above, _, last = path.rpartition("/")
            inside = self[above]
            if self._made is not None:
                os.mkdir(last, dir_fd=inside)
            self._open[path] = _must(open_folder(last, inside), path)
            if self._made is not None:
                self._made(path, self._open[path])
        return self._open[path]

    def close(self) -> None:
        for path, descriptor in self._open.items():
            if path:
                os.close(descriptor)


def _build(stage: int, name: str, old: int | None, change: FolderChange, new: Folder) -> None:
    """A complete directory: the lock first, so that the stage of a killed run can be told apart; then files; foreign ones are linked."""
    private = set(private_folders(new))
    before = _Folders(old) if old is not None else None

    def made(path: str, folder: int) -> None:
        """Gives a new folder the mode and the owner of the old one, whatever the umask; one with a secret is private."""
        status = None
        with contextlib.suppress(FileNotFoundError, MeshError):
            if before is not None:
                above, _, last = path.rpartition("/")
                status = os.fstat(before[""]) if not path else os.stat(last, dir_fd=before[above], follow_symlinks=False)
        if status is not None:
            with contextlib.suppress(PermissionError):
                os.fchown(folder, status.st_uid, status.st_gid)
        if path in private:
            os.fchmod(folder, PRIVATE_FOLDER)
        elif status is not None:
            os.fchmod(folder, stat.S_IMODE(status.st_mode))

    os.mkdir(name, 0o777, dir_fd=stage)
    root = os.open(name, FOLDER, dir_fd=stage)
    folders = _Folders(root, made)
    made("", root)
    try:
        keep = {c.path for c in change.changes if c.action == "identical"}
        for path in sorted(new, key=lambda p: p != LOCK):
            file = new[path]
            above, _, last = path.rpartition("/")
            if not (before is not None and path in keep and _link(before[above], folders[above], last)):
                _write_file(last, file.body, PRIVATE_MODE if file.private else 0o666, folders[above])
        if before is not None:
            for path in change.folders:
                folders[path]
            for path in change.foreign:
                above, _, last = path.rpartition("/")
                if not _link(before[above], folders[above], last):
                    _copy(before[above], folders[above], last, path)
    finally:
        folders.close()
        os.close(root)
        if before is not None:
            before.close()


@contextlib.contextmanager
def _within(root: int, path: str) -> Iterator[tuple[int, str]]:
    """The folder of a path below a descriptor, step by step and through no link, and the last name."""
    parts = path.split("/")
    current, opened = root, []
    try:
        for part in parts[:-1]:
            current = _must(open_folder(part, current), part)
            opened.append(current)
        yield current, parts[-1]
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _link(source: int, target: int, name: str) -> bool:
    """The same file in another folder, so that one being written to by somebody else stays that file; False where it cannot be."""
    try:
        os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EACCES):
            return False
        raise
    return True


def _copy(source: int, target: int, name: str, path: str) -> None:
    """A foreign file carried over on a file system without hard links."""
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        return
    found = read(name, source)
    if found is None:
        raise refuse(path, "is no regular file, and this file system has no hard links to carry it over", "move it away")
    _write_file(name, found[0], stat.S_IMODE(status.st_mode), target)


def _dissolve(stage: int, name: str, top: int, known: set[str]) -> None:
    """Removes a directory in the stage; a file that came meanwhile, and that nothing else holds, goes back to where it was put."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=stage, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=stage)
        return
    folder = _must(open_folder(name, stage), name)
    try:
        _dissolve_folder(folder, "", known, name, top)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=stage)


def _dissolve_folder(folder: int, prefix: str, known: set[str], name: str, top: int) -> None:
    # The lock goes last: while anything else is there, it tells the next run which of it is ours.
    for last in sorted(os.listdir(folder), key=lambda n: not prefix and n == LOCK):
        path = prefix + last
        status = os.stat(last, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            inner = _must(open_folder(last, folder), path)
            try:
                _dissolve_folder(inner, path + "/", known, name, top)
            finally:
                os.close(inner)
            os.rmdir(last, dir_fd=folder)
        elif path in known or status.st_nlink > 1 or _same_there(folder, last, top, f"{name}/{path}"):
            os.unlink(last, dir_fd=folder)
        else:
            _put_back(folder, last, top, f"{name}/{path}")


def _same_there(folder: int, last: str, top: int, path: str) -> bool:
    """Whether the file in place holds the same, or is the same link: then this one is a copy of it."""
    try:
        with _within(top, path) as (above, name):
            mine, theirs = read(last, folder), read(name, above)
            if mine is not None and theirs is not None:
                return mine[0] == theirs[0]
            return mine is None and theirs is None and os.readlink(last, dir_fd=folder) == os.readlink(name, dir_fd=above)
    except (OSError, MeshError):
        return False


def _put_back(folder: int, last: str, top: int, path: str) -> None:
    parts = path.split("/")
    for stop in range(1, len(parts)):
        with _within(top, "/".join(parts[:stop])) as (above, name), contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o777, dir_fd=above)
    with _within(top, path) as (above, name):
        target, number = name, 0
        while True:
            try:
                os.stat(target, dir_fd=above, follow_symlinks=False)
            except FileNotFoundError:
                break
            number += 1
            target = f"{name}.kept-{number}"
        os.rename(last, target, src_dir_fd=folder, dst_dir_fd=above)


def _clear_stage(top: int) -> None:
    """Puts right what a killed run left: a directory that lost its name gets it back, the rest goes."""
    stage = open_folder(STAGE, top)
    if stage is None:
        return
    try:
        names = sorted(os.listdir(stage))
        for old in [n for n in names if n.endswith(".old")]:
            name = old.removesuffix(".old")
            try:
                os.stat(name, dir_fd=top, follow_symlinks=False)
            except FileNotFoundError:
                os.rename(old, name, src_dir_fd=stage, dst_dir_fd=top)
                continue
            if name in os.listdir(stage):
                _dissolve(stage, name, top, _listed(stage, name))
            os.rename(old, name, src_dir_fd=stage, dst_dir_fd=stage)
        for name in sorted(os.listdir(stage)):
            _dissolve(stage, name, top, _listed(stage, name))
    finally:
        os.close(stage)
    os.rmdir(STAGE, dir_fd=top)


def _listed(stage: int, name: str) -> set[str]:
    """What the lock in a staged directory lists; the lock is the first file written there, and the last one removed."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=stage, follow_symlinks=False).st_mode):
        return set()
    folder = _must(open_folder(name, stage), name)
    try:
        found = read(LOCK, folder)
    finally:
        os.close(folder)
    try:
        return {LOCK, *json.loads(found[0])["files"]} if found is not None else {LOCK}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {LOCK}


def write_certificates(certs: str, new: Mapping[str, bytes]) -> None:
    """Writes what was made in `certs/`: each file synced before it has its name, a key before its certificate, none replaced.

    A folder that is not there yet gets its name when all its files are on the disk.
    """
    make_folder(certs, PRIVATE_FOLDER)
    top = _must(open_folder(certs), certs)
    try:
        clear_certificates(top)
        folders: dict[str, dict[str, bytes]] = {}
        for path, body in new.items():
            above, _, last = path.rpartition("/")
            folders.setdefault(above, {})[last] = body
        fresh: list[str] = []
        for above in sorted(folders):
            files = dict(sorted(folders[above].items(), key=lambda item: not item[0].endswith("key.pem")))
            there = top if not above else open_folder(above, top)
            if there is None:
                _stage_folder(top, above, files)
                fresh.append(above)
                continue
            try:
                for name, body in files.items():
                    _add_file(there, name, body)
            finally:
                if there != top:
                    os.close(there)
        # All is written before anything is synced: the first sync then takes most of it along.
        for name in fresh:
            _sync_folder(f"{STAGE}-{name}", top)
        for name in fresh:
            _take_name_of(top, f"{STAGE}-{name}", name)
        os.fsync(top)
    finally:
        os.close(top)


def _mode(name: str) -> int:
    return PRIVATE_MODE if name.endswith("key.pem") else 0o666


def _stage_folder(top: int, name: str, files: Mapping[str, bytes]) -> None:
    staged = f"{STAGE}-{name}"
    os.mkdir(staged, PRIVATE_FOLDER, dir_fd=top)
    folder = os.open(staged, FOLDER, dir_fd=top)
    try:
        for last, body in files.items():
            _write_file(last, body, _mode(last), folder)
    finally:
        os.close(folder)


def _sync_folder(staged: str, top: int) -> None:
    folder = os.open(staged, FOLDER, dir_fd=top)
    try:
        for name in os.listdir(folder):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        os.fsync(folder)
    finally:
        os.close(folder)


def _take_name_of(top: int, staged: str, name: str) -> None:
    if not _libc_rename(top, staged, top, name, _NO_REPLACE):
        os.rename(staged, name, src_dir_fd=top, dst_dir_fd=top)


def _add_file(folder: int, name: str, body: bytes, mode: int | None = None) -> None:
    """A new file in a folder that is there: it has its name when it is whole, and takes nobody else's."""
    staged = f"{STAGE}-{name}"
    _write_file(staged, body, _mode(name) if mode is None else mode, folder, sync=True)
    try:
        os.link(staged, name, src_dir_fd=folder, dst_dir_fd=folder)
    except FileExistsError:
        raise refuse(name, "is there already, or came into being meanwhile; it is kept", "look at it, and move it away if it is not wanted") from None
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        _take_name_of(folder, staged, name)
        return
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(staged, dir_fd=folder)
    os.fsync(folder)


def clear_certificates(top: int) -> None:
    """Removes what a killed run left unfinished: nothing that ever had its name, so nothing that was ever used."""
    for name in os.listdir(top):
        status = os.stat(name, dir_fd=top, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            if name.startswith(f"{STAGE}-"):
                os.unlink(name, dir_fd=top)
            continue
        folder = open_folder(name, top)
        if folder is None:
            continue
        try:
            for last in os.listdir(folder):
                if name.startswith(f"{STAGE}-") or last.startswith(f"{STAGE}-"):
                    os.unlink(last, dir_fd=folder)
        finally:
            os.close(folder)
        if name.startswith(f"{STAGE}-"):
            os.rmdir(name, dir_fd=top)


def add_files(directory: str, new: Mapping[str, bytes], *, private: bool = False) -> None:
    """Writes new files of the working directory, synced; none that is there is touched."""
    for path, body in new.items():
        # The working directory itself may be reached by a link; what lies in it may not.
        full = os.path.join(os.path.realpath(directory), path)
        make_folder(os.path.dirname(full), PRIVATE_FOLDER if private else 0o777)
        folder = _must(open_folder(os.path.dirname(full) or "."), os.path.dirname(full))
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{STAGE}-{os.path.basename(full)}", dir_fd=folder)
            _add_file(folder, os.path.basename(full), body, PRIVATE_MODE if private else 0o666)
        finally:
            os.close(folder)


def replace_file(path: str, before: bytes, body: bytes) -> None:
    """Exchanges the text of a file for another, synced, with the mode that it has; never through a link, nor over somebody's edit."""
    folder = _must(open_folder(os.path.realpath(os.path.dirname(path) or ".")), os.path.dirname(path))
    name = os.path.basename(path)
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise MeshError([Problem(Place(path), "is no regular file, and kubectl mesh writes through no link", "put the file itself there")])
        staged = f"{STAGE}-{name}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(staged, dir_fd=folder)
        try:
            _write_file(staged, body, PRIVATE_MODE, folder, sync=True)
            os.chmod(staged, stat.S_IMODE(status.st_mode), dir_fd=folder)
            now = read(name, folder)
            if now is None or now[0] != before:
                raise refuse(path, "was changed by somebody else meanwhile, and is kept so", "run the command again")
            os.rename(staged, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(staged, dir_fd=folder)
            raise
        os.fsync(folder)
    finally:
        os.close(folder)
