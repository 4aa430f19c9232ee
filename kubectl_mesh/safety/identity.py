"""Clusters that get another identity while others know the old one: name, network, namespace, data
plane, control plane, trust domain or revision.
"""

import re
import shlex
from collections.abc import Iterator

from kubectl_mesh.errors import Problem
from kubectl_mesh.safety.mesh_pair import ClusterState, MeshPair, has_same_lines
from kubectl_mesh.safety.refusal import (
    IDENTITY_CHECK,
    STEPS_WITHOUT_TRAFFIC,
    Refusal,
    join_names,
    names_text,
)
from kubectl_mesh.text import count_text, mesh_command

_DOMAIN_LINES = re.compile(rb"^.*rustDomain.*|^ *-.*", re.MULTILINE)
_DATA_PLANE_LINES = re.compile(rb"^.*(?:ztunnel|ambient).*", re.MULTILINE)
_REVISION_LINES = re.compile(rb"^ *(?:name|revision):.*", re.MULTILINE)
"""Lines of a control plane: where these are the same before and after, so is what is read from the
document.
"""


def find_placement_changes(mesh: MeshPair) -> list[Refusal]:
    """Clusters that get another network, namespace, data plane or control plane."""
    return [
        *_network_refusals(mesh),
        *_namespace_refusals(mesh),
        *_data_plane_refusals(mesh),
        *_server_refusals(mesh),
    ]


def find_name_changes(mesh: MeshPair) -> list[Refusal]:
    """Clusters that get another name or trust domain."""
    return [*_rename_refusals(mesh), *_trust_domain_refusals(mesh)]


def _network_refusals(mesh: MeshPair) -> Iterator[Refusal]:
    """Clusters that get another network: their endpoints move there in every istiod, whatever the
    packets can reach.
    """
    moves: dict[tuple[str, str], list[str]] = {}
    for name in mesh.changed_clusters:
        old, new = mesh.old[name].lock.network, mesh.new[name].lock.network
        if old and new and old != new and mesh.list_neighbours(name):
            moves.setdefault((old, new), []).append(name)
    for (old, new), names in moves.items():
        what = (
            f"the network of {names_text(names)} would change from {old} to {new} while other"
            f" clusters send traffic there by the gateways of {old}"
        )
        fix = "move the cluster without traffic from others:\n" + STEPS_WITHOUT_TRAFFIC.format(
            who=names_text(names), change=f"state the network {new}"
        )
        yield Refusal(
            Problem(
                mesh.file_place(names[0], "1-trust/namespace.yaml"),
                what,
                fix,
                IDENTITY_CHECK,
                code="network-would-change",
            ),
            join_names(names, {n for name in names for n in mesh.list_neighbours(name)}),
        )


def _namespace_refusals(mesh: MeshPair) -> Iterator[Refusal]:
    """Clusters whose Istio moves to another namespace, with the account that others read as and the
    Secrets that it reads.
    """
    moves: dict[tuple[str, str], list[str]] = {}
    for name in mesh.changed_clusters:
        old, new = mesh.old[name].lock.namespace, mesh.new[name].lock.namespace
        if old and new and old != new and mesh.list_neighbours(name):
            moves.setdefault((old, new), []).append(name)
    for (old, new), names in moves.items():
        what = (
            f"the namespace of Istio in {names_text(names)} would change from {old} to {new}, and"
            " the account by which other clusters read it leaves with it"
        )
        fix = "move the cluster without traffic from others:\n" + STEPS_WITHOUT_TRAFFIC.format(
            who=names_text(names), change=f"state the namespace {new}"
        )
        yield Refusal(
            Problem(
                mesh.file_place(names[0], "1-trust/namespace.yaml"),
                what,
                fix,
                IDENTITY_CHECK,
                code="istio-namespace-would-change",
            ),
            join_names(names, {n for name in names for n in mesh.list_neighbours(name)}),
        )


