"""Parses the YAML of a tree. Invalid content becomes a `Problem`; identical bytes are parsed
once.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model import Json
from kubectl_mesh.observed.faults import Fault
from kubectl_mesh.observed.mesh_state import Fields, Opaque
from kubectl_mesh.text import can_be_secret, path_text

CACERTS_INCOMPLETE = "cacerts-incomplete"
"""The code of a problem: `cacerts` lacks a key, a certificate, the chain or the root."""
RENDER_AGAIN = "look at what was edited, and render again"
MAX_BYTES = 4 << 20
_MAX_DEPTH = 100
_ITEM_KEYS = ("name", "fromRegistry", "address", "number", "port", "key", "secretKey", "recipient")
"""The keys that can identify an item of a list."""
_MAX_ITEM_NAME = 59
"""The longest name of an item that a path shows."""


_TOO_DEEP = Fault("yaml-too-deep", "is nested deeper than any manifest is")


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: keys are unique, a date is a text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 -- PyYAML's own
        first: [
            (tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"
        ]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        made: dict[Any, Any] = super().construct_mapping(node, deep=True)
        if len(made) != len(node.value):
            raise yaml.constructor.ConstructorError(
                None, None, "a key stands twice", node.start_mark
            )
        return made


class TreeParser:
    """Parses files; `problems` collects the problems."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._known: dict[bytes, tuple[Json, ...] | Fault] = {}

    def parse_documents(self, file: str, body: bytes | None, path: str = "") -> tuple[Json, ...]:
        """The documents of a file, or of the text at a path in it; none if it cannot be parsed."""
        if body is None:
            self.add_problem(
                file,
                "is not a regular file, or is larger than any that is rendered",
                "move it away, and render again",
                code="not-regular-file",
            )
            return ()
        found = self._known.get(body)
        if found is None:
            found = self._known[body] = _load(body)
        if isinstance(found, Fault):
            self.add_problem(file, found.text, path=path, code=found.code)
            return ()
        return found

    def parse_mapping(self, file: str, body: bytes, path: str = "") -> Mapping[str, Any]:
        """The single mapping that a text contains; empty if it contains something else."""
        found = self.parse_documents(file, body, path)
        if len(found) == 1 and isinstance(found[0], dict):
            return found[0]
        if found:
            self.add_problem(file, "holds no mapping", path=path, code="not-mapping")
        return {}

    def add_problem(
        self, file: str, what: str, fix: str = RENDER_AGAIN, path: str = "", *, code: str
    ) -> None:
        """Collects a problem."""
        self.problems.append(Problem(Place(file, path=path), what, fix, "tree-readable", code=code))


def _load(body: bytes) -> tuple[Json, ...] | Fault:
    if len(body) > MAX_BYTES:
        return Fault("yaml-too-large", "is larger than any manifest of a mesh")
    try:
        # An alias could stand for a thousand others.
        if (
            b"&" in body
            and b"*" in body
            and any(
                isinstance(event, yaml.AliasEvent) for event in yaml.parse(body, Loader=_Loader)
            )
        ):
            return Fault("yaml-alias", "holds a YAML alias, which no manifest of ours has")
        found = tuple(value for value in yaml.load_all(body, Loader=_Loader) if value is not None)
        return _TOO_DEEP if _is_too_deep(found) else found
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f" (line {mark.line + 1})" if mark is not None else ""
        return Fault("not-yaml", "is not YAML" + line)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError):
        return Fault("not-yaml", "is not YAML")


def _is_too_deep(value: Any) -> bool:
    """Whether a value is nested too deeply for the recursive functions that process it."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            inner
            for one in level
            for inner in (
                one.values()
                if isinstance(one, dict)
                else one
                if isinstance(one, list | tuple)
                else ()
            )
        ]
        if not level:
            return False
    return True


class FlatFields(Mapping[str, Json]):
    """The values of a document by the text of their path; items of a list by name if they have one.
    Computed on first access.
    """

    __slots__ = ("_made", "_skip", "_value")

    def __init__(self, value: Json, skip: tuple[str, ...] = ()) -> None:
        self._value, self._skip = value, skip
        self._made: dict[str, Json] | None = None

    def _all(self) -> dict[str, Json]:
        if self._made is None:
            self._made = {
                path: value
                for path, value in _walk_values(self._value, ())
                if not self._skips(path)
            }
        return self._made

    def _skips(self, path: str) -> bool:
        return bool(self._skip) and (
            path in self._skip
            or path.startswith(tuple(prefix + end for prefix in self._skip for end in ".["))
        )

    def __getitem__(self, path: str) -> Json:
        if self._made is None and "[" not in path and '"' not in path and not self._skips(path):
            found: Any = self._value
            for step in path.split("."):
                if not isinstance(found, dict) or step not in found:
                    raise KeyError(path)
                found = found[step]
            if not isinstance(found, dict | list):
                return found
        return self._all()[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FlatFields):
            return (
                self._skip == other._skip and self._value == other._value
            ) or self._all() == other._all()
        return self._all() == other

    __hash__ = None  # type: ignore[assignment]

    def exclude_paths(self, *prefixes: str) -> "FlatFields":
        """The fields without these paths and everything below them."""
        return FlatFields(self._value, (*self._skip, *prefixes))


def flatten_value(value: Json) -> FlatFields:
    """The values of a document by path."""
    return FlatFields(value)


def _walk_values(value: Json, path: tuple[str | int, ...]) -> Iterator[tuple[str, Json]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _walk_values(item, (*path, str(key)))
    elif isinstance(value, list) and value and any(isinstance(item, dict | list) for item in value):
        named = _item_names(value)
        for index, item in enumerate(value):
            step = path_text(path) + (f"[{named[index]}]" if named else f"[{index}]")
            for below, leaf in _walk_values(item, ()):
                yield (
                    f"{step}.{below}" if below and not below.startswith("[") else f"{step}{below}",
                    leaf,
                )
    elif path:
        yield path_text(path), value
    else:
        yield "", value


def _item_names(items: list[Any]) -> list[str] | None:
    for key in _ITEM_KEYS:
        found = [
            str(item[key])
            for item in items
            if isinstance(item, dict) and isinstance(item.get(key), str | int)
        ]
        if len(found) == len(items) == len(set(found)):
            return [
                "…" if can_be_secret(name) or len(name) > _MAX_ITEM_NAME else name for name in found
            ]
    return None


def exclude_paths(fields: Fields, *prefixes: str) -> Fields:
    """The fields without these paths and everything below them."""
    if isinstance(fields, FlatFields):
        return fields.exclude_paths(*prefixes)
    return {
        k: v
        for k, v in fields.items()
        if not any(k == p or k.startswith((f"{p}.", f"{p}[")) for p in prefixes)
    }


def digest_value(value: Json) -> Opaque:
    """The digest of a value, independent of the order of its keys."""
    body = (
        value
        if isinstance(value, bytes)
        else json.dumps(value, sort_keys=True, default=str).encode()
    )
    return Opaque(hashlib.sha256(body).digest())
