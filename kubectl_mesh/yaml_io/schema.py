"""The differences between a `Document` and a JSON Schema, as problems."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import jsonschema
from jsonschema.exceptions import by_relevance
from jsonschema.validators import extend

from kubectl_mesh.errors import Problem
from kubectl_mesh.model import Document
from kubectl_mesh.text import Suggestions, count_text, did_you_mean, mesh_command, value_text

Path = tuple[str | int, ...]
MAX_UNKNOWN_FIELDS = 40
"""The number of unknown fields that are compared with a missing one, which may be misspelt."""
MAX_LISTED_FIELDS = 20
"""A longer list of known fields is not shown."""
MAX_PATTERN_TEXT = 4_096
"""A longer text matches no pattern: some patterns take time with the square of the length."""


_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "empty",
}


def schema_problems(document: Document, schema: Mapping[str, Any]) -> Iterator[Problem]:
    """Every difference between a document and a JSON Schema.

    The schema's own keyword `x-must` has the words for its patterns and limits.
    """
    hints = Suggestions()
    for error in _VALIDATOR(schema).iter_errors(document.value):
        yield from _Mismatch(document, error, hints).mismatch_problems()


@lru_cache(maxsize=256)
def compile_pattern(regex: str) -> re.Pattern[str]:
    """The pattern of a schema for `search`. `$` of JSON Schema does not match before a final
    newline, `$` of Python does.
    """
    return re.compile(regex.removesuffix("$") + r"\Z" if regex.endswith("$") else regex)


def _pattern_errors(_validator: Any, regex: str, value: Any, _schema: Any) -> Iterator[Any]:
    """The errors of the keyword `pattern`."""
    if isinstance(value, str) and not (
        len(value) <= MAX_PATTERN_TEXT and compile_pattern(regex).search(value)
    ):
        yield jsonschema.ValidationError("pattern")


_EXTEND: Any = extend
_VALIDATOR = _EXTEND(jsonschema.Draft202012Validator, {"pattern": _pattern_errors})


_COMMAND = re.compile(r"(?<=`)kubectl mesh ([^`]*)(?=`)")
"""A command of kubectl mesh in `x-must`."""


class _Mismatch:
    """A difference between a document and its schema."""

    def __init__(self, document: Document, error: Any, hints: Suggestions) -> None:
        self.document, self.error, self.hints = document, error, hints
        self.path: Path = tuple(error.absolute_path)
        must = error.schema.get("x-must", "") if isinstance(error.schema, Mapping) else ""
        self.must = _COMMAND.sub(lambda found: mesh_command(found[1]), must)
        self.kind, self.limit, self.value = (
            error.validator,
            error.validator_value,
            error.instance,
        )
        self.where = document.field_place(*self.path)

    def mismatch_problems(self) -> Iterator[Problem]:
        """The problems of the difference."""
        keyword_problems = _KEYWORD_PROBLEMS.get(self.kind)
        if keyword_problems is not None:
            yield from keyword_problems(self)
        elif (
            self.kind in ("pattern", "maxLength", "minLength")
            and "propertyNames" in self.error.absolute_schema_path
        ):
            yield Problem(
                self.document.field_place(*self.path, self.value),
                (
                    f"the name {self.must}"
                    if self.must
                    else f"the name {value_text(self.value)} is not allowed"
                ),
                code="name-not-allowed",
            )
        elif self.must:
            given = value_text(self.value)
            shows_value = self.kind in ("pattern", "maxLength") and given != "the value"
            what = f"{self.must}; it is {given}" if shows_value else self.must
            yield Problem(self.where, what, code="value-not-allowed")
        elif self.kind in ("anyOf", "oneOf") and self.error.context:
            nearest = _nearest(self.error)
            yield from _Mismatch(self.document, nearest, self.hints).mismatch_problems()
        else:
            what = _limit_text(self.kind, self.limit, self.value)
            yield Problem(self.where, what, code="value-not-allowed")

    def unknown_fields(self) -> Iterator[Problem]:
        """Problems for fields that the schema does not have."""
        known = self.error.schema.get("properties", {})
        for key in self.value:
            if key not in known:
                shows_fields = self.hints.has_remaining and len(known) <= MAX_LISTED_FIELDS
                hint = self.hints.did_you_mean(key, lambda: set(known) - set(self.value))
                fix = (
                    f"the fields here are: {', '.join(known)}" if shows_fields and not hint else ""
                )
                yield Problem(
                    self.document.field_place(*self.path, key),
                    f"unknown field{hint}",
                    fix,
                    code="field-unknown",
                )

    def missing_fields(self) -> Iterator[Problem]:
        """Problems for missing fields. A misspelt field is reported only as unknown."""
        unknown = sorted(set(self.value) - set(self.error.schema.get("properties", {})))
        for key in self.limit:
            if key not in self.value and not any(
                did_you_mean(s, {key}) for s in unknown[:MAX_UNKNOWN_FIELDS]
            ):
                what = f'the field "{key}" is missing'
                yield Problem(self.where, what, code="field-missing")

    def wrong_type(self) -> Iterator[Problem]:
        """A problem for a value of another type."""
        types = [self.limit] if isinstance(self.limit, str) else self.limit
        value, fix = self.value, ""
        if "string" in types and isinstance(value, int | float | bool):
            fix = f'quote it: "{_plain(value)}"'
        elif isinstance(value, str) and (
            ("boolean" in types and value in ("true", "false"))
            or ("integer" in types and re.fullmatch("[0-9]+", value))
        ):
            fix = f"write it without quotes: {value}"
        elif value is None and self.must:
            yield Problem(self.where, self.must, code="value-not-allowed")
            return
        what = f"must be {' or '.join(_TYPES[w] for w in types)}, not {_type(value)}"
        yield Problem(self.where, what, fix, code="type-differs")

    def unknown_word(self) -> Iterator[Problem]:
        """A problem for a value that is not one of the allowed ones."""
        hint = self.hints.did_you_mean(str(self.value), lambda: map(str, self.limit))
        choices = ", ".join(map(str, self.limit))
        what = f"{value_text(self.value)} is none of {choices}{hint}"
        yield Problem(self.where, what, code="value-unknown")

    def repeated_items(self) -> Iterator[Problem]:
        """A problem for items that a list has twice."""
        counted = Counter(map(str, self.value))
        twice = sorted(text for text, number in counted.items() if number > 1)
        what = f"names {', '.join(map(value_text, twice))} twice"
        yield Problem(self.where, what, code="item-twice")

    def out_of_bounds(self) -> Iterator[Problem]:
        """A problem for a number that is too small or too large."""
        least, most = self.error.schema.get("minimum"), self.error.schema.get("maximum")
        bounds = (
            f"at least {least}"
            if most is None
            else f"at most {most}"
            if least is None
            else f"{least} to {most}"
        )
        yield Problem(self.where, f"must be {bounds}, not {self.value}", code="out-of-bounds")


_KEYWORD_PROBLEMS: Mapping[str, Callable[[_Mismatch], Iterator[Problem]]] = {
    "additionalProperties": _Mismatch.unknown_fields,
    "required": _Mismatch.missing_fields,
    "type": _Mismatch.wrong_type,
    "enum": _Mismatch.unknown_word,
    "uniqueItems": _Mismatch.repeated_items,
    "minimum": _Mismatch.out_of_bounds,
    "maximum": _Mismatch.out_of_bounds,
}
"""The keywords of JSON Schema with problems of their own."""


def _nearest(error: Any) -> Any:
    """The error of the nearest alternative; if all alternatives only differ in type, one error with
    all types.
    """
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
    """The fact for a keyword without `x-must` and without problems of its own."""
    if kind in _COUNTED:
        if kind.startswith("min") and limit == 1:
            return "must not be empty"
        return (
            f"must have {'at least' if kind.startswith('min') else 'at most'}"
            f" {count_text(limit, _COUNTED[kind])}"
        )
    if kind == "const":
        return f"must be {value_text(limit)}, not {value_text(value)}"
    if kind == "pattern":
        return f"must match the pattern {value_text(limit)}; it is {value_text(value)}"
    return f"{value_text(value)} is not allowed here"


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