def _data_plane_refusals(mesh: MeshPair) -> Iterator[Refusal]:
    """Clusters that get another data plane, whose gateways speak another protocol."""
    moving = [
        n
        for n in mesh.changed_clusters
        if not mesh.new[n].lacks_control_plane
        and not has_same_lines(mesh.old[n], mesh.new[n], _DATA_PLANE_LINES)
    ]
    for ambient in (True, False):
        names = [
            n
            for n in moving
            if mesh.new[n].is_ambient == ambient != mesh.old[n].is_ambient
            and mesh.list_neighbours(n)
        ]
        if names:
            old, new = ("sidecar", "ambient") if ambient else ("ambient", "sidecar")
            what = (
                f"the data plane of {names_text(names)} would change from {old} to {new}, and the"
                " gateways that other clusters use leave with it"
            )
            change = f"state `dataPlane: {new}`"
            fix = (
                "change the data plane without traffic between clusters:\n"
                + STEPS_WITHOUT_TRAFFIC.format(who="every cluster", change=change)
            )
            yield Refusal(
                Problem(
                    mesh.file_place(names[0], "2-control-plane"),
                    what,
                    fix,
                    IDENTITY_CHECK,
                    code="data-plane-would-change",
                ),
                join_names(names, {n for name in names for n in mesh.list_neighbours(name)}),
            )


def _server_refusals(mesh: MeshPair) -> Iterator[Refusal]:
    """Clusters whose own istiod leaves because the istiod of another cluster serves them: their
    proxies have none until that one answers.
    """
    moves: dict[str, list[str]] = {}
    for name in mesh.changed_clusters:
        server = mesh.new[name].lock.served_by
        if (
            server
            and not mesh.old[name].lock.served_by
            and mesh.old[name].revisions
            and mesh.list_neighbours(name)
        ):
            moves.setdefault(server, []).append(name)
    for server, names in moves.items():
        context = (mesh.new[server].lock.context if server in mesh.new else "") or server
        what = (
            f"the control plane of {names_text(names)} would leave in the same change in which the"
            f" istiod of {server} takes over"
        )
        what += ", while other clusters send traffic there"
        fix = (
            "move the cluster without traffic from others:\n  1. state `disableRegistryJoin: true`"
            f" for {names_text(names)} and nothing else, render, and apply it in every cluster;"
            " until step 2 is done the clusters do not reach each other\n  2. state `controlPlane:"
            f" {context}` in its place, and `controlPlaneAddress` for {context}; render, and apply"
            f" it in {server} first, then in the others; restart the workloads of"
            f" {names_text(names)}"
        )
        yield Refusal(
            Problem(
                mesh.file_place(names[0], "2-control-plane"),
                what,
                fix,
                IDENTITY_CHECK,
                code="control-plane-would-move-to-another-cluster",
            ),
            join_names(names, {n for name in names for n in mesh.list_neighbours(name)}),
        )


def _rename_refusals(mesh: MeshPair) -> Iterator[Refusal]:
    """Clusters that get another name: their proxies keep the old one, and peers lose the remote
    secret in use.
    """
    come = {n: mesh.new[n] for n in mesh.new if n not in mesh.old}
    for name, old in sorted(mesh.old.items()):
        if name in mesh.new:
            continue
        new = next((n for n, d in sorted(come.items()) if _is_same_cluster(mesh, old, d)), None)
        if new is None:
            continue
        readers = [n for n in mesh.staying_clusters if mesh.can_read_before(n, name)]
        what = (
            f"the cluster {name} would be renamed to {new} while it runs: its proxies keep the old"
            " name, and "
        )
        what += (
            f"{count_text(len(readers), 'peer')} would lose the remote secret by which they read it"
            if readers
            else "istiod refuses them"
        )
        context = shlex.quote(old.lock.context or name)
        fix = (
            "put clusterName back, and take the cluster out before it comes back under its new"
            f" name:\n  1. {mesh_command(f'remove {context}')}; render, apply it in every cluster,"
            " and run the printed commands; until step 2 peers do not reach it\n  2. add it again"
            f" with `clusterName: {new}`, render, and apply it in every cluster; then restart the"
            " workloads in it"
        )
        yield Refusal(
            Problem(
                mesh.file_place(name), what, fix, IDENTITY_CHECK, code="cluster-would-be-renamed"
            ),
            join_names([name], readers),
        )


