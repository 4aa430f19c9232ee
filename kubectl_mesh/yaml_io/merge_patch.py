"""Merges base.yaml with the values of the mesh by RFC 7386 (JSON Merge Patch)."""

from collections.abc import Iterator
from dataclasses import dataclass

from kubectl_mesh.model import Json
from kubectl_mesh.yaml_io.write import Block, expand_blocks


@dataclass(frozen=True, slots=True)
class Replacement:
    """A mapping of an overlay that replaces the mapping of the base, because other entries next to
    it would break it.
    """

    value: object


def merge_values(base: Json, overlay: object) -> object:
    """The overlay merged over the base: mappings are merged, other values replaced, null removes;
    keys are sorted.
    """
    if isinstance(overlay, Replacement):
        return merge_values(None, overlay.value)
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
            merged[key] = merge_values(merged.get(key), value)
    return {key: merged[key] for key in sorted(merged)}


def overridden_paths(
    base: Json, overlay: object, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[str | int, ...]]:
    """The paths of values in the base that the overlay replaces by different ones."""
    is_replacement = isinstance(overlay, Replacement)
    inner = overlay.value if isinstance(overlay, Replacement) else overlay
    inner = inner.value if isinstance(inner, Block) else inner
    if isinstance(base, dict) and isinstance(inner, dict) and not is_replacement:
        for key in base:
            if key in inner:
                yield from overridden_paths(base[key], inner[key], (*path, key))
    elif (
        is_replacement
        and isinstance(base, dict)
        and isinstance(inner, dict)
        and all(key in inner and base[key] == expand_blocks(inner[key]) for key in base)
    ):
        return
    elif base is not None and base != {} and base != expand_blocks(inner):
        yield path


def overlapping_fields(base: Json, overlay: object) -> dict[str, object]:
    """The part of an overlay for which the base also has a value."""
    fields: dict[str, object] = {}
    if not isinstance(base, dict) or not isinstance(overlay, dict):
        return fields
    for key in base.keys() & overlay.keys():
        inner = overlay[key]
        below = (
            overlapping_fields(base[key], inner)
            if isinstance(base[key], dict) and isinstance(inner, dict)
            else inner
        )
        if below != {} or inner == {}:
            fields[key] = below
    return fields
