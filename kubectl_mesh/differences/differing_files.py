"""Which directories and files of two trees differ."""

import re
from collections.abc import Mapping

from kubectl_mesh.model import BUNDLE_FOLDER
from kubectl_mesh.observed.mesh_state import RawTree

KUSTOMIZATION = "3-mesh/kustomization.yaml"
"""What says whether a cluster takes the remote secrets that all share."""
_MESH_NETWORKS = re.compile(rb"( *)meshNetworks: *")


def list_files_to_read(
    before: RawTree, after: RawTree, only: frozenset[str] | None = None
) -> dict[str, set[str]]:
    """The files to read, by directory with a difference: the files that differ, and the control
    planes.
    """
    found: dict[str, set[str]] = {}
    for name in sorted({*before, *after} - {""}):
        if only is not None and name not in only:
            continue
        old, new = before.get(name, {}), after.get(name, {})
        differing = {
            path
            for path in {*old, *new}
            if (path in old) != (path in new) or old.get(path) != new.get(path)
        }
        if differing:
            found[name] = differing | {
                p
                for p in {*old, *new}
                if p.startswith("2-control-plane/") and not p.endswith("/kustomization.yaml")
            }
    if BUNDLE_FOLDER in found:
        for name in {*before, *after} - {""}:
            if only is None or name in only:
                found.setdefault(name, set()).add(KUSTOMIZATION)
    return found


def trim_tree(raw: RawTree, other: RawTree, paths_to_read: Mapping[str, set[str]]) -> RawTree:
    """The part of a tree to read. Unchanged control planes, read only for their version, come
    without meshNetworks.
    """
    result: dict[str, Mapping[str, bytes | None]] = {"": raw.get("", {})}
    for name, paths in paths_to_read.items():
        if name in raw:
            files, theirs = raw[name], other.get(name, {})
            same = {
                p: body
                for p in paths
                if (body := files.get(p)) is not None
                and body == theirs.get(p)
                and b"meshNetworks:" in body
            }
            result[name] = (
                {**files, **{p: _without_networks(body) for p, body in same.items()}}
                if same
                else files
            )
    return result


def _without_networks(body: bytes) -> bytes:
    """A manifest without the mappings called `meshNetworks`."""
    lines: list[bytes] = []
    inside: tuple[bytes, bytes] | None = None
    for line in body.splitlines(keepends=True):
        if inside is not None and line.startswith(inside):
            continue
        match = _MESH_NETWORKS.fullmatch(line.rstrip(b"\n"))
        inside = None if match is None else (match[1] + b" ", match[1] + b"-")
        if match is None:
            lines.append(line)
    return b"".join(lines)
