"""The model of calls: what a change of a rendered mesh means, asked as a function.

The mesh has three clusters: `a` and `b` on the network net-0, `c` on net-1. Each case changes bytes of the tree, and says what is decided.
"""

import base64
import json
from collections.abc import Callable

import pytest

from kubectl_mesh import cli
from kubectl_mesh.connectivity.changes import Decision, decide_change
from kubectl_mesh.connectivity.mixtures import StatePair
from kubectl_mesh.connectivity.requirements import REQUIREMENTS
from kubectl_mesh.connectivity.state import FactReader
from kubectl_mesh.observed.lazy_state import open_trees
from kubectl_mesh.observed.tree_sources import read_tree
from tests.conftest import WorkDir
from tests.support import broken

Tree = dict[str, dict[str, bytes | None]]
READER = "istio-reader-service-account"
SECRET = f"{READER}-istio-remote-secret-token"
TOKEN = "3-mesh/reader-token.yaml"
ISTIO = "2-control-plane/istio.yaml"
GATEWAY = "3-mesh/eastwest-service.yaml"


def _token(name: str, secret: str = SECRET) -> str:
    """A token as Kubernetes makes it for a Secret; nobody signed it."""
    claims = {
        "sub": f"system:serviceaccount:istio-system:{READER}",
        "kubernetes.io/serviceaccount/secret.name": secret,
        "made-for": name,
    }
    parts = [
        base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in ({}, claims)
    ]
    return ".".join((*parts, "test"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """What is rendered of the mesh."""
    mesh = WorkDir(tmp_path_factory.mktemp("calls") / "mesh")
    mesh.path.mkdir()
    broken.make(mesh, names=("a", "b", "c"))
    for name in ("a", "b", "c"):
        mesh.token(name, _token(name))
    assert cli.run_command(["render", "-C", str(mesh.path)]) == 0
    return read_tree(str(mesh.path / "out"))


def edit(tree: Tree, name: str, path: str, *replacements: tuple[str, str]) -> None:
    """Replaces text in a manifest; each text has to be there. The lock is marked as another one."""
    body = tree[name][path]
    assert body is not None
    text = body.decode()
    for old, new in replacements:
        assert old in text, f"{old!r} is not in {name}/{path}"
        text = text.replace(old, new)
    tree[name][path] = text.encode()
    relock(tree, name)


def relock(tree: Tree, name: str, **facts: object) -> None:
    """Gives a cluster another lock, in which these facts are stated."""
    lock = json.loads(tree[name]["mesh.lock"] or b"")
    lock["madeFrom"].update(facts)
    tree[name]["mesh.lock"] = (json.dumps(lock) + " ").encode()


def drop(tree: Tree, name: str, path: str) -> None:
    """A file leaves the tree."""
    del tree[name][path]
    relock(tree, name)


def decide(old: Tree, new: Tree) -> Decision:
    """The decision of the model; every cluster is meant to reach every other one."""
    states = (FactReader(state) for state in open_trees(old, new))
    return decide_change(StatePair(*states), lambda caller, callee: True)


def _other_root(tree: Tree) -> None:
    for name in ("a", "b", "c"):
        relock(tree, name, roots=["f" * 64])


def _two_roots(tree: Tree) -> None:
    for name in ("a", "b", "c"):
        old = json.loads(tree[name]["mesh.lock"] or b"")["madeFrom"]
        relock(tree, name, roots=[*old["roots"], "f" * 64], signer=old["roots"][0])


def _unlabelled_secret(tree: Tree) -> None:
    edit(tree, "a", "3-mesh/remote-secrets/b.yaml", ('istio/multiCluster: "true"', 'other: "true"'))


Case = tuple[Callable[[Tree], object], str, str, str]
CASES: dict[str, Case] = {
    "another setting": (
        lambda t: edit(t, "a", ISTIO, ("spec:", "spec:\n  updateStrategy: {type: InPlace}")),
        "proved",
        "",
        "",
    ),
    "the token leaves": (lambda t: drop(t, "b", TOKEN), "unknown", "discovery", "login-unknown"),
    "another token Secret": (
        lambda t: edit(t, "b", TOKEN, (SECRET, f"{SECRET}-g2")),
        "losses",
        "discovery",
        "token-left",
    ),
    "a remote secret leaves": (
        lambda t: drop(t, "a", "3-mesh/remote-secrets/b.yaml"),
        "losses",
        "discovery",
        "no-remote-secret",
    ),
    "a remote secret without its label": (
        _unlabelled_secret,
        "losses",
        "discovery",
        "remote-secret-not-labelled",
    ),
    "the gateway leaves": (lambda t: drop(t, "c", GATEWAY), "losses", "endpoints", "no-gateway"),
    "the gateway of one of two clusters leaves": (
        lambda t: drop(t, "a", GATEWAY),
        "proved",
        "",
        "",
    ),
    "the gateway has no address": (
        lambda t: edit(t, "c", GATEWAY, ("type: LoadBalancer", "type: NodePort")),
        "unknown",
        "endpoints",
        "gateway-address-unknown",
    ),
    "nothing lets traffic in": (
        lambda t: drop(t, "c", "3-mesh/cross-network-gateway.yaml"),
        "losses",
        "endpoints",
        "no-gateway",
    ),
    "another trust domain": (
        lambda t: edit(t, "a", ISTIO, ("accessLogFile: /dev/stdout", "trustDomain: acme.example")),
        "losses",
        "identity",
        "trust-domain",
    ),
    "another root": (_other_root, "losses", "trust", "root-not-trusted"),
    "one more root": (_two_roots, "proved", "", ""),
    "another revision": (
        lambda t: edit(t, "a", ISTIO, ("  name: default", "  name: blue")),
        "losses",
        "control-plane",
        "revision-gone",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_change_is_decided(tree: Tree, name: str) -> None:
    """Each requirement, broken on purpose, is seen, with the clusters that the counterexample needs."""
    change, kind, requirement, code = CASES[name]
    new = {directory: dict(files) for directory, files in tree.items()}
    change(new)
    found = decide(tree, new)
    if kind == "proved":
        assert found.is_any_order_proved, found
        return
    examples = getattr(found, kind)
    assert examples, found
    assert {e.requirement for e in examples} == {requirement}
    assert {e.fault.code for e in examples} == {code}
    assert bool(examples[0].fault.command) == (kind == "unknown")
    back = decide(new, tree)
    assert not back.losses or kind == "losses", "the way back is worse than the change"


def test_each_requirement_is_broken_by_a_case() -> None:
    """No requirement is without a case but that of the data plane, which another test breaks."""
    assert {case[2] for case in CASES.values()} | {"data-plane"} == {
        "",
        *(r.id for r in REQUIREMENTS),
    }


def test_nothing_changes(tree: Tree) -> None:
    """The same tree twice is decided without a search."""
    assert decide(tree, tree) == Decision()


def test_data_planes_on_two_networks(tree: Tree) -> None:
    """A cluster that becomes ambient loses the sidecars of other networks, not those of its own."""
    new = {directory: dict(files) for directory, files in tree.items()}
    edit(new, "a", ISTIO, ("  values:", "  values:\n    profile: ambient"))
    pairs = {
        (e.caller, e.callee) for e in decide(tree, new).losses if e.requirement == "data-plane"
    }
    assert pairs == {("a", "c"), ("c", "a")}


def test_an_address_takes_the_place_of_a_label(tree: Tree) -> None:
    """Who has the address goes first, then the cluster whose gateway loses its label."""
    new = {directory: dict(files) for directory, files in tree.items()}
    network = "topology.istio.io/network: net-1"
    edit(new, "c", GATEWAY, (network, "other: net-1"))
    stated = (
        "    global:\n      meshNetworks: {net-1: {gateways: [{address: 192.0.2.1, port: 15443}]}}"
    )
    for name in ("a", "b"):
        edit(new, name, ISTIO, ("    global:", stated))
    found = decide(tree, new)
    assert not found.losses
    assert not found.unknown
    assert {(rule.first, rule.then) for rule in found.order} == {("a", "c"), ("b", "c")}


def test_an_unknown_hides_no_loss(tree: Tree) -> None:
    """While b alone has applied, the login of a is unknown; once a has too, it has none: that is a loss."""
    new = {directory: dict(files) for directory, files in tree.items()}
    drop(new, "b", TOKEN)
    drop(new, "a", "3-mesh/remote-secrets/b.yaml")
    found = decide(tree, new)
    assert {e.fault.code for e in found.losses} == {"no-remote-secret"}
    assert {e.fault.code for e in found.unknown} == {"login-unknown"}


def test_a_loss_that_the_topology_asks_for(tree: Tree) -> None:
    """A peer that a cluster is not to reach any more is no loss."""
    new = {directory: dict(files) for directory, files in tree.items()}
    drop(new, "a", "3-mesh/remote-secrets/b.yaml")
    states = StatePair(*(FactReader(state) for state in open_trees(tree, new)))
    found = decide_change(states, lambda caller, callee: (caller, callee) != ("a", "b"))
    assert found.is_any_order_proved
