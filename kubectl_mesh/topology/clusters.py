"""Rules for clusters and networks: names that add up, edges that work."""

from collections.abc import Iterator
from typing import Any

from kubectl_mesh.errors import Problem
from kubectl_mesh.model.address import is_address, is_loopback
from kubectl_mesh.text import shown
from kubectl_mesh.topology.given import Given
from kubectl_mesh.topology.names import LABEL, PENDING, name_of


def names(given: Given) -> Iterator[Problem]:
    """Names are labels, and no two clusters share one."""
    taken: dict[str, str] = {}
    for context, entry in given.contexts.items():
        stated = entry.get("clusterName")
        name = stated if isinstance(stated, str) else name_of(context)
        where = given.document.place(
            "contexts", context, *(("clusterName",) if isinstance(stated, str) else ())
        )
        ask = "state a clusterName for it: lower-case letters, digits and `-`, at most 63"
        if not name:
            yield Problem(
                where,
                f"the context's name {shown(context)} leaves nothing for the cluster's name",
                ask,
            )
        elif len(name) > 63:
            yield Problem(
                where,
                f"the context's name makes a cluster's name of {len(name)} characters, of which 63"
                " are allowed",
                ask,
            )
        elif name in taken:
            yield Problem(
                where,
                f'has the cluster name "{name}", as the context {shown(taken[name])} has',
                "state a clusterName for one of the two",
            )
        elif LABEL.match(name):
            taken[name] = context


def networks(given: Given) -> Iterator[Problem]:
    """Every network that is described has a cluster on it; every gateway stands in one network."""
    used = {
        entry["network"]
        for entry in given.contexts.values()
        if isinstance(entry.get("network"), str)
    }
    described = given.value.get("networks")
    for network in described if isinstance(described, dict) else {}:
        if network not in used:
            yield Problem(
                given.document.place("networks", network),
                f"no context is on this network{given.hints.near(network, lambda: used)}",
                "remove it, or put a context on it",
            )
    seen: dict[str, list[tuple[int | None, str]]] = {}
    for network, path, gateway in given.gateways():
        address, port = gateway.get("address"), gateway.get("port")
        if not isinstance(address, str) or not isinstance(port, int | None):
            continue
        place = given.document.place(*path, "address")
        if _looks_numeric(address) and not is_address(address):
            yield Problem(place, f"{shown(address)} is neither an IP address nor a host name")
        elif address == PENDING:
            continue
        elif is_loopback(f"https://[{address}]" if ":" in address else f"https://{address}"):
            yield Problem(
                place, f"{shown(address)} is a loopback address, which no other cluster reaches"
            )
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
                    f"{shown(address)} is a gateway of network {shown(others[0])} too",
                    "a gateway leads into one network",
                )


def _looks_numeric(address: str) -> bool:
    """Whether somebody who wrote this meant an IP address."""
    return ":" in address or set(address) <= set("0123456789.")


def peers(given: Given) -> Iterator[Problem]:
    """Peers are other contexts of the mesh that let themselves be discovered."""
    for context, entry in given.contexts.items():
        peers = entry.get("peers")
        if not isinstance(peers, list):
            continue
        if entry.get("disableRegistryJoin") is True and peers:
            yield Problem(
                given.document.place("contexts", context, "peers"),
                "the cluster discovers nobody, for it has disableRegistryJoin: true",
                "remove one of the two",
            )
        for index, peer in enumerate(peers):
            place = given.document.place("contexts", context, "peers", index)
            if not isinstance(peer, str):
                continue
            if peer not in given.contexts:
                yield Problem(
                    place,
                    "no such context in this mesh:"
                    f" {shown(peer)}{given.near_context(peer, context)}",
                )
            elif peer == context:
                yield Problem(
                    place,
                    "names the cluster itself, which always knows its own services",
                    "remove it",
                )
            elif given.contexts[peer].get("disableRegistryJoin") is True:
                yield Problem(
                    place,
                    f"{shown(peer)} cannot be discovered, for it has disableRegistryJoin: true",
                    "remove one of the two",
                )


