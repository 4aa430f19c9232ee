"""validate: a `Document` becomes a `Topology`, or a `MeshError` with every problem, sorted by position."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kubectl_mesh.address import is_address, is_loopback, url_fault
from kubectl_mesh.errors import MeshError, Problem, near, secretive, shown
from kubectl_mesh.model import DEFAULT_READER, Cluster, Document, Gateway, Topology
from kubectl_mesh.shape import schema_problems

PENDING = "pending"
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_LOWER = str.maketrans({chr(c): chr(c + 32) for c in range(ord("A"), ord("Z") + 1)})

Path = tuple[str | int, ...]


def name_of(context: str) -> str:
    """A context's name made a DNS-1123 label: lower case, every run of other characters one `-`, ends trimmed; may be empty or too long."""
    return re.sub(r"[^a-z0-9-]+", "-", context.translate(_LOWER)).strip("-")


def validate(document: Document, schema: Mapping[str, Any]) -> Topology:
    """Checks a topology against its schema and for what a schema cannot say."""
    told = {(p.where.line, p.where.column) for p in document.problems} | {p.where.path for p in document.problems}
    unfit = [p for p in schema_problems(document, schema) if p.where.path not in told and (p.where.line, p.where.column) not in told]
    problems = [*document.problems, *unfit]
    if problems:
        # What the schema cannot say rests on the shapes that it guards; so the rest is told where the shapes are right.
        if isinstance(document.value, dict) and isinstance(document.value.get("contexts"), dict):
            problems += _Reader(document, {p.where.path for p in problems}).problems()
        raise MeshError(problems)
    reader = _Reader(document, set())
    problems = reader.problems()
    if problems:
        raise MeshError(problems)
    return reader.topology()


def no_name(text: str) -> bool:
    """Whether a text cannot be meant as the name of a file, or may be a secret put in its place."""
    return secretive(text) or len(text) > 1024 or any(len(part.encode()) > 255 for part in text.split("/"))


def inside(name: str) -> bool:
    """Whether a file's name stays in the working directory."""
    return not name.startswith("/") and ".." not in name.split("/") and "\0" not in name and "\n" not in name


