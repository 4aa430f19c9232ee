"""Fields of a loaded value by their path, whatever stands there; and what is in base64."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from kubectl_mesh.model import Json


def value_at(value: Json, *path: str) -> Any:
    """What a value has at a path of mappings, None where there is nothing."""
    found: Any = value
    for step in path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(step)
    return found


def text_at(value: Json, *path: str) -> str | None:
    """The text or the number at a path, as a text; None where there is none."""
    found = value_at(value, *path)
    return (
        found
        if isinstance(found, str)
        else str(found)
        if isinstance(found, int | float) and not isinstance(found, bool)
        else None
    )


def number_at(value: Json, *path: str) -> int | None:
    """The whole number at a path; None where there is none."""
    found = value_at(value, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def mapping_at(value: Json, *path: str) -> Mapping[str, Any]:
    """The mapping at a path, an empty one where there is none."""
    found = value_at(value, *path)
    return found if isinstance(found, Mapping) else {}


def items_at(value: Json, *path: str) -> tuple[Any, ...]:
    """The list at a path, an empty one where there is none."""
    found = value_at(value, *path)
    return tuple(found) if isinstance(found, list) else ()


def texts_at(value: Json, *path: str) -> dict[str, str]:
    """The mapping of texts at a path, as labels and annotations are."""
    return {str(k): str(v) for k, v in mapping_at(value, *path).items()}


def decode_base64(text: str, *, wrapped: bool = False) -> bytes | None:
    """The bytes of a text in base64, None where it is not base64; with `wrapped` white space in it
    is ignored.
    """
    try:
        return base64.b64decode("".join(text.split()) if wrapped else text, validate=True)
    except (ValueError, binascii.Error):
        return None
