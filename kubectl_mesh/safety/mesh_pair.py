"""The two states of a mesh that a review compares: what clusters run, and what replaces it."""

import re
from collections.abc import Callable, Mapping
from functools import cache, cached_property

from kubectl_mesh.connectivity.changes import Decision, decide_change
from kubectl_mesh.connectivity.facts import DEFAULT_DOMAIN
from kubectl_mesh.connectivity.mixtures import StatePair
from kubectl_mesh.connectivity.state import (
    FactReader,
    is_ambient,
    trust_domain,
    trust_domain_aliases,
)
from kubectl_mesh.errors import Place
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model import BUNDLE_FOLDER, MESH_LOCK, REMOTE_SECRETS_PREFIX
from kubectl_mesh.observed.mesh_state import MeshState, ObservedCluster, ObservedGateway
from kubectl_mesh.tree.lock_file import LockFile, Source

_READER_FILE = re.compile(
    r"3-mesh/reader(?:-(.+))?-(?:account|role-binding|token(?:-g[0-9]+)?)\.yaml"
)
_GATEWAY_KINDS = (
    "Service",
    "Gateway (gateway.networking.k8s.io)",
    "chart gateway",
    "IstioOperator component",
)
"""The kinds of gates that take traffic; the others say what goes through them, or where they are.
"""
_LOAD_BALANCER = "LoadBalancer"
"""The type of Service of a gateway that states none, and the only one that always has an address
(istio conversion.go).
"""
_NON_TRAFFIC_PORTS = (15012, 15017, 15021)
"""The ports of a gateway that lead to istiod, or show its status."""


class ClusterState:
    """One cluster in one state, as far as others depend on it."""

    def __init__(self, name: str, state: MeshState) -> None:
        self.name, self._state = name, state
        self.files = state.tree[name]

    @property
    def lock(self) -> LockFile:
        """What the lock says; nothing where it cannot be read."""
        return self._state.locks[self.name]

    @property
    def cluster(self) -> ObservedCluster:
        """What the public files say."""
        return self._state.clusters[self.name]

    @cached_property
    def control_plane_files(self) -> Mapping[str, bytes]:
        """The manifests of the control plane by path."""
        return {
            path: self.files[path] or b""
            for path in self.files
            if path.startswith("2-control-plane/") and path.endswith(".yaml")
        }

    @cached_property
    def readers(self) -> Mapping[tuple[str, str, str], str]:
        """The accounts, roles and account tokens that peers read the cluster with, each with the
        peer that uses it; "" means all peers.
        """
        found = {}
        for reader in self.cluster.reader_accounts:
            match = _READER_FILE.fullmatch(reader.file.partition("/")[2])
            if match and reader.kind == "Secret" and reader.account is not None:
                found["token of the account", reader.namespace or "", reader.account] = (
                    match[1] or ""
                )
            elif match and reader.kind in ("ServiceAccount", "ClusterRoleBinding"):
                what = "account" if reader.kind == "ServiceAccount" else "role binding"
                found[what, reader.namespace or "", reader.name] = match[1] or ""
        found |= {
            ("role", "", o.name): ""
            for o in self.cluster.objects
            if o.kind == "ClusterRole" and "/3-mesh/reader-" in o.file
        }
        return found

    @cached_property
    def gateways(self) -> frozenset[tuple[str, str]]:
        """The gateways that take traffic of other networks here, by kind and name."""
        return frozenset(
            (g.kind, g.name) for g in self._gateways if "/remote-gateways/" not in g.file
        )

    @cached_property
    def labelled_networks(self) -> frozenset[str]:
        """The networks whose gateways istiod finds here by their labels."""
        return frozenset(
            g.network
            for g in self._gateways
            if g.network is not None and "/remote-gateways/" not in g.file
        )

    @cached_property
    def gateway_services(self) -> Mapping[tuple[str, str], frozenset[str]]:
        """The Service type and ports of each gateway that other networks reach, by kind
        and name.
        """
        gates = [g for g in self._gateways if "/remote-gateways/" not in g.file]
        return {
            (g.kind, g.name): frozenset(
                (
                    g.service_type or _LOAD_BALANCER,
                    *(str(p) for p in g.ports if p not in _NON_TRAFFIC_PORTS),
                )
            )
            for g in gates
        }

    @property
    def load_balanced_gateways(self) -> frozenset[tuple[str, str]]:
        """The gateways here that a load balancer gives an address."""
        return frozenset(
            key for key, service in self.gateway_services.items() if _LOAD_BALANCER in service
        )

    @cached_property
    def _gateways(self) -> tuple[ObservedGateway, ...]:
        return tuple(g for g in self.cluster.gateways if g.kind in _GATEWAY_KINDS)

    @cached_property
    def static_networks(self) -> frozenset[str]:
        """The networks whose gateway addresses are stated to istiod here."""
        return frozenset(
            g.network
            for g in self.cluster.gateways
            if g.network is not None
            and g.addresses
            and (g.kind == "meshNetworks" or "/remote-gateways/" in g.file)
        )

    @cached_property
    def is_ambient(self) -> bool:
        """Whether the data plane is ambient."""
        return any(map(is_ambient, self.cluster.control_plane))

    @cached_property
    def revisions(self) -> frozenset[str]:
        """The revisions of istiod that run here; "" is the default one."""
        return frozenset(c.revision or "" for c in self.cluster.releases)

    @cached_property
    def trust_domains(self) -> tuple[frozenset[str], frozenset[str]]:
        """The trust domains of the workloads here, and those that their peers may have."""
        own: set[str] = set()
        known: set[str] = set()
        for release in self.cluster.releases:
            own.add(
                trust_domain(release.values) or trust_domain(release.settings) or DEFAULT_DOMAIN
            )
            known |= {
                alias
                for of in (release.values, release.settings)
                for alias in trust_domain_aliases(of)
            }
        return frozenset(own), frozenset(own | known)

    @property
    def lacks_control_plane(self) -> bool:
        """Whether the control plane is held back, which another refusal reports where one was
        rendered.
        """
        return bool(self.lock.pending) or not any(
            path.startswith("2-control-plane/") for path in self.files
        )


