"""Errors as values: `Problem`, one fact with its place, and `MeshError`, which carries all problems
of a run.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from kubectl_mesh.text import keep_values, marked_text, single_line


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """The position of a problem: a file, a line and a column counted from 1 (0: unknown), and the
    path of a field.
    """

    file: str
    line: int = 0
    column: int = 0
    path: str = ""

    def __str__(self) -> str:
        position = f":{self.line}:{self.column}" if self.line else ""
        return f"{self.file}{position}" + (f": {self.path}" if self.path else "")


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong: the place, the fact, and in `fix` the remedy.

    Commands and paths inside `what` and `fix` are values (`kubectl_mesh.text`). Both read as plain
    text, and the command line renders the values once.
    """

    where: Place
    what: str
    fix: str = ""
    id: str = field(default="", compare=False)
    """The id of the check that reports it, for problems with a check of their own."""

    code: str = field(default="", compare=False, kw_only=True)
    """The stable name of the fact, whatever the words say. Code decides by it, never by the
    words.
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, "what", keep_values(self.what))
        object.__setattr__(self, "fix", keep_values(self.fix))

    @property
    def marked_text(self) -> str:
        """The text of `str`, with marks around commands and paths."""
        fix = f"\n  fix: {marked_text(self.fix)}" if self.fix else ""
        return single_line(f"{self.where}: {marked_text(self.what)}") + fix

    def __str__(self) -> str:
        return single_line(f"{self.where}: {self.what}") + (
            f"\n  fix: {self.fix}" if self.fix else ""
        )


class MeshError(Exception):
    """All problems at once; raised by a stage, caught once by the command line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        # Sorted as values would be; tuples compare ten times as fast, and there may be thousands.
        self.problems = tuple(
            sorted(
                set(problems),
                key=lambda p: (
                    p.where.file,
                    p.where.line,
                    p.where.column,
                    p.where.path,
                    p.what,
                    p.fix,
                ),
            )
        )
        super().__init__("\n".join(map(str, self.problems)))

    def with_problems(self, problems: Iterable[Problem]) -> "MeshError":
        """The same error with other problems, and with its notes."""
        error = MeshError(problems)
        for note in getattr(self, "__notes__", ()):
            error.add_note(note)
        return error


@contextmanager
def attach_notes(notes: Iterable[str]) -> Iterator[None]:
    """A context that adds notes to an error raised in it, so that the report shows what was done
    before; empty notes are ignored.
    """
    try:
        yield
    except Exception as error:
        for note in filter(None, notes):
            error.add_note(note)
        raise


def refuse(file: str, what: str, fix: str = "", *, code: str = "") -> MeshError:
    """A `MeshError` with one problem that concerns a whole file or a flag."""
    return MeshError([Problem(Place(file), what, fix, code=code)])
