"""What takes Istio off clusters: one list for every command, run against clusters in which controllers heal, own and finalize."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubectl_mesh import targets
from kubectl_mesh.model.git_url import flux_url, is_argocd_url
from tests.conftest import TOP, Ran, Run, WorkDir
from tests.support.goldens import CASES as GOLDEN_CASES
from tests.support.goldens import rendered_tree
from tests.support.programs import tool as program
from tests.support.standin_cluster import World, chart_objects, simplify_object

CASES = [
    *(("Istio", tool) for tool in ("kubectl", "argocd", "flux")),
    *(("Application", tool) for tool in ("kubectl", "argocd")),
    *(("HelmRelease", tool) for tool in ("kubectl", "flux")),
    ("IstioOperator", "kubectl"),
    *(("IstioControlPlane", tool) for tool in ("kubectl", "argocd", "flux")),
]
ODD = "arn:aws:eks:eu-west-1:111122223333:cluster/it's odd"
"""A context that a shell would break up."""
CONTEXTS = {"east": "east", "north": "north", "west": ODD}
URL = "https://git.example.com/mesh.git"


def mesh(path: Path, kind: str, tool: str, over: dict[str, Any] | None = None) -> WorkDir:
    """Three clusters with a starter base.yaml of a kind, delivered by a tool, with a token for each."""
    made = WorkDir(path)
    path.mkdir()
    contexts: dict[str, Any] = {
        context: {
            "clusterName": name,
            "network": f"network-{name}",
            "server": f"https://203.0.113.{number}:6443",
            "certificateAuthority": f"clusters/{name}.crt",
        }
        for number, (name, context) in enumerate(CONTEXTS.items(), 11)
    }
    value: dict[str, Any] = {
        "mesh_id": "acme",
        "certificates": {"keyType": "ec-p256"},
        "contexts": contexts,
    }
    if kind == "IstioControlPlane":
        value["networks"] = {
            f"network-{name}": {"gateways": [{"address": f"192.0.2.{n}"}]}
            for n, name in enumerate(CONTEXTS, 11)
        }
    if tool != "kubectl":
        value["delivery"] = {"tool": tool, "repoURL": URL}
    made.write("topology.yaml", yaml.safe_dump(value, sort_keys=False))
    made.topology(over or {})
    made.write("base.yaml", targets.KINDS[kind].STARTER)
    for name in CONTEXTS:
        made.write(
            f"clusters/{name}.crt", (TOP / "tests/golden/argocd/in/clusters/east.crt").read_bytes()
        )
        made.token(name)
    return made


class Clusters:
    """Clusters in which a tree runs, and commands that are run against them."""

    def __init__(self, scratch: Path, made: WorkDir, kind: str, tool: str) -> None:
        self.file, self.bin, self.made, self.tool = (
            scratch / "state.json",
            scratch / "bin",
            made,
            tool,
        )
        self.bin.mkdir()
        stand_in = self.bin / "kubectl"
        stand_in.write_text(
            f'#!/bin/sh\nexec {sys.executable} -S -E {TOP / "tests/support/standin_cluster.py"} "$@"\n'
        )
        stand_in.chmod(0o755)
        self.world = World(
            {"clusters": ["hub", *CONTEXTS.values()], "git": {}, "things": {}, "names": CONTEXTS}
        )
        self.merge()
        for name, context in CONTEXTS.items():
            self.start(name, context, kind)
        if tool == "argocd":
            self.world.create(
                simplify_object("hub", yaml.safe_load((made / "out/_argocd/mesh.yaml").read_text()))
            )
        self.settle()

    def start(self, name: str, context: str, kind: str) -> None:
        """What somebody applied to a cluster by hand, and what belongs to others there."""
        others = [
            ("mutatingwebhookconfiguration", "", "others"),
            ("virtualservice", "shop", "checkout"),
            ("namespace", "", "shop"),
            ("clusterrole", "", "others"),
        ]
        for title, space, of in others:
            self.world.create(
                {
                    "cluster": context,
                    "kind": title,
                    "namespace": space,
                    "name": of,
                    "labels": {"istio.io/rev": "others"},
                    "keep": False,
                    "spec": {},
                }
            )
        folders = {
            "kubectl": [
                f"out/{name}/{stage}" for stage in ("1-trust", "2-control-plane", "3-mesh")
            ],
            "flux": [f"out/_flux/{name}"],
            "argocd": [],
        }
        for folder in folders[self.tool]:
            for thing in self.objects(folder):
                if thing["kind"] not in ("istiooperator", "istiocontrolplane"):
                    self.world.create({**thing, "cluster": context})
        if kind in ("IstioOperator", "IstioControlPlane"):
            for chart in ("istiod", "base", "gateway"):
                for thing in chart_objects(context, chart, "istio-system", ""):
                    self.world.create(thing)
        if kind == "IstioControlPlane":
            self.world.create({**thing, "kind": "deployment", "name": "istio-galley", "labels": {}})

    def objects(self, folder: str) -> list[dict[str, Any]]:
        """The objects of a folder of the tree."""
        found = [
            p
            for p in sorted((self.made / folder).rglob("[!.]*.yaml"))
            if p.name != "kustomization.yaml"
        ]
        return [simplify_object("", yaml.safe_load(path.read_text())) for path in found]

    def merge(self) -> None:
        """What git holds is now what the working directory has."""
        out = self.made / "out"
        folders = sorted(
            {p.parent.relative_to(self.made.path) for p in out.rglob("kustomization.yaml")}
        )
        self.world.state["git"] = {
            folder.as_posix(): self.objects(folder.as_posix())
            for folder in folders
            if folder != Path("out")
        }

    def settle(self) -> None:
        """The controllers run; Argo CD knows clusters by their names."""
        for thing in self.world.things.values():
            destination = thing["spec"].get("destination", {})
            if "name" in destination:
                destination["name"] = CONTEXTS.get(destination["name"], destination["name"])
        for listed in self.world.state["git"].values():
            for thing in listed:
                destination = thing["spec"].get("destination", {})
                if "name" in destination:
                    destination["name"] = CONTEXTS.get(destination["name"], destination["name"])
        self.world.settle()

    def apply(self, script: str) -> "subprocess.CompletedProcess[str]":
        """Runs what was printed as a shell would, until a command fails."""
        self.file.write_text(json.dumps(self.world.state))
        environment = {
            "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}",
            "STATE": str(self.file),
        }
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        self.world = World(json.loads(self.file.read_text()))
        self.world.settle()
        return done

    def left(self, context: str) -> list[str]:
        """What is in a cluster and is not somebody else's; definitions stay."""
        kinds = ("customresourcedefinition",)
        return sorted(
            k
            for k, t in self.world.things.items()
            if t["cluster"] == context
            and t["kind"] not in kinds
            and t["labels"].get("istio.io/rev") != "others"
        )


