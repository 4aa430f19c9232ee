"""Clusters chosen by name or by context."""

from collections.abc import Sequence

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import Topology
from kubectl_mesh.text import did_you_mean


def select_clusters(
    topology: Topology, names: Sequence[str], option: str = "--cluster", *, suggest: bool = True
) -> frozenset[str]:
    """The names of the clusters that were asked for, by name or by context; `where` is the option
    or argument that did.

    Without `hint` no near name is suggested, where another cluster must not be meant by mistake.
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