def _is_same_cluster(mesh: MeshPair, old: ClusterState, new: ClusterState) -> bool:
    """Whether two names are those of one cluster: the same API server, or the same context where no
    CA says otherwise.
    """
    one, other = mesh.find_source(old.name, after=False), mesh.find_source(new.name, after=True)
    if one is not None and other is not None:
        return one == other or (old.lock.context == new.lock.context and one.ca == other.ca)
    return bool(old.lock.context) and old.lock.context == new.lock.context


def _trust_domain_refusals(mesh: MeshPair) -> Iterator[Refusal]:
    """Trust domains that some proxies have and others do not accept yet. While the change is under
    way, clusters of both states meet.
    """
    moving = [
        n
        for n in mesh.changed_clusters
        if not mesh.new[n].lacks_control_plane
        and not has_same_lines(mesh.old[n], mesh.new[n], _DOMAIN_LINES)
    ]
    if not any(mesh.old[n].trust_domains[0] != mesh.new[n].trust_domains[0] for n in moving):
        return
    domains = {
        n: mesh.old[n].trust_domains[0] | mesh.new[n].trust_domains[0]
        for n in mesh.staying_clusters
        if mesh.old[n].revisions and mesh.new[n].revisions
    }
    everyone = frozenset[str]().union(*domains.values())
    names = [
        n
        for n in domains
        if everyone - (mesh.old[n].trust_domains[1] & mesh.new[n].trust_domains[1])
    ]
    if not names:
        return
    old = {d for n in moving for d in mesh.old[n].trust_domains[0]}
    new = {d for n in moving for d in mesh.new[n].trust_domains[0]}
    one, other = " and ".join(sorted(old)), " and ".join(sorted(new - old or new))
    what = (
        f"the trust domain would change from {one} to {other}, and"
        f" {count_text(len(names), 'cluster')} would refuse workloads that have the other one"
    )
    fix = (
        f"let every cluster accept both first:\n  1. keep the trust domain {one}, and list {other}"
        " in meshConfig.trustDomainAliases of base.yaml; render, and apply it in every cluster\n "
        f" 2. state `trustDomain: {other}`, and list {one} as well in trustDomainAliases; render,"
        " and apply it in every cluster\n  3. remove both aliases once every workload has a"
        f" certificate of {other} (a day, or restart them)"
    )
    yield Refusal(
        Problem(
            mesh.file_place(min(moving), "2-control-plane"),
            what,
            fix,
            IDENTITY_CHECK,
            code="trust-domain-would-change",
        ),
        join_names(sorted(moving), names),
    )


def find_revision_changes(mesh: MeshPair) -> Iterator[Refusal]:
    """Clusters whose istiod leaves in the same change in which one of another revision comes."""
    moves: dict[tuple[str, str], list[str]] = {}
    for name in mesh.changed_clusters:
        old, new = mesh.old[name], mesh.new[name]
        if new.lacks_control_plane or has_same_lines(old, new, _REVISION_LINES):
            continue
        if old.revisions and new.revisions and not old.revisions & new.revisions:
            key = tuple(
                " and ".join(r or "default" for r in sorted(d.revisions)) for d in (old, new)
            )
            moves.setdefault((key[0], key[1]), []).append(name)
    for (old_name, new_name), names in moves.items():
        what = (
            f"the control plane of the revision {old_name} in {names_text(names)} would leave in"
            " the"
            f" same change in which {new_name} comes"
        )
        what += ": workloads of the old revision have no istiod then"
        fix = (
            f"let both run first:\n  1. keep the revision {old_name}, and state {new_name} in"
            " `istio.canary`; render, and apply it\n  2. move every workload: label its namespace"
            f" istio.io/rev={new_name}, and restart it\n  3. state `revision: {new_name}` in the"
            " place of the canary; render, and apply it"
        )
        yield Refusal(
            Problem(
                mesh.file_place(names[0], "2-control-plane"),
                what,
                fix,
                IDENTITY_CHECK,
                code="revision-would-be-replaced-in-one-step",
            ),
            join_names(names, ()),
        )
