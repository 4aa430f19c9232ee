"""shape: the ways in which a `Document` differs from a JSON Schema, in the words of people."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from kubectl_mesh.errors import Problem
from kubectl_mesh.model import Document
from kubectl_mesh.text import Hints, count, near, shown
from kubectl_mesh.yaml_io.fits import fits, matches

Path = tuple[str | int, ...]
MOST_STRANGERS = 40
"""The unknown fields of which one may be a missing field, misspelt."""
LONGEST_LIST = 20
"""A list of more fields than this helps nobody."""


_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "empty",
}


def schema_problems(
    document: Document, schema: Mapping[str, Any], unknown: str = ""
) -> Iterator[Problem]:
    """Every way in which a document differs from a JSON Schema, in the words of people.

    The schema's own keyword `x-must` says in words what its patterns and limits mean. `unknown` is
    the id of problems about fields that it does not have.
    """
    if fits(document.value, schema):
        return
    import jsonschema
    from jsonschema.validators import extend

    def judge(_validator: Any, regex: str, instance: Any, _schema: Any) -> Iterator[Any]:
        if isinstance(instance, str) and not matches(regex, instance):
            yield jsonschema.ValidationError("pattern")

    make: Any = extend
    validator = make(jsonschema.Draft202012Validator, {"pattern": judge})
    hints = Hints()
    for error in validator(schema).iter_errors(document.value):
        yield from _problem(document, error, unknown, hints)


def _problem(document: Document, error: Any, unknown: str, hints: Hints) -> Iterator[Problem]:
    path: Path = tuple(error.absolute_path)
    must = error.schema.get("x-must", "") if isinstance(error.schema, Mapping) else ""
    kind, limit, value = error.validator, error.validator_value, error.instance
    where = document.place(*path)
    if kind == "additionalProperties":
        known = error.schema.get("properties", {})
        for key in value:
            if key not in known:
                shows_fields = hints.are_due and len(known) <= LONGEST_LIST
                hint = hints.near(key, lambda: set(known) - set(value))
                fix = (
                    f"the fields here are: {', '.join(known)}" if shows_fields and not hint else ""
                )
                yield Problem(document.place(*path, key), f"unknown field{hint}", fix, unknown)
    elif kind == "required":
        # Where one is merely misspelt, the unknown field tells what was meant.
        strangers = set(value) - set(error.schema.get("properties", {}))
        missing = [
            key
            for key in limit
            if key not in value
            and not any(near(s, {key}) for s in sorted(strangers)[:MOST_STRANGERS])
        ]
        yield from (Problem(where, f'the field "{key}" is missing') for key in missing)
    elif kind == "type":
        wanted = [limit] if isinstance(limit, str) else limit
        fix = ""
        if "string" in wanted and isinstance(value, int | float | bool):
            fix = f'quote it: "{_plain(value)}"'
        elif isinstance(value, str) and (
            ("boolean" in wanted and value in ("true", "false"))
            or ("integer" in wanted and re.fullmatch("[0-9]+", value))
        ):
            fix = f"write it without quotes: {value}"
        elif value is None and must:
            yield Problem(where, must)
            return
        yield Problem(
            where, f"must be {' or '.join(_TYPES[w] for w in wanted)}, not {_type(value)}", fix
        )
    elif kind == "enum":
        choices = ", ".join(map(str, limit))
        yield Problem(
            where,
            f"{shown(value)} is none of {choices}{hints.near(str(value), lambda: map(str, limit))}",
        )
    elif kind == "uniqueItems":
        twice = sorted(text for text, number in Counter(map(str, value)).items() if number > 1)
        yield Problem(where, f"names {', '.join(map(shown, twice))} twice")
    elif kind in ("minimum", "maximum"):
        least, most = error.schema.get("minimum"), error.schema.get("maximum")
        bounds = (
            f"at least {least}"
            if most is None
            else f"at most {most}"
            if least is None
            else f"{least} to {most}"
        )
        yield Problem(where, f"must be {bounds}, not {value}")
    elif (
        kind in ("pattern", "maxLength", "minLength")
        and "propertyNames" in error.absolute_schema_path
    ):
        yield Problem(
            document.place(*path, value),
            f"the name {must}" if must else f"the name {shown(value)} is not allowed",
        )
    elif must:
        given = shown(value)
        yield Problem(
            where,
            (
                f"{must}; it is {given}"
                if kind in ("pattern", "maxLength") and given != "the value"
                else must
            ),
        )
    elif kind in ("anyOf", "oneOf") and error.context:
        yield from _problem(document, _nearest(error), unknown, hints)
    else:
        yield Problem(where, _limit_text(kind, limit, value))


def _nearest(error: Any) -> Any:
    """The error of the alternative that the value comes nearest to; one of all their types where
    each wants another type.
    """
    from jsonschema.exceptions import by_relevance

    first = min(error.context, key=by_relevance())
    if all(e.validator == "type" and not e.relative_path for e in error.context):
        limits = [
            [e.validator_value] if isinstance(e.validator_value, str) else e.validator_value
            for e in error.context
        ]
        first.validator_value = list(dict.fromkeys(kind for limit in limits for kind in limit))
    return first


_COUNTED = {
    "minLength": "character",
    "maxLength": "character",
    "minItems": "item",
    "maxItems": "item",
    "minProperties": "field",
    "maxProperties": "field",
}


def _limit_text(kind: str | None, limit: Any, value: object) -> str:
    """What a keyword of JSON Schema asks for that has no words of its own in the schema."""
    if kind in _COUNTED:
        if kind.startswith("min") and limit == 1:
            return "must not be empty"
        return (
            f"must have {'at least' if kind.startswith('min') else 'at most'}"
            f" {count(limit, _COUNTED[kind])}"
        )
    if kind == "const":
        return f"must be {shown(limit)}, not {shown(value)}"
    if kind == "pattern":
        return f"must match the pattern {shown(limit)}; it is {shown(value)}"
    return f"{shown(value)} is not allowed here"


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _type(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return _plain(value)
    if isinstance(value, int | float):
        return f"the number {value}"
    return (
        "a mapping"
        if isinstance(value, dict)
        else "a list"
        if isinstance(value, list)
        else "a text"
    )
