"""Renders a template and its values as the text of one YAML document, which is read back.

A template has the layout, and its filter `yaml` the quoting. The expected value needs no second
description: the template is rendered once with harmless markers for the values and read; the
markers are then replaced by the values. So no value can change the structure of a document.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import jinja2

from kubectl_mesh.yaml_io.manifest import check_round_trip, document_text, parse_yaml
from kubectl_mesh.yaml_io.write import scalar_text

_MARKER = re.compile(r"kubectlMesh[0-9]+m")


@cache
def _templates(read: Callable[[str], str]) -> Callable[[str], Any]:
    """A function that returns a compiled template by its name; templates are compiled once in a
    process.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(read),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["yaml"] = scalar_text
    return cache(environment.get_template)


class Manifests:
    """Renders the templates; equal values are rendered once."""

    def __init__(self, read: Callable[[str], str]) -> None:
        self._template = _templates(read)
        self._meant: dict[tuple[object, ...], Any] = {}
        self._texts: dict[tuple[object, ...], str] = {}

    def render(self, template: str, /, **values: "str | tuple[str, ...] | None") -> str:
        """The text of a document. A value is a string, a tuple of strings, or None to omit it."""
        key = (template, *values.items())
        if key not in self._texts:
            self._texts[key] = self._render(template, values)
        return self._texts[key]

    def render_once(self, template: str, /, **values: "str | tuple[str, ...] | None") -> str:
        """The same as `render`, without a cache, for values that do not repeat."""
        return self._render(template, values)

    def document_text(self, value: object) -> str:
        """The same as `manifest.document_text`, cached for a value that repeats in other
        clusters.
        """
        key = ("document", json.dumps(value))
        if key not in self._texts:
            self._texts[key] = document_text(value)
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
        check_round_trip(text, _fill_markers(tree, known))
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
        return names, parse_yaml(self._template(template).render(names))


def _fill_markers(tree: Any, known: Mapping[str, str]) -> Any:
    if isinstance(tree, str):
        if tree in known:
            return known[tree]
        return _MARKER.sub(lambda m: known[m[0]], tree)
    if isinstance(tree, dict):
        return {_fill_markers(k, known): _fill_markers(v, known) for k, v in tree.items()}
    return [_fill_markers(v, known) for v in tree] if isinstance(tree, list) else tree
