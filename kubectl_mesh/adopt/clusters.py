"""The objects of all clusters become the clusters of a mesh."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from kubectl_mesh.adopt import cluster_access, cluster_parts, identity
from kubectl_mesh.adopt.evidence import Evidence, Notes
from kubectl_mesh.adopt.gateways import find_declared_gateways
from kubectl_mesh.adopt.running_mesh import (
    DEFAULT_NAMESPACE,
    DUMP_AGAIN,
    Overrides,
    RunningCluster,
    RunningMesh,
)
from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.istio.retired_registries import is_istio_charts
from kubectl_mesh.observed.dumped_objects import DumpedObject
from kubectl_mesh.observed.dumped_remote_secrets import LoadDocument, is_dumped_remote_secret
from kubectl_mesh.observed.kubeconfigs import is_kubeconfig
from kubectl_mesh.observed.signing_ca import find_signing_ca, is_signing_ca
from kubectl_mesh.text import did_you_mean, value_text

DEFAULT_TRUST_DOMAIN = "cluster.local"


def assemble_mesh(
    resources: Sequence[DumpedObject],
    load_kubeconfig: LoadDocument,
    load_yaml: LoadDocument,
    name_of: Any,
    overrides: Overrides,
    notes: Notes,
) -> RunningMesh:
    """The mesh of these objects; what does not fit together goes to the notes.

    `read` loads a kubeconfig, every scalar a text, `parse` what else stands in an object as text.
    `name_of` makes a cluster's name of a context's.
    """
    objects = cluster_parts.drop_duplicates(resources, notes)
    contexts = dict.fromkeys(o.context for o in objects if o.context)
    configs = [o for o in objects if is_kubeconfig(o)]
    _note_foreign_objects(objects, contexts, overrides, notes)
    running = [RunningCluster(c, tuple(o for o in objects if o.context == c)) for c in contexts]
    for cluster in running:
        cluster_parts.find_parts(cluster, load_kubeconfig, load_yaml, notes)
        cluster.namespace = (
            notes.settle_value(
                f"the namespace of Istio in {cluster.context}",
                _namespace_evidence(cluster),
                DUMP_AGAIN,
                code="namespaces-differ",
            )
            or DEFAULT_NAMESPACE
        )
        _find_signing_ca(cluster, notes)
    identity.name_clusters(running, configs, name_of, notes)
    for cluster in running:
        identity.settle_identity(cluster, running, overrides, notes)
    for cluster in running:
        cluster_access.find_login(cluster, running, configs, notes)
        identity.find_primary(cluster, running, notes)
    cluster_access.find_peers(running)
    for config in configs:
        notes.mark_used(config)
    return RunningMesh(
        _settle_mesh_id(running, overrides, notes),
        _settle_trust_domain(running, notes),
        tuple(running),
        find_declared_gateways(running, notes),
        _settle_chart_repository(running, notes),
        any("registry" in c.evidence for c in running),
    )


def _note_foreign_objects(
    objects: Sequence[DumpedObject], contexts: Collection[str], overrides: Overrides, notes: Notes
) -> None:
    """Notes objects of no cluster, and networks of clusters that were not dumped."""
    for stray in objects:
        if not stray.context and not is_kubeconfig(stray):
            notes.mark_used(stray)
            notes.problems.append(
                Problem(
                    stray.place,
                    f"{stray} is of no cluster that is named",
                    "give its file or folder as CTX=FILE",
                    code="object-of-no-cluster",
                )
            )
    for context in overrides.networks:
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


def _collect_evidence(running: Sequence[RunningCluster], what: str) -> list[Evidence]:
    return [e for c in running for e in c.evidence.get(what, ())]


def _settle_mesh_id(running: Sequence[RunningCluster], overrides: Overrides, notes: Notes) -> str:
    mesh_id = overrides.mesh_id or notes.settle_value(
        "the name of the mesh",
        _collect_evidence(running, "mesh_id"),
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


def _settle_trust_domain(running: Sequence[RunningCluster], notes: Notes) -> str | None:
    """The trust domain of the mesh, None where it is Istio's own."""
    domains = _collect_evidence(running, "trust_domain")
    if domains:
        domains += [
            Evidence(
                DEFAULT_TRUST_DOMAIN, c.istiod_install.resource.place, "no meshConfig.trustDomain"
            )
            for c in running
            if c.istiod_install and "trust_domain" not in c.evidence
        ]
    domain = notes.settle_value(
        "the trust domain",
        domains,
        "a topology has one; bring the clusters to one first (meshConfig.trustDomainAliases)",
        code="trust-domains-differ",
    )
    return None if domain == DEFAULT_TRUST_DOMAIN else domain


def _settle_chart_repository(running: Sequence[RunningCluster], notes: Notes) -> str | None:
    """Where the charts come from, None where that is Istio's own repository."""
    foreign = [e for e in _collect_evidence(running, "charts") if not is_istio_charts(e.value)]
    return notes.settle_value(
        "the repository of the charts",
        foreign,
        "a topology has one (istio.charts)",
        code="chart-repositories-differ",
    )


def _namespace_evidence(cluster: RunningCluster) -> Iterator[Evidence]:
    for found in cluster.objects:
        if (is_signing_ca(found) or is_dumped_remote_secret(found)) and found.namespace:
            yield Evidence(found.namespace, found.place, f"where {found.name} is")
    yield from cluster.evidence.get("namespace", ())


def _find_signing_ca(cluster: RunningCluster, notes: Notes) -> None:
    candidates = [o for o in cluster.objects if is_signing_ca(o)]
    for found in candidates:
        notes.mark_used(found)
    if not candidates:
        return
    try:
        cluster.signing_ca = find_signing_ca(
            str(candidates[0].place), candidates, cluster.namespace
        )
    except MeshError as error:
        notes.problems += error.problems
        return
    for found in candidates:
        if found is not cluster.signing_ca.resource:
            notes.add_unused(
                found, f"istiod signs with {cluster.signing_ca.resource.name}, which goes before it"
            )
