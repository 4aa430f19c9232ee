"""Gateways, their addresses, and exposed control planes that would leave while others use them."""

import re
from collections.abc import Iterator, Sequence

from kubectl_mesh.errors import Problem
from kubectl_mesh.observed.lazy_state import has_same_public_files, is_public_manifest
from kubectl_mesh.safety.mesh_pair import ClusterState, MeshPair, has_same_lines
from kubectl_mesh.safety.refusal import (
    IN_USE_CHECK,
    STEPS_WITHOUT_TRAFFIC,
    Refusal,
    join_names,
    names_text,
)
from kubectl_mesh.text import mesh_command

_ISTIOD_GATEWAY = "3-mesh/istiod-gateway.yaml"
"""What exposes istiod to the clusters that it serves."""
_ADDRESS_LINES = re.compile(rb"^.*(?:address|registryServiceName).*", re.MULTILINE)
"""Lines of a control plane: where these are the same before and after, so are the addresses of
gateways in it.
"""


def find_lost_gateways(mesh: MeshPair) -> list[Refusal]:
    """Gateways, their addresses and exposed control planes that leave while others use them."""
    return [
        *_gateway_refusals(mesh),
        *_service_refusals(mesh),
        *_address_refusals(mesh),
        *_cycle_refusals(mesh),
        *_exposure_refusals(mesh),
    ]


def _gateway_refusals(mesh: MeshPair) -> Iterator[Refusal]:
    """Gateways that leave while other networks reach a cluster by them, and nothing else leads
    there.
    """
    for name, old in sorted(mesh.old.items()):
        new = mesh.new.get(name)
        if new is not None and (
            name not in mesh.changed_clusters
            or new.lacks_control_plane
            or not _has_lost_files(old, new)
        ):
            continue
        gone = sorted(old.gateways - (new.gateways if new is not None else frozenset()))
        users = _gateway_users(mesh, old) if gone else []
        if users:
            network = old.lock.network
            what = (
                f"the gateway {gone[0][1]} of the network {network} would leave the tree of {name}"
                f" while {names_text(users)} reach{'es' if len(users) == 1 else ''} "
            )
            what += "the network by it"
            fix = (
                "give the network another way in first:\n  1. enable a gateway in another cluster"
                f" of the network, or state the address of one in networks.{network}.gateways;"
                " render, and apply it\n  2. make this change, render, and apply it"
            )
            yield Refusal(
                Problem(
                    mesh.file_place(name, "3-mesh"),
                    what,
                    fix,
                    IN_USE_CHECK,
                    code="gateway-in-use-would-be-removed",
                ),
                join_names([name], users),
            )


def _has_lost_files(old: ClusterState, new: ClusterState) -> bool:
    """Whether a file leaves that may be a gateway: each is a file of its own."""
    return any(
        path not in new.files
        for path in old.files
        if is_public_manifest(path) and not path.startswith("3-mesh/reader")
    )


def _gateway_users(mesh: MeshPair, old: ClusterState) -> list[str]:
    """The clusters that reach a network by the gateways of one cluster, and by no other."""
    network = old.lock.network
    there = [n for n in mesh.staying_clusters if mesh.old[n].lock.network == network]
    rest = [n for n in there if n != old.name and mesh.old[n].gateways & mesh.new[n].gateways]
    found = []
    for user in mesh.staying_clusters:
        served = mesh.old[user].lock.served_by == old.name == mesh.new[user].lock.served_by
        across = mesh.old[user].lock.network != network and any(
            mesh.can_read_before(user, n) and mesh.can_read_after(user, n)
            for n in there
            if n != user
        )
        other = (
            any(mesh.can_read_before(user, n) and mesh.can_read_after(user, n) for n in rest)
            or network in mesh.old[user].static_networks
        )
        if user != old.name and (served or (across and not other)):
            found.append(user)
    return found


def _service_refusals(mesh: MeshPair) -> Iterator[Refusal]:
    """Gateways whose Service gets another type or loses a port while other networks send traffic to
    the address that it has.
    """
    lost: dict[str, list[str]] = {}
    for name in mesh.changed_clusters:
        old, new = mesh.old[name], mesh.new[name]
        if new.lacks_control_plane or has_same_public_files(old.files, new.files):
            continue
        if any(
            old.gateway_services[key] - new.gateway_services[key]
            for key in old.gateway_services.keys() & new.gateway_services.keys()
        ):
            lost.setdefault(old.lock.network, []).append(name)
    for network, names in lost.items():
        users = _address_users(mesh, network)
        stated = [n for n in users if network in mesh.old[n].static_networks]
        # istiod reads another port from a label by itself, and the address of a load balancer as
        # long as there is one.
        dropped = [
            n
            for n in names
            if network in mesh.old[n].labelled_networks
            and mesh.old[n].load_balanced_gateways - mesh.new[n].load_balanced_gateways
        ]
        if stated:
            yield _service_refusal(mesh, network, names, stated, is_stated=True)
        elif users and dropped:
            yield _service_refusal(mesh, network, dropped, users, is_stated=False)


def _address_users(mesh: MeshPair, network: str) -> list[str]:
    """The clusters of other networks that send traffic to clusters of a network."""
    there = [n for n in mesh.staying_clusters if mesh.old[n].lock.network == network]
    return [
        n
        for n in mesh.staying_clusters
        if mesh.old[n].lock.network != network
        and any(mesh.can_read_before(n, p) and mesh.can_read_after(n, p) for p in there if p != n)
    ]


