"""shape: the ways in which a `Document` differs from a JSON Schema, in the words of people."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from kubectl_mesh.errors import Problem, near, shown
from kubectl_mesh.fits import fits, pattern
from kubectl_mesh.model import Document

Path = tuple[str | int, ...]
LONGEST_LIST = 20
"""A list of more fields than this helps nobody."""


_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


def schema_problems(document: Document, schema: Mapping[str, Any], unknown: str = "") -> Iterator[Problem]:
    """Every way in which a document differs from a JSON Schema, in the words of people.

    The schema's own keyword `x-must` says in words what its patterns and limits mean. `unknown` is the id of
    problems about fields that it does not have.
    """
    if fits(document.value, schema):
        return
    import jsonschema
    from jsonschema.validators import extend

    def matches(_validator: Any, regex: str, instance: Any, _schema: Any) -> Iterator[Any]:
        if isinstance(instance, str) and not pattern(regex).search(instance):
            yield jsonschema.ValidationError("pattern")

    make: Any = extend
    validator = make(jsonschema.Draft202012Validator, {"pattern": matches})
    for error in validator(schema).iter_errors(document.value):
        yield from _problem(document, error, unknown)


def _problem(document: Document, error: Any, unknown: str) -> Iterator[Problem]:
    path: Path = tuple(error.absolute_path)
    must = error.schema.get("x-must", "") if isinstance(error.schema, Mapping) else ""
    kind, limit, value = error.validator, error.validator_value, error.instance
    where = document.place(*path)
    if kind == "additionalProperties":
        known = error.schema.get("properties", {})
        for key in value:
            if key not in known:
                hint = near(key, set(known) - set(value))
                fix = "" if hint or len(known) > LONGEST_LIST else f"the fields here are: {', '.join(known)}"
                yield Problem(document.place(*path, key), f"unknown field{hint}", fix, unknown)
    elif kind == "required":
        # Where one is merely misspelt, the unknown field tells what was meant.
        strangers = set(value) - set(error.schema.get("properties", {}))
        missing = [key for key in limit if key not in value and not any(near(s, {key}) for s in strangers)]
        yield from (Problem(where, f'the field "{key}" is missing') for key in missing)
    elif kind == "type":
        wanted = [limit] if isinstance(limit, str) else limit
        fix = ""
        if wanted == ["string"] and isinstance(value, int | float | bool):
            fix = f'quote it: "{_plain(value)}"'
        elif isinstance(value, str) and ((wanted == ["boolean"] and value in ("true", "false")) or (wanted == ["integer"] and value.isdecimal())):
            fix = f"write it without quotes: {value}"
        elif value is None and must:
            yield Problem(where, must)
            return
        yield Problem(where, f"must be {' or '.join(_TYPES[w] for w in wanted)}, not {_type(value)}", fix)
    elif kind == "enum":
        choices = ", ".join(map(str, limit))
        yield Problem(where, f"{shown(value)} is none of {choices}{near(str(value), map(str, limit))}")
    elif kind == "uniqueItems":
        twice = sorted(text for text, number in Counter(map(str, value)).items() if number > 1)
        yield Problem(where, f"names {', '.join(map(shown, twice))} twice")
    elif kind in ("minimum", "maximum"):
        bounds = error.schema
        yield Problem(where, f"must be {bounds.get('minimum')} to {bounds.get('maximum')}, not {value}")
    elif kind in ("pattern", "maxLength", "minLength") and "propertyNames" in error.absolute_schema_path:
        yield Problem(document.place(*path, value), f"the name {must}" if must else f"the name {shown(value)} is not allowed")
    else:
        given = shown(value)
        tell = must and kind in ("pattern", "maxLength") and given != "the value"
        yield Problem(where, f"{must}; it is {given}" if tell else must or "must not be empty")


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _type(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return _plain(value)
    if isinstance(value, int | float):
        return f"the number {value}"
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else "a text"
