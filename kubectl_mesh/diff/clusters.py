"""Clusters that come, go, or get another name, network, namespace or mesh."""

from collections.abc import Iterator

from kubectl_mesh.diff.both import Both, changed, delete, effect, forget, kubectl, mesh, namespace
from kubectl_mesh.diff.pair import Pair
from kubectl_mesh.diff.values import CHANGED, DELETED, NEW, Detail, Fact
from kubectl_mesh.model import BUNDLE, REMOTE_SECRETS
from kubectl_mesh.view import RawTree
from kubectl_mesh.view.values import Cluster


def facts(both: Both) -> Iterator[Fact]:
    """What becomes of each cluster."""
    for pair in both.pairs:
        if pair.before is None and pair.after is not None:
            yield _added(both, pair.after)
        elif pair.after is None and pair.before is not None:
            yield from _removed(both, pair.before)
        else:
            yield from _kept(both, pair)


def readers(raw: RawTree, name: str) -> tuple[str, ...]:
    """The clusters that hold a remote secret for a cluster, by the names of files."""
    path = f"{REMOTE_SECRETS}{name}.yaml"
    shared = f"{name}.yaml" in raw.get(BUNDLE, {})
    return tuple(sorted(n for n, files in raw.items() if n and n != name and not n.startswith("_") and (path in files or shared)))


def discovered(raw: RawTree, name: str) -> tuple[str, ...]:
    """The clusters for which a cluster holds a remote secret."""
    own = {p.removeprefix(REMOTE_SECRETS).removesuffix(".yaml") for p in raw.get(name, {}) if p.startswith(REMOTE_SECRETS)}
    shared = {p.removesuffix(".yaml") for p in raw.get(BUNDLE, {}) if p.endswith(".yaml") and not p.startswith((".", "kustomization"))}
    return tuple(sorted((own | shared) - {name}))


def release(cluster: Cluster) -> str:
    """What runs in a cluster, in words."""
    found = [f"Istio {r.version or '(no version stated)'}" + (f" (revision {r.revision})" if r.revision else "") for r in cluster.releases]
    return " and ".join(found) or "no control plane yet"


def some(names: tuple[str, ...]) -> str:
    """Names, the first of many."""
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _added(both: Both, cluster: Cluster) -> Fact:
    who, whom = readers(both.raw_after, cluster.name), discovered(both.raw_after, cluster.name)
    details = [
        Detail("network", None, cluster.network),
        Detail("namespace", None, namespace(cluster)),
        Detail("runs", None, release(cluster)),
        Detail("store", None, cluster.trust.store),
        Detail("discovers", None, some(whom) or "nobody"),
        Detail("is discovered by", None, some(who) or "nobody"),
    ]
    if cluster.trust.intermediate_fingerprint is not None:
        known = "made by the render" if cluster.name in both.made else cluster.trust.intermediate_fingerprint
        details.append(Detail("intermediate", None, known))
    gates = [g for g in cluster.gates if g.kind != "meshNetworks"]
    effects = [effect("cluster-added")]
    if gates and cluster.network is not None:
        effects.append(effect("gateway-added", network=cluster.network))
    return Fact(NEW, "cluster", f"cluster {cluster.name}", "is added", cluster.name, f"{cluster.name}/", tuple(details), tuple(effects))


def _removed(both: Both, cluster: Cluster) -> Iterator[Fact]:
    """What peers forget, and what stays in the cluster itself: the control plane first, the namespace last."""
    left = [c for n in readers(both.raw_before, cluster.name) if (c := both.after.clusters.get(both.now(n))) is not None]
    names = {s.name for d in (*both.before.clusters.values(), *both.before.shared.values()) for s in d.remote_secrets if s.peer == cluster.name}
    commands = [forget(c, name) for c in left for name in sorted(names or {f"istio-remote-secret-{cluster.name}"})]
    files = {c.file for c in cluster.control_plane}
    for thing in cluster.objects:
        if thing.file in files and thing.kind in ("IstioOperator", "IstioControlPlane"):
            if "istioctl" not in commands[-1:]:
                commands.append(f"istioctl --context={cluster.lock.context if cluster.lock else cluster.name} uninstall --purge -y")
        elif thing.file in files or thing.kind in ("ClusterRole", "ClusterRoleBinding"):
            commands.append(delete(cluster, thing))
    commands.append(kubectl(cluster, "delete", "namespace", namespace(cluster), "--ignore-not-found"))
    details = (
        Detail("network", cluster.network, None),
        Detail("runs", release(cluster), None),
        Detail("discovers", some(discovered(both.raw_before, cluster.name)) or "nobody", None),
        Detail("is discovered by", some(readers(both.raw_before, cluster.name)) or "nobody", None),
    )
    effects = [effect("cluster-removed"), *([effect("discovery-removed", tuple(c.name for c in left), peer=cluster.name)] if left else [])]
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


def _kept(both: Both, pair: Pair) -> Iterator[Fact]:
    old, new = pair.before, pair.after
    assert old is not None
    assert new is not None
    if pair.renamed:
        left = [c for n in readers(both.raw_before, old.name) if (c := both.after.clusters.get(both.now(n))) is not None]
        commands = tuple(forget(c, f"istio-remote-secret-{old.name}") for c in left)
        effects = (effect("cluster-renamed"), effect("secret-renamed", tuple(c.name for c in left)))
        what, details = f"is renamed to {new.name} ({pair.why})", (Detail("name", old.name, new.name),)
        yield Fact(CHANGED, "rename", f"cluster {old.name}", what, new.name, f"{new.name}/", details, effects, commands)
    if old.network != new.network:
        moves = effect("network", cluster=new.name, network=new.network or "none")
        network, file = new.network or "none", new.label.file if new.label is not None else f"{new.name}/1-trust/namespace.yaml"
        yield changed(
            new.name,
            "network",
            f"network of {new.name}",
            f"{old.network or 'none'} -> {network}",
            file,
            moves,
            details=(Detail("network", old.network, network),),
        )
    if (
        old.label is not None
        and new.label is not None
        and {n.value for n in new.networks} - {new.label.value} > {n.value for n in old.networks} - {old.label.value}
    ):
        told = ", ".join(sorted({n.value for n in new.networks}))
        yield changed(new.name, "network", f"network of {new.name}", f"the namespace says {new.label.value}, the control plane {told}", new.label.file)
    if namespace(old) != namespace(new):
        what = f"{namespace(old)} -> {namespace(new)}"
        details = (Detail("namespace", namespace(old), namespace(new)),)
        commands = (kubectl(new, "delete", "namespace", namespace(old), "--ignore-not-found"),)
        yield Fact(CHANGED, "namespace", "Istio's namespace", what, new.name, f"{new.name}/1-trust/namespace.yaml", details, (effect("namespace"),), commands)
    if mesh(old) != mesh(new) and mesh(new) is not None:
        details = (Detail("mesh", mesh(old), mesh(new)),)
        yield changed(new.name, "mesh", "the mesh", f"is renamed: {mesh(old)} -> {mesh(new)}", new.mesh_ids[0].file, effect("mesh-renamed"), details=details)