def script_of(text: str) -> str:
    """The commands of a report."""
    return "".join(
        f"{line}\n" for line in text.splitlines() if re.match(r"(kubectl|istioctl|if) ", line)
    )


@pytest.fixture
def start(tmp_path: Path, run: Run) -> Callable[..., tuple[WorkDir, Clusters]]:
    """Clusters in which the rendered mesh of a case runs."""

    def started(
        kind: str, tool: str, over: dict[str, Any] | None = None
    ) -> tuple[WorkDir, Clusters]:
        made = mesh(tmp_path / "mesh", kind, tool, over)
        ran = run("render", "--strict", cwd=made)
        assert ran.code == 0, ran.err
        return made, Clusters(tmp_path, made, kind, tool)

    return started


@pytest.mark.parametrize(("kind", "tool"), CASES)
def test_the_mesh_goes_and_nothing_comes_back(
    kind: str, tool: str, start: Callable[..., tuple[WorkDir, Clusters]], run: Run
) -> None:
    """No object of ours stays or returns, no webhook, no Application; what is of others stays, and so do the definitions. Twice is as good as once."""
    made, clusters = start(
        kind, tool, {"alerts": {"prometheusRule": True, "namespace": "monitoring"}}
    )
    before = {context: clusters.left(context) for context in CONTEXTS.values()}
    assert all(
        f"{context}|prometheusrule|monitoring|kubectl-mesh-expiry" in found
        for context, found in before.items()
    )
    assert all(
        any("webhookconfiguration" in key for key in found)
        and any("|deployment|" in key for key in found)
        for found in before.values()
    )
    printed = run("teardown", cwd=made).out
    for _ in range(2):
        done = clusters.apply(printed)
        assert done.returncode == 0, done.stderr
        assert {context: clusters.left(context) for context in CONTEXTS.values()} == {
            context: [] for context in CONTEXTS.values()
        }
        assert clusters.left("hub") == []
        for context in CONTEXTS.values():
            others = [
                key.split("|")[1]
                for key, t in clusters.world.things.items()
                if t["cluster"] == context
            ]
            definitions = ["customresourcedefinition"] if kind != "Istio" else []
            assert sorted(others) == sorted(
                [
                    "clusterrole",
                    "mutatingwebhookconfiguration",
                    "namespace",
                    "virtualservice",
                    *definitions,
                ]
            )


