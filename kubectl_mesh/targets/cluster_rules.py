"""What the topology says of clusters and their control planes that Istio cannot do, or does in
another way than one might think.
"""

from collections.abc import Iterator
from typing import Any

from kubectl_mesh.errors import Problem
from kubectl_mesh.istio import versions
from kubectl_mesh.model import Topology
from kubectl_mesh.model.address import is_address
from kubectl_mesh.targets.gateway_rules import ambient_port_problem
from kubectl_mesh.text import value_text
from kubectl_mesh.topology.peers import list_peers


def stated_versions(topology: Topology) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every version in the topology, with its path."""
    value: Any = topology.document.value
    entries = [(("istio",), value.get("istio", {}))] + [
        (("contexts", c, "istio"), e.get("istio", {})) for c, e in value["contexts"].items()
    ]
    for path, entry in entries:
        if "version" in entry:
            yield (*path, "version"), entry["version"]
        if "canary" in entry:
            yield (*path, "canary", "version"), entry["canary"]["version"]


def issuer_problems(topology: Topology) -> Iterator[Problem]:
    """An issuer in the cluster that Istio is too old for."""
    if topology.has_intermediate_files:
        return
    place = topology.document.field_place
    since, does = versions.SINCE_ISTIO_CSR, "loads what istio-csr gives it"
    if topology.issuer_kind.creates_cacerts:
        since, does = versions.SINCE_TLS_CACERTS, "reads cacerts as cert-manager writes it"
    for path, version in stated_versions(topology):
        if versions.minor_version(version) < since:
            what = f"istiod {does} since 1.{since}, and {version} is older"
            yield Problem(
                place(*path),
                what,
                f"write issuer: local or csr, or take Istio 1.{since} or newer",
                "istio-version",
                code="istio-too-old-for-issuer",
            )


def ambient_problems(topology: Topology) -> Iterator[Problem]:
    """What ambient cannot do."""
    if not topology.is_ambient:
        return
    place = topology.document.field_place
    joined = [c for c in topology.clusters if c.is_joined]
    for cluster in joined:
        if cluster.primary is not None:
            where = place("contexts", cluster.context, "controlPlane")
            what = (
                "ambient has no clusters without a control plane of their own: ztunnel is served by"
                " istiod of its cluster"
            )
            yield Problem(
                where,
                what,
                "remove controlPlane, or write dataPlane: sidecar",
                "ambient",
                code="ambient-without-control-plane",
            )
        document: Any = topology.document.value
        for index, gateway in enumerate(document["contexts"][cluster.context].get("gateways", ())):
            if gateway.get("port") not in (None, 15008):
                where = place("contexts", cluster.context, "gateways", index, "port")
                yield ambient_port_problem(where)
    if len(joined) > 1 and len({c.network for c in joined}) == 1:
        what = "ambient joins clusters of several networks only; nobody has tried it on one"
        yield Problem(
            place("istio", "dataPlane"),
            what,
            "give every cluster a network of its own, or write dataPlane: sidecar",
            "ambient",
            code="ambient-on-one-network",
        )


def canary_problems(topology: Topology) -> Iterator[Problem]:
    """Who is served by another's istiod is served by one."""
    served = {c.primary for c in topology.clusters if c.primary is not None}
    for cluster in topology.clusters:
        if len(cluster.releases) > 1 and (cluster.primary is not None or cluster.name in served):
            whom = "has" if cluster.primary is not None else "serves clusters that have"
            what = (
                f"{whom} no control plane of its own, and a canary would leave open which of two"
                " istiods serves"
            )
            yield Problem(
                cluster.place,
                what,
                "state istio.canary under the contexts that it is for, and not for this one",
                "istio-version",
                code="canary-of-shared-control-plane",
            )


