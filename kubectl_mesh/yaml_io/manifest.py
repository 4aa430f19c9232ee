"""The text of one YAML document of Kubernetes: written and read back before it leaves, and read.

Documents with templates are in `yaml_io.templates`, which loads a library for them.
"""

from typing import Any

import yaml

from kubectl_mesh.yaml_io.write import Block, dump_yaml


def parse_yaml(text: str) -> Any:
    """What PyYAML reads; texts, of which documents are made, without its detours."""
    loader = yaml.CSafeLoader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else _node_value(node, loader)
    finally:
        loader.dispose()


_MAX_DEPTH = 40
"""How deep a manifest may be nested; libyaml's composer ends the process on what is a thousand
times deeper.
"""


def read_manifest(body: str | bytes) -> Any:
    """What is in a document that somebody else may have written. Raises a ValueError for what no
    manifest is like.
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
    """Raises where a document does not read back as what was meant."""
    if parse_yaml(text) != expected:
        raise AssertionError("a document does not read back as it was meant; nothing was written")


def document_text(value: object) -> str:
    """The text of a document that no template knows; its `Block`s were read back where they were
    made, the rest is here.
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
    """The value with a token for each `Block`, whose text is known to be right at any indentation;
    itself where there is none.
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
