"""What the clusters of a rendered tree use of each other, read from its YAML alone, and whether every mixture of two trees still has it.

Nothing of the product is imported here: a fault of its own readers cannot hide a fault of what it renders. Facts about Istio, with their
sources: the cluster ID is the key of a remote secret (pkg/kube/multicluster/secretcontroller.go); a gateway is found by the label of its
Service, with an address (pilot/pkg/serviceregistry/kube/controller/network.go); pods keep the network and the trust domain that they
started with (the injector's label topology.istio.io/network, the certificate of the workload).
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

STAGES = ("1-trust", "2-control-plane", "3-mesh")
BUNDLE = "_remote-secrets"
NETWORK = "topology.istio.io/network"
DEFAULT_READER = "istio-reader-service-account"
LEVELS = (0, 1, 2, 3)
"""How many stages of the new tree a cluster has."""
KEPT = {
    "kustomize.toolkit.fluxcd.io/prune": "disabled",
    "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
}

Object = dict[str, Any]
Identity = tuple[str, str, str]
Stage = dict[Identity, Object]
Open = Callable[[str, Object], dict[str, bytes]]
"""Opens an encrypted manifest of a cluster's directory: the values of its Secret."""
Pair = tuple[str, str]


@lru_cache(maxsize=65536)
def parse_manifest(body: bytes) -> Object:
    """The object of a manifest."""
    value = yaml.load(body, Loader=yaml.CSafeLoader)
    assert isinstance(value, dict), "a manifest is one object"
    return value


def identity_of(thing: Object) -> Identity:
    """The kind, namespace and name of an object in a cluster; what creates a Secret there counts as that Secret."""
    metadata = thing["metadata"]
    place = metadata.get("namespace", "")
    if thing["kind"] == "SealedSecret":
        return "Secret", place, thing["spec"]["template"]["metadata"]["name"]
    if thing["kind"] == "ExternalSecret":
        return "Secret", place, thing["spec"]["target"]["name"]
    if thing["kind"] == "Certificate":
        return "Secret", place, thing["spec"]["secretName"]
    group = thing["apiVersion"].rpartition("/")[0]
    return (
        f"{thing['kind']}.{group}" if thing["kind"] == "Gateway" else thing["kind"],
        place,
        metadata["name"],
    )


def read_manifests(folder: Path) -> Iterator[Object]:
    """The objects of the files of a folder, without the settings of programs that apply them."""
    for path in sorted(folder.rglob("*.yaml")):
        if not path.name.startswith(".") and path.name != "kustomization.yaml":
            yield parse_manifest(path.read_bytes())


def read_tree(out: Path) -> dict[str, tuple[Stage, ...]]:
    """The three stages of every cluster's directory. A bundle is part of stage 3 of the clusters that name it, or apply it by hand."""
    bundle = list(read_manifests(out / BUNDLE)) if (out / BUNDLE).is_dir() else []
    hidden = any("sops" in thing for thing in bundle)
    found = {}
    for folder in sorted(p for p in out.iterdir() if p.is_dir() and not p.name.startswith("_")):
        things = [list(read_manifests(folder / stage)) for stage in STAGES]
        listed = folder / STAGES[2] / "kustomization.yaml"
        named = parse_manifest(listed.read_bytes()).get("resources", ()) if listed.exists() else ()
        if bundle and (f"../../{BUNDLE}" in named or hidden):
            things[2] += bundle
        found[folder.name] = tuple(
            {identity_of(thing): thing for thing in stage} for stage in things
        )
    return found


def apply_stages(before: tuple[Stage, ...], after: tuple[Stage, ...], level: int) -> Stage:
    """The objects of a cluster once it has `level` stages of the new tree: what left the tree is deleted with its stage, as when a tool prunes."""
    live: Stage = {}
    stay = {key for stage in after for key in stage}
    for number, (old, new) in enumerate(zip(before, after, strict=True), 1):
        if number > level:
            live.update({key: thing for key, thing in old.items() if key not in live})
            continue
        for key, thing in old.items():
            annotations = thing["metadata"].get("annotations") or {}
            if (
                key[0] == "Namespace"
                or key in stay
                or any(annotations.get(k) == v for k, v in KEPT.items())
            ):
                live.setdefault(key, thing)
        live.update(new)
    return live


