"""Edits the text of a topology: one change, and every other byte, comment and order stays.

The places come from PyYAML's node positions, the proof from reading the result: it must load as
exactly the expected value, otherwise a `MeshError` has the lines to write by hand.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import Json
from kubectl_mesh.yaml_io.write import dump_yaml, scalar_text, string_text

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\']|\'\')*\'')
Loader = Callable[[str], Json]
"""The strict loader: a text to its value."""


def add_context(
    source: str, context: str, entry: Mapping[str, Json], read: Loader, name: str = "topology.yaml"
) -> str:
    """The text with a new entry at the end of `contexts`, or with the missing fields of an existing
    one. Raises a `MeshError`.
    """
    value: Any = read(source)
    contexts = value.get("contexts") or {}
    present = contexts.get(context)
    expected = {**value, "contexts": {**contexts, context: {**(present or {}), **entry}}}
    added = (
        _append_fields(source, ("contexts",), {context: entry})
        if present is None
        else _append_fields(source, ("contexts", context), entry)
    )
    return _verify_edit(added, expected, read, name, dump_yaml({"contexts": {context: entry}}))


def remove_context(source: str, context: str, read: Loader, name: str = "topology.yaml") -> str:
    """The text without an entry of `contexts`, without its name in `peers`, and without its network
    under `networks` if no other cluster is on it. Raises a `MeshError`.
    """
    value: Any = read(source)
    contexts = {c: e for c, e in value["contexts"].items() if c != context}
    paths: list[tuple[str | int, ...]] = [("contexts", context)]
    for other, entry in contexts.items():
        if context in entry.get("peers", ()):
            paths.append(("contexts", other, "peers", entry["peers"].index(context)))
            contexts[other] = {**entry, "peers": [p for p in entry["peers"] if p != context]}
    expected = {**value, "contexts": contexts}
    network = value["contexts"][context].get("network")
    if network in (value.get("networks") or {}) and all(
        e.get("network") != network for e in contexts.values()
    ):
        expected["networks"] = {n: e for n, e in value["networks"].items() if n != network}
        paths.append(("networks", network) if expected["networks"] else ("networks",))
        if not expected["networks"]:
            del expected["networks"]
    by_hand = f"remove contexts.{context}, and its name from every peers\n"
    root: Any = yaml.compose(source, Loader=yaml.CSafeLoader)
    result = source
    # From the end to the beginning, so that a cut does not move the positions of the next ones.
    for start, end, replacement in sorted(
        (cut for path in paths for cut in _find_cuts(source, root, path)), reverse=True
    ):
        if replacement is None:
            raise _edit_error(name, by_hand)
        result = result[:start] + replacement + result[end:]
    return _verify_edit(result, expected, read, name, by_hand)


def add_fields(
    source: str, fields: Mapping[str, Json], read: Loader, name: str = "topology.yaml"
) -> str:
    """The text with new top-level fields, after `mesh_id` or before all others. Raises a
    `MeshError`.
    """
    value: Any = read(source)
    root: Any = yaml.compose(source, Loader=yaml.CSafeLoader)
    expected = {**value, **fields}
    if root.flow_style:
        return _verify_edit(
            _append_fields(source, (), fields), expected, read, name, dump_yaml(fields)
        )
    lines = source.splitlines(keepends=True)
    after = next((v for k, v in root.value if k.value == "mesh_id"), None)
    at = _last_line(source, after) + 1 if after is not None else root.value[0][0].start_mark.line
    if at == len(lines) and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    indent, ending = " " * root.value[0][0].start_mark.column, "\r\n" if "\r\n" in source else "\n"
    block = "".join(f"{indent}{line}{ending}" for line in dump_yaml(fields).splitlines())
    return _verify_edit(
        "".join(lines[:at]) + block + "".join(lines[at:]), expected, read, name, dump_yaml(fields)
    )


def set_tokens(
    source: str, context: str, entry: Mapping[str, int], read: Loader, name: str = "topology.yaml"
) -> str:
    """The text with `entry` as the `tokens` of a context, or without `tokens` if `entry` is empty.
    Raises a `MeshError`.
    """
    value: Any = read(source)
    present: Mapping[str, int] = value["contexts"][context].get("tokens") or {}
    above: tuple[str | int, ...] = ("contexts", context)
    rest = {key: field for key, field in value["contexts"][context].items() if key != "tokens"}
    expected = {
        **value,
        "contexts": {
            **value["contexts"],
            context: {**rest, **({"tokens": dict(entry)} if entry else {})},
        },
    }
    by_hand = (
        dump_yaml({"contexts": {context: {"tokens": entry}}})
        if entry
        else f"remove contexts.{context}.tokens\n"
    )
    root: Any = yaml.compose(source, Loader=yaml.CSafeLoader)
    removed = (
        []
        if not present
        else (
            [(*above, "tokens", key) for key in present if key not in entry]
            if entry
            else [(*above, "tokens")]
        )
    )
    cuts = [cut for path in removed for cut in _find_cuts(source, root, path)]
    for key in present:
        if key in entry and entry[key] != present[key]:
            node = _find_node(root, (*above, "tokens", key))[2]
            cuts.append((node.start_mark.index, node.end_mark.index, str(entry[key])))
    result = source
    for start, end, replacement in sorted(cuts, reverse=True):
        if replacement is None:
            raise _edit_error(name, by_hand)
        result = result[:start] + replacement + result[end:]
    new = {key: number for key, number in entry.items() if key not in present}
    if new:
        result = (
            _append_fields(result, (*above, "tokens"), new)
            if present
            else _append_fields(result, above, {"tokens": new})
        )
    return _verify_edit(result, expected, read, name, by_hand)


def _edit_error(name: str, text: str) -> MeshError:
    lines = "".join(f"    {line}\n" for line in text.splitlines())
    return MeshError(
        [
            Problem(
                Place(name),
                "is written in a way that cannot be edited without changing more",
                f"edit it by hand:\n{lines}".rstrip(),
                code="edit-not-possible",
            )
        ]
    )


def _verify_edit(result: str, expected: Json, read: Loader, name: str, by_hand: str) -> str:
    try:
        if read(result) == expected:
            return result
    except MeshError:
        pass
    raise _edit_error(name, by_hand)


def _find_node(root: Any, path: tuple[str | int, ...]) -> tuple[Any, Any, Any]:
    """The parent, the key (None in a list) and the node at a path of a composed document."""
    parent: Any = None
    key: Any = None
    node: Any = root
    for step in path:
        parent = node
        if isinstance(step, int):
            key, node = None, node.value[step]
        else:
            key, node = next((k, v) for k, v in node.value if k.value == step)
    return parent, key, node


def _last_line(source: str, node: Any) -> int:
    """The number of the last line of a node's content; the end of a block in PyYAML comes after the
    comments that follow it.
    """
    if isinstance(node, yaml.ScalarNode):
        if node.style in ("|", ">"):
            lines = source.splitlines()
            end = node.end_mark.line if node.end_mark.column == 0 else node.end_mark.line + 1
            while end - 1 > node.start_mark.line and (
                not lines[end - 1].strip() or lines[end - 1].startswith("#")
            ):
                end -= 1
            return end - 1
        return int(node.end_mark.line)
    if node.flow_style or not node.value:
        return int(node.end_mark.line)
    last = node.value[-1]
    return _last_line(source, last[1] if isinstance(last, tuple) else last)


def _append_fields(source: str, path: tuple[str | int, ...], fields: Mapping[str, Json]) -> str:
    """The text with fields at the end of the mapping at a path; without `contexts`, at the end of
    the text.
    """
    lines = source.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    try:
        _, key, node = _find_node(yaml.compose(source, Loader=yaml.CSafeLoader), path)
    except StopIteration:
        return "".join(lines) + dump_yaml({"contexts": fields})
    if isinstance(node, yaml.MappingNode) and node.flow_style and node.value:
        index = node.end_mark.index - 1
        head = source[:index].rstrip()
        inside = "" if head.endswith(",") else ","
        return (
            f"{head}{inside}"
            f" {_flow_text(fields)[1:-1]}{'' if head == source[:index] else ' '}{source[index:]}"
        )
    if isinstance(node, yaml.MappingNode) and node.value:
        indent, at = node.value[0][0].start_mark.column, _last_line(source, node) + 1
    else:
        # An empty value: `contexts:`, `contexts: {}` or `contexts: null`, perhaps with a comment.
        line = lines[key.start_mark.line]
        rest = line[node.end_mark.column :] if node.end_mark.line == key.start_mark.line else "\n"
        ending = "\r\n" if line.endswith("\r\n") else "\n"
        lines[key.start_mark.line] = (
            line[: key.end_mark.column] + ":" + (rest if rest.strip().startswith("#") else ending)
        )
        indent, at = key.start_mark.column + 2, key.start_mark.line + 1
        while (
            at < len(lines)
            and lines[at].lstrip(" ").startswith("#")
            and len(lines[at]) - len(lines[at].lstrip(" ")) >= indent
        ):
            at += 1
    ending = "\r\n" if "\r\n" in source else "\n"
    block = "".join(" " * indent + line + ending for line in dump_yaml(fields).splitlines())
    return "".join(lines[:at]) + block + "".join(lines[at:])


def _flow_text(value: Json) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{string_text(k)}: {_flow_text(v)}" for k, v in value.items()) + "}"
    return (
        "[" + ", ".join(map(_flow_text, value)) + "]"
        if isinstance(value, list)
        else scalar_text(value)
    )


def _find_cuts(
    source: str, root: Any, path: tuple[str | int, ...]
) -> Iterator[tuple[int, int, str | None]]:
    """The cuts that remove an entry of a mapping or a list: start, end and replacement (None: a
    comment prevents it).
    """
    parent, key, node = _find_node(root, path)
    first = key if key is not None else node
    siblings = [p[0] if isinstance(p, tuple) else p for p in parent.value]
    position = next(
        i for i, s in enumerate(siblings) if s.start_mark.index == first.start_mark.index
    )
    if parent.flow_style:
        start, end = first.start_mark.index, node.end_mark.index
        if position + 1 < len(siblings):
            end = siblings[position + 1].start_mark.index
        elif position:
            before = parent.value[position - 1]
            start = (before[1] if isinstance(before, tuple) else before).end_mark.index
        # Between braces a comment can belong to either side of the cut.
        yield start, end, None if "#" in _QUOTED.sub("", source[start:end]) else ""
        return
    lines = source.splitlines(keepends=True)
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line))
    start_line, last = first.start_mark.line, _last_line(source, node)
    yield offsets[start_line], offsets[min(last + 1, len(lines))], ""
    if len(siblings) == 1:
        # A block that loses its only entry becomes `{}` or `[]` after its key.
        head = start_line - 1
        while head >= 0 and (not lines[head].strip() or lines[head].lstrip().startswith("#")):
            head -= 1
        body = lines[head].partition(" #")[0].rstrip()
        at = offsets[head] + len(body)
        yield at, at, " []" if key is None else " {}"
