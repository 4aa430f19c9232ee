"""The objects of all clusters become the clusters of a mesh: who each is, where, how it is reached, and whom it discovers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubectl_mesh.adopt import remotes
from kubectl_mesh.adopt.authority import Authority, is_authority, the_one
from kubectl_mesh.adopt.controlplane import ControlPlane, control_plane, mesh_networks, says, version_of
from kubectl_mesh.adopt.evidence import Evidence, Notes
from kubectl_mesh.adopt.objects import Found, at
from kubectl_mesh.adopt.remotes import Login, Read, Remote
from kubectl_mesh.errors import MeshError, Place, Problem, near, shown

NETWORK = "topology.istio.io/network"
SERVED_BY = "topology.istio.io/controlPlaneClusters"
DEFAULT_NAMESPACE = "istio-system"
OWN_REGISTRY = "Kubernetes"


@dataclass(slots=True)
class Running:
    """A cluster as the dumps show it; made complete step by step."""

    context: str
    objects: tuple[Found, ...] = field(repr=False)
    planes: tuple[ControlPlane, ...] = ()
    authority: Authority | None = None
    remotes: tuple[Remote, ...] = ()
    namespace: str = DEFAULT_NAMESPACE
    name: str = ""
    network: str = ""
    version: str | None = None
    revision: str | None = None
    login: Login | None = None
    primary: str | None = None
    """The context whose istiod serves this one."""
    address: str | None = None
    peers: tuple[str, ...] | None = None
    said: dict[str, list[Evidence]] = field(default_factory=dict)

    @property
    def main(self) -> ControlPlane | None:
        """Its control plane, less what stands beside it."""
        return next((p for p in self.planes if p.main), None)


@dataclass(frozen=True, slots=True)
class Given:
    """What was said on the command line, and goes before what the dumps say."""

    mesh_id: str | None = None
    networks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mesh:
    """The mesh as it runs."""

    mesh_id: str
    trust_domain: str | None
    clusters: tuple[Running, ...]
    gateways: Mapping[str, tuple[tuple[str, int | None], ...]]
    """Of each network the gateways that are declared by address."""


def mesh(objects: Sequence[Found], read: Read, name_of: Any, given: Given, notes: Notes) -> Mesh:
    """The mesh of these objects; what does not fit together goes to the notes. `name_of` makes a cluster's name of a context's."""
    contexts = dict.fromkeys(o.context for o in objects if o.context)
    configs = [o for o in objects if remotes.is_kubeconfig(o)]
    for found in objects:
        if not found.context and not remotes.is_kubeconfig(found):
            notes.use(found)
            notes.problems.append(Problem(found.place, f"{found} is of no cluster that is named", "give its file or folder as CTX=FILE"))
    for context in given.networks:
        if context not in contexts:
            notes.problems.append(Problem(Place("--network"), f"no dump is of the context {shown(context)}{near(context, contexts)}"))
    running = [Running(c, tuple(o for o in objects if o.context == c)) for c in contexts]
    for cluster in running:
        _parts(cluster, read, notes)
        cluster.namespace = notes.settle(f"the namespace of Istio in {cluster.context}", _namespaces(cluster), _AGAIN) or DEFAULT_NAMESPACE
        _authority(cluster, notes)
    _names(running, configs, name_of, notes)
    for cluster in running:
        _identity(cluster, running, given, notes)
    for cluster in running:
        _login(cluster, running, configs, notes)
        _peers(cluster, running)
        _primary(cluster, running, notes)
    for found in configs:
        notes.use(found)
    said = [e for c in running for e in c.said.get("mesh_id", ())]
    mesh_id = given.mesh_id or notes.settle("the name of the mesh", said, "--mesh-id NAME settles it, and the render gives it to all")
    if mesh_id is None:
        notes.problems.append(Problem(Place("--mesh-id"), "no dump says what the mesh is called", "give it a name with --mesh-id NAME"))
    domains = [e for c in running for e in c.said.get("trust_domain", ())]
    domain = notes.settle("the trust domain", domains, "a topology has one; bring the clusters to one first (meshConfig.trustDomainAliases)")
    return Mesh(mesh_id or "", None if domain == "cluster.local" else domain, tuple(running), _gateways(running, notes))


_AGAIN = "dump it again, or take what is out of date away"


def _parts(cluster: Running, read: Read, notes: Notes) -> None:
    """Control planes and remote secrets of a cluster."""
    planes: list[ControlPlane] = []
    held: list[Remote] = []
    for found in cluster.objects:
        plane = control_plane(found)
        if plane is not None:
            if plane.main and any(p.main for p in planes):
                notes.leave(found, "a second control plane; state a canary in the topology (istio.canary)")
                continue
            notes.use(found)
            planes.append(plane)
        elif remotes.is_remote(found):
            notes.use(found)
            try:
                held += remotes.remotes(found, read)
            except MeshError as error:
                notes.problems += error.problems
    cluster.planes, cluster.remotes = tuple(planes), tuple(held)
    for plane in planes:
        for what, value, how in says(plane):
            if plane.main or what not in ("revision", "version"):
                cluster.said.setdefault(what, []).append(Evidence(value, plane.found.place, how))
    for found in cluster.objects:
        if found.kind == "Deployment" and found.group == "apps":
            _istiod(cluster, found)


def _istiod(cluster: Running, found: Found) -> None:
    """What the Deployment of istiod says."""
    containers = found.at("spec", "template", "spec", "containers")
    for container in containers if isinstance(containers, list) else []:
        version = version_of(str(at(container, "image")))
        if version is None:
            continue
        if not cluster.said.get("version"):
            cluster.said["version"] = [Evidence(version, found.place, "the image of istiod")]
        env = at(container, "env")
        for entry in env if isinstance(env, list) else []:
            if at(entry, "name") == "CLUSTER_ID" and isinstance(value := at(entry, "value"), str) and value:
                cluster.said.setdefault("id", []).append(Evidence(value, found.place, "CLUSTER_ID of istiod"))


def _namespaces(cluster: Running) -> Iterator[Evidence]:
    for found in cluster.objects:
        if (is_authority(found) or remotes.is_remote(found)) and found.namespace:
            yield Evidence(found.namespace, found.place, f"where {found.name} is")
    yield from cluster.said.get("namespace", ())


def _authority(cluster: Running, notes: Notes) -> None:
    held = [o for o in cluster.objects if is_authority(o)]
    for found in held:
        notes.use(found)
    if not held:
        return
    try:
        cluster.authority = the_one(str(held[0].place), held, cluster.namespace)
    except MeshError as error:
        notes.problems += error.problems
        return
    for found in held:
        if found is not cluster.authority.found:
            notes.leave(found, f"istiod signs with {cluster.authority.found.name}, which goes before it")


def _names(running: Sequence[Running], configs: Sequence[Found], name_of: Any, notes: Notes) -> None:
    """The ID of each cluster: what it says itself, else that by which the others hold it."""
    held = [(c, r) for c in running for r in c.remotes]
    keys = {r.key: r for _, r in held}
    contexts = {c.context for c in running}
    for cluster in running:
        said = [e for e in cluster.said.get("id", ()) if e.value != OWN_REGISTRY]
        fix = "a cluster has one name, which is multiCluster.clusterName, the ID in istiod, and the key in the remote secrets of the others"
        stated = notes.settle(f"the ID of {cluster.context}", said, fix)
        servers = {login.server for config in configs if isinstance(login := remotes.of_context(config.value, cluster.context), Login)}
        noted = list(dict.fromkeys(r.key for o, r in held if r.said == cluster.context and o is not cluster))
        alike = [k for k in (cluster.context, name_of(cluster.context)) if k in keys]
        reached = list(dict.fromkeys(r.key for o, r in held if r.login.server in servers and o is not cluster and r.said in (None, cluster.context)))
        cluster.name = stated or next(iter((*noted, *alike, *reached)), name_of(cluster.context))
    taken: dict[str, Running] = {}
    for cluster in running:
        other = taken.setdefault(cluster.name, cluster)
        if other is not cluster:
            place = next(iter(cluster.said.get("id", ())), None)
            where = place.place if place is not None else cluster.objects[0].place
            what = f"the clusters of {other.context} and {cluster.context} have one ID, {shown(cluster.name)}: istiod takes one for the other"
            notes.problems.append(Problem(where, what, "give one of them another multiCluster.clusterName, and name it so in the remote secrets"))
    for cluster, remote in held:
        if remote.key not in taken:
            noted_as = f" ({remote.said})" if remote.said and remote.said not in contexts else ""
            what = f"is a remote secret for {shown(remote.key)}{noted_as}, of which nothing else is known{near(remote.key, taken)}"
            notes.problems.append(Problem(remote.found.place, what, "give the dumps of that cluster too, or leave this Secret out"))
        elif remote.key == cluster.name:
            notes.leave(remote.found, "istiod passes over the remote secret of its own cluster", f"{remote.found}, key {remote.key}")


def _identity(cluster: Running, running: Sequence[Running], given: Given, notes: Notes) -> None:
    """Network, version and revision of a cluster."""
    network = given.networks.get(cluster.context)
    if network is None:
        network = notes.settle(f"the network of {cluster.context}", _networks(cluster, running), f"--network {cluster.context}=NAME settles it")
    if network is None:
        where = cluster.objects[0].place
        fix = f"--network {cluster.context}=NAME gives it one; clusters whose pods reach each other directly have the same"
        notes.problems.append(Problem(where, f"no dump says on which network {cluster.context} is", fix))
    cluster.network = network or ""
    for what in ("version", "revision"):
        setattr(cluster, what, notes.settle(f"the {what} of Istio in {cluster.context}", cluster.said.get(what, ()), _AGAIN))


def _networks(cluster: Running, running: Sequence[Running]) -> Iterator[Evidence]:
    """What says on which network a cluster is, in the order in which istiod asks."""
    for found in cluster.objects:
        label = found.words("labels").get(NETWORK)
        if label and ((found.kind == "Namespace" and found.name == cluster.namespace) or (found.kind == "Service" and found.namespace == cluster.namespace)):
            yield Evidence(label, found.place, f"the label of {found}")
    yield from cluster.said.get("network", ())
    for other in running:
        for plane in other.planes:
            for name, network in mesh_networks(plane).items():
                endpoints = at(network, "endpoints")
                for endpoint in endpoints if isinstance(endpoints, list) else []:
                    registry = at(endpoint, "fromRegistry")
                    if registry == cluster.name or (registry == OWN_REGISTRY and other is cluster):
                        yield Evidence(name, plane.found.place, "meshNetworks")


def _login(cluster: Running, running: Sequence[Running], configs: Sequence[Found], notes: Notes) -> None:
    """How a cluster is reached and logged in to: as the others hold it, else as its own token and a kubeconfig say."""
    held = [r for other in running for r in other.remotes if r.key == cluster.name and other is not cluster]
    for what, of in _ASPECTS.items():
        values = list({repr(of(r.login)): r for r in held}.values())
        if len(values) > 1:
            where, other = values[0].found.place, values[1]
            text = f"{what} of {cluster.name} is another here than in {other.found.place}, which {other.holder} holds"
            notes.problems.append(Problem(where, text, "bring the remote secrets to one state, or leave the one that is out of date out of the dumps"))
    own = _own_token(cluster, notes)
    kube: Login | None = None
    for config in configs:
        found = remotes.of_context(config.value, cluster.context)
        if isinstance(found, str):
            notes.leave(config, f"its context {cluster.context} {found}")
        elif found is not None and kube is None:
            kube = found
    if held:
        best = held[0].login
        fallback = kube.ca if kube is not None and kube.server == best.server else own[1] if own is not None else None
        cluster.login = Login(best.server, best.ca or fallback, best.tls_server_name, best.user, best.insecure)
    elif kube is not None:
        user = {"token": own[0]} if own is not None else {}
        cluster.login = Login(kube.server, kube.ca or (own[1] if own is not None else None), kube.tls_server_name, user, kube.insecure)
    elif own is not None:
        cluster.login = Login("", own[1], None, {"token": own[0]})


_ASPECTS: dict[str, Any] = {
    "the server": lambda login: (login.server, login.tls_server_name),
    "the CA": lambda login: login.ca,
    "the login": lambda login: sorted(login.user.items(), key=str),
}


def _own_token(cluster: Running, notes: Notes) -> tuple[str, bytes | None] | None:
    """The token of the reader that Kubernetes filled in, and the CA beside it."""
    from kubectl_mesh.adopt.objects import secret_data

    for found in cluster.objects:
        account = found.words("annotations").get("kubernetes.io/service-account.name", "")
        if found.kind == "Secret" and found.value.get("type") == "kubernetes.io/service-account-token" and account.startswith("istio-reader"):
            try:
                held = secret_data(found)
            except MeshError as error:
                notes.problems += error.problems
                continue
            if held.get("token"):
                return held["token"].decode("latin-1"), held.get("ca.crt")
    return None


def _peers(cluster: Running, running: Sequence[Running]) -> None:
    """Whom a cluster discovers, where it holds some of the others and not all; who holds none may only not have been dumped."""
    held = {r.key for r in cluster.remotes} - {cluster.name}
    others = [c for c in running if c is not cluster]
    if held and held != {c.name for c in others}:
        cluster.peers = tuple(c.context for c in others if c.name in held)


def _primary(cluster: Running, running: Sequence[Running], notes: Notes) -> None:
    """Whose istiod serves a cluster that has none of its own."""
    main = cluster.main
    profiles = [] if main is None else [at(main.value, "spec", "profile"), at(main.values, "profile")]
    addresses = cluster.said.get("address", ())
    if cluster.authority is not None or ("remote" not in profiles and not addresses):
        return
    namespaces = [o for o in cluster.objects if o.kind == "Namespace" and o.name == cluster.namespace]
    named = {n for o in namespaces for n in o.words("annotations").get(SERVED_BY, "").split(",")}
    serving = [c for c in running if c.name in named and c is not cluster]
    if len(serving) != 1:
        where = main.found.place if main is not None else cluster.objects[0].place
        what = f"{cluster.context} has no control plane of its own, and no dump says whose istiod serves it"
        notes.problems.append(Problem(where, what, f"dump its Namespace, with the annotation {SERVED_BY}"))
        return
    cluster.primary = serving[0].context
    serving[0].address = serving[0].address or notes.settle(f"the address of istiod for {cluster.context}", addresses, _AGAIN)


def _gateways(running: Sequence[Running], notes: Notes) -> dict[str, tuple[tuple[str, int | None], ...]]:
    """The gateways that are declared by address, of networks that istiod does not find by the label of a Service."""
    labelled = {o.words("labels").get(NETWORK) for c in running for o in c.objects if o.kind == "Service"}
    old = any(_minor(c.version) < 8 for c in running)
    found: dict[str, dict[tuple[str, int | None], None]] = {}
    for cluster in running:
        for plane in cluster.planes:
            for name, network in mesh_networks(plane).items():
                for gateway in _listed(network, "gateways"):
                    address, port = at(gateway, "address"), at(gateway, "port")
                    if not isinstance(address, str) or not address:
                        what = f"a gateway of {name} in meshNetworks"
                        notes.leave(plane.found, "it has no address; only those are declared here", what)
                    elif old or name not in labelled:
                        found.setdefault(name, {})[address, port if isinstance(port, int) else None] = None
    if old:
        for cluster in running:
            if cluster.network and cluster.network not in found:
                for address in _addresses(cluster):
                    found.setdefault(cluster.network, {})[address, None] = None
    used = {c.network for c in running}
    return {name: tuple(sorted(each, key=str)) for name, each in sorted(found.items()) if name in used}


def _addresses(cluster: Running) -> Iterator[str]:
    for service in cluster.objects:
        if service.kind == "Service" and service.name == "istio-ingressgateway" and service.namespace == cluster.namespace:
            for entry in _listed(service.at("status", "loadBalancer"), "ingress"):
                address = at(entry, "ip") or at(entry, "hostname")
                if isinstance(address, str) and address:
                    yield address


def _listed(value: Any, key: str) -> Iterable[Any]:
    found = at(value, key)
    return found if isinstance(found, list) else ()


def _minor(version: str | None) -> int:
    return 99 if version is None else int(version.split(".")[1])
