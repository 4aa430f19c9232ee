"""kubectl: a person applies the tree, and deletes what leaves it."""

from kubectl_mesh.delivery.delivery import Delivery


class Kubectl(Delivery):
    """Nothing but kubectl."""

    NAME = "kubectl"
    TITLE = "kubectl"
