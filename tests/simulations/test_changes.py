"""No change that `render` accepts takes away what another cluster uses: by some seeds; and what is taken away on purpose is seen. `CHANGES_SEEDS=1000` looks further."""

import copy
import json
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.uses import Identity, Mixture, Object, Stage, one_group
from tools.changes import (
    CHANGES,
    NETWORKS,
    LostError,
    Mesh,
    Step,
    base_of,
    figures_text,
    list_steps,
    run_seed,
    secrets_of,
)

SEEDS = int(os.environ.get("CHANGES_SEEDS", "12"))
EACH = 7
"""The changes of a mesh."""
USES = (
    "remote secret",
    "token Secret",
    "account",
    "role",
    "root",
    "trust domain",
    "network label",
    "gateway by label",
    "address",
    "primary",
    "place in a store",
    "edge",
)


@pytest.mark.slow
def test_no_accepted_change_takes_away_what_is_used(
    record_property: Callable[[str, object], None],
) -> None:
    """Every mixture of the old tree and the new one holds, in the order that was printed. At least 60 % of the changes are accepted."""
    runs = [run_seed(seed, EACH) for seed in range(SEEDS)]
    for kind in CHANGES:
        # Where chance had no mesh for a kind of change, the next seeds have one.
        for seed in range(SEEDS, SEEDS + 40):
            if any(kind in step.kinds for step in list_steps(runs)):
                break
            runs.append(run_seed(seed, 1, kind))
    print(figures_text(runs))
    record_property("printed", f"changes: {figures_text(runs)}")
    assert not [run.lost for run in runs if run.lost], "\n\n".join(
        run.lost for run in runs if run.lost
    )
    steps = list_steps(runs)
    assert sum(step.accepted for step in steps) >= 0.6 * len(steps), figures_text(runs)
    assert {kind for step in steps for kind in step.kinds} >= CHANGES.keys()
    seen = sum((run.seen for run in runs), Counter[str]())
    assert not [use for use in USES if seen[use] < SEEDS], seen
    assert {run.kind for run in runs} == {
        "Istio",
        "HelmRelease",
        "Application",
        "IstioOperator",
        "IstioControlPlane",
    }
    assert {run.store for run in runs} == {"plain", "sops", "sealed", "external"}
    assert sum(run.ordered for run in runs) > 0
    assert all(step.why.startswith("error: ") for step in steps if not step.accepted)


def test_the_same_seed_gives_the_same_story() -> None:
    """What fails can be looked at again."""
    first, second = (
        [(s.kinds, s.said, s.accepted) for s in run_seed(3, 4).steps] for _ in range(2)
    )
    assert first == second
    assert len(first) >= 4


# What is taken away on purpose


def start_mesh(
    folder: Path, over: "dict[str, Any] | None" = None, **entries: dict[str, Any]
) -> Mesh:
    """A mesh of `ash` in the north and `bay` in the south that runs; `over` is laid over the topology, `entries` over its contexts, or add some."""
    mesh = Mesh(0, folder / "mesh")
    mesh.topology = {
        "mesh_id": "acme",
        "organization": "Acme",
        "certificates": {"keyType": "ec-p256"},
        "contexts": {},
        **(over or {}),
    }
    for number, name in enumerate(dict.fromkeys(("ash", "bay", *entries))):
        mesh.contexts[name] = {
            "network": NETWORKS[number],
            "server": f"https://203.0.113.{number + 11}:6443",
            **entries.get(name, {}),
        }
        mesh.address(name)
    mesh.base = base_of("Istio", "1.30.5")
    mesh.start()
    return mesh


def spoilt_problems(
    mesh: Mesh, spoil: Callable[[dict[str, Stage]], None], groups: "list[set[str]] | None" = None
) -> str:
    """What is seen once something of the tree is other than it was."""
    tree = {
        name: tuple(copy.deepcopy(stage) for stage in stages) for name, stages in mesh.tree.items()
    }
    everything: dict[str, Stage] = {
        name: {k: t for stage in stages for k, t in stage.items()} for name, stages in tree.items()
    }
    spoil(everything)
    spoilt = {
        name: tuple(
            {k: everything[name][k] for k in stage if k in everything[name]} for stage in stages
        )
        for name, stages in tree.items()
    }
    both = (mesh.wanted, mesh.wanted)
    return "\n".join(
        Mixture(mesh.world, (mesh.tree, spoilt), both, (mesh.opened, mesh.opened)).problems(
            groups or one_group(both)
        )
    )


