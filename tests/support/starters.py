"""Working directories of an example with the starter base.yaml of each kind."""

from collections.abc import Mapping
from pathlib import Path

from kubectl_mesh import targets
from kubectl_mesh.workdir.topology_file import read_topology
from tests.conftest import TOP, WorkDir

FLEET = {"contexts": {"kind-local": {"server": "https://198.51.100.99:6443"}}}
DELIVERIES = {
    "Istio": ("kubectl", "argocd", "flux"),
    "IstioOperator": ("kubectl",),
    "Application": ("kubectl", "argocd"),
    "HelmRelease": ("kubectl", "flux"),
}


def mesh(path: Path, example: str, kind: str, over: Mapping[str, object]) -> WorkDir:
    """A working directory of an example with a starter base.yaml, quick keys and tokens for all."""
    made = WorkDir(path)
    path.mkdir()
    for name in ("topology.yaml", "kubeconfig.yaml"):
        made.write(name, (TOP / "examples" / example / name).read_bytes())
    made.topology(
        {"certificates": {"keyType": "ec-p256"}, **(FLEET if example == "fleet" else {}), **over}
    )
    made.write("base.yaml", targets.KINDS[kind].STARTER)
    for cluster in read_topology(str(path)).clusters:
        if cluster.is_joined:
            made.token(cluster.name)
    return made
