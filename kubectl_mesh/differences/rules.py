"""What a difference does in running clusters, by the version of Istio that runs there: one table, a
sentence for each rule and version.

Sources: the code of istiod (pilot/pkg/bootstrap/istio_ca.go,
pkg/kube/multicluster/secretcontroller.go, pilot/pkg/model/network.go) and the release notes;
Istio's issues 60612, 60920 and 61043 (a changed remote secret in 1.30.0 to 1.30.3), 21869 (Pilot
before 1.5.1), 43104 (reload of cacerts, on by default since 1.18), 55793 (1.25.1 hands out one root
only).
"""

from dataclasses import dataclass

from kubectl_mesh.safety.roots import BETWEEN_ISSUERS_FIX, TO_ISSUER_FIX, TO_LOCAL_FIX

Version = tuple[int, int]
"""Minor and patch of 1.x; the patch is -1 where only a line is stated."""
LAST_VERSION = 10**6
RELOADS_RUNNING, RELOADS_AFTER_CHANGE, RELOADS_ON_RESTART, NEVER_RELOADS = (
    "running",
    "asked",
    "restarted",
    "never",
)
"""How istiod comes to take other roots: while it runs (ISTIO_MULTIROOT_MESH), since the same change
asks it to, or restarts it; or not at all.
"""
RESTART_RULES = frozenset(("images", "istiod-settings", "version-raised", "version-lowered"))
"""The rules of changes that restart istiod."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens in versions `first` to `last`, both among them. `reads` narrows it to istiods
    that take other roots in that way.
    """

    name: str
    first: Version
    last: Version
    sentence: str
    root_reload: str | None = None


def _rule_for_all(name: str, says: str) -> Rule:
    return Rule(name, (0, 0), (LAST_VERSION, LAST_VERSION), says)


