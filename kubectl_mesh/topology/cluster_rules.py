"""Rules for clusters and networks: names, gateways, peers, control planes."""

from collections.abc import Collection, Iterator
from typing import Any

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model.address import is_address, is_loopback
from kubectl_mesh.text import value_text
from kubectl_mesh.topology.names import (
    LABEL_PATTERN,
    LABEL_RULE,
    NAME_EMPTY,
    NAME_TAKEN,
    NAME_TOO_LONG,
    PENDING_ADDRESS,
    derive_cluster_name,
)
from kubectl_mesh.topology.stated_topology import StatedTopology


def name_problems(topology: StatedTopology) -> Iterator[Problem]:
    """Invalid and duplicate cluster names."""
    taken: dict[str, str] = {}
    for context, entry in topology.contexts.items():
        stated = entry.get("clusterName")
        name = stated if isinstance(stated, str) else derive_cluster_name(context)
        where = topology.document.field_place(
            "contexts", context, *(("clusterName",) if isinstance(stated, str) else ())
        )
        ask = f"state a clusterName for it: {LABEL_RULE}"
        if not name:
            yield Problem(
                where,
                f"the context's name {value_text(context)} leaves nothing for the cluster's name",
                ask,
                code=NAME_EMPTY,
            )
        elif len(name) > 63:
            yield Problem(
                where,
                f"the context's name makes a cluster's name of {len(name)} characters, of which 63"
                " are allowed",
                ask,
                code=NAME_TOO_LONG,
            )
        elif name in taken:
            yield Problem(
                where,
                f'has the cluster name "{name}", as the context {value_text(taken[name])} has',
                "state a clusterName for one of the two",
                code=NAME_TAKEN,
            )
        elif LABEL_PATTERN.match(name):
            taken[name] = context


def network_problems(topology: StatedTopology) -> Iterator[Problem]:
    """Networks without a cluster, and invalid or duplicate gateway addresses."""
    used = {
        entry["network"]
        for entry in topology.contexts.values()
        if isinstance(entry.get("network"), str)
    }
    described = topology.value.get("networks")
    for network in described if isinstance(described, dict) else {}:
        if network not in used:
            yield Problem(
                topology.document.field_place("networks", network),
                (
                    "no context is on this"
                    f" network{topology.suggestions.did_you_mean(network, lambda: used)}"
                ),
                "remove it, or put a context on it",
                code="network-unused",
            )
    seen: dict[str, list[tuple[int | None, str]]] = {}
    for network, path, gateway in topology.list_gateways():
        address, port = gateway.get("address"), gateway.get("port")
        if not isinstance(address, str) or not isinstance(port, int | None):
            continue
        place = topology.document.field_place(*path, "address")
        if address == PENDING_ADDRESS:
            continue
        if fault := _address_problem(place, address):
            yield fault
        else:
            # No port is the target's default, whichever that is.
            others = [
                net
                for other, net in seen.get(address, ())
                if net != network and (other == port or None in (other, port))
            ]
            seen.setdefault(address, []).append((port, network))
            if others:
                yield Problem(
                    place,
                    f"{value_text(address)} is a gateway of network {value_text(others[0])} too",
                    "a gateway leads into one network",
                    code="gateway-of-two-networks",
                )


def _address_problem(place: Place, address: str) -> Problem | None:
    """Why no other cluster reaches an address, where that can be seen."""
    if _looks_numeric(address) and not is_address(address):
        what = f"{value_text(address)} is neither an IP address nor a host name"
        return Problem(place, what, code="address-invalid")
    if is_loopback(f"https://[{address}]" if ":" in address else f"https://{address}"):
        what = f"{value_text(address)} is a loopback address, which no other cluster reaches"
        return Problem(place, what, code="address-loopback")
    return None


def _looks_numeric(address: str) -> bool:
    """Whether somebody who wrote this meant an IP address."""
    return ":" in address or set(address) <= set("0123456789.")


def peer_problems(topology: StatedTopology) -> Iterator[Problem]:
    """Peers that do not exist or cannot be discovered."""
    for context, entry in topology.contexts.items():
        peers = entry.get("peers")
        if not isinstance(peers, list):
            continue
        if entry.get("disableRegistryJoin") is True and peers:
            yield Problem(
                topology.document.field_place("contexts", context, "peers"),
                "the cluster discovers nobody, for it has disableRegistryJoin: true",
                "remove one of the two",
                code="peers-without-join",
            )
        for index, peer in enumerate(peers):
            place = topology.document.field_place("contexts", context, "peers", index)
            if not isinstance(peer, str):
                continue
            if peer not in topology.contexts:
                yield Problem(
                    place,
                    "no such context in this mesh:"
                    f" {value_text(peer)}{topology.suggest_context(peer, context)}",
                    code="context-unknown",
                )
            elif peer == context:
                yield Problem(
                    place,
                    "names the cluster itself, which always knows its own services",
                    "remove it",
                    code="peer-is-itself",
                )
            elif topology.contexts[peer].get("disableRegistryJoin") is True:
                yield Problem(
                    place,
                    (
                        f"{value_text(peer)} cannot be discovered, for it has disableRegistryJoin:"
                        " true"
                    ),
                    "remove one of the two",
                    code="peer-not-joined",
                )


