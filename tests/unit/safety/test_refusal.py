"""What a render refuses because clusters run what is in the tree: one list, asked by every command; and that the printed steps lead there."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubectl_mesh.safety.refusal import WAY_OUT_PREFIX
from tests.conftest import CLUSTERS, Ran, Run, WorkDir, snapshot
from tests.support.meshes import EAST, ISTIO, MESHES, OTHER, WEST, Mesh
from tests.support.programs import git

Make = Callable[..., WorkDir]
STORES = ("plain", "sops", "sealed", "external")
OLD = "istio-reader-service-account"
SECRET = f"{OLD}-istio-remote-secret-token"
APART = {"contexts": {OTHER: {"network": "third"}}}
"""Every cluster on a network of its own."""
AMBIENT = {"istio": {"dataPlane": "ambient"}}


def mesh_of(
    store: str,
    make: Make,
    run: Run,
    scratch: Path,
    over: "dict[str, Any] | None" = None,
    base: str = ISTIO,
) -> Mesh:
    """A rendered mesh of three clusters in a store, each with a token that names its Secret."""
    mesh = MESHES[store](make, run, scratch)
    mesh.place.write("base.yaml", base)
    if over:
        mesh.place.topology(over)
    for name in CLUSTERS if mesh.tokens else ():
        mesh.place.token(name, f"{name}/{SECRET}")
    mesh.quiet("render")
    return mesh


def found_problems(run: Run, mesh: WorkDir) -> dict[str, list[dict[str, str]]]:
    """What each command says that a render refuses, by command; nothing is written by any of them."""
    before = snapshot(mesh.path)
    checked = json.loads(run("check", "-o", "json", cwd=mesh).out)["checks"]
    told = run("diff", "-o", "json", cwd=mesh)
    assert told.code in (0, 1), told.err
    refused = json.loads(told.out)["order"]["refused"]
    found = {
        "check": [f | {"id": c["id"]} for c in checks_with_errors(checked) for f in c["findings"]],
        "diff": [refused, *refused["others"]] if refused is not None else [],
        "describe": json.loads(run("describe", "-o", "json", cwd=mesh).out)["refused"],
    }
    assert snapshot(mesh.path) == before
    return found


def checks_with_errors(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The checks that failed."""
    return [c for c in checks if c["status"] == "error"]


def assert_refused(run: Run, mesh: WorkDir, check: str, what: str, *, way_out: bool = True) -> Ran:
    """Every command refuses a change, for one reason, with one fix."""
    before = snapshot(mesh.path)
    ran = run("render", cwd=mesh)
    for words in ((), ("--check",), ("--dry-run",), ("--strict",)):
        again = run("render", *words, cwd=mesh)
        assert (again.code, again.err) == (2, ran.err), words
    assert re.search(what, ran.err), ran.err
    assert ((WAY_OUT_PREFIX + "kubectl mesh render --unapplied ") in ran.err) == way_out
    assert snapshot(mesh.path) == before
    for command, problems in found_problems(run, mesh).items():
        mine = [p for p in problems if p["id"] == check and re.search(what, p["what"])]
        assert len(mine) == 1, (command, problems)
        assert f"fix: {mine[0]['fix']}" in ran.err, command
    text = run("diff", cwd=mesh)
    assert "safe in no order, and `kubectl mesh render` refuses it: " in text.out
    assert "may apply this in any order" not in text.out
    assert "refused: `kubectl mesh render` refuses this" in run("describe", cwd=mesh).out
    assert run("check", cwd=mesh).code == 1
    return ran


def assert_accepted(run: Run, mesh: WorkDir, *words: str) -> Ran:
    """No command refuses a change, and it is rendered."""
    assert found_problems(run, mesh)["diff"] == []
    assert json.loads(run("describe", "-o", "json", cwd=mesh).out)["refused"] == []
    ran = run("render", *words, cwd=mesh)
    assert ran.code == 0, ran.err
    assert checks_with_errors(json.loads(run("check", "-o", "json", cwd=mesh).out)["checks"]) == []
    return ran


READERS: dict[str, dict[str, Any]] = {
    "account": {"contexts": {EAST: {"serviceAccountReader": "mesh-reader"}}},
    "accounts": {"contexts": {name: {"serviceAccountReader": "mesh-reader"} for name in CLUSTERS}},
    "per-peer": {"readers": "perPeer"},
}


@pytest.mark.parametrize("change", READERS)
@pytest.mark.parametrize("store", STORES)
def test_a_reader_in_use_does_not_leave(
    store: str, change: str, workdir: Make, run: Run, tmp_path: Path
) -> None:
    """Another account: in every store the remote secrets of the peers still log in by the old one."""
    mesh = mesh_of(store, workdir, run, tmp_path)
    mesh.place.topology(READERS[change])
    ran = assert_refused(
        run,
        mesh.place,
        "tree-in-use",
        rf"the token of the account {OLD} \(context-east-1.* would leave the tree, and the remote secrets",
    )
    assert "fetch the token" not in ran.err.replace("fetch the new tokens", "")
    assert "put it back, or run" not in ran.err


@pytest.mark.parametrize("store", ["plain", "sealed"])
def test_the_way_back_from_readers_per_peer(
    store: str, workdir: Make, run: Run, tmp_path: Path
) -> None:
    """The accounts of the peers do not leave either."""
    mesh = MESHES[store](workdir, run, tmp_path)
    mesh.place.topology({"readers": "perPeer"})
    for name in CLUSTERS:
        for peer in CLUSTERS:
            mesh.place.write(
                f"credentials/{name}.{peer}.token", f"token-of-{name}-for-{peer}", 0o600
            )
    mesh.quiet("render")
    mesh.place.topology({"readers": None})
    assert_refused(
        run, mesh.place, "tree-in-use", f"the account {OLD}-context-east-2 .* would leave"
    )
    # A peer that is to read a cluster no longer takes its own account along.
    mesh.place.topology({"readers": "perPeer", "contexts": {EAST: {"peers": [WEST]}}})
    assert_accepted(run, mesh.place)


