"""The targets side by side: every topology for every kind, delivery and data plane that makes sense, and the same values for istiod in all."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from tests.conftest import TOP, Run, WorkDir
from tests.support.programs import SHARED, location, tool
from tests.support.starters import DELIVERIES, mesh

Make = Callable[..., WorkDir]
MATRIX = [
    (example, kind, tool_name, plane)
    for example in ("page", "fleet")
    for kind, tools in DELIVERIES.items()
    for tool_name in tools
    for plane in ("sidecar", "ambient")
]


@pytest.mark.parametrize(("example", "kind", "delivery", "plane"), MATRIX)
def test_all_that_makes_sense(
    example: str, kind: str, delivery: str, plane: str, tmp_path: Path, run: Run
) -> None:
    """It renders with nothing pending and no address in it, and every manifest is known and valid."""
    over: dict[str, object] = {"istio": {"dataPlane": plane}}
    if delivery != "kubectl":
        over["delivery"] = {"tool": delivery, "repoURL": "https://git.example.com/mesh.git"}
    made = mesh(tmp_path / "mesh", example, kind, over)
    ran = run("render", "--strict", cwd=made)
    assert ran.code == 0, ran.err
    words = [
        tool("kubeconform"),
        "-strict",
        "-summary",
        "-schema-location",
        location(run),
        made / "out",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "Invalid: 0, Errors: 0, Skipped: 0" in done.stdout
    if SHARED.is_file():
        if kind == "Istio":  # the CRD lists the versions of its day, and the default is newer
            made.topology({"istio": {"dataPlane": plane, "version": "1.30.3"}})
            assert run("render", "--strict", cwd=made).code == 0
        words = ["bash", SHARED, made / "out"]
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "KUBECONFORM": tool("kubeconform")},
        )
        assert done.returncode == 0, done.stdout
    if kubectl := shutil.which("kubectl"):
        for folder in sorted(p.parent for p in (made / "out").glob("*/kustomization.yaml")):
            done = subprocess.run(
                [kubectl, "kustomize", folder], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
    # Two networks, and not an address, nor a word that stands for one, but for the API servers inside the remote secrets.
    for path in (made / "out").rglob("*.yaml"):
        text = path.read_text()
        assert "192.0.2." not in text, path
        assert "198.51.100." not in text, path
        assert "203.0.113." not in text, path
        assert "pending" not in text, path
    assert run("render", "--check", cwd=made).code == 0


EXTRA = [
    {},
    {"istio": {"dataPlane": "ambient"}},
    {
        "istio": {
            "version": "1.29.10",
            "revision": "1-29-10",
            "canary": {"version": "1.31.3", "revision": "1-31-3"},
        }
    },
    {
        "contexts": {
            "context-west-1": {"controlPlane": "context-east-1"},
            "context-east-1": {"controlPlaneAddress": "192.0.2.11"},
        }
    },
    {
        "networks": {"network-west": {"gateways": [{"address": "192.0.2.21"}]}},
        "trustDomain": "mesh.example.com",
    },
    {"contexts": {"context-west-1": {"credential": {"exec": {"command": "login"}}}}},
]


def istiods(out: Path, kind: str) -> dict[str, object]:
    """The values of every istiod, by cluster and revision; Sail keeps profile and revision outside of them."""
    found = {}
    for path in sorted(out.glob("*/2-control-plane/*.yaml")):
        value = yaml.safe_load(path.read_text())
        if value["kind"] != kind:
            continue
        spec = value["spec"]
        if kind == "Istio":
            values = dict(spec["values"])
            # Which operator runs, no file says: its hub is always stated, that of the charts where it is retired.
            assert values["global"].pop("hub") == "docker.io/istio"
            if "profile" in spec:
                values["profile"] = spec["profile"]
            if value["metadata"]["name"] != "default":
                values["revision"] = value["metadata"]["name"]
        elif kind == "HelmRelease":
            if spec["chart"]["spec"]["chart"] != "istiod":
                continue
            values = spec["values"]
        else:
            if spec["source"]["chart"] != "istiod":
                continue
            values = spec["source"]["helm"]["valuesObject"]
        found[f"{path.parts[-3]}/{values.get('revision', '')}"] = values
    return found


@pytest.mark.parametrize(
    "over", EXTRA, ids=["plain", "ambient", "canary", "remote", "declared", "exec"]
)
def test_istiod_gets_the_same_values_from_all(
    over: Mapping[str, object], tmp_path: Path, run: Run
) -> None:
    """What istiod is told does not depend on who installs it."""
    found = {}
    for kind in ("Istio", "Application", "HelmRelease"):
        made = mesh(tmp_path / kind, "page", kind, over)
        ran = run("render", cwd=made)
        assert ran.code == 0, ran.err
        found[kind] = istiods(made / "out", kind)
    assert len(found["Istio"]) >= 3
    assert found["Istio"] == found["HelmRelease"] == found["Application"]


def test_istioctl_gets_the_same_values(tmp_path: Path, run: Run) -> None:
    """The IstioOperator's values are those too, beside its own profile."""
    made = mesh(tmp_path / "a", "page", "IstioOperator", {})
    made.write(
        "base.yaml",
        "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {profile: minimal}\n",
    )
    other = mesh(tmp_path / "b", "page", "Istio", {})
    other.write(
        "base.yaml", "apiVersion: sailoperator.io/v1\nkind: Istio\nspec: {version: v1.31.3}\n"
    )
    for one in (made, other):
        assert run("render", cwd=one).code == 0
    for name in ("context-east-1", "context-west-1"):
        mine = yaml.safe_load(
            (made / f"out/{name}/2-control-plane/istiooperator.yaml").read_text()
        )["spec"]["values"]
        theirs = yaml.safe_load((other / f"out/{name}/2-control-plane/istio.yaml").read_text())[
            "spec"
        ]["values"]
        hub = yaml.safe_load((made / f"out/{name}/2-control-plane/istiooperator.yaml").read_text())[
            "spec"
        ]["hub"]
        assert theirs["global"].pop("hub") == hub
        assert mine == theirs


