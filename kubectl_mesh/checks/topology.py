"""The checks of what is asked for: topology.yaml, base.yaml, and what Istio's version makes of
them.
"""

import re
from collections.abc import Iterable, Iterator

from kubectl_mesh.checks.check import Check, StageCheck, Unknown
from kubectl_mesh.checks.context import ERROR, WARNING, CheckContext, Finding, InputFacts, Needs
from kubectl_mesh.checks.registries import judge_registries
from kubectl_mesh.checks.unknown_answers import version_unknown
from kubectl_mesh.errors import Problem
from kubectl_mesh.model import Topology
from kubectl_mesh.model.commands import cluster_command
from kubectl_mesh.text import mesh_command


class TopologyValid(StageCheck):
    id = "topology-valid"
    category = "topology"
    severity = ERROR
    sentence = "topology.yaml says what it may say, and names add up"
    prevents = "a cluster left out, or joined under another name"
    remedy = (
        f"Correct the field that the finding names; `{mesh_command('schema')}` prints the schema by"
        " which an editor completes and checks the file."
    )
    needs = Needs.NOTHING


class NetworkNear(Check):
    id = "network-near"
    category = "topology"
    severity = WARNING
    sentence = "no network's name is another's but for case, a hyphen or one letter"
    prevents = (
        "`upstream connect error … connection timeout`: two clusters on one network are taken for"
        " two networks, or reach for a gateway that is not there"
    )
    remedy = (
        "Write the name alike everywhere; where both networks are meant, give them names that"
        " nobody confuses."
    )
    needs = Needs.TOPOLOGY

    def find_problems(self, context: CheckContext) -> Iterator[Finding]:
        topology = context.topology
        if topology is None:
            return
        first = {c.network: c.place for c in reversed(topology.clusters)}
        document = topology.document
        for one, other in _near_names(
            sorted({c.network for c in topology.clusters} | set(topology.networks))
        ):
            # The one that fewer clusters have is taken for the slip.
            counts = {n: sum(c.network == n for c in topology.clusters) for n in (one, other)}
            slip, meant = (one, other) if counts[one] < counts[other] else (other, one)
            where = (
                document.field_place("networks", slip)
                if slip not in first
                else document.field_place("contexts", _context(topology, slip), "network")
            )
            what = f'"{slip}" is nearly "{meant}", and a network of its own'
            fix = f'write "{meant}", or give the two names that nobody confuses'
            problem = Problem(where, what, fix, self.id, code="network-names-nearly-equal")
            yield Finding(self.severity, problem)


class BaseValid(StageCheck):
    id = "base-valid"
    category = "topology"
    severity = ERROR
    sentence = "base.yaml is a control plane that Istio reads"
    prevents = "`unknown field` from istioctl, or a setting without effect"
    remedy = (
        "Correct the field that the finding names; the kinds of base.yaml and what each takes are"
        " in REFERENCE.md."
    )
    needs = Needs.TOPOLOGY | Needs.BASE


class BaseLost(StageCheck):
    id = "base-lost"
    category = "topology"
    severity = WARNING
    sentence = "no setting in base.yaml is replaced by the mesh"
    prevents = "a manual setting that is silently lost"
    remedy = "Take the setting out of base.yaml; what the mesh decides is stated in topology.yaml."
    needs = Needs.RENDER | Needs.CONTROL_PLANE | Needs.BASE


class BaseUnknown(StageCheck):
    id = "base-unknown"
    category = "topology"
    severity = WARNING
    sentence = "every value in base.yaml is one that the charts of its Istio are known to read"
    prevents = "a setting without effect, or an error from Helm"
    remedy = (
        "Compare the value with those of the chart of this version; where the chart has it, nothing"
        " has to be done."
    )
    needs = Needs.TOPOLOGY | Needs.CONTROL_PLANE


class IstioVersion(StageCheck):
    id = "istio-version"
    category = "topology"
    severity = ERROR
    sentence = "Istio's version can do what the topology asks for"
    prevents = "a control plane that nothing reads, or that ignores a setting"
    remedy = (
        "State the version that really runs in `istio.version`, or ask for less; REFERENCE.md lists"
        " what each version changed."
    )
    needs = Needs.TOPOLOGY | Needs.CONTROL_PLANE

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        return version_unknown(inputs.topology)


