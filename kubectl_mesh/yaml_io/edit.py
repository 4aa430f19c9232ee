"""edit: the text of a topology and one change become the new text; every other byte, comment and
order stays.

The places come from PyYAML's node positions, the proof from reading the result: whatever was
written, it must load as exactly what was meant, or nothing is changed and the lines to write by
hand are told.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import Json
from kubectl_mesh.yaml_io.write import dump, scalar, text

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\']|\'\')*\'')
Read = Callable[[str], Json]
"""The strict loader: a text to its value."""


def add(
    source: str, context: str, entry: Mapping[str, Json], read: Read, name: str = "topology.yaml"
) -> str:
    """Adds an entry at the end of `contexts`, or the fields that it lacks to one that is there."""
    value: Any = read(source)
    contexts = value.get("contexts") or {}
    present = contexts.get(context)
    meant = {**value, "contexts": {**contexts, context: {**(present or {}), **entry}}}
    added = (
        _added(source, ("contexts",), {context: entry})
        if present is None
        else _added(source, ("contexts", context), entry)
    )
    return _proven(added, meant, read, name, dump({"contexts": {context: entry}}))


def remove(source: str, context: str, read: Read, name: str = "topology.yaml") -> str:
    """Removes an entry of `contexts`, its mention in `peers`, and its network's entry under
    `networks` if nobody is on it any more.
    """
    value: Any = read(source)
    contexts = {c: e for c, e in value["contexts"].items() if c != context}
    paths: list[tuple[str | int, ...]] = [("contexts", context)]
    for other, entry in contexts.items():
        if context in entry.get("peers", ()):
            paths.append(("contexts", other, "peers", entry["peers"].index(context)))
            contexts[other] = {**entry, "peers": [p for p in entry["peers"] if p != context]}
    meant = {**value, "contexts": contexts}
    gone = value["contexts"][context].get("network")
    if gone in (value.get("networks") or {}) and all(
        e.get("network") != gone for e in contexts.values()
    ):
        meant["networks"] = {n: e for n, e in value["networks"].items() if n != gone}
        paths.append(("networks", gone) if meant["networks"] else ("networks",))
        if not meant["networks"]:
            del meant["networks"]
    by_hand = f"remove contexts.{context}, and its name from every peers\n"
    whole: Any = yaml.compose(source, Loader=yaml.CSafeLoader)
    result = source
    # From the end of the file to its beginning, so that what is cut does not move what is still to
    # be cut.
    for start, end, instead in sorted(
        (cut for path in paths for cut in _cuts(source, whole, path)), reverse=True
    ):
        if instead is None:
            raise _by_hand(name, by_hand)
        result = result[:start] + instead + result[end:]
    return _proven(result, meant, read, name, by_hand)


def fill(source: str, fields: Mapping[str, Json], read: Read, name: str = "topology.yaml") -> str:
    """Adds fields of the topology as a whole: after `mesh_id`, or before all others where that is
    missing.
    """
    value: Any = read(source)
    whole: Any = yaml.compose(source, Loader=yaml.CSafeLoader)
    meant = {**value, **fields}
    if whole.flow_style:
        return _proven(_added(source, (), fields), meant, read, name, dump(fields))
    lines = source.splitlines(keepends=True)
    after = next((v for k, v in whole.value if k.value == "mesh_id"), None)
    at = _last_line(source, after) + 1 if after is not None else whole.value[0][0].start_mark.line
    if at == len(lines) and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    indent, ending = " " * whole.value[0][0].start_mark.column, "\r\n" if "\r\n" in source else "\n"
    block = "".join(f"{indent}{line}{ending}" for line in dump(fields).splitlines())
    return _proven(
        "".join(lines[:at]) + block + "".join(lines[at:]), meant, read, name, dump(fields)
    )


def tokens(
    source: str, context: str, entry: Mapping[str, int], read: Read, name: str = "topology.yaml"
) -> str:
    """Sets the `tokens` of a context to `entry`, or takes them away where that is empty."""
    value: Any = read(source)
    present: Mapping[str, int] = value["contexts"][context].get("tokens") or {}
    above: tuple[str | int, ...] = ("contexts", context)
    rest = {key: field for key, field in value["contexts"][context].items() if key != "tokens"}
    meant = {
        **value,
        "contexts": {
            **value["contexts"],
            context: {**rest, **({"tokens": dict(entry)} if entry else {})},
        },
    }
    by_hand = (
        dump({"contexts": {context: {"tokens": entry}}})
        if entry
        else f"remove contexts.{context}.tokens\n"
    )
    whole: Any = yaml.compose(source, Loader=yaml.CSafeLoader)
    gone = (
        []
        if not present
        else (
            [(*above, "tokens", key) for key in present if key not in entry]
            if entry
            else [(*above, "tokens")]
        )
    )
    cuts = [cut for path in gone for cut in _cuts(source, whole, path)]
    for key in present:
        if key in entry and entry[key] != present[key]:
            node = _node(whole, (*above, "tokens", key))[2]
            cuts.append((node.start_mark.index, node.end_mark.index, str(entry[key])))
    result = source
    for start, end, instead in sorted(cuts, reverse=True):
        if instead is None:
            raise _by_hand(name, by_hand)
        result = result[:start] + instead + result[end:]
    new = {key: number for key, number in entry.items() if key not in present}
    if new:
        result = (
            _added(result, (*above, "tokens"), new)
            if present
            else _added(result, above, {"tokens": new})
        )
    return _proven(result, meant, read, name, by_hand)


def _by_hand(name: str, text: str) -> MeshError:
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


def _proven(result: str, meant: Json, read: Read, name: str, by_hand: str) -> str:
    try:
        if read(result) == meant:
            return result
    except MeshError:
        pass
    raise _by_hand(name, by_hand)


def _node(whole: Any, path: tuple[str | int, ...]) -> tuple[Any, Any, Any]:
    """The parent, the key (None in a list) and the node at a path of a composed document."""
    parent: Any = None
    key: Any = None
    node: Any = whole
    for step in path:
        parent = node
        if isinstance(step, int):
            key, node = None, node.value[step]
        else:
            key, node = next((k, v) for k, v in node.value if k.value == step)
    return parent, key, node


def _last_line(source: str, node: Any) -> int:
    """The number of the last line on which a node has content; a block's own end lies behind the
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