def releases(given: Given) -> Iterator[Problem]:
    """Two control planes of one cluster have two revisions."""
    mesh = given.value.get("istio")
    for path, entry in (
        (("istio",), mesh),
        *((("contexts", c, "istio"), e.get("istio")) for c, e in given.contexts.items()),
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
            where = given.document.place(*path, "canary", "revision")
            yield Problem(
                where,
                f"{shown(canary['revision'])} is the revision of the first control plane too",
                "give the canary another",
            )
        if entry.get("revision") == "default":
            yield Problem(
                given.document.place(*path, "revision"),
                '"default" is what Istio calls the control plane without a revision',
                "remove it",
            )


def control_planes(given: Given) -> Iterator[Problem]:
    """A cluster without a control plane is served by one that has one, finds it, and shares its
    namespace.
    """
    served = {
        e.get("controlPlane")
        for e in given.contexts.values()
        if isinstance(e.get("controlPlane"), str)
    }
    for context, entry in given.contexts.items():
        primary = entry.get("controlPlane")
        address = entry.get("controlPlaneAddress")
        where = given.document.place("contexts", context, "controlPlaneAddress")
        if isinstance(address, str) and context not in served and "controlPlane" not in entry:
            # The last cluster that was served may just have gone.
            what = "no other context names this one as its controlPlane"
            given.warnings.append(
                Problem(
                    where, what, "remove it, or name this context there", "control-plane-address"
                )
            )
        if (
            isinstance(address, str)
            and address != PENDING
            and _looks_numeric(address)
            and not is_address(address)
        ):
            yield Problem(where, f"{shown(address)} is neither an IP address nor a host name")
        elif isinstance(address, str) and is_loopback(
            f"https://[{address}]" if ":" in address else f"https://{address}"
        ):
            yield Problem(
                where, f"{shown(address)} is a loopback address, which no other cluster reaches"
            )
        if not isinstance(primary, str):
            continue
        place = given.document.place("contexts", context, "controlPlane")
        other = given.contexts.get(primary)
        if primary == context:
            yield Problem(
                place,
                "names the cluster itself",
                "remove it: a cluster has a control plane of its own where nothing else is said",
            )
        elif other is None:
            yield Problem(
                place,
                "no such context in this mesh:"
                f" {shown(primary)}{given.near_context(primary, context)}",
            )
        elif "controlPlane" in other:
            yield Problem(
                place,
                f"{shown(primary)} has no control plane of its own",
                "name a context that has one",
            )
        elif other.get("disableRegistryJoin") is True:
            yield Problem(
                place,
                f"{shown(primary)} keeps out of the mesh, for it has disableRegistryJoin: true",
                "name another context",
            )
        elif isinstance(other.get("peers"), list) and context not in other["peers"]:
            what = (
                f"istiod of {shown(primary)} could not serve this cluster, for it does not"
                " discover it"
            )
            yield Problem(place, what, f"add {shown(context)} to the peers of {shown(primary)}")
        elif other.get("namespace", "istio-system") != entry.get("namespace", "istio-system"):
            what = (
                f"istiod of {shown(primary)} lives in another namespace than this cluster's part of"
                " Istio"
            )
            yield Problem(
                given.document.place("contexts", context, "namespace"),
                what,
                "give both the same namespace",
            )
        elif any(
            {**_istio(given, other)}.get(k) != {**_istio(given, entry)}.get(k)
            for k in ("version", "revision")
        ):
            what = f"differs from that of {shown(primary)}, whose istiod serves this cluster"
            yield Problem(
                given.document.place("contexts", context, "istio"),
                what,
                "give both the same version and revision",
            )
        for key, why in (
            (
                "peers",
                "it has no istiod of its own to discover anybody: its control plane's peers count",
            ),
            ("disableRegistryJoin", "a cluster that another's istiod serves is in the mesh"),
            ("controlPlaneAddress", "it has no istiod of its own"),
        ):
            if entry.get(key) not in (None, False):
                yield Problem(
                    given.document.place("contexts", context, key),
                    f"cannot be here beside controlPlane: {why}",
                    "remove one of the two",
                )


def _istio(given: Given, entry: dict[str, Any]) -> dict[str, Any]:
    mesh, own = given.value.get("istio"), entry.get("istio")
    return {**(mesh if isinstance(mesh, dict) else {}), **(own if isinstance(own, dict) else {})}
