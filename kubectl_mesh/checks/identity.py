"""The checks of what a tree says each cluster is: its name, its mesh, its network, its trust
domain, in every place that says so.
"""

from collections.abc import Iterator

from kubectl_mesh.checks.asked import Asked
from kubectl_mesh.checks.result import ERROR, Check
from kubectl_mesh.errors import Problem
from kubectl_mesh.model import Cluster as Wanted
from kubectl_mesh.observed.values import Cluster, Gate, Said
from kubectl_mesh.text import shown

_STATED = "Render, which makes the file anew; what it should be is stated in topology.yaml."
CHECKS = (
    Check(
        "tree-identity",
        "tree",
        ERROR,
        "every control plane has its cluster's name and the mesh's",
        "istiod: `client claims to be in cluster`, or endpoints that are counted for another"
        " cluster",
        _STATED,
    ),
    Check(
        "tree-network",
        "tree",
        ERROR,
        "a cluster's network is the same in the namespace's label, in the values and at the"
        " gateway",
        "`upstream connect error … connection timeout`: traffic to pod addresses of another"
        " network, or to no gateway",
        _STATED,
    ),
    Check(
        "tree-networks",
        "tree",
        ERROR,
        "meshNetworks in the tree says what the topology says",
        "traffic into a network by a gateway that is not there",
        _STATED,
    ),
    Check(
        "tree-namespace",
        "tree",
        ERROR,
        "every control plane is in the namespace that holds its cacerts",
        "an istiod that finds no `cacerts` and makes a root of its own: `TLSV1_ALERT_UNKNOWN_CA`",
        _STATED,
    ),
    Check(
        "tree-trust-domain",
        "tree",
        ERROR,
        "every control plane has the mesh's trust domain",
        "`RBAC: access denied`, or `SPIFFE` identities that no peer accepts",
        "State the trust domain in topology.yaml (`trustDomain`) alone, and render.",
    ),
)
_TRUST_DOMAINS = ("meshConfig.trustDomain", "global.trustDomain", "meshConfig.trustDomainAliases")


def identity_findings(asked: Asked) -> list[Problem]:
    """What says something else than the topology does."""
    found: list[Problem] = []
    wanted = {c.name: c for c in asked.topology.clusters}
    for name, cluster in asked.view.clusters.items():
        if name in wanted:
            meant = asked.meant.clusters.get(name) if asked.meant is not None else None
            found += _names(asked, cluster, wanted[name])
            found += _network(asked, cluster, wanted[name], meant)
            found += _namespace(asked, cluster, wanted[name])
            if meant is not None:
                found += _mesh_networks(asked, cluster, meant)
                found += _trust_domain(asked, cluster, meant)
    return found


def _other(asked: Asked, said: Said, meant: str, check: str, of: str) -> Problem:
    return asked.problem(
        said.file, f"says {shown(said.value)}, where {of} is {shown(meant)}", check, path=said.path
    )


def _names(asked: Asked, cluster: Cluster, wanted: Wanted) -> Iterator[Problem]:
    for said in cluster.names:
        if said.value != wanted.name:
            yield _other(asked, said, wanted.name, "tree-identity", "the cluster")
    for said in cluster.mesh_ids:
        if said.value != asked.topology.mesh_id:
            yield _other(asked, said, asked.topology.mesh_id, "tree-identity", "the mesh")


def _network(
    asked: Asked, cluster: Cluster, wanted: Wanted, meant: Cluster | None
) -> Iterator[Problem]:
    if cluster.label is None:
        file = (
            cluster.namespace.file
            if cluster.namespace is not None
            else f"{cluster.name}/1-trust/namespace.yaml"
        )
        if file.partition("/")[2] in cluster.files:
            yield asked.problem(
                file,
                "has no label topology.istio.io/network",
                "tree-network",
                path="metadata.labels",
            )
    for said in (*((cluster.label,) if cluster.label is not None else ()), *cluster.networks):
        if said.value != wanted.network:
            yield _other(asked, said, wanted.network, "tree-network", "the cluster's network")
    known = {(g.file, g.kind, g.name): g.network for g in meant.gates} if meant is not None else {}
    for gate in cluster.gates:
        network = known.get(
            (gate.file, gate.kind, gate.name),
            gate.network if meant is not None or gate.addresses else wanted.network,
        )
        if (
            gate.kind != "meshNetworks"
            and gate.network != network
            and (gate.network is not None or meant is not None)
        ):
            says = shown(gate.network) if gate.network is not None else "for no network"
            what = (
                f"the gateway {gate.name} is labelled {says}, where its network is {shown(network)}"
            )
            yield asked.problem(gate.file, what, "tree-network")


def _namespace(asked: Asked, cluster: Cluster, wanted: Wanted) -> Iterator[Problem]:
    for said in (
        *((cluster.namespace,) if cluster.namespace is not None else ()),
        *cluster.namespaces,
    ):
        if said.value != wanted.namespace:
            yield _other(asked, said, wanted.namespace, "tree-namespace", "Istio's namespace")


def _mesh_networks(asked: Asked, cluster: Cluster, meant: Cluster) -> Iterator[Problem]:
    def declared(of: Cluster) -> dict[str, Gate]:
        return {g.name: g for g in of.gates if g.kind == "meshNetworks"}

    found, wanted = declared(cluster), declared(meant)
    for network in sorted({*found, *wanted}):
        one, other = found.get(network), wanted.get(network)
        if one is None and other is not None and other.file.partition("/")[2] in cluster.files:
            yield asked.problem(
                other.file,
                f"declares no network {shown(network)}",
                "tree-networks",
                path="meshNetworks",
            )
        elif other is None and one is not None:
            yield asked.problem(
                one.file,
                f"declares a network {shown(network)}, which the topology does not have",
                "tree-networks",
                path="meshNetworks",
            )
        elif (
            one is not None
            and other is not None
            and (set(one.addresses), set(one.registries))
            != (set(other.addresses), set(other.registries))
        ):
            what = "gateways" if set(one.addresses) != set(other.addresses) else "registries"
            yield asked.problem(
                one.file,
                f"declares other {what} for the network {shown(network)} than the topology",
                "tree-networks",
                path=f"meshNetworks.{network}",
            )


def _trust_domain(asked: Asked, cluster: Cluster, meant: Cluster) -> Iterator[Problem]:
    known = {c.file: c.values for c in meant.control_plane}
    for document in cluster.control_plane:
        values = known.get(document.file, {})
        for path in _TRUST_DOMAINS:
            found, wanted = document.values.get(path), values.get(path)
            if found != wanted and document.file in known:
                says = f"says {shown(found)}" if found is not None else "says nothing"
                yield asked.problem(
                    document.file,
                    f"{says}, where it should be"
                    f" {shown(wanted) if wanted is not None else 'left out'}",
                    "tree-trust-domain",
                    path=f"values.{path}",
                )
