"""Who each cluster is: its ID, its network, its version, and whose istiod serves it."""

from collections.abc import Iterator, Sequence
from typing import Any

from kubectl_mesh.adopt.evidence import Evidence, Notes
from kubectl_mesh.adopt.running import AGAIN, OWN_REGISTRY, Given, Running
from kubectl_mesh.errors import Problem
from kubectl_mesh.observed.kubeconfigs import Login, login_of_context
from kubectl_mesh.observed.networks import NETWORK_LABEL, SERVED_BY
from kubectl_mesh.observed.objects import Found
from kubectl_mesh.text import near, shown
from kubectl_mesh.yaml_io.lookup import value_at


def names(running: Sequence[Running], configs: Sequence[Found], name_of: Any, notes: Notes) -> None:
    """The ID of each cluster: what it says itself, else that by which the others hold it."""
    held = [(c, r) for c in running for r in c.remotes]
    keys = {r.key: r for _, r in held}
    contexts = {c.context for c in running}
    for cluster in running:
        said = [e for e in cluster.said.get("id", ()) if e.value != OWN_REGISTRY]
        fix = (
            "a cluster has one name, which is multiCluster.clusterName, the ID in istiod, and the"
            " key in the remote secrets of the others"
        )
        stated = notes.settle(f"the ID of {cluster.context}", said, fix)
        servers = {
            login.server
            for config in configs
            if isinstance(login := login_of_context(config.value, cluster.context), Login)
        }
        noted = list(
            dict.fromkeys(
                r.key for o, r in held if r.stated_context == cluster.context and o is not cluster
            )
        )
        alike = [k for k in (cluster.context, name_of(cluster.context)) if k in keys]
        reached = list(
            dict.fromkeys(
                r.key
                for o, r in held
                if r.login.server in servers
                and o is not cluster
                and r.stated_context in (None, cluster.context)
            )
        )
        cluster.name = stated or next(iter((*noted, *alike, *reached)), name_of(cluster.context))
    taken: dict[str, Running] = {}
    for cluster in running:
        other = taken.setdefault(cluster.name, cluster)
        if other is not cluster:
            place = next(iter(cluster.said.get("id", ())), None)
            where = place.place if place is not None else cluster.objects[0].place
            what = (
                f"the clusters of {other.context} and {cluster.context} have one ID,"
                f" {shown(cluster.name)}: istiod takes one for the other"
            )
            notes.problems.append(
                Problem(
                    where,
                    what,
                    "give one of them another multiCluster.clusterName, and name it so in the"
                    " remote secrets",
                )
            )
    for cluster, remote in held:
        if remote.key not in taken:
            noted_as = (
                f" ({remote.stated_context})"
                if remote.stated_context and remote.stated_context not in contexts
                else ""
            )
            what = (
                f"is a remote secret for {shown(remote.key)}{noted_as}, of which nothing else is"
                f" known{near(remote.key, taken)}"
            )
            notes.problems.append(
                Problem(
                    remote.found.place,
                    what,
                    "give the dumps of that cluster too, or a kubeconfig whose context has its"
                    " server; or leave this Secret out",
                )
            )
        elif remote.key == cluster.name:
            notes.leave(
                remote.found,
                "istiod passes over the remote secret of its own cluster",
                f"{remote.found}, key {remote.key}",
            )


def identity(cluster: Running, running: Sequence[Running], given: Given, notes: Notes) -> None:
    """Network, version and revision of a cluster."""
    network = given.networks.get(cluster.context)
    if network is None:
        network = notes.settle(
            f"the network of {cluster.context}",
            _networks(cluster, running),
            f"--network {cluster.context}=NAME settles it",
        )
    if network is None:
        where = cluster.objects[0].place
        fix = (
            f"--network {cluster.context}=NAME gives it one; clusters whose pods reach each other"
            " directly have the same"
        )
        notes.problems.append(
            Problem(where, f"no dump says on which network {cluster.context} is", fix)
        )
    cluster.network = network or ""
    for what in ("version", "revision"):
        setattr(
            cluster,
            what,
            notes.settle(
                f"the {what} of Istio in {cluster.context}", cluster.said.get(what, ()), AGAIN
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


def primary(cluster: Running, running: Sequence[Running], notes: Notes) -> None:
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
            Problem(where, what, f"dump its Namespace, with the annotation {SERVED_BY}")
        )
        return
    cluster.primary = serving[0].context
    serving[0].address = serving[0].address or notes.settle(
        f"the address of istiod for {cluster.context}", addresses, AGAIN
    )
