"""Where the images of the control plane come from: the hub that the mesh writes into each object of
a target.

Istio's charts: istiod and cni read `global.hub` (or a `hub` of their own), ztunnel reads `hub`.
Sail's ZTunnel has both below `values`. Sail puts its own images in place only where no `global.hub`
is stated (pkg/istiovalues/digests.go), and operators that were built in 2026 have
`registry.istio.io/release` in their charts (hack/download-charts.sh). Gateways take the image that
istiod injects, but for those of istioctl.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kubectl_mesh.istio import versions
from kubectl_mesh.istio.retired_registries import BUILT_IN_HUB, IMAGE_REGISTRY
from kubectl_mesh.model import Json, Topology

Path = tuple[str, ...]


class HubPaths(NamedTuple):
    """Where a part of Istio reads its hub: `write` always, `own` only where base.yaml states it;
    `decides`: any of these in base.yaml is a choice.
    """

    write: tuple[Path, ...]
    own: tuple[Path, ...] = ()
    decides: tuple[Path, ...] = ()


_GLOBAL = ("global", "hub")
ISTIOD = HubPaths((_GLOBAL,), (("pilot", "hub"),), (_GLOBAL,))
ISTIOD_CHART = HubPaths((_GLOBAL,), (("pilot", "hub"), ("hub",)), (_GLOBAL,))
CNI = HubPaths((_GLOBAL,), (("cni", "hub"),), (_GLOBAL, ("cni", "hub")))
CNI_CHART = HubPaths((_GLOBAL,), (("hub",), ("cni", "hub")), (_GLOBAL, ("hub",), ("cni", "hub")))
ZTUNNEL = HubPaths((_GLOBAL, ("ztunnel", "hub")), (), (_GLOBAL, ("ztunnel", "hub")))
ZTUNNEL_CHART = HubPaths((("hub",),), (_GLOBAL,), (_GLOBAL, ("hub",)))
OPERATOR = HubPaths(
    (("hub",),),
    (("values", *_GLOBAL), ("values", "pilot", "hub"), ("values", "ztunnel", "hub")),
    (("hub",), ("values", *_GLOBAL)),
)
CONTROL_PLANE_1_4 = HubPaths((("hub",),), (("values", *_GLOBAL),))


def hub_overlay(paths: HubPaths, base: Json, topology: Topology, *, needed: bool) -> dict[str, Any]:
    """The mapping that gives a part of Istio its hub, laid over `base`; empty where nothing has to
    be stated.

    `needed` says whether the hub that is built in is, or may be, retired.
    """
    if topology.image_hub == BUILT_IN_HUB:
        return {}
    if topology.image_hub is not None:
        return _nested(
            [*paths.write, *(p for p in paths.own if stated_at(base, p) is not None)],
            topology.image_hub,
        )
    if not needed or any(stated_at(base, p) is not None for p in paths.decides):
        return {}
    return _nested(paths.write, IMAGE_REGISTRY)


def is_hub_needed(version: str | None) -> bool:
    """Whether charts or istioctl of a version have, or may have, a hub built in that is retired."""
    return version is None or versions.retired_built_in_hub(version) is not None


def stated_hub(paths: HubPaths, base: Json) -> str | None:
    """The hub that base.yaml states for a part of Istio, None where it states none."""
    found = (stated_at(base, p) for p in paths.decides)
    return next((str(hub) for hub in found if hub is not None), None)


def stated_at(value: Json, path: Path) -> Json:
    """What stands at a path; None where nothing does."""
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _nested(paths: Sequence[Path], hub: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in paths:
        into = found
        for key in path[:-1]:
            into = into.setdefault(key, {})
        into[path[-1]] = hub
    return found


def with_hub(values: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Values with a hub added, mapping by mapping."""
    both = dict(values)
    for key, value in overlay.items():
        below = both.get(key)
        both[key] = (
            with_hub(below, value)
            if isinstance(value, Mapping) and isinstance(below, Mapping)
            else value
        )
    return both
