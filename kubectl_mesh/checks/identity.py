"""The checks of what a tree says each cluster is: its name, its mesh, its network, its trust
domain, in every place that says so.
"""

from abc import abstractmethod
from collections.abc import Iterator

from kubectl_mesh.checks.check import ContentCheck
from kubectl_mesh.checks.context import ERROR, Finding, Needs, TreeContext
from kubectl_mesh.errors import Place
from kubectl_mesh.model import Cluster as WantedCluster
from kubectl_mesh.observed.mesh_state import ObservedCluster, ObservedGateway, StatedValue
from kubectl_mesh.text import value_text

_STATED = "Render, which makes the file anew; what it should be is stated in topology.yaml."


_TRUST_DOMAINS = ("meshConfig.trustDomain", "global.trustDomain", "meshConfig.trustDomainAliases")


class IdentityCheck(ContentCheck):
    """A check of what each cluster says that it is, next to what the topology says."""

    compares_inputs = True

    def find_in_tree(self, tree: TreeContext) -> Iterator[Finding]:
        wanted = {c.name: c for c in tree.topology.clusters}
        for name, cluster in tree.state.clusters.items():
            if name in wanted:
                yield from self.find_in_cluster(tree, cluster, wanted[name])

    @abstractmethod
    def find_in_cluster(
        self, tree: TreeContext, cluster: ObservedCluster, wanted: WantedCluster
    ) -> Iterator[Finding]:
        """What one cluster says otherwise."""

    def build_difference(
        self, tree: TreeContext, said: StatedValue, wanted: str, subject: str
    ) -> Iterator[Finding]:
        """A finding if a text says something else than is wanted of a subject (`the mesh`)."""
        if said.value != wanted:
            what = f"says {value_text(said.value)}, where {subject} is {value_text(wanted)}"
            yield self.build_finding(
                tree, Place(said.file, path=said.path), what, f"{self.id}-differs"
            )


def _expected_cluster(tree: TreeContext, cluster: ObservedCluster) -> ObservedCluster | None:
    """The cluster as a render makes it."""
    return (
        tree.expected_state.clusters.get(cluster.name) if tree.expected_state is not None else None
    )


class TreeIdentity(IdentityCheck):
    id = "tree-identity"
    category = "tree"
    severity = ERROR
    sentence = "every control plane has its cluster's name and the mesh's"
    prevents = (
        "istiod: `client claims to be in cluster`, or endpoints that are counted for another"
        " cluster"
    )
    remedy = _STATED
    needs = Needs.INPUTS | Needs.CONTENT

    def find_in_cluster(
        self, tree: TreeContext, cluster: ObservedCluster, wanted: WantedCluster
    ) -> Iterator[Finding]:
        for said in cluster.cluster_names:
            yield from self.build_difference(tree, said, wanted.name, "the cluster")
        for said in cluster.mesh_ids:
            yield from self.build_difference(tree, said, tree.topology.mesh_id, "the mesh")


class TreeNetwork(IdentityCheck):
    id = "tree-network"
    category = "tree"
    severity = ERROR
    sentence = (
        "a cluster's network is the same in the namespace's label, in the values and at the gateway"
    )
    prevents = (
        "`upstream connect error … connection timeout`: traffic to pod addresses of another"
        " network, or to no gateway"
    )
    remedy = _STATED
    needs = Needs.INPUTS | Needs.CONTENT

    def find_in_cluster(
        self, tree: TreeContext, cluster: ObservedCluster, wanted: WantedCluster
    ) -> Iterator[Finding]:
        label = cluster.network_label
        if label is None:
            yield from self._find_no_label(tree, cluster)
        for said in (*((label,) if label is not None else ()), *cluster.network_values):
            yield from self.build_difference(tree, said, wanted.network, "the cluster's network")
        meant = _expected_cluster(tree, cluster)
        known = {(g.file, g.kind, g.name): g.network for g in meant.gateways} if meant else {}
        for gate in cluster.gateways:
            otherwise = gate.network if meant is not None or gate.addresses else wanted.network
            network = known.get((gate.file, gate.kind, gate.name), otherwise)
            if (
                gate.kind != "meshNetworks"
                and gate.network != network
                and (gate.network is not None or meant is not None)
            ):
                says = value_text(gate.network) if gate.network is not None else "for no network"
                what = (
                    f"the gateway {gate.name} is labelled {says}, where its network is"
                    f" {value_text(network)}"
                )
                yield self.build_finding(tree, Place(gate.file), what, "gateway-network-differs")

    def _find_no_label(self, tree: TreeContext, cluster: ObservedCluster) -> Iterator[Finding]:
        default = f"{cluster.name}/1-trust/namespace.yaml"
        file = cluster.namespace.file if cluster.namespace is not None else default
        if file.partition("/")[2] in cluster.files:
            where = Place(file, path="metadata.labels")
            what = "has no label topology.istio.io/network"
            yield self.build_finding(tree, where, what, "network-label-missing")


