"""docs/tokens.md: every command of the page, in order, in one shell; clusters are stood in for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import SEED
from tests.support.page_commands import commands

PAGE = "docs/tokens.md"
STUB = r"""#!/usr/bin/env bash
# Stands for a cluster: what would go there is built by the real kubectl, a token is made of the names of cluster and Secret, a remote secret is the rendered one.
set -eu
cluster="${{1#--context=}}"
case "$(basename "$0") $*" in
  "kubectl mesh "*) exec {kubectl} "$@" ;;
  *"apply -k "*) {kubectl} kustomize "${{@: -1}}" > /dev/null; echo "applied ${{@: -1}}" >> {log} ;;
  *"get secret istio-remote-secret-"*) sed -n 's/^  context-east-1: //p' "out/$cluster/3-mesh/remote-secrets/context-east-1.yaml" | tr -d '"\n' ;;
  *"get secret "*) printf 'token-of-%s.%s' "$cluster" "$6" ;;
  *"rollout restart "*) echo "restarted $cluster" >> {log} ;;
  *"rollout status "*) ;;
  *"delete secret "*) echo "deleted $cluster $6" >> {log} ;;
  *) echo "not foreseen: $0 $*" >&2; exit 1 ;;
esac
"""


def test_the_page_runs(tmp_path: Path) -> None:
    """A token is rotated, a cluster is lost; what the page says one sees is seen."""
    kubectl, bash = shutil.which("kubectl"), shutil.which("bash")
    if kubectl is None or bash is None:
        pytest.skip("kubectl is not on PATH")
    stubs, log = tmp_path / "bin", tmp_path / "log"
    stubs.mkdir()
    (stubs / "kubectl").write_text(STUB.format(kubectl=kubectl, log=log))
    (stubs / "kubectl").chmod(0o755)
    (stubs / "kubectl-mesh").symlink_to(Path(sys.executable).parent / "kubectl-mesh")
    (tmp_path / "work").mkdir()
    environment = {
        **{k: v for k, v in os.environ.items() if k not in ("MESH_ID", "ORG_NAME")},
        "PATH": f"{stubs}{os.pathsep}{os.environ['PATH']}",
        "KUBECONFIG": str(SEED / "kubeconfig.yaml"),
    }
    blocks = commands(PAGE)
    assert len(blocks) >= 8
    script = "set -eu\n" + "\n".join(blocks)
    done = subprocess.run(
        [bash, "-c", script],
        cwd=tmp_path / "work",
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    digests = [line.strip() for line in done.stdout.splitlines() if line.strip().endswith("  -")]
    # Told for both peers by the step, then printed by both.
    assert len(digests) == 4
    assert len(set(digests)) == 1
    assert "context-east-1  steady, generation 2; tree up to date" in done.stdout
    assert "context-east-2  begun, generation 1, 2 beside it; tree up to date" in done.stdout
    assert "0 errors" in done.stdout
    assert "CRL number 2" in done.stdout
    # Each istiod restarts right after the apply that changes its remote secret, before the next cluster.
    lines = log.read_text().splitlines()
    at = lines.index("restarted context-east-2")
    pairs = [
        line
        for name in ("context-east-2", "context-west-1")
        for line in (f"applied out/{name}/3-mesh", f"restarted {name}")
    ]
    assert lines[at - 1 : at + 3] == pairs
    deleted = [line for line in log.read_text().splitlines() if line.startswith("deleted")]
    secret = "istio-reader-service-account-istio-remote-secret-token"
    assert deleted == [
        f"deleted context-east-1 {secret}",
        *(f"deleted context-east-{n} istio-remote-secret-context-west-1" for n in (1, 2)),
    ]
    mesh = tmp_path / "work/mesh"
    assert not (mesh / "out/context-west-1").exists()
    assert (
        "ca-crl.pem"
        in yaml.safe_load((mesh / "out/context-east-1/1-trust/cacerts.yaml").read_text())["data"]
    )
    assert (mesh / "credentials/context-east-1.token.g2").stat().st_mode & 0o777 == 0o600