class _Reader:
    """Reads the clusters out of a topology whose shape is right, or right but for the fields in `wrong`."""

    def __init__(self, document: Document, wrong: set[str]) -> None:
        self.document, self.wrong = document, wrong
        self.value: dict[str, Any] = document.value if isinstance(document.value, dict) else {}
        self.contexts: dict[str, dict[str, Any]] = {context: entry for context, entry in self.value.get("contexts", {}).items() if isinstance(entry, dict)}
        self.warnings: list[Problem] = []

    def problems(self) -> list[Problem]:
        rules: tuple[Callable[[], Iterator[Problem]], ...] = (self.names, self.networks, self.peers, self.files, self.servers, self.delivery)
        return [p for rule in rules for p in rule() if p.where.path not in self.wrong]

    def text(self, value: object) -> bool:
        return isinstance(value, str)

    def names(self) -> Iterator[Problem]:
        """Names are labels, and no two clusters share one."""
        taken: dict[str, str] = {}
        for context, entry in self.contexts.items():
            stated = entry.get("clusterName")
            name = stated if isinstance(stated, str) else name_of(context)
            where = self.document.place("contexts", context, *(("clusterName",) if isinstance(stated, str) else ()))
            ask = "state a clusterName for it: lower-case letters, digits and `-`, at most 63"
            if not name:
                yield Problem(where, f"the context's name {shown(context)} leaves nothing for the cluster's name", ask)
            elif len(name) > 63:
                yield Problem(where, f"the context's name makes a cluster's name of {len(name)} characters, of which 63 are allowed", ask)
            elif name in taken:
                yield Problem(where, f'has the cluster name "{name}", as the context {shown(taken[name])} has', "state a clusterName for one of the two")
            elif _LABEL.match(name):
                taken[name] = context

    def networks(self) -> Iterator[Problem]:
        """Every network that is described has a cluster on it; every gateway stands in one network."""
        used = {entry["network"] for entry in self.contexts.values() if self.text(entry.get("network"))}
        described = self.value.get("networks")
        for network in described if isinstance(described, dict) else {}:
            if network not in used:
                yield Problem(
                    self.document.place("networks", network),
                    f"no context is on this network{near(network, used)}",
                    "remove it, or put a context on it",
                )
        seen: dict[str, list[tuple[int | None, str]]] = {}
        for network, path, gateway in self.gateways():
            address, port = gateway.get("address"), gateway.get("port")
            if not isinstance(address, str) or not isinstance(port, int | None):
                continue
            place = self.document.place(*path, "address")
            if re.fullmatch(r"[0-9.]+|.*:.*", address) and not is_address(address):
                yield Problem(place, f"{shown(address)} is neither an IP address nor a host name")
            elif address == PENDING:
                continue
            elif is_loopback(f"https://[{address}]" if ":" in address else f"https://{address}"):
                yield Problem(place, f"{shown(address)} is a loopback address, which no other cluster reaches")
            else:
                # No port is the target's default, whichever that is.
                others = [net for other, net in seen.get(address, ()) if net != network and (other == port or None in (other, port))]
                seen.setdefault(address, []).append((port, network))
                if others:
                    yield Problem(place, f"{shown(address)} is a gateway of network {shown(others[0])} too", "a gateway leads into one network")

    def gateways(self) -> Iterator[tuple[str, Path, dict[str, Any]]]:
        """Every gateway with its network and its path."""
        described = self.value.get("networks")
        entries: list[tuple[Any, Path, Any]] = [(name, ("networks", name), value) for name, value in (described if isinstance(described, dict) else {}).items()]
        entries += [(entry.get("network"), ("contexts", context), entry) for context, entry in self.contexts.items()]
        for network, path, entry in entries:
            listed = entry.get("gateways") if isinstance(entry, dict) else None
            for index, gateway in enumerate(listed if isinstance(listed, list) else []):
                if isinstance(gateway, dict):
                    yield network, (*path, "gateways", index), gateway

    def peers(self) -> Iterator[Problem]:
        """Peers are other contexts of the mesh that let themselves be discovered."""
        for context, entry in self.contexts.items():
            peers = entry.get("peers")
            if not isinstance(peers, list):
                continue
            if entry.get("disableRegistryJoin") is True and peers:
                yield Problem(
                    self.document.place("contexts", context, "peers"),
                    "the cluster discovers nobody, for it has disableRegistryJoin: true",
                    "remove one of the two",
                )
            for index, peer in enumerate(peers):
                place = self.document.place("contexts", context, "peers", index)
                if not self.text(peer):
                    continue
                if peer not in self.contexts:
                    yield Problem(place, f"no such context in this mesh: {shown(peer)}{near(peer, set(self.contexts) - {context})}")
                elif peer == context:
                    yield Problem(place, "names the cluster itself, which always knows its own services", "remove it")
                elif self.contexts[peer].get("disableRegistryJoin") is True:
                    yield Problem(place, f"{shown(peer)} cannot be discovered, for it has disableRegistryJoin: true", "remove one of the two")

    def files(self) -> Iterator[Problem]:
        """What a render reads lies in the working directory."""
        for context, entry in self.contexts.items():
            credential = entry.get("credential")
            token = credential.get("tokenFile") if isinstance(credential, dict) else None
            place = self.document.place("contexts", context, "credential", "tokenFile")
            if self.text(token) and no_name(str(token)):
                yield Problem(place, "is no name of a file; it may be the token itself", "put the token into a file, and name that")
            elif self.text(token) and not inside(str(token)):
                yield Problem(place, f"{shown(token)} is not in the working directory", "a render reads nothing else; give a path below it")
            authority = entry.get("certificateAuthority")
            place = self.document.place("contexts", context, "certificateAuthority")
            if not isinstance(authority, str) or "-----BEGIN" in authority:
                continue
            if no_name(authority):
                yield Problem(
                    place, "is neither a PEM certificate nor a name of a file", "give the certificate with its BEGIN and END lines, or name a PEM file"
                )
            elif not inside(authority):
                yield Problem(place, f"{shown(authority)} is not in the working directory", "a render reads nothing else; give a path below it")

    def servers(self) -> Iterator[Problem]:
        """A server that is stated is a URL; one that peers may not reach is warned of."""
        for context, entry in self.contexts.items():
            server = entry.get("server")
            if not isinstance(server, str):
                continue
            place = self.document.place("contexts", context, "server")
            fault = url_fault(server)
            if fault:
                yield Problem(place, fault)
            elif is_loopback(server):
                self.warnings.append(Problem(place, f"{server} is a loopback address: it leads every peer to itself", id="server-reachable"))
            elif server.startswith("http:"):
                self.warnings.append(Problem(place, f"{server} is plain http: tokens travel in clear", id="server-reachable"))

    def delivery(self) -> Iterator[Problem]:
        """Where the tree is kept matters to argocd and flux only."""
        delivery = self.value.get("delivery")
        if isinstance(delivery, dict) and delivery.get("tool", "kubectl") == "kubectl":
            for key in ("repoURL", "revision", "path"):
                if key in delivery:
                    yield Problem(self.document.place("delivery", key), "is for delivery.tool argocd or flux", "remove it")

    def cluster(self, context: str, entry: dict[str, Any]) -> Cluster:
        name = entry.get("clusterName") or name_of(context)
        peers = entry.get("peers")
        return Cluster(
            name=name,
            context=context,
            network=entry["network"],
            namespace=entry.get("namespace", "istio-system"),
            reader=entry.get("serviceAccountReader", DEFAULT_READER),
            joined=not entry.get("disableRegistryJoin", False),
            server=entry.get("server"),
            tls_server_name=entry.get("tlsServerName"),
            authority=entry.get("certificateAuthority"),
            token_file=entry.get("credential", {}).get("tokenFile", f"credentials/{name}.token"),
            gateways=_gateways(entry),
            peers=None if peers is None else tuple(self.contexts[p].get("clusterName") or name_of(p) for p in peers),
            place=self.document.place("contexts", context),
        )

    def topology(self) -> Topology:
        value = self.value
        istio, certificates = value.get("istio", {}), value.get("certificates", {})
        clusters = sorted((self.cluster(c, e) for c, e in self.contexts.items()), key=lambda c: c.name)
        return Topology(
            mesh_id=value["mesh_id"],
            organization=value.get("organization", value["mesh_id"]),
            trust_domain=value.get("trustDomain"),
            version=istio.get("version"),
            revision=istio.get("revision"),
            data_plane=istio.get("dataPlane", "sidecar"),
            key_type=certificates.get("keyType"),
            root_days=certificates.get("rootDays", 3650),
            intermediate_days=certificates.get("intermediateDays", 730),
            issuer=certificates.get("issuer", "local"),
            store=value.get("secrets", {}).get("store", "plain"),
            store_stated="store" in value.get("secrets", {}),
            delivery=value.get("delivery", {}).get("tool", "kubectl"),
            networks={name: _gateways(entry) for name, entry in sorted(value.get("networks", {}).items())},
            clusters=tuple(clusters),
            document=self.document,
            awaited=frozenset(
                network
                for network, path, gateway in self.gateways()
                if gateway["address"] == PENDING and not (path[0] == "contexts" and self.contexts[str(path[1])].get("disableRegistryJoin"))
            ),
            warnings=tuple(sorted(self.warnings)),
        )


def _gateways(entry: Mapping[str, Any]) -> tuple[Gateway, ...]:
    """The known gateways of an entry; `pending` ones are not known."""
    known = {Gateway(g["address"], g.get("port")) for g in entry.get("gateways", ()) if g["address"] != PENDING}
    return tuple(sorted(known, key=lambda g: (g.address, g.port or 0)))
