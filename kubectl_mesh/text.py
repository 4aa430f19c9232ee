"""Text for people: plurals, suggestions, commands and paths as values, and safe display of foreign
text.
"""

import difflib
import json
import os
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Self

# A part of every mark, random in each process, so that no foreign text contains a mark. Unicode
# reserves these code points for internal use and will never assign them to characters.
_TOKEN = "".join(chr(0xFDD5 + byte % 27) for byte in os.urandom(16))
# Around a command or a path inside a text.
_COMMAND = f"\ufdd0{_TOKEN}", f"\ufdd1{_TOKEN}"
_PATH = f"\ufdd2{_TOKEN}", f"\ufdd3{_TOKEN}"


def mesh_command(words: str) -> str:
    """A command of kubectl mesh as a value inside a text: `certs renew NAME` becomes `kubectl mesh
    certs renew NAME` between marks.

    The command line renders it with the options of its run (`render_commands`).
    """
    return mark_command(f"kubectl mesh {words}")


def mark_command(command: str) -> str:
    """A complete command, which begins with `kubectl mesh`, as a value inside a text."""
    return f"{_COMMAND[0]}{command}{_COMMAND[1]}"


def work_path(path: str) -> str:
    """A path below the working directory as a value inside a text, between marks.

    The command line renders it (`render_paths`); without that it is relative to the working
    directory.
    """
    return f"{_PATH[0]}{path}{_PATH[1]}"


def render_commands(text: str, render: Callable[[str], str]) -> str:
    """A text with each command that is a value replaced by what `render` returns for it."""
    return _render_values(text, _COMMAND, render)


def render_paths(text: str, render: Callable[[str], str]) -> str:
    """A text with each path that is a value replaced by what `render` returns for it."""
    return _render_values(text, _PATH, render)


def _render_values(text: str, marks: tuple[str, str], render: Callable[[str], str]) -> str:
    before, *parts = text.split(marks[0])
    for part in parts:
        value, _, after = part.partition(marks[1])
        before += render(value) + after
    return before


