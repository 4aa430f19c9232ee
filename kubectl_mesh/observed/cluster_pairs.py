"""Pairs the clusters of two states of a mesh."""

from collections.abc import Mapping
from dataclasses import dataclass

from kubectl_mesh.model import BUNDLE_FOLDER, REMOTE_SECRETS_PREFIX
from kubectl_mesh.observed.mesh_state import MeshState, ObservedCluster, RawTree


@dataclass(frozen=True, slots=True)
class ClusterPair:
    """A cluster before and after a change; one of the two may be None. `match_reason` says how a
    renamed cluster was recognised.
    """

    before: ObservedCluster | None
    after: ObservedCluster | None
    match_reason: str = ""

    @property
    def name(self) -> str:
        """The present name, or the last one of a removed cluster."""
        there = self.after or self.before
        assert there is not None
        return there.name

    @property
    def is_renamed(self) -> bool:
        """Whether the cluster has a new name."""
        return (
            self.before is not None
            and self.after is not None
            and self.before.name != self.after.name
        )


def pair_clusters(before: MeshState, after: MeshState) -> tuple[ClusterPair, ...]:
    """The clusters of two states, paired by name. A removed and an added cluster are a pair if they
    share the API server, the intermediate or the context.
    """
    gone = [c for name, c in before.clusters.items() if name not in after.clusters]
    come = [c for name, c in after.clusters.items() if name not in before.clusters]
    servers_before, servers_after = _servers(before), _servers(after)
    found = [
        ClusterPair(before.clusters[n], c)
        for n, c in after.clusters.items()
        if n in before.clusters
    ]
    for old in gone:
        match = next(
            (
                (new, why)
                for new in come
                if (why := _match_reason(old, new, servers_before, servers_after))
            ),
            None,
        )
        if match is None:
            found.append(ClusterPair(old, None))
        else:
            come.remove(match[0])
            found.append(ClusterPair(old, match[0], match[1]))
    found += [ClusterPair(None, new) for new in come]
    return tuple(sorted(found, key=lambda p: p.name))


def _servers(view: MeshState) -> Mapping[str, tuple[str, str]]:
    """The API server and the CA of each cluster, as its peers reach it."""
    known = {}
    for directory in (*view.clusters.values(), *view.shared_directories.values()):
        for secret in directory.remote_secrets:
            if secret.server is not None and secret.ca_digest is not None:
                known[secret.peer] = (secret.server, secret.ca_digest)
    return known


def _match_reason(
    old: ObservedCluster,
    new: ObservedCluster,
    before: Mapping[str, tuple[str, str]],
    after: Mapping[str, tuple[str, str]],
) -> str:
    """Why two clusters are the same; empty if they are not."""
    if old.name in before and before[old.name] == after.get(new.name):
        return "the same API server and CA"
    mine, theirs = old.cacerts.intermediate_fingerprint, new.cacerts.intermediate_fingerprint
    if mine is not None and mine == theirs:
        return "the same intermediate"
    if (
        old.lock is not None
        and new.lock is not None
        and old.lock.contents.context
        and old.lock.contents.context == new.lock.contents.context
    ):
        return "the same context"
    return ""


def list_secret_holders(tree: RawTree, name: str) -> tuple[str, ...]:
    """The clusters that have a remote secret for a cluster, by file names."""
    path = f"{REMOTE_SECRETS_PREFIX}{name}.yaml"
    shared = f"{name}.yaml" in tree.get(BUNDLE_FOLDER, {})
    return tuple(
        sorted(
            n
            for n, files in tree.items()
            if n and n != name and not n.startswith("_") and (path in files or shared)
        )
    )
