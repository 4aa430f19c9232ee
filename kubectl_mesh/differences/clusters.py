"""Clusters that come, go, or get another name, network, namespace or mesh."""

from collections.abc import Iterator

from kubectl_mesh.differences.comparison import (
    TreePair,
    build_change,
    build_effect,
    find_mesh_id,
    kubectl_command,
    removal_effect,
)
from kubectl_mesh.differences.values import CHANGED, DELETED, NEW, Detail, Fact
from kubectl_mesh.model import BUNDLE_FOLDER, REMOTE_SECRETS_PREFIX
from kubectl_mesh.observed.cluster_pairs import ClusterPair, list_secret_holders
from kubectl_mesh.observed.mesh_state import ObservedCluster, RawTree, RemoteSecret
from kubectl_mesh.observed.removal import build_installation, build_secret_holder, cluster_namespace
from kubectl_mesh.safety.removals import delete_remote_secret_commands
from kubectl_mesh.targets.teardown import list_commands, secret_name


def list_cluster_facts(both: TreePair) -> Iterator[Fact]:
    """What becomes of each cluster."""
    for pair in both.pairs:
        if pair.before is None and pair.after is not None:
            yield _added_fact(both, pair.after)
        elif pair.after is None and pair.before is not None:
            yield from _removal_facts(both, pair.before)
        else:
            yield from _staying_facts(both, pair)


def list_peers(raw: RawTree, name: str) -> tuple[str, ...]:
    """The clusters that a cluster has remote secrets for."""
    own = {
        p.removeprefix(REMOTE_SECRETS_PREFIX).removesuffix(".yaml")
        for p in raw.get(name, {})
        if p.startswith(REMOTE_SECRETS_PREFIX)
    }
    shared = {
        p.removesuffix(".yaml")
        for p in raw.get(BUNDLE_FOLDER, {})
        if p.endswith(".yaml") and not p.startswith((".", "kustomization"))
    }
    return tuple(sorted((own | shared) - {name}))


def release_text(cluster: ObservedCluster) -> str:
    """What runs in a cluster, in words."""
    found = [
        f"Istio {r.version or '(no version stated)'}"
        + (f" (revision {r.revision})" if r.revision else "")
        for r in cluster.releases
    ]
    return " and ".join(found) or "no control plane yet"


def names_text(names: tuple[str, ...]) -> str:
    """Names, the first of many."""
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _added_fact(both: TreePair, cluster: ObservedCluster) -> Fact:
    who, whom = (
        list_secret_holders(both.raw_after, cluster.name),
        list_peers(both.raw_after, cluster.name),
    )
    details = [
        Detail("network", None, cluster.network),
        Detail("namespace", None, cluster_namespace(cluster)),
        Detail("runs", None, release_text(cluster)),
        Detail("store", None, cluster.cacerts.store),
        Detail("discovers", None, names_text(whom) or "nobody"),
        Detail("is discovered by", None, names_text(who) or "nobody"),
    ]
    if cluster.cacerts.intermediate_fingerprint is not None:
        known = (
            "made by the render"
            if cluster.name in both.generated_intermediates
            else cluster.cacerts.intermediate_fingerprint
        )
        details.append(Detail("intermediate", None, known))
    gates = [g for g in cluster.gateways if g.kind != "meshNetworks"]
    effects = [build_effect("cluster-added")]
    if gates and cluster.network is not None:
        effects.append(build_effect("gateway-added", network=cluster.network))
    return Fact(
        NEW,
        "cluster",
        f"cluster {cluster.name}",
        "is added",
        cluster.name,
        f"{cluster.name}/",
        tuple(details),
        tuple(effects),
    )


def _staying_readers(both: TreePair, name: str) -> list[ObservedCluster]:
    """The clusters that read one before, and are still in the mesh."""
    names = (both.current_name(n) for n in list_secret_holders(both.raw_before, name))
    return [both.after.clusters[n] for n in names if n in both.after.clusters]


def _secrets_for(both: TreePair, name: str) -> list[RemoteSecret]:
    """The remote secrets for a cluster before."""
    return [
        s
        for d in (*both.before.clusters.values(), *both.before.shared_directories.values())
        for s in d.remote_secrets
        if s.peer == name
    ]


