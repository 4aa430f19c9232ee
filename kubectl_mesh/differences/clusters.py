"""Clusters that come, go, or get another name, network, namespace or mesh."""

from collections.abc import Iterator

from kubectl_mesh.differences.both import (
    Both,
    changed,
    effect,
    kubectl,
    mesh,
    removal_effect,
)
from kubectl_mesh.differences.values import CHANGED, DELETED, NEW, Detail, Fact
from kubectl_mesh.model import BUNDLE_FOLDER, REMOTE_SECRETS_PREFIX
from kubectl_mesh.observed.pairs import ClusterPair, list_secret_holders
from kubectl_mesh.observed.removal import build_installation, build_secret_holder, cluster_namespace
from kubectl_mesh.observed.values import Cluster, RawTree, RemoteSecret
from kubectl_mesh.safety.removals import forget_commands
from kubectl_mesh.targets.teardown import list_commands, secret_name


def facts(both: Both) -> Iterator[Fact]:
    """What becomes of each cluster."""
    for pair in both.pairs:
        if pair.before is None and pair.after is not None:
            yield _added(both, pair.after)
        elif pair.after is None and pair.before is not None:
            yield from _removed(both, pair.before)
        else:
            yield from _kept(both, pair)


def discovered(raw: RawTree, name: str) -> tuple[str, ...]:
    """The clusters for which a cluster holds a remote secret."""
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


def release(cluster: Cluster) -> str:
    """What runs in a cluster, in words."""
    found = [
        f"Istio {r.version or '(no version stated)'}"
        + (f" (revision {r.revision})" if r.revision else "")
        for r in cluster.releases
    ]
    return " and ".join(found) or "no control plane yet"


def some(names: tuple[str, ...]) -> str:
    """Names, the first of many."""
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _added(both: Both, cluster: Cluster) -> Fact:
    who, whom = (
        list_secret_holders(both.raw_after, cluster.name),
        discovered(both.raw_after, cluster.name),
    )
    details = [
        Detail("network", None, cluster.network),
        Detail("namespace", None, cluster_namespace(cluster)),
        Detail("runs", None, release(cluster)),
        Detail("store", None, cluster.trust.store),
        Detail("discovers", None, some(whom) or "nobody"),
        Detail("is discovered by", None, some(who) or "nobody"),
    ]
    if cluster.trust.intermediate_fingerprint is not None:
        known = (
            "made by the render"
            if cluster.name in both.made
            else cluster.trust.intermediate_fingerprint
        )
        details.append(Detail("intermediate", None, known))
    gates = [g for g in cluster.gates if g.kind != "meshNetworks"]
    effects = [effect("cluster-added")]
    if gates and cluster.network is not None:
        effects.append(effect("gateway-added", network=cluster.network))
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


def _staying_readers(both: Both, name: str) -> list[Cluster]:
    """The clusters that read one before, and are still in the mesh."""
    names = (both.now(n) for n in list_secret_holders(both.raw_before, name))
    return [both.after.clusters[n] for n in names if n in both.after.clusters]


def _secrets_for(both: Both, name: str) -> list[RemoteSecret]:
    """The remote secrets for a cluster before."""
    return [
        s
        for d in (*both.before.clusters.values(), *both.before.shared.values())
        for s in d.remote_secrets
        if s.peer == name
    ]


def _removed(both: Both, cluster: Cluster) -> Iterator[Fact]:
    """What peers forget, and what takes Istio off the cluster itself."""
    left = _staying_readers(both, cluster.name)
    secrets = {s.name: s for s in _secrets_for(both, cluster.name)}
    holders = [
        build_secret_holder(c, name, secrets.values())
        for c in left
        for name in sorted(secrets or {secret_name(cluster.name)})
    ]
    whole = not any(name and not name.startswith("_") for name in both.raw_after)
    commands = [
        step.text
        for step in list_commands([build_installation(cluster)], holders, both.tool, whole=whole)
    ]
    who = list_secret_holders(both.raw_before, cluster.name)
    details = (
        Detail("network", cluster.network, None),
        Detail("runs", release(cluster), None),
        Detail("discovers", some(discovered(both.raw_before, cluster.name)) or "nobody", None),
        Detail("is discovered by", some(who) or "nobody", None),
    )
    effects = [
        effect("cluster-removed"),
        *(
            [
                removal_effect(
                    "discovery-removed", both.tool, tuple(c.name for c in left), peer=cluster.name
                )
            ]
            if left
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


def _kept(both: Both, pair: ClusterPair) -> Iterator[Fact]:
    """What becomes of the name, network, namespace and mesh of a cluster that stays."""
    old, new = pair.before, pair.after
    assert old is not None
    assert new is not None
    if pair.is_renamed:
        yield _renamed(both, old, new, pair.match_reason)
    if old.network != new.network:
        yield _moved_to_network(old, new)
    if (
        old.label is not None
        and new.label is not None
        and {n.value for n in new.networks} - {new.label.value}
        > {n.value for n in old.networks} - {old.label.value}
    ):
        told = ", ".join(sorted({n.value for n in new.networks}))
        yield changed(
            new.name,
            "network",
            f"network of {new.name}",
            f"the namespace says {new.label.value}, the control plane {told}",
            new.label.file,
        )
    if cluster_namespace(old) != cluster_namespace(new):
        yield _moved_to_namespace(old, new)
    if mesh(old) != mesh(new) and mesh(new) is not None:
        yield changed(
            new.name,
            "mesh",
            "the mesh",
            f"is renamed: {mesh(old)} -> {mesh(new)}",
            new.mesh_ids[0].file,
            effect("mesh-renamed"),
            details=(Detail("mesh", mesh(old), mesh(new)),),
        )


def _renamed(both: Both, old: Cluster, new: Cluster, why: str) -> Fact:
    """That a cluster has another name; `why` says how it was recognised."""
    left = _staying_readers(both, old.name)
    held = _secrets_for(both, old.name)
    commands = tuple(
        command
        for c in left
        for command in forget_commands(
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
        (effect("cluster-renamed"), effect("secret-renamed", tuple(c.name for c in left))),
        commands,
    )


def _moved_to_network(old: Cluster, new: Cluster) -> Fact:
    network = new.network or "none"
    return changed(
        new.name,
        "network",
        f"network of {new.name}",
        f"{old.network or 'none'} -> {network}",
        new.label.file if new.label is not None else f"{new.name}/1-trust/namespace.yaml",
        effect("network", cluster=new.name, network=network),
        details=(Detail("network", old.network, network),),
    )


def _moved_to_namespace(old: Cluster, new: Cluster) -> Fact:
    before, after = cluster_namespace(old), cluster_namespace(new)
    return Fact(
        CHANGED,
        "namespace",
        "Istio's namespace",
        f"{before} -> {after}",
        new.name,
        f"{new.name}/1-trust/namespace.yaml",
        (Detail("namespace", before, after),),
        (effect("namespace"),),
        (kubectl(new, "delete", "namespace", before, "--ignore-not-found"),),
    )
