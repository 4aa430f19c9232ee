"""The text of one YAML document of Kubernetes: written and read back before it leaves, and read.

Documents with templates are in `yaml_io.templates`, which loads a library for them.
"""

from typing import Any

import yaml

from kubectl_mesh.yaml_io.write import Block, dump


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