@pytest.mark.parametrize(("kind", "tool"), CASES)
def test_a_cluster_goes_and_the_others_stay(
    kind: str, tool: str, start: Callable[..., tuple[WorkDir, Clusters]], run: Run
) -> None:
    """`remove`, a render that is merged, and its commands: nothing of the cluster is left, and of the others only its remote secret goes."""
    made, clusters = start(kind, tool)
    secrets = {
        f"{context}|secret|istio-system|istio-remote-secret-west" for context in ("east", "north")
    }
    assert secrets <= clusters.world.things.keys()
    others = {context: clusters.left(context) for context in ("east", "north")}
    printed = script_of(run("remove", ODD, cwd=made).out)
    if tool == "argocd":
        # Before the merge nothing is deleted, not even by somebody who runs the commands of this cluster alone: what reconciles would bring it back.
        before = {key: thing["uid"] for key, thing in clusters.world.things.items()}
        assert clusters.apply(printed).returncode == 1
        assert (
            clusters.apply(
                "".join(
                    f"{line}\n"
                    for line in printed.splitlines()
                    if "context=" not in line or "odd" in line
                )
            ).returncode
            == 1
        )
        assert {key: thing["uid"] for key, thing in clusters.world.things.items()} == before
    ran = run("render", cwd=made)
    assert ran.code == 0, ran.err
    clusters.merge()
    clusters.settle()
    done = clusters.apply(printed)
    assert done.returncode == 0, done.stderr
    assert clusters.left(ODD) == []
    assert not [key for key in clusters.left("hub") if "|west-" in key]
    for context in ("east", "north"):
        gone = {key for key in others[context] if key not in clusters.world.things}
        assert secrets & gone == {f"{context}|secret|istio-system|istio-remote-secret-west"}
        assert {key.split("|")[1] for key in gone} <= {"secret", "gateway"}
    assert clusters.apply(printed).returncode == 0


@pytest.mark.parametrize(("kind", "tool"), [c for c in CASES if c[1] != "kubectl"])
def test_what_is_not_stopped_brings_all_back(
    kind: str, tool: str, start: Callable[..., tuple[WorkDir, Clusters]], run: Run
) -> None:
    """The same list without the commands that stop what reconciles leaves a mesh: so the stand-in heals, and the order counts."""
    made, clusters = start(kind, tool)
    steps = json.loads(run("teardown", "-o", "json", cwd=made).out)["commands"]
    clusters.apply(
        "".join(f"{step['command']} || :\n" for step in steps if step["phase"] != "stop")
    )
    assert any(
        "|secret|" in key or "webhookconfiguration" in key
        for context in CONTEXTS.values()
        for key in clusters.left(context)
    )


def leaving_commands(ran: Ran) -> list[list[str]]:
    """The commands of a diff for each cluster that leaves."""
    return [line["commands"] for line in json.loads(ran.out)["lines"] if line["kind"] == "cluster"]


