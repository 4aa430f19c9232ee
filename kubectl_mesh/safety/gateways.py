"""Gateways, their addresses, and exposed control planes that would leave while others use them."""

import re
from collections.abc import Iterator, Sequence

from kubectl_mesh.errors import Problem
from kubectl_mesh.observed.lazy import has_same_public_files, is_public_manifest
from kubectl_mesh.safety.mesh_pair import ClusterState, MeshPair, has_same_lines
from kubectl_mesh.safety.refusal import BY_HAND, IN_USE, Refusal, join_names, name_some
from kubectl_mesh.text import mesh_command

_EXPOSED = "3-mesh/istiod-gateway.yaml"
"""What exposes istiod to the clusters that it serves."""
_ADDRESSES = re.compile(rb"^.*(?:address|registryServiceName).*", re.MULTILINE)
"""Lines of a control plane: where these are the same before and after, so are the addresses of
gateways in it.
"""


def find_lost_ways(mesh: MeshPair) -> list[Refusal]:
    """Gateways, their addresses and exposed control planes that leave while others use them."""
    return [
        *_gateway_refusals(mesh),
        *_service_refusals(mesh),
        *_address_refusals(mesh),
        *_circle_refusals(mesh),
        *_exposure_refusals(mesh),
    ]


def _gateway_refusals(mesh: MeshPair) -> Iterator[Refusal]:
    """Gateways that leave while other networks reach a cluster by them, and nothing else leads
    there.
    """
    for name, old in sorted(mesh.old.items()):
        new = mesh.new.get(name)
        if new is not None and (
            name not in mesh.changed or new.waits or not _loses_files(old, new)
        ):
            continue
        gone = sorted(old.gates - (new.gates if new is not None else frozenset()))
        users = _gateway_users(mesh, old) if gone else []
        if users:
            network = old.lock.network
            what = (
                f"the gateway {gone[0][1]} of the network {network} would leave the tree of {name}"
                f" while {name_some(users)} reach{'es' if len(users) == 1 else ''} "
            )
            what += "the network by it"
            fix = (
                "give the network another way in first:\n  1. enable a gateway in another cluster"
                f" of the network, or state the address of one in networks.{network}.gateways;"
                " render, and apply it\n  2. make this change, render, and apply it"
            )
            yield Refusal(
                Problem(
                    mesh.place(name, "3-mesh"),
                    what,
                    fix,
                    IN_USE,
                    code="gateway-in-use-would-be-removed",
                ),
                join_names([name], users),
            )


def _loses_files(old: ClusterState, new: ClusterState) -> bool:
    """Whether a file leaves that may be a gateway: each is a file of its own."""
    return any(
        path not in new.files
        for path in old.files
        if is_public_manifest(path) and not path.startswith("3-mesh/reader")
    )


def _gateway_users(mesh: MeshPair, old: ClusterState) -> list[str]:
    """The clusters that reach a network by the gateways of one cluster, and by no other."""
    network = old.lock.network
    there = [n for n in mesh.stay if mesh.old[n].lock.network == network]
    rest = [n for n in there if n != old.name and mesh.old[n].gates & mesh.new[n].gates]
    found = []
    for user in mesh.stay:
        served = mesh.old[user].lock.served_by == old.name == mesh.new[user].lock.served_by
        across = mesh.old[user].lock.network != network and any(
            mesh.reads(user, n) and mesh.wants(user, n) for n in there if n != user
        )
        other = (
            any(mesh.reads(user, n) and mesh.wants(user, n) for n in rest)
            or network in mesh.old[user].declared
        )
        if user != old.name and (served or (across and not other)):
            found.append(user)
    return found


def _service_refusals(mesh: MeshPair) -> Iterator[Refusal]:
    """Gateways whose Service gets another type or loses a port while other networks send traffic to
    the address that it has.
    """
    lost: dict[str, list[str]] = {}
    for name in mesh.changed:
        old, new = mesh.old[name], mesh.new[name]
        if new.waits or has_same_public_files(old.files, new.files):
            continue
        if any(
            old.services[key] - new.services[key]
            for key in old.services.keys() & new.services.keys()
        ):
            lost.setdefault(old.lock.network, []).append(name)
    for network, names in lost.items():
        users = _address_users(mesh, network)
        stated = [n for n in users if network in mesh.old[n].declared]
        # istiod reads another port from a label by itself, and the address of a load balancer as
        # long as there is one.
        dropped = [
            n
            for n in names
            if network in mesh.old[n].labelled and mesh.old[n].balanced - mesh.new[n].balanced
        ]
        if stated:
            yield _service_refusal(mesh, network, names, stated, is_stated=True)
        elif users and dropped:
            yield _service_refusal(mesh, network, dropped, users, is_stated=False)