# What is in the objects


@dataclass(frozen=True)
class Plane:
    """A control plane: an istiod, or what a cluster has that another's istiod serves."""

    namespace: str
    cluster: str
    network: str
    declared: frozenset[tuple[str, tuple[str, int]]]
    """The gateways of networks that are stated to it, as (network, (address, port))."""
    domain: str
    aliases: frozenset[str]
    served_at: str | None
    revision: str


@dataclass(frozen=True)
class Gate:
    """A gateway into a network. `source` is what it is made by: another source is another Service, with another address."""

    source: tuple[str, ...]
    network: str
    """By which istiod finds it; empty where it has no such label."""
    ports: frozenset[tuple[str, int]]
    addressed: bool
    """Whether Istio gets addresses from its Service."""


@dataclass(frozen=True)
class Remote:
    """A remote secret for a cluster: where it is, and how it logs in."""

    namespace: str
    server: str
    login: tuple[str, ...]
    """`("token", TEXT)`, `("store", KEY, PROPERTY)`, or `("other", ...)` for any other way to log in."""


@dataclass(frozen=True)
class Trust:
    """What signs the workloads of a cluster, and what they trust; fingerprints."""

    signer: str
    bundle: frozenset[str]


@dataclass
class Facts:
    """What a cluster offers and uses with the objects that it has."""

    planes: tuple[Plane, ...] = ()
    label: str | None = None
    remotes: dict[str, Remote] = field(default_factory=dict)
    accounts: set[tuple[str, str]] = field(default_factory=set)
    bound: set[tuple[str, str]] = field(default_factory=set)
    tokens: dict[tuple[str, str], str] = field(default_factory=dict)
    """The account of each Secret for a token."""
    pushes: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """What is pushed to a place in a store: the Secret."""
    gates: tuple[Gate, ...] = ()
    exposed: bool = False
    """Whether a Gateway lets traffic of other networks in."""
    serves: frozenset[str] = frozenset()
    """The hosts of istiod that a gateway lets in."""
    ambient: bool = False
    trust: Trust | None = None


@lru_cache(maxsize=4096)
def read_trust(ca_cert: bytes, chain: bytes, bundle: bytes) -> Trust:
    """The root that a chain leads to, by its signatures, and the roots that are trusted."""
    roots = x509.load_pem_x509_certificates(bundle)
    above = [*x509.load_pem_x509_certificates(chain), *roots]
    current = x509.load_pem_x509_certificate(ca_cert)
    for _ in range(10):
        if current.issuer == current.subject:
            break
        current = next(c for c in above if _issued(current, c))
    return Trust(_fingerprint(current), frozenset(map(_fingerprint, roots)))


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(SHA256()).hex()