@pytest.mark.parametrize(("kind", "tool"), CASES)
def test_every_command_prints_the_same_list(kind: str, tool: str, tmp_path: Path, run: Run) -> None:
    """`teardown --cluster`, `remove` and `diff` are equal; `render` has all of it that is not said before; nobody deletes definitions."""
    over = (
        {"istio": {"revision": "blue"}}
        if kind not in ("IstioControlPlane", "IstioOperator")
        else {}
    )
    made = mesh(
        tmp_path / "mesh",
        kind,
        tool,
        {**over, "alerts": {"prometheusRule": True, "namespace": "monitoring"}},
    )
    assert run("render", "--strict", cwd=made).code == 0
    steps = json.loads(run("teardown", "--cluster", "west", "-o", "json", cwd=made).out)["commands"]
    wanted = [step["command"] for step in steps]
    assert len(wanted) == len(set(wanted)) > 5
    phases = [step["phase"] for step in steps]
    assert [
        phases.index(phase) for phase in ("forget", "control-plane", "cluster-scoped", "namespace")
    ] == sorted(
        phases.index(phase) for phase in ("forget", "control-plane", "cluster-scoped", "namespace")
    )
    removed = json.loads(run("remove", ODD, "-o", "json", cwd=made).out)
    assert removed["commands"] == steps
    shutil.copytree(made / "out", tmp_path / "before")
    assert leaving_commands(run("diff", "-o", "json", cwd=made)) == [wanted]
    rendered = json.loads(run("render", "-o", "json", cwd=made).out)
    own = [step["command"] for step in steps if step["phase"] != "forget"]
    assert rendered["delete"][-len(own) :] == own
    assert set(rendered["delete"]) >= (set(wanted) if tool == "kubectl" else set(own))
    assert leaving_commands(
        run("diff", str(tmp_path / "before"), str(made / "out"), "-o", "json", cwd=made)
    ) == [wanted]
    for text in (*wanted, *rendered["delete"]):
        assert "customresourcedefinition" not in text or "istiocontrolplanes" in text
        assert "|| true" not in text
        assert "--purge" not in text


@pytest.mark.parametrize("stated", ["", "cni", "kind"])
@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("Istio", "istiocnis.sailoperator.io"),
        ("HelmRelease", "istio-cni"),
        ("Application", "west-istio-cni"),
    ],
)
def test_what_others_run_on_the_nodes_stays(
    kind: str, word: str, stated: str, tmp_path: Path, run: Run
) -> None:
    """Istio's CNI goes where the tree installs it, and a ztunnel with ambient alone: another mesh of the cluster may have its own."""
    made = mesh(tmp_path / "mesh", kind, "kubectl")
    base = yaml.safe_load((made / "base.yaml").read_text())
    inner = base["spec"]
    for key in {
        "Istio": ["values"],
        "HelmRelease": ["values"],
        "Application": ["source", "helm", "valuesObject"],
    }[kind]:
        inner = inner.setdefault(key, {})
    if stated == "cni":
        inner["pilot"] = {"cni": {"enabled": True}}
    cni = {
        "Istio": {},
        "HelmRelease": {"chart": {"spec": {"chart": "cni"}}},
        "Application": {"source": {"chart": "cni"}},
    }[kind]
    own = {
        "apiVersion": base["apiVersion"],
        "kind": "IstioCNI" if kind == "Istio" else kind,
        "metadata": {"name": "default"},
        "spec": cni,
    }
    made.write("base.yaml", yaml.safe_dump_all([base, own] if stated == "kind" else [base]))
    ran = run("render", "--strict", cwd=made)
    assert ran.code == 0, ran.err
    lists = [
        run("teardown", "--cluster", "west", cwd=made).out,
        run("remove", ODD, cwd=made).out,
        run("diff", cwd=made).out,
    ]
    assert [word in text for text in lists] == [bool(stated)] * 3
    assert [" ztunnel" in text or "ztunnels" in text for text in lists] == [False] * 3


def test_definitions_are_apart_and_come_with_a_warning(
    start: Callable[..., tuple[WorkDir, Clusters]], run: Run
) -> None:
    """Only `teardown --definitions` prints what deletes them, and first of all what goes with them."""
    made, clusters = start("Istio", "kubectl", {})
    clusters.world.create(
        {
            **next(iter(chart_objects(ODD, "base", "", ""))),
            "kind": "customresourcedefinition",
            "name": "gateways.example.org",
        }
    )
    for thing in chart_objects(ODD, "base", "", ""):
        clusters.world.create(thing)
    plain = run("teardown", cwd=made).out
    assert "`kubectl mesh teardown --definitions` prints what deletes them" in plain
    assert "customresourcedefinition" not in plain
    ran = run("teardown", "--definitions", cwd=made)
    assert (
        "# WARNING: deleting a custom resource definition deletes every object of its kind"
        in ran.out
    )
    assert len(script_of(ran.out).splitlines()) == 3
    for _ in range(2):
        done = clusters.apply(ran.out)
        assert done.returncode == 0, done.stderr
        assert [k for k in clusters.world.things if "|customresourcedefinition|" in k] == [
            f"{ODD}|customresourcedefinition||gateways.example.org"
        ]


