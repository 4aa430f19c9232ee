"""The objects of all clusters become the clusters of a mesh."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from kubectl_mesh.adopt import identity, parts, reach
from kubectl_mesh.adopt.evidence import Evidence, Notes
from kubectl_mesh.adopt.gateways import declared_gateways
from kubectl_mesh.adopt.running import AGAIN, DEFAULT_NAMESPACE, Given, Mesh, Running
from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.istio.retired_registries import is_istio_charts
from kubectl_mesh.observed.cacerts import find_signing_ca, is_signing_ca
from kubectl_mesh.observed.kubeconfigs import is_kubeconfig
from kubectl_mesh.observed.objects import PlacedObject
from kubectl_mesh.observed.remote_dumps import Read, is_remote_secret
from kubectl_mesh.text import did_you_mean, value_text

DEFAULT_DOMAIN = "cluster.local"


def assemble_mesh(
    found: Sequence[PlacedObject], read: Read, parse: Read, name_of: Any, given: Given, notes: Notes
) -> Mesh:
    """The mesh of these objects; what does not fit together goes to the notes.

    `read` loads a kubeconfig, every scalar a text, `parse` what else stands in an object as text.
    `name_of` makes a cluster's name of a context's.
    """
    objects = parts.drop_duplicates(found, notes)
    contexts = dict.fromkeys(o.context for o in objects if o.context)
    configs = [o for o in objects if is_kubeconfig(o)]
    _note_strays(objects, contexts, given, notes)
    running = [Running(c, tuple(o for o in objects if o.context == c)) for c in contexts]
    for cluster in running:
        parts.find_parts(cluster, read, parse, notes)
        cluster.namespace = (
            notes.settle(
                f"the namespace of Istio in {cluster.context}",
                _namespaces(cluster),
                AGAIN,
                code="namespaces-differ",
            )
            or DEFAULT_NAMESPACE
        )
        _authority(cluster, notes)
    identity.name_clusters(running, configs, name_of, notes)
    for cluster in running:
        identity.settle_identity(cluster, running, given, notes)
    for cluster in running:
        reach.find_login(cluster, running, configs, notes)
        identity.find_primary(cluster, running, notes)
    reach.find_peers(running)
    for config in configs:
        notes.use(config)
    return Mesh(
        _mesh_id(running, given, notes),
        _trust_domain(running, notes),
        tuple(running),
        declared_gateways(running, notes),
        _charts(running, notes),
        any("registry" in c.said for c in running),
    )


def _note_strays(
    objects: Sequence[PlacedObject], contexts: Collection[str], given: Given, notes: Notes
) -> None:
    """Notes objects of no cluster, and networks of clusters that were not dumped."""
    for stray in objects:
        if not stray.context and not is_kubeconfig(stray):
            notes.use(stray)
            notes.problems.append(
                Problem(
                    stray.place,
                    f"{stray} is of no cluster that is named",
                    "give its file or folder as CTX=FILE",
                    code="object-of-no-cluster",
                )
            )
    for context in given.networks:
        if context not in contexts:
            notes.problems.append(
                Problem(
                    Place("--network"),
                    (
                        "no dump is of the context"
                        f" {value_text(context)}{did_you_mean(context, contexts)}"
                    ),
                    code="context-not-dumped",
                )
            )


def _evidence(running: Sequence[Running], what: str) -> list[Evidence]:
    return [e for c in running for e in c.said.get(what, ())]


def _mesh_id(running: Sequence[Running], given: Given, notes: Notes) -> str:
    mesh_id = given.mesh_id or notes.settle(
        "the name of the mesh",
        _evidence(running, "mesh_id"),
        "--mesh-id NAME settles it, and the render gives it to all",
        code="mesh-ids-differ",
    )
    if mesh_id is None:
        notes.problems.append(
            Problem(
                Place("--mesh-id"),
                "no dump says what the mesh is called",
                "give it a name with --mesh-id NAME",
                code="mesh-id-unknown",
            )
        )
    return mesh_id or ""


def _trust_domain(running: Sequence[Running], notes: Notes) -> str | None:
    """The trust domain of the mesh, None where it is Istio's own."""
    domains = _evidence(running, "trust_domain")
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
        code="trust-domains-differ",
    )
    return None if domain == DEFAULT_DOMAIN else domain


def _charts(running: Sequence[Running], notes: Notes) -> str | None:
    """Where the charts come from, None where that is Istio's own repository."""
    foreign = [e for e in _evidence(running, "charts") if not is_istio_charts(e.value)]
    return notes.settle(
        "the repository of the charts",
        foreign,
        "a topology has one (istio.charts)",
        code="chart-repositories-differ",
    )


def _namespaces(cluster: Running) -> Iterator[Evidence]:
    for found in cluster.objects:
        if (is_signing_ca(found) or is_remote_secret(found)) and found.namespace:
            yield Evidence(found.namespace, found.place, f"where {found.name} is")
    yield from cluster.said.get("namespace", ())


def _authority(cluster: Running, notes: Notes) -> None:
    held = [o for o in cluster.objects if is_signing_ca(o)]
    for found in held:
        notes.use(found)
    if not held:
        return
    try:
        cluster.authority = find_signing_ca(str(held[0].place), held, cluster.namespace)
    except MeshError as error:
        notes.problems += error.problems
        return
    for found in held:
        if found is not cluster.authority.found:
            notes.leave(
                found, f"istiod signs with {cluster.authority.found.name}, which goes before it"
            )
