"""The text of one Kubernetes document: written and read back, or read from a file.

Documents from templates are in `yaml_io.templates`, which loads a library for them.
"""

from typing import Any

import yaml

from kubectl_mesh.yaml_io.write import Block, dump_yaml


def parse_yaml(text: str) -> Any:
    """The value of a YAML text. Most scalars in manifests are texts, which do not go through
    PyYAML's constructors.
    """
    loader = yaml.CSafeLoader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else _node_value(node, loader)
    finally:
        loader.dispose()


_MAX_DEPTH = 40
"""The deepest nesting of a manifest; libyaml's composer ends the process at about a thousand times
this depth.
"""


def read_manifest(body: str | bytes) -> Any:
    """The value of a document from an unknown writer. Raises a ValueError if it cannot be a
    manifest.
    """
    depth = 0
    try:
        for event in yaml.parse(body, Loader=yaml.CSafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
                event, yaml.CollectionEndEvent
            )
            if depth > _MAX_DEPTH or getattr(event, "anchor", None) is not None:
                raise ValueError("is nested too deep, or refers to parts of itself")
        return yaml.load(body, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, TypeError, OverflowError):
        raise ValueError("is not YAML") from None


_TEXT, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"


def _node_value(node: Any, loader: Any) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return node.value if node.tag == _TEXT else loader.construct_object(node)
    if isinstance(node, yaml.SequenceNode):
        return [_node_value(item, loader) for item in node.value]
    if any(key.tag == _MERGE for key, _ in node.value):
        return loader.construct_object(node, deep=True)
    return {_node_value(key, loader): _node_value(item, loader) for key, item in node.value}


def check_round_trip(text: str, expected: Any) -> None:
    """Raises an AssertionError if a text does not read back as the expected value."""
    if parse_yaml(text) != expected:
        raise AssertionError("a document does not read back as it was meant; nothing was written")


def document_text(value: object) -> str:
    """The text of a document without a template, which is read back. Its `Block`s were read back at
    their creation.
    """
    text, skeleton = dump_yaml(value), _without_blocks(value)
    check_round_trip(text if skeleton is value else dump_yaml(skeleton), skeleton)
    return text


def build_block(value: object) -> Block:
    """A part of many documents, written and read back once."""
    skeleton = _without_blocks(value)
    check_round_trip(dump_yaml(skeleton), skeleton)
    return Block(value)


def _without_blocks(value: object) -> object:
    """The value with a placeholder for each `Block`, whose text is correct at any indentation; the
    value itself if it has none.
    """
    if isinstance(value, Block):
        return "block"
    if isinstance(value, dict):
        items = {k: _without_blocks(v) for k, v in value.items()}
        return items if any(items[k] is not v for k, v in value.items()) else value
    if isinstance(value, list):
        parts = [_without_blocks(v) for v in value]
        return parts if any(a is not b for a, b in zip(parts, value, strict=True)) else value
    return value
