"""Writes YAML in which PyYAML, ruamel.yaml (YAML 1.2), kubectl and Flux read every scalar alike.

PyYAML's own dumper leaves `y`, `1e3` and `0o7` unquoted, which kubectl reads as other values. So a
scalar is plain only where all readers agree, a block literal for clean texts of several lines, and
otherwise quoted.
"""

import json
import re
from functools import lru_cache

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_.:/-]*(?<!:)\Z")
_RESERVED_WORDS = frozenset(
    ("y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf", "infinity")
)
_ESCAPED = re.compile(r"[\x00-\x1f\"\\\x7f]")
_SHORT_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


@lru_cache(maxsize=1)
def _escape_pattern() -> re.Pattern[str]:
    # Characters outside ASCII to escape. The set is fixed, because Python's printable characters
    # change with its version. Slow to compile.
    return re.compile(
        '[\x00-\x1f"\\\\\x7f-\xa0\xad\u0600-\u0605\u061c\u2000-\u206f\u3000\ufdd0-\ufdef\ufeff\ufff0-\uffff\U000e0000-\U000e0fff]'
    )


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _SHORT_ESCAPES.get(character) or (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )


@lru_cache(maxsize=16384)
def string_text(value: str) -> str:
    """One line that every reader reads as exactly this string."""
    if (
        len(value) < 1024
        and _PLAIN.match(value)
        and "::" not in value
        and value.lower() not in _RESERVED_WORDS
    ):
        return value
    return '"' + (_ESCAPED if value.isascii() else _escape_pattern()).sub(_escape, value) + '"'


def scalar_text(value: object) -> str:
    """One line for a string, an integer, a float, a boolean or null."""
    if isinstance(value, str):
        return string_text(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        number = json.dumps(value, allow_nan=False)
        # YAML 1.1 reads a number with an exponent but no point as a text.
        return number.replace("e", ".0e") if "e" in number and "." not in number else number
    raise TypeError(f"no YAML for a {type(value).__name__}")


class Block:
    """A value that many documents share; it is written and read back once, at its creation."""

    __slots__ = ("text", "value")

    def __init__(self, value: object) -> None:
        self.value = value
        self.text = _node_text(value)

    def __repr__(self) -> str:
        return "Block()"


def dump_yaml(value: object) -> str:
    """A document in block style: keys in the order of the mapping, indented by two spaces."""
    whole = _node_text(value) + "\n"
    # Only empty lines of a literal consist of spaces.
    return _BLANK.sub("", whole) if " \n" in whole else whole


_BLANK = re.compile(r"(?m)^ +$")


def expand_blocks(value: object) -> object:
    """The value with every `Block` replaced by its value."""
    if isinstance(value, Block):
        return expand_blocks(value.value)
    if isinstance(value, dict):
        return {k: expand_blocks(v) for k, v in value.items()}
    return [expand_blocks(v) for v in value] if isinstance(value, list) else value


def _node_text(value: object) -> str:
    """The text of a value without indentation, and without a newline at the end."""
    if isinstance(value, Block):
        return value.text
    if isinstance(value, dict):
        return (
            "\n".join([_entry_text(string_text(key), item) for key, item in value.items()]) or "{}"
        )
    if isinstance(value, list):
        return "\n".join(["- " + _node_text(item).replace("\n", "\n  ") for item in value]) or "[]"
    if isinstance(value, str) and "\n" in value:
        return _literal_text(value)
    return scalar_text(value)


def _entry_text(key: str, item: object) -> str:
    inner = item.value if isinstance(item, Block) else item
    if isinstance(inner, list) and inner:
        return f"{key}:\n{_node_text(item)}"
    inside = _node_text(item).replace("\n", "\n  ")
    return f"{key}:\n  {inside}" if isinstance(inner, dict) and inner else f"{key}: {inside}"


def _literal_text(value: str) -> str:
    # A literal can contain printable ASCII. Its first line sets the indentation, and readers
    # disagree about trailing spaces.
    lines = value.removesuffix("\n").split("\n")
    clean = all(line.isascii() and line.isprintable() and line[-1:] != " " for line in lines)
    if not clean or lines[0][:1] in ("", " ") or not lines[-1]:
        return string_text(value)
    return "\n".join(["|" if value.endswith("\n") else "|-", *lines])
