"""Who each cluster is: its ID, its network, its version, and whose istiod serves it."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from kubectl_mesh.adopt.evidence import Evidence, Notes
from kubectl_mesh.adopt.running import AGAIN, OWN_REGISTRY, Given, Running
from kubectl_mesh.errors import Problem
from kubectl_mesh.observed.kubeconfigs import Login, login_of_context
from kubectl_mesh.observed.networks import NETWORK_LABEL, SERVED_BY
from kubectl_mesh.observed.objects import PlacedObject
from kubectl_mesh.observed.remote_dumps import Remote
from kubectl_mesh.text import did_you_mean, value_text
from kubectl_mesh.yaml_io.lookup import value_at

Held = Sequence[tuple[Running, Remote]]
"""Each remote secret with the cluster that holds it."""


def name_clusters(
    running: Sequence[Running], configs: Sequence[PlacedObject], name_of: Any, notes: Notes
) -> None:
    """The ID of each cluster: what it says itself, else that by which the others hold it."""
    held = [(c, r) for c in running for r in c.remotes]
    for cluster in running:
        said = [e for e in cluster.said.get("id", ()) if e.value != OWN_REGISTRY]
        fix = (
            "a cluster has one name, which is multiCluster.clusterName, the ID in istiod, and the"
            " key in the remote secrets of the others"
        )
        stated = notes.settle(f"the ID of {cluster.context}", said, fix, code="cluster-ids-differ")
        usual = name_of(cluster.context)
        cluster.name = stated or next(_names_of_others(cluster, held, configs, usual), usual)
    by_name: dict[str, Running] = {}
    for cluster in running:
        other = by_name.setdefault(cluster.name, cluster)
        if other is not cluster:
            notes.problems.append(_shared_name_problem(other, cluster))
    contexts = {c.context for c in running}
    for cluster, remote in held:
        if remote.key not in by_name:
            notes.problems.append(_unknown_remote_problem(remote, contexts, by_name))
        elif remote.key == cluster.name:
            notes.leave(
                remote.found,
                "istiod passes over the remote secret of its own cluster",
                f"{remote.found}, key {remote.key}",
            )


def _names_of_others(
    cluster: Running, held: Held, configs: Sequence[PlacedObject], usual: str
) -> Iterator[str]:
    """The names by which others hold a cluster: by the context that a remote secret notes, by the
    usual names, and by the server.
    """
    others = [r for holder, r in held if holder is not cluster]
    yield from (r.key for r in others if r.stated_context == cluster.context)
    keys = {r.key for _, r in held}
    yield from (name for name in (cluster.context, usual) if name in keys)
    servers = {
        login.server
        for config in configs
        if isinstance(login := login_of_context(config.value, cluster.context), Login)
    }
    for remote in others:
        if remote.login.server in servers and remote.stated_context in (None, cluster.context):
            yield remote.key


def _shared_name_problem(first: Running, second: Running) -> Problem:
    place = next(iter(second.said.get("id", ())), None)
    return Problem(
        place.place if place is not None else second.objects[0].place,
        f"the clusters of {first.context} and {second.context} have one ID,"
        f" {value_text(second.name)}: istiod takes one for the other",
        "give one of them another multiCluster.clusterName, and name it so in the remote secrets",
        code="cluster-id-shared",
    )


def _unknown_remote_problem(
    remote: Remote, contexts: Collection[str], names: Iterable[str]
) -> Problem:
    context = remote.stated_context
    noted_as = f" ({context})" if context and context not in contexts else ""
    return Problem(
        remote.found.place,
        f"is a remote secret for {value_text(remote.key)}{noted_as}, of which nothing else is"
        f" known{did_you_mean(remote.key, names)}",
        "give the dumps of that cluster too, or a kubeconfig whose context has its"
        " server; or leave this Secret out",
        code="remote-secret-of-unknown-cluster",
    )


def settle_identity(
    cluster: Running, running: Sequence[Running], given: Given, notes: Notes
) -> None:
    """Network, version and revision of a cluster."""
    network = given.networks.get(cluster.context)
    if network is None:
        network = notes.settle(
            f"the network of {cluster.context}",
            _networks(cluster, running),
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
            notes.settle(
                f"the {what} of Istio in {cluster.context}",
                cluster.said.get(what, ()),
                AGAIN,
                code=f"istio-{what}s-differ",
            ),
        )


def _networks(cluster: Running, running: Sequence[Running]) -> Iterator[Evidence]:
    """What says on which network a cluster is, in the order in which istiod asks."""
    for found in cluster.objects:
        label = found.words("labels").get(NETWORK_LABEL)
        if label and (
            (found.kind == "Namespace" and found.name == cluster.namespace)
            or (found.kind == "Service" and found.namespace == cluster.namespace)
        ):
            yield Evidence(label, found.place, f"the label of {found}")
    yield from cluster.said.get("network", ())
    for other in running:
        own_names = {cluster.name, OWN_REGISTRY} if other is cluster else {cluster.name}
        for source, table in other.tables:
            for network in table:
                for registry in network.registries:
                    if registry in own_names:
                        yield Evidence(network.name, source.place, "meshNetworks")


def find_primary(cluster: Running, running: Sequence[Running], notes: Notes) -> None:
    """Whose istiod serves a cluster that has none of its own."""
    main = cluster.main
    profiles = (
        []
        if main is None
        else [value_at(main.value, "spec", "profile"), value_at(main.values, "profile")]
    )
    addresses = cluster.said.get("address", ())
    if cluster.authority is not None or ("remote" not in profiles and not addresses):
        return
    namespaces = [
        o for o in cluster.objects if o.kind == "Namespace" and o.name == cluster.namespace
    ]
    named = {n for o in namespaces for n in o.words("annotations").get(SERVED_BY, "").split(",")}
    serving = [c for c in running if c.name in named and c is not cluster]
    if len(serving) != 1:
        where = main.found.place if main is not None else cluster.objects[0].place
        what = (
            f"{cluster.context} has no control plane of its own, and no dump says whose istiod"
            " serves it"
        )
        notes.problems.append(
            Problem(
                where,
                what,
                f"dump its Namespace, with the annotation {SERVED_BY}",
                code="primary-unknown",
            )
        )
        return
    cluster.primary = serving[0].context
    serving[0].address = serving[0].address or notes.settle(
        f"the address of istiod for {cluster.context}",
        addresses,
        AGAIN,
        code="control-plane-addresses-differ",
    )
