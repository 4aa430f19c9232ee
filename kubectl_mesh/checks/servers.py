"""The checks of the API servers, as the peers reach them."""

from kubectl_mesh.checks.result import ERROR, WARNING, Check

_NEW_CA = (
    "Put the new CA into `clusters/NAME.crt` before the old one ends, render, review and apply."
)
CHECKS = (
    Check(
        "kubeconfig-context",
        "servers",
        ERROR,
        "every context is in the kubeconfig, or states its server",
        "a remote secret for a cluster that does not exist",
        "Write the context's name as the kubeconfig has it (`kubectl config get-contexts -o name`),"
        " or state `server` and `certificateAuthority`.",
    ),
    Check(
        "server-reachable",
        "servers",
        ERROR,
        "peers can reach every API server by https",
        "istiod: `failed to list … connection refused`, and no endpoints of the cluster",
        "State in `contexts.CTX.server` the https URL by which the other clusters reach the API"
        " server; a loopback address is never it.",
    ),
    Check(
        "server-ca",
        "servers",
        ERROR,
        "every API server has a CA that peers verify it by",
        "istiod: `x509: certificate signed by unknown authority`",
        "Put the CA of the API server into `clusters/NAME.crt`; behind a proxy it is the CA of the"
        " proxy.",
    ),
    Check(
        "server-ca-expired",
        "servers",
        ERROR,
        "every CA that is given for an API server is valid today",
        "istiod: `x509: certificate has expired or is not yet valid`, and no endpoints of the"
        " cluster",
        _NEW_CA,
    ),
    Check(
        "server-ca-expiring",
        "servers",
        WARNING,
        "no CA that is given for an API server expires soon; within the time of --fail-within it is"
        " an error",
        "a cluster that vanishes from the mesh on the day its CA expires",
        _NEW_CA,
    ),
    Check(
        "server-unique",
        "servers",
        WARNING,
        "no two clusters have the same API server",
        "one cluster's endpoints counted twice",
        "State the right server for each of them.",
    ),
    Check(
        "server-pending",
        "servers",
        WARNING,
        "every API server that a peer reads is known",
        "a cluster that its peers do not discover",
        "State `contexts.CTX.server`, or put a kubeconfig that has the context beside the"
        " topology.",
    ),
    Check(
        "server-borrowed",
        "servers",
        WARNING,
        "no server is in kubeconfig.yaml alone where git ignores that file",
        "a clone, or the pipeline that renders it, stops: `no such context`, or every server is"
        " pending",
        "Run `kubectl mesh init` again, which copies servers and CAs into topology.yaml and"
        " clusters/; then commit both.",
    ),
)
