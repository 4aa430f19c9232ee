"""The identity of each cluster: its ID, network, version and primary."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from kubectl_mesh.adopt.evidence import Evidence, Notes
from kubectl_mesh.adopt.running_mesh import DUMP_AGAIN, LOCAL_REGISTRY, Overrides, RunningCluster
from kubectl_mesh.errors import Problem
from kubectl_mesh.observed.dumped_objects import DumpedObject
from kubectl_mesh.observed.dumped_remote_secrets import DumpedRemoteSecret
from kubectl_mesh.observed.kubeconfigs import Login, parse_context_login
from kubectl_mesh.observed.networks import NETWORK_LABEL, SERVED_BY_ANNOTATION
from kubectl_mesh.text import did_you_mean, value_text
from kubectl_mesh.yaml_io.lookup import value_at

SecretsWithHolder = Sequence[tuple[RunningCluster, DumpedRemoteSecret]]
"""Each remote secret with the cluster that holds it."""


def name_clusters(
    running: Sequence[RunningCluster], configs: Sequence[DumpedObject], name_of: Any, notes: Notes
) -> None:
    """The ID of each cluster: what it says itself, else that by which the others hold it."""
    remote_secrets = [(c, r) for c in running for r in c.remote_secrets]
    for cluster in running:
        evidence = [e for e in cluster.evidence.get("id", ()) if e.value != LOCAL_REGISTRY]
        fix = (
            "a cluster has one name, which is multiCluster.clusterName, the ID in istiod, and the"
            " key in the remote secrets of the others"
        )
        stated = notes.settle_value(
            f"the ID of {cluster.context}", evidence, fix, code="cluster-ids-differ"
        )
        default_name = name_of(cluster.context)
        cluster.name = stated or next(
            _names_of_others(cluster, remote_secrets, configs, default_name), default_name
        )
    by_name: dict[str, RunningCluster] = {}
    for cluster in running:
        other = by_name.setdefault(cluster.name, cluster)
        if other is not cluster:
            notes.problems.append(_shared_name_problem(other, cluster))
    contexts = {c.context for c in running}
    for cluster, remote in remote_secrets:
        if remote.cluster_id not in by_name:
            notes.problems.append(_unknown_remote_problem(remote, contexts, by_name))
        elif remote.cluster_id == cluster.name:
            notes.add_unused(
                remote.resource,
                "istiod passes over the remote secret of its own cluster",
                f"{remote.resource}, key {remote.cluster_id}",
            )


def _names_of_others(
    cluster: RunningCluster,
    remote_secrets: SecretsWithHolder,
    configs: Sequence[DumpedObject],
    default_name: str,
) -> Iterator[str]:
    """The names by which others hold a cluster: by the context that a remote secret notes, by the
    usual names, and by the server.
    """
    others = [r for holder, r in remote_secrets if holder is not cluster]
    yield from (r.cluster_id for r in others if r.stated_context == cluster.context)
    keys = {r.cluster_id for _, r in remote_secrets}
    yield from (name for name in (cluster.context, default_name) if name in keys)
    servers = {
        login.server
        for config in configs
        if isinstance(login := parse_context_login(config.value, cluster.context), Login)
    }
    for remote in others:
        if remote.login.server in servers and remote.stated_context in (None, cluster.context):
            yield remote.cluster_id


def _shared_name_problem(first: RunningCluster, second: RunningCluster) -> Problem:
    place = next(iter(second.evidence.get("id", ())), None)
    return Problem(
        place.place if place is not None else second.objects[0].place,
        f"the clusters of {first.context} and {second.context} have one ID,"
        f" {value_text(second.name)}: istiod takes one for the other",
        "give one of them another multiCluster.clusterName, and name it so in the remote secrets",
        code="cluster-id-shared",
    )


def _unknown_remote_problem(
    remote: DumpedRemoteSecret, contexts: Collection[str], names: Iterable[str]
) -> Problem:
    context = remote.stated_context
    noted_as = f" ({context})" if context and context not in contexts else ""
    return Problem(
        remote.resource.place,
        f"is a remote secret for {value_text(remote.cluster_id)}{noted_as}, of which nothing else"
        " is"
        f" known{did_you_mean(remote.cluster_id, names)}",
        "give the dumps of that cluster too, or a kubeconfig whose context has its"
        " server; or leave this Secret out",
        code="remote-secret-of-unknown-cluster",
    )


def settle_identity(
    cluster: RunningCluster, running: Sequence[RunningCluster], overrides: Overrides, notes: Notes
) -> None:
    """Network, version and revision of a cluster."""
    network = overrides.networks.get(cluster.context)
    if network is None:
        network = notes.settle_value(
            f"the network of {cluster.context}",
            _network_evidence(cluster, running),
            f"--network {cluster.context}=NAME settles it",
            code="networks-differ",
        )
    if network is None:
        where = cluster.objects[0].place
        fix = (
            f"--network {cluster.context}=NAME gives it one; clusters whose pods reach each other"
            " directly have the same"
        )
        notes.problems.append(
            Problem(
                where,
                f"no dump says on which network {cluster.context} is",
                fix,
                code="network-unknown",
            )
        )
    cluster.network = network or ""
    for what in ("version", "revision"):
        setattr(
            cluster,
            what,
            notes.settle_value(
                f"the {what} of Istio in {cluster.context}",
                cluster.evidence.get(what, ()),
                DUMP_AGAIN,
                code=f"istio-{what}s-differ",
            ),
        )


def _network_evidence(
    cluster: RunningCluster, running: Sequence[RunningCluster]
) -> Iterator[Evidence]:
    """What says on which network a cluster is, in the order in which istiod asks."""
    for found in cluster.objects:
        label = found.metadata_strings("labels").get(NETWORK_LABEL)
        if label and (
            (found.kind == "Namespace" and found.name == cluster.namespace)
            or (found.kind == "Service" and found.namespace == cluster.namespace)
        ):
            yield Evidence(label, found.place, f"the label of {found}")
    yield from cluster.evidence.get("network", ())
    for other in running:
        own_names = {cluster.name, LOCAL_REGISTRY} if other is cluster else {cluster.name}
        for source, table in other.network_declarations:
            for network in table:
                for registry in network.registries:
                    if registry in own_names:
                        yield Evidence(network.name, source.place, "meshNetworks")


def find_primary(cluster: RunningCluster, running: Sequence[RunningCluster], notes: Notes) -> None:
    """Whose istiod serves a cluster that has none of its own."""
    main = cluster.istiod_install
    profiles = (
        []
        if main is None
        else [value_at(main.value, "spec", "profile"), value_at(main.values, "profile")]
    )
    addresses = cluster.evidence.get("address", ())
    if cluster.signing_ca is not None or ("remote" not in profiles and not addresses):
        return
    namespaces = [
        o for o in cluster.objects if o.kind == "Namespace" and o.name == cluster.namespace
    ]
    named = {
        n
        for o in namespaces
        for n in o.metadata_strings("annotations").get(SERVED_BY_ANNOTATION, "").split(",")
    }
    serving = [c for c in running if c.name in named and c is not cluster]
    if len(serving) != 1:
        where = main.resource.place if main is not None else cluster.objects[0].place
        what = (
            f"{cluster.context} has no control plane of its own, and no dump says whose istiod"
            " serves it"
        )
        notes.problems.append(
            Problem(
                where,
                what,
                f"dump its Namespace, with the annotation {SERVED_BY_ANNOTATION}",
                code="primary-unknown",
            )
        )
        return
    cluster.primary = serving[0].context
    serving[0].istiod_address = serving[0].istiod_address or notes.settle_value(
        f"the address of istiod for {cluster.context}",
        addresses,
        DUMP_AGAIN,
        code="control-plane-addresses-differ",
    )