def namespace_problems(topology: Topology) -> Iterator[Problem]:
    """Unequal namespaces: istiod looks for a peer's network label in the namespace that it has
    itself (controller/multicluster.go).
    """
    joined = [c for c in topology.clusters if c.is_joined]
    if not joined:
        return
    first = joined[0]
    peers = list_peers(topology)
    for cluster in joined[1:]:
        linked = any(
            cluster.name in peers[c.name] or c.name in peers[cluster.name]
            for c in joined
            if c.namespace != cluster.namespace
        )
        if cluster.namespace != first.namespace and linked:
            where = topology.document.field_place("contexts", cluster.context, "namespace")
            what = (
                f"is not {value_text(first.namespace)} as in {value_text(first.context)}: istiod"
                " looks for a"
                " peer's settings in a namespace of its own name"
            )
            yield Problem(
                where,
                what,
                "give all clusters that discover each other the same namespace",
                "namespace-equal",
                code="namespace-not-equal",
            )


def version_skew_problems(topology: Topology) -> Iterator[Problem]:
    """Control planes of the mesh that are further apart than Istio supports; what states no version
    counts for nothing here.
    """
    known = [
        (versions.minor_version(r.version), r.version, c)
        for c in topology.clusters
        if c.is_joined and c.primary is None
        for r in c.releases
        if r.version
    ]
    if not known:
        return
    (oldest, old, first), (newest, new, last) = (
        min(known, key=lambda k: k[0]),
        max(known, key=lambda k: k[0]),
    )
    if newest - oldest > versions.MAX_SKEW:
        what = (
            f"runs Istio {old} and {last.name} runs {new}: Istio supports {versions.MAX_SKEW} minor"
            " version between the parts of a mesh"
        )
        yield Problem(
            first.place,
            what,
            f"upgrade {first.name} one minor version at a time",
            "version-skew",
            code="versions-too-far-apart",
        )


def shared_network_warnings(topology: Topology) -> Iterator[Problem]:
    """Clusters of an ambient mesh that share a network."""
    if not topology.is_ambient:
        return
    seen: dict[str, str] = {}
    for cluster in topology.clusters:
        first = (
            seen.setdefault(cluster.network, cluster.name) if cluster.is_joined else cluster.name
        )
        if first != cluster.name:
            what = (
                f'shares its network with "{first}"; ambient is tried over several networks,'
                " hardly on one"
            )
            yield Problem(
                cluster.place,
                what,
                "give it a network of its own",
                "ambient-shared",
                code="ambient-network-shared",
            )


def address_warnings(topology: Topology) -> Iterator[Problem]:
    """A remote's webhook calls port 443 of istiod's Service, which a host name cannot map to
    15017.
    """
    for cluster in topology.clusters:
        if cluster.istiod_address is not None and not is_address(cluster.istiod_address):
            where = topology.document.field_place(
                "contexts", cluster.context, "controlPlaneAddress"
            )
            what = (
                "is a host name: a cluster without istiod calls its webhook at port 443 there, for"
                " an ExternalName maps no ports"
            )
            yield Problem(
                where,
                what,
                "give an IP address, or have 443 lead to 15017 there",
                "control-plane-address",
                code="control-plane-address-is-host-name",
            )


COSTS = {
    "exec": (
        (
            "istiod runs this command for every peer: its image has to hold it, and the remote"
            " secret decides what it runs"
        ),
        (
            "build an image with it for every cluster that discovers this one (values.pilot.image),"
            " or use a token"
        ),
    ),
    "oidc": (
        (
            "istiod gets new ID tokens by a refresh token that it cannot write back: where the"
            " issuer gives each only once, it is locked out after a restart"
        ),
        "have the issuer give refresh tokens that last, or use a token",
    ),
    "clientCertificate": (
        (
            "Kubernetes cannot revoke a client certificate: who has it reads the cluster until it"
            " expires"
        ),
        "make it short-lived, or use a token",
    ),
}
"""What each way to log in costs beside a token, and what to do."""


def credential_cost_warnings(topology: Topology) -> Iterator[Problem]:
    """What ways to log in cost."""
    for cluster in topology.clusters:
        way = cluster.credential.kind
        if way in COSTS and cluster.is_joined:
            what, fix = COSTS[way]
            yield Problem(
                topology.document.field_place("contexts", cluster.context, "credential", way),
                what,
                fix,
                "credential-cost",
                code="credential-has-cost",
            )