@pytest.mark.parametrize("store", ["sealed", "external"])
def test_what_would_create_a_remote_secret_again_goes_with_it(
    store: str, tmp_path: Path, run: Run
) -> None:
    """A SealedSecret, or an ExternalSecret, would fill the Secret again; `remove`, `diff` and `render` delete both."""
    made = mesh(tmp_path / "mesh", "Istio", "kubectl")
    secrets: dict[str, Any] = {"store": store}
    if store == "external":
        secrets["secretStore"] = {"kind": "ClusterSecretStore", "name": "vault"}
    else:
        for name in CONTEXTS:
            shutil.copy(
                TOP / "tests/golden/sealed/in/clusters/east.sealing.crt",
                made / f"clusters/{name}.sealing.crt",
            )
    made.topology({"secrets": secrets})
    ran = run("render", cwd=made)
    assert ran.code == 0, ran.err
    kinds = {
        "sealed": "sealedsecrets.bitnami.com",
        "external": "externalsecrets.external-secrets.io",
    }[store]
    wanted = [
        f"kubectl --context={c} -n istio-system delete {kinds},secrets istio-remote-secret-west --ignore-not-found"
        for c in ("east", "north")
    ]
    assert script_of(run("remove", ODD, cwd=made).out).splitlines()[:2] == wanted
    line = next(
        line
        for line in json.loads(run("diff", "-o", "json", cwd=made).out)["lines"]
        if line["kind"] == "cluster"
    )
    assert line["commands"][:2] == wanted
    assert json.loads(run("render", "-o", "json", cwd=made).out)["delete"][:2] == wanted


def canary(made: WorkDir, run: Run, *, promoted: bool) -> None:
    """A canary, or the one control plane that it became."""
    new = {"version": "1.30.3", "revision": "blue"}
    made.topology(
        {"istio": {**new, "canary": None} if promoted else {"version": "1.29.6", "canary": new}}
    )
    if not promoted:
        assert run("render", "--strict", cwd=made).code == 0


@pytest.mark.parametrize(
    ("kind", "tool", "deleted"),
    [
        (
            "Istio",
            "kubectl",
            "kubectl --context=east delete istio.v1.sailoperator.io default --ignore-not-found",
        ),
        ("Istio", "argocd", ""),
        ("Istio", "flux", ""),
        (
            "HelmRelease",
            "kubectl",
            "kubectl --context=east -n istio-system delete helmrelease.v2.helm.toolkit.fluxcd.io istiod --ignore-not-found",
        ),
        ("HelmRelease", "flux", ""),
        (
            "Application",
            "kubectl",
            "kubectl --context=east -n argocd delete applications.argoproj.io east-istiod --ignore-not-found --timeout=10m",
        ),
        ("Application", "argocd", ""),
        (
            "IstioOperator",
            "kubectl",
            "-l operator.istio.io/component=Pilot,istio.io/rev=default --ignore-not-found",
        ),
    ],
)
def test_the_old_istiod_of_a_promoted_canary(
    kind: str, tool: str, deleted: str, tmp_path: Path, run: Run
) -> None:
    """Who deletes it is said by `diff` and `render` alike: the tool, or commands; with Argo CD what its chart installed has to be asked for."""
    made = mesh(tmp_path / "mesh", kind, tool)
    canary(made, run, promoted=False)
    canary(made, run, promoted=True)
    lines = json.loads(run("diff", "-o", "json", cwd=made).out)["lines"]
    text = run("render", "--dry-run", cwd=made).out
    rendered = json.loads(run("render", "--dry-run", "-o", "json", cwd=made).out)
    release = [line for line in lines if line["group"] == "deleted" and line["kind"] == "release"]
    commands = [command for line in release for command in line["commands"]]
    impact = [says["what"] for line in release for says in line["impact"]]
    if deleted:
        assert any(deleted in command for command in commands), commands
        assert any(deleted in command for command in rendered["delete"])
        assert rendered["deletedBy"] is None
        assert "`kubectl apply` deletes nothing" in text
        return
    name = {"argocd": "Argo CD", "flux": "Flux"}[tool]
    assert any(f"{name} deletes it once the change is merged" in says for says in impact)
    assert "kubectl apply deletes nothing" not in json.dumps(lines)
    assert (rendered["delete"], rendered["deletedBy"]) == ([], name)
    assert (
        f"would leave the tree; {name} deletes it from the clusters once the change is merged"
        in text
    )
    assert "`kubectl apply` deletes nothing" not in text
    before = [c for c in rendered["deleteBefore"] if "patch --type=merge" in c]
    assert (before != []) == (kind == "Application")
    assert all("before you merge" in command for command in (*commands, *before))


