"""Remote secrets that are held in another way from now on: by another store, or for others; and
whether the login in them stays.
"""

import base64
import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kubectl_mesh.fs.read import read_file
from kubectl_mesh.model import BUNDLE_FOLDER, MESH_LOCK, REMOTE_SECRETS_PREFIX, FolderChange
from kubectl_mesh.render.remote_secrets import kubeconfig_text
from kubectl_mesh.safety.reconnections import LoginChange
from kubectl_mesh.stores import sealed, sops
from kubectl_mesh.stores.sealing import read_key
from kubectl_mesh.tree.lock_file import LockFile, parse_lock
from kubectl_mesh.x509.layout import SEAL_KEY

if TYPE_CHECKING:
    from kubectl_mesh.operations.build import RenderedMesh

CLEAR, SOPS, SEALED = (b"Secret", False), (b"Secret", True), (b"SealedSecret", False)
"""What holds a remote secret: its kind, and whether SOPS encrypted it."""

_KIND = re.compile(rb"^kind: ([A-Za-z]+)$", re.MULTILINE)
_SOPS = re.compile(rb"^sops:", re.MULTILINE)


def find_login_changes(
    out: str, rendered: "RenderedMesh", changes: Sequence[FolderChange]
) -> dict[tuple[str, str], LoginChange]:
    """The login changes of remote secrets whose container changes, by directory and peer.

    Sealed secrets can be compared only with the seal key. Must be called before the tree is
    written.
    """
    key = read_key(rendered.inputs.certs_files.get(SEAL_KEY, b""))
    found: dict[tuple[str, str], LoginChange] = {}
    as_before: set[str] = set()
    locks: dict[str, LockFile | None] = {}
    for name, path, peer in _list_updated_secrets(changes):
        if name in as_before:
            continue  # one store holds all of a directory
        old, new = (
            read_file(os.path.join(out, name, path), "manifest") or b"",
            rendered.tree[name][path].body,
        )
        before, now = _find_container(old), _find_container(new)
        if before == now and before not in (SOPS, SEALED):
            as_before.add(name)
            continue
        if name not in locks:
            locks[name] = parse_lock(read_file(os.path.join(out, name, MESH_LOCK), "lock"))
        if _has_same_login(rendered, name, peer, old, key, locks[name]):
            found[name, peer] = LoginChange.UNCHANGED
        elif before != now:
            found[name, peer] = LoginChange.STORE
        elif key is None:
            found[name, peer] = LoginChange.RESEALED
    return found


def has_login(rendered: "RenderedMesh", holder: str, peer: str, out: str) -> bool:
    """Whether the remote secret of a peer, as it is in the tree, is seen to hold the login that a
    render gives it.
    """
    folder, path = (
        (BUNDLE_FOLDER, f"{peer}.yaml")
        if rendered.plan.topology.has_remote_secret_bundle
        else (holder, f"{REMOTE_SECRETS_PREFIX}{peer}.yaml")
    )
    old = read_file(os.path.join(out, folder, path), "manifest")
    key = read_key(rendered.inputs.certs_files.get(SEAL_KEY, b""))
    return old is not None and _has_same_login(
        rendered,
        folder,
        peer,
        old,
        key,
        parse_lock(read_file(os.path.join(out, folder, MESH_LOCK), "lock")),
    )


def _list_updated_secrets(changes: Sequence[FolderChange]) -> Iterator[tuple[str, str, str]]:
    for change in changes:
        prefix = "" if change.name == BUNDLE_FOLDER else REMOTE_SECRETS_PREFIX
        for file in change.changes:
            inner = file.path.removeprefix(prefix)
            if (
                file.action == "update"
                and file.path.startswith(prefix)
                and inner not in (MESH_LOCK, "kustomization.yaml")
                and "/" not in inner
            ):
                yield change.name, file.path, inner.removesuffix(".yaml")


def _find_container(body: bytes) -> tuple[bytes, bool]:
    """The kind of what holds a remote secret, and whether SOPS encrypted it."""
    kind = _KIND.search(body)
    return kind[1] if kind is not None else b"", _SOPS.search(body) is not None


def _has_same_login(
    rendered: "RenderedMesh",
    name: str,
    peer: str,
    old: bytes,
    key: bytes | None,
    lock: LockFile | None,
) -> bool:
    """Whether an existing remote secret provably has the login that a render writes; `lock` names
    its recipients.
    """
    members = rendered.plan.members
    login = (
        members[peer].peer_login("" if name == BUNDLE_FOLDER else name) if peer in members else None
    )
    if login is None:
        return False
    config = kubeconfig_text(members[peer], login).encode()
    encoded = base64.b64encode(config)
    if _find_container(old) == CLEAR:
        return encoded in old
    if key is None or lock is None:
        return False
    if _find_container(old) == SOPS and lock.recipients:
        return sops.is_sealed_value(
            old, sops.data_key(key, name, lock.recipients), peer, encoded.decode()
        )
    if _find_container(old) == SEALED and name in members:
        label = f"{members[name].cluster.namespace}/istio-remote-secret-{peer}".encode()
        return sealed.is_sealed_value(
            old, sealed.session_key(key, lock.sealed_for or "", label, peer, config), peer, config
        )
    return False
