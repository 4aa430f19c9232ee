"""YAML as we write it: every scalar so that PyYAML, ruamel.yaml (YAML 1.2), kubectl and Flux read the same value.

PyYAML's own dumper leaves `y`, `1e3` and `0o7` plain, which kubectl takes for something else; so the rule is our own: plain
only where no reader can take a text for anything but itself, a block literal for clean texts of several lines, else quotes.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*(?::[A-Za-z0-9_./-]+)*\Z")
_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf", "infinity"))
_ESCAPED = re.compile('[\x00-\x1f"\\\\\x7f-\xa0\xad\u0600-\u0605\u061c\u2000-\u206f\u3000\ufdd0-\ufdef\ufeff\ufff0-\uffff\U000e0000-\U000e0fff]')
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}")


@lru_cache(maxsize=16384)
def text(value: str) -> str:
    """One line that every reader takes for exactly this string."""
    if len(value) < 1024 and _PLAIN.match(value) and value.lower() not in _WORDS:
        return value
    return '"' + _ESCAPED.sub(_escape, value) + '"'


def scalar(value: object) -> str:
    """One line for a string, an integer, a float, a boolean or null."""
    if isinstance(value, str):
        return text(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return json.dumps(value, allow_nan=False)
    raise TypeError(f"no YAML for a {type(value).__name__}")


class Block:
    """A value that many documents share: written once, and read back once, where it is made."""

    __slots__ = ("lines", "value")

    def __init__(self, value: object) -> None:
        self.value = value
        self.lines = tuple(_node(value))

    def __repr__(self) -> str:
        return "Block()"


def dump(value: object) -> str:
    """A document in block style, keys in the order of the mapping, indented by two spaces."""
    return "\n".join(_node(value)) + "\n"


def unblocked(value: object) -> object:
    """The value with every `Block` replaced by what it stands for."""
    if isinstance(value, Block):
        return unblocked(value.value)
    if isinstance(value, Mapping):
        return {k: unblocked(v) for k, v in value.items()}
    return [unblocked(v) for v in value] if isinstance(value, list | tuple) else value


def _node(value: object) -> Iterator[str]:
    """The lines of a value, at no indentation."""
    if isinstance(value, Block):
        yield from value.lines
    elif isinstance(value, Mapping):
        if not value:
            yield "{}"
        for key, item in value.items():
            yield from _entry(text(key) + ":", item)
    elif isinstance(value, list | tuple):
        if not value:
            yield "[]"
        for item in value:
            lines = _node(item)
            yield f"- {next(lines)}"
            yield from (f"  {line}" if line else line for line in lines)
    elif isinstance(value, str) and "\n" in value:
        yield from _literal(value)
    else:
        yield scalar(value)


def _entry(head: str, item: object) -> Iterator[str]:
    inner = item.value if isinstance(item, Block) else item
    lines = _node(item)
    if isinstance(inner, list | tuple) and inner:
        yield head
        yield from lines
    elif isinstance(inner, Mapping) and inner:
        yield head
        yield from (f"  {line}" if line else line for line in lines)
    else:
        yield f"{head} {next(lines)}"
        yield from (f"  {line}" if line else line for line in lines)


def _literal(value: str) -> Iterator[str]:
    # A literal takes printable ASCII; its first line sets the indentation, and no reader agrees with another on trailing spaces.
    lines = value.removesuffix("\n").split("\n")
    clean = all(line.isascii() and line.isprintable() and line[-1:] != " " for line in lines)
    if not clean or lines[0][:1] in ("", " ") or not lines[-1]:
        yield text(value)
        return
    yield "|" if value.endswith("\n") else "|-"
    yield from lines
