"""Causes that several messages share."""

from kubectl_mesh.explain.known_messages import Cause
from kubectl_mesh.text import mesh_command, work_path

ROOTS = Cause(
    "the clusters do not share one root",
    "put the same root into every cluster: render, review the cacerts, apply all clusters, and"
    " restart istiod where the root changed",
    ("certs-one-root", "certs-chain", "tree-root"),
    is_proof=True,
    command="kubectl --context=CONTEXT -n istio-system get configmap istio-ca-root-cert -o yaml",
)
LATE_ROOT = Cause(
    "istiod started before cacerts was there, and signs with a root of its own; or it holds an"
    " older cacerts than the tree",
    "compare `kubectl -n istio-system get configmap istio-ca-root-cert -o yaml` of both clusters"
    f" with {work_path('certs/root-cert.pem')}; apply stage 1, restart istiod, then the workloads",
    command="kubectl --context=CONTEXT -n istio-system get configmap istio-ca-root-cert -o yaml",
)
CHAIN = Cause(
    "an intermediate does not lead to the root beside it",
    f"render, which puts the intermediate of {work_path('certs/')} and its chain into the tree, and"
    " apply",
    ("certs-chain", "tree-chain", "tree-own"),
    is_proof=True,
    command=f"kubectl --context=CONTEXT diff -k {work_path('out/NAME/1-trust')}",
)
EXPIRED = Cause(
    "a certificate has expired",
    f"have a new intermediate made (move its folder in {work_path('certs/')} away), render, review"
    " and apply; workloads follow within half of their certificate's life",
    ("certs-expired", "tree-expired"),
    is_proof=True,
    command="istioctl --context=CONTEXT proxy-config secret POD.NAMESPACE",
)
TRUST_DOMAIN = Cause(
    "the clusters have different trust domains",
    "state one `trustDomain` in topology.yaml and name the old one in meshConfig.trustDomainAliases"
    " until no workload has it",
    ("trust-domain", "tree-trust-domain"),
    is_proof=True,
    command=(
        "kubectl --context=CONTEXT -n istio-system get configmap istio -o jsonpath={.data.mesh}"
    ),
)
EDGE = Cause(
    "there is no remote secret for the cluster, or istiod does not see it",
    "render, then apply stage 3 of the cluster that has to discover the other",
    (
        "remote-missing",
        "remote-seen",
        "remote-names",
        "token-pending",
        "server-pending",
        "tree-withdrawn",
    ),
    command="istioctl --context=CONTEXT remote-clusters",
)
LOST = Cause(
    "istiod lost the endpoints of a cluster whose remote secret changed (Istio's issue 61043)",
    "see it by `istioctl proxy-config endpoints POD.NAMESPACE` (`istioctl remote-clusters` says"
    " synced throughout); restart istiod of the clusters that hold the changed remote secret;"
    " upgrade to 1.30.4 or later before the next change",
    versions=("1.30", "1.30.0", "1.30.1", "1.30.2", "1.30.3"),
    command="istioctl --context=CONTEXT proxy-config endpoints POD.NAMESPACE",
)
GATEWAY = Cause(
    "the network has no gateway that the others know, or its label names another network",
    "render and apply stage 3; then look for the gateway's address: `kubectl -n istio-system get"
    " service -l topology.istio.io/network`",
    ("gateway-pending", "gateway-address", "gateway-kind", "tree-networks"),
    command="kubectl --context=CONTEXT -n istio-system get service -l topology.istio.io/network",
)
NETWORK = Cause(
    "a cluster's network is not the same in the namespace's label, in the values and at the"
    " gateway",
    "state the network in topology.yaml alone, render, apply, and restart istiod and the gateways",
    ("tree-network", "base-identity"),
    hints=("network-near",),
    is_proof=True,
    command="kubectl --context=CONTEXT get namespace istio-system -L topology.istio.io/network",
)
LOGIN = Cause(
    "the token of the remote secret is not taken: expired, of another cluster, or deleted there",
    f"fetch the token again (`{mesh_command('render')}` prints the command if the file is moved"
    " away), render, review and apply",
    (
        "token-expired",
        "token-account",
        "token-unique",
        "token-readable",
        "credential-readable",
        "remote-login",
        "base-reader",
    ),
    command=(
        "kubectl --context=CONTEXT -n istio-system get secret"
        " istio-reader-service-account-istio-remote-secret-token -o jsonpath={.data.token} | base64"
        f" -d | cmp - {work_path('credentials/NAME.token')}"
    ),
)
SERVER = Cause(
    "the remote secret leads to a server that the other cluster cannot reach: a loopback or private"
    " address, another port",
    "state in `contexts.CTX.server` the URL by which the peers reach the API server, render and"
    " apply",
    ("server-reachable", "remote-server"),
    hints=("server-unique",),
    command=(
        "kubectl --context=PEER run -i --rm --restart=Never --image=curlimages/curl mesh-probe --"
        " curl -ksS -m 5 SERVER/livez"
    ),
)
SERVER_CA = Cause(
    "the remote secret holds another CA than the API server (or the proxy before it) is signed by",
    f"put the CA into {work_path('clusters/NAME.crt')}, render and apply; see it with"
    " `openssl s_client -connect HOST:PORT -showcerts`",
    ("server-ca", "remote-ca"),
    command=(
        f"openssl s_client -connect HOST:PORT -CAfile {work_path('clusters/NAME.crt')}"
        " -verify_return_error </dev/null"
    ),
)
SERVER_CA_EXPIRED = Cause(
    "the CA that is given for the API server has expired",
    f"put the new CA into {work_path('clusters/NAME.crt')}, render and apply",
    ("server-ca-expired",),
    is_proof=True,
    command=f"openssl x509 -in {work_path('clusters/NAME.crt')} -noout -enddate",
)
IDENTITY = Cause(
    "the control plane, or the data plane beside it, has another cluster name than the remote"
    " secrets use",
    "render and apply stage 2; restart istiod, then ztunnel and the proxies, which keep the name"
    " that they started with",
    ("tree-identity", "remote-names", "base-identity"),
    command="istioctl --context=CONTEXT proxy-status",
)
FIREWALL = Cause(
    "a firewall or a security group lets no traffic through between the networks",
    "try it from a pod: `nc -vz ADDRESS PORT`",
    command="kubectl --context=CONTEXT exec POD -- nc -vz ADDRESS PORT",
)
