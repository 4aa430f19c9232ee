"""What a tree says of the places that Istio's charts and images come from; one finding for all
clusters that say the same.
"""

from kubectl_mesh.checks.context import WARNING, Finding, TreeContext
from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.istio import retired_registries, versions
from kubectl_mesh.observed.mesh_state import ControlPlane
from kubectl_mesh.targets import find_target, is_applied
from kubectl_mesh.text import count_text, mesh_command, value_text

_HUB_FIELDS = ("global.hub", "hub", "cni.hub", "ztunnel.hub")
_PARTS = ("istiod", "cni", "ztunnel", "eastwest")
_FIX = (
    f"run `{mesh_command('render')}`, and apply stage 2 of each of them;"
    f" {retired_registries.MOVE_PAGE} has the"
    " commands"
)


def judge_registries(tree: TreeContext) -> tuple[Finding, ...]:
    """The retired places that the tree names, and the control planes whose built-in place is
    retired; files that a render would not change say nothing here.
    """
    newest = _newest_minor(tree)
    gone = [
        _problem(
            tree,
            list(where),
            retired_registries.retired_text(home, newest),
            home.check_id,
            "retired-home-named",
        )
        for home, where in sorted(_list_retired_references(tree).items(), key=str)
    ]
    unstated = [
        _problem(
            tree,
            list(where),
            f"{who} {hub}, which Istio switches off on {retired_registries.SHUTDOWN_DATE}",
            "images-gone",
            "retired-home-built-in",
        )
        for (who, hub), where in _silent_control_planes(tree).items()
    ]
    return tuple(Finding(WARNING, problem) for problem in (*gone, *unstated))


def _list_retired_references(
    tree: TreeContext,
) -> dict[retired_registries.RetiredReference, dict[str, None]]:
    """The retired places, each with the clusters whose files name it."""
    named: dict[retired_registries.RetiredReference, dict[str, None]] = {}
    for name, cluster in tree.state.clusters.items():
        for seen in cluster.objects:
            for value in seen.fields.values():
                for found in (
                    retired_registries.find_retired(value) if isinstance(value, str) else ()
                ):
                    named.setdefault(found, {})[name] = None
    return named


def _silent_control_planes(tree: TreeContext) -> dict[tuple[str, str], dict[str, None]]:
    """Who pulls from which retired registry because its control plane states none."""
    if tree.topology.image_hub == retired_registries.BUILT_IN_HUB:
        return {}
    stated = {c.name: c.version for c in tree.topology.clusters}
    silent: dict[tuple[str, str], dict[str, None]] = {}
    for name, cluster in tree.state.clusters.items():
        for document in cluster.control_plane:
            built_in = _find_built_in_registry(document, document.version or stated.get(name))
            if built_in is not None:
                silent.setdefault(built_in, {})[name] = None
    return silent


def _find_built_in_registry(document: ControlPlane, version: str | None) -> tuple[str, str] | None:
    """Who pulls from which retired registry where a document states none; None where it states one,
    or nothing is retired.
    """
    if (
        document.component not in _PARTS
        or any(hub in document.values for hub in _HUB_FIELDS)
        or "hub" in document.settings
    ):
        return None
    target = find_target(document.kind)
    if target is not None and target.BRINGS_IMAGES:
        return (
            "state no image registry; Sail operators that were built in 2026 pull from",
            retired_registries.RETIRED_HUBS[0],
        )
    hub = versions.retired_built_in_hub(version)
    if hub is not None:
        return f"state no image registry; Istio {version} pulls from", hub
    if not is_applied(document.kind) and version is None:
        return (
            "state no image registry and no version; istioctl of 1.30 pulls from",
            retired_registries.RETIRED_HUBS[0],
        )
    return None


def _newest_minor(tree: TreeContext) -> int:
    return max(
        (versions.minor_version(r.version) for c in tree.topology.clusters for r in c.releases),
        default=0,
    )


def _problem(tree: TreeContext, clusters: list[str], what: str, check: str, code: str) -> Problem:
    names = ", ".join(map(value_text, clusters[:3])) + (
        f" and {len(clusters) - 3} more" if len(clusters) > 3 else ""
    )
    return Problem(
        Place(tree.out),
        f"{count_text(len(clusters), 'cluster')} ({names}): {what}",
        _FIX,
        check,
        code=code,
    )
