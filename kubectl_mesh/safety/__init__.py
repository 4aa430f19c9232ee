"""Rules for running clusters: which changes they do not survive, and what a change needs there.

`review_change` compares two trees. Its result lists what the change must refuse, warn about and
delete, and gives the order in which the clusters may apply it (`Review.find_order`). `render`,
`check`, `diff` and `describe` call it.

`certs rotate-root`, `certs import-root --union` and `tokens rotate` do not: they write `certs/` or
topology.yaml, and no tree. The render after each step calls `review_change`. Before a step, these
commands check what two trees cannot show:
- whether the tree on disk and the last commit already have the previous step
  (`roots.lagging_tree_problems`);
- whether clusters can follow a later step, which no tree has yet. The functions are those that
  `review_change` calls: `rollout.one_root_problems` and `reconnect.restart_problems`;
- whether clusters read new roots only when istiod or ztunnel restarts
  (`rollout.find_clusters_to_restart`).
"""

from kubectl_mesh.safety.change_review import Review, review_change
from kubectl_mesh.safety.planned_render import PlannedRender
from kubectl_mesh.safety.refusal import Refusal

__all__ = ["PlannedRender", "Refusal", "Review", "review_change"]
