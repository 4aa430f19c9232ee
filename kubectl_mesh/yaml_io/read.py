"""Reads the bytes of a YAML file as a `Document`, or raises a `MeshError` with the places of what
is wrong.

One pass over libyaml's events builds the value, so that aliases, tags, merge keys, duplicate keys
and deep nesting do no harm: PyYAML's composer crashes the interpreter on deep nesting, and silently
keeps the last of two equal keys.
"""

import codecs
from collections.abc import Callable
from dataclasses import replace
from typing import Any, BinaryIO, Self

import yaml
from yaml import events

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import Document, Json
from kubectl_mesh.text import path_text, value_text
from kubectl_mesh.yaml_io import write
from kubectl_mesh.yaml_io.scalars import (
    BOOLEAN_WORDS,
    NULL_WORDS,
    copy_value,
    count_nodes,
    find_invalid_character,
    invisible_pattern,
    nesting_depth,
    plain_value,
)

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 40
MAX_NODES = 500_000
MAX_AMBIGUOUS = 10_000
"""The largest number of reported values that programs read differently."""
MAX_VARIANTS = 16
"""The largest number of duplicate keys whose later values are checked."""
MAX_KEY = 512
"""A longer key is not the name of a field; the limit of YAML is 1024."""

Path = tuple[str | int, ...]
_DUPLICATE = "\0twice"
"""The prefix of a duplicate key until the document ends. No key of a file starts with it, because
YAML does not allow NUL.
"""

# The messages of libyaml, each with a clearer text and a remedy.
_MEANINGS = {
    "found character that cannot start any token": (
        "no value begins with this character",
        "YAML is indented by spaces, never by tabs; a text that begins with @ or ` wants quotes",
    ),
    "mapping values are not allowed in this context": (
        'a ": " stands in a text without quotes, or a line is indented wrongly',
        "quote the text, or look at the indentation",
    ),
    "did not find expected key": (
        "a line is indented otherwise than those beside it",
        "look at the indentation of this line and of those above",
    ),
    "did not find expected ',' or '}'": (
        "a brace is not closed",
        "close it, or put a comma between the entries",
    ),
    "did not find expected ',' or ']'": (
        "a bracket is not closed",
        "close it, or put a comma between the items",
    ),
    "could not find expected ':'": (
        "a line holds neither a key with a colon nor an item of a list",
        "put a colon behind the key",
    ),
}


class _StopError(Exception):
    """A reason to stop reading a document, with its mark."""

    def __init__(
        self,
        mark: Any,
        what: str,
        fix: str = "",
        path: tuple[str | int, ...] = (),
        *,
        code: str,
    ) -> None:
        self.mark, self.what, self.fix, self.path, self.code = mark, what, fix, path, code


def load_document(
    name: str, text: bytes, *, typed: bool = True, aliases: bool = False, lenient: bool = False
) -> Document:
    """The only YAML document of a file. Raises a `MeshError`.

    With `lenient`, duplicate keys and ambiguous values do not raise: they are in the `problems` of
    the document, so that they are reported together with the problems of the rest.

    `typed=False` leaves every scalar a string, for files of other tools (a kubeconfig) without
    numbers. `aliases=True` allows anchors, for base.yaml; their values are copied, within the limit
    on nodes.
    """
    return _load(name, text, typed=typed, aliases=aliases, lenient=lenient, several=False)[0]


def load_documents(name: str, text: bytes, *, lenient: bool = False) -> tuple[Document, ...]:
    """All YAML documents of a file, with anchors; empty documents are skipped unless there is no
    other.

    `lenient` as in `load_document`; the last document has the problems of all.
    """
    documents = _load(name, text, typed=True, aliases=True, lenient=lenient, several=True)
    return tuple(d for d in documents if d.value is not None) or documents[:1]


def stream_documents(name: str, stream: BinaryIO, on_document: Callable[[Document], None]) -> None:
    """Reads the documents of a dump one by one, with anchors, and calls `on_document` for each; for
    a list, with each object that has a kind.

    Only one of them is in memory. Only the document itself has a position, not its fields.
    """
    part = _Stream(name, stream)
    _build_documents(
        name,
        _Builder(typed=True, aliases=True, several=True, stream=part, on_document=on_document),
        part,
    )


