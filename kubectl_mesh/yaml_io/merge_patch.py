"""overlay: base.yaml and what the mesh sets become one control plane, by RFC 7386 (JSON Merge
Patch).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from kubectl_mesh.model import Json
from kubectl_mesh.yaml_io.write import Block, unblocked


@dataclass(frozen=True, slots=True)
class Whole:
    """A mapping of an overlay that replaces the one of the base: entries of others next to ours
    would break it.
    """

    value: object


def merge(base: Json, overlay: object) -> object:
    """The overlay over the base: mappings are merged, everything else is replaced, null removes;
    new keys come in sorted order.
    """
    if isinstance(overlay, Whole):
        return merge(None, overlay.value)
    if isinstance(overlay, Block):
        if not isinstance(base, dict):
            return overlay
        overlay = overlay.value
    if not isinstance(overlay, dict):
        return overlay
    merged: dict[str, object] = dict(base) if isinstance(base, dict) else {}
    for key, value in overlay.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return {key: merged[key] for key in sorted(merged)}


def lost(
    base: Json, overlay: object, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[str | int, ...]]:
    """The paths of values in the base that the overlay replaces by others."""
    whole = isinstance(overlay, Whole)
    inner = overlay.value if isinstance(overlay, Whole) else overlay
    inner = inner.value if isinstance(inner, Block) else inner
    if isinstance(base, dict) and isinstance(inner, dict) and not whole:
        for key in base:
            if key in inner:
                yield from lost(base[key], inner[key], (*path, key))
    elif (
        whole
        and isinstance(base, dict)
        and isinstance(inner, dict)
        and all(key in inner and base[key] == unblocked(inner[key]) for key in base)
    ):
        return
    elif base is not None and base != {} and base != unblocked(inner):
        yield path


def shared(base: Json, overlay: object) -> dict[str, object]:
    """The part of an overlay for which the base has a value too."""
    found: dict[str, object] = {}
    if not isinstance(base, dict) or not isinstance(overlay, dict):
        return found
    for key in base.keys() & overlay.keys():
        inner = overlay[key]
        below = (
            shared(base[key], inner)
            if isinstance(base[key], dict) and isinstance(inner, dict)
            else inner
        )
        if below != {} or inner == {}:
            found[key] = below
    return found
