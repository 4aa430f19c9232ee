"""Errors as people paste them into `explain`."""

import json

import jsonschema

from kubectl_mesh.yaml_io import assets
from tests.conftest import Run, WorkDir

PASTED = {
    "image-gone": 'Back-off pulling image "registry.istio.io/release/proxyv2:1.30.3"',
    "charts-gone": 'failed to fetch chart: looks like "https://istio-release.storage.googleapis.com/charts" is not a valid chart repository or cannot be reached: 403',
    "unknown-ca": "upstream reset: transport failure reason: TLS_error:|268436501:SSL routines:OPENSSL_internal:TLSV1_ALERT_UNKNOWN_CA:TLS_error_end",
    "certificate-expired": "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: certificate has expired",
    "verify-failed": "503 UF TLS error: 268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED",
    "certificate-unknown": "TLS error: 268436502:SSL routines:OPENSSL_internal:SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "bad-signature": "TLS error: 67108974:RSA routines:OPENSSL_internal:PADDING_CHECK_FAILED 268435585",
    "name-constraints": "CERTIFICATE_VERIFY_FAILED: verify cert failed: X509_verify_cert: certificate verification error at depth 2: permitted subtree violation",
    "no-healthy-upstream": '[2026-11-03T10:00:00Z] "GET / HTTP/1.1" 503 UH no_healthy_upstream - "-" 0 19 0 - "-" "outbound|80||a.b.svc.cluster.local"',
    "connection-timeout": "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: connection timeout",
    "cluster-not-found": '"- - -" 0 NC cluster_not_found - "-" outbound_.80_._.a.b.svc.cluster.local',
    "rbac-denied": "RBAC: access denied",
    "wrong-version": "TLS_error:|268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end",
    "incomplete-bundle": "2026-11-03T10:00:00Z warn incomplete signing CA bundle detected at ./etc/cacerts",
    "no-istiod-ca": "Error: failed to create discovery service: failed to create CA: failed to create an istiod CA: x509: certificate signed by unknown authority",
    "key-mismatch": "failed to create an istiod CA: tls: private key does not match public key",
    "no-ca-certificate": "x509: certificate is not authorized to sign other certificates",
    "signature-algorithm": "x509: requested SignatureAlgorithm does not match private key type",
    "root-not-updated": "warn rootcertrotator Multi root is disabled, updating new ROOT-CA not supported",
    "missing-crl": "missing CRL signed by certificates: [CN=Intermediate CA CN=Root CA]",
    "wrong-cluster": 'client claims to be in cluster "Kubernetes", but we only know about local cluster "east" and remote clusters []',
    "registered-twice": "cluster west from secret istio-system/istio-remote-secret-west-2 has already been registered",
    "own-cluster": "ignoring cluster east from secret istio-system/east as it would overwrite the local cluster",
    "unauthorized": "reflector.go: failed to list *v1.Service: Unauthorized",
    "forbidden": 'services is forbidden: User "system:serviceaccount:istio-system:x" cannot list resource "services" in API group "" at the cluster scope',
    "not-reached": 'failed to list *v1.Pod: Get "https://127.0.0.1:6443/api/v1/pods": dial tcp 127.0.0.1:6443: connect: connection refused',
    "unknown-authority": "failed to list *v1.Pod: tls: failed to verify certificate: x509: certificate signed by unknown authority",
    "certificate-valid-for": "x509: certificate is valid for 10.96.0.1, not 192.0.2.1",
    "login-not-allowed": "Adding cluster_id=west from secret=istio-system/x: kubeconfig is not allowed: exec is not allowed",
    "kubeconfig-unreadable": "Adding cluster_id=west from secret=istio-system/x: kubeconfig cannot be loaded: yaml",
    "registry-name": "invalid registry name: Kubernetes",
    "endpoints-gone": "info Deleting cluster_id=west configured by secret=istio-system/istio-remote-secret-west",
    "peer-certificate": "tls handshake error: invalid peer certificate: BadSignature",
    "no-service": 'access connection failed error="no service for target address: 172.30.242.68:9080"',
    "no-gateway-address": 'error="no gateway address: Workload"',
    "ztunnel-rejected": 'XDS client connection error: status: Unauthenticated, message: "authentication failure"',
    "no-kind": 'error: resource mapping not found: no matches for kind "Istio" in version "sailoperator.io/v1" ensure CRDs are installed first',
    "no-namespace": 'Error from server (NotFound): namespaces "istio-system" not found',
    "not-yaml": "error: error parsing out/east/1-trust/cacerts.yaml: error converting YAML to JSON: yaml: line 4: did not find",
    "webhook": 'Internal error occurred: failed calling webhook "namespace.sidecar-injector.istio.io": failed to call webhook',
    "ca-bundle-drift": "ValidatingWebhookConfiguration istio-validator OutOfSync: webhooks[0].clientConfig.caBundle",
    "stringdata": "stringData: a key that was removed is still live",
    "prune": "SharedResourceWarning: Secret/cacerts is part of applications argocd/east and argocd/mesh",
    "sync-failed": "one or more synchronization tasks are not valid",
    "flux-waits": "dependency 'flux-system/mesh-east-1-trust' is not ready",
    "not-decrypted": "Secret/istio-system/cacerts dry-run failed: failed to create typed patch object: .sops: field not declared in schema",
    "no-identity": "Error getting data key: 0 successful groups required, got 0",
    "mac-mismatch": "MAC mismatch. File has 3A, computed 4B",
    "no-sealing-key": "no key could decrypt secret (ca-key.pem, cert-chain.pem)",
    "store-empty": "SecretSyncedError: could not get secret data from provider",
    "too-long": 'CustomResourceDefinition "envoyfilters" is invalid: metadata.annotations: Too long: must have at most 262144 bytes',
    "issuer-missing": 'Referenced "ClusterIssuer" not found: clusterissuer.cert-manager.io "mesh" not found',
}


def explained(
    run: Run, text: str, mesh: WorkDir | None = None, **more: object
) -> dict[str, dict[str, str]]:
    """Of each message the state of each cause."""
    ran = run("explain", "-o", "json", text, cwd=mesh, **more)
    value = json.loads(ran.out)
    jsonschema.Draft202012Validator(assets.load_schema("output/explain.schema.json")).validate(
        value
    )
    assert ran.code == (0 if value["known"] else 1)
    return {m["id"]: {c["says"]: c["state"] for c in m["causes"]} for m in value["messages"]}
