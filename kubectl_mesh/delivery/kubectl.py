"""kubectl: a person applies the tree, and deletes what leaves it."""

from kubectl_mesh.delivery.delivery import Delivery
from kubectl_mesh.topology.kinds import TOOL_FACTS


class Kubectl(Delivery):
    """Nothing but kubectl."""

    NAME = "kubectl"
    TITLE = TOOL_FACTS[NAME].title
