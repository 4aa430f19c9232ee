"""What the mesh replaces in base.yaml: a setting of a person is reported with its line, and the starter of `init` earns no warning."""

import itertools
import json
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml

from kubectl_mesh import targets
from kubectl_mesh.istio.versions import DEFAULT_VERSION, INIT_VERSIONS
from kubectl_mesh.yaml_io import merge_patch
from tests.conftest import Run, WorkDir

Make = Callable[..., WorkDir]
EAST, WEST = "context-east-1", "context-west-1"
KEYS: Mapping[str, dict[str, Any]] = {
    "version": {"istio": {"version": "1.29.0"}},
    "revision": {"istio": {"revision": "blue"}},
    "both": {"istio": {"version": "1.29.0", "revision": "blue"}},
    "canary": {"istio": {"canary": {"version": "1.31.9", "revision": "green"}}},
    "all": {"istio": {"version": "1.29.0", "canary": {"version": "1.31.9", "revision": "green"}}},
    "one": {"contexts": {EAST: {"istio": {"version": "1.29.0"}}}},
    "old": {"istio": {"version": "1.4.10"}},
    "ambient": {"istio": {"dataPlane": "ambient"}},
    "domain": {"trustDomain": "acme.example"},
    "organization": {"organization": "Acme"},
    "readers": {"readers": "perPeer"},
    "bundle": {"remoteSecrets": "bundle"},
    "gateways": {"networks": {"network-east": {"gateways": [{"address": "192.0.2.1"}]}}},
    "gateway": {"eastWestGateway": {"replicas": 2, "serviceType": "NodePort"}},
    "remote": {"contexts": {WEST: {"controlPlane": EAST, "network": "network-east"}}},
    "namespace": {"contexts": {name: {"namespace": "mesh"} for name in (EAST, WEST)}},
    "issuer": {"certificates": {"issuer": "istio-csr", "issuerRef": {"name": "root"}}},
    "argocd": {
        "delivery": {
            "tool": "argocd",
            "repoURL": "https://git.example.com/mesh.git",
            "project": "mesh",
        }
    },
    "flux": {"delivery": {"tool": "flux", "repoURL": "https://git.example.com/mesh.git"}},
    "charts": {"istio": {"charts": "oci://registry.example.com/charts"}},
}
"""Keys of a topology that decide about the control plane; not each goes with each kind of base.yaml."""


@pytest.fixture
def mesh(workdir: Make) -> WorkDir:
    """Two clusters on two networks."""
    made = workdir(
        over={"contexts": {"context-east-2": None}, "secrets": {"store": "plain"}},
        tokens=(EAST, WEST),
    )
    made.write("as-it-was", (made / "topology.yaml").read_text())
    return made


def lay(mesh: WorkDir, over: Mapping[str, Any]) -> None:
    """The topology with other keys."""
    mesh.write("topology.yaml", (mesh / "as-it-was").read_text())
    mesh.topology(over)


def lost(run: Run, mesh: WorkDir) -> list[tuple[int, str, str]]:
    """What `check` says of base-lost: line, path, fact. `render`, `diff` and `describe` say the same."""
    value = json.loads(run("check", "-o", "json", cwd=mesh).out)
    (found,) = [check["findings"] for check in value["checks"] if check["id"] == "base-lost"]
    for words in (("render", "--dry-run"), ("diff",), ("describe",)):
        err = run(*words, cwd=mesh).err
        assert not err.startswith("error"), err
        told = [
            line
            for line in err.splitlines()
            if line.startswith("warning: base.yaml:") and line.endswith("the value here is lost")
        ]
        assert told == [
            f"warning: base.yaml:{f['line']}:{f['column']}: {f['path']}: {f['what']}" for f in found
        ], words
    return [(f["line"], f["path"], f["what"]) for f in found]


@pytest.mark.parametrize("kind", targets.KINDS)
def test_the_starter_earns_no_warning(run: Run, mesh: WorkDir, kind: str) -> None:
    """Whatever the topology states, alone or by twos: nothing is said of a line that `init` wrote."""
    mesh.write("base.yaml", targets.KINDS[kind].STARTER)
    rendered = 0
    for names in [(name,) for name in KEYS] + list(
        itertools.combinations(("version", "ambient", "domain", "remote", "argocd", "flux"), 2)
    ):
        over: dict[str, Any] = {}
        for name in names:
            over = {
                **over,
                **{
                    k: {**over.get(k, {}), **v} if isinstance(v, dict) else v
                    for k, v in KEYS[name].items()
                },
            }
        lay(mesh, over)
        ran = run("render", "--dry-run", cwd=mesh)
        rendered += ran.code == 0
        assert "warning: base.yaml" not in ran.err, (names, ran.err)
    assert rendered >= {"IstioControlPlane": 6, "IstioOperator": 14}.get(kind, 16), rendered


