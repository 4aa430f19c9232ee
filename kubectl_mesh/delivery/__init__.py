"""What applies the tree. A tool is a class of its own (`delivery.Delivery`) and a line in
`TOOLS`.
"""

from collections.abc import Mapping

from kubectl_mesh.delivery.argocd import ArgoCd
from kubectl_mesh.delivery.delivery import Delivery
from kubectl_mesh.delivery.flux import Flux
from kubectl_mesh.delivery.kubectl import Kubectl
from kubectl_mesh.delivery.removal import Tool
from kubectl_mesh.model import Topology

TOOLS: Mapping[str, Delivery] = {
    Kubectl.NAME: Kubectl(),
    ArgoCd.NAME: ArgoCd(),
    Flux.NAME: Flux(),
}
"""Every tool by the name that topology.yaml has for it."""


def delivery_of(topology: Topology) -> Delivery:
    """What applies the tree of a topology."""
    return TOOLS[topology.delivery.tool]


def find_delivery(directory: str) -> Delivery | None:
    """The tool whose objects are in a directory of `out/`."""
    return {t.DIRECTORY: t for t in TOOLS.values() if t.DIRECTORY}.get(directory)


def tool_of(topology: Topology) -> Tool:
    """What applies the tree of a topology, as a removal needs it."""
    delivery = topology.delivery
    return Tool(
        delivery.tool, delivery.namespace or delivery_of(topology).NAMESPACE, topology.mesh_id
    )
