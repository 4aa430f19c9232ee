"""Remote secrets that change the store that holds them, and whether the login in them stays."""

import base64
import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kubectl_mesh.model import BUNDLE, LOCK, REMOTE_SECRETS, FolderChange

if TYPE_CHECKING:
    from kubectl_mesh.cli.compose import Rendered

_KIND = re.compile(rb"^kind: ([A-Za-z]+)$", re.MULTILINE)
_SOPS = re.compile(rb"^sops:", re.MULTILINE)


def moved(out: str, rendered: "Rendered", changes: Sequence[FolderChange]) -> dict[tuple[str, str], bool]:
    """By directory and peer, the remote secrets that another store holds from now on: whether the login is seen to be the same.

    Only what stood in clear can be compared. It is asked before anything is written.
    """
    from kubectl_mesh.cli.workdir import read_file
    from kubectl_mesh.render.remotes import kubeconfig

    found = {}
    as_before: set[str] = set()
    for name, path, peer in _updated(changes):
        if name in as_before:
            continue  # one store holds all of a directory
        old, new = read_file(os.path.join(out, name, path)) or b"", rendered.tree[name][path].body
        if _held(old) == _held(new):
            as_before.add(name)
            continue
        member = rendered.plan.members.get(peer)
        login = member.login("" if name == BUNDLE else name) if member is not None else None
        same = member is not None and login is not None and base64.b64encode(kubeconfig(member, login).encode()) in old
        found[name, peer] = same and _held(old) == (b"Secret", False)
    return found


def _updated(changes: Sequence[FolderChange]) -> Iterator[tuple[str, str, str]]:
    for change in changes:
        prefix = "" if change.name == BUNDLE else REMOTE_SECRETS
        for file in change.changes:
            inner = file.path.removeprefix(prefix)
            if file.action == "update" and file.path.startswith(prefix) and inner not in (LOCK, "kustomization.yaml") and "/" not in inner:
                yield change.name, file.path, inner.removesuffix(".yaml")


def _held(body: bytes) -> tuple[bytes, bool]:
    """The kind of what holds a remote secret, and whether SOPS encrypted it."""
    kind = _KIND.search(body)
    return kind[1] if kind is not None else b"", _SOPS.search(body) is not None