def release_problems(topology: StatedTopology) -> Iterator[Problem]:
    """Control planes of a cluster with the same revision."""
    mesh = topology.value.get("istio")
    for path, entry in (
        (("istio",), mesh),
        *((("contexts", c, "istio"), e.get("istio")) for c, e in topology.contexts.items()),
    ):
        if not isinstance(entry, dict):
            continue
        whole = {**(mesh if isinstance(mesh, dict) else {}), **entry}
        canary = whole.get("canary")
        if (
            isinstance(canary, dict)
            and isinstance(canary.get("revision"), str)
            and canary["revision"] in (whole.get("revision"), "default")
        ):
            where = topology.document.field_place(*path, "canary", "revision")
            yield Problem(
                where,
                f"{value_text(canary['revision'])} is the revision of the first control plane too",
                "give the canary another",
                code="revision-repeated",
            )
        if entry.get("revision") == "default":
            yield Problem(
                topology.document.field_place(*path, "revision"),
                '"default" is what Istio calls the control plane without a revision',
                "remove it",
                code="revision-default",
            )


def control_plane_problems(topology: StatedTopology) -> Iterator[Problem]:
    """Clusters without a control plane whose primary cannot serve them."""
    served = {
        e.get("controlPlane")
        for e in topology.contexts.values()
        if isinstance(e.get("controlPlane"), str)
    }
    for context, entry in topology.contexts.items():
        yield from _control_plane_address_problems(topology, context, served)
        primary = entry.get("controlPlane")
        if isinstance(primary, str):
            if fault := _primary_problem(topology, context, primary):
                yield fault
            yield from _primary_key_problems(topology, context)


def _control_plane_address_problems(
    topology: StatedTopology, context: str, served: Collection[str | None]
) -> Iterator[Problem]:
    """The address of a control plane is one that other clusters reach, and some do."""
    entry = topology.contexts[context]
    address = entry.get("controlPlaneAddress")
    if not isinstance(address, str):
        return
    where = topology.document.field_place("contexts", context, "controlPlaneAddress")
    if context not in served and "controlPlane" not in entry:
        # The last cluster that was served may just have gone.
        topology.warnings.append(
            Problem(
                where,
                "no other context names this one as its controlPlane",
                "remove it, or name this context there",
                "control-plane-address",
                code="control-plane-address-unused",
            )
        )
    if address != PENDING_ADDRESS and (fault := _address_problem(where, address)):
        yield fault


def _primary_problem(topology: StatedTopology, context: str, primary: str) -> Problem | None:
    """Why the istiod of a context cannot serve another one."""
    place = topology.document.field_place("contexts", context, "controlPlane")
    primary_entry = topology.contexts.get(primary)
    if primary == context:
        return Problem(
            place,
            "names the cluster itself",
            "remove it: a cluster has a control plane of its own where nothing else is said",
            code="control-plane-is-itself",
        )
    if primary_entry is None:
        return Problem(
            place,
            (
                "no such context in this mesh:"
                f" {value_text(primary)}{topology.suggest_context(primary, context)}"
            ),
            code="context-unknown",
        )
    if "controlPlane" in primary_entry:
        return Problem(
            place,
            f"{value_text(primary)} has no control plane of its own",
            "name a context that has one",
            code="control-plane-missing",
        )
    if primary_entry.get("disableRegistryJoin") is True:
        return Problem(
            place,
            f"{value_text(primary)} keeps out of the mesh, for it has disableRegistryJoin: true",
            "name another context",
            code="control-plane-not-joined",
        )
    if isinstance(primary_entry.get("peers"), list) and context not in primary_entry["peers"]:
        return Problem(
            place,
            (
                f"istiod of {value_text(primary)} could not serve this cluster, for it does not"
                " discover it"
            ),
            f"add {value_text(context)} to the peers of {value_text(primary)}",
            code="control-plane-without-peer",
        )
    return _primary_difference_problem(topology, context, primary)


def _primary_difference_problem(
    topology: StatedTopology, context: str, primary: str
) -> Problem | None:
    """What a cluster and the one whose istiod serves it must have in common, and do not."""
    entry, other = topology.contexts[context], topology.contexts[primary]
    if other.get("namespace", "istio-system") != entry.get("namespace", "istio-system"):
        return Problem(
            topology.document.field_place("contexts", context, "namespace"),
            f"istiod of {value_text(primary)} lives in another namespace than this cluster's part"
            " of"
            " Istio",
            "give both the same namespace",
            code="control-plane-namespace-differs",
        )
    istio, wanted = _istio_settings(topology, entry), _istio_settings(topology, other)
    if any(istio.get(key) != wanted.get(key) for key in ("version", "revision")):
        return Problem(
            topology.document.field_place("contexts", context, "istio"),
            f"differs from that of {value_text(primary)}, whose istiod serves this cluster",
            "give both the same version and revision",
            code="control-plane-version-differs",
        )
    return None


_PRIMARY_KEYS = {
    "peers": "it has no istiod of its own to discover anybody: its control plane's peers count",
    "disableRegistryJoin": "a cluster that another's istiod serves is in the mesh",
    "controlPlaneAddress": "it has no istiod of its own",
}
"""The keys that only a cluster with a control plane has, and why."""


def _primary_key_problems(topology: StatedTopology, context: str) -> Iterator[Problem]:
    """The keys that a cluster without a control plane cannot have."""
    for key, why in _PRIMARY_KEYS.items():
        if topology.contexts[context].get(key) not in (None, False):
            yield Problem(
                topology.document.field_place("contexts", context, key),
                f"cannot be here beside controlPlane: {why}",
                "remove one of the two",
                code="key-of-control-plane",
            )


def _istio_settings(topology: StatedTopology, entry: dict[str, Any]) -> dict[str, Any]:
    mesh, own = topology.value.get("istio"), entry.get("istio")
    return {**(mesh if isinstance(mesh, dict) else {}), **(own if isinstance(own, dict) else {})}