def test_the_version_of_the_starter_is_a_default(run: Run, mesh: WorkDir) -> None:
    """The report names both where no cluster runs the version of base.yaml; nothing is said where one does."""
    mesh.write("base.yaml", targets.KINDS["Istio"].STARTER)
    lay(mesh, KEYS["version"])
    assert lost(run, mesh) == []
    assert run("render", "--dry-run", cwd=mesh).out.startswith(
        f"mesh mymeshname: 2 clusters, 2 networks, Istio 1.29.0 (base.yaml says {DEFAULT_VERSION})\n"
    )
    lay(mesh, KEYS["one"])
    assert run("render", "--dry-run", cwd=mesh).out.startswith(
        "mesh mymeshname: 2 clusters, 2 networks, Istio\n"
    )
    # What an earlier version of `init` wrote is a default too.
    for version in INIT_VERSIONS:
        mesh.write("base.yaml", targets.KINDS["Istio"].STARTER.replace(DEFAULT_VERSION, version))
        lay(mesh, KEYS["version"])
        assert lost(run, mesh) == []


@pytest.mark.parametrize(
    ("kind", "path", "text"),
    [
        ("Istio", ("spec", "version"), "v1.28.1"),
        ("Application", ("spec", "source", "targetRevision"), "1.28.1"),
        ("HelmRelease", ("spec", "chart", "spec", "version"), "1.28.1"),
    ],
)
def test_a_version_that_disagrees_is_named(
    run: Run, mesh: WorkDir, kind: str, path: tuple[str, ...], text: str
) -> None:
    """A version that a person stated and that no cluster runs is reported with the one that goes before it; one that some cluster runs is not lost."""
    mesh.write(
        "base.yaml",
        targets.KINDS[kind].STARTER.replace(
            f" {'v' if kind == 'Istio' else ''}{DEFAULT_VERSION}\n", f" {text}\n"
        ),
    )
    lay(mesh, KEYS["version"])
    ((_, where, what),) = lost(run, mesh)
    assert (where, what) == (
        ".".join(path),
        f'is "{text}", and by the topology every cluster runs 1.29.0; the value here is lost',
    )
    lay(mesh, KEYS["one"])
    assert lost(run, mesh) == []
    lay(mesh, KEYS["canary"])
    assert lost(run, mesh) == []


def value_of(run: Run, mesh: WorkDir, file: str) -> Any:
    """A document of the rendered tree."""
    ran = run("render", cwd=mesh)
    assert ran.code == 0, ran.err
    return yaml.safe_load((mesh / f"out/{EAST}/2-control-plane/{file}").read_text())


def test_networks_of_others_are_replaced(run: Run, mesh: WorkDir) -> None:
    """meshNetworks belongs to the mesh: what base.yaml has there goes as a whole, with its line, in every kind that writes it."""
    over = {
        **KEYS["gateways"],
        "networks": {
            n: {"gateways": [{"address": a}]}
            for n, a in (("network-east", "192.0.2.1"), ("network-west", "192.0.2.2"))
        },
    }
    over |= {"eastWestGateway": {"enabled": False}}
    what = "is set by the mesh; the value here is lost"
    kinds = {
        "Istio": ("istio.yaml", "sailoperator.io/v1", ("spec", "values"), {}),
        "IstioOperator": (
            "istiooperator.yaml",
            "install.istio.io/v1alpha1",
            ("spec", "values"),
            {},
        ),
        "Application": (
            "istiod.yaml",
            "argoproj.io/v1alpha1",
            ("spec", "source", "helm", "valuesObject"),
            {"istio": {"version": "1.30.3"}},
        ),
        "HelmRelease": (
            "istiod.yaml",
            "helm.toolkit.fluxcd.io/v2",
            ("spec", "values"),
            {"istio": {"version": "1.30.3"}},
        ),
    }
    for kind, (file, api, path, more) in kinds.items():
        inner: Any = {
            "global": {"meshNetworks": {"mine": {"endpoints": [{"fromCidr": "192.0.2.0/24"}]}}}
        }
        for key in reversed(path):
            inner = {key: inner}
        if kind == "Istio":
            inner["spec"]["version"] = "v1.30.3"
        mesh.write(
            "base.yaml", yaml.safe_dump({"apiVersion": api, "kind": kind, **inner}, sort_keys=False)
        )
        lay(mesh, {**over, **more})
        (line,) = [
            n
            for n, text in enumerate((mesh / "base.yaml").read_text().splitlines(), 1)
            if "meshNetworks" in text
        ]
        assert lost(run, mesh) == [(line, ".".join((*path, "global", "meshNetworks")), what)], kind
        found = value_of(run, mesh, file)
        for key in (*path, "global", "meshNetworks"):
            found = found[key]
        assert set(found) == {"network-west"}, kind
        (mesh / "base.yaml").write_text("kind: x\n")
        shutil.rmtree(mesh / "out")