def wrap_text(text: str, width: int, first: str = "", then: str = "") -> list[str]:
    """The lines of a text with at most `width` columns. `first` comes before the first line, `then`
    before the others. Words and commands are not broken, and the marks of commands have no width.
    """
    commands: list[tuple[str, str]] = []

    def hold_place(command: str) -> str:
        place = _TOKEN.ljust(len(plain_text(command)), "\ufdd4")
        commands.append((place, command))
        return place

    lines = textwrap.wrap(
        render_commands(text, hold_place),
        width,
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [_fill_places(line, commands) for line in lines]


def _fill_places(line: str, commands: list[tuple[str, str]]) -> str:
    """A line with its commands in their places; they are removed from the list."""
    while commands and commands[0][0] in line:
        place, command = commands.pop(0)
        line = line.replace(place, mark_command(command), 1)
    return line


def plain_text(text: str) -> str:
    """A text without marks: commands without options, paths relative to the working directory."""
    if _TOKEN in text:
        for mark in (*_COMMAND, *_PATH):
            text = text.replace(mark, "")
    return text


class Text(str):
    """A text without marks that keeps the commands and paths in it as values."""

    __slots__ = ("marked",)

    marked: str
    """The same text with marks."""

    def __new__(cls, marked: str) -> Self:
        text = super().__new__(cls, plain_text(marked))
        text.marked = marked
        return text


def keep_values(text: str) -> str:
    """A `Text` where a text contains values, otherwise the text itself."""
    if isinstance(text, Text):
        return text
    return Text(text) if _TOKEN in text else text


def marked_text(text: str) -> str:
    """A text with the marks that `mesh_command` and `work_path` set."""
    return text.marked if isinstance(text, Text) else text


def count_text(number: int, noun: str) -> str:
    """A number with its noun: `1 cluster`, `2 days`, `3 directories`."""
    if number == 1:
        return f"1 {noun}"
    return (
        f"{number} {noun[:-1]}ies"
        if noun.endswith("y") and noun[-2] not in "aeiou"
        else f"{number} {noun}s"
    )


def single_line(name: str) -> str:
    """A file name with newlines escaped, so that it cannot look like two lines of a report."""
    return name.replace("\n", "\\n")


def mesh_size_text(value: Mapping[str, Any]) -> str:
    """The numbers of clusters and networks in the JSON of `describe`, and how many of them it
    covers: `1 of 3 clusters, 1 of 2 networks`.
    """
    shown = {cluster["network"] for cluster in value["clusters"]}
    parts = (
        (len(value["clusters"]), value["total"], "cluster"),
        (len(shown), len(value["networks"]), "network"),
    )
    return ", ".join(
        count_text(total, noun) if some == total else f"{some} of {count_text(total, noun)}"
        for some, total, noun in parts
    )


# Possible secrets in any text: PEM keys, age identities, JWTs, OpenShift tokens, passwords in URLs.
# In values also long base64.
_SECRET = re.compile(r"PRIVATE KEY|AGE-SECRET-KEY|eyJ[A-Za-z0-9_-]{8}|sha256~|//[^/@\s]*@")

_LONG = re.compile(r"[A-Za-z0-9+/_=-]{60}")

_BARE = re.compile(r"[A-Za-z0-9_@:/-]+\Z")


def can_be_secret(text: str) -> bool:
    """Whether a text looks like a secret, so that no message may contain it."""
    return bool(_SECRET.search(text))


FORMAT_CHARACTERS = (
    "\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
"""Unicode's invisible format characters (Cf) as the inside of a character class: bidirectional
controls, zero widths, tags.

The ranges are fixed here, because Python's change with its version.
"""


@lru_cache(maxsize=1)
def _invisible_pattern() -> re.Pattern[str]:
    # Controls and invisible characters move a terminal's cursor or disguise a text. Ranges outside
    # ASCII are slow to compile and seldom needed.
    return re.compile(
        f"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029{FORMAT_CHARACTERS}\ud800-\udfff\ufdd0-\ufdef]"
    )


def _escape_invisible(text: str, escape: Callable[[str], str]) -> str:
    """A text with `escape` applied to every invisible character, except in marks."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    *marked, last = text.split(_TOKEN)
    parts = [(part[:-1], f"{part[-1:]}{_TOKEN}") for part in marked]
    pattern = _invisible_pattern()
    return "".join(
        pattern.sub(lambda match: escape(match[0]), part) + mark
        for part, mark in [*parts, (last, "")]
    )


def escape_for_terminal(text: str) -> str:
    """A text that is safe to print: newlines stay, other controls and invisible characters are
    escaped.
    """
    return _escape_invisible(text, _terminal_escape)


def _terminal_escape(char: str) -> str:
    code = ord(char)
    return (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )


def escape_for_json(text: str) -> str:
    """The same JSON, with controls and invisible characters as JSON escapes."""
    return _escape_invisible(text, _json_escape)


def _json_escape(char: str) -> str:
    return "".join(f"\\u{unit:04x}" for unit in _utf16_units(char))


def _utf16_units(char: str) -> tuple[int, ...]:
    """The UTF-16 code units of a character, as JSON writes them."""
    code = ord(char)
    return (code,) if code < 65536 else (0xD7C0 + (code >> 10), 0xDC00 + (code & 0x3FF))


def path_text(path: Iterable[str | int]) -> str:
    """The path of a field as people write it: `contexts.east.gateways[0].port`. Unusual keys are
    quoted, and possible secrets are left out.
    """
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            bare = (
                "…"
                if can_be_secret(step)
                else step
                if _BARE.match(step)
                else json.dumps(step, ensure_ascii=False)
            )
            text += f".{bare}" if text else bare
    return text


_MANY = 50


def first_names(names: Sequence[str], most: int = 3) -> str:
    """The first names of a list, and the number of the others."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean "…"?)` with the known word that is nearest, or an empty text."""
    if can_be_secret(word):
        return ""
    known = sorted(k for k in known if not can_be_secret(k))
    folded = {k.casefold().replace("_", "").replace("-", ""): k for k in known}
    same = folded.get(word.casefold().replace("_", "").replace("-", ""))
    if same is None and len(known) > _MANY:
        # difflib takes 50 µs a pair, so of many words only those are compared that share half of
        # the pairs of letters.
        mine = _letter_pairs(word)
        known = [
            k
            for k in known
            if abs(len(k) - len(word)) < 4 and 2 * len(mine & _letter_pairs(k)) >= len(mine)
        ][:_MANY]
    close = [same] if same is not None else difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" (did you mean {json.dumps(close[0], ensure_ascii=False)}?)" if close else ""


class Suggestions:
    """Suggests known words for the first misspelt ones. Nobody reads thousands of suggestions, and
    each takes milliseconds.
    """

    def __init__(self, most: int = 40) -> None:
        self._left = most

    @property
    def has_remaining(self) -> bool:
        """Whether there are suggestions left."""
        return self._left > 0

    def did_you_mean(self, word: str, known: Callable[[], Iterable[str]]) -> str:
        """The same as `did_you_mean`; `known` is called only if a suggestion is left."""
        if self._left <= 0:
            return ""
        self._left -= 1
        return did_you_mean(word, known())


@lru_cache(maxsize=8192)
def _letter_pairs(word: str) -> frozenset[str]:
    return frozenset(word[i : i + 2] for i in range(len(word) - 1))


def value_text(value: object) -> str:
    """A value of the user's as messages show it: short, escaped, and never a possible secret."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if can_be_secret(text) or _LONG.search(text):
        return "the value"
    return text if len(text) <= 60 else text[:57] + "…" + ('"' if text[0] == '"' else "")