@pytest.mark.parametrize(
    "over", [{ODD: {"clusterName": "occident"}}, {ODD: None, "other-context": {}}]
)
def test_nothing_is_taken_off_a_cluster_that_has_another_name(
    over: dict[str, Any], tmp_path: Path, run: Run
) -> None:
    """Its directory leaves the tree, but by its context, or by its API server, it is the same cluster."""
    made = mesh(tmp_path / "mesh", "Istio", "kubectl")
    west = yaml.safe_load((made / "topology.yaml").read_text())["contexts"][ODD]
    assert run("render", "--strict", cwd=made).code == 0
    if "other-context" in over:
        over = {**over, "other-context": {**west, "clusterName": "occident"}}
    made.topology({"contexts": over})
    made.token("occident")
    for words in (("diff",), ("render", "--dry-run"), ("render", "--dry-run", "-o", "json")):
        ran = run(*words, cwd=made)
        assert "occident" in ran.out + ran.err
        assert "delete namespace" not in ran.out + ran.err
        assert "sailoperator.io" not in "".join(
            line for line in (ran.out + ran.err).splitlines() if "delete" in line
        )


@pytest.mark.parametrize("asked", [False, True])
def test_an_old_istiod_goes_with_its_application_once_it_has_the_finalizer(
    asked: bool, start: Callable[..., tuple[WorkDir, Clusters]], run: Run
) -> None:
    """After the merge its webhook stays without the printed command, and is gone with it; the new istiod stays either way."""
    made, clusters = start(
        "Application",
        "argocd",
        {"istio": {"version": "1.29.6", "canary": {"version": "1.30.3", "revision": "blue"}}},
    )
    old, new = (
        f"{ODD}|mutatingwebhookconfiguration||istio-sidecar-injector{end}" for end in ("", "-blue")
    )
    assert {old, new} <= clusters.world.things.keys()
    canary(made, run, promoted=True)
    before = json.loads(run("render", "-o", "json", cwd=made).out)["deleteBefore"]
    if asked:
        assert clusters.apply("".join(f"{command}\n" for command in before)).returncode == 0
    clusters.merge()
    clusters.settle()
    assert "hub|application|argocd|west-istiod" not in clusters.world.things
    assert (old in clusters.world.things, new in clusters.world.things) == (not asked, True)