SPACE = "istio-system"
GATE: Identity = ("Service", SPACE, "istio-eastwestgateway")
ROLE = "istio-reader-istio-system-mesh-reader"
READER = {"serviceAccountReader": "mesh-reader"}


def remove_object(
    name: str, kind: str, thing: str, place: str = SPACE
) -> Callable[[dict[str, Stage]], None]:
    """Takes an object of a cluster away."""

    def spoil(tree: dict[str, Stage]) -> None:
        del tree[name][kind, place, thing]

    return spoil


def change_object(
    name: str, key: Identity, change: Callable[[Object], object]
) -> Callable[[dict[str, Stage]], None]:
    """Changes an object of a cluster."""
    return lambda tree: change(tree[name][key])


def move_port(thing: Object) -> None:
    thing["spec"]["ports"][1]["port"] = 9443


SPOILT: dict[str, tuple[dict[str, dict[str, Any]], Callable[[dict[str, Stage]], None], str]] = {
    "token Secret": (
        {},
        remove_object("bay", "Secret", "istio-reader-service-account-istio-remote-secret-token"),
        "ash reads bay with the token of the Secret",
    ),
    "token Secret of an own reader": (
        {"bay": READER},
        remove_object("bay", "Secret", "mesh-reader-istio-remote-secret-token"),
        "ash reads bay with the token of",
    ),
    "account": (
        {"bay": READER},
        remove_object("bay", "ServiceAccount", "mesh-reader"),
        "ash reads bay as the account istio-system/mesh-reader, which is not there",
    ),
    "role": (
        {"bay": READER},
        remove_object("bay", "ClusterRole", ROLE, ""),
        "mesh-reader, which has no role",
    ),
    "role binding": (
        {"bay": READER},
        remove_object("bay", "ClusterRoleBinding", ROLE, ""),
        "mesh-reader, which has no role",
    ),
    "remote secret": (
        {},
        remove_object("ash", "Secret", "istio-remote-secret-bay"),
        "ash has no remote secret for bay at stage 3",
    ),
    "gateway": (
        {},
        remove_object("bay", *GATE[::2]),
        "ash finds no tls gateway of the network south, by which it reaches bay",
    ),
    "pods of the gateway": (
        {},
        remove_object("bay", "Deployment", GATE[2]),
        "ash finds no tls gateway of the network south",
    ),
    "what the gateway lets in": (
        {},
        remove_object("bay", "Gateway.networking.istio.io", "cross-network-gateway"),
        "ash finds no tls gateway of the network south",
    ),
    "label of the gateway": (
        {},
        change_object(
            "bay", GATE, lambda t: t["metadata"]["labels"].pop("topology.istio.io/network")
        ),
        "ash finds no tls gateway of the network south",
    ),
    "type of the gateway": (
        {},
        change_object("bay", GATE, lambda t: t["spec"].update(type="ClusterIP")),
        "ash finds no tls gateway of the network south",
    ),
    "declared gateway": (
        {"bay": {"gateways": [{"address": "192.0.2.20"}]}},
        remove_object("bay", *GATE[::2]),
        "ash reaches bay by the address 192.0.2.20, whose gateway of bay",
    ),
    "declared port": (
        {"bay": {"gateways": [{"address": "192.0.2.20"}]}},
        change_object("bay", GATE, move_port),
        "ash reaches bay by the port 15443 of 192.0.2.20",
    ),
    "network label": (
        {},
        change_object(
            "bay",
            ("Namespace", "", SPACE),
            lambda t: t["metadata"]["labels"].update({"topology.istio.io/network": "west"}),
        ),
        "bay says several networks",
    ),
    "control plane of a remote": (
        {"ash": {"controlPlaneAddress": "192.0.2.10"}, "bay": {"controlPlane": "ash"}},
        remove_object("ash", "VirtualService", "istiod-vs"),
        "is served by ash, whose gateway does not lead to istiod",
    ),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_is_taken_away_is_seen(tmp_path: Path, what: str) -> None:
    """And a tree that nobody spoilt has nothing to be seen."""
    entries, spoil, says = SPOILT[what]
    mesh = start_mesh(tmp_path, **entries)
    assert spoilt_problems(mesh, lambda tree: None) == ""
    assert says in spoilt_problems(mesh, spoil)


@pytest.mark.parametrize("store", ["plain", "sops", "sealed", "external"])
def test_logins_are_read_in_every_store(tmp_path: Path, store: str) -> None:
    """The token in a remote secret is the one of a Secret; without that Secret it is void."""
    mesh = start_mesh(tmp_path, {"secrets": secrets_of(store)})
    assert spoilt_problems(mesh, lambda tree: None) == ""
    assert "which is not there" in spoilt_problems(mesh, SPOILT["token Secret"][1])
    assert mesh.world.seen["place in a store" if store == "external" else "token Secret"] > 0


def test_another_root_is_seen(tmp_path: Path) -> None:
    """One that signs, and one that is trusted."""
    mesh, foreign = (start_mesh(tmp_path / name) for name in ("one", "two"))
    key: Identity = ("Secret", SPACE, "cacerts")

    def spoil(tree: dict[str, Stage]) -> None:
        tree["ash"][key] = foreign.tree["ash"][0][key]

    said = spoilt_problems(mesh, spoil)
    assert "bay does not trust the root" in said
    assert "ash does not trust the root" in said


def test_another_trust_domain_is_seen(tmp_path: Path) -> None:
    """Unless those who meet it have it among their aliases."""
    mesh = start_mesh(tmp_path)
    key: Identity = ("Istio", "", "default")

    def spoil(tree: dict[str, Stage]) -> None:
        tree["ash"][key]["spec"]["values"]["meshConfig"]["trustDomain"] = "acme.example"

    assert "bay does not accept the trust domain acme.example of ash" in spoilt_problems(
        mesh, spoil
    )


# The order, and the refusals


def test_the_order_matters(tmp_path: Path) -> None:
    """Where one is printed, the clusters that take it the other way round lose something; those that follow it do not."""
    mesh = start_mesh(tmp_path)
    tree, wanted, store = mesh.tree, mesh.wanted, mesh.opened
    mesh.contexts["bay"]["gateways"] = [{"address": mesh.address("bay")}]
    mesh.save()
    _, out, _ = mesh.call("diff", "-o", "json")
    steps = json.loads(out)["order"]["steps"]
    assert steps == [["ash"], ["bay"]]
    assert mesh.call("render")[0] == 0
    mesh.follow(("declared",), [set(step) for step in steps])
    mixture = Mixture(mesh.world, (tree, mesh.tree), (wanted, mesh.wanted), (store, mesh.opened))
    assert mixture.problems([{"ash"}, {"bay"}]) == []
    assert "ash finds no tls gateway" in "\n".join(mixture.problems([{"bay"}, {"ash"}]))
    assert mixture.problems(one_group((wanted, mesh.wanted)))


def test_a_cluster_leaves_while_a_token_of_another_goes(tmp_path: Path) -> None:
    """Both in one render, which says what it does, or why not."""
    mesh = start_mesh(tmp_path, None, elm={})
    for said in ("$ tokens rotate ash begin", "$ tokens rotate ash advance"):
        step = mesh.change(("rotate tokens",), lambda said=said: said)  # type: ignore[misc]
        assert step is not None
        assert step.accepted, step.why

    def doing() -> str:
        mesh.contexts["ash"]["tokens"] = {"generation": 2}
        del mesh.contexts["elm"]
        return "elm leaves, and the first token of ash"

    step = mesh.change(("remove a cluster", "drop a generation by hand"), doing)
    assert step is not None
    assert step.accepted, step.why


REFUSED = (
    "another reader",
    "shared or own readers",
    "another network",
    "one network",
    "another trust domain",
    "another namespace",
    "rename a cluster",
    "another data plane",
    "another kind of gateway",
    "log in by a command",
    "a root by hand",
)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_would_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A render refuses it; and were it to accept it, this test would see the loss."""

    def change(mesh: Mesh) -> "Step | None":
        return mesh.change((kind,), lambda: CHANGES[kind][1](mesh, random.Random("a")))

    step = change(start_mesh(tmp_path / "one"))
    assert step is not None
    assert not step.accepted
    accept_everything(monkeypatch)
    with pytest.raises(LostError):
        change(start_mesh(tmp_path / "two"))


NORTH, SOUTH = ({"gateways": [{"address": address}]} for address in ("192.0.2.10", "192.0.2.20"))


def set_port(mesh: Mesh) -> None:
    mesh.topology["eastWestGateway"] = {"port": 8443}


def set_type(mesh: Mesh) -> None:
    mesh.topology["eastWestGateway"] = {"serviceType": "NodePort"}


def set_both(mesh: Mesh) -> None:
    mesh.contexts["ash"].update(NORTH)
    mesh.contexts["bay"].update(SOUTH)


def set_none(mesh: Mesh) -> None:
    for name in ("ash", "bay"):
        del mesh.contexts[name]["gateways"]


@pytest.mark.parametrize(
    ("stated", "change", "says"),
    [
        ({"ash": NORTH, "bay": SOUTH}, set_port, "would get another port or type of Service while"),
        ({"ash": NORTH, "bay": SOUTH}, set_type, "would get another port or type of Service while"),
        (
            {},
            set_both,
            "whether istiod finds gateways by label or by stated addresses would change for the networks north, south at once",
        ),
        (
            {"ash": NORTH, "bay": SOUTH},
            set_none,
            "whether istiod finds gateways by label or by stated addresses would change for the networks north, south at once",
        ),
    ],
)
def test_no_order_makes_it_safe(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stated: dict[str, Any],
    change: Callable[[Mesh], None],
    says: str,
) -> None:
    """So a render refuses it, and `check`, `describe` and `diff` say so; were it accepted, something would be lost."""

    def taken(mesh: Mesh) -> "Step | None":
        return mesh.change(("gateway",), lambda: str(change(mesh)))

    mesh = start_mesh(tmp_path / "one", None, **copy.deepcopy(stated))
    change(mesh)
    mesh.save()
    for words in (("render", "--dry-run"), ("check",), ("diff",), ("describe",)):
        _, out, err = mesh.call(*words)
        assert says in " ".join((out + err).split()), (words, out, err)
    step = taken(start_mesh(tmp_path / "two", None, **copy.deepcopy(stated)))
    assert step is not None
    assert says in " ".join(step.why.split())
    accept_everything(monkeypatch)
    with pytest.raises(LostError):
        taken(start_mesh(tmp_path / "three", None, **copy.deepcopy(stated)))


@pytest.mark.parametrize(
    "over", [{"istio": {"dataPlane": "ambient"}}, {"eastWestGateway": {"port": 8443}}]
)
def test_one_network_at_a_time_has_an_order(tmp_path: Path, over: dict[str, Any]) -> None:
    """From labels to a stated address and back, whatever makes the gateway."""
    mesh = start_mesh(tmp_path, over)
    for stated, first in ((SOUTH, ["ash"]), (None, ["bay"])):
        mesh.contexts["bay"].pop("gateways", None)
        port = {} if "istio" in over else {"port": 8443}
        if stated is not None:
            mesh.contexts["bay"]["gateways"] = [{**stated["gateways"][0], **port}]
        mesh.save()
        _, out, _ = mesh.call("diff", "-o", "json")
        order = json.loads(out)["order"]
        assert order["steps"][0] == first, order
        assert mesh.call("render")[0] == 0
        mesh.follow(("gateway",), [set(step) for step in order["steps"]])


def accept_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks the product: a render refuses nothing for the sake of running clusters."""
    from kubectl_mesh.operations import change_review
    from kubectl_mesh.safety import Review

    monkeypatch.setattr(change_review, "review_change", lambda *args: Review())