class _Stream:
    """A decoded stream for libyaml. Raises a `MeshError` if one object is larger than a file may
    be.
    """

    def __init__(self, name: str, stream: BinaryIO) -> None:
        self.name, self._stream = name, stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._line, self._size, self._first = 1, 0, True

    def begin_object(self) -> None:
        """Starts the size limit of the next object."""
        self._size = 0

    def read(self, size: int = 4096, /) -> str:
        """The next characters; empty at the end."""
        body = self._stream.read(size)
        self._size += len(body)
        if self._size > MAX_BYTES:
            what = f"an object that ends here, or later, is larger than {MAX_BYTES // 2**20} MiB"
            raise MeshError(
                [
                    Problem(
                        Place(self.name, self._line),
                        what,
                        "dump less at once: the namespace of Istio alone",
                        code="object-too-large",
                    )
                ]
            )
        try:
            text = self._decoder.decode(body, final=not body)
        except UnicodeDecodeError as error:
            line = self._line + body.count(b"\n", 0, error.start)
            raise MeshError(
                [
                    Problem(
                        Place(self.name, line, 1),
                        "is not UTF-8",
                        "save the file in UTF-8",
                        code="not-utf-8",
                    )
                ]
            ) from None
        if self._first and text:
            text, self._first = text.removeprefix("\ufeff"), False
        _refuse_deceptive(self.name, text, self._line)
        self._line += text.count("\n")
        return text or ("" if not body else self.read(size))


def _load(
    name: str, text: bytes, *, typed: bool, aliases: bool, lenient: bool, several: bool
) -> tuple[Document, ...]:
    if len(text) > MAX_BYTES:
        raise MeshError(
            [
                Problem(
                    Place(name),
                    f"is larger than {MAX_BYTES // 2**20} MiB, so no file of this kind",
                    code="file-too-large",
                )
            ]
        )
    try:
        decoded = text.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise MeshError(
            [
                Problem(
                    Place(name, line, 1), "is not UTF-8", "save the file in UTF-8", code="not-utf-8"
                )
            ]
        ) from None
    _refuse_deceptive(name, decoded, 1)
    builder = _Builder(typed, aliases, several)
    problems = _build_documents(name, builder, decoded, lenient=lenient)
    *before, last = (
        _first_values(name, root, marks, builder.later)
        for root, marks in (*builder.before, (builder.root, builder.marks))
    )
    return (*before, replace(last, problems=problems))


def _refuse_deceptive(name: str, text: str, first: int) -> None:
    match = None if text.isascii() else invisible_pattern().search(text)
    if match:
        line = text.count("\n", 0, match.start()) + first
        column = match.start() - text.rfind("\n", 0, match.start())
        what = (
            f"holds the invisible character U+{ord(match[0]):04X}, which makes a text look other"
            " than it is read"
        )
        raise MeshError(
            [
                Problem(
                    Place(name, line, column),
                    what,
                    "delete the character",
                    code="character-not-allowed",
                )
            ]
        )


