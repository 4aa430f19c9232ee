"""What ztunnel says, the proxy of ambient."""

from kubectl_mesh.explain import common_causes
from kubectl_mesh.explain.known_messages import Cause, KnownMessage

MESSAGES = (
    KnownMessage(
        "peer-certificate",
        "ztunnel",
        r"invalid peer certificate|received fatal alert:"
        r" (?:UnknownCA|BadCertificate|DecryptError)|BadSignature|UnknownIssuer",
        "ztunnel does not accept the certificate of the other side",
        (
            common_causes.ROOTS,
            common_causes.CHAIN,
            common_causes.EXPIRED,
            Cause(
                "ztunnel trusts the first root it got and no other, while several roots are in use"
                " (Istio's issue 47427)",
                "have one root in all clusters; restart ztunnel after the root bundle changed",
                hints=("tree-root",),
                command=(
                    "kubectl --context=CONTEXT -n istio-system get configmap istio-ca-root-cert -o"
                    " yaml"
                ),
            ),
        ),
    ),
    KnownMessage(
        "no-service",
        "ztunnel",
        r"no service for target address",
        "ztunnel knows no service at this address on its network",
        (
            Cause(
                "ztunnel's network or cluster is not that of its control plane",
                "render, apply stage 2, and restart ztunnel",
                ("tree-network", "tree-identity"),
                command="kubectl --context=CONTEXT -n istio-system get daemonset ztunnel -o yaml",
            ),
            Cause(
                "the service is not shared with other clusters",
                'label it `istio.io/global: "true"` in every cluster',
                command="kubectl --context=CONTEXT get services -A -L istio.io/global",
            ),
            common_causes.EDGE,
        ),
    ),
    KnownMessage(
        "no-gateway-address",
        "ztunnel",
        r"no gateway address|no valid routing destination|no valid destination",
        "the endpoint is on another network, and no gateway into that is known",
        (
            common_causes.GATEWAY,
            common_causes.NETWORK,
            Cause(
                "AMBIENT_ENABLE_MULTI_NETWORK is not set, or Istio is too old for it",
                "Istio 1.27 or later, and `dataPlane: ambient`",
                ("ambient", "istio-version"),
                command="kubectl --context=CONTEXT -n istio-system get deploy istiod -o yaml",
            ),
        ),
    ),
    KnownMessage(
        "ztunnel-rejected",
        "ztunnel",
        r"XDS client connection error|XDS client error|Unauthenticated.{0,300}authentication"
        r" failure",
        "istiod does not take this ztunnel's login",
        (
            common_causes.IDENTITY,
            Cause(
                "ztunnel is in a namespace that istiod does not trust",
                "state trustedZtunnelNamespace in base.yaml",
                ("ztunnel-trusted",),
                command="kubectl --context=CONTEXT get daemonsets -A -l app=ztunnel",
            ),
        ),
    ),
)