_REFUSED = (
    "unless it is the same root, clusters that have the change and those that have not refuse each"
    " other"
)
_CITADEL, _RESTART = (4, LAST_VERSION), (17, LAST_VERSION)
_RESTART_ISTIOD = (
    "istiod does not see it before it restarts (from 1.10 on it does with"
    " AUTO_RELOAD_PLUGIN_CERTS=true)"
)
RULES = (
    Rule(
        "secret-changed",
        (0, 0),
        (5, 0),
        "Pilot takes no changed remote secret before it restarts: restart it, or it goes on with"
        " the old login to {peer}",
    ),
    Rule(
        "secret-changed",
        (5, 1),
        (29, LAST_VERSION),
        "istiod drops {peer} and then reads it anew: its endpoints are gone for that while",
    ),
    Rule(
        "secret-changed",
        (30, 0),
        (30, 3),
        "istiod reconnects to {peer}, and may lose its endpoints or its gateway until istiod"
        " restarts: restart it right after the apply (`render --with-restarts` prints it);"
        " `istioctl proxy-config endpoints` shows the loss",
    ),
    Rule(
        "secret-changed",
        (30, 4),
        (LAST_VERSION, LAST_VERSION),
        "istiod reconnects to {peer}, without a gap",
    ),
    Rule(
        "secret-renamed",
        (0, 0),
        (LAST_VERSION, LAST_VERSION),
        "the new name is a new Secret: until the old one is deleted, istiod takes only the first of"
        " the two",
    ),
    _rule_for_all(
        "secret-metadata",
        "istiod goes by what is in it, and by the label istio/multiCluster; other labels, names and"
        " annotations are nothing to it",
    ),
    _rule_for_all(
        "secret-resealed",
        "the Secret in the cluster stays as it is, if nothing but who opens it changed",
    ),
    _rule_for_all(
        "discovery-added",
        "istiod begins to read {peer}: its endpoints are added; while its API server cannot be"
        " reached, istiod starts up to 30 s later",
    ),
    _rule_for_all(
        "discovery-removed",
        "kubectl apply deletes nothing: the Secret has to be deleted, and then the endpoints of"
        " {peer} are gone at once",
    ),
    _rule_for_all(
        "discovery-removed-pruned",
        "{tool} deletes the Secret once the change is merged, and the endpoints of {peer} are gone"
        " at once",
    ),
    _rule_for_all(
        "bundled",
        "the Secrets in the clusters keep their names and their contents: nothing happens there",
    ),
    Rule(
        "intermediate",
        (0, 0),
        _CITADEL,
        "Citadel signs with the old intermediate until it restarts: restart it",
    ),
    Rule(
        "intermediate",
        (5, 0),
        _RESTART,
        f"{_RESTART_ISTIOD}; workloads get certificates of the new one when they renew",
    ),
    Rule(
        "intermediate",
        (18, 0),
        (LAST_VERSION, LAST_VERSION),
        "istiod takes the new intermediate without a restart, within a minute or two; workloads"
        " renew when half of their time is over",
    ),
    _rule_for_all(
        "intermediate-first",
        "an istiod that runs already signs by itself, and goes on until it restarts; all its"
        " workloads have to be restarted then",
    ),
    _rule_for_all(
        "intermediate-gone", "the Secret stays in the cluster, and istiod goes on with it"
    ),
    Rule(
        "roots",
        (0, 0),
        _CITADEL,
        "Citadel and all that have the old root go on with it until they restart",
    ),
    Rule(
        "roots",
        (5, 0),
        _RESTART,
        f"{_RESTART_ISTIOD}; workloads get the new bundle when they renew, up to a day later",
    ),
    Rule(
        "roots",
        (18, 0),
        (LAST_VERSION, LAST_VERSION),
        "istiod ignores the whole change, a new intermediate too, until it restarts, for"
        " ISTIO_MULTIROOT_MESH is not true",
        NEVER_RELOADS,
    ),
    Rule(
        "roots",
        (18, 0),
        (29, LAST_VERSION),
        "istiod takes the new bundle if its text holds the old one as it was, or the other way"
        " round; else it ignores it",
        RELOADS_RUNNING,
    ),
    Rule(
        "roots",
        (30, 0),
        (LAST_VERSION, LAST_VERSION),
        "istiod takes the new bundle, and hands it to the workloads as they renew, up to a day"
        " later",
        RELOADS_RUNNING,
    ),
    Rule(
        "roots",
        (18, 0),
        (LAST_VERSION, LAST_VERSION),
        "the same change sets ISTIO_MULTIROOT_MESH, by which istiod restarts and takes the new"
        " bundle; workloads get it as they renew, up to a day later",
        RELOADS_AFTER_CHANGE,
    ),
    Rule(
        "roots",
        (18, 0),
        (LAST_VERSION, LAST_VERSION),
        "the same change restarts istiod, which reads the new bundle then, and no other later:"
        " apply stage 1 before stage 2",
        RELOADS_ON_RESTART,
    ),
    Rule(
        "roots-ambient",
        (0, 0),
        (25, 0),
        "ztunnel may trust its own root only, and refuse peers that are signed by another",
    ),
    Rule(
        "roots-ambient",
        (25, 1),
        (25, 1),
        "1.25.1 hands out one root of the bundle only: raise the version first",
    ),
    Rule(
        "roots-ambient",
        (25, 2),
        (LAST_VERSION, LAST_VERSION),
        "ztunnel may not trust several roots before it restarts: restart it, and look at its log",
    ),
    Rule(
        "roots-text",
        (0, 0),
        (29, LAST_VERSION),
        "the roots are the same, but istiod compares the text of the bundle, and takes this for"
        " other roots",
    ),
    Rule(
        "roots-text",
        (30, 0),
        (LAST_VERSION, LAST_VERSION),
        "the roots are the same: nothing happens",
    ),
    _rule_for_all(
        "roots-shrunk",
        "who has a certificate of a root that goes is refused from then on: be sure that all have"
        " renewed, a day after the new one signs everywhere",
    ),
    _rule_for_all("roots-elsewhere", f"{_REFUSED}: {TO_ISSUER_FIX}"),
    _rule_for_all("roots-here", f"{_REFUSED}: {TO_LOCAL_FIX}"),
    _rule_for_all("roots-between", f"{_REFUSED}: {BETWEEN_ISSUERS_FIX}"),
    _rule_for_all(
        "roots-exchanged",
        "connections between those who have the old bundle and those who have the new one fail",
    ),
    Rule(
        "network",
        (0, 0),
        (7, LAST_VERSION),
        "where endpoints are comes from meshNetworks: they move when istiod there gets the new"
        " ones; proxies know their network only after a restart",
    ),
    Rule(
        "network",
        (8, 0),
        (LAST_VERSION, LAST_VERSION),
        "the endpoints of {cluster} move to the network {network} in every istiod that reads it,"
        " and all proxies get them anew; its own proxies take the network at injection, so restart"
        " its workloads",
    ),
    _rule_for_all(
        "namespace",
        "istiod, cacerts and remote secrets come up in another namespace; the old ones stay until"
        " they are deleted, and injection has to follow",
    ),
    _rule_for_all(
        "mesh-renamed",
        "proxies take the mesh ID at injection: restart the workloads; telemetry is filed under the"
        " new name",
    ),
    _rule_for_all(
        "trust-domain",
        "every identity changes: AuthorizationPolicies and peers refuse the new ones, unless"
        " meshConfig.trustDomainAliases names the old domain",
    ),
    _rule_for_all(
        "cluster-added",
        "no proxy of the others restarts; they get its endpoints once they have its remote secret",
    ),
    _rule_for_all(
        "cluster-removed", "what runs there goes on: the tree takes nothing off a cluster"
    ),
    _rule_for_all(
        "cluster-renamed",
        "its proxies keep the old name until they restart, and istiod there refuses them meanwhile:"
        " restart its workloads",
    ),
    _rule_for_all(
        "gateway-added", "a new gateway of the network {network}: full push to all proxies"
    ),
    _rule_for_all(
        "gateway-removed",
        "the network {network} loses a gateway: full push to all proxies; without any, others send"
        " to pod addresses that they cannot reach",
    ),
    _rule_for_all(
        "gateway-changed",
        "the gateway changes in place; if its address or port does, full push to all proxies",
    ),
    _rule_for_all(
        "gateway-type",
        "another kind of Service gives the gateway another address: connections through the old one"
        " break off",
    ),
    _rule_for_all(
        "mesh-networks", "istiod takes new meshNetworks without a restart: full push to all proxies"
    ),
    Rule(
        "version-raised",
        (0, 0),
        (4, LAST_VERSION),
        "Pilot, Citadel and the injector restart with the new version; proxies keep the old one"
        " until their workloads restart",
    ),
    Rule(
        "version-raised",
        (5, 0),
        (LAST_VERSION, LAST_VERSION),
        "istiod restarts with the new version; proxies keep the old one until their workloads"
        " restart",
    ),
    _rule_for_all(
        "version-lowered",
        "istiod restarts with an older version, which may not know what newer proxies ask for:"
        " restart the workloads soon",
    ),
    _rule_for_all(
        "version-skips", "Istio supports no upgrade over more than one minor version at a time"
    ),
    _rule_for_all(
        "revision",
        "another istiod comes up beside the old one; workloads move when their namespace's"
        " istio.io/rev label changes and they restart",
    ),
    _rule_for_all(
        "canary-added",
        "a second istiod comes up; it reads every remote secret, and serves nobody until a"
        " namespace asks for its revision",
    ),
    _rule_for_all(
        "release-removed",
        "workloads of this revision lose their istiod once it is deleted: move them first",
    ),
    _rule_for_all(
        "release-removed-pruned",
        "{tool} deletes it once the change is merged, and workloads of this revision lose their"
        " istiod: move them first",
    ),
    _rule_for_all(
        "images",
        "istiod restarts with its image from the new registry; running proxies and gateways keep"
        " the old one until their pods are created again: restart them before the old registry goes"
        " away",
    ),
    _rule_for_all(
        "namespace-left",
        "the Namespace stays in the cluster; delete it by hand if nothing else is in it",
    ),
    _rule_for_all(
        "component-namespace",
        "the component starts in another namespace: on each node traffic of the mesh stops until it"
        " runs there and the old one is deleted; the field of an IstioCNI cannot change, so delete"
        " that object first",
    ),
    _rule_for_all(
        "images-cni",
        "the pods of istio-cni restart on every node with the image from the new registry; pods"
        " that start meanwhile wait for them",
    ),
    _rule_for_all(
        "images-ztunnel",
        "the pods of ztunnel restart, node by node, with the image from the new registry;"
        " connections through them are closed",
    ),
    _rule_for_all(
        "images-gateway",
        "the pods of the gateway restart with the image from the new registry, one after the other",
    ),
    _rule_for_all("injection", "proxies take it at injection: restart the workloads"),
    _rule_for_all("mesh-config", "istiod takes it without a restart, and pushes to all proxies"),
    _rule_for_all("istiod-settings", "istiod restarts with the new settings"),
    _rule_for_all("control-plane", "the control plane is brought in line when it is applied"),
    _rule_for_all(
        "kind",
        "something else has to install and keep Istio: the old object goes on until it is deleted",
    ),
    _rule_for_all(
        "kind-pruned",
        "{tool} deletes the old object once the change is merged, and what keeps Istio there"
        " uninstalls it: plan for an interruption",
    ),
    _rule_for_all(
        "store-plain",
        "kubectl apply makes the Secrets themselves; whether what is in them changes too cannot be"
        " told",
    ),
    _rule_for_all(
        "store-sops",
        "kubectl apply -k leaves out what SOPS encrypted; `sops decrypt FILE` or the delivery tool"
        " opens it; whether what is in it changes too cannot be told",
    ),
    _rule_for_all(
        "store-sealed",
        "the Sealed Secrets controller makes the Secrets: it takes over none that is there already;"
        " whether what is in them changes too cannot be told",
    ),
    _rule_for_all(
        "store-external",
        "the External Secrets Operator makes the Secrets from what is in the store: it has to be"
        " there first",
    ),
    _rule_for_all(
        "store", "something else has to make the Secrets in the cluster: it has to be there first"
    ),
    _rule_for_all(
        "recipients-added",
        "who is added can open everything in the directory from now on; whether what is sealed"
        " changes too cannot be told",
    ),
    _rule_for_all(
        "recipients-removed",
        "who is removed can still open what git remembers: make the intermediate and the tokens"
        " anew; whether what is sealed changes too cannot be told",
    ),
    _rule_for_all("reader-added", "an account by which a peer may read the cluster, Secrets too"),
    _rule_for_all(
        "token-added",
        "the cluster makes a token in it, by which peers may read it, Secrets too; tokens that it"
        " has already go on",
    ),
    _rule_for_all(
        "push-added",
        "the cluster writes the token of its reader into the store, for its peers to take",
    ),
    _rule_for_all(
        "push-changed",
        "the cluster writes another token of its reader into the store, or writes it elsewhere; its"
        " peers take what they find there",
    ),
    _rule_for_all(
        "reader-removed",
        "kubectl apply deletes nothing; once it is deleted, its token opens nothing any more",
    ),
    _rule_for_all(
        "reader-removed-pruned",
        "{tool} deletes it once the change is merged; its token opens nothing from then on",
    ),
    _rule_for_all(
        "reader-changed", "the rights of an account by which peers read the cluster change"
    ),
    _rule_for_all(
        "delivery-added",
        "from now on the tool applies these directories, and undoes what others change there",
    ),
    _rule_for_all(
        "delivery-removed",
        "the tool no longer applies these directories; what it applied stays in the clusters,"
        " unless something above these objects deletes them",
    ),
    _rule_for_all(
        "delivery-moved",
        "from now on the Application of each cluster applies them; Argo CD may delete and create"
        " them again, which without a finalizer deletes nothing in the clusters (docs/argocd.md)",
    ),
    _rule_for_all("delivery-changed", "the tool applies the directories in another way"),
    _rule_for_all(
        "edited", "what was edited is not what a render makes: the next render undoes it"
    ),
    _rule_for_all("unapplied", "kubectl apply leaves it out, and deletes nothing"),
    _rule_for_all(
        "unapplied-pruned",
        "{tool} deletes it once the change is merged, unless an annotation keeps it",
    ),
    _rule_for_all(
        "cacerts",
        "istiod reads ca-crl.pem, and nothing else, beside the certificates; a CRL has to be there"
        " for every CA of the chain",
    ),
    _rule_for_all("applied", "kubectl apply takes it in"),
    _rule_for_all("object", "the object changes in place"),
    _rule_for_all("object-added", "a new object"),
    _rule_for_all("object-removed", "kubectl apply deletes nothing"),
    _rule_for_all("object-removed-pruned", "{tool} deletes it once the change is merged"),
)
"""For each rule and version one sentence."""
RULE_NAMES = frozenset(rule.name for rule in RULES)
