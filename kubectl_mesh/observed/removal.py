"""What the removal of a cluster needs from a rendered tree: its clusters and its delivery."""

from collections.abc import Collection, Mapping

from kubectl_mesh.delivery import TOOLS
from kubectl_mesh.delivery.removal import Installation, Tool
from kubectl_mesh.observed.mesh_state import ObservedCluster, RawTree, RemoteSecret
from kubectl_mesh.observed.tree_parser import TreeParser
from kubectl_mesh.stores import STORES
from kubectl_mesh.targets.teardown import Holder
from kubectl_mesh.yaml_io.lookup import text_at


def cluster_context(cluster: ObservedCluster) -> str:
    """The kubectl context of a cluster from its lock, else its name."""
    return (
        cluster.lock.contents.context
        if cluster.lock is not None and cluster.lock.contents.context
        else cluster.name
    )


def cluster_namespace(cluster: ObservedCluster) -> str:
    """Istio's namespace in a cluster."""
    if cluster.namespace is not None:
        return cluster.namespace.value
    return (
        cluster.lock.contents.namespace
        if cluster.lock is not None and cluster.lock.contents.namespace
        else "istio-system"
    )


def build_installation(cluster: ObservedCluster) -> Installation:
    """A cluster of the tree as input for its removal."""
    namespace = cluster_namespace(cluster)
    stated = cluster.lock.contents.control_plane if cluster.lock is not None else ""
    served = cluster.served_by is not None or (
        cluster.lock is not None and cluster.lock.contents.served_by is not None
    )
    return Installation(
        cluster.name,
        cluster_context(cluster),
        namespace,
        stated or next((c.kind for c in cluster.releases), ""),
        tuple(sorted({c.revision or "" for c in cluster.releases})) or ("",),
        tuple(sorted({c.component for c in cluster.control_plane} & {"cni", "ztunnel"})),
        served=served,
        alerts=next(
            (
                o.namespace
                for o in cluster.objects
                if o.kind == "PrometheusRule" and o.namespace not in (None, namespace)
            ),
            None,
        )
        or "",
    )


def build_secret_holder(
    cluster: ObservedCluster, secret: str, held: Collection[RemoteSecret]
) -> Holder:
    """A cluster of the tree that reads another one with this remote secret; `held` are the
    candidates for it.
    """
    controller = next(
        (
            store.CONTROLLER
            for s in held
            if s.name == secret and (store := STORES.get(s.store)) is not None and store.CONTROLLER
        ),
        "",
    )
    return Holder(
        cluster.name, cluster_context(cluster), cluster_namespace(cluster), secret, controller
    )


def find_delivery_tool(tree: RawTree, mesh: str) -> Tool:
    """The tool that applies a tree, by the directory of its objects; else kubectl."""
    for tool in TOOLS.values():
        if tool.DIRECTORY and tool.DIRECTORY in tree:
            stated = _namespace(tree[tool.DIRECTORY], tool.NAMESPACE_FILE)
            return Tool(tool.NAME, stated or tool.NAMESPACE, mesh)
    return Tool(mesh=mesh)


def _namespace(files: Mapping[str, bytes | None], mark: str) -> str:
    for path, body in sorted(files.items()):
        if path.rpartition("/")[2] == mark:
            return next(
                (
                    text_at(value, "metadata", "namespace") or ""
                    for value in TreeParser().parse_documents(path, body)
                ),
                "",
            )
    return ""
