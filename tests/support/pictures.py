"""Meshes of which pictures are drawn."""

import base64
from pathlib import Path

import yaml

from tests.conftest import SEED, Run, WorkDir

REGIONS = ("eu-central", "us-east", "ap-south", "eu-west", "us-west")


def fleet(
    path: Path,
    clusters: int,
    networks: int,
    over: "dict[str, dict[str, object]] | None" = None,
    top: "dict[str, object] | None" = None,
) -> Path:
    """A working directory of so many clusters, all but their tokens and certificates."""
    path.mkdir(parents=True)
    contexts: dict[str, dict[str, object]] = {}
    for i in range(clusters):
        name = f"{REGIONS[i % networks]}-{i // networks + 1}"
        contexts[name] = {
            "network": REGIONS[i % networks],
            "server": f"https://203.0.113.{i + 1}:6443",
            "certificateAuthority": "clusters/ca.crt",
        }
    for name, more in (over or {}).items():
        contexts[name].update(more)
    ca = yaml.safe_load((SEED / "kubeconfig.yaml").read_text())["clusters"][0]["cluster"][
        "certificate-authority-data"
    ]
    (path / "clusters").mkdir()
    (path / "clusters/ca.crt").write_bytes(base64.b64decode(ca))
    (path / "credentials").mkdir(mode=0o700)
    for name in contexts:
        token = path / f"credentials/{name}.token"
        token.write_text(f"token-of-{name}")
        token.chmod(0o600)
    (path / "base.yaml").write_text(
        "apiVersion: sailoperator.io/v1\nkind: Istio\nmetadata: {name: default}\nspec: {}\n"
    )
    value = {
        "mesh_id": "acme",
        "istio": {"version": "1.31.3"},
        "certificates": {"keyType": "ec-p256"},
        **(top or {}),
        "contexts": contexts,
    }
    (path / "topology.yaml").write_text(yaml.safe_dump(value, sort_keys=False))
    return path


def graph(run: Run, where: "Path | WorkDir", *words: str) -> str:
    """What the verb prints."""
    ran = run("graph", *words, cwd=where)
    assert ran.code == 0, ran.err
    return ran.out


def rendered(run: Run, mesh: Path) -> Path:
    """The same, once it is rendered."""
    assert run("render", cwd=mesh).code == 0
    return mesh


HOSTILE = "</script><script>alert(1)</script><!--\"'&{{x}}"


ODD: dict[str, dict[str, object]] = {
    "eu-central-2": {"peers": ["eu-central-1", "us-east-1"]},
    "us-east-2": {"peers": ["ap-south-1"]},
    "ap-south-2": {"disableRegistryJoin": True},
}