def _issued(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except Exception:  # noqa: BLE001 -- whatever it says, it did not issue it
        return False
    return True


def values_of(thing: Object) -> tuple[str, Object, str] | None:
    """Of what installs Istio: the chart or kind, its values, and the namespace."""
    spec = thing.get("spec") or {}
    place = thing["metadata"].get("namespace", "")
    kind = thing["kind"]
    if kind in ("Istio", "IstioOperator", "ZTunnel"):
        values = {**(spec.get("values") or {})}
        mesh = {**(values.get("meshConfig") or {}), **(spec.get("meshConfig") or {})}
        return (
            kind,
            {
                **values,
                "meshConfig": mesh,
                "revision": spec.get("revision") or values.get("revision"),
            },
            spec.get("namespace") or place,
        )
    if kind == "IstioControlPlane":
        return kind, spec.get("values") or {}, spec.get("defaultNamespace", "istio-system")
    if kind == "HelmRelease":
        return (
            spec["chart"]["spec"]["chart"],
            spec.get("values") or {},
            spec.get("targetNamespace") or place,
        )
    if kind == "Application" and "chart" in (spec.get("source") or {}):
        return (
            spec["source"]["chart"],
            (spec["source"].get("helm") or {}).get("valuesObject") or {},
            spec["destination"]["namespace"],
        )
    return None


def _declared(value: Any) -> Iterator[tuple[str, tuple[str, int]]]:
    for network, entry in (value.get("networks", value) or {}).items():
        for gateway in entry.get("gateways") or ():
            yield network, (gateway["address"], gateway["port"])


def _plane(values: Object, namespace: str, name: str) -> Plane:
    about = values.get("global") or {}
    mesh = values.get("meshConfig") or {}
    return Plane(
        namespace,
        about["multiCluster"]["clusterName"],
        about["network"],
        frozenset(_declared(about.get("meshNetworks") or {})),
        mesh.get("trustDomain") or about.get("trustDomain") or "cluster.local",
        frozenset(mesh.get("trustDomainAliases") or about.get("trustDomainAliases") or ()),
        about.get("remotePilotAddress"),
        values.get("revision") or (name if name not in ("default", "istiod") else ""),
    )


def _ports(service: Any) -> Iterator[tuple[str, int]]:
    for port in service or ():
        name = {15012: "istiod", 15017: "webhook"}.get(port["port"], port["name"])
        if name != "status-port":
            yield name, port["port"]


def _addressed(kind: str, annotations: Mapping[str, str] | None, external: object) -> bool:
    return (
        kind == "LoadBalancer"
        or (kind == "NodePort" and "traffic.istio.io/nodeSelector" in (annotations or {}))
        or bool(external)
    )


def _gates(live: Stage) -> Iterator[Gate]:
    """The gateways of a cluster, whatever they are made by."""
    for (kind, place, name), thing in live.items():
        metadata, spec = thing["metadata"], thing.get("spec") or {}
        labels, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
        if (
            kind == "Service"
            and (spec.get("selector") or {}).get("istio") == "eastwestgateway"
            and ("Deployment", place, name) in live
        ):
            source = (kind, place, name, spec["type"])
            yield Gate(
                source,
                labels.get(NETWORK, ""),
                frozenset(_ports(spec["ports"])),
                _addressed(spec["type"], notes, spec.get("externalIPs")),
            )
        elif (
            kind == "Gateway.gateway.networking.k8s.io"
            and spec["gatewayClassName"] != "istio-remote"
        ):
            given = spec.get("infrastructure") or {}
            own = given.get("labels") if "labels" in given else labels
            sort = notes.get("networking.istio.io/service-type", "LoadBalancer")
            ports = {
                ("hbone" if entry["protocol"] == "HBONE" else "tls", entry["port"])
                for entry in spec["listeners"]
            }
            yield Gate(
                (kind, place, name, sort),
                (own or {}).get(NETWORK, ""),
                frozenset(ports),
                _addressed(sort, {**notes, **(given.get("annotations") or {})}, None),
            )
        elif (found := values_of(thing)) is None:
            continue
        elif found[0] == "gateway":
            values, service = found[1], found[1].get("service") or {}
            sort = service.get("type", "LoadBalancer")
            network = (values.get("labels") or {}).get(NETWORK, "")
            source = (kind, found[2], values.get("name", name), sort)
            yield Gate(
                source,
                network,
                frozenset(_ports(service.get("ports"))),
                _addressed(sort, service.get("annotations"), service.get("externalIPs")),
            )
        elif kind == "IstioOperator":
            for entry in (spec.get("components") or {}).get("ingressGateways") or ():
                label, k8s = entry.get("label") or {}, entry.get("k8s") or {}
                if entry.get("enabled") and label.get("istio") == "eastwestgateway":
                    service = k8s.get("service") or {}
                    sort = service.get("type", "LoadBalancer")
                    source = (kind, entry["namespace"], entry["name"], sort)
                    yield Gate(
                        source,
                        label.get(NETWORK, ""),
                        frozenset(_ports(service["ports"])),
                        _addressed(sort, k8s.get("serviceAnnotations"), service.get("externalIPs")),
                    )
        if (
            kind in ("IstioControlPlane", "IstioOperator")
            and ("Gateway.networking.istio.io", values_of(thing)[2], "cluster-aware-gateway")
            in live
        ):  # type: ignore[index]
            # The ingress gateway of that time, which base.yaml's profile brings.
            yield Gate(("ingressgateway",), "", frozenset({("tls", 443)}), addressed=True)


def _remotes(directory: str, thing: Object, open_secret: Open) -> Iterator[tuple[str, Remote]]:
    """The clusters that a remote secret is for."""
    place = thing["metadata"].get("namespace", "")
    marks: dict[str, Any] = {}
    data: dict[str, str] = {}
    if thing["kind"] == "Secret":
        marks = thing["metadata"].get("labels") or {}
        if marks.get("istio/multiCluster") == "true":
            opened = (
                open_secret(directory, thing)
                if "sops" in thing
                else {k: base64.b64decode(v) for k, v in thing["data"].items()}
            )
            data = {k: v.decode() for k, v in opened.items()}
    elif thing["kind"] == "SealedSecret":
        marks = thing["spec"]["template"]["metadata"].get("labels") or {}
        if marks.get("istio/multiCluster") == "true":
            data = {k: v.decode() for k, v in open_secret(directory, thing).items()}
    elif thing["kind"] == "ExternalSecret":
        template = thing["spec"]["target"].get("template") or {}
        marks = (template.get("metadata") or {}).get("labels") or {}
        data = {
            k: v.replace("{{", "'{{").replace("}}", "}}'")
            for k, v in (template.get("data") or {}).items()
        }
    if marks.get("istio/multiCluster") != "true":
        return
    for cluster, text in data.items():
        config = yaml.load(text, Loader=yaml.CSafeLoader)
        user = config["users"][0]["user"]
        login: tuple[str, ...] = ("other", json.dumps(user, sort_keys=True))
        if "token" in user:
            login = ("token", user["token"])
            if thing["kind"] == "ExternalSecret":
                (entry,) = (d for d in thing["spec"]["data"] if d["secretKey"] == "token")
                login = ("store", entry["remoteRef"]["key"], entry["remoteRef"]["property"])
        yield cluster, Remote(place, config["clusters"][0]["cluster"]["server"], login)


def read_facts(directory: str, live: Stage, open_secret: Open) -> Facts:
    """What the objects of a cluster say."""
    facts = Facts()
    planes, roles, hosts, listens = [], {}, set(), False
    for (kind, place, name), thing in live.items():
        spec = thing.get("spec") or {}
        installs = values_of(thing)
        if kind == "Namespace" and NETWORK in (thing["metadata"].get("labels") or {}):
            facts.label = thing["metadata"]["labels"][NETWORK]
        elif kind == "ServiceAccount":
            facts.accounts.add((place, name))
        elif kind == "ClusterRole":
            roles[name] = any(
                "endpointslices" in rule["resources"] or "endpoints" in rule["resources"]
                for rule in thing["rules"]
            )
        elif kind == "Secret" and thing.get("type") == "kubernetes.io/service-account-token":
            facts.tokens[place, name] = thing["metadata"]["annotations"][
                "kubernetes.io/service-account.name"
            ]
        elif kind == "Secret" and name == "cacerts":
            facts.trust = _trust(directory, thing, open_secret)
        elif kind == "Secret":
            facts.remotes.update(_remotes(directory, thing, open_secret))
        elif kind == "PushSecret":
            for entry in spec["data"]:
                target = entry["match"]["remoteRef"]
                facts.pushes[target["remoteKey"], target["property"]] = (
                    place,
                    spec["selector"]["secret"]["name"],
                )
        elif kind == "Gateway.networking.istio.io":
            for server in spec["servers"]:
                facts.exposed |= server["tls"]["mode"] == "AUTO_PASSTHROUGH"
                listens |= server["port"]["number"] == 15012
        elif kind == "VirtualService":
            hosts |= {route["route"][0]["destination"]["host"] for route in spec.get("tls") or ()}
        elif (
            installs is not None
            and "multiCluster" in (installs[1].get("global") or {})
            and installs[0] not in ("ZTunnel", "ztunnel", "gateway", "base", "cni")
        ):
            planes.append(_plane(installs[1], installs[2], name if kind == "Istio" else ""))
        if installs is not None and installs[0] in ("ZTunnel", "ztunnel"):
            facts.ambient = True
    for (kind, _, _), thing in live.items():
        if kind == "ClusterRoleBinding" and roles.get(thing["roleRef"]["name"]):
            facts.bound |= {
                (subject["namespace"], subject["name"]) for subject in thing["subjects"]
            }
        if (
            kind == "Gateway.gateway.networking.k8s.io"
            and thing["spec"]["gatewayClassName"] == "istio-remote"
        ):
            stated = {
                (
                    thing["metadata"]["labels"][NETWORK],
                    (a["value"], thing["spec"]["listeners"][0]["port"]),
                )
                for a in thing["spec"]["addresses"]
            }
            planes = [
                Plane(**{**plane.__dict__, "declared": plane.declared | stated}) for plane in planes
            ]
    # Istio brings its own reader, with its rights, wherever it is installed.
    own = {(plane.namespace, DEFAULT_READER) for plane in planes}
    facts.accounts |= own
    facts.bound |= own
    facts.planes, facts.gates = tuple(planes), tuple(_gates(live))
    facts.serves = frozenset(hosts) if listens else frozenset()
    return facts


def _trust(directory: str, thing: Object, open_secret: Open) -> Trust | None:
    if thing["kind"] == "Certificate":
        mark = hashlib.sha256(
            json.dumps(thing["spec"]["issuerRef"], sort_keys=True).encode()
        ).hexdigest()
        return Trust(mark, frozenset({mark}))
    sealed = "sops" in thing or thing["kind"] != "Secret"
    data = (
        open_secret(directory, thing)
        if sealed
        else {k: base64.b64decode(v) for k, v in thing["data"].items()}
    )
    return read_trust(data["ca-cert.pem"], data["cert-chain.pem"], data["root-cert.pem"])


# Two trees, and every mixture of them


@dataclass(frozen=True)
class Wanted:
    """What a topology asks for, as the test reads it: names of the directories by context, who discovers whom, who serves whom."""

    names: Mapping[str, str]
    discovers: frozenset[Pair]
    served: Mapping[str, str]
    servers: Mapping[str, str]


@dataclass(frozen=True)
class Token:
    """What a token is of: the cluster by its context, the account, and the Secret; without one it lives as long as the account."""

    context: str
    namespace: str
    account: str
    secret: str | None


@dataclass
class World:
    """What no file says: which token is of which Secret, and which gateway an address leads to (nobody's: the people's own)."""

    tokens: dict[str, Token] = field(default_factory=dict)
    addresses: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    """How often each kind of use was looked at."""


class Mixture:
    """An old tree and a new one, of which each cluster has some stages."""

    def __init__(
        self,
        world: World,
        trees: tuple[Mapping[str, tuple[Stage, ...]], ...],
        wanted: tuple[Wanted, Wanted],
        opens: tuple[Open, Open],
    ) -> None:
        self.world, self.wanted = world, wanted
        self.contexts = sorted({*wanted[0].names, *wanted[1].names})
        nothing: tuple[Stage, ...] = ({}, {}, {})
        self.facts: dict[tuple[str, int], Facts] = {}
        for context in self.contexts:
            old, new = (w.names.get(context) for w in wanted)
            stages = tuple(
                tree.get(name or "", nothing) for tree, name in zip(trees, (old, new), strict=True)
            )
            for level in LEVELS:
                # Of a cluster that leaves the mesh, everything may be deleted at any time.
                live = (
                    apply_stages(stages[0], stages[1], level)
                    if new is not None
                    else apply_stages(stages[0], stages[0], 0)
                    if level == 0
                    else {}
                )
                self.facts[context, level] = read_facts(new or old or "", live, opens[bool(level)])

    def phases(self, groups: list[set[str]]) -> Iterator[dict[str, tuple[int, ...]]]:
        """The levels that clusters may have while each group applies the new tree, the groups one after the other; then those that left are torn down."""
        left = set(self.contexts) - set(self.wanted[1].names)
        rest = set(self.contexts) - left - {c for group in groups for c in group}
        for number, group in enumerate(groups):
            done = {c for g in groups[:number] for c in g}
            now = (group | (rest if number == 0 else set())) - left
            yield {
                c: LEVELS if c in now else (3,) if c in done | rest and c not in left else (0,)
                for c in self.contexts
            }
        yield {c: (0, 3) if c in left else (3,) for c in self.contexts}

    def problems(self, groups: list[set[str]]) -> list[str]:
        """What some mixture breaks: what was used before, and is still asked for, and is not there."""
        found: dict[str, None] = dict.fromkeys(
            [*self._trust_problems(), *self._domain_problems(), *self._label_problems()]
        )
        for levels in self.phases(groups or [set(self.contexts)]):
            found |= dict.fromkeys(
                [
                    *self._login_problems(levels),
                    *self._reach_problems(levels),
                    *self._primary_problems(levels),
                ]
            )
        return list(found)

    # Trust and identities: the certificates of workloads outlive the change, so no order helps

    def _sides(self, context: str) -> list[Facts]:
        there = [self.wanted[0].names.get(context), self.wanted[1].names.get(context)]
        return [
            self.facts[context, level]
            for level, name in zip((0, 3), there, strict=True)
            if name is not None
        ]

    def _staying(self) -> list[str]:
        return [c for c in self.contexts if c in self.wanted[1].names]

    def _trust_problems(self) -> Iterator[str]:
        for one, other in product(self._staying(), repeat=2):
            for mine, theirs in product(self._sides(one), self._sides(other)):
                if mine.trust is not None and theirs.trust is not None:
                    self.world.seen["root"] += 1
                    if mine.trust.signer not in theirs.trust.bundle:
                        yield f"{other} does not trust the root {mine.trust.signer[:8]} that signs workloads of {one}"

    def _domain_problems(self) -> Iterator[str]:
        for one, other in product(self._staying(), repeat=2):
            for mine, theirs in product(self._sides(one), self._sides(other)):
                for plane, istiod in product(mine.planes, theirs.planes):
                    self.world.seen["trust domain"] += 1
                    if plane.domain not in {istiod.domain, *istiod.aliases}:
                        yield f"{other} does not accept the trust domain {plane.domain} of {one}"

    def _label_problems(self) -> Iterator[str]:
        for context in self._staying():
            facts = self.facts[context, 3]
            networks = {
                facts.label,
                *(p.network for p in facts.planes),
                *(g.network for g in facts.gates),
            } - {None, ""}
            self.world.seen["network label"] += bool(networks)
            if len(networks) > 1:
                yield f"{context} says several networks: {sorted(map(str, networks))}"

    # Logins

    def _logins(self, holder: str, remote: Remote, target: str, at: int) -> Iterator[Token | None]:
        """The tokens that a remote secret may hold: what a store refreshes may be the old one for a while; None for what is not known."""
        old = self.facts[holder, 0].remotes.get(self.wanted[0].names.get(target, ""))
        if remote.login[0] == "token":
            yield self.world.tokens.get(remote.login[1])
        elif remote.login[0] == "store":
            places = [
                remote.login[1:],
                *([old.login[1:]] if old is not None and old.login[0] == "store" else []),
            ]
            sides = (self.facts[target, 0], self.facts[target, at])
            pushed = [
                Token(target, *self._pushed(facts, place))
                for facts in sides
                for place in places
                if place in facts.pushes
            ]  # type: ignore[comparison-overlap]
            self.world.seen["place in a store"] += 1
            if not pushed and old is not None and old.login[0] == "token":
                # Until the store has something, the Secret stays as it was.
                pushed = [self.world.tokens[old.login[1]]]
            yield from pushed or [None]

    def _pushed(self, facts: Facts, place: tuple[str, ...]) -> tuple[str, str, str]:
        namespace, secret = facts.pushes[place]  # type: ignore[index]
        return namespace, facts.tokens.get((namespace, secret), "?"), secret

    def login_problem(self, holder: str, level: int, target: str, at: int) -> str | None:
        """Why a cluster, as it is, cannot log in to another, as that is; None where it can, or holds no remote secret for it."""
        remote = self.remote(holder, level, target)
        if remote is None:
            return None
        facts, seen = self.facts[target, at], self.world.seen
        seen["remote secret"] += 1
        if remote.server not in {w.servers.get(target) for w in self.wanted}:
            return f"{holder} reads {target} at {remote.server}, where it is not"
        if remote.login[0] == "other":
            return None
        for token in self._logins(holder, remote, target, at):
            if token is None:
                return f"{holder} reads {target} with a token that nobody knows"
            if token.context != target:
                return f"{holder} reads {target} with a token of {token.context}"
            seen["token Secret"] += token.secret is not None
            seen["account"] += 1
            if (
                token.secret is not None
                and facts.tokens.get((token.namespace, token.secret)) != token.account
            ):
                return f"{holder} reads {target} with the token of the Secret {token.namespace}/{token.secret}, which is not there"
            if (token.namespace, token.account) not in facts.accounts:
                return f"{holder} reads {target} as the account {token.namespace}/{token.account}, which is not there"
            seen["role"] += token.account != DEFAULT_READER
            if (token.namespace, token.account) not in facts.bound:
                return f"{holder} reads {target} as the account {token.namespace}/{token.account}, which has no role"
        return None

    def remote(self, holder: str, level: int, target: str) -> Remote | None:
        """The remote secret for a cluster that istiod of another finds in its namespace."""
        facts = self.facts[holder, level]
        for name in {w.names.get(target) for w in self.wanted}:
            found = facts.remotes.get(name or "")
            if found is not None and all(
                plane.namespace == found.namespace
                for plane in facts.planes
                if plane.served_at is None
            ):
                return found
        return None

    def _asked(self, holder: str, target: str) -> bool:
        """Whether the new topology still has one discover the other."""
        return (holder, target) in self.wanted[1].discovers

    def _login_problems(self, levels: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
        for holder, target in product(self.contexts, repeat=2):
            if holder == target or not self._asked(holder, target):
                continue
            fresh = (holder, target) not in self.wanted[0].discovers and target in self.wanted[
                0
            ].names
            for level, at in product(levels[holder], levels[target]):
                if fresh and (level, at) != (3, 3):
                    # istiod asks again and again until the other is ready; nothing is lost by it.
                    continue
                problem = self.login_problem(holder, level, target, at)
                if problem is not None:
                    yield f"{problem} (stage {level} of {holder}, {at} of {target})"

    # Gateways

    def _networks(self, context: str, *, last: bool) -> set[str]:
        """The networks of its pods: they keep the one that they started with."""
        sides = [self.facts[context, 0], *([self.facts[context, 3]] if last else [])]
        return {plane.network for facts in sides for plane in facts.planes}

    def _protocols(self, context: str, *, last: bool) -> set[str]:
        sides = [self.facts[context, 0], *([self.facts[context, 3]] if last else [])]
        return {"hbone" if facts.ambient else "tls" for facts in sides if facts.planes}

    def _address_problem(
        self, address: str, port: int, protocol: str, levels: Mapping[str, tuple[int, ...]]
    ) -> str | None:
        owner = self.world.addresses.get(address)
        if owner is None or not owner[0]:
            return None
        context, source = owner
        for at in levels.get(context, (0,)):
            gate = next((g for g in self.facts[context, at].gates if g.source == source), None)
            if gate is None:
                return (
                    f"the address {address}, whose gateway of {context} is not there at stage {at}"
                )
            served = {(protocol, port)} & {
                p for g in self.facts[context, 0].gates if g.source == source for p in g.ports
            }
            if served and not served & gate.ports:
                return f"the port {port} of {address}, which the gateway of {context} does not have at stage {at}"
            if (
                protocol == "tls"
                and self.facts[context, 0].exposed
                and not self._exposes(context, at)
            ):
                return f"the address {address}, where {context} lets nothing in at stage {at}"
        return None

    def _exposes(self, context: str, at: int) -> bool:
        """Whether a cluster lets other networks in; one that another's istiod serves goes by what is said there."""
        return self.facts[context, at].exposed or any(context in w.served for w in self.wanted)

    def _found(
        self,
        holder: str,
        level: int,
        network: str,
        protocol: str,
        levels: Mapping[str, tuple[int, ...]],
    ) -> bool:
        """Whether istiod of a cluster finds a gateway of a network by its label, whatever stages the others have."""
        for context in self.contexts:
            if context != holder and self.remote(holder, level, context) is None:
                continue
            if all(
                any(
                    gate.network == network
                    and gate.addressed
                    and any(p == protocol for p, _ in gate.ports)
                    for gate in (
                        self.facts[context, at].gates
                        if protocol == "hbone" or self._exposes(context, at)
                        else ()
                    )
                )
                and (context == holder or self.login_problem(holder, level, context, at) is None)
                for at in (levels[context] if context != holder else (level,))
            ):
                return True
        return False

    def reach_problem(
        self, one: str, level: int, other: str, levels: Mapping[str, tuple[int, ...]], *, last: bool
    ) -> str | None:
        """Why a cluster with some stages does not reach another, with any of the levels that the others may have."""
        if self.remote(one, level, other) is None:
            return f"{one} has no remote secret for {other} at stage {level}"
        planes = self.facts[one, level].planes
        if not planes:
            return f"{one} has no control plane at stage {level}"
        for mine, network, protocol in product(
            self._networks(one, last=last),
            self._networks(other, last=last),
            self._protocols(one, last=last),
        ):
            if mine == network:
                continue
            for plane in planes:
                stated = [gateway for net, gateway in plane.declared if net == network]
                for address, port in stated:
                    self.world.seen["address"] += 1
                    if problem := self._address_problem(address, port, protocol, levels):
                        return f"{one} reaches {other} by {problem} (stage {level} of {one})"
                if not stated:
                    self.world.seen["gateway by label"] += 1
                    if not self._found(one, level, network, protocol, levels):
                        return f"{one} finds no {protocol} gateway of the network {network}, by which it reaches {other} (stage {level} of {one})"
        return None

    def _reach_problems(self, levels: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
        start = dict.fromkeys(self.contexts, (0,))
        end = dict.fromkeys(self.contexts, (3,))
        last = all(3 in at for at in levels.values())
        for one, other in sorted(self.wanted[0].discovers & self.wanted[1].discovers):
            if self.reach_problem(one, 0, other, start, last=False) is not None:
                continue
            self.world.seen["edge"] += 1
            for level in levels[one]:
                if problem := self.reach_problem(one, level, other, levels, last=False):
                    yield problem
            if last and (problem := self.reach_problem(one, 3, other, end, last=True)):
                yield f"{problem}, in the end"

    # Clusters that another's istiod serves

    def _primary_problems(self, levels: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
        for remote, level in ((c, at) for c in self._staying() for at in levels[c]):
            for plane in self.facts[remote, level].planes:
                primary = next(
                    (
                        w.served[remote]
                        for w in (self.wanted if level < 2 else self.wanted[::-1])
                        if remote in w.served
                    ),
                    None,
                )
                if (
                    plane.served_at is None
                    or primary is None
                    or self.wanted[0].names.get(primary) is None
                ):
                    continue
                for at in levels[primary]:
                    facts = self.facts[primary, at]
                    ports = {name for gate in facts.gates for name, _ in gate.ports}
                    self.world.seen["primary"] += 1
                    if self._serves(self.facts[primary, 0]) and not self._serves(facts):
                        yield f"{remote} (stage {level}) is served by {primary}, whose gateway does not lead to istiod at stage {at} ({sorted(ports)})"

    def _serves(self, facts: Facts) -> bool:
        return bool(facts.serves) and any(
            {"istiod", "webhook"} <= {name for name, _ in gate.ports} for gate in facts.gates
        )


def one_group(wanted: Iterable[Wanted]) -> list[set[str]]:
    """The groups where any order will do: all clusters at once."""
    return [{c for w in wanted for c in w.names}]
