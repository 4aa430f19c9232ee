"""What Envoy says: in the access log, in the body of an answer, in the statistics of a TLS
handshake.
"""

from kubectl_mesh.explain import common_causes
from kubectl_mesh.explain.known_messages import Cause, KnownMessage
from kubectl_mesh.text import mesh_command, work_path

MESSAGES = (
    KnownMessage(
        "unknown-ca",
        "Envoy",
        r"TLSV1_ALERT_UNKNOWN_CA|tlsv1 alert unknown ca|UNKNOWN_CA\b",
        "the other side does not know the root that this side's certificate leads to",
        (common_causes.ROOTS, common_causes.CHAIN, common_causes.LATE_ROOT),
    ),
    KnownMessage(
        "certificate-expired",
        "Envoy, istiod",
        r"certificate has expired|SSLV3_ALERT_CERTIFICATE_EXPIRED|CERTIFICATE_EXPIRED\b",
        "a certificate of the chain is not valid today",
        (
            common_causes.EXPIRED,
            common_causes.SERVER_CA_EXPIRED,
            Cause(
                "a workload's certificate was not renewed, for istiod cannot be reached or cannot"
                " sign",
                "look into the log of istiod, then restart the workload",
                command="istioctl --context=CONTEXT proxy-config secret POD.NAMESPACE",
            ),
            Cause(
                "the clock of a node is wrong",
                "compare `date -u` on the nodes",
                command="date -u",
            ),
        ),
    ),
    KnownMessage(
        "verify-failed",
        "Envoy",
        r"CERTIFICATE_VERIFY_FAILED(?!.{0,300}(?:expired|permitted subtree))",
        "the certificate of the other side is not accepted",
        (
            common_causes.ROOTS,
            common_causes.CHAIN,
            common_causes.EXPIRED,
            Cause(
                "a certificate is no CA, or may not sign",
                "use certificates with CA:TRUE and keyCertSign; render and apply",
                ("certs-ca", "tree-ca"),
                is_proof=True,
                command=f"kubectl --context=CONTEXT diff -k {work_path('out/NAME/1-trust')}",
            ),
            common_causes.TRUST_DOMAIN,
            common_causes.LATE_ROOT,
        ),
    ),
    KnownMessage(
        "certificate-unknown",
        "Envoy",
        r"SSLV3_ALERT_CERTIFICATE_UNKNOWN|verify SAN list|SAN matcher",
        "the certificate verifies, but its SPIFFE identity is not the one that was expected; or the"
        " other side could not judge it",
        (
            common_causes.TRUST_DOMAIN,
            common_causes.ROOTS,
            Cause(
                "the service account of the server is not one that the service is known to have",
                "look into the DestinationRule's subjectAltNames",
                command="kubectl --context=CONTEXT get destinationrules -A -o yaml",
            ),
        ),
    ),
    KnownMessage(
        "bad-signature",
        "Envoy",
        r"PADDING_CHECK_FAILED|TLSV1_ALERT_DECRYPT_ERROR|BLOCK_TYPE_IS_NOT_01|BAD_SIGNATURE\b",
        "the chain leads to a root of the right name and the wrong key",
        (
            Cause(
                "there are two roots with the same name, as when a root was made twice with the"
                " same organization",
                f"find the right one by its fingerprint (`{mesh_command('describe')}`), put it"
                " everywhere, and make the intermediates of the other anew",
                ("certs-one-root", "certs-chain", "tree-root", "tree-chain"),
                is_proof=True,
                command=(
                    "kubectl --context=CONTEXT -n istio-system get configmap istio-ca-root-cert -o"
                    " yaml"
                ),
            ),
            common_causes.LATE_ROOT,
        ),
    ),
    KnownMessage(
        "name-constraints",
        "Envoy",
        r"permitted subtree violation|excluded subtree violation",
        "a CA of the chain has name constraints that do not permit the workload's identity",
        (
            Cause(
                "the intermediate or the root has name constraints",
                "have it issued with spiffe:// URIs of the trust domain permitted",
                ("certs-names",),
                command=(
                    f"openssl x509 -in {work_path('certs/intermediate-NAME/ca-cert.pem')} -noout"
                    " -ext nameConstraints"
                ),
            ),
        ),
    ),
    KnownMessage(
        "no-healthy-upstream",
        "Envoy, ztunnel",
        r"no healthy upstream|(?-i:\bUH\b)|no_healthy_upstream",
        "no endpoint is known for the service, or none that is fit",
        (
            common_causes.EDGE,
            common_causes.LOGIN,
            common_causes.SERVER,
            common_causes.LOST,
            common_causes.GATEWAY,
            Cause(
                "the service has no ready pod anywhere",
                "`kubectl get endpointslices -A` in each cluster",
                command="kubectl --context=CONTEXT get endpointslices -A",
            ),
        ),
    ),
    KnownMessage(
        "connection-timeout",
        "Envoy",
        r"upstream connect error or disconnect/reset before headers|connection timeout|delayed"
        r" connect error"
        r"|upstream_reset_before_response_started|(?-i:\bUF\b|\bURX\b)",
        "an endpoint is known, and no connection to it comes about",
        (common_causes.NETWORK, common_causes.GATEWAY, common_causes.FIREWALL, common_causes.ROOTS),
    ),
    KnownMessage(
        "cluster-not-found",
        "Envoy",
        r"cluster_not_found|(?-i:\bNC\b).{0,300}(?:outbound|cluster)|filter_chain_not_found",
        "the proxy or gateway has no route for what it is asked for",
        (
            Cause(
                "what exposes the services at the east-west gateway is not applied",
                "apply stage 3 of that cluster",
                hints=("tree-current", "tree-edited", "tree-stale"),
                command=f"kubectl --context=CONTEXT diff -k {work_path('out/NAME/3-mesh')}",
            ),
            common_causes.EDGE,
            common_causes.IDENTITY,
        ),
    ),
    KnownMessage(
        "rbac-denied",
        "Envoy, ztunnel",
        r"RBAC: access denied|rbac_access_denied|allow policies exist, but none allowed|explicitly"
        r" denied by",
        "an AuthorizationPolicy does not allow this identity",
        (
            common_causes.TRUST_DOMAIN,
            Cause(
                "the policy names principals by their cluster or an older trust domain",
                "compare the policy with the source.principal in the access log",
                command="kubectl --context=CONTEXT get authorizationpolicies -A -o yaml",
            ),
        ),
    ),
    KnownMessage(
        "wrong-version",
        "Envoy",
        r"WRONG_VERSION_NUMBER|HTTP_REQUEST\b.{0,300}TLS|plaintext was received",
        "one side speaks TLS and the other does not",
        (
            Cause(
                "a PeerAuthentication or DestinationRule asks for TLS where the other side has no"
                " proxy, or the other way about",
                "compare PeerAuthentication and DestinationRule of both",
                command="kubectl --context=CONTEXT get peerauthentications,destinationrules -A",
            ),
            Cause(
                "the gateway's port is not the one that takes mesh traffic",
                "state the port of the gateway in topology.yaml",
                ("tree-networks",),
                hints=("gateway-address",),
                command=(
                    "kubectl --context=CONTEXT -n istio-system get service istio-eastwestgateway"
                ),
            ),
        ),
    ),
)
