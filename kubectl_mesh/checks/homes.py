"""What a tree says of the places that Istio's charts and images come from; one finding for all
clusters that say the same.
"""

from collections.abc import Iterator
from typing import Any

from kubectl_mesh.checks.asked import Asked
from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.istio import homes, versions
from kubectl_mesh.observed.values import ControlPlane
from kubectl_mesh.text import count, shown

_HUBS = ("global.hub", "hub", "cni.hub", "ztunnel.hub")
_SAIL = ("Istio", "IstioCNI", "ZTunnel")
_PARTS = ("istiod", "cni", "ztunnel", "eastwest")
_FIX = "run `kubectl mesh render`, and apply stage 2 of each of them; {page} has the commands"


def home_findings(asked: Asked) -> list[Problem]:
    """The retired places that the tree names, and the control planes whose built-in place is
    retired; files that a render would not change say nothing here.
    """
    stated = {c.name: c.version for c in asked.topology.clusters}
    named: dict[homes.Named, dict[str, None]] = {}
    silent: dict[tuple[str, str], dict[str, None]] = {}
    for name, cluster in asked.view.clusters.items():
        for seen in cluster.objects:
            for value in seen.fields.values():
                for found in homes.find_gone(value) if isinstance(value, str) else ():
                    named.setdefault(found, {})[name] = None
        for document in cluster.control_plane if asked.topology.hub != homes.BUILT_IN else ():
            built_in = _built_in(document, document.version or stated.get(name))
            if built_in is not None:
                silent.setdefault(built_in, {})[name] = None
    newest = _newest(asked)
    gone = [
        _problem(asked, list(where), homes.gone_text(home, newest), home.check)
        for home, where in sorted(named.items(), key=str)
    ]
    unstated = [
        _problem(
            asked,
            list(where),
            f"{who} {hub}, which Istio switches off on {homes.SINCE}",
            "images-gone",
        )
        for (who, hub), where in silent.items()
    ]
    return [*gone, *unstated]


def _built_in(document: ControlPlane, version: str | None) -> tuple[str, str] | None:
    """Who pulls from which retired registry where a document states none; None where it states one,
    or nothing is retired.
    """
    if (
        document.part not in _PARTS
        or any(hub in document.values for hub in _HUBS)
        or "hub" in document.settings
    ):
        return None
    if document.kind in _SAIL:
        return "state no image registry; Sail operators that were built in 2026 pull from", next(
            iter(_retired_hubs())
        )
    hub = versions.built_in_hub_gone(version)
    if hub is not None:
        return f"state no image registry; Istio {version} pulls from", hub
    if document.kind == "IstioOperator" and version is None:
        return "state no image registry and no version; istioctl of 1.30 pulls from", next(
            iter(_retired_hubs())
        )
    return None


def _retired_hubs() -> Iterator[str]:
    entry: Any
    for entry in versions.RELEASES["images"]["builtIn"]:
        yield str(entry["hub"])


def _newest(asked: Asked) -> int:
    return max(
        (versions.minor(r.version) for c in asked.topology.clusters for r in c.releases), default=0
    )


def _problem(asked: Asked, clusters: list[str], what: str, check: str) -> Problem:
    names = ", ".join(map(shown, clusters[:3])) + (
        f" and {len(clusters) - 3} more" if len(clusters) > 3 else ""
    )
    return Problem(
        Place(asked.out),
        f"{count(len(clusters), 'cluster')} ({names}): {what}",
        _FIX.format(page=homes.PAGE),
        check,
    )