def _build_documents(
    name: str, builder: "_Builder", text: "str | _Stream", *, lenient: bool = False
) -> tuple[Problem, ...]:
    """Builds all documents, and returns the problems that did not keep them from being read."""
    try:
        builder.build_all(text)
    except _StopError as stop:
        line, column = (stop.mark.line + 1, stop.mark.column + 1) if stop.mark else (1, 1)
        raise MeshError(
            [
                Problem(
                    Place(name, line, column, path_text(stop.path)),
                    stop.what,
                    stop.fix,
                    code=stop.code,
                )
            ]
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = str(error.problem or error.context)
        meaning, fix = _MEANINGS.get(what, (what, ""))
        raise MeshError(
            [Problem(Place(name, line, column), f"is not YAML: {meaning}", fix, code="not-yaml")]
        ) from None
    except yaml.YAMLError as error:
        position = getattr(error, "position", None)
        line = (
            text.count("\n", 0, position) + 1
            if isinstance(position, int) and isinstance(text, str)
            else 1
        )
        reason = getattr(error, "reason", "") or "it cannot be read"
        raise MeshError(
            [Problem(Place(name, line, 1), f"is not YAML: {reason}", code="not-yaml")]
        ) from None
    problems = tuple(
        Problem(Place(name, *position, path_text(path)), what, fix, code=code)
        for position, path, what, fix, code in builder.traps
    )
    if problems and not lenient:
        raise MeshError(problems)
    return problems


class EitherFix(str):
    """The remedy for a value that YAML 1.1 reads as a boolean, and that can be meant as a text."""

    __slots__ = ("if_text",)

    if_text: str
    """The remedy if only a text can be meant."""

    def __new__(cls, value: str) -> Self:
        fix = super().__new__(cls, f"write true or false, or quote it if it is a text: {value}")
        fix.if_text = f"quote it: {value}"
        return fix


Marks = dict[tuple[str | int, ...], tuple[int, int]]


def _first_values(name: str, root: Json, marks: Marks, later: list[Path]) -> Document:
    """The document with the first value of each key, and its variants, each with one of the values
    at the paths in `later`.
    """
    if not later:
        return Document(name, root, marks)
    documents = []
    for raw in [(), *(path for path in later if path in marks)][: MAX_VARIANTS + 1]:
        positions: Marks = {}
        chosen = {raw[:end] for end in range(len(raw) + 1)}
        value = _choose_values(root, chosen, marks, positions, (), ())
        documents.append(
            Document(name, value, positions, replaced_path=tuple(map(_original_key, raw)))
        )
    return replace(documents[0], variants=tuple(documents[1:]))


def _original_key(step: str | int) -> str | int:
    """The key in the file, without the prefix of duplicates."""
    return (
        step.rpartition("\0")[2] if isinstance(step, str) and step.startswith(_DUPLICATE) else step
    )


def _choose_values(
    value: Json, chosen: set[Path], marks: Marks, positions: Marks, raw: Path, path: Path
) -> Json:
    """A value with one value for each key: the one on a path in `chosen`, otherwise the first.
    `raw` is its path with the prefixes of duplicates.
    """
    if raw in marks:
        positions[path] = marks[raw]
    if isinstance(value, list):
        return [
            _choose_values(item, chosen, marks, positions, (*raw, i), (*path, i))
            for i, item in enumerate(value)
        ]
    if not isinstance(value, dict):
        return value
    keys: dict[str, list[str]] = {}
    for key in value:
        keys.setdefault(str(_original_key(key)), []).append(key)
    chosen_values: dict[str, Json] = {}
    for key, all_ in keys.items():
        read = next((k for k in all_[1:] if (*raw, k) in chosen), all_[0])
        chosen_values[key] = _choose_values(
            value[read], chosen, marks, positions, (*raw, read), (*path, key)
        )
    return chosen_values


class _OpenCollection:
    """A mapping or sequence that is being read: its value, its path, and the key whose value comes
    next.
    """

    __slots__ = ("anchor", "key", "path", "value")

    def __init__(
        self, value: dict[str, Json] | list[Json], path: tuple[str | int, ...], anchor: str | None
    ) -> None:
        self.value, self.path, self.anchor = value, path, anchor
        self.key: str | None = None


class _Builder:
    """Builds the values of one document, or of `several`, from events."""

    def __init__(
        self,
        typed: bool,
        aliases: bool,
        several: bool,
        stream: _Stream | None = None,
        on_document: Callable[[Document], None] | None = None,
    ) -> None:
        self.typed, self.aliases, self.several = typed, aliases, several
        self.part, self.each = stream, on_document
        self.before: list[tuple[Json, dict[tuple[str | int, ...], tuple[int, int]]]] = []
        self.root: Json = None
        self.marks: dict[tuple[str | int, ...], tuple[int, int]] = {}
        self.traps: list[tuple[tuple[int, int], tuple[str | int, ...], str, str, str]] = []
        self.anchors: dict[str, tuple[Json, int]] = {}
        self.open: list[_OpenCollection] = []
        self.nodes = 0
        self.documents = 0
        self.later: list[Path] = []
        """The paths of keys that are not the first of their name; `_first_values` takes them away.
        """

    def build_all(self, text: "str | _Stream") -> None:
        """Builds the values of all documents of a text."""
        event: Any
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            kind = type(event)
            if kind is events.ScalarEvent:
                self.check_node(event)
                if self.typed and (found := find_invalid_character(event.value)):
                    what = (
                        f"holds the character U+{ord(found[0]):04X}, which not every reader takes"
                        " or shows"
                    )
                    raise _StopError(
                        event.start_mark,
                        what,
                        "delete the character",
                        self.next_path(),
                        code="character-not-allowed",
                    )
                top = self.open[-1] if self.open else None
                if top is not None and type(top.value) is dict and top.key is None:
                    self.add_key(event, top)
                else:
                    self.add_value(self.scalar_value(event), event)
            elif kind is events.MappingStartEvent or kind is events.SequenceStartEvent:
                self.enter_collection(event, {} if kind is events.MappingStartEvent else [])
            elif kind is events.MappingEndEvent or kind is events.SequenceEndEvent:
                self.leave_collection()
            elif kind is events.AliasEvent:
                self.add_alias(event)
            elif kind is events.DocumentEndEvent:
                self.end_document()
            elif kind is events.DocumentStartEvent:
                self.begin_document(event)

    def enter_collection(self, event: Any, value: "dict[str, Json] | list[Json]") -> None:
        """Starts a mapping or a list."""
        self.check_node(event)
        top = self.open[-1] if self.open else None
        if top is not None and type(top.value) is dict and top.key is None:
            what = "a key must be a text, not a mapping or a list"
            raise _StopError(event.start_mark, what, "", top.path, code="key-not-a-text")
        if len(self.open) >= MAX_DEPTH:
            raise _StopError(
                event.start_mark,
                f"is nested more than {MAX_DEPTH} levels deep",
                code="nested-too-deep",
            )
        self.open.append(_OpenCollection(value, self.add_value(value, event), event.anchor))

    def leave_collection(self) -> None:
        """Ends a mapping or a list."""
        done = self.open.pop()
        if done.anchor:
            self.anchors[done.anchor] = (done.value, count_nodes(done.value))
        if self.each is not None and done.path[:1] == ("items",) and len(done.path) == 2:
            self.emit_item(done)

    def begin_document(self, event: Any) -> None:
        """Starts a document; raises `_StopError` for a second one where only one is allowed."""
        if self.each is not None:
            return
        self.documents += 1
        if self.documents > 1 and self.several:
            self.before.append((self.root, self.marks))
            self.root, self.marks, self.anchors = None, {}, {}
        elif self.documents > 1:
            what = "a second document begins here; the file holds one"
            raise _StopError(
                event.start_mark, what, "remove the line `---`", code="document-not-alone"
            )

    def end_document(self) -> None:
        """Passes a document to `on_document`, if documents are streamed."""
        if self.each is None or self.part is None:
            return
        self.each(Document(self.part.name, self.first_values(self.root), self.marks))
        self.root, self.marks, self.anchors, self.nodes = None, {}, {}, 0
        self.part.begin_object()

    def emit_item(self, done: _OpenCollection) -> None:
        """Passes an object of a list to `on_document` and removes it from the list."""
        items = self.open[-1].value
        if (
            not isinstance(done.value, dict)
            or "kind" not in done.value
            or not isinstance(items, list)
        ):
            return
        assert self.each is not None
        assert self.part is not None
        self.each(
            Document(self.part.name, self.first_values(done.value), {(): self.marks[done.path]})
        )
        items[-1] = None
        self.marks = {path: mark for path, mark in self.marks.items() if len(path) < 2}
        # Anchors stay, because one object can refer to another, as PyYAML writes lists.
        self.nodes = sum(count for _, count in self.anchors.values())
        self.part.begin_object()

    def first_values(self, value: Json) -> Json:
        """A value with the first value of each key."""
        return _choose_values(value, set(), {}, {}, (), ()) if self.traps else value

    def check_node(self, event: Any, count: int = 1) -> None:
        """Raises `_StopError` for too many nodes, an anchor that is not allowed, or a tag."""
        self.nodes += count
        path = self.next_path()
        if self.nodes > MAX_NODES:
            raise _StopError(
                event.start_mark, f"holds more than {MAX_NODES} values", code="too-many-values"
            )
        if isinstance(event, events.AliasEvent):
            return
        if event.anchor and not self.aliases:
            raise _StopError(
                event.start_mark,
                f"has an anchor (&{event.anchor}); each value is to be written out",
                "",
                path,
                code="anchor-not-allowed",
            )
        tag = getattr(event, "tag", None)
        if tag and tag != "!":
            raise _StopError(
                event.start_mark,
                f"has a YAML tag ({value_text(tag)}); plain values only",
                "remove the tag",
                path,
                code="tag-not-allowed",
            )

    def next_path(self) -> tuple[str | int, ...]:
        """The path of the next value."""
        if not self.open:
            return ()
        top = self.open[-1]
        if isinstance(top.value, list):
            return (*top.path, len(top.value))
        return (*top.path, top.key) if top.key is not None else top.path

    def add_key(self, event: Any, top: _OpenCollection) -> None:
        key = event.value
        if event.implicit[0] and key == "<<":
            raise _StopError(
                event.start_mark,
                "is a merge key (<<), which readers treat differently",
                "write the fields out",
                top.path,
                code="merge-key-not-allowed",
            )
        if len(key) > MAX_KEY or len(write.string_text(key)) > 2 * MAX_KEY:
            raise _StopError(
                event.start_mark,
                f"a key is longer than {MAX_KEY} characters",
                "",
                top.path,
                code="key-too-long",
            )
        assert isinstance(top.value, dict)
        if key in top.value:
            line = self.marks[(*top.path, key)][0]
            self.note_ambiguity(
                event,
                (*top.path, key),
                f"stands twice; it is on line {line} already",
                "remove one of the two",
                code="key-twice",
            )
            key = f"{_DUPLICATE}{self.nodes}\0{key}"
            if self.each is None:
                self.later.append((*top.path, key))
        top.key = key
        path = (*top.path, key)
        self.marks[path] = (event.start_mark.line + 1, event.start_mark.column + 1)
        if self.typed and event.implicit[0] and not key.startswith(_DUPLICATE):
            try:
                meant = plain_value(key)
            except ValueError:
                meant = None
            if not isinstance(meant, str):
                self.note_ambiguity(
                    event,
                    path,
                    f"the key {value_text(key)} is not read as text by every program",
                    f"quote it: {value_text(key)}",
                    code="key-not-read-as-text",
                )

    def add_value(self, value: Json, event: Any) -> tuple[str | int, ...]:
        """Adds a value to its collection and returns its path."""
        path = self.next_path()
        if not self.open:
            self.root = value
            self.marks[()] = (event.start_mark.line + 1, event.start_mark.column + 1)
            return path
        top = self.open[-1]
        if isinstance(top.value, list):
            top.value.append(value)
            self.marks[path] = (event.start_mark.line + 1, event.start_mark.column + 1)
        else:
            assert top.key is not None
            top.value[top.key] = value
            top.key = None
        return path

    def add_alias(self, event: Any) -> None:
        path = self.next_path()
        if not self.aliases:
            raise _StopError(
                event.start_mark,
                f"is an alias (*{event.anchor}); each value is to be written out",
                "",
                path,
                code="anchor-not-allowed",
            )
        top = self.open[-1] if self.open else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            raise _StopError(
                event.start_mark,
                "a key must be a text, not an alias",
                "",
                path,
                code="key-not-a-text",
            )
        if event.anchor not in self.anchors:
            raise _StopError(
                event.start_mark,
                f"the alias *{event.anchor} names no anchor above it",
                "",
                path,
                code="alias-without-anchor",
            )
        value, size = self.anchors[event.anchor]
        self.check_node(event, size)
        if len(self.open) + nesting_depth(value) > MAX_DEPTH:
            raise _StopError(
                event.start_mark,
                f"is nested more than {MAX_DEPTH} levels deep",
                "",
                path,
                code="nested-too-deep",
            )
        self.add_value(copy_value(value), event)

    def scalar_value(self, event: Any) -> Json:
        text: str = event.value
        value: Json = text
        if event.implicit[0]:
            if not self.typed:
                value = None if text in NULL_WORDS else text
            else:
                try:
                    value = plain_value(text)
                except ValueError as error:
                    self.note_ambiguity(
                        event, self.next_path(), str(error), code="value-read-differently"
                    )
        if event.anchor:
            self.anchors[event.anchor] = (value, 1)
        return value

    def note_ambiguity(
        self, event: Any, path: tuple[str | int, ...], what: str, fix: str = "", *, code: str
    ) -> None:
        """Adds a problem for a key or a value that programs read differently."""
        if len(self.traps) >= MAX_AMBIGUOUS:
            return
        position = (event.start_mark.line + 1, event.start_mark.column + 1)
        path = tuple(step.rpartition("\0")[2] if isinstance(step, str) else step for step in path)
        value = value_text(event.value)
        if not fix:
            is_either = event.value.lower() in BOOLEAN_WORDS
            fix = EitherFix(value) if is_either else f"quote it if it is a text: {value}"
        self.traps.append((position, path, what, fix, code))