def _address_users(mesh: MeshPair, network: str) -> list[str]:
    """The clusters of other networks that send traffic to clusters of a network."""
    there = [n for n in mesh.stay if mesh.old[n].lock.network == network]
    return [
        n
        for n in mesh.stay
        if mesh.old[n].lock.network != network
        and any(mesh.reads(n, p) and mesh.wants(n, p) for p in there if p != n)
    ]


def _service_refusal(
    mesh: MeshPair, network: str, names: Sequence[str], users: Sequence[str], *, is_stated: bool
) -> Refusal:
    """`users` send traffic to the address of the gateways of `names`, which is stated to them, or
    which istiod finds.
    """
    what = (
        f"the gateway of {name_some(names)} would get another"
        f" {'port or type' if is_stated else 'type'} of Service while {name_some(users)}"
        f" use{'s' if len(users) == 1 else ''} the address that"
        f" {'is stated for' if is_stated else 'istiod finds in'} the network {network}"
    )
    change = "make this change" + (
        f", and state the new address and port of the network {network}" if is_stated else ""
    )
    fix = "change the gateway without traffic from others:\n" + BY_HAND.format(
        who=name_some(names), change=change
    )
    place, code = mesh.place(names[0], "3-mesh"), "gateway-service-in-use-would-change"
    return Refusal(Problem(place, what, fix, IN_USE, code=code), join_names(names, users))


def _circle_refusals(mesh: MeshPair) -> Iterator[Refusal]:
    """Gateways that istiod finds by label before a change and by stated addresses after it, or the
    reverse, where clusters wait for each other.
    """
    waits: dict[str, set[str]] = {n: set() for n in mesh.changed}
    networks = set()
    for name in mesh.changed:
        if has_same_public_files(mesh.old[name].files, mesh.new[name].files):
            continue
        old, new = mesh.old[name].labelled, mesh.new[name].labelled
        for network in old ^ new:
            others = [
                n
                for n in mesh.changed
                if n != name
                and network in (mesh.new[n].declared if network in old else mesh.old[n].declared)
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
            f" networks {name_some(sorted(networks))} at once: "
        )
        what += (
            f"{name_some(names)} would wait for each other, and lose each other until all have it"
        )
        fix = (
            "change `gateways` of one network at a time: render, and apply it in every cluster,"
            " before the next"
        )
        yield Refusal(
            Problem(
                mesh.place(names[0], "3-mesh"),
                what,
                fix,
                IN_USE,
                code="gateways-would-change-in-a-circle",
            ),
            join_names(names, ()),
        )


def _address_refusals(mesh: MeshPair) -> Iterator[Refusal]:
    """Addresses of gateways that leave a cluster which still sends traffic to that network."""
    lost: dict[str, list[str]] = {}
    for name in mesh.changed:
        old, new = mesh.old[name], mesh.new[name]
        if new.waits or (has_same_lines(old, new, _ADDRESSES) and not _loses_files(old, new)):
            continue
        for network in sorted(old.declared - new.declared):
            there = [
                n
                for n in mesh.stay
                if mesh.new[n].lock.network == network
                and mesh.reads(name, n)
                and mesh.wants(name, n)
            ]
            if (
                there
                and new.lock.network != network
                and not any(network in mesh.new[n].labelled for n in there)
            ):
                lost.setdefault(network, []).append(name)
    for network, names in lost.items():
        what = (
            f"the addresses of the network {network} would leave {name_some(names)}, which"
            f" send{'s' if len(names) == 1 else ''} traffic there by nothing else"
        )
        fix = (
            f"state them again in networks.{network}.gateways, or enable a gateway of the network"
            " first; render, and apply it"
        )
        yield Refusal(
            Problem(
                mesh.place(names[0], "2-control-plane"),
                what,
                fix,
                IN_USE,
                code="gateway-addresses-in-use-would-be-removed",
            ),
            join_names(names, ()),
        )


def _exposure_refusals(mesh: MeshPair) -> Iterator[Refusal]:
    """Control planes that stop serving clusters which still use them."""
    for name in mesh.changed:
        if (
            _EXPOSED in mesh.old[name].files
            and _EXPOSED not in mesh.new[name].files
            and not mesh.new[name].waits
        ):
            users = [n for n in mesh.stay if mesh.old[n].lock.served_by == name]
            if users:
                what = (
                    f"what exposes the istiod of {name} would leave its tree while it serves"
                    f" {name_some(users)}"
                )
                fix = (
                    "keep the control plane exposed until no proxy uses it:\n  1. take"
                    f" {name_some(users)} out of the mesh (`{mesh_command('remove')}`), render, and"
                    " apply it\n  2. add it again with its new control plane, render, and apply it;"
                    " then restart its workloads"
                )
                yield Refusal(
                    Problem(
                        mesh.place(name, _EXPOSED),
                        what,
                        fix,
                        IN_USE,
                        code="control-plane-exposure-in-use-would-be-removed",
                    ),
                    join_names([name], users),
                )
