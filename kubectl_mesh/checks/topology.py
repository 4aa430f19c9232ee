"""The checks of what is asked for: topology.yaml, base.yaml, and what Istio's version makes of
them.
"""

import re
from collections.abc import Iterator

from kubectl_mesh.checks.result import ERROR, WARNING, Check
from kubectl_mesh.errors import Problem
from kubectl_mesh.model import Topology

CHECKS = (
    Check(
        "topology-valid",
        "topology",
        ERROR,
        "topology.yaml says what it may say, and names add up",
        "a cluster left out, or joined under another name",
        "Correct the field that the finding names; `kubectl mesh schema` prints the schema by which"
        " an editor completes and checks the file.",
    ),
    Check(
        "network-near",
        "topology",
        WARNING,
        "no network's name is another's but for case, a hyphen or one letter",
        "`upstream connect error … connection timeout`: two clusters on one network are taken for"
        " two networks, or reach for a gateway that is not there",
        "Write the name alike everywhere; where both networks are meant, give them names that"
        " nobody confuses.",
    ),
    Check(
        "base-valid",
        "topology",
        ERROR,
        "base.yaml is a control plane that Istio reads",
        "`unknown field` from istioctl, or a setting without effect",
        "Correct the field that the finding names; the kinds of base.yaml and what each takes are"
        " in REFERENCE.md.",
    ),
    Check(
        "base-lost",
        "topology",
        WARNING,
        "no setting in base.yaml is replaced by the mesh",
        "a manual setting that is silently lost",
        "Take the setting out of base.yaml; what the mesh decides is stated in topology.yaml.",
    ),
    Check(
        "base-unknown",
        "topology",
        WARNING,
        "every value in base.yaml is one that the charts of its Istio are known to read",
        "a setting without effect, or an error from Helm",
        "Compare the value with those of the chart of this version; where the chart has it, nothing"
        " has to be done.",
    ),
    Check(
        "istio-version",
        "topology",
        ERROR,
        "Istio's version can do what the topology asks for",
        "a control plane that nothing reads, or that ignores a setting",
        "State the version that really runs in `istio.version`, or ask for less; REFERENCE.md lists"
        " what each version changed.",
    ),
    Check(
        "istio-known",
        "topology",
        WARNING,
        "the rules of Istio's version are known",
        "a rule of a newer Istio that nobody has looked at",
        "Look for a newer kubectl mesh; until there is one, read Istio's release notes beside the"
        " diff.",
    ),
    Check(
        "istio-security",
        "topology",
        WARNING,
        "every version of Istio that a file states is at or above the security floor of its line",
        "a control plane or a proxy with a vulnerability that everybody can read about",
        "State the release that the finding names, or a later one; raise the version cluster by"
        " cluster.",
    ),
    Check(
        "charts-gone",
        "topology",
        WARNING,
        "no chart repository that is named is one that Istio switches off",
        "Argo CD or Flux: `is not a valid chart repository`, and no control plane that can be"
        " installed or changed",
        "Write the repository that the finding names, or take `istio.charts` out: the default is"
        " Istio's present one. docs/istio-move.md has the steps.",
    ),
    Check(
        "images-gone",
        "topology",
        WARNING,
        "no image registry that is named or built in is one that Istio switches off",
        "`ImagePullBackOff` for each pod that is created again: istiod, proxies, gateways,"
        " istio-cni, ztunnel",
        "Write another registry in `istio.hub`, render, and apply stage 2; docs/istio-move.md has"
        " the steps and the commands that list affected pods.",
    ),
    Check(
        "version-skew",
        "topology",
        WARNING,
        "all control planes of the mesh are at most one minor version apart",
        "a feature or a fix that one cluster has and its peers do not have, in combinations that"
        " Istio does not test",
        "Upgrade the oldest control plane first, one minor version at a time.",
    ),
    Check(
        "revision-tag",
        "topology",
        ERROR,
        "no two control planes of a cluster claim one revision tag",
        "Helm: `invalid ownership metadata`, or workloads that move to the other control plane with"
        " the next apply",
        "Remove `revisionTags` from base.yaml, and set the tag for one revision with `istioctl tag"
        " set`.",
    ),
    Check(
        "ztunnel-trusted",
        "topology",
        ERROR,
        "istiod trusts ztunnel in the namespace where it runs",
        "ztunnel: `XDS client connection error … authentication failure`, and no certificate for"
        " any ambient workload",
        "State the namespace of ztunnel in `pilot.trustedZtunnelNamespace` of base.yaml.",
    ),
    Check(
        "ambient",
        "topology",
        ERROR,
        "an ambient mesh asks for nothing that ambient cannot do",
        "ztunnel: `no healthy upstream`, for clusters that never find each other",
        "Give every cluster a network and a control plane of its own, or state `dataPlane:"
        " sidecar`.",
    ),
    Check(
        "ambient-shared",
        "topology",
        WARNING,
        "an ambient mesh keeps to what is well tried",
        "a data plane that only its developers have seen",
        "Give each cluster a network of its own, or try it where nobody depends on it.",
    ),
    Check(
        "namespace-equal",
        "topology",
        ERROR,
        "clusters that discover each other have Istio in the same namespace",
        "a peer's endpoints without a network: connections to pod addresses that nobody reaches",
        "Install Istio into the same namespace everywhere, or keep the clusters apart by `peers`.",
    ),
    Check(
        "delivery-target",
        "topology",
        ERROR,
        "the delivery tool applies this kind of control plane",
        "`no matches for kind`, or an object in the cluster that nothing reads",
        "Choose another `delivery.tool`, or another kind of base.yaml; REFERENCE.md has the table"
        " of both.",
    ),
    Check(
        "base-identity",
        "topology",
        ERROR,
        "base.yaml gives no cluster another's identity",
        "istiod: `client claims to be in cluster`, or proxies on the wrong network",
        "Take cluster, network and mesh out of base.yaml: one file cannot say them for several"
        " clusters.",
    ),
    Check(
        "base-reader",
        "topology",
        ERROR,
        "base.yaml leaves istiod what it needs to read the peers",
        "istiod: `Unauthorized`, and no endpoints of any peer",
        "Take the setting that the finding names out of base.yaml.",
    ),
    Check(
        "base-registry",
        "topology",
        ERROR,
        "base.yaml names registries as istiod takes them",
        "istiod: `invalid registry name`, and no meshNetworks at all",
        "Write the registry as the cluster's name in lower case.",
    ),
    Check(
        "trust-domain",
        "topology",
        ERROR,
        "no trust domain is left behind that workloads still have",
        "`RBAC: access denied`, or `SPIFFE` identities that no peer accepts",
        "State the trust domain in topology.yaml alone, and the one that is left in"
        " `meshConfig.trustDomainAliases` of base.yaml.",
    ),
)


