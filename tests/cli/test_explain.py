"""`kubectl mesh explain`: what users paste is recognised, and each cause is proven or cleared by what lies here."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from kubectl_mesh.checks.table import check_ids
from kubectl_mesh.cli import VERBS
from kubectl_mesh.explain import MESSAGES, recognise
from kubectl_mesh.text import plain_text
from kubectl_mesh.yaml_io import assets
from tests.conftest import TOP, Run, WorkDir
from tests.support import broken

Make = Callable[..., WorkDir]
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


def test_the_table() -> None:
    """Ids are unique, causes ask checks that are there, remedies name verbs that are there; each message has a text that users paste."""
    assert len({m.id for m in MESSAGES}) == len(MESSAGES)
    assert {m.id for m in MESSAGES} == set(PASTED)
    for known in MESSAGES:
        assert known.causes
        for cause in known.causes:
            assert set(cause.checks) <= check_ids(), (known.id, cause.checks)
            assert cause.do
            assert not cause.says.endswith(".")
            verbs = re.findall(r"`kubectl mesh ([a-z]+)", plain_text(cause.do))
            assert set(verbs) <= set(VERBS)


@pytest.mark.parametrize("message", PASTED)
def test_what_users_paste_is_recognised(message: str) -> None:
    """And it is not taken for what it is not: at most two other messages are seen in a line."""
    found = [known.id for known in recognise(PASTED[message])]
    assert message in found
    assert len(found) <= 3, found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "all is well",
        "uh, a runner of nc and uf",
        "exec /bin/sh: hello",
        "https://example.com/cluster",
        "\x00\x1b[31m\ud800",
    ],
)
def test_what_is_not_known(text: str, run: Run, tmp_path: Path) -> None:
    """It says so, ends with 1, and says where to look instead."""
    ran = run("explain", text, cwd=tmp_path)
    assert ran.code == 1
    assert ran.out.startswith(
        "nothing in this text is known to kubectl mesh\n  look at `kubectl mesh check`"
    )
    assert explained(run, text) == {}


def test_without_a_working_directory(run: Run, tmp_path: Path) -> None:
    """Only what it may come from, in general; a directory that is named has to be there."""
    (causes,) = explained(run, PASTED["unknown-ca"], WorkDir(tmp_path)).values()
    assert set(causes.values()) == {"general"}
    assert run("explain", "-C", tmp_path / "none", "x").code == 2
    assert run("explain").code == 2


@pytest.fixture
def mesh(tmp_path: Path, run: Run) -> WorkDir:
    """Three clusters, rendered for Istio 1.29."""
    made = WorkDir(tmp_path / "mesh")
    made.path.mkdir()
    broken.make(made, names=("a", "b", "c"), version="1.29.10")
    assert run("render", cwd=made).code == 0
    return made


ROOTS, EDGE, LATE = (
    "the clusters do not share one root",
    "there is no remote secret for the cluster, or istiod does not see it",
    "istiod started before",
)


def test_causes_are_proven_or_cleared_here(mesh: WorkDir, run: Run) -> None:
    """A sound mesh clears what files can clear; a broken one proves it, and says where."""
    before = explained(run, PASTED["unknown-ca"], mesh)["unknown-ca"]
    assert before[ROOTS] == "cleared"
    assert next(v for k, v in before.items() if k.startswith(LATE)) == "open"
    broken.wrong_root(mesh, "a")
    broken.deleted(mesh, "b", "c")
    broken.relock(mesh)
    after = explained(run, PASTED["unknown-ca"], mesh)["unknown-ca"]
    assert after[ROOTS] == "proven"
    assert next(iter(after.values())) == "proven"
    text = run("explain", PASTED["unknown-ca"], cwd=mesh).out
    assert (
        '  × proven here: the clusters do not share one root\n      tree-root: out/a/1-trust/cacerts.yaml: data."root-cert.pem": holds another root than'
        in text
    )
    assert (
        explained(run, PASTED["no-healthy-upstream"], mesh)["no-healthy-upstream"][EDGE] == "proven"
    )
    # What nobody can ask, for the topology is wrong, is neither proven nor cleared.
    mesh.write("topology.yaml", "mesh_id: [")
    assert (
        explained(run, PASTED["unauthorized"], mesh)["unauthorized"][
            "the token of the remote secret is not taken: expired, of another cluster, or deleted there"
        ]
        == "open"
    )


@pytest.mark.parametrize(
    "base",
    [
        "kind: Nonsense\n",
        "apiVersion: [\n",
        "apiVersion: sailoperator.io/v1\nkind: Istio\nspec: {version: v1.29.10, nonsense: 1}\n",
    ],
)
def test_nothing_is_proven_by_a_base_that_cannot_be_used(
    base: str, mesh: WorkDir, run: Run
) -> None:
    """Its error is told first; what rests on it is neither proven nor cleared, by no version either. A topology that is wrong is told as well."""
    gate = "the network has no gateway that the others know, or its label names another network"
    lost = (
        "istiod lost the endpoints of a cluster whose remote secret changed (Istio's issue 61043)"
    )
    roots = "the clusters do not share one root"
    assert "cannot be used" not in run("explain", PASTED["connection-timeout"], cwd=mesh).out
    mesh.write("base.yaml", base)
    states = explained(run, PASTED["connection-timeout"], mesh)["connection-timeout"]
    assert states[gate] == "open"
    assert states[roots] == "cleared"
    assert (
        explained(run, PASTED["no-healthy-upstream"], mesh)["no-healthy-upstream"][lost] == "open"
    )
    assert "cleared" not in explained(run, PASTED["no-kind"], mesh)["no-kind"].values()
    told = run("explain", PASTED["connection-timeout"], cwd=mesh).out
    assert told.startswith(
        "base.yaml cannot be used, and what rests on it is neither proven nor cleared here:\n  × base.yaml:"
    )
    assert "proven here:" not in told
    mesh.topology({"contexts": {"a": {"peers": ["nobody"]}}})
    told = run("explain", PASTED["connection-timeout"], cwd=mesh).out
    assert told.startswith(
        "topology.yaml cannot be used, and what rests on it is neither proven nor cleared here:\n  × topology.yaml:"
    )
    assert "cleared: not so" not in told


def test_causes_of_a_release(mesh: WorkDir, run: Run) -> None:
    """What only some releases do is cleared by the version that runs here."""
    lost = (
        "istiod lost the endpoints of a cluster whose remote secret changed (Istio's issue 61043)"
    )
    assert (
        explained(run, PASTED["no-healthy-upstream"], mesh)["no-healthy-upstream"][lost]
        == "cleared"
    )
    base = (mesh / "base.yaml").read_text()
    mesh.write("base.yaml", base.replace("1.29.10", "1.30.3"))
    assert (
        explained(run, PASTED["no-healthy-upstream"], mesh)["no-healthy-upstream"][lost] == "open"
    )


def test_stdin_names_and_secrets(mesh: WorkDir, run: Run) -> None:
    """A log by a pipe; clusters of the mesh in it are named, and nothing else of it is printed again, on no stream and in no format."""
    token = (mesh / "credentials/a.token").read_text()
    key = (mesh / "certs/root-key.pem").read_text()
    log = (
        f"{PASTED['unauthorized']} cluster b, nobody else\nAuthorization: Bearer {token}\n{key}\nsome-odd-word\n{PASTED['unknown-ca']}\n".encode()
        + b"\xff\xfe\n"
    )
    for form in ("text", "json"):
        words = [sys.executable, "-m", "kubectl_mesh", "explain", "-o", form, "-"]
        done = subprocess.run(
            words,
            input=log,
            cwd=mesh,
            capture_output=True,
            check=False,
            env={"PYTHONPATH": str(TOP), "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == 0, done.stderr
        told = done.stdout.decode() + done.stderr.decode()
        assert token not in told
        assert "some-odd-word" not in told
        assert not [line for line in broken.lines(mesh / "certs/root-key.pem") if line in told]
        if form == "json":
            value = json.loads(done.stdout)
            assert value["clusters"] == ["a", "b"] or value["clusters"] == ["b"]
            assert next(m["id"] for m in value["messages"]) == "unauthorized"
    shutil.rmtree(mesh.path)
