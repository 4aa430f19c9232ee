"""What running clusters do not survive, and what they need when something changes.

`review` decides what a change from one tree to another must refuse, warn of and delete; its result
puts the clusters in the order in which they may apply the differences (`Review.find_order`).
`render`, `check`, `diff` and `describe` ask it.

`certs rotate-root`, `certs import-root --union` and `tokens rotate` do not: they write `certs/` or
topology.yaml, and no tree. The render that follows each step asks `review`. Before a step, they
check what `review` cannot see, because it compares two trees:
- whether the tree on disk and the last commit already have the step before
  (`roots.find_lagging_trees`), which concerns one state;
- whether clusters can follow a later step, which no tree has yet. The answers are those of the
  functions that `review` asks: `rollout.one_root` and `reconnect.restart_problems`;
- whether clusters take new roots only when istiod or ztunnel restarts (`rollout.by_restart`).
"""

from kubectl_mesh.safety.change_review import Review, review
from kubectl_mesh.safety.planned_render import PlannedRender
from kubectl_mesh.safety.refusal import Refusal

__all__ = ["PlannedRender", "Refusal", "Review", "review"]
