"""rollout: what running clusters do with certificates that change, by version, and the commands that help them; text for people."""

import shlex
from collections.abc import Iterator, Sequence

from kubectl_mesh import versions
from kubectl_mesh.model import Cluster
from kubectl_mesh.plan import kubectl

OLD = "IstioControlPlane"
"""The kind of base.yaml whose clusters run Istio 1.4, Citadel among it."""


def minor(cluster: Cluster, kind: str) -> int:
    """The oldest minor of Istio that runs in a cluster."""
    return versions.OLDEST if kind == OLD else min(versions.minor(r.version) for r in cluster.releases)


def restart_istiod(cluster: Cluster, kind: str) -> str:
    """The command that restarts what signs in a cluster."""
    what = ("deployment", "istio-citadel") if minor(cluster, kind) < versions.ISTIOD else ("deployment", "-l", "app=istiod")
    return kubectl(cluster, "-n", cluster.namespace, "rollout", "restart", *what)


def renewed(clusters: Sequence[Cluster], kind: str) -> Iterator[str]:
    """What clusters do with new intermediates under the root that they trust already."""
    groups: dict[str, list[Cluster]] = {}
    for cluster in clusters:
        number = minor(cluster, kind)
        does = "reload" if number >= versions.RELOAD else "citadel" if number < versions.ISTIOD else "restart"
        groups.setdefault(does, []).append(cluster)
    for does, members in sorted(groups.items()):
        names = ", ".join(c.name for c in members)
        if does == "reload":
            yield f"{names}: istiod reads it by itself, about a minute after it is applied"
        else:
            what = "Citadel reads it when it starts" if does == "citadel" else f"istiod reads it when it starts (by itself from 1.{versions.RELOAD} on)"
            yield f"{names}: {what}; once it is applied, run"
            yield from (f"  {restart_istiod(cluster, kind)}" for cluster in members)
    if groups:
        yield "Workloads keep the certificates that they have until these are due; both lead to the same root, so all trust all meanwhile."


def dash(directory: str) -> str:
    """`-C DIR` for a command that is printed, where it is needed."""
    return "" if directory in (".", "") else f" -C {shlex.quote(directory)}"