class MeshPair:
    """Two states of a mesh: what runs, and what replaces it."""

    def __init__(
        self,
        before: MeshState,
        after: MeshState,
        out: str,
        is_peer: Callable[[str, str], bool] | None = None,
    ) -> None:
        self._before, self._after, self.out = before, after, out
        self._is_peer = is_peer
        self.old = {name: ClusterState(name, before) for name in before.clusters}
        self.new = {name: ClusterState(name, after) for name in after.clusters}
        self.staying_clusters = sorted(self.old.keys() & self.new.keys())
        self.changed_clusters = [
            n
            for n in self.staying_clusters
            if before.tree[n].get(MESH_LOCK) != after.tree[n].get(MESH_LOCK)
        ]
        self.can_read_before = cache(self._can_read_before)
        self.can_read_after = cache(self._can_read_after)

    @cached_property
    def decision(self) -> Decision:
        """What the change means for calls between clusters."""
        states = StatePair(FactReader(self._before), FactReader(self._after))
        return decide_change(states, self.can_read_after)

    @cached_property
    def contexts(self) -> Mapping[str, str]:
        """The context of each cluster that changes, by name."""
        return {name: self.new[name].lock.context for name in self.changed_clusters}

    def _can_read_before(self, holder: str, peer: str) -> bool:
        """Whether the istiod of a cluster reads another one, as it runs."""
        return _has_remote_secret(self._before, holder, peer)

    def _can_read_after(self, holder: str, peer: str) -> bool:
        """Whether it is meant to read it afterwards too."""
        if holder not in self.new or peer not in self.new:
            return False
        return (
            self._is_peer(holder, peer)
            if self._is_peer is not None
            else _has_remote_secret(self._after, holder, peer)
        )

    def find_source(self, peer: str, *, after: bool) -> Source | None:
        """What the remote secrets for a cluster are made from, by the lock of one that has it."""
        locks = (self._after if after else self._before).locks
        return next((lock.remote[peer] for lock in locks.values() if peer in lock.remote), None)

    def list_readers(self, peer: str) -> list[str]:
        """The clusters that read another one, and go on."""
        return [
            n
            for n in self.staying_clusters
            if n != peer and self.can_read_before(n, peer) and self.can_read_after(n, peer)
        ]

    def list_neighbours(self, name: str) -> list[str]:
        """The clusters that a cluster has to do with, and goes on to: those that read it, and those
        that it reads.
        """
        return [
            n
            for n in self.staying_clusters
            if n != name
            and (
                (self.can_read_before(n, name) and self.can_read_after(n, name))
                or (self.can_read_before(name, n) and self.can_read_after(name, n))
            )
        ]

    def file_place(self, name: str, path: str = "") -> Place:
        """A file of the tree."""
        return Place(join_path(self.out, f"{name}/{path}" if path else name))


def _has_remote_secret(state: MeshState, holder: str, peer: str) -> bool:
    """Whether a cluster has the remote secret of another one."""
    tree = state.tree
    files = tree.get(holder, {})
    if f"{REMOTE_SECRETS_PREFIX}{peer}.yaml" in files:
        return True
    bundle = tree.get(BUNDLE_FOLDER, {})
    if holder == peer or f"{peer}.yaml" not in bundle:
        return False
    listed = files.get("3-mesh/kustomization.yaml") or b""
    # What SOPS encrypted, kubectl cannot apply: it is in no kustomization.
    return f"../../{BUNDLE_FOLDER}".encode() in listed or (
        _is_primary(state, holder) and b'"recipients"' in (bundle.get(MESH_LOCK) or b"")
    )


def _is_primary(state: MeshState, name: str) -> bool:
    return name not in state.locks or state.locks[name].served_by is None


def has_same_lines(old: ClusterState, new: ClusterState, pattern: re.Pattern[bytes]) -> bool:
    """Whether the lines of the control planes that match are the same, so that no document has to
    be read.
    """
    before, after = old.control_plane_files, new.control_plane_files
    return before.keys() == after.keys() and all(
        body == after[path] or pattern.findall(body) == pattern.findall(after[path])
        for path, body in before.items()
    )
