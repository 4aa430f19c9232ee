"""Which directories and files of two trees differ, and which cluster of the one is which of the
other.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kubectl_mesh.model import BUNDLE
from kubectl_mesh.observed.values import Cluster, MeshState, RawTree

KUSTOMIZATION = "3-mesh/kustomization.yaml"
"""What says whether a cluster takes the remote secrets that all share."""
_MESH_NETWORKS = re.compile(rb"( *)meshNetworks: *")


def worth_reading(
    before: RawTree, after: RawTree, only: frozenset[str] | None = None
) -> dict[str, set[str]]:
    """Of each directory in which a byte differs the files to be read: those that differ, and those
    that tell what runs there.
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
    if BUNDLE in found:
        for name in {*before, *after} - {""}:
            if only is None or name in only:
                found.setdefault(name, set()).add(KUSTOMIZATION)
    return found


def trimmed(raw: RawTree, other: RawTree, wanted: Mapping[str, set[str]]) -> RawTree:
    """A tree as far as it is read; of what is the same in both, and read for the version that it
    tells, without the networks of a whole mesh.
    """
    made: dict[str, Mapping[str, bytes | None]] = {"": raw.get("", {})}
    for name, paths in wanted.items():
        if name in raw:
            files, theirs = raw[name], other.get(name, {})
            same = {
                p: body
                for p in paths
                if (body := files.get(p)) is not None
                and body == theirs.get(p)
                and b"meshNetworks:" in body
            }
            made[name] = (
                {**files, **{p: _without_networks(body) for p, body in same.items()}}
                if same
                else files
            )
    return made


def _without_networks(body: bytes) -> bytes:
    """A manifest without the mappings called `meshNetworks`."""
    kept: list[bytes] = []
    inside: tuple[bytes, bytes] | None = None
    for line in body.splitlines(keepends=True):
        if inside is not None and line.startswith(inside):
            continue
        match = _MESH_NETWORKS.fullmatch(line.rstrip(b"\n"))
        inside = None if match is None else (match[1] + b" ", match[1] + b"-")
        if match is None:
            kept.append(line)
    return b"".join(kept)


@dataclass(frozen=True, slots=True)
class Pair:
    """A cluster before and after; one of the two may be missing. `why` says how a renamed one was
    recognised.
    """

    before: Cluster | None
    after: Cluster | None
    why: str = ""

    @property
    def name(self) -> str:
        """The name that it has, or had."""
        there = self.after or self.before
        assert there is not None
        return there.name

    @property
    def renamed(self) -> bool:
        """Whether it has another name now."""
        return (
            self.before is not None
            and self.after is not None
            and self.before.name != self.after.name
        )


def pairs(before: MeshState, after: MeshState) -> tuple[Pair, ...]:
    """Every cluster of two views, by name; one that left and one that came are the same if they
    have the same API server, CA or context.
    """
    gone = [c for name, c in before.clusters.items() if name not in after.clusters]
    come = [c for name, c in after.clusters.items() if name not in before.clusters]
    servers_before, servers_after = _servers(before), _servers(after)
    found = [Pair(before.clusters[n], c) for n, c in after.clusters.items() if n in before.clusters]
    for old in gone:
        match = next(
            ((new, why) for new in come if (why := _same(old, new, servers_before, servers_after))),
            None,
        )
        if match is None:
            found.append(Pair(old, None))
        else:
            come.remove(match[0])
            found.append(Pair(old, match[0], match[1]))
    found += [Pair(None, new) for new in come]
    return tuple(sorted(found, key=lambda p: p.name))


def _servers(view: MeshState) -> Mapping[str, tuple[str, str]]:
    """The API server and the CA of each cluster, as its peers reach it."""
    known = {}
    for directory in (*view.clusters.values(), *view.shared.values()):
        for secret in directory.remote_secrets:
            if secret.server is not None and secret.ca is not None:
                known[secret.peer] = (secret.server, secret.ca)
    return known


def _same(
    old: Cluster,
    new: Cluster,
    before: Mapping[str, tuple[str, str]],
    after: Mapping[str, tuple[str, str]],
) -> str:
    """Why two clusters are one and the same; nothing where they are not."""
    if old.name in before and before[old.name] == after.get(new.name):
        return "the same API server and CA"
    mine, theirs = old.trust.intermediate_fingerprint, new.trust.intermediate_fingerprint
    if mine is not None and mine == theirs:
        return "the same intermediate"
    if (
        old.lock is not None
        and new.lock is not None
        and old.lock.says.context
        and old.lock.says.context == new.lock.says.context
    ):
        return "the same context"
    return ""