def _removal_facts(both: TreePair, cluster: ObservedCluster) -> Iterator[Fact]:
    """What peers forget, and what takes Istio off the cluster itself."""
    staying = _staying_readers(both, cluster.name)
    secrets = {s.name: s for s in _secrets_for(both, cluster.name)}
    holders = [
        build_secret_holder(c, name, secrets.values())
        for c in staying
        for name in sorted(secrets or {secret_name(cluster.name)})
    ]
    is_last = not any(name and not name.startswith("_") for name in both.raw_after)
    commands = [
        step.text
        for step in list_commands([build_installation(cluster)], holders, both.tool, whole=is_last)
    ]
    who = list_secret_holders(both.raw_before, cluster.name)
    details = (
        Detail("network", cluster.network, None),
        Detail("runs", release_text(cluster), None),
        Detail(
            "discovers", names_text(list_peers(both.raw_before, cluster.name)) or "nobody", None
        ),
        Detail("is discovered by", names_text(who) or "nobody", None),
    )
    effects = [
        build_effect("cluster-removed"),
        *(
            [
                removal_effect(
                    "discovery-removed",
                    both.tool,
                    tuple(c.name for c in staying),
                    peer=cluster.name,
                )
            ]
            if staying
            else []
        ),
    ]
    yield Fact(
        DELETED,
        "cluster",
        f"cluster {cluster.name}",
        "leaves the mesh",
        cluster.name,
        f"{cluster.name}/",
        details,
        tuple(effects),
        tuple(dict.fromkeys(commands)),
    )


def _staying_facts(both: TreePair, pair: ClusterPair) -> Iterator[Fact]:
    """What becomes of the name, network, namespace and mesh of a cluster that stays."""
    old, new = pair.before, pair.after
    assert old is not None
    assert new is not None
    if pair.is_renamed:
        yield _rename_fact(both, old, new, pair.match_reason)
    if old.network != new.network:
        yield _network_fact(old, new)
    if (
        old.network_label is not None
        and new.network_label is not None
        and {n.value for n in new.network_values} - {new.network_label.value}
        > {n.value for n in old.network_values} - {old.network_label.value}
    ):
        stated = ", ".join(sorted({n.value for n in new.network_values}))
        yield build_change(
            new.name,
            "network",
            f"network of {new.name}",
            f"the namespace says {new.network_label.value}, the control plane {stated}",
            new.network_label.file,
        )
    if cluster_namespace(old) != cluster_namespace(new):
        yield _namespace_fact(old, new)
    if find_mesh_id(old) != find_mesh_id(new) and find_mesh_id(new) is not None:
        yield build_change(
            new.name,
            "mesh",
            "the mesh",
            f"is renamed: {find_mesh_id(old)} -> {find_mesh_id(new)}",
            new.mesh_ids[0].file,
            build_effect("mesh-renamed"),
            details=(Detail("mesh", find_mesh_id(old), find_mesh_id(new)),),
        )


def _rename_fact(both: TreePair, old: ObservedCluster, new: ObservedCluster, why: str) -> Fact:
    """That a cluster has another name; `why` says how it was recognised."""
    staying = _staying_readers(both, old.name)
    held = _secrets_for(both, old.name)
    commands = tuple(
        command
        for c in staying
        for command in delete_remote_secret_commands(
            build_secret_holder(c, secret_name(old.name), held), both.tool
        )
    )
    return Fact(
        CHANGED,
        "rename",
        f"cluster {old.name}",
        f"is renamed to {new.name} ({why})",
        new.name,
        f"{new.name}/",
        (Detail("name", old.name, new.name),),
        (
            build_effect("cluster-renamed"),
            build_effect("secret-renamed", tuple(c.name for c in staying)),
        ),
        commands,
    )


def _network_fact(old: ObservedCluster, new: ObservedCluster) -> Fact:
    network = new.network or "none"
    return build_change(
        new.name,
        "network",
        f"network of {new.name}",
        f"{old.network or 'none'} -> {network}",
        new.network_label.file
        if new.network_label is not None
        else f"{new.name}/1-trust/namespace.yaml",
        build_effect("network", cluster=new.name, network=network),
        details=(Detail("network", old.network, network),),
    )


def _namespace_fact(old: ObservedCluster, new: ObservedCluster) -> Fact:
    before, after = cluster_namespace(old), cluster_namespace(new)
    return Fact(
        CHANGED,
        "namespace",
        "Istio's namespace",
        f"{before} -> {after}",
        new.name,
        f"{new.name}/1-trust/namespace.yaml",
        (Detail("namespace", before, after),),
        (build_effect("namespace"),),
        (kubectl_command(new, "delete", "namespace", before, "--ignore-not-found"),),
    )
