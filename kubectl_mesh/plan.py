"""plan: a valid `Topology` and what is known of its clusters become a `Plan`; total and pure."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kubectl_mesh.credentials.accounts import SHARED_READER, token_command, token_file
from kubectl_mesh.errors import Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model import (
    Cluster,
    Expiry,
    Gateway,
    Json,
    Member,
    Network,
    Pending,
    Plan,
    Server,
    Topology,
)
from kubectl_mesh.model.commands import address_command
from kubectl_mesh.stores import store_of
from kubectl_mesh.text import count_text, mesh_command
from kubectl_mesh.topology.peers import list_peers


@dataclass(frozen=True, slots=True)
class TargetTraits:
    """What a target decides for the plan."""

    gateway_port: int
    """Of a gateway whose port nobody states."""
    gateway_command: Callable[[Cluster], str]
    """How to ask a cluster for the addresses of the gateway into its network."""
    finds_gateways_by_label: bool
    """istiod finds networks and gateways by labels, so that no address has to be known."""
    gateway_kind: str | None = None
    """What makes the east-west gateway where the topology does not say; None: there is none of its
    own.
    """


@dataclass(frozen=True, slots=True)
class KnownClusters:
    """What is known of the clusters of a topology, by their names."""

    servers: Mapping[str, Server]
    logins: Mapping[tuple[str, str], Mapping[str, Json]] = field(repr=False)
    """The users of the kubeconfigs, by cluster and peer (`SHARED_READER`: all peers)."""
    sealed_logins: frozenset[tuple[str, str]] = frozenset()
    """The logins of which only the public part is here."""
    pending_intermediates: Sequence[Pending] = ()
    """What clusters wait for before they may have a control plane."""
    next_tokens: frozenset[tuple[str, str]] = frozenset()
    """The logins whose next token is here, where peers are to move to another."""
    sealed_token_expiries: Mapping[str, Expiry] = field(default_factory=dict)
    """The dates of what is in `absent`."""


def build_plan(
    topology: Topology, traits: TargetTraits, known: KnownClusters, directory: str = "."
) -> Plan:
    """Who discovers whom, over which networks, and what is still unknown.

    `directory` is for the commands that are printed.
    """
    joined_clusters = tuple(c for c in topology.clusters if c.is_joined)
    all_networks = _networks(topology, joined_clusters, joined_clusters, traits)
    members = _members(topology, traits, known, all_networks)
    pending = [
        *known.pending_intermediates,
        *_pending_readers(topology, members, directory),
        *_pending_rotations(topology, members, directory, known.next_tokens),
        *_pending_addresses(members),
        *_pending_gateways(topology, joined_clusters, members, traits),
    ]
    return Plan(
        topology,
        members,
        tuple(pending),
        tuple(sorted({*topology.warnings, *_warnings(members)})),
        len(all_networks) > 1,
        known.sealed_token_expiries,
    )


def _members(
    topology: Topology,
    traits: TargetTraits,
    known: KnownClusters,
    all_networks: tuple[Network, ...],
) -> dict[str, Member]:
    """The clusters of the mesh; `all_networks` are the networks that those see that see all."""
    by_name = {c.name: c for c in topology.clusters}
    joined_clusters = tuple(c for c in topology.clusters if c.is_joined)
    served = {c.primary for c in joined_clusters if c.primary is not None}
    holders: dict[str, list[str]] = {c.name: [] for c in topology.clusters}
    logins: dict[str, dict[str, Mapping[str, Json]]] = {c.name: {} for c in topology.clusters}
    for (name, peer), login in known.logins.items():
        logins[name][peer] = login
    peers_by_cluster = list_peers(topology)
    for name, peers in peers_by_cluster.items():
        for peer in peers:
            holders[peer].append(name)
    members: dict[str, Member] = {}
    for name, peers in peers_by_cluster.items():
        cluster = by_name[name]
        networks: tuple[Network, ...] = ()
        if cluster.is_joined and (cluster.peers is None or cluster.primary is not None):
            networks = all_networks
        elif cluster.is_joined:
            visible = sorted((cluster, *(by_name[p] for p in peers)), key=lambda c: c.name)
            networks = _networks(topology, joined_clusters, visible, traits)
        has_gateway = len(all_networks) > 1 or name in served
        members[name] = Member(
            cluster,
            peers,
            networks,
            known.servers.get(name),
            logins[name],
            primary=by_name[cluster.primary] if cluster.primary is not None else None,
            gateway_kind=_gateway_kind(topology, cluster, traits) if has_gateway else None,
            static_gateways=traits.finds_gateways_by_label and _is_declared(topology, cluster),
            readers=tuple(holders[name]),
            is_primary=name in served,
            lacks_intermediate=any(p.subject == name for p in known.pending_intermediates),
            sealed_logins=frozenset(
                peer for cluster_name, peer in known.sealed_logins if cluster_name == name
            ),
        )
    return members


def _gateway_kind(topology: Topology, cluster: Cluster, traits: TargetTraits) -> str | None:
    """What makes the east-west gateway of a cluster that needs one; None: nothing does."""
    if not cluster.is_joined or not cluster.east_west.enabled or traits.gateway_kind is None:
        return None
    return "Gateway" if topology.is_ambient else cluster.east_west.kind or traits.gateway_kind


def _is_declared(topology: Topology, cluster: Cluster) -> bool:
    """Whether the addresses of the gateways of a cluster are stated, or will be."""
    return (
        bool(cluster.gateways or topology.networks.get(cluster.network))
        or cluster.network in topology.pending_networks
    )


def _networks(
    topology: Topology,
    joined_clusters: tuple[Cluster, ...],
    visible: "tuple[Cluster, ...] | list[Cluster]",
    traits: TargetTraits,
) -> tuple[Network, ...]:
    """The networks of the visible clusters; the gateways of a network are those that are declared
    for any cluster on it.
    """
    clusters: dict[str, list[str]] = {}
    for cluster in visible:
        clusters.setdefault(cluster.network, []).append(cluster.name)
    gateways: dict[str, set[Gateway]] = {
        network: set(topology.networks.get(network, ())) for network in clusters
    }
    for cluster in joined_clusters:
        if cluster.network in gateways:
            gateways[cluster.network].update(cluster.gateways)
    return tuple(
        Network(
            network,
            tuple(clusters[network]),
            tuple(
                sorted(
                    {Gateway(g.address, g.port or traits.gateway_port) for g in gateways[network]}
                )
            ),
        )
        for network in sorted(clusters)
    )


def _pending_readers(
    topology: Topology, members: Mapping[str, Member], directory: str
) -> list[Pending]:
    """Servers and logins that the remote secrets of clusters wait for."""
    pending = []
    for name, member in members.items():
        cluster, readers = member.cluster, member.readers
        if not readers:
            continue
        blocks = f"its remote secret in {count_text(len(readers), 'cluster')}"
        if member.server is None:
            where = "" if directory in (".", "") else f" -C {shlex.quote(directory)}"
            dash = "-- " if cluster.context.startswith("-") else ""
            command = mesh_command(
                f"add{where} --network {cluster.network} {dash}{shlex.quote(cluster.context)}"
            )
            pending.append(
                Pending("server", name, "its API server (as the peers reach it)", blocks, command)
            )
        if topology.reader_per_peer:
            pending += _pending_peer_tokens(member, directory)
        elif not member.logins:
            pending.append(_pending_login(cluster, blocks, directory))
    return pending


def _pending_peer_tokens(member: Member, directory: str) -> list[Pending]:
    """The tokens of a cluster that are missing, where each peer has its own."""
    cluster = member.cluster
    return [
        Pending(
            "token",
            cluster.name,
            f"its token for {peer} ({join_path(directory, token_file(cluster, peer))})",
            f"its remote secret in {peer}",
            token_command(cluster, directory, peer),
            peer,
        )
        for peer in member.readers
        if peer not in member.logins
    ]


def _pending_login(cluster: Cluster, blocks: str, directory: str) -> Pending:
    """The missing login of a cluster that all peers share."""
    if cluster.credential.kind == "tokenFile":
        what = f"its token ({join_path(directory, token_file(cluster))})"
        return Pending("token", cluster.name, what, blocks, token_command(cluster, directory))
    return Pending(
        "token",
        cluster.name,
        f"its credential (the files named under credential.{cluster.credential.kind})",
        blocks,
        f"put the files of contexts.{cluster.context}.credential in place",
    )


def _pending_rotations(
    topology: Topology,
    members: Mapping[str, Member],
    directory: str,
    next_tokens: frozenset[tuple[str, str]],
) -> list[Pending]:
    """The next tokens, that peers are to move to; where a store of the user's has the tokens,
    nobody fetches any.
    """
    pending = []
    for name, member in members.items():
        cluster = member.cluster
        if cluster.next_generation is None or store_of(topology).OUTSIDE:
            continue
        where = "" if directory in (".", "") else f" -C {shlex.quote(directory)}"
        for peer in (
            member.readers
            if topology.reader_per_peer
            else [SHARED_READER]
            if member.readers
            else []
        ):
            if (name, peer) not in next_tokens:
                whom = f" for {peer}" if peer else ""
                what = (
                    f"its next token{whom}"
                    f" ({join_path(directory, token_file(cluster, peer, cluster.next_generation))})"
                )
                advance = mesh_command(f"tokens rotate{where} {name} advance")
                blocks = f"the move of its peers to it (`{advance}`)"
                pending.append(
                    Pending(
                        "next-token",
                        name,
                        what,
                        blocks,
                        token_command(cluster, directory, peer, cluster.next_generation),
                        peer,
                    )
                )
    return pending


def _pending_addresses(members: Mapping[str, Member]) -> list[Pending]:
    """Clusters whose istiod others need, and of which nobody knows where it is reached."""
    pending = []
    for name, member in members.items():
        if member.is_primary and member.cluster.istiod_address is None:
            remotes = [m for m in members.values() if m.cluster.primary == name]
            what = (
                "the address of its east-west gateway (to be stated in"
                f" contexts.{member.cluster.context}.controlPlaneAddress)"
            )
            blocks = (
                f"the control plane of {count_text(len(remotes), 'cluster')} without one of"
                " their own"
            )
            pending.append(Pending("address", name, what, blocks, address_command(member.cluster)))
    return pending


def _pending_gateways(
    topology: Topology,
    joined_clusters: tuple[Cluster, ...],
    members: Mapping[str, Member],
    traits: TargetTraits,
) -> list[Pending]:
    """Networks that some cluster of another network should reach, and whose gateways are not (all)
    known.
    """
    pending = {}
    for member in members.values():
        for network in member.networks:
            others = network.name != member.cluster.network and len(member.networks) > 1
            unknown = network.name in topology.pending_networks or (
                not network.gateways and not traits.finds_gateways_by_label
            )
            if others and network.name not in pending and unknown:
                cluster = next(c for c in joined_clusters if c.network == network.name)
                clusters = sum(
                    1
                    for m in members.values()
                    if m.cluster.network != network.name
                    and any(n.name == network.name for n in m.networks)
                )
                blocks = f"traffic into it from {count_text(clusters, 'cluster')} of other networks"
                what = (
                    f"the address of its gateway (to be stated in networks.{network.name}.gateways)"
                )
                pending[network.name] = Pending(
                    "gateway",
                    network.name,
                    what,
                    blocks,
                    traits.gateway_command(cluster),
                )
    return [pending[name] for name in sorted(pending)]


def _warnings(members: Mapping[str, Member]) -> list[Problem]:
    """Two names for one API server make one cluster a peer of itself."""
    seen: dict[tuple[str, str | None], str] = {}
    warnings = []
    for name, member in members.items():
        if member.server is None:
            continue
        first = seen.setdefault(
            (member.server.url.rstrip("/"), member.server.tls_server_name), name
        )
        if first != name:
            warnings.append(
                Problem(
                    member.cluster.place,
                    f'has the same API server as "{first}": {member.server.url}',
                    id="server-unique",
                    code="api-server-shared",
                )
            )
    return warnings