class IstioKnown(StageCheck):
    id = "istio-known"
    category = "topology"
    severity = WARNING
    sentence = "the rules of Istio's version are known"
    prevents = "a rule of a newer Istio that nobody has looked at"
    remedy = (
        "Look for a newer kubectl mesh; until there is one, read Istio's release notes beside the"
        " diff."
    )
    needs = Needs.RENDER | Needs.CONTROL_PLANE

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        return version_unknown(inputs.topology)


class IstioSecurity(StageCheck):
    id = "istio-security"
    category = "topology"
    severity = WARNING
    sentence = (
        "every version of Istio that a file states is at or above the security floor of its line"
    )
    prevents = "a control plane or a proxy with a vulnerability that everybody can read about"
    remedy = (
        "State the release that the finding names, or a later one; raise the version cluster by"
        " cluster."
    )
    needs = Needs.RENDER | Needs.CONTROL_PLANE


class ChartsGone(Check):
    id = "charts-gone"
    category = "topology"
    severity = WARNING
    sentence = "no chart repository that is named is one that Istio switches off"
    prevents = (
        "Argo CD or Flux: `is not a valid chart repository`, and no control plane that can be"
        " installed or changed"
    )
    remedy = (
        "Write the repository that the finding names, or take `istio.charts` out: the default is"
        " Istio's present one. docs/istio-move.md has the steps."
    )
    needs = Needs.RENDER | Needs.CONTROL_PLANE

    def find_problems(self, context: CheckContext) -> Iterable[Finding]:
        return self.select_own(context.tree.run_once(judge_registries) if context.tree else ())


class ImagesGone(Check):
    id = "images-gone"
    category = "topology"
    severity = WARNING
    sentence = "no image registry that is named or built in is one that Istio switches off"
    prevents = (
        "`ImagePullBackOff` for each pod that is created again: istiod, proxies, gateways,"
        " istio-cni, ztunnel"
    )
    remedy = (
        "Write another registry in `istio.hub`, render, and apply stage 2; docs/istio-move.md has"
        " the steps and the commands that list affected pods."
    )
    needs = Needs.RENDER | Needs.CONTROL_PLANE

    def find_problems(self, context: CheckContext) -> Iterable[Finding]:
        return self.select_own(context.tree.run_once(judge_registries) if context.tree else ())

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        if not inputs.is_hub_unknown:
            return None
        first, path = inputs.topology.clusters[0], "jsonpath={..image}"
        return Unknown(
            "istio.hub leaves the image registry to the operator or to istioctl, which no file"
            " shows",
            cluster_command(first, "get", "pods", "--all-namespaces", "-o", path),
        )


class VersionSkew(StageCheck):
    id = "version-skew"
    category = "topology"
    severity = WARNING
    sentence = "all control planes of the mesh are at most one minor version apart"
    prevents = (
        "a feature or a fix that one cluster has and its peers do not have, in combinations that"
        " Istio does not test"
    )
    remedy = "Upgrade the oldest control plane first, one minor version at a time."
    needs = Needs.RENDER | Needs.CONTROL_PLANE

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        return version_unknown(inputs.topology)


class RevisionTag(StageCheck):
    id = "revision-tag"
    category = "topology"
    severity = ERROR
    sentence = "no two control planes of a cluster claim one revision tag"
    prevents = (
        "Helm: `invalid ownership metadata`, or workloads that move to the other control plane with"
        " the next apply"
    )
    remedy = (
        "Remove `revisionTags` from base.yaml, and set the tag for one revision with `istioctl tag"
        " set`."
    )
    needs = Needs.TOPOLOGY | Needs.BASE_SHAPE


class ZtunnelTrusted(StageCheck):
    id = "ztunnel-trusted"
    category = "topology"
    severity = ERROR
    sentence = "istiod trusts ztunnel in the namespace where it runs"
    prevents = (
        "ztunnel: `XDS client connection error … authentication failure`, and no certificate for"
        " any ambient workload"
    )
    remedy = "State the namespace of ztunnel in `pilot.trustedZtunnelNamespace` of base.yaml."
    needs = Needs.TOPOLOGY | Needs.BASE_SHAPE

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        topology = inputs.topology
        if (
            not inputs.can_detect_platform
            or not topology.is_ambient
            or topology.issuer_kind.signs_workloads
        ):
            return None
        cluster = topology.clusters[0]
        name = "CA_TRUSTED_NODE_ACCOUNTS"
        env = f'.spec.template.spec.containers[0].env[?(@.name=="{name}")].value'
        labels = ["-l", "app=istiod", "-o", f"jsonpath={{.items[*]{env}}}"]
        what = (
            "whether the Sail operator runs on OpenShift, where istiod trusts ztunnel in"
            " kube-system unless trustedZtunnelNamespace is stated"
        )
        return Unknown(
            what, cluster_command(cluster, "-n", cluster.namespace, "get", "deployment", *labels)
        )


