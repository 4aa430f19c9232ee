"""Selection of clusters by name or context."""

from collections.abc import Sequence

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import Topology
from kubectl_mesh.text import did_you_mean


def select_clusters(
    topology: Topology, names: Sequence[str], option: str = "--cluster", *, suggest: bool = True
) -> frozenset[str]:
    """The names of the selected clusters; `option` is the option or argument that selects them.

    Without `suggest` the problem suggests no similar name, if another cluster must not be selected
    by mistake.
    """
    known = {c.context: c.name for c in topology.clusters} | {
        c.name: c.name for c in topology.clusters
    }
    unknown = [w for w in names if w not in known]
    if unknown:
        raise MeshError(
            Problem(
                Place(option),
                f'no cluster "{w}" in the topology{did_you_mean(w, known) if suggest else ""}',
                code="cluster-unknown",
            )
            for w in unknown
        )
    return frozenset(known[w] for w in names)
