"""The review of a change, asked as a function: two states in, refusals as values out."""

import json
from pathlib import Path

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model.trust import Trust
from kubectl_mesh.observed.lazy_state import exclude_clusters, open_trees
from kubectl_mesh.observed.tree_sources import read_tree
from kubectl_mesh.safety import Refusal, review_change
from kubectl_mesh.safety.roots import find_root_fault
from kubectl_mesh.text import mesh_command
from tests.conftest import Run, WorkDir
from tests.support import broken


def test_two_states_are_reviewed(tmp_path: Path, run: Run) -> None:
    """Without a render, the trees alone say what running clusters do not survive; no fix names a render."""
    mesh = WorkDir(tmp_path / "mesh")
    mesh.path.mkdir()
    broken.make(mesh, names=("a", "b", "c"))
    assert run("render", cwd=mesh).code == 0
    before = read_tree(str(mesh.path / "out"))
    assert review_change(*open_trees(before, before), "out").list_problems() == []
    lock = json.loads(before["a"]["mesh.lock"] or b"")
    lock["madeFrom"]["network"] = "another"
    moved = {**before["a"], "mesh.lock": json.dumps(lock).encode()}
    old, new = open_trees(before, {**before, "a": moved})
    (refusal,) = review_change(old, new, "out").refusals
    assert refusal.problem.code == "network-would-change"
    assert refusal.clusters == ("a", "b", "c")
    assert refusal.to_problem() == refusal.problem
    assert not review_change(exclude_clusters(old, frozenset("a")), new, "out").refusals


def test_a_refusal_names_the_way_out() -> None:
    """Its addition and its way out are put to the texts once, with the command as a value."""
    problem = Problem(Place("out"), "would change", "do not", "tree-in-use", code="some-change")
    refusal = Refusal(problem, ("a",), addition="; and more", has_way_out=True)
    said = refusal.to_problem()
    way_out = "\n  if no cluster runs this tree yet: "
    assert said.what == "would change; and more"
    assert said.fix == f"do not{way_out}kubectl mesh render --unapplied a"
    assert said.marked_text.endswith(f"do not{way_out}{mesh_command('render --unapplied a')}")
    assert said.code == "some-change"


def test_a_cluster_that_stays_keeps_its_signer_trusted() -> None:
    """A bundle may not lose the root by which a cluster is signed in which nothing changes."""
    stays = Trust(("old", "new"), "old", "2")
    before = {"a": Trust(("old", "new"), "new", "1"), "b": stays}
    after = {"a": Trust(("new",), "new", "1"), "b": stays}
    fault = find_root_fault(before, after)
    assert fault is not None
    assert [name for name, _ in fault.cuts] == ["a"]
    assert "would no longer trust the root" in fault.to_problem("cacerts").what
    signed_anew = Trust(("old", "new"), "new", "3")
    assert find_root_fault({**before, "b": signed_anew}, {**after, "b": signed_anew}) is None