def test_one_cluster_of_a_bundle(tmp_path: Path, run: Run) -> None:
    """A render of one cluster makes what belongs to the mesh as a whole too, so that the cluster can be applied."""
    delivery = {"tool": "flux", "repoURL": "https://git.example.com/mesh.git"}
    made = mesh(
        tmp_path / "mesh", "page", "HelmRelease", {"remoteSecrets": "bundle", "delivery": delivery}
    )
    assert run("render", "--cluster", "context-west-1", cwd=made).code == 0
    assert sorted(p.name for p in (made / "out").iterdir()) == [
        "_flux",
        "_remote-secrets",
        "context-west-1",
    ]
    subprocess.run(
        [tool("kubectl"), "kustomize", made / "out/context-west-1"], check=True, capture_output=True
    )
    assert run("render", cwd=made).code == 0
    assert run("render", "--check", cwd=made).code == 0


def test_remove_keeps_a_mesh_whole(tmp_path: Path, run: Run) -> None:
    """Who serves others is not removed; who is served is, and what stays is valid."""
    over = {
        "contexts": {
            "context-west-1": {"controlPlane": "context-east-1"},
            "context-east-1": {"controlPlaneAddress": "192.0.2.11"},
        }
    }
    made = mesh(tmp_path / "mesh", "page", "Istio", over)
    before = (made / "topology.yaml").read_bytes()
    ran = run("remove", "context-east-1", cwd=made)
    assert ran.code == 2
    assert 'istiod of "context-east-1" serves "context-west-1"' in ran.err
    assert (made / "topology.yaml").read_bytes() == before
    assert run("remove", "context-west-1", cwd=made).code == 0
    ran = run("render", "--strict", cwd=made)
    assert ran.code == 0
    assert "no other context names this one as its controlPlane" in ran.err


def test_a_rendered_control_plane_is_not_withdrawn(tmp_path: Path, run: Run) -> None:
    """A cluster that is served waits for the address once; when it is rendered, losing the address is refused."""
    made = mesh(
        tmp_path / "mesh",
        "page",
        "Istio",
        {"contexts": {"context-west-1": {"controlPlane": "context-east-1"}}},
    )
    ran = run("render", cwd=made)
    assert ran.code == 0
    assert "contexts.context-east-1.controlPlaneAddress" in ran.out
    assert [p.name for p in sorted((made / "out/context-west-1").iterdir())] == [
        "1-trust",
        "kustomization.yaml",
        "mesh.lock",
    ]
    assert run("render", "--strict", cwd=made).code == 2
    made.topology({"contexts": {"context-east-1": {"controlPlaneAddress": "192.0.2.11"}}})
    assert run("render", "--strict", cwd=made).code == 0
    made.topology({"contexts": {"context-east-1": {"controlPlaneAddress": "pending"}}})
    ran = run("render", cwd=made)
    assert (ran.code, "would be withdrawn" in ran.err) == (2, True)


