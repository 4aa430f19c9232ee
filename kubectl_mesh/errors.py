"""What can be wrong: `Problem`, a sentence with its place, and `MeshError`, which carries all of
them.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from kubectl_mesh.text import keep_values, marked_text, single_line


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands: a file, a line and column counted from 1 (0: unknown), and the path
    of a field.
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
    """One thing that is wrong: where, what, and (in `fix`) what to do about it.

    Commands and paths inside `what` and `fix` are values (`kubectl_mesh.text`): the two read as
    plain text, and the command line renders the values in them once.
    """

    where: Place
    what: str
    fix: str = ""
    id: str = field(default="", compare=False)
    """The check that found it, for those that `kubectl mesh check` reports under a name of their
    own.
    """

    code: str = field(default="", compare=False, kw_only=True)
    """Which fact it is; stable, whatever the words say. No code reads the words."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "what", keep_values(self.what))
        object.__setattr__(self, "fix", keep_values(self.fix))

    @property
    def marked_text(self) -> str:
        """What `str` gives, with the marks around the commands and paths in it."""
        fix = f"\n  fix: {marked_text(self.fix)}" if self.fix else ""
        return single_line(f"{self.where}: {marked_text(self.what)}") + fix

    def __str__(self) -> str:
        return single_line(f"{self.where}: {self.what}") + (
            f"\n  fix: {self.fix}" if self.fix else ""
        )


class MeshError(Exception):
    """Everything that is wrong, at once; raised by a stage, caught once in the shell."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        # In their own order; as tuples they compare ten times as fast, where there are thousands.
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
    """Adds what was already done to an error that stops the rest, so that it is reported anyway;
    empty notes are passed over.
    """
    try:
        yield
    except Exception as error:
        for note in filter(None, notes):
            error.add_note(note)
        raise


def refuse(file: str, what: str, fix: str = "", *, code: str = "") -> MeshError:
    """A `MeshError` of one problem that concerns a file (or a flag) as a whole."""
    return MeshError([Problem(Place(file), what, fix, code=code)])