def test_networks_of_istio_1_4_and_before_1_8(run: Run, mesh: WorkDir) -> None:
    """Both places where 1.4 has them, and the values that istioctl lays over all others."""
    what = "is set by the mesh; the value here is lost"
    mesh.write(
        "base.yaml",
        """\
apiVersion: install.istio.io/v1alpha2
kind: IstioControlPlane
spec:
  profile: default
  values:
    global: {meshNetworks: {networks: {mine: {endpoints: []}}}}
    pilot: {meshNetworks: {mine: {}}}
  unvalidatedValues:
    global: {network: mine, meshNetworks: {mine: {}}, sds: {enabled: true}}
""",
    )
    assert lost(run, mesh) == [
        (6, "spec.values.global.meshNetworks", what),
        (7, "spec.values.pilot.meshNetworks", what),
        (9, "spec.unvalidatedValues.global.network", what),
        (9, "spec.unvalidatedValues.global.meshNetworks", what),
    ]
    spec = value_of(run, mesh, "istiocontrolplane.yaml")["spec"]
    networks = spec["values"]["pilot"]["meshNetworks"]
    assert set(networks["networks"]) == {"network-east", "network-west"}
    assert spec["values"]["global"]["meshNetworks"] == networks
    assert spec["unvalidatedValues"]["global"] == {
        "meshID": "mymeshname",
        "meshNetworks": networks,
        "network": "network-east",
        "sds": {"enabled": True},
    }
    shutil.rmtree(mesh / "out")
    mesh.write(
        "base.yaml",
        """\
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec:
  values: {global: {meshNetworks: {mine: {}}}}
  unvalidatedValues: {global: {network: mine, other: 1}}
  meshConfig: {trustDomain: old.example, trustDomainAliases: [old.example], accessLogFile: /dev/null}
""",
    )
    lay(mesh, {"istio": {"version": "1.6.0"}, "trustDomain": "acme.example"})
    assert lost(run, mesh) == [
        (4, "spec.values.global.meshNetworks", what),
        (5, "spec.unvalidatedValues.global.network", what),
        (6, "spec.meshConfig.trustDomain", what),
    ]
    spec = value_of(run, mesh, "istiooperator.yaml")["spec"]
    assert set(spec["values"]["global"]["meshNetworks"]) == {"network-east", "network-west"}
    assert spec["unvalidatedValues"] == {"global": {"network": "network-east", "other": 1}}
    assert (
        spec["meshConfig"]["trustDomain"]
        == spec["values"]["meshConfig"]["trustDomain"]
        == "acme.example"
    )


def test_where_charts_come_from_and_go_to(run: Run, mesh: WorkDir) -> None:
    """A destination with a server next to a name is refused by Argo CD; a source in another namespace is another one. Legal neighbours stay."""
    what = "is set by the mesh; the value here is lost"
    mesh.write(
        "base.yaml",
        """\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {labels: {team: mesh}}
spec:
  destination: {server: "https://192.0.2.9:6443"}
  source: {targetRevision: 1.30.3, helm: {valuesObject: {global: {multiCluster: {globalDomainSuffix: x}}}}}
""",
    )
    lay(mesh, KEYS["argocd"])
    assert lost(run, mesh) == [(5, "spec.destination", what)]
    value = value_of(run, mesh, "istiod.yaml")
    assert value["spec"]["destination"] == {"name": EAST, "namespace": "istio-system"}
    assert value["metadata"]["labels"] == {"team": "mesh"}
    assert value["spec"]["source"]["helm"]["valuesObject"]["global"]["multiCluster"] == {
        "clusterName": EAST,
        "globalDomainSuffix": "x",
    }
    shutil.rmtree(mesh / "out")
    mesh.write(
        "base.yaml",
        """\
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
spec:
  chart: {spec: {chart: istiod, version: 1.30.3, sourceRef: {kind: HelmRepository, name: istio, namespace: flux-system}}}
""",
    )
    lay(mesh, KEYS["flux"])
    assert lost(run, mesh) == [(4, "spec.chart.spec.sourceRef", what)]
    assert value_of(run, mesh, "istiod.yaml")["spec"]["chart"]["spec"]["sourceRef"] == {
        "kind": "HelmRepository",
        "name": "istio",
    }


def test_a_mapping_that_the_mesh_repeats_is_not_lost() -> None:
    """An overlay that replaces a mapping as a whole loses nothing where it has each value of the base; with one more value, the mapping is lost."""
    whole = {"spec": merge_patch.Replacement({"name": "east", "namespace": "ztunnel"})}
    assert list(merge_patch.overridden_paths({"spec": {"namespace": "ztunnel"}}, whole)) == []
    assert list(merge_patch.overridden_paths({"spec": {"namespace": "other"}}, whole)) == [
        ("spec",)
    ]
    assert list(
        merge_patch.overridden_paths({"spec": {"namespace": "ztunnel", "server": "x"}}, whole)
    ) == [("spec",)]