class Ambient(StageCheck):
    id = "ambient"
    category = "topology"
    severity = ERROR
    sentence = "an ambient mesh asks for nothing that ambient cannot do"
    prevents = "ztunnel: `no healthy upstream`, for clusters that never find each other"
    remedy = (
        "Give every cluster a network and a control plane of its own, or state `dataPlane:"
        " sidecar`."
    )
    needs = Needs.TOPOLOGY | Needs.CONTROL_PLANE


class AmbientShared(StageCheck):
    id = "ambient-shared"
    category = "topology"
    severity = WARNING
    sentence = "an ambient mesh keeps to what is well tried"
    prevents = "a data plane that only its developers have seen"
    remedy = "Give each cluster a network of its own, or try it where nobody depends on it."
    needs = Needs.RENDER | Needs.CONTROL_PLANE


class NamespaceEqual(StageCheck):
    id = "namespace-equal"
    category = "topology"
    severity = ERROR
    sentence = "clusters that discover each other have Istio in the same namespace"
    prevents = (
        "a peer's endpoints without a network: connections to pod addresses that nobody reaches"
    )
    remedy = (
        "Install Istio into the same namespace everywhere, or keep the clusters apart by `peers`."
    )
    needs = Needs.TOPOLOGY | Needs.CONTROL_PLANE


class DeliveryTarget(StageCheck):
    id = "delivery-target"
    category = "topology"
    severity = ERROR
    sentence = "the delivery tool applies this kind of control plane"
    prevents = "`no matches for kind`, or an object in the cluster that nothing reads"
    remedy = (
        "Choose another `delivery.tool`, or another kind of base.yaml; REFERENCE.md has the table"
        " of both."
    )
    needs = Needs.TOPOLOGY | Needs.CONTROL_PLANE


class BaseIdentity(StageCheck):
    id = "base-identity"
    category = "topology"
    severity = ERROR
    sentence = "base.yaml gives no cluster another's identity"
    prevents = "istiod: `client claims to be in cluster`, or proxies on the wrong network"
    remedy = (
        "Take cluster, network and mesh out of base.yaml: one file cannot say them for several"
        " clusters."
    )
    needs = Needs.TOPOLOGY | Needs.BASE_SHAPE | Needs.BASE


class BaseReader(StageCheck):
    id = "base-reader"
    category = "topology"
    severity = ERROR
    sentence = "base.yaml leaves istiod what it needs to read the peers"
    prevents = "istiod: `Unauthorized`, and no endpoints of any peer"
    remedy = "Take the setting that the finding names out of base.yaml."
    needs = Needs.TOPOLOGY | Needs.BASE_SHAPE | Needs.BASE


class BaseRegistry(StageCheck):
    id = "base-registry"
    category = "topology"
    severity = ERROR
    sentence = "base.yaml names registries as istiod takes them"
    prevents = "istiod: `invalid registry name`, and no meshNetworks at all"
    remedy = "Write the registry as the cluster's name in lower case."
    needs = Needs.TOPOLOGY | Needs.BASE_SHAPE | Needs.BASE


class TrustDomain(StageCheck):
    id = "trust-domain"
    category = "topology"
    severity = ERROR
    sentence = "no trust domain is left behind that workloads still have"
    prevents = "`RBAC: access denied`, or `SPIFFE` identities that no peer accepts"
    remedy = (
        "State the trust domain in topology.yaml alone, and the one that is left in"
        " `meshConfig.trustDomainAliases` of base.yaml."
    )
    needs = Needs.TOPOLOGY | Needs.BASE_SHAPE


def _near_names(names: list[str]) -> list[tuple[str, str]]:
    """Pairs of names that differ by a slip of the hand."""
    folded: dict[str, list[str]] = {}
    for name in names:
        folded.setdefault(re.sub(r"[-_.]", "", name.casefold()), []).append(name)
    pairs = {(a, b) for same in folded.values() for a in same for b in same if a < b}
    return sorted(pairs | set(_one_letter(names)))


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
