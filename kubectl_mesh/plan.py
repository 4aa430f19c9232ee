"""plan: a valid `Topology` and what is known of its clusters become a `Plan`; total and pure."""

import posixpath
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kubectl_mesh import words
from kubectl_mesh.errors import Problem
from kubectl_mesh.model import Cluster, Gateway, Member, Network, Pending, Plan, Server, Topology


@dataclass(frozen=True, slots=True)
class Traits:
    """What a target decides for the plan: the port of a gateway, and how to ask a cluster for its gateway's address."""

    gateway_port: int
    gateway_command: Callable[[Cluster], str]


def kubectl(cluster: Cluster, *words: str) -> str:
    """A kubectl command for a cluster, quoted for a shell."""
    return shlex.join(["kubectl", f"--context={cluster.context}", *words])


def reader_secret(cluster: Cluster) -> str:
    """The Secret that Kubernetes fills with the reader's token; the name that istioctl gives it."""
    return f"{cluster.reader}-istio-remote-secret-token"


def token_command(cluster: Cluster, directory: str) -> str:
    """The command that fetches the token of a cluster's reader into its file, readable by nobody else."""
    get = kubectl(cluster, "-n", cluster.namespace, "get", "secret", reader_secret(cluster), "-o", "go-template={{.data.token | base64decode}}")
    path = _join(directory, cluster.token_file)
    folder = posixpath.dirname(path)
    make = f"mkdir -p {shlex.quote(folder)}; " if folder else ""
    return f"(umask 077; {make}{get} > {shlex.quote(path)})"


def _join(directory: str, name: str) -> str:
    return name if directory in (".", "") else f"{directory}/{name}"


def plan(topology: Topology, servers: Mapping[str, Server], tokens: Mapping[str, str], traits: Traits, directory: str = ".") -> Plan:
    """Who discovers whom, over which networks, and what is still unknown. `directory` is for the commands that are printed."""
    joined = tuple(c for c in topology.clusters if c.joined)
    everyone = _networks(topology, joined, joined, traits)
    members: dict[str, Member] = {}
    holders: dict[str, int] = dict.fromkeys((c.name for c in topology.clusters), 0)
    by_name = {c.name: c for c in topology.clusters}
    for cluster in topology.clusters:
        if not cluster.joined:
            peers: tuple[str, ...] = ()
            networks: tuple[Network, ...] = ()
        elif cluster.peers is None:
            peers = tuple(c.name for c in joined if c is not cluster)
            networks = everyone
        else:
            peers = tuple(sorted(cluster.peers))
            networks = _networks(topology, joined, sorted((cluster, *(by_name[p] for p in peers)), key=lambda c: c.name), traits)
        for peer in peers:
            holders[peer] += 1
        members[cluster.name] = Member(cluster, peers, networks, servers.get(cluster.name), tokens.get(cluster.name))
    pending = [*_pending_readers(members, holders, directory), *_pending_gateways(topology, joined, members, traits)]
    return Plan(topology, members, tuple(pending), tuple(sorted({*topology.warnings, *_warnings(members)})))


def _networks(topology: Topology, joined: tuple[Cluster, ...], visible: "tuple[Cluster, ...] | list[Cluster]", traits: Traits) -> tuple[Network, ...]:
    """The networks of the visible clusters; the gateways of a network are those of all clusters on it."""
    clusters: dict[str, list[str]] = {}
    for cluster in visible:
        clusters.setdefault(cluster.network, []).append(cluster.name)
    gateways: dict[str, set[Gateway]] = {network: set(topology.networks.get(network, ())) for network in clusters}
    for cluster in joined:
        if cluster.network in gateways:
            gateways[cluster.network].update(cluster.gateways)
    return tuple(
        Network(
            network,
            tuple(clusters[network]),
            tuple(sorted({Gateway(g.address, g.port or traits.gateway_port) for g in gateways[network]})),
        )
        for network in sorted(clusters)
    )


def _pending_readers(members: Mapping[str, Member], holders: Mapping[str, int], directory: str) -> list[Pending]:
    found = []
    for name, member in members.items():
        cluster, count = member.cluster, holders[name]
        held = f"its remote secret in {words.count(count, 'cluster')}"
        if not count:
            continue
        if member.server is None:
            where = "" if directory in (".", "") else f" -C {shlex.quote(directory)}"
            dash = "-- " if cluster.context.startswith("-") else ""
            command = f"kubectl mesh add{where} --network {cluster.network} {dash}{shlex.quote(cluster.context)}"
            found.append(Pending("server", name, "its API server (as the peers reach it)", held, command))
        if member.token is None:
            found.append(Pending("token", name, f"its token ({_join(directory, cluster.token_file)})", held, token_command(cluster, directory)))
    return found


def _pending_gateways(topology: Topology, joined: tuple[Cluster, ...], members: Mapping[str, Member], traits: Traits) -> list[Pending]:
    """Networks that some cluster of another network should reach, and whose gateways are not (all) known."""
    found = {}
    for member in members.values():
        for network in member.networks:
            others = network.name != member.cluster.network and len(member.networks) > 1
            if others and network.name not in found and (not network.gateways or network.name in topology.awaited):
                cluster = next(c for c in joined if c.network == network.name)
                clusters = sum(1 for m in members.values() if m.cluster.network != network.name and any(n.name == network.name for n in m.networks))
                held = f"traffic into it from {words.count(clusters, 'cluster')} of other networks"
                what = f"the address of its gateway (to be stated in networks.{network.name}.gateways)"
                found[network.name] = Pending(
                    "gateway",
                    network.name,
                    what,
                    held,
                    traits.gateway_command(cluster),
                )
    return [found[name] for name in sorted(found)]


def _warnings(members: Mapping[str, Member]) -> list[Problem]:
    """Two names for one API server make one cluster a peer of itself."""
    seen: dict[tuple[str, str | None], str] = {}
    found = []
    for name, member in members.items():
        if member.server is None:
            continue
        first = seen.setdefault((member.server.url.rstrip("/"), member.server.tls_server_name), name)
        if first != name:
            found.append(Problem(member.cluster.place, f'has the same API server as "{first}": {member.server.url}', id="server-unique"))
    return found