def near_networks(topology: Topology) -> list[Problem]:
    """Networks whose names differ by what a slip of the hand makes."""
    names = sorted({c.network for c in topology.clusters} | set(topology.networks))
    first = {c.network: c.place for c in reversed(topology.clusters)}
    found = []
    folded: dict[str, list[str]] = {}
    for name in names:
        folded.setdefault(re.sub(r"[-_.]", "", name.casefold()), []).append(name)
    pairs = {(a, b) for same in folded.values() for a in same for b in same if a < b}
    pairs |= {(a, b) for a, b in _one_letter(names)}
    document = topology.document
    for one, other in sorted(pairs):
        # The one that fewer clusters have is taken for the slip.
        counts = {n: sum(c.network == n for c in topology.clusters) for n in (one, other)}
        slip, meant = (one, other) if counts[one] < counts[other] else (other, one)
        place = first.get(slip)
        where = (
            document.place("networks", slip)
            if place is None
            else document.place("contexts", _context(topology, slip), "network")
        )
        found.append(
            Problem(
                where,
                f'"{slip}" is nearly "{meant}", and a network of its own',
                f'write "{meant}", or give the two names that nobody confuses',
                "network-near",
            )
        )
    return found


def _context(topology: Topology, network: str) -> str:
    return next(c.context for c in topology.clusters if c.network == network)


def _one_letter(names: list[str]) -> Iterator[tuple[str, str]]:
    """Pairs of long names of which one is the other with a letter left out, doubled, or two
    exchanged; numbers at the end count them, and are no slip.
    """
    left_out: dict[str, set[str]] = {}
    for name in names:
        if len(name) >= 5:
            for key in {
                name[:i] + name[i + 1 :] for i in range(len(name)) if not name[i].isdigit()
            } | {name}:
                left_out.setdefault(key, set()).add(name)
    for same in left_out.values():
        for one in same:
            for other in same:
                if (
                    one < other
                    and (len(one) != len(other) or sorted(one) == sorted(other))
                    and re.sub(r"\D", "", one) == re.sub(r"\D", "", other)
                ):
                    yield one, other