class TreeNetworks(IdentityCheck):
    id = "tree-networks"
    category = "tree"
    severity = ERROR
    sentence = "meshNetworks in the tree says what the topology says"
    prevents = "traffic into a network by a gateway that is not there"
    remedy = _STATED
    needs = Needs.COMPARISON | Needs.CONTENT

    def find_in_cluster(
        self, tree: TreeContext, cluster: ObservedCluster, wanted: WantedCluster
    ) -> Iterator[Finding]:
        meant = _expected_cluster(tree, cluster)
        if meant is None:
            return
        found, declared = _declared_networks(cluster), _declared_networks(meant)
        for network in sorted({*found, *declared}):
            one, other = found.get(network), declared.get(network)
            if one is not None:
                yield from self._compare(tree, network, one, other)
            elif other is not None and other.file.partition("/")[2] in cluster.files:
                where = Place(other.file, path="meshNetworks")
                what = f"declares no network {value_text(network)}"
                yield self.build_finding(tree, where, what, "network-not-declared")

    def _compare(
        self, tree: TreeContext, network: str, one: ObservedGateway, other: ObservedGateway | None
    ) -> Iterator[Finding]:
        if other is None:
            where = Place(one.file, path="meshNetworks")
            what = f"declares a network {value_text(network)}, which the topology does not have"
            yield self.build_finding(tree, where, what, "network-not-in-topology")
            return
        where = Place(one.file, path=f"meshNetworks.{network}")
        if set(one.addresses) != set(other.addresses):
            what = (
                f"declares other gateways for the network {value_text(network)} than the topology"
            )
            yield self.build_finding(tree, where, what, "network-gateways-differ")
        elif set(one.registries) != set(other.registries):
            what = (
                f"declares other registries for the network {value_text(network)} than the topology"
            )
            yield self.build_finding(tree, where, what, "network-registries-differ")


class TreeNamespace(IdentityCheck):
    id = "tree-namespace"
    category = "tree"
    severity = ERROR
    sentence = "every control plane is in the namespace that holds its cacerts"
    prevents = (
        "an istiod that finds no `cacerts` and makes a root of its own: `TLSV1_ALERT_UNKNOWN_CA`"
    )
    remedy = _STATED
    needs = Needs.INPUTS | Needs.CONTENT

    def find_in_cluster(
        self, tree: TreeContext, cluster: ObservedCluster, wanted: WantedCluster
    ) -> Iterator[Finding]:
        namespace = (cluster.namespace,) if cluster.namespace is not None else ()
        for said in (*namespace, *cluster.namespace_values):
            yield from self.build_difference(tree, said, wanted.namespace, "Istio's namespace")


class TreeTrustDomain(IdentityCheck):
    id = "tree-trust-domain"
    category = "tree"
    severity = ERROR
    sentence = "every control plane has the mesh's trust domain"
    prevents = "`RBAC: access denied`, or `SPIFFE` identities that no peer accepts"
    remedy = "State the trust domain in topology.yaml (`trustDomain`) alone, and render."
    needs = Needs.COMPARISON | Needs.CONTENT

    def find_in_cluster(
        self, tree: TreeContext, cluster: ObservedCluster, wanted: WantedCluster
    ) -> Iterator[Finding]:
        meant = _expected_cluster(tree, cluster)
        known = {c.file: c.values for c in meant.control_plane} if meant is not None else {}
        for document in cluster.control_plane:
            for path in _TRUST_DOMAINS if document.file in known else ():
                found, value = document.values.get(path), known[document.file].get(path)
                if found != value:
                    says = f"says {value_text(found)}" if found is not None else "says nothing"
                    should_be = value_text(value) if value is not None else "left out"
                    where = Place(document.file, path=f"values.{path}")
                    what = f"{says}, where it should be {should_be}"
                    yield self.build_finding(tree, where, what, "trust-domain-differs")


def _declared_networks(cluster: ObservedCluster) -> dict[str, ObservedGateway]:
    return {g.name: g for g in cluster.gateways if g.kind == "meshNetworks"}