@pytest.mark.parametrize("kind", DELIVERIES)
def test_teardown_takes_all_off(kind: str, tmp_path: Path, run: Run) -> None:
    """The peers forget first, what is served goes before what serves, and what the kind brought goes before the namespace (tests/cli/test_teardown.py runs it)."""
    over = {
        "contexts": {
            "context-west-1": {"controlPlane": "context-east-1"},
            "context-east-1": {"controlPlaneAddress": "192.0.2.11"},
        }
    }
    made = mesh(tmp_path / "mesh", "page", kind, over)
    lines = run("teardown", cwd=made).out.splitlines()
    assert [line for line in lines if line.startswith("# context-")] == [
        "# context-west-1",
        "# context-east-1",
        "# context-east-2",
    ]
    resource = {
        "Istio": "istios.sailoperator.io",
        "IstioOperator": "delete deployments,",
        "Application": "applications.argoproj.io",
        "HelmRelease": "helmreleases",
    }[kind]
    first = next(i for i, line in enumerate(lines) if resource in line)
    assert first < next(
        i for i, line in enumerate(lines) if "delete namespace istio-system" in line
    )
    only = run("teardown", "--cluster", "context-west-1", cwd=made).out.splitlines()[1:-1]
    assert only[:4] == [
        "# context-east-1",
        "kubectl --context=context-east-1 -n istio-system delete secret istio-remote-secret-context-west-1 --ignore-not-found",
        "# context-east-2",
        "kubectl --context=context-east-2 -n istio-system delete secret istio-remote-secret-context-west-1 --ignore-not-found",
    ]
    removed = run("remove", "context-west-1", cwd=made).out
    assert (
        removed.partition("\nOnce that is applied, these commands take it off:\n")[2].splitlines()
        == only
    )
    gone = run("teardown", "--cluster", "context-west-1", cwd=made)
    assert (gone.code, gone.out, gone.err) == (
        2,
        "",
        'error: --cluster: no cluster "context-west-1" in the topology\n',
    )


def test_a_served_cluster_with_charts_and_a_bundle(tmp_path: Path, run: Run) -> None:
    """Both charts have the profile `remote`; the cluster holds no remote secret, though all others take the bundle."""
    over = {
        "contexts": {
            "context-west-1": {"controlPlane": "context-east-1"},
            "context-east-1": {"controlPlaneAddress": "192.0.2.11"},
        }
    }
    made = mesh(tmp_path / "mesh", "page", "HelmRelease", {**over, "remoteSecrets": "bundle"})
    assert run("render", "--strict", cwd=made).code == 0
    west = made / "out/context-west-1"
    for name in ("istio-base", "istiod"):
        assert (
            yaml.safe_load((west / f"2-control-plane/{name}.yaml").read_text())["spec"]["values"][
                "profile"
            ]
            == "remote"
        )
        assert (
            "profile"
            not in yaml.safe_load(
                (made / f"out/context-east-1/2-control-plane/{name}.yaml").read_text()
            )["spec"]["values"]
        )
    assert "_remote-secrets" not in (west / "3-mesh/kustomization.yaml").read_text()
    assert (
        "../../_remote-secrets"
        in (made / "out/context-east-1/3-mesh/kustomization.yaml").read_text()
    )
    assert not (west / "1-trust/cacerts.yaml").exists()


def test_a_base_that_is_gone_is_no_wish_for_another_control_plane(
    workdir: "Callable[..., WorkDir]", run: Run
) -> None:
    """A tree of another kind is not turned into Istio 1.4 because a file is missing; stated, it is."""
    mesh = workdir(tokens=True)
    base = (TOP / "examples/seed/base.yaml").read_text()
    mesh.write("base.yaml", base)
    assert run("render", cwd=mesh).code == 0
    (mesh / "base.yaml").unlink()
    before = mesh.snapshot()
    says = (
        "error: base.yaml: is missing, and out was rendered with one of kind Istio; without it every control plane would be Istio 1.4\n"
        "  fix: put it back (git checkout -- base.yaml); for Istio 1.4 write one of kind IstioControlPlane\n"
        "  if no cluster runs this tree yet: kubectl mesh render --unapplied context-east-1 --unapplied context-east-2 --unapplied context-west-1\n"
    )
    for words in (
        ("render",),
        ("render", "--check"),
        ("render", "--dry-run"),
        ("render", "--cluster", "context-east-1"),
    ):
        assert run(*words, cwd=mesh) == (2, "", says)
    assert mesh.snapshot() == before
    assert run("render", "--out", "other", cwd=mesh).code == 0
    mesh.write(
        "base.yaml",
        "apiVersion: install.istio.io/v1alpha2\nkind: IstioControlPlane\nspec: {profile: default}\n",
    )
    # The gateways between the networks would leave; where no cluster runs them, nothing is lost.
    assert (
        "the gateway istio-eastwestgateway of the network network-east would leave"
        in run("render", cwd=mesh).err
    )
    words = [
        w
        for name in ("context-east-1", "context-east-2", "context-west-1")
        for w in ("--unapplied", name)
    ]
    assert run("render", *words, cwd=mesh).code == 0
    (mesh / "base.yaml").unlink()
    assert run("render", cwd=mesh).code == 0
    mesh.write("base.yaml", base)
    assert run("render", cwd=mesh).code == 0