def _added(source: str, path: tuple[str | int, ...], fields: Mapping[str, Json]) -> str:
    """Adds fields at the end of the mapping at a path; where there is no `contexts` yet, at the end
    of the text.
    """
    lines = source.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    try:
        _, key, node = _node(yaml.compose(source, Loader=yaml.CSafeLoader), path)
    except StopIteration:
        return "".join(lines) + dump({"contexts": fields})
    if isinstance(node, yaml.MappingNode) and node.flow_style and node.value:
        index = node.end_mark.index - 1
        head = source[:index].rstrip()
        inside = "" if head.endswith(",") else ","
        return (
            f"{head}{inside}"
            f" {_flow(fields)[1:-1]}{'' if head == source[:index] else ' '}{source[index:]}"
        )
    if isinstance(node, yaml.MappingNode) and node.value:
        indent, at = node.value[0][0].start_mark.column, _last_line(source, node) + 1
    else:
        # An empty value: `contexts:`, `contexts: {}` or `contexts: null`, comments behind it or
        # not.
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
    block = "".join(" " * indent + line + ending for line in dump(fields).splitlines())
    return "".join(lines[:at]) + block + "".join(lines[at:])


def _flow(value: Json) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{text(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    return "[" + ", ".join(map(_flow, value)) + "]" if isinstance(value, list) else scalar(value)


def _cuts(
    source: str, whole: Any, path: tuple[str | int, ...]
) -> Iterator[tuple[int, int, str | None]]:
    """What takes one entry of a mapping or a list out of the text: from where to where, and what
    comes instead (None: a comment is in the way).
    """
    parent, key, node = _node(whole, path)
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
        # Between braces a comment may belong to either side of what is cut.
        yield start, end, None if "#" in _QUOTED.sub("", source[start:end]) else ""
        return
    lines = source.splitlines(keepends=True)
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line))
    start_line, last = first.start_mark.line, _last_line(source, node)
    yield offsets[start_line], offsets[min(last + 1, len(lines))], ""
    if len(siblings) == 1:
        # A block whose only entry goes becomes `{}` or `[]` behind its key.
        head = start_line - 1
        while head >= 0 and (not lines[head].strip() or lines[head].lstrip().startswith("#")):
            head -= 1
        body = lines[head].partition(" #")[0].rstrip()
        at = offsets[head] + len(body)
        yield at, at, " []" if key is None else " {}"
