"""manifest: a template and its values become the text of one YAML document, read back before it
leaves.

A template holds layout, the filter `yaml` holds quoting. What a document ought to be is known
without writing it twice: the template is rendered once with harmless markers for the values and
read; the values put in place of the markers are what was meant. So no value can change the
structure of a document, whatever it holds.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import jinja2
import yaml

from kubectl_mesh.yaml_io.write import Block, dump, scalar

_MARKER = re.compile(r"kubectlMesh[0-9]+m")


@cache
def _templates(read: Callable[[str], str]) -> Callable[[str], Any]:
    """What gives a template by its name, compiled once in a process."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(read),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["yaml"] = scalar
    return cache(environment.get_template)


class Manifests:
    """Renders the templates; equal values give the same text without rendering twice."""

    def __init__(self, read: Callable[[str], str]) -> None:
        self._template = _templates(read)
        self._meant: dict[tuple[object, ...], Any] = {}
        self._texts: dict[tuple[object, ...], str] = {}

    def render(self, template: str, /, **values: "str | tuple[str, ...] | None") -> str:
        """The text of a document; a value is a string, a tuple of strings, or None for what is left
        out.
        """
        key = (template, *values.items())
        if key not in self._texts:
            self._texts[key] = self._render(template, values)
        return self._texts[key]

    def once(self, template: str, /, **values: "str | tuple[str, ...] | None") -> str:
        """As `render`, for values that do not come again."""
        return self._render(template, values)

    def again(self, value: object) -> str:
        """As `document`, for one that comes again in other clusters."""
        key = ("document", json.dumps(value))
        if key not in self._texts:
            self._texts[key] = document(value)
        return self._texts[key]

    def _render(self, template: str, values: Mapping[str, "str | tuple[str, ...] | None"]) -> str:
        text: str = self._template(template).render(values)
        shape = (
            template,
            *((k, len(v) if isinstance(v, tuple) else v is None) for k, v in values.items()),
        )
        if shape not in self._meant:
            self._meant[shape] = self._markers(template, values)
        names, tree = self._meant[shape]
        known: dict[str, str] = {}
        for name, value in values.items():
            if isinstance(value, tuple):
                known.update(zip(names[name], value, strict=True))
            elif value is not None:
                known[names[name]] = value
        check(text, _filled(tree, known))
        return text

    def _markers(
        self, template: str, values: Mapping[str, "str | tuple[str, ...] | None"]
    ) -> tuple[dict[str, Any], Any]:
        numbers = iter(range(1_000_000_000))
        names: dict[str, Any] = {}
        for name, value in values.items():
            if isinstance(value, tuple):
                names[name] = tuple(f"kubectlMesh{next(numbers)}m" for _ in value)
            else:
                names[name] = None if value is None else f"kubectlMesh{next(numbers)}m"
        return names, parse(self._template(template).render(names))


def parse(text: str) -> Any:
    """What PyYAML reads; texts, of which documents are made, without its detours."""
    loader = yaml.CSafeLoader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else _value(node, loader)
    finally:
        loader.dispose()


_DEEPEST = 40
"""How deep a manifest may be nested; libyaml's composer ends the process on what is a thousand
times deeper.
"""


def read(body: str | bytes) -> Any:
    """What is in a document that somebody else may have written. Raises a ValueError for what no
    manifest is like.
    """
    depth = 0
    try:
        for event in yaml.parse(body, Loader=yaml.CSafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
                event, yaml.CollectionEndEvent
            )
            if depth > _DEEPEST or getattr(event, "anchor", None) is not None:
                raise ValueError("is nested too deep, or refers to parts of itself")
        return yaml.load(body, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, TypeError, OverflowError):
        raise ValueError("is not YAML") from None


_TEXT, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"


def _value(node: Any, loader: Any) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return node.value if node.tag == _TEXT else loader.construct_object(node)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, loader) for item in node.value]
    if any(key.tag == _MERGE for key, _ in node.value):
        return loader.construct_object(node, deep=True)
    return {_value(key, loader): _value(item, loader) for key, item in node.value}


def check(text: str, meant: Any) -> None:
    """Raises where a document does not read back as what was meant."""
    if parse(text) != meant:
        raise AssertionError("a document does not read back as it was meant; nothing was written")


def _filled(tree: Any, known: Mapping[str, str]) -> Any:
    if isinstance(tree, str):
        if tree in known:
            return known[tree]
        return _MARKER.sub(lambda m: known[m[0]], tree)
    if isinstance(tree, dict):
        return {_filled(k, known): _filled(v, known) for k, v in tree.items()}
    return [_filled(v, known) for v in tree] if isinstance(tree, list) else tree


def document(value: object) -> str:
    """The text of a document that no template knows; its `Block`s were read back where they were
    made, the rest is here.
    """
    text, hollow = dump(value), _hollow(value)
    check(text if hollow is value else dump(hollow), hollow)
    return text


def block(value: object) -> Block:
    """A part of many documents, written and read back once."""
    hollow = _hollow(value)
    check(dump(hollow), hollow)
    return Block(value)


def _hollow(value: object) -> object:
    """The value with a token for each `Block`, whose text is known to be right at any indentation;
    itself where there is none.
    """
    if isinstance(value, Block):
        return "block"
    if isinstance(value, dict):
        items = {k: _hollow(v) for k, v in value.items()}
        return items if any(items[k] is not v for k, v in value.items()) else value
    if isinstance(value, list):
        made = [_hollow(v) for v in value]
        return made if any(a is not b for a, b in zip(made, value, strict=True)) else value
    return value