def _service_refusal(
    mesh: MeshPair, network: str, names: Sequence[str], users: Sequence[str], *, is_stated: bool
) -> Refusal:
    """`users` send traffic to the address of the gateways of `names`, which is stated to them, or
    which istiod finds.
    """
    what = (
        f"the gateway of {names_text(names)} would get another"
        f" {'port or type' if is_stated else 'type'} of Service while {names_text(users)}"
        f" use{'s' if len(users) == 1 else ''} the address that"
        f" {'is stated for' if is_stated else 'istiod finds in'} the network {network}"
    )
    change = "make this change" + (
        f", and state the new address and port of the network {network}" if is_stated else ""
    )
    fix = "change the gateway without traffic from others:\n" + STEPS_WITHOUT_TRAFFIC.format(
        who=names_text(names), change=change
    )
    place, code = mesh.file_place(names[0], "3-mesh"), "gateway-service-in-use-would-change"
    return Refusal(Problem(place, what, fix, IN_USE_CHECK, code=code), join_names(names, users))


def _cycle_refusals(mesh: MeshPair) -> Iterator[Refusal]:
    """Gateways that istiod finds by label before a change and by stated addresses after it, or the
    reverse, where clusters wait for each other.
    """
    waits: dict[str, set[str]] = {n: set() for n in mesh.changed_clusters}
    networks = set()
    for name in mesh.changed_clusters:
        if has_same_public_files(mesh.old[name].files, mesh.new[name].files):
            continue
        old, new = mesh.old[name].labelled_networks, mesh.new[name].labelled_networks
        for network in old ^ new:
            others = [
                n
                for n in mesh.changed_clusters
                if n != name
                and network
                in (mesh.new[n].static_networks if network in old else mesh.old[n].static_networks)
            ]
            for other in others:
                waits[name if network in old else other].add(other if network in old else name)
            networks.update([network] if others else [])
    while ready := [n for n, first in waits.items() if not first & waits.keys()]:
        for name in ready:
            del waits[name]
    if waits:
        names = sorted(waits)
        what = (
            "whether istiod finds gateways by label or by stated addresses would change for the"
            f" networks {names_text(sorted(networks))} at once: "
        )
        what += (
            f"{names_text(names)} would wait for each other, and lose each other until all have it"
        )
        fix = (
            "change `gateways` of one network at a time: render, and apply it in every cluster,"
            " before the next"
        )
        yield Refusal(
            Problem(
                mesh.file_place(names[0], "3-mesh"),
                what,
                fix,
                IN_USE_CHECK,
                code="gateways-would-change-in-a-circle",
            ),
            join_names(names, ()),
        )


def _address_refusals(mesh: MeshPair) -> Iterator[Refusal]:
    """Addresses of gateways that leave a cluster which still sends traffic to that network."""
    lost: dict[str, list[str]] = {}
    for name in mesh.changed_clusters:
        old, new = mesh.old[name], mesh.new[name]
        if new.lacks_control_plane or (
            has_same_lines(old, new, _ADDRESS_LINES) and not _has_lost_files(old, new)
        ):
            continue
        for network in sorted(old.static_networks - new.static_networks):
            there = [
                n
                for n in mesh.staying_clusters
                if mesh.new[n].lock.network == network
                and mesh.can_read_before(name, n)
                and mesh.can_read_after(name, n)
            ]
            if (
                there
                and new.lock.network != network
                and not any(network in mesh.new[n].labelled_networks for n in there)
            ):
                lost.setdefault(network, []).append(name)
    for network, names in lost.items():
        what = (
            f"the addresses of the network {network} would leave {names_text(names)}, which"
            f" send{'s' if len(names) == 1 else ''} traffic there by nothing else"
        )
        fix = (
            f"state them again in networks.{network}.gateways, or enable a gateway of the network"
            " first; render, and apply it"
        )
        yield Refusal(
            Problem(
                mesh.file_place(names[0], "2-control-plane"),
                what,
                fix,
                IN_USE_CHECK,
                code="gateway-addresses-in-use-would-be-removed",
            ),
            join_names(names, ()),
        )


def _exposure_refusals(mesh: MeshPair) -> Iterator[Refusal]:
    """Control planes that stop serving clusters which still use them."""
    for name in mesh.changed_clusters:
        if (
            _ISTIOD_GATEWAY in mesh.old[name].files
            and _ISTIOD_GATEWAY not in mesh.new[name].files
            and not mesh.new[name].lacks_control_plane
        ):
            users = [n for n in mesh.staying_clusters if mesh.old[n].lock.served_by == name]
            if users:
                what = (
                    f"what exposes the istiod of {name} would leave its tree while it serves"
                    f" {names_text(users)}"
                )
                fix = (
                    "keep the control plane exposed until no proxy uses it:\n  1. take"
                    f" {names_text(users)} out of the mesh (`{mesh_command('remove')}`), render,"
                    " and"
                    " apply it\n  2. add it again with its new control plane, render, and apply it;"
                    " then restart its workloads"
                )
                yield Refusal(
                    Problem(
                        mesh.file_place(name, _ISTIOD_GATEWAY),
                        what,
                        fix,
                        IN_USE_CHECK,
                        code="control-plane-exposure-in-use-would-be-removed",
                    ),
                    join_names([name], users),
                )
