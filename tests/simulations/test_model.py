"""The model of calls agrees with `tests/support/uses.py`, which reads trees by code of its own: whatever that finds broken in some mixture, the model does not call safe."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from kubectl_mesh.connectivity.changes import decide_change
from kubectl_mesh.connectivity.mixtures import StatePair
from kubectl_mesh.connectivity.state import FactReader
from kubectl_mesh.observed.lazy_state import open_trees
from kubectl_mesh.observed.tree_sources import read_tree as read_product_tree
from tests.support.uses import Mixture, one_group, read_tree
from tools.changes import CHANGES, Mesh, Step, run_seed

SEEDS = int(os.environ.get("MODEL_SEEDS", "10"))
NOT_MODELLED = ("rename a cluster",)
"""Changes of the names of clusters: `safety.identity` refuses them."""


@pytest.mark.slow
def test_what_is_broken_is_not_called_safe(record_property: Callable[[str, object], None]) -> None:
    """Every change that `render` refuses is decided by both; the model proves none that the oracle sees broken."""
    seen: Counter[str] = Counter()
    wrong: list[str] = []

    def judge(mesh: Mesh, step: Step, before: Path) -> None:
        tree, wanted = read_tree(mesh.folder / "out"), mesh.asks()
        mixture = Mixture(
            mesh.world, (mesh.tree, tree), (mesh.wanted, wanted), (mesh.opened, mesh.certs())
        )
        problems = mixture.problems(one_group([mesh.wanted, wanted]))
        edges = {(wanted.names[one], wanted.names[other]) for one, other in wanted.discovers}
        trees = read_product_tree(str(before)), read_product_tree(str(mesh.folder / "out"))
        states = StatePair(*(FactReader(state) for state in open_trees(*trees)))
        found = decide_change(states, lambda caller, callee: (caller, callee) in edges)
        if set(step.kinds) & set(NOT_MODELLED):
            return
        verdict = "safe" if found.is_any_order_proved else "not safe"
        seen[f"{'broken' if problems else 'whole'}, {verdict}"] += 1
        if problems and found.is_any_order_proved:
            wrong.append(f"{mesh.story()}\n{step.kinds} {step.said}: {problems[:3]}")

    hard = [
        kind for kind in CHANGES if kind.startswith(("another", "one", "no ", "shared", "forget"))
    ]
    for seed in range(SEEDS):
        run_seed(seed, 5, hard[seed % len(hard)], judge)
    record_property("printed", f"the model and the oracle on refused changes: {dict(seen)}")
    print(dict(seen))
    assert not wrong, "\n\n".join(wrong)
    assert seen["broken, not safe"] >= SEEDS // 2