LOGINS = {
    "exec": {"command": "aws", "args": ["eks"], "apiVersion": "client.authentication.k8s.io/v1"},
    "clientCertificate": {"certificateFile": "c", "keyFile": "k"},
}


@pytest.mark.parametrize("store", STORES)
def test_a_token_in_use_does_not_leave_for_another_login(
    store: str, workdir: Make, run: Run, tmp_path: Path
) -> None:
    """Peers that are late log in by a token whose Secret is gone."""
    mesh = mesh_of(store, workdir, run, tmp_path)
    mesh.place.topology({"contexts": {EAST: {"credential": {"exec": LOGINS["exec"]}}}})
    ran = assert_refused(run, mesh.place, "tree-in-use", f"the token of the account {OLD} ")
    assert "fetch the new tokens" not in ran.err


def printed_commands(text: str) -> Iterator[tuple[str, str, str]]:
    """The commands that fetch tokens: context, Secret, file."""
    for match in re.finditer(
        r"kubectl --context=(\S+) -n \S+ get secret (\S+) -o .*? > (\S+)\)", text
    ):
        yield match[1], match[2], match[3]


class Live:
    """The clusters, as far as readers go: the Secrets with a token that each has, and the manifests of the remote secrets that it holds."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.secrets: dict[str, set[str]] = {name: set() for name in CLUSTERS}
        self.held: dict[tuple[str, str], Path] = {}
        self.pushed: dict[str, str] = {}

    def apply_readers(self, tree: Path, name: str, *, prune: bool = False) -> None:
        """Applies what is about readers in one cluster."""
        found = [
            yaml.safe_load(p.read_text()) for p in sorted(tree.glob(f"{name}/3-mesh/reader*.yaml"))
        ]
        if prune:
            self.secrets[name] = set()
        self.secrets[name] |= {o["metadata"]["name"] for o in found if o["kind"] == "Secret"}
        for push in (o for o in found if o["kind"] == "PushSecret"):
            (entry,) = push["spec"]["data"]
            self.pushed[entry["match"]["remoteRef"]["remoteKey"]] = (
                f"{name}/{push['spec']['selector']['secret']['name']}"
            )

    def apply_remotes(self, tree: Path, name: str) -> None:
        """Applies the remote secrets of one cluster."""
        for path in tree.glob(f"{name}/3-mesh/remote-secrets/*.yaml"):
            copy = self.mesh.scratch / "live" / name / path.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            self.held[name, path.stem] = copy

    def assert_connected(self, *, peers: int = 6) -> None:
        """Every remote secret has a token whose Secret is in its cluster."""
        assert len(self.held) == peers
        for (name, peer), path in self.held.items():
            value = yaml.safe_load(path.read_text())
            if value["kind"] == "ExternalSecret":
                (entry,) = value["spec"]["data"]
                token = self.pushed[entry["remoteRef"]["key"]]
            else:
                token = yaml.safe_load(self.mesh.data(path, name)[peer])["users"][0]["user"][
                    "token"
                ]
            cluster, _, secret = token.partition("/")
            assert cluster == peer
            assert secret in self.secrets[peer], (name, peer, token)


@pytest.mark.parametrize("change", READERS)
@pytest.mark.parametrize("store", STORES)
def test_the_steps_to_another_reader_lead_there(
    store: str, change: str, workdir: Make, run: Run, tmp_path: Path
) -> None:
    """As they are printed, one cluster after the other: in no state does a peer lack the token by which it logs in."""
    mesh = mesh_of(store, workdir, run, tmp_path)
    place = mesh.place
    live = Live(mesh)
    for name in CLUSTERS:
        live.apply_readers(place / "out", name)
        live.apply_remotes(place / "out", name)
    live.assert_connected()
    place.topology(READERS[change])
    said = run("render", cwd=place).err
    (command,) = re.findall(
        r"1\. cp -R out next && kubectl mesh (render --out next( --unapplied \S+)+)\n", said
    )
    shutil.copytree(place / "out", place / "next")
    ran = run(*command[0].split(), cwd=place)
    assert ran.code == 0, ran.err
    for name in CLUSTERS:
        live.apply_readers(place / "next", name)
        live.assert_connected()
    commands = list(printed_commands(said))
    assert len(commands) == (
        0 if store == "external" else {"account": 1, "accounts": 3, "per-peer": 6}[change]
    )
    for context, secret, file in commands:
        assert secret in live.secrets[context]
        place.write(file, f"{context}/{secret}", 0o600)
    if commands:
        again = run("render", "--out", "next", cwd=place)
        assert again.code == 0, again.err
    for name in CLUSTERS:
        live.apply_remotes(place / "next", name)
        live.assert_connected()
    shutil.rmtree(place / "out")
    (place / "next").rename(place / "out")
    for name in CLUSTERS:
        live.apply_readers(place / "out", name, prune=True)
        live.apply_remotes(place / "out", name)
        live.assert_connected()
    assert SECRET not in live.secrets[EAST]
    assert_accepted(run, place)
    assert run("render", "--check", cwd=place).code == 0


MOVES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "network-joined": (
        APART,
        {"contexts": {OTHER: {"network": "network-east"}}},
        "the network of context-east-2 would change from third to network-east",
    ),
    "network-split": (
        {},
        APART,
        "the network of context-east-2 would change from network-east to third",
    ),
    "networks-joined-to-one": (
        {},
        {"contexts": {WEST: {"network": "network-east"}}},
        "the network of context-west-1 would change from network-west to network-east",
    ),
    "namespace": (
        {},
        {"contexts": {name: {"namespace": "mesh-system"} for name in CLUSTERS}},
        "the namespace of Istio in context-east-1, .* would change from istio-system to mesh-system",
    ),
    "ambient": (APART, AMBIENT, "the data plane of .* would change from sidecar to ambient"),
    "sidecar": (
        APART | AMBIENT,
        {"istio": {"dataPlane": "sidecar"}},
        "the data plane of .* would change from ambient to sidecar",
    ),
    "trust-domain": (
        {},
        {"trustDomain": "acme.org"},
        "the trust domain would change from cluster.local to acme.org",
    ),
    "trust-domain-back": (
        {"trustDomain": "acme.org"},
        {"trustDomain": None},
        "the trust domain would change from acme.org to cluster.local",
    ),
    "trust-domain-other": (
        {"trustDomain": "acme.org"},
        {"trustDomain": "acme.com"},
        "the trust domain would change from acme.org to acme.com",
    ),
    "revision": (
        {},
        {"istio": {"revision": "blue"}},
        "the control plane of the revision default in .* would leave in the same change in which blue comes",
    ),
}
KINDS = {
    "Istio": ISTIO,
    "IstioOperator": "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec: {tag: 1.30.3}\n",
    "Application": "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: istiod}\nspec: {source: {targetRevision: 1.30.3}}\n",
    "HelmRelease": "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: istiod}\nspec: {chart: {spec: {version: 1.30.3}}}\n",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", MOVES)
def test_an_identity_in_use_does_not_change(
    change: str, kind: str, workdir: Make, run: Run, tmp_path: Path
) -> None:
    """What a cluster is to the others, in every kind of control plane."""
    before, after, what = MOVES[change]
    mesh = mesh_of("plain", workdir, run, tmp_path, before, KINDS[kind])
    mesh.place.topology(after)
    assert_refused(run, mesh.place, "identity-change", what)


@pytest.mark.parametrize("change", ["network-joined", "namespace", "trust-domain"])
@pytest.mark.parametrize("store", STORES[1:])
def test_an_identity_in_use_does_not_change_in_any_store(
    store: str, change: str, workdir: Make, run: Run, tmp_path: Path
) -> None:
    """What is sealed hides none of it."""
    before, after, what = MOVES[change]
    mesh = mesh_of(store, workdir, run, tmp_path, before)
    mesh.place.topology(after)
    assert_refused(run, mesh.place, "identity-change", what)


@pytest.mark.parametrize(
    "change",
    [
        "network-joined",
        "network-split",
        "networks-joined-to-one",
        "namespace",
        "ambient",
        "sidecar",
    ],
)
def test_the_steps_of_a_move_lead_there(
    change: str, workdir: Make, run: Run, tmp_path: Path
) -> None:
    """Out of discovery, the change, and back: each step is accepted, and the end is what was asked for."""
    before, after, _ = MOVES[change]
    mesh = mesh_of("plain", workdir, run, tmp_path, before)
    place, was = mesh.place, (mesh.place / "topology.yaml").read_text()
    place.topology(after)
    wanted = (place / "topology.yaml").read_text()
    (said,) = re.findall(
        r"1\. state `disableRegistryJoin: true` for (.*?), render", run("render", cwd=place).err
    )
    names = CLUSTERS if said == "every cluster" else said.split(", ")
    place.write("topology.yaml", was)
    place.topology({"contexts": {name: {"disableRegistryJoin": True} for name in names}})
    assert_accepted(run, place)
    place.topology(after)
    assert_accepted(run, place)
    place.write("topology.yaml", wanted)
    if change == "namespace":
        place.token(EAST, "the-token-of-the-new-account")
    assert_accepted(run, place)


def test_the_steps_to_another_trust_domain_lead_there(
    workdir: Make, run: Run, tmp_path: Path
) -> None:
    """Both domains are accepted before one is used; a swap without the aliases, or with the wrong one, is refused."""
    mesh = mesh_of("plain", workdir, run, tmp_path)
    place = mesh.place
    aliases = "apiVersion: sailoperator.io/v1\nkind: Istio\nspec: {{version: v1.30.3, values: {{meshConfig: {{trustDomainAliases: [{}]}}}}}}\n"
    # Naming the old domain along with the change helps only those that have the change.
    place.topology({"trustDomain": "acme.org"})
    place.write("base.yaml", aliases.format("cluster.local"))
    assert_refused(
        run, place, "identity-change", "3 clusters would refuse workloads that have the other one"
    )
    place.topology({"trustDomain": None})
    place.write("base.yaml", aliases.format("acme.org"))
    assert_accepted(run, place)
    place.topology({"trustDomain": "acme.org"})
    place.write("base.yaml", aliases.format("acme.org"))
    assert_refused(run, place, "identity-change", "3 clusters would refuse")
    place.write("base.yaml", aliases.format("acme.org, cluster.local"))
    assert_accepted(run, place)
    place.write("base.yaml", ISTIO)
    assert_accepted(run, place)


def test_one_cluster_with_the_trust_domain_at_a_time(
    workdir: Make, run: Run, tmp_path: Path
) -> None:
    """A render of one cluster meets the others as they are."""
    mesh = mesh_of("plain", workdir, run, tmp_path)
    mesh.place.topology({"trustDomain": "acme.org"})
    ran = run("render", "--cluster", EAST, cwd=mesh.place)
    assert ran.code == 2
    assert "would refuse workloads that have the other one" in ran.err


@pytest.mark.parametrize("store", STORES)
def test_a_cluster_that_runs_is_not_renamed(
    store: str, workdir: Make, run: Run, tmp_path: Path
) -> None:
    """Its proxies keep the name; taken out and added again, it may have another."""
    mesh = mesh_of(store, workdir, run, tmp_path)
    place, name = mesh.place, "west-new"
    was = (place / "topology.yaml").read_text()
    if store == "sealed":
        shutil.copyfile(
            place / f"clusters/{WEST}.sealing.crt", place / f"clusters/{name}.sealing.crt"
        )
    place.topology({"contexts": {WEST: {"clusterName": name}}})
    ran = assert_refused(
        run,
        place,
        "identity-change",
        f"the cluster {WEST} would be renamed to {name} while it runs",
    )
    assert "2 peers would lose the remote secret" in ran.err
    wanted = (place / "topology.yaml").read_text()
    place.write("topology.yaml", was)
    (command,) = re.findall(r"1\. kubectl mesh (remove \S+);", ran.err)
    assert run(*command.split(), cwd=place).code == 0
    assert_accepted(run, place)
    place.write("topology.yaml", wanted)
    if mesh.tokens:
        place.token(name, "the-token-of-the-cluster")
    assert_accepted(run, place)


def test_the_steps_to_another_revision_lead_there(workdir: Make, run: Run, tmp_path: Path) -> None:
    """A canary, then its promotion."""
    mesh = mesh_of("plain", workdir, run, tmp_path)
    mesh.place.topology({"istio": {"canary": {"revision": "blue", "version": "1.30.3"}}})
    assert_accepted(run, mesh.place)
    mesh.place.topology({"istio": {"canary": None, "revision": "blue"}})
    assert_accepted(run, mesh.place)


OFF = {"contexts": {WEST: {"eastWestGateway": {"enabled": False}}}}
STATED = {"networks": {"network-west": {"gateways": [{"address": "203.0.113.9"}]}}}
GONE = "the gateway (context-west-1-)?istio-eastwestgateway of the network network-west would leave the tree of context-west-1 while context-east-1, context-east-2 reach"
GATES: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    **{f"{kind}-disabled": (base, {}, OFF | STATED, GONE) for kind, base in KINDS.items()},
    "kind": (ISTIO, {}, {"contexts": {WEST: {"eastWestGateway": {"kind": "Gateway"}}}}, GONE),
    "address": (
        ISTIO,
        OFF | STATED,
        {"networks": {"network-west": {"gateways": [{"address": "pending"}]}}},
        "the addresses of the network network-west would leave context-east-1, context-east-2",
    ),
}


@pytest.mark.parametrize("change", GATES)
def test_a_gateway_in_use_does_not_leave(
    change: str, workdir: Make, run: Run, tmp_path: Path
) -> None:
    """The other networks reach this one by it."""
    base, before, after, what = GATES[change]
    mesh = mesh_of("plain", workdir, run, tmp_path, before, base)
    mesh.place.topology(after)
    assert_refused(run, mesh.place, "tree-in-use", what)


def test_the_steps_to_another_gateway_lead_there(workdir: Make, run: Run, tmp_path: Path) -> None:
    """An address that is stated first takes over."""
    mesh = mesh_of("plain", workdir, run, tmp_path)
    mesh.place.topology(STATED)
    assert_accepted(run, mesh.place)
    mesh.place.topology(OFF)
    assert_accepted(run, mesh.place)


def test_one_of_two_gateways_may_leave(workdir: Make, run: Run, tmp_path: Path) -> None:
    """The network keeps the other one."""
    mesh = mesh_of("plain", workdir, run, tmp_path)
    mesh.place.topology({"contexts": {EAST: {"eastWestGateway": {"enabled": False}}}})
    assert_accepted(run, mesh.place)
    mesh.place.topology(
        {
            "contexts": {OTHER: None},
            "networks": {"network-east": {"gateways": [{"address": "203.0.113.9"}]}},
        }
    )
    assert_refused(
        run,
        mesh.place,
        "tree-in-use",
        "the gateway istio-eastwestgateway of the network network-east would leave the tree of context-east-2",
    )


def test_a_control_plane_that_serves_stays_exposed(workdir: Make, run: Run, tmp_path: Path) -> None:
    """A remote cluster that goes to another primary leaves proxies that ask the old one."""
    address = {"controlPlaneAddress": "203.0.113.5"}
    mesh = mesh_of(
        "plain",
        workdir,
        run,
        tmp_path,
        {"contexts": {EAST: address, WEST: address, OTHER: {"controlPlane": EAST}}},
    )
    mesh.place.topology({"contexts": {OTHER: {"controlPlane": WEST}}})
    assert_refused(
        run,
        mesh.place,
        "tree-in-use",
        "what exposes the istiod of context-east-1 would leave its tree while it serves context-east-2",
    )


ADDRESS = {"controlPlaneAddress": "203.0.113.5"}
SERVED: dict[str, Any] = {"contexts": {EAST: ADDRESS, OTHER: {"controlPlane": EAST}}}


@pytest.mark.parametrize("network", ["network-east", "third"])
@pytest.mark.parametrize("address", [ADDRESS, {}], ids=["stated", "pending"])
def test_a_cluster_does_not_lose_its_own_control_plane(
    network: str, address: dict[str, str], workdir: Make, run: Run, tmp_path: Path
) -> None:
    """Its istiod would leave while others send traffic there, whether or not the other istiod can be reached yet."""
    mesh = mesh_of("plain", workdir, run, tmp_path, {"contexts": {OTHER: {"network": network}}})
    mesh.place.topology({"contexts": {EAST: address, OTHER: {"controlPlane": EAST}}})
    what = "the control plane of context-east-2 would leave in the same change in which the istiod of context-east-1 takes over"
    if address:
        assert_refused(run, mesh.place, "identity-change", what)
        return
    before = snapshot(mesh.place.path)
    ran = run("render", cwd=mesh.place)
    assert (ran.code, snapshot(mesh.place.path)) == (2, before)
    assert what in ran.err


def test_the_steps_to_the_control_plane_of_another_cluster_lead_there(
    workdir: Make, run: Run, tmp_path: Path
) -> None:
    """Out of discovery, then served by the other one; and back by the steps that are printed then."""
    mesh = mesh_of("plain", workdir, run, tmp_path)
    place, was = mesh.place, (mesh.place / "topology.yaml").read_text()
    place.topology(SERVED)
    assert (
        "1. state `disableRegistryJoin: true` for context-east-2 and nothing else, render"
        in run("render", cwd=place).err
    )
    place.write("topology.yaml", was)
    place.topology({"contexts": {OTHER: {"disableRegistryJoin": True}}})
    assert_accepted(run, place)
    place.write("topology.yaml", was)
    place.topology(SERVED)
    assert_accepted(run, place)
    assert not list((place / f"out/{OTHER}").glob("1-trust/cacerts*"))
    place.write("topology.yaml", was)
    ran = assert_refused(
        run,
        place,
        "tree-in-use",
        "what exposes the istiod of context-east-1 would leave its tree while it serves context-east-2",
    )
    assert (
        "1. take context-east-2 out of the mesh (`kubectl mesh remove`), render, and apply it"
        in ran.err
    )
    place.topology({"contexts": {OTHER: None}})
    assert_accepted(run, place)
    place.write("topology.yaml", was)
    assert_accepted(run, place)


def aliases(*names: str) -> str:
    """A base.yaml with these aliases of the trust domain."""
    listed = (
        f", values: {{meshConfig: {{trustDomainAliases: [{', '.join(names)}]}}}}" if names else ""
    )
    return f"apiVersion: sailoperator.io/v1\nkind: Istio\nspec: {{version: v1.30.3{listed}}}\n"


def network_of(**stated: Any) -> dict[str, Any]:
    """What a topology states for the last cluster of the east."""
    return {"contexts": {OTHER: stated}}


SEQUENCES: dict[str, tuple[tuple[tuple[dict[str, Any], str], ...], str]] = {
    "trust-domain": (
        (
            ({}, aliases("acme.org")),
            ({"trustDomain": "acme.org"}, aliases("cluster.local", "acme.org")),
            ({}, aliases()),
        ),
        "the trust domain would change from cluster.local to acme.org",
    ),
    "network": (
        (
            (network_of(disableRegistryJoin=True), ISTIO),
            (network_of(network="third"), ISTIO),
            (network_of(disableRegistryJoin=None), ISTIO),
        ),
        "the network of context-east-2 would change from network-east to third",
    ),
    "revision": (
        (
            ({"istio": {"canary": {"revision": "blue", "version": "1.30.3"}}}, ISTIO),
            ({"istio": {"canary": None, "revision": "blue"}}, ISTIO),
        ),
        "the control plane of the revision default in .* would leave in the same change in which blue comes",
    ),
    "name": (
        (({"contexts": {OTHER: None}}, ISTIO), (network_of(clusterName="renamed"), ISTIO)),
        "the cluster context-east-2 would be renamed to renamed while it runs",
    ),
    "server": (
        (
            (network_of(disableRegistryJoin=True), ISTIO),
            (
                {
                    "contexts": {
                        EAST: ADDRESS,
                        OTHER: {"controlPlane": EAST, "disableRegistryJoin": None},
                    }
                },
                ISTIO,
            ),
        ),
        "the control plane of context-east-2 would leave in the same change in which the istiod of context-east-1 takes over",
    ),
}
"""Steps, each of which is accepted, and what they are where one commit has them all."""


def committed_mesh(make: Make, run: Run, scratch: Path) -> Mesh:
    """A mesh whose tree is in the last commit."""
    mesh = mesh_of("plain", make, run, scratch, {"secrets": {"store": "plain"}})
    git(mesh.place, "init", "-q")
    commit_tree(mesh)
    return mesh


def commit_tree(mesh: Mesh) -> None:
    """Commits what is rendered."""
    git(mesh.place, "add", "-A", "-f", "out")
    git(mesh.place, "commit", "-q", "--allow-empty", "-m", "a step")


def take_step(mesh: Mesh, topology: str, over: dict[str, Any], base: str) -> None:
    """Lays a step on the topology; a context that had left comes back as it was."""
    if isinstance(over.get("contexts"), dict) and "clusterName" in str(over):
        mesh.place.write("topology.yaml", topology)
        mesh.place.token("renamed", "another")
    mesh.place.topology(over)
    mesh.place.write("base.yaml", base)


@pytest.mark.parametrize("change", SEQUENCES)
def test_several_renders_are_not_one_commit(
    change: str, workdir: Make, run: Run, tmp_path: Path
) -> None:
    """What clusters run is the last commit, and no step between it and this render reached them."""
    steps, what = SEQUENCES[change]
    mesh = committed_mesh(workdir, run, tmp_path)
    place, topology = mesh.place, (mesh.place / "topology.yaml").read_text()
    refused = False
    for over, base in steps:
        take_step(mesh, topology, over, base)
        if run("render", "--dry-run", cwd=place).code == 0:
            mesh.quiet("render")
            assert "safe in no order" not in run("diff", "--against", "HEAD", cwd=place).out
            continue
        refused = True
        ran = assert_refused(
            run,
            place,
            "identity-change",
            f"{what}.*; the last commit does not hold what out holds",
            way_out=change != "name",
        )
        assert "1. commit what is in out, and have it applied in every cluster" in ran.err
        # Without the commit, the same renders would be accepted.
        (place / ".git").rename(place / "git")
        assert run("render", "--dry-run", cwd=place).code == 0
        (place / "git").rename(place / ".git")
        commit_tree(mesh)
        assert_accepted(run, place)
    assert refused


@pytest.mark.parametrize("change", SEQUENCES)
def test_a_commit_after_each_step_is_accepted(
    change: str, workdir: Make, run: Run, tmp_path: Path
) -> None:
    """Each step may reach the clusters."""
    mesh = committed_mesh(workdir, run, tmp_path)
    topology = (mesh.place / "topology.yaml").read_text()
    for over, base in SEQUENCES[change][0]:
        take_step(mesh, topology, over, base)
        assert_accepted(run, mesh.place)
        commit_tree(mesh)


@pytest.mark.parametrize("committed", [True, False])
def test_work_that_is_not_committed_yet_is_accepted(
    committed: bool, workdir: Make, run: Run, tmp_path: Path
) -> None:
    """Settings are tried out, one render after the other; the first renders of a mesh among them."""
    mesh = (
        committed_mesh(workdir, run, tmp_path)
        if committed
        else mesh_of("plain", workdir, run, tmp_path, {"secrets": {"store": "plain"}})
    )
    if not committed:
        git(mesh.place, "init", "-q")
    for over in (
        {"istio": {"version": "1.30.4"}},
        {"eastWestGateway": {"replicas": 4}},
        {"remoteSecrets": "bundle"},
        STATED,
        {"contexts": {WEST: {"disableRegistryJoin": True}}},
    ):
        mesh.place.topology(over)
        assert_accepted(run, mesh.place)


def test_a_tree_that_is_deleted_hides_nothing(workdir: Make, run: Run, tmp_path: Path) -> None:
    """The last commit still has it; a render of the same settings is accepted."""
    mesh = committed_mesh(workdir, run, tmp_path)
    shutil.rmtree(mesh.place / "out")
    assert run("render", "--dry-run", cwd=mesh.place).code == 0
    mesh.place.topology({"trustDomain": "acme.org"})
    ran = run("render", cwd=mesh.place)
    assert ran.code == 2
    assert (
        "fix: put back what the last commit holds, and render again: git checkout HEAD -- out/context-east-1 "
        in ran.err
    )
    assert WAY_OUT_PREFIX not in ran.err


DOUBT = "so it cannot be known whether clusters that run the last commit survive this render"


@pytest.mark.parametrize("partial", [True, False])
@pytest.mark.parametrize("lost", ["HEAD:out", f"HEAD:out/{EAST}", f"HEAD:out/{EAST}/mesh.lock"])
def test_where_git_does_not_answer_a_render_is_not_refused(
    lost: str, partial: bool, workdir: Make, run: Run, tmp_path: Path
) -> None:
    """A repository that lacks objects: a warning says what cannot be known, and how to find out."""
    mesh = committed_mesh(workdir, run, tmp_path)
    mesh.place.topology({"eastWestGateway": {"replicas": 4}})
    mesh.quiet("render")
    mesh.place.topology({"eastWestGateway": {"replicas": 5}})
    name = git(mesh.place, "rev-parse", lost).strip()
    (mesh.place / ".git/objects" / name[:2] / name[2:]).unlink()
    if partial:
        git(mesh.place, "config", "remote.origin.url", "https://git.example/mesh.git")
        git(mesh.place, "config", "remote.origin.promisor", "true")
        git(mesh.place, "config", "extensions.partialClone", "origin")
    for words in (("diff",), ("describe",), ("check",), ("render",)):
        ran = run(*words, cwd=mesh.place)
        assert (ran.err + ran.out).count(DOUBT) == 1, words
        assert "error" not in ran.err, words
    assert ran.code == 0
    # Where nothing changes, nothing is asked.
    assert DOUBT not in run("render", cwd=mesh.place).err


def test_a_repository_without_a_commit_leaves_no_doubt(
    workdir: Make, run: Run, tmp_path: Path
) -> None:
    """What was never committed, no tool applied from a commit; a repository that does not answer at all is another thing."""
    mesh = mesh_of("plain", workdir, run, tmp_path, {"secrets": {"store": "plain"}})
    git(mesh.place, "init", "-q")
    mesh.place.topology({"eastWestGateway": {"replicas": 4}})
    assert DOUBT not in run("diff", cwd=mesh.place).err
    (mesh.place / ".git/HEAD").write_text("nonsense\n")
    assert DOUBT in run("diff", cwd=mesh.place).err


ORDINARY: dict[str, dict[str, Any]] = {
    "cluster-removed": {"contexts": {WEST: None}},
    "peers-narrowed": {"contexts": {EAST: {"peers": [OTHER]}}},
    "out-of-discovery": {"contexts": {WEST: {"disableRegistryJoin": True}}},
    "bundled": {"remoteSecrets": "bundle"},
    "mesh-renamed": {"mesh_id": "another"},
    "version": {"istio": {"version": "1.30.4"}},
    "gateway-port": {"contexts": {WEST: {"eastWestGateway": {"port": 15999}}}},
    "gateway-replicas": {"eastWestGateway": {"replicas": 4}},
    "gateway-declared": STATED,
    "delivery": {
        "delivery": {"tool": "flux", "repoURL": "https://git.example/mesh.git", "revision": "main"}
    },
    "alerts": {"alerts": {"prometheusRule": True}},
    "server": {"contexts": {WEST: {"server": "https://203.0.113.99:6443"}}},
    "canary": {"istio": {"canary": {"revision": "blue", "version": "1.30.4"}}},
}


@pytest.mark.parametrize("change", ORDINARY)
def test_ordinary_changes_are_accepted(
    change: str, workdir: Make, run: Run, tmp_path: Path
) -> None:
    """What clusters survive, or what the topology asks for, is not refused by anybody."""
    mesh = mesh_of("plain", workdir, run, tmp_path)
    mesh.place.topology(ORDINARY[change])
    assert found_problems(run, mesh.place)["diff"] == []
    ran = mesh.quiet("render")
    assert "error" not in ran.err


def test_a_cluster_that_comes_is_accepted(workdir: Make, run: Run, tmp_path: Path) -> None:
    """On a network of its own, which gives the others their first gateways."""
    mesh = mesh_of("plain", workdir, run, tmp_path)
    whole = (mesh.place / "topology.yaml").read_text()
    mesh.place.topology({"contexts": {WEST: None}})
    shutil.rmtree(mesh.place / "out")
    mesh.quiet("render")
    mesh.place.write("topology.yaml", whole)
    assert_accepted(run, mesh.place)


def test_two_roots_where_1_25_1_hands_out_one(workdir: Make, run: Run, tmp_path: Path) -> None:
    """`diff` asks what `render` and `check` ask; no tree makes it safe, so no way out is named."""
    mesh = mesh_of("plain", workdir, run, tmp_path, base=ISTIO.replace("1.31.3", "1.25.1"))
    mesh.root("spare")
    bundle = (mesh.place / "certs/root-cert.pem").read_bytes() + (
        tmp_path / "spare/certs/root-cert.pem"
    ).read_bytes()
    for path in [
        mesh.place / "certs/root-cert.pem",
        *mesh.place.path.glob("certs/intermediate-*/root-cert.pem"),
    ]:
        path.write_bytes(bundle)
    ran = run("render", cwd=mesh.place)
    assert ran.code == 2
    assert "1.25.1 gives the proxies one root of a bundle only" in ran.err
    for command, problems in found_problems(run, mesh.place).items():
        assert len([p for p in problems if p["id"] == "istio-version"]) == 3, command
    assert "may apply this in any order" not in run("diff", cwd=mesh.place).out
    assert WAY_OUT_PREFIX not in ran.err


@pytest.mark.parametrize("kind", KINDS)
def test_a_base_that_is_missing_is_all_that_is_said(
    kind: str, workdir: Make, run: Run, tmp_path: Path
) -> None:
    """Every command names the missing file, and none advises what destroys; what could destroy is refused."""
    mesh = mesh_of("plain", workdir, run, tmp_path, base=KINDS[kind])
    place = mesh.place
    (place / "base.yaml").unlink()
    before = snapshot(place.path)
    what = f"base.yaml: is missing, and out was rendered with one of kind {kind}; without it every control plane would be Istio 1.4"
    for words in (
        ["render"],
        ["render", "--check"],
        ["render", "--dry-run"],
        ["diff"],
        ["describe"],
        ["certs", "renew", "--all"],
        ["tokens", "status"],
    ):
        ran = run(*words, cwd=place)
        assert ran.code == 2, words
        assert what in ran.err, words
        assert ran.err.count("error: ") == 1, ran.err
        assert "certs renew" not in ran.err
    checked = run("check", "-o", "json", cwd=place)
    assert checked.code == 1
    (failed,) = checks_with_errors(json.loads(checked.out)["checks"])
    assert (failed["id"], [f"{f['file']}: {f['what']}" for f in failed["findings"]]) == (
        "base-valid",
        [what],
    )
    assert "certs renew" not in run("check", cwd=place).out
    assert snapshot(place.path) == before
    ways = run("render", cwd=place).err
    (command,) = re.findall(
        r"if no cluster runs this tree yet: kubectl mesh (render( --unapplied \S+)+)", ways
    )
    assert run(*command[0].split(), "--dry-run", cwd=place).code == 0


REFUSED: dict[str, Callable[[Mesh], None]] = {
    "tree-in-use": lambda m: m.place.topology(READERS["account"]),
    "identity-change": lambda m: m.place.topology({"trustDomain": "acme.org"}),
    "root-exchange": lambda m: shutil.rmtree(m.place / "certs"),
    "tree-withdrawn": lambda m: (m.place / f"credentials/{EAST}.token").unlink(),
    "base-valid": lambda m: (m.place / "base.yaml").unlink(),
    "token-order": lambda m: (
        m.place.topology({"contexts": {EAST: {"tokens": {"generation": 2}}}}),
        m.place.write(f"credentials/{EAST}.token.g2", "the-next-token", 0o600),
    )[0],
}


@pytest.mark.parametrize("check", REFUSED)
def test_the_way_out_for_a_tree_that_no_cluster_runs(
    check: str, workdir: Make, run: Run, tmp_path: Path
) -> None:
    """Each refusal prints it, and it lifts that refusal; once committed, it has to be confirmed by name, cluster by cluster."""
    mesh = mesh_of("plain", workdir, run, tmp_path, {"secrets": {"store": "plain"}})
    place = mesh.place
    git(place, "init", "-q")
    REFUSED[check](mesh)
    ran = run("render", cwd=place)
    assert ran.code == 2
    (command, *_) = re.findall(
        r"if no cluster runs this tree yet: kubectl mesh (render(?: --unapplied \S+)+)", ran.err
    )
    words = command.split()
    assert run(*words, "--dry-run", cwd=place).code == 0
    git(place, "add", "-A", "out")
    assert run(*words, "--dry-run", cwd=place).code == 0  # not committed yet
    git(place, "commit", "-qm", "a mesh")
    held = run(*words, "--dry-run", cwd=place)
    assert held.code == 2
    named = [w for w in words[1:] if w != "--unapplied"]
    for name in named:
        assert (
            f"--unapplied: the last commit holds out/{name}"
            in " ".join(held.err.split("\n  ")).replace("error: ", "")
            or name in held.err
        )
        assert f"add --confirm-unapplied {name}" in held.err
    for missing in named[1:]:
        sure = [w for name in named if name != missing for w in ("--confirm-unapplied", name)]
        some = run(*words, *sure, "--dry-run", cwd=place)
        assert some.code == 2
        assert f"add --confirm-unapplied {missing}" in some.err
        assert f"add --confirm-unapplied {named[0]}" not in some.err
    sure = [w for name in named for w in ("--confirm-unapplied", name)]
    done = run(*words, *sure, cwd=place)
    assert done.code == 0, done.err
    assert "unapplied" not in (place / "topology.yaml").read_text()


def test_an_option_without_effect_is_refused(workdir: Make, run: Run, tmp_path: Path) -> None:
    """It would stay in a script, and lift what nobody thought of."""
    mesh = mesh_of("plain", workdir, run, tmp_path)
    place = mesh.place

    def says(*words: str) -> str:
        ran = run("render", *words, cwd=place)
        assert ran.code == 2, words
        return ran.err

    assert (
        "--unapplied: has no effect: a render is not refused because of 1 tree (context-east-1)"
        in says("--unapplied", EAST)
    )
    assert "--confirm-unapplied: confirms nothing: --unapplied context-east-1 is missing" in says(
        "--confirm-unapplied", EAST
    )
    assert "the last commit does not hold out/context-east-1" in says(
        "--unapplied", EAST, "--confirm-unapplied", EAST
    )
    assert 'no cluster "nobody" in the topology or in out' in says("--unapplied", "nobody")
    shutil.rmtree(place / "out" / EAST)
    assert "out/context-east-1 does not exist, so nothing has to count as not applied" in says(
        "--unapplied", EAST
    )


def test_contexts_and_clusters_that_left_are_names_too(
    workdir: Make, run: Run, tmp_path: Path
) -> None:
    """A cluster is named by its context, or by its name, though the topology no longer has it; the others stay guarded."""
    mesh = mesh_of("plain", workdir, run, tmp_path, {"contexts": {WEST: {"clusterName": "w"}}})
    place = mesh.place
    place.token("w")
    mesh.quiet("render")
    place.topology({"contexts": {WEST: {"clusterName": "x"}}})
    place.token("x")
    assert run("render", "--unapplied", "w", "--dry-run", cwd=place).code == 0
    assert run("render", "--unapplied", WEST, "--dry-run", cwd=place).code == 0
    assert run("render", "--unapplied", "x", "--dry-run", cwd=place).code == 2  # which has no tree
    place.topology({"contexts": {WEST: {"clusterName": "w"}}, "trustDomain": "acme.org"})
    assert run("render", "--unapplied", WEST, cwd=place).code == 2
    assert (
        run("render", *[w for name in CLUSTERS for w in ("--unapplied", name)], cwd=place).code == 0
    )


def test_where_git_cannot_be_asked_everything_counts_as_committed(
    workdir: Make, run: Run, tmp_path: Path
) -> None:
    """Nobody knows then what others may have applied."""
    mesh = mesh_of("plain", workdir, run, tmp_path, {"secrets": {"store": "plain"}})
    git(mesh.place, "init", "-q")
    mesh.place.write(".gitignore", "*\n")
    mesh.place.topology({"trustDomain": "acme.org"})
    words = [w for name in CLUSTERS for w in ("--unapplied", name)]
    assert run("render", *words, "--dry-run", cwd=mesh.place).code == 0
    (mesh.place / ".git/HEAD").write_text("nonsense\n")
    ran = run("render", *words, "--dry-run", cwd=mesh.place)
    assert ran.code == 2


@pytest.mark.parametrize("store", ["plain", "sealed"])
def test_a_token_does_not_go_while_peers_are_left_as_they_are(
    store: str, workdir: Make, run: Run, tmp_path: Path
) -> None:
    """A render of one cluster alone: the peers may use the old token still, unless their remote secrets show another one."""
    mesh = mesh_of(store, workdir, run, tmp_path)
    place = mesh.place
    for step in ("begin", "advance"):
        mesh.quiet("tokens", "rotate", EAST, step)
        if step == "begin":
            place.write(f"credentials/{EAST}.token.g2", f"{EAST}/second", 0o600)
        before = (place / "topology.yaml").read_text()
        mesh.quiet("render")
    done = yaml.safe_load(before)
    done["contexts"][EAST]["tokens"] = {"generation": 2}
    place.write("topology.yaml", yaml.safe_dump(done, sort_keys=False))
    shutil.copytree(place / "out", tmp_path / "moved")
    mesh.quiet("render", "--cluster", EAST)
    # As it was before the peers moved.
    shutil.rmtree(place / "out")
    shutil.copytree(tmp_path / "moved", place / "out")
    back = yaml.safe_load(before)
    back["contexts"][EAST]["tokens"] = {"generation": 1, "beside": 2}
    place.write("topology.yaml", yaml.safe_dump(back, sort_keys=False))
    mesh.quiet("render")
    place.write("topology.yaml", yaml.safe_dump(done, sort_keys=False))
    ran = run("render", "--cluster", EAST, cwd=place)
    assert ran.code == 2
    assert (
        f"its Secret {SECRET} would go, and context-east-2, context-west-1 may still log in by it"
        in ran.err
    )
