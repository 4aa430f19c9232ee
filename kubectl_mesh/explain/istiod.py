"""What istiod says: about its CA, about the clusters it reads, about the proxies that come to
it.
"""

from kubectl_mesh.explain import common_causes
from kubectl_mesh.explain.known_messages import Cause, KnownMessage
from kubectl_mesh.text import mesh_command, work_path

_INCOMPLETE = Cause(
    "the rendered cacerts lacks a part",
    "render and apply stage 1, then restart istiod",
    ("certs-complete", "tree-complete"),
    is_proof=True,
    command="kubectl --context=CONTEXT -n istio-system describe secret cacerts",
)
_PAIR = Cause(
    "the key is not that of the certificate",
    "put back the pair that belongs together, render, apply and restart istiod",
    ("certs-pair", "tree-pair"),
    is_proof=True,
    command=f"kubectl --context=CONTEXT diff -k {work_path('out/NAME/1-trust')}",
)
_NO_CA = Cause(
    "the certificate is no CA",
    "use a certificate with CA:TRUE and keyCertSign",
    ("certs-ca", "tree-ca"),
    is_proof=True,
    command=f"kubectl --context=CONTEXT diff -k {work_path('out/NAME/1-trust')}",
)

MESSAGES = (
    KnownMessage(
        "incomplete-bundle",
        "istiod",
        r"incomplete signing CA bundle",
        "cacerts is there, but not all of ca-cert.pem, ca-key.pem, cert-chain.pem and"
        " root-cert.pem",
        (
            _INCOMPLETE,
            Cause(
                "the Secret was sealed or stored in parts",
                f"open it where it was sealed: `{mesh_command('verify --identity FILE')}`",
                hints=("sealed-current",),
                command="kubectl --context=CONTEXT -n istio-system describe secret cacerts",
            ),
        ),
    ),
    KnownMessage(
        "no-istiod-ca",
        "istiod",
        r"failed to create an istiod CA|failed to create CA|error loading remote CA certs",
        "istiod does not start, for it cannot sign with what is in cacerts",
        (
            _INCOMPLETE,
            _PAIR,
            common_causes.CHAIN,
            common_causes.EXPIRED,
            _NO_CA,
            Cause(
                "istiod cannot read the key",
                "write it as PEM without a password",
                ("certs-readable", "tree-readable"),
                command="kubectl --context=CONTEXT -n istio-system logs deploy/istiod",
            ),
        ),
    ),
    KnownMessage(
        "key-mismatch",
        "istiod",
        r"private key does not match public key",
        "key and certificate in cacerts do not belong together",
        (_PAIR,),
    ),
    KnownMessage(
        "no-ca-certificate",
        "istiod",
        r"not authorized to sign other certificates",
        "a certificate in cacerts is no CA",
        (_NO_CA,),
    ),
    KnownMessage(
        "signature-algorithm",
        "istiod",
        r"requested SignatureAlgorithm does not match private key type",
        "this release of istiod cannot sign with the type of the key",
        (
            Cause(
                "the intermediate has an EC key, and Istio is older than 1.7.7",
                "state `keyType: rsa-2048`, move the intermediates away and render",
                ("certs-key-type",),
                is_proof=True,
                command="istioctl --context=CONTEXT version",
            ),
        ),
    ),
    KnownMessage(
        "root-not-updated",
        "istiod",
        r"updating new ROOT-CA not supported",
        "the root in cacerts changed while istiod ran: the whole update is ignored, a new"
        " intermediate too",
        (
            Cause(
                "the root was exchanged in one step",
                "go back to the old root, then add the new one beside it in all clusters before any"
                " intermediate changes; or set ISTIO_MULTIROOT_MESH=true, and restart istiod after"
                " each step where it is not set",
                ("tree-root", "certs-one-root"),
                command=(
                    "kubectl --context=CONTEXT -n istio-system get configmap istio-ca-root-cert -o"
                    " yaml"
                ),
            ),
        ),
    ),
    KnownMessage(
        "missing-crl",
        "istiod",
        r"missing CRL signed by certificates",
        "ca-crl.pem lacks a list of revoked certificates for a CA of the chain",
        (
            Cause(
                "only the root has signed a list",
                "put a list, empty or not, of every certificate in cert-chain.pem into ca-crl.pem",
                ("crl-complete",),
                command="kubectl --context=CONTEXT -n istio-system describe secret cacerts",
            ),
        ),
    ),
    KnownMessage(
        "wrong-cluster",
        "istiod",
        r"client claims to be in cluster|could not get cluster \S+ kube client",
        "a proxy says that it belongs to a cluster of which istiod does not know",
        (common_causes.IDENTITY, common_causes.EDGE, common_causes.LOGIN),
    ),
    KnownMessage(
        "registered-twice",
        "istiod",
        r"has already been registered",
        "a cluster is in two remote secrets; the one that came second is passed over",
        (
            Cause(
                "there are two remote secrets for one cluster",
                "take one away, in the tree and in the cluster",
                ("remote-double", "remote-extra", "remote-names"),
                command=(
                    "kubectl --context=CONTEXT -n istio-system get secrets -l"
                    " istio/multiCluster=true"
                ),
            ),
        ),
    ),
    KnownMessage(
        "own-cluster",
        "istiod",
        r"would overwrite the (?:local|config) cluster",
        "a remote secret for istiod's own cluster: it is passed over, which does no harm",
        (
            Cause(
                "all clusters take one bundle of remote secrets",
                "nothing: that is how `remoteSecrets: bundle` works",
                command=(
                    "kubectl --context=CONTEXT -n istio-system get secrets -l"
                    " istio/multiCluster=true"
                ),
            ),
            Cause(
                "two clusters have the same name",
                "give each cluster a name of its own",
                ("tree-identity", "remote-names", "base-identity"),
                command="kubectl --context=CONTEXT -n istio-system get deploy istiod -o yaml",
            ),
        ),
    ),
    KnownMessage(
        "unauthorized",
        "istiod",
        r"\bUnauthorized\b|the server has asked for the client to provide credentials|invalid"
        r" bearer token",
        "an API server does not take the login of the remote secret",
        (
            common_causes.LOGIN,
            common_causes.SERVER,
            Cause(
                "the reader's account or its token Secret was deleted in that cluster",
                "apply stage 3 there and fetch the token again",
                command="kubectl --context=CONTEXT -n istio-system get serviceaccount,secret",
            ),
        ),
    ),
    KnownMessage(
        "forbidden",
        "istiod",
        r"is forbidden: User|cannot (?:list|watch|get) resource",
        "the login is taken, and may not read what istiod asks for",
        (
            Cause(
                "the reader's role or its binding is missing in that cluster",
                "apply stages 2 and 3 there",
                ("base-reader",),
                hints=("tree-edited", "tree-current"),
                command=(
                    "kubectl --context=CONTEXT auth can-i list services"
                    " --as=system:serviceaccount:istio-system:istio-reader-service-account"
                ),
            ),
            Cause(
                "the token is that of another account",
                "fetch it again",
                ("token-account", "token-unique", "remote-login"),
                command=(
                    "kubectl --context=CONTEXT auth can-i list services"
                    " --as=system:serviceaccount:istio-system:istio-reader-service-account"
                ),
            ),
        ),
    ),
    KnownMessage(
        "not-reached",
        "istiod, kubectl",
        r"connection refused|no such host|i/o timeout|context deadline exceeded|no route to"
        r" host|Client\.Timeout exceeded"
        r"|timed out waiting for.{0,300}(?:cluster|sync)",
        "a server does not answer at the address that was given",
        (
            common_causes.SERVER,
            Cause(
                "where istiod is reached is not known, or not by an address",
                "state `controlPlaneAddress`",
                ("address-pending",),
                hints=("control-plane-address",),
                command=(
                    "kubectl --context=CONTEXT -n istio-system get service istio-eastwestgateway"
                ),
            ),
            common_causes.FIREWALL,
        ),
    ),
    KnownMessage(
        "unknown-authority",
        "istiod, kubectl",
        r"certificate signed by unknown authority",
        "a certificate leads to a CA that is not known where it is judged",
        (
            common_causes.SERVER_CA,
            common_causes.SERVER_CA_EXPIRED,
            common_causes.CHAIN,
            common_causes.ROOTS,
            common_causes.LATE_ROOT,
        ),
    ),
    KnownMessage(
        "certificate-valid-for",
        "istiod, kubectl",
        r"certificate is (?:valid for|not valid for)|cannot validate certificate for",
        "the API server's certificate is for another name than the one in the URL",
        (
            Cause(
                "the server is reached by a name that its certificate does not have",
                "state `contexts.CTX.tlsServerName`, or the URL that the certificate has",
                hints=("remote-server",),
                command=(
                    "openssl s_client -connect HOST:PORT </dev/null | openssl x509 -noout -ext"
                    " subjectAltName"
                ),
            ),
        ),
    ),
    KnownMessage(
        "login-not-allowed",
        "istiod",
        r"kubeconfig is not allowed|auth provider \S+ is not"
        r" allowed|(?:tokenFile|clientCertificate|clientKey|exec) is not allowed"
        r"|PILOT_INSECURE_MULTICLUSTER_KUBECONFIG_OPTIONS",
        "istiod refuses a way to log in that is not a token or OIDC",
        (
            Cause(
                "a cluster logs in by exec, a token file or a client certificate",
                "set PILOT_INSECURE_MULTICLUSTER_KUBECONFIG_OPTIONS for istiod as"
                f" `{mesh_command('check --id credential-cost')}` says, or use a token",
                ("credential-cost",),
                command=(
                    "kubectl --context=CONTEXT -n istio-system get secrets -l"
                    " istio/multiCluster=true"
                ),
            ),
        ),
    ),
    KnownMessage(
        "kubeconfig-unreadable",
        "istiod",
        r"kubeconfig (?:cannot be loaded|is not valid|is empty)",
        "a remote secret does not hold a kubeconfig",
        (
            Cause(
                "the remote secret was edited",
                "render and apply stage 3",
                ("tree-readable", "remote-server", "remote-ca", "remote-login"),
                command=f"kubectl --context=CONTEXT diff -k {work_path('out/NAME/3-mesh')}",
            ),
            Cause(
                "it was applied as it is encrypted",
                f"apply it by what decrypts it: see what `{mesh_command('explain')}` says of"
                " `.sops: field not declared`",
                command=(
                    "kubectl --context=CONTEXT -n istio-system get secrets -l"
                    " istio/multiCluster=true"
                ),
            ),
        ),
    ),
    KnownMessage(
        "registry-name",
        "istiod",
        r"invalid registry name",
        "meshNetworks names a cluster in a way that istiod does not take, and nothing of"
        " meshNetworks is used",
        (
            Cause(
                "a registry has a capital letter, or another name than its cluster",
                "write it as the cluster's name",
                ("base-registry", "tree-networks"),
                command=(
                    "kubectl --context=CONTEXT -n istio-system get configmap istio -o"
                    " jsonpath={.data.meshNetworks}"
                ),
            ),
        ),
    ),
    KnownMessage(
        "endpoints-gone",
        "istiod",
        r"(?:Deleting cluster_id|Updating cluster \S+ from secret|Number of remote clusters: 0)",
        "istiod takes a remote cluster out, or in anew, since its secret went or changed",
        (common_causes.EDGE, common_causes.LOST),
    ),
)
