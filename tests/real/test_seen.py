"""The commands that a step of a rotation prints, run as they are printed: kubectl asks a server that stands for a cluster, a script stands for istioctl."""

import base64
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.conftest import Run, WorkDir
from tests.support.clocks import START, Clock
from tests.support.rotations import ISTIO, NAMES, ROTATE, Make, advance

PROXY, APP = {"name": "istio-proxy"}, {"name": "app"}
PODS = [
    ("sidecar", {"containers": [APP, PROXY]}),
    ("native", {"initContainers": [{"name": "istio-init"}, PROXY], "containers": [APP]}),
    ("gateway", {"containers": [PROXY]}),
    ("late", {"containers": [PROXY]}),
    ("none", {"containers": [APP]}),
]
ISTIOCTL = """#!/bin/sh
# istioctl --context=C proxy-config secret POD.NAMESPACE -o json
exec cat "$PROXIES/${1#--context=}/$4.json"
"""
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def envoy_secrets(
    leaf: bytes, chain: bytes, roots: bytes, anchors: Sequence[bytes] = ()
) -> dict[str, Any]:
    """What `istioctl proxy-config secret -o json` prints for a proxy: Envoy's SecretsConfigDump.

    istiod answers with the certificate, each certificate of cert-chain.pem and the whole of root-cert.pem (security/pkg/server/ca/server.go).
    The agent joins them, and gives Envoy the roots sorted, each once, together with the `anchors` of the mesh's configuration and without
    a last newline (security/pkg/nodeagent/cache/secretcache.go). istioctl prints it by protomarshal.ToJSONWithIndent.
    """
    answer = [b"%s\n" % pem for pem in _PEM.findall(leaf) + _PEM.findall(chain)] + [roots]
    trusted = b"\n".join(sorted({*_PEM.findall(roots), *anchors}))

    def secret(name: str, **value: object) -> dict[str, Any]:
        kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
        return {
            "name": name,
            "lastUpdated": "2026-12-01T12:00:00.000Z",
            "secret": {"@type": kind, "name": name, **value},
        }

    def inline(body: bytes) -> dict[str, str]:
        return {"inlineBytes": base64.b64encode(body).decode()}

    return {
        "dynamicActiveSecrets": [
            secret(
                "default",
                tlsCertificate={
                    "certificateChain": inline(b"".join(answer)),
                    "privateKey": inline(b"[redacted]"),
                },
            ),
            secret("ROOTCA", validationContext={"trustedCa": inline(trusted)}),
        ],
        "dynamicWarmingSecrets": [
            {**secret("kubernetes://some-credential"), "versionInfo": "uninitialized"}
        ],
    }


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """The address of what answers as an API server does that has the pods, and what was asked."""
    asked: list[str] = []
    resource = {
        "name": "pods",
        "singularName": "pod",
        "namespaced": True,
        "kind": "Pod",
        "verbs": ["get", "list"],
        "shortNames": ["po"],
    }
    pods: list[dict[str, Any]] = [
        {"metadata": {"name": name, "namespace": "ns"}, "spec": spec} for name, spec in PODS
    ]
    answers: dict[str, dict[str, Any]] = {
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
        "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": [resource]},
        "/api/v1/pods": {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps(answers.get(self.path.partition("?")[0], {})).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    stands = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=stands.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{stands.server_port}", asked
    stands.shutdown()
    stands.server_close()


class Cluster:
    """Clusters that stand for those of a mesh: their pods are asked by the real kubectl, and what their proxies hold is a file."""

    def __init__(self, mesh: WorkDir, scratch: Path, address: str) -> None:
        self.mesh, self.scratch = mesh, scratch
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": address}}],
            "contexts": [
                {"name": name, "context": {"cluster": "c", "user": "c"}} for name in NAMES
            ],
            "users": [{"name": "c", "user": {}}],
        }
        (scratch / "kubeconfig").write_text(yaml.safe_dump(config))
        (scratch / "bin").mkdir()
        (scratch / "bin/istioctl").write_text(ISTIOCTL)
        (scratch / "bin/istioctl").chmod(0o755)

    def apply(
        self, *pods: str, names: Sequence[str] = NAMES, anchors: Sequence[bytes] = ()
    ) -> None:
        """Gives proxies what the tree has now; a workload's own certificate is any other."""
        for name in names:
            tree = yaml.safe_load((self.mesh / f"out/{name}/1-trust/cacerts.yaml").read_text())[
                "data"
            ]
            chain, roots = (
                base64.b64decode(tree[part]) for part in ("cert-chain.pem", "root-cert.pem")
            )
            for pod in pods or [pod for pod, _ in PODS if pod != "none"]:
                path = self.scratch / f"proxies/{name}/{pod}.ns.json"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(envoy_secrets(LEAF, chain, roots, anchors), indent=4))

    def look(self, run: Run) -> list[str]:
        """What the commands print that `status` prints, run by bash as they are."""
        ran = run(*ROTATE, "status", cwd=self.mesh)
        assert ran.code == 0, ran.err
        printed = (
            ran.out.partition("2. see that it is everywhere")[2]
            .partition("\n")[2]
            .partition("\n3. ")[0]
        )
        environment = {
            **os.environ,
            "PATH": f"{self.scratch / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "KUBECONFIG": str(self.scratch / "kubeconfig"),
            "PROXIES": str(self.scratch / "proxies"),
            "HOME": str(self.scratch),
        }
        done = subprocess.run(
            ["bash", "-c", printed],
            cwd=self.mesh.path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        return done.stdout.splitlines()


def _leaf() -> bytes:
    """A certificate that no step is about, as that of a workload."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
    )
    builder = builder.not_valid_before(START).not_valid_after(START + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


LEAF = _leaf()
ALL = [f"{name} {pod}.ns: not yet" for name in NAMES for pod, _ in PODS if pod != "none"]


@pytest.fixture
def clusters(
    workdir: Make, run: Run, clock: Clock, tmp_path: Path, server: tuple[str, list[str]]
) -> Cluster:
    """The three clusters, with all applied that was rendered."""
    missing = [
        name
        for name in ("kubectl", "jq", "bash", "base64", "awk", "openssl")
        if shutil.which(name) is None
    ]
    if missing:
        pytest.skip(f"{', '.join(missing)} not on PATH")
    mesh = workdir(over={"secrets": {"store": "plain"}}, tokens=True)
    mesh.write("base.yaml", ISTIO)
    assert run("render", cwd=mesh).code == 0
    found = Cluster(mesh, tmp_path, server[0])
    found.apply()
    return found


def go(clusters: Cluster, run: Run, *words: str) -> None:
    """A step and its render."""
    ran = run(*ROTATE, *words, cwd=clusters.mesh)
    assert ran.code == 0, ran.err
    assert run("render", cwd=clusters.mesh).code == 0


def test_every_proxy_is_asked(clusters: Cluster, run: Run, server: tuple[str, list[str]]) -> None:
    """Sidecars, native ones too, and gateways, which lack the label that workloads have; pods without a proxy are left out."""
    go(clusters, run, "begin")
    assert clusters.look(run) == ALL
    clusters.apply("sidecar", "native", "gateway")
    assert clusters.look(run) == [f"{name} late.ns: not yet" for name in NAMES]
    assert any(
        path.startswith("/api/v1/pods?") and "fieldSelector=status.phase%3DRunning" in path
        for path in server[1]
    )


@pytest.mark.parametrize("way", ["on", "back"])
def test_each_step_is_seen(way: str, clusters: Cluster, run: Run, clock: Clock) -> None:
    """Silent where all have the step, and the workload's name where one has not, at every step on the way on and back."""
    go(clusters, run, "begin")
    steps = {"on": ["sign-new", "drop-old"], "back": ["sign-new", "sign-old", "drop-new"]}[way]
    for step in ["trust-both", *steps]:
        if step in ("sign-new", "drop-old") or step == "drop-new":
            clock.pass_(days=2)
            go(clusters, run, "advance", "--seen-for", "24h")
        elif step != "trust-both":
            go(clusters, run, "abort")
        assert (clusters.mesh / "certs/rotation.json").read_text().splitlines()[
            1
        ] == f'  "step": "{step}",'
        clusters.apply("sidecar", "native", "gateway")
        clusters.apply("late", names=NAMES[1:])
        assert clusters.look(run) == [f"{NAMES[0]} late.ns: not yet"]
        clusters.apply("late")
        assert clusters.look(run) == []


def test_anchors_of_the_mesh_are_not_in_the_way(clusters: Cluster, run: Run, clock: Clock) -> None:
    """A root of `meshConfig.caCertificates` is in every proxy, before and after; it is neither lacking nor one that must go."""
    go(clusters, run, "begin")
    for _ in range(2):
        advance(clusters.mesh, run, clock)
        assert run("render", cwd=clusters.mesh).code == 0
    clusters.apply(anchors=_PEM.findall(LEAF))
    assert clusters.look(run) == []


def test_silence_needs_a_certificate(clusters: Cluster, run: Run) -> None:
    """In another directory, or where a file has no certificate, the commands say so; nothing would look like a yes."""
    go(clusters, run, "begin")
    clusters.apply()
    text = (clusters.mesh / "certs/root-cert.pem").read_bytes()
    asked = (
        run(*ROTATE, "status", cwd=clusters.mesh)
        .out.partition("2. see that it is everywhere")[2]
        .partition("\n")[2]
        .partition("\n3. ")[0]
    )
    (clusters.mesh / "certs/root-cert.pem").write_bytes(b"")
    environment = {
        **os.environ,
        "PATH": f"{clusters.scratch / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-c", asked],
        cwd=clusters.mesh.path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [
        f"{name}: no certificate in certs/root-cert.pem" for name in NAMES
    ]
    (clusters.mesh / "certs/root-cert.pem").write_bytes(text)


def test_citadel_is_asked_for_the_same(run: Run, clusters: Cluster, tmp_path: Path) -> None:
    """Up to 1.4 the Secrets of the workloads are read, by kubectl alone; a chain ends with the root there too, and only certificates count."""
    mesh = clusters.mesh
    (mesh / "base.yaml").unlink()
    shutil.rmtree(mesh / "out")
    assert run("render", cwd=mesh).code == 0
    assert run(*ROTATE, "begin", "--with-restarts", cwd=mesh).code == 0
    old = (mesh / f"certs/intermediate-{NAMES[0]}/root-cert.pem").read_bytes()
    new = (mesh / "certs/root-cert.pem").read_bytes()
    (tmp_path / "bin/kubectl").write_text(
        """#!/bin/sh
# kubectl --context=C get secret -A ... | kubectl --context=C -n NS get secret NAME -o go-template=...
case "$*" in *" -A "*) echo "ns/istio.new ns/istio.old " ;; *istio.new*) cat "$HOME/new.pem" ;; *) cat "$HOME/old.pem" ;; esac
"""
    )
    (tmp_path / "bin/kubectl").chmod(0o755)
    (tmp_path / "new.pem").write_bytes(new.rstrip())
    (tmp_path / "old.pem").write_bytes(_PEM.findall(old)[0])
    assert clusters.look(run) == [f"{name} ns/istio.old: not yet" for name in NAMES]
    (tmp_path / "old.pem").write_bytes(new.replace(b"\n", b"\r\n"))
    assert clusters.look(run) == []
