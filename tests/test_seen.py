"""The commands that a step of a rotation prints, run as they are printed: kubectl asks a server that stands for a cluster, a script stands for istioctl."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubectl_mesh.errors import Place
from kubectl_mesh.model import Cluster, Release
from kubectl_mesh.rollout import seen

CLUSTER = Cluster("east", "ctx-east", "net", "istio-system", "reader", True, None, None, None, "", (), None, Place("topology.yaml"), (Release("1.31.3"),))
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
case "$4" in late.*) file=old.pem ;; *) file=certs/root-cert.pem ;; esac
printf '{"dynamicActiveSecrets": [{"name": "default"}, {"name": "ROOTCA", "secret": {"validationContext": {"trustedCa": {"inlineBytes": "%s"}}}}]}' \\
  "$(base64 < $file | tr -d '\\n')"
"""


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """The address of what answers as an API server does that has the pods, and what was asked."""
    asked: list[str] = []
    resource = {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["get", "list"], "shortNames": ["po"]}
    pods: list[dict[str, Any]] = [{"metadata": {"name": name, "namespace": "ns"}, "spec": spec} for name, spec in PODS]
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


def test_every_proxy_is_asked(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    """Sidecars, native ones too, and gateways, which lack the label that workloads have; pods without a proxy are left out."""
    missing = [name for name in ("kubectl", "jq", "bash", "base64", "diff") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not on PATH")
    address, asked = server
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "contexts": [{"name": CLUSTER.context, "context": {"cluster": "c", "user": "c"}}],
        "users": [{"name": "c", "user": {}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/istioctl").write_text(ISTIOCTL)
    (tmp_path / "bin/istioctl").chmod(0o755)
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs/root-cert.pem").write_text("both roots\n")
    (tmp_path / "old.pem").write_text("the old root\n")
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "HOME": str(tmp_path),
    }

    def printed() -> list[str]:
        script = "\n".join(seen("trust-both", [CLUSTER], "Istio", "certs", ambient=False))
        done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return done.stdout.splitlines()

    assert printed() == [f"{CLUSTER.context} late.ns: not yet"]
    assert any(path.startswith("/api/v1/pods?") and "fieldSelector=status.phase%3DRunning" in path for path in asked)
    (tmp_path / "certs/root-cert.pem").write_text("others\n")
    (tmp_path / "bin/istioctl").write_text(ISTIOCTL.replace("file=certs/root-cert.pem", "file=old.pem"))
    assert printed() == [f"{CLUSTER.context} {name}.ns: not yet" for name, _ in PODS if name != "none"]
