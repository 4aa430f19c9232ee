"""Causes that several messages share."""

from kubectl_mesh.explain.known import Cause

ROOTS = Cause(
    "the clusters do not share one root",
    "put the same root into every cluster: render, review the cacerts, apply all clusters, and restart istiod where the root changed",
    ("certs-one-root", "certs-chain", "tree-root"),
)
LATE_ROOT = Cause(
    "istiod started before cacerts was there, and signs with a root of its own; or it holds an older cacerts than the tree",
    "compare `kubectl -n istio-system get configmap istio-ca-root-cert -o yaml` of both clusters with certs/root-cert.pem; "
    "apply stage 1, restart istiod, then the workloads",
)
CHAIN = Cause(
    "an intermediate does not lead to the root beside it",
    "render, which puts the intermediate of certs/ and its chain into the tree, and apply",
    ("certs-chain", "tree-chain", "tree-own"),
)
EXPIRED = Cause(
    "a certificate has expired",
    "have a new intermediate made (move its folder in certs/ away), render, review and apply; workloads follow within half of their certificate's life",
    ("certs-expired", "tree-expired"),
)
TRUST_DOMAIN = Cause(
    "the clusters have different trust domains",
    "state one `trustDomain` in topology.yaml and name the old one in meshConfig.trustDomainAliases until no workload has it",
    ("trust-domain", "tree-trust-domain"),
)
EDGE = Cause(
    "there is no remote secret for the cluster, or istiod does not see it",
    "render, then apply stage 3 of the cluster that has to discover the other",
    ("remote-missing", "remote-seen", "remote-names", "token-pending", "server-pending", "tree-withdrawn"),
)
LOST = Cause(
    "istiod lost the endpoints of a cluster whose remote secret changed (Istio's issue 61043)",
    "see it by `istioctl proxy-config endpoints POD.NAMESPACE` (`istioctl remote-clusters` says synced throughout); restart istiod of the clusters that hold "
    "the changed remote secret; upgrade to 1.30.4 or later before the next change",
    versions=("1.30", "1.30.0", "1.30.1", "1.30.2", "1.30.3"),
)
GATEWAY = Cause(
    "the network has no gateway that the others know, or its label names another network",
    "render and apply stage 3; then look for the gateway's address: `kubectl -n istio-system get service -l topology.istio.io/network`",
    ("gateway-pending", "gateway-address", "gateway-kind", "tree-networks"),
)
NETWORK = Cause(
    "a cluster's network is not the same in the namespace's label, in the values and at the gateway",
    "state the network in topology.yaml alone, render, apply, and restart istiod and the gateways",
    ("tree-network", "network-near", "base-identity"),
)
LOGIN = Cause(
    "the token of the remote secret is not taken: expired, of another cluster, or deleted there",
    "fetch the token again (`kubectl mesh render` prints the command if the file is moved away), render, review and apply",
    ("token-expired", "token-account", "token-unique", "token-readable", "credential-readable", "remote-login", "base-reader"),
)
SERVER = Cause(
    "the remote secret leads to a server that the other cluster cannot reach: a loopback or private address, another port",
    "state in `contexts.CTX.server` the URL by which the peers reach the API server, render and apply",
    ("server-reachable", "remote-server", "server-unique"),
)
SERVER_CA = Cause(
    "the remote secret holds another CA than the API server (or the proxy before it) is signed by",
    "put the CA into clusters/NAME.crt, render and apply; see it with `openssl s_client -connect HOST:PORT -showcerts`",
    ("server-ca", "remote-ca"),
)
IDENTITY = Cause(
    "the control plane, or the data plane beside it, has another cluster name than the remote secrets use",
    "render and apply stage 2; restart istiod, then ztunnel and the proxies, which keep the name that they started with",
    ("tree-identity", "remote-names", "base-identity"),
)
FIREWALL = Cause("a firewall or a security group lets no traffic through between the networks", "try it from a pod: `nc -vz ADDRESS PORT`")