@pytest.mark.parametrize(
    ("stated", "flux"),
    [
        ("git@github.com:acme/mesh.git", "ssh://git@github.com/acme/mesh.git"),
        ("git@git.example.com:/srv/mesh.git", "ssh://git@git.example.com/srv/mesh.git"),
        ("git.example.com:mesh.git", "ssh://git.example.com/mesh.git"),
        ("git@[2001:db8::1]:mesh.git", "ssh://git@[2001:db8::1]/mesh.git"),
        ("ssh://git@git.example.com:2222/mesh.git", "ssh://git@git.example.com:2222/mesh.git"),
        ("HTTPS://git.example.com/mesh.git", "https://git.example.com/mesh.git"),
        ("http://git.example.com/mesh.git", "http://git.example.com/mesh.git"),
        ("git://git.example.com/mesh.git", None),
        ("file:///srv/mesh.git", None),
        ("git+ssh://git@git.example.com/mesh.git", None),
        ("/srv/git/mesh.git", None),
        ("github.com/acme/mesh", None),
        ("https://", None),
        ("", None),
    ],
)
def test_where_flux_reads_the_repository(
    stated: str, flux: str | None, tmp_path: Path, run: Run
) -> None:
    """What git knows in another form is written as Flux takes it; what it never takes is refused by every command, with the place."""
    assert flux_url(stated) == flux
    made = mesh(tmp_path / "mesh", "HelmRelease", "flux", {"delivery": {"repoURL": stated}})
    for words in (("render",), ("check",), ("diff",), ("describe",)):
        ran = run(*words, cwd=made)
        refused = "delivery.repoURL" in ran.out + ran.err
        assert refused == (flux is None), (words, ran.err)
    if flux is not None:
        found = sorted((made / "out/_flux").glob("*/gitrepository.yaml"))
        assert len(found) == 3
        for path in found:
            assert yaml.safe_load(path.read_text())["spec"]["url"] == flux
            assert re.match(r"^(http|https|ssh)://.*$", flux)


def test_where_argo_cd_reads_the_repository(tmp_path: Path, run: Run) -> None:
    """It knows the form of scp; a folder is refused."""
    assert [
        is_argocd_url(u)
        for u in (
            "git@github.com:acme/mesh.git",
            URL,
            "ssh://git@h/p",
            "/srv/mesh.git",
            "github.com/acme/mesh",
        )
    ] == [True] * 3 + [False] * 2
    made = mesh(
        tmp_path / "mesh",
        "Istio",
        "argocd",
        {"delivery": {"repoURL": "git@github.com:acme/mesh.git"}},
    )
    assert run("render", cwd=made).code == 0
    assert (
        yaml.safe_load((made / "out/_argocd/mesh.yaml").read_text())["spec"]["source"]["repoURL"]
        == "git@github.com:acme/mesh.git"
    )
    made.topology({"delivery": {"repoURL": "github.com/acme/mesh"}})
    ran = run("check", cwd=made)
    assert (ran.code, "is not a URL that Argo CD reads a git repository from" in ran.out) == (
        1,
        True,
    )


@pytest.mark.parametrize(("tool", "kind"), [("argocd", "Istio"), ("flux", "HelmRelease")])
def test_a_first_render_prints_the_bootstrap(
    tool: str, kind: str, tmp_path: Path, run: Run
) -> None:
    """A first render prints what has to be applied by hand before it speaks of commits; later ones do not, but for a cluster that is new to Flux."""
    made = mesh(tmp_path / "mesh", kind, tool)
    made.topology({"contexts": {ODD: None}})
    first = run("render", cwd=made).err.splitlines()
    apply = (
        "kubectl apply -f out/_argocd/mesh.yaml"
        if tool == "argocd"
        else "kubectl --context=east apply -k out/_flux/east; and the same for 1 more"
    )
    assert apply in first[-2]
    assert first[-1].startswith("next: review out, commit and push it; ")
    made.topology(
        {
            "contexts": {
                "east": {"eastWestGateway": {"annotations": {"example.com/note": "changed"}}}
            }
        }
    )
    assert "once, for" not in run("render", cwd=made).err
    made.topology(
        {
            "contexts": {
                "south": {
                    "network": "south",
                    "server": "https://203.0.113.14:6443",
                    "certificateAuthority": "clusters/east.crt",
                }
            }
        }
    )
    again = run("render", cwd=made).err
    assert ("kubectl --context=south apply -k out/_flux/south" in again) == (tool == "flux")


