"""The rules that a schema cannot say: names that add up, edges that work, files that are at hand."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from kubectl_mesh.address import is_address, is_loopback, url_fault
from kubectl_mesh.errors import Problem, near, shown
from kubectl_mesh.model import Document
from kubectl_mesh.validate.names import LABEL, PENDING, inside, name_of, no_name

Path = tuple[str | int, ...]
FILE_KEYS = {"tokenFile", "idTokenFile", "refreshTokenFile", "clientSecretFile", "certificateFile", "keyFile"}
"""The keys of a credential that name a file."""


class Rules:
    """The rules for a topology whose shape is right, or right but for the fields in `wrong`."""

    def __init__(self, document: Document, wrong: set[str]) -> None:
        self.document, self.wrong = document, wrong
        self.value: dict[str, Any] = document.value if isinstance(document.value, dict) else {}
        self.contexts: dict[str, dict[str, Any]] = {context: entry for context, entry in self.value.get("contexts", {}).items() if isinstance(entry, dict)}
        self.warnings: list[Problem] = []

    def problems(self) -> list[Problem]:
        rules: tuple[Callable[[], Iterator[Problem]], ...] = (
            self.names,
            self.networks,
            self.peers,
            self.releases,
            self.control_planes,
            self.files,
            self.servers,
            self.readers,
            self.tokens,
            self.bundle,
            self.delivery,
            self.secrets,
            self.issuers,
        )
        return [p for rule in rules for p in rule() if p.where.path not in self.wrong]

    def text(self, value: object) -> bool:
        return isinstance(value, str)

    def name(self, context: str) -> str:
        """The cluster's name of a context."""
        stated = self.contexts[context].get("clusterName")
        return stated if isinstance(stated, str) else name_of(context)

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
            elif LABEL.match(name):
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
            for way, value in (credential if isinstance(credential, dict) else {}).items():
                named = {"tokenFile": value} if way == "tokenFile" else value if isinstance(value, dict) else {}
                for key in FILE_KEYS & named.keys():
                    path = ("contexts", context, "credential", way, *((key,) if key != way else ()))
                    yield from self._file(path, named[key], "the token itself" if key != "certificateFile" else "the certificate itself")
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

    def _file(self, path: Path, name: object, content: str) -> Iterator[Problem]:
        place = self.document.place(*path)
        if isinstance(name, str) and no_name(name):
            thing = "the token" if content == "the token itself" else "it"
            yield Problem(place, f"is no name of a file; it may be {content}", f"put {thing} into a file, and name that")
        elif isinstance(name, str) and not inside(name):
            yield Problem(place, f"{shown(name)} is not in the working directory", "a render reads nothing else; give a path below it")

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

    def releases(self) -> Iterator[Problem]:
        """Two control planes of one cluster have two revisions."""
        mesh = self.value.get("istio")
        for path, entry in ((("istio",), mesh), *((("contexts", c, "istio"), e.get("istio")) for c, e in self.contexts.items())):
            if not isinstance(entry, dict):
                continue
            whole = {**(mesh if isinstance(mesh, dict) else {}), **entry}
            canary = whole.get("canary")
            if isinstance(canary, dict) and isinstance(canary.get("revision"), str) and canary["revision"] in (whole.get("revision"), "default"):
                where = self.document.place(*path, "canary", "revision")
                yield Problem(where, f"{shown(canary['revision'])} is the revision of the first control plane too", "give the canary another")
            if entry.get("revision") == "default":
                yield Problem(self.document.place(*path, "revision"), '"default" is what Istio calls the control plane without a revision', "remove it")

    def control_planes(self) -> Iterator[Problem]:
        """A cluster without a control plane is served by one that has one, finds it, and shares its namespace."""
        served = {e.get("controlPlane") for e in self.contexts.values() if self.text(e.get("controlPlane"))}
        for context, entry in self.contexts.items():
            primary = entry.get("controlPlane")
            address = entry.get("controlPlaneAddress")
            where = self.document.place("contexts", context, "controlPlaneAddress")
            if self.text(address) and context not in served and "controlPlane" not in entry:
                # The last cluster that was served may just have gone.
                what = "no other context names this one as its controlPlane"
                self.warnings.append(Problem(where, what, "remove it, or name this context there", "control-plane-address"))
            if isinstance(address, str) and address != PENDING and re.fullmatch(r"[0-9.]+|.*:.*", address) and not is_address(address):
                yield Problem(where, f"{shown(address)} is neither an IP address nor a host name")
            elif isinstance(address, str) and is_loopback(f"https://[{address}]" if ":" in address else f"https://{address}"):
                yield Problem(where, f"{shown(address)} is a loopback address, which no other cluster reaches")
            if not isinstance(primary, str):
                continue
            place = self.document.place("contexts", context, "controlPlane")
            other = self.contexts.get(primary)
            if primary == context:
                yield Problem(place, "names the cluster itself", "remove it: a cluster has a control plane of its own where nothing else is said")
            elif other is None:
                yield Problem(place, f"no such context in this mesh: {shown(primary)}{near(primary, set(self.contexts) - {context})}")
            elif "controlPlane" in other:
                yield Problem(place, f"{shown(primary)} has no control plane of its own", "name a context that has one")
            elif other.get("disableRegistryJoin") is True:
                yield Problem(place, f"{shown(primary)} keeps out of the mesh, for it has disableRegistryJoin: true", "name another context")
            elif isinstance(other.get("peers"), list) and context not in other["peers"]:
                what = f"istiod of {shown(primary)} could not serve this cluster, for it does not discover it"
                yield Problem(place, what, f"add {shown(context)} to the peers of {shown(primary)}")
            elif other.get("namespace", "istio-system") != entry.get("namespace", "istio-system"):
                what = f"istiod of {shown(primary)} lives in another namespace than this cluster's part of Istio"
                yield Problem(self.document.place("contexts", context, "namespace"), what, "give both the same namespace")
            elif any({**self._istio(other)}.get(k) != {**self._istio(entry)}.get(k) for k in ("version", "revision")):
                what = f"differs from that of {shown(primary)}, whose istiod serves this cluster"
                yield Problem(self.document.place("contexts", context, "istio"), what, "give both the same version and revision")
            for key, why in (
                ("peers", "it has no istiod of its own to discover anybody: its control plane's peers count"),
                ("disableRegistryJoin", "a cluster that another's istiod serves is in the mesh"),
                ("controlPlaneAddress", "it has no istiod of its own"),
            ):
                if entry.get(key) not in (None, False):
                    yield Problem(self.document.place("contexts", context, key), f"cannot be here beside controlPlane: {why}", "remove one of the two")

    def _istio(self, entry: dict[str, Any]) -> dict[str, Any]:
        mesh, own = self.value.get("istio"), entry.get("istio")
        return {**(mesh if isinstance(mesh, dict) else {}), **(own if isinstance(own, dict) else {})}

    def readers(self) -> Iterator[Problem]:
        """Accounts for single peers log in by tokens, each in a file of its own."""
        if self.value.get("readers") != "perPeer":
            return
        for context, entry in self.contexts.items():
            credential = entry.get("credential")
            for way in credential if isinstance(credential, dict) else ():
                where = self.document.place("contexts", context, "credential", way)
                yield Problem(where, "is one login for all peers, and readers: perPeer asks for one each", "remove one of the two")

    def tokens(self) -> Iterator[Problem]:
        """Generations are those of a token that Kubernetes makes, and two of them differ."""
        for context, entry in self.contexts.items():
            tokens, credential = entry.get("tokens"), entry.get("credential")
            if not isinstance(tokens, dict):
                continue
            if isinstance(credential, dict) and "tokenFile" not in credential:
                what = f"is for a cluster that the peers log in to by a token, not by {next(iter(credential), 'nothing')}"
                yield Problem(self.document.place("contexts", context, "tokens"), what, "remove one of the two")
            if tokens.get("beside") is not None and tokens["beside"] == tokens.get("generation", 1):
                what = "is the generation of the first token too"
                yield Problem(self.document.place("contexts", context, "tokens", "beside"), what, "remove it, or begin with `kubectl mesh tokens rotate`")

    def bundle(self) -> Iterator[Problem]:
        """What all clusters share has to suit them all."""
        if self.value.get("remoteSecrets") != "bundle":
            return
        if self.value.get("readers") == "perPeer":
            place = self.document.place("remoteSecrets")
            yield Problem(place, "a bundle gives all clusters the same remote secrets, and readers: perPeer each its own", "remove one of the two")
        namespaces: dict[str, str] = {}
        for context, entry in self.contexts.items():
            if isinstance(entry.get("peers"), list):
                what = "a bundle gives every cluster the remote secrets of all, whatever peers says"
                yield Problem(self.document.place("contexts", context, "peers"), what, "remove it, or remoteSecrets: bundle")
            namespace = entry.get("namespace", "istio-system")
            first = namespaces.setdefault("", namespace)
            if self.text(namespace) and entry.get("disableRegistryJoin") is not True and namespace != first:
                what = f"a bundle has one namespace, and this is not {shown(first)} as before"
                yield Problem(
                    self.document.place("contexts", context, "namespace"), what, "give all clusters the same namespace, or remove remoteSecrets: bundle"
                )

    def delivery(self) -> Iterator[Problem]:
        """Where the tree is kept matters to argocd and flux only, and to them it must be said."""
        delivery = self.value.get("delivery")
        if not isinstance(delivery, dict):
            return
        tool = delivery.get("tool", "kubectl")
        if tool == "kubectl":
            for key in ("repoURL", "revision", "path", "namespace", "project", "secret"):
                if key in delivery:
                    yield Problem(self.document.place("delivery", key), "is for delivery.tool argocd or flux", "remove it")
        for key, owner in (("project", "argocd"), ("secret", "flux")):
            if key in delivery and tool in ("argocd", "flux") and tool != owner:
                yield Problem(self.document.place("delivery", key), f"is for delivery.tool {owner}", "remove it")
        if tool in ("argocd", "flux") and "repoURL" not in delivery:
            yield Problem(
                self.document.place("delivery"), f"{tool} has to know where the tree is kept", "state repoURL: URL of the git repository (and revision, path)"
            )

    def secrets(self) -> Iterator[Problem]:
        """A store has what it needs, and nothing is stated that it has no use for."""
        stated = self.value.get("secrets")
        stated = stated if isinstance(stated, dict) else {}
        store = stated.get("store", "plain")
        place = self.document.place
        own = [context for context, entry in self.contexts.items() if entry.get("recipients")]
        if store == "sops":
            for context in () if stated.get("recipients") else [c for c in self.contexts if c not in own]:
                what = f"{shown(context)} has no recipient, so nobody could open what is encrypted for it"
                fix = "run `age-keygen` for that cluster, and state the public key under its recipients (or under secrets.recipients)"
                yield Problem(place("contexts", context), what, fix)
        elif own or "recipients" in stated:
            where = place("secrets", "recipients") if "recipients" in stated else place("contexts", own[0], "recipients")
            yield Problem(where, f"recipients are for the store sops; the store {store} has no use for them", "remove them, or write store: sops")
        if store == "sealed" and self.value.get("remoteSecrets") == "bundle":
            what = "the store sealed seals for one cluster, and a bundle is for all of them"
            yield Problem(place("remoteSecrets"), what, "remove it, or take the store sops or external")
        if store == "external" and "secretStore" not in stated:
            what = "the store external does not say which: secretStore is missing"
            yield Problem(place("secrets"), what, "state secretStore: {kind: ClusterSecretStore, name: NAME}, as it is in every cluster")
        for key in ("secretStore", "path") if store != "external" else ():
            if key in stated:
                what = f"is for the store external; the store {store} has no use for it"
                yield Problem(place("secrets", key), what, "remove it, or write store: external")

    def issuers(self) -> Iterator[Problem]:
        """Where the issuer is in the clusters, it is named; and only there."""
        stated = self.value.get("certificates")
        stated = stated if isinstance(stated, dict) else {}
        issuer = stated.get("issuer", "local")
        if issuer in ("cert-manager", "istio-csr") and "issuerRef" not in stated:
            what = f"the issuer {issuer} does not say which: issuerRef is missing"
            yield Problem(self.document.place("certificates"), what, "state issuerRef: {name: NAME, kind: ClusterIssuer}, as it is in every cluster")
        if issuer in ("local", "csr") and "issuerRef" in stated:
            what = f"is for the issuers cert-manager and istio-csr; the issuer {issuer} has no use for it"
            yield Problem(self.document.place("certificates", "issuerRef"), what, "remove it, or write issuer: cert-manager")
