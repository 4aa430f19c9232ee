"""Fields of loaded values by path, whatever their types; and base64."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from kubectl_mesh.model import Json


def value_at(value: Json, *path: str) -> Any:
    """The value at a path of mappings, None if there is none."""
    current: Any = value
    for step in path:
        if not isinstance(current, Mapping):
            return None
        current = current.get(step)
    return current


def text_at(value: Json, *path: str) -> str | None:
    """The text or the number at a path, as text; None if there is none."""
    field = value_at(value, *path)
    return (
        field
        if isinstance(field, str)
        else str(field)
        if isinstance(field, int | float) and not isinstance(field, bool)
        else None
    )


def number_at(value: Json, *path: str) -> int | None:
    """The integer at a path; None if there is none."""
    field = value_at(value, *path)
    return field if isinstance(field, int) and not isinstance(field, bool) else None


def mapping_at(value: Json, *path: str) -> Mapping[str, Any]:
    """The mapping at a path, empty if there is none."""
    field = value_at(value, *path)
    return field if isinstance(field, Mapping) else {}


def items_at(value: Json, *path: str) -> tuple[Any, ...]:
    """The list at a path, empty if there is none."""
    field = value_at(value, *path)
    return tuple(field) if isinstance(field, list) else ()


def texts_at(value: Json, *path: str) -> dict[str, str]:
    """The mapping of texts at a path, such as labels and annotations."""
    return {str(k): str(v) for k, v in mapping_at(value, *path).items()}


def decode_base64(text: str, *, wrapped: bool = False) -> bytes | None:
    """The bytes of a text in base64, None where it is not base64; with `wrapped` white space in it
    is ignored.
    """
    try:
        return base64.b64decode("".join(text.split()) if wrapped else text, validate=True)
    except (ValueError, binascii.Error):
        return None
