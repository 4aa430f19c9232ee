"""The objects of all clusters become the clusters of a mesh."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from kubectl_mesh.adopt import identity, parts, reach
from kubectl_mesh.adopt.evidence import Evidence, Notes
from kubectl_mesh.adopt.running import AGAIN, DEFAULT_NAMESPACE, NETWORK, Given, Mesh, Running
from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.istio.homes import is_own_charts
from kubectl_mesh.observed.cacerts import is_authority, the_one
from kubectl_mesh.observed.kubeconfigs import is_kubeconfig
from kubectl_mesh.observed.objects import Found
from kubectl_mesh.observed.remotes import Read, is_remote_secret
from kubectl_mesh.text import near, shown
from kubectl_mesh.yaml_io.lookup import value_at

DEFAULT_DOMAIN = "cluster.local"


def mesh(
    found: Sequence[Found], read: Read, parse: Read, name_of: Any, given: Given, notes: Notes
) -> Mesh:
    """The mesh of these objects; what does not fit together goes to the notes.

    `read` loads a kubeconfig, every scalar a text, `parse` what else stands in an object as text.
    `name_of` makes a cluster's name of a context's.
    """
    objects = parts.once(found, notes)
    contexts = dict.fromkeys(o.context for o in objects if o.context)
    configs = [o for o in objects if is_kubeconfig(o)]
    for stray in objects:
        if not stray.context and not is_kubeconfig(stray):
            notes.use(stray)
            notes.problems.append(
                Problem(
                    stray.place,
                    f"{stray} is of no cluster that is named",
                    "give its file or folder as CTX=FILE",
                )
            )
    for context in given.networks:
        if context not in contexts:
            notes.problems.append(
                Problem(
                    Place("--network"),
                    f"no dump is of the context {shown(context)}{near(context, contexts)}",
                )
            )
    running = [Running(c, tuple(o for o in objects if o.context == c)) for c in contexts]
    for cluster in running:
        parts.find(cluster, read, parse, notes)
        cluster.namespace = (
            notes.settle(
                f"the namespace of Istio in {cluster.context}", _namespaces(cluster), AGAIN
            )
            or DEFAULT_NAMESPACE
        )
        _authority(cluster, notes)
    identity.names(running, configs, name_of, notes)
    for cluster in running:
        identity.identity(cluster, running, given, notes)
    for cluster in running:
        reach.login(cluster, running, configs, notes)
        identity.primary(cluster, running, notes)
    reach.peers(running)
    for config in configs:
        notes.use(config)
    said = [e for c in running for e in c.said.get("mesh_id", ())]
    mesh_id = given.mesh_id or notes.settle(
        "the name of the mesh", said, "--mesh-id NAME settles it, and the render gives it to all"
    )
    if mesh_id is None:
        notes.problems.append(
            Problem(
                Place("--mesh-id"),
                "no dump says what the mesh is called",
                "give it a name with --mesh-id NAME",
            )
        )
    domains = [e for c in running for e in c.said.get("trust_domain", ())]
    if domains:
        domains += [
            Evidence(DEFAULT_DOMAIN, c.main.found.place, "no meshConfig.trustDomain")
            for c in running
            if c.main and "trust_domain" not in c.said
        ]
    domain = notes.settle(
        "the trust domain",
        domains,
        "a topology has one; bring the clusters to one first (meshConfig.trustDomainAliases)",
    )
    said = [e for c in running for e in c.said.get("charts", ()) if not is_own_charts(e.value)]
    charts = notes.settle("the repository of the charts", said, "a topology has one (istio.charts)")
    return Mesh(
        mesh_id or "",
        None if domain == DEFAULT_DOMAIN else domain,
        tuple(running),
        _gateways(running, notes),
        charts,
        any("registry" in c.said for c in running),
    )


def _namespaces(cluster: Running) -> Iterator[Evidence]:
    for found in cluster.objects:
        if (is_authority(found) or is_remote_secret(found)) and found.namespace:
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
            notes.leave(
                found, f"istiod signs with {cluster.authority.found.name}, which goes before it"
            )


def _gateways(
    running: Sequence[Running], notes: Notes
) -> dict[str, tuple[tuple[str, int | None], ...]]:
    """The gateways that are declared by address, of networks that istiod does not find by the label
    of a Service.
    """
    labelled = {
        o.words("labels").get(NETWORK) for c in running for o in c.objects if o.kind == "Service"
    }
    old = any(_minor(c.version) < 8 for c in running)
    found: dict[str, dict[tuple[str, int | None], None]] = {}
    for cluster in running:
        for source, table in cluster.tables:
            for name, network in table.items():
                for gateway in _listed(network, "gateways"):
                    address, port = value_at(gateway, "address"), value_at(gateway, "port")
                    if not isinstance(address, str) or not address:
                        what = f"a gateway of {name} in meshNetworks"
                        notes.leave(source, "it has no address; only those are declared here", what)
                    elif old or name not in labelled:
                        found.setdefault(name, {})[
                            address, port if isinstance(port, int) else None
                        ] = None
    for cluster in running:
        for remote in cluster.objects:
            if (
                remote.kind == "Gateway"
                and remote.at("spec", "gatewayClassName") == "istio-remote"
                and (beyond := remote.words("labels").get(NETWORK))
            ):
                notes.use(remote)
                values = [
                    value_at(entry, "value") for entry in _listed(remote.at("spec"), "addresses")
                ]
                found.setdefault(beyond, {}).update(
                    dict.fromkeys((value, None) for value in values if isinstance(value, str))
                )
    if old:
        for cluster in running:
            if cluster.network and cluster.network not in found:
                for address in _addresses(cluster):
                    found.setdefault(cluster.network, {})[address, None] = None
    used = {c.network for c in running}
    return {
        name: tuple(sorted(each, key=str)) for name, each in sorted(found.items()) if name in used
    }


def _addresses(cluster: Running) -> Iterator[str]:
    for service in cluster.objects:
        if (
            service.kind == "Service"
            and service.name == "istio-ingressgateway"
            and service.namespace == cluster.namespace
        ):
            for entry in _listed(service.at("status", "loadBalancer"), "ingress"):
                address = value_at(entry, "ip") or value_at(entry, "hostname")
                if isinstance(address, str) and address:
                    yield address


def _listed(value: Any, key: str) -> Iterable[Any]:
    found = value_at(value, key)
    return found if isinstance(found, list) else ()


def _minor(version: str | None) -> int:
    return 99 if version is None else int(version.split(".")[1])