def test_what_applies_an_istiooperator(tmp_path: Path, run: Run) -> None:
    """istioctl, since its stage is in no kustomization; at first stage by stage, later what changed. Every file that is named is there."""
    made = mesh(tmp_path / "mesh", "IstioOperator", "kubectl")
    first = run("render", cwd=made).err
    steps = [line.strip() for line in first.splitlines() if line.startswith("  ")]
    assert steps == [
        "kubectl --context=east apply -k out/east/1-trust",
        "istioctl --context=east install -y -f out/east/2-control-plane/istiooperator.yaml",
        "istioctl --context=east install -y -f out/east/2-control-plane/eastwest.yaml",
        "kubectl --context=east apply -k out/east/3-mesh",
    ]
    for step in steps:
        path = made / step.rpartition(" ")[2]
        assert path.is_file() or (path / "kustomization.yaml").is_file(), step
    made.write(
        "base.yaml", targets.KINDS["IstioOperator"].STARTER.replace("/dev/stdout", "/dev/null")
    )
    later = run("render", cwd=made).err
    assert (
        "istioctl --context=east install -y -f out/east/2-control-plane/istiooperator.yaml\n"
        in later
    )
    assert "eastwest.yaml" not in later
    old = mesh(tmp_path / "old", "IstioControlPlane", "kubectl")
    assert (
        "istioctl --context=east manifest apply -f out/east/2-control-plane/istiocontrolplane.yaml"
        in run("render", cwd=old).err
    )


def test_one_cluster_holds_back_no_other_in_argo_cd(tmp_path: Path, run: Run) -> None:
    """Waves are inside the Application of one cluster; above them all there is a single wave, for which Argo CD does not wait."""
    made = mesh(tmp_path / "mesh", "Istio", "argocd")
    assert run("render", cwd=made).code == 0
    top = made / "out/_argocd"
    wave = "argocd.argoproj.io/sync-wave"
    above = [yaml.safe_load(p.read_text()) for p in (top / "applications").glob("[!k]*.yaml")]
    assert sorted(a["metadata"]["name"] for a in above) == [
        "east-stages",
        "north-stages",
        "west-stages",
    ]
    assert [a for a in above if wave in a["metadata"].get("annotations", {})] == []
    for name in CONTEXTS:
        waves = {
            p.stem: yaml.safe_load(p.read_text())["metadata"]["annotations"][wave]
            for p in (top / "clusters" / name).glob("[123]*.yaml")
        }
        assert waves == {"1-trust": "1", "2-control-plane": "2", "3-mesh": "3"}


def test_a_tree_of_one_application_for_all_moves_without_a_loss(
    start: Callable[..., tuple[WorkDir, Clusters]],
) -> None:
    """The layout of earlier versions, merged into this one: every Application and every object in the clusters is there afterwards."""
    _, clusters = start("Application", "argocd")
    git = clusters.world.state["git"]
    fresh = json.loads(json.dumps(git))
    git["out/_argocd/applications"] = [
        thing for name in CONTEXTS for thing in git[f"out/_argocd/clusters/{name}"]
    ]
    clusters.world.things.clear()
    clusters.world.create(
        simplify_object(
            "hub", yaml.safe_load((clusters.made / "out/_argocd/mesh.yaml").read_text())
        )
    )
    clusters.settle()
    before = set(clusters.world.things)
    assert len(before) > 30
    clusters.world.state["git"] = fresh
    kept = [key for key in before if "|application|" not in key]
    born = {key: clusters.world.things[key]["uid"] for key in kept}
    clusters.settle()
    assert before | {f"hub|application|argocd|{name}-stages" for name in CONTEXTS} == set(
        clusters.world.things
    )
    assert {key: clusters.world.things[key]["uid"] for key in kept} == born, (
        "an object in a cluster was deleted and created again"
    )


def test_readme_validates_every_tree(tmp_path: Path) -> None:
    """The command of README, as it is printed there, over every golden tree."""
    command = next(
        line
        for line in (TOP / "README.md").read_text().splitlines()
        if line.startswith("kubeconform ")
    )
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "kubectl").write_text(
        f'#!/bin/sh\nshift\nexec {sys.executable} -m kubectl_mesh "$@"\n'
    )
    (folder / "kubectl").chmod(0o755)
    (folder / "kubeconform").symlink_to(program("kubeconform"))
    trees = [rendered_tree(case) for case in GOLDEN_CASES]
    assert any(list(tree.rglob(".ksops.yaml")) for tree in trees)
    loop = "".join(
        f"rm -rf out && ln -s {tree} out\n{command.removesuffix(' out')} out/\n" for tree in trees
    )
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", loop],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Summary: ") == len(trees)
