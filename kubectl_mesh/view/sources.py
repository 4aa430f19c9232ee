"""Trees as a view reads them: from disk, without following a link, or as a render made them."""

import os

from kubectl_mesh.compare import open_folder, read, scan
from kubectl_mesh.model import Tree


def on_disk(out: str) -> dict[str, dict[str, bytes | None]]:
    """The tree in a folder; an empty one where there is none. Folders whose name begins with a dot are not of it."""
    top = open_folder(out)
    if top is None:
        return {}
    found: dict[str, dict[str, bytes | None]] = {}
    beside: dict[str, bytes | None] = {}
    try:
        with os.scandir(top) as entries:
            listed = sorted(entries, key=lambda e: e.name)
        for entry in listed:
            if entry.is_dir(follow_symlinks=False):
                folder = None if entry.name.startswith(".") else open_folder(entry.name, top)
                if folder is None:
                    continue
                try:
                    disk = scan(folder)
                finally:
                    os.close(folder)
                found[entry.name] = {path: body for path, (body, _) in disk.files.items()} | dict.fromkeys(disk.others)
            else:
                body = read(entry.name, top)
                beside[entry.name] = body[0] if body is not None else None
    finally:
        os.close(top)
    return {**found, "": beside} if beside else found


def rendered(tree: Tree) -> dict[str, dict[str, bytes | None]]:
    """The tree of a render."""
    return {name: {path: file.body for path, file in folder.items()} for name, folder in tree.items()}
