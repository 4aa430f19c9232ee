"""fits: whether a value is what a JSON Schema wants, a yes or no without importing jsonschema.

Loading jsonschema costs a third of a small render, and nearly every topology is valid. Where the
answer here is no, or where a schema uses a keyword that is not known here, jsonschema is asked, and
words the problems. A test compares the two.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "integer": lambda v: (
        (isinstance(v, int) and not isinstance(v, bool))
        or (isinstance(v, float) and v.is_integer())
    ),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
}
_SILENT = {"$schema", "$defs", "definitions", "title", "description", "default", "x-must"}


LONGEST = 4_096
"""No text with a pattern is longer: patterns of others take time with the square of the length."""


@lru_cache(maxsize=256)
def pattern(regex: str) -> re.Pattern[str]:
    """A schema's pattern; `$` of Python also matches before a final newline, a JSON Schema's does
    not.
    """
    return re.compile(regex.removesuffix("$") + r"\Z" if regex.endswith("$") else regex)


def matches(regex: str, text: str) -> bool:
    """Whether a text is as a schema's pattern wants it; one that is longer than any such text can
    be is not.
    """
    return len(text) <= LONGEST and pattern(regex).search(text) is not None


def fits(value: Any, schema: Any, whole: Any = None) -> bool:
    """True only if the value is valid; False if it is not, or if that cannot be told here."""
    whole = schema if whole is None else whole
    if schema is True:
        return True
    if not isinstance(schema, Mapping):
        return False
    for keyword, limit in schema.items():
        if keyword in _SILENT:
            continue
        check = _CHECKS.get(keyword)
        if check is None or not check(value, limit, schema, whole):
            return False
    return True


def _type(value: Any, limit: Any, schema: Any, whole: Any) -> bool:
    return any(_TYPES[kind](value) for kind in ([limit] if isinstance(limit, str) else limit))


def _ref(value: Any, limit: str, schema: Any, whole: Any) -> bool:
    if not limit.startswith("#/"):
        return False
    target = whole
    for step in limit[2:].split("/"):
        target = target[step.replace("~1", "/").replace("~0", "~")]
    return fits(value, target, whole)


def _properties(value: Any, limit: Any, schema: Any, whole: Any) -> bool:
    return not isinstance(value, dict) or all(
        fits(value[key], inner, whole) for key, inner in limit.items() if key in value
    )


def _additional(value: Any, limit: Any, schema: Any, whole: Any) -> bool:
    if not isinstance(value, dict):
        return True
    known = schema.get("properties", {})
    others = [key for key in value if key not in known]
    return not others if limit is False else all(fits(value[key], limit, whole) for key in others)


def _items(value: Any, limit: Any, schema: Any, whole: Any) -> bool:
    return not isinstance(value, list) or all(fits(item, limit, whole) for item in value)


def _names(value: Any, limit: Any, schema: Any, whole: Any) -> bool:
    return not isinstance(value, dict) or all(fits(key, limit, whole) for key in value)


def _unique(value: Any, limit: Any, schema: Any, whole: Any) -> bool:
    if not isinstance(value, list) or not limit:
        return True
    return all(isinstance(item, str) for item in value) and len(set(value)) == len(value)


def _among(value: Any, limit: Any, schema: Any, whole: Any) -> bool:
    # True is 1 for Python, not for JSON.
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in limit)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_CHECKS: dict[str, Callable[[Any, Any, Any, Any], bool]] = {
    "$ref": _ref,
    "type": _type,
    "properties": _properties,
    "additionalProperties": _additional,
    "propertyNames": _names,
    "items": _items,
    "uniqueItems": _unique,
    "enum": _among,
    "const": lambda v, limit, s, w: _among(v, [limit], s, w),
    "required": lambda v, limit, s, w: not isinstance(v, dict) or all(key in v for key in limit),
    "pattern": lambda v, limit, s, w: not isinstance(v, str) or matches(limit, v),
    "minLength": lambda v, limit, s, w: not isinstance(v, str) or len(v) >= limit,
    "maxLength": lambda v, limit, s, w: not isinstance(v, str) or len(v) <= limit,
    "minimum": lambda v, limit, s, w: not _number(v) or v >= limit,
    "maximum": lambda v, limit, s, w: not _number(v) or v <= limit,
    "minItems": lambda v, limit, s, w: not isinstance(v, list) or len(v) >= limit,
    "maxItems": lambda v, limit, s, w: not isinstance(v, list) or len(v) <= limit,
    "minProperties": lambda v, limit, s, w: not isinstance(v, dict) or len(v) >= limit,
    "maxProperties": lambda v, limit, s, w: not isinstance(v, dict) or len(v) <= limit,
    "anyOf": lambda v, limit, s, w: any(fits(v, one, w) for one in limit),
    "allOf": lambda v, limit, s, w: all(fits(v, one, w) for one in limit),
}
