"""What can be wrong: `Problem`, a sentence with its place, and `MeshError`, which carries all of
them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from kubectl_mesh.text import one_line


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
    """One thing that is wrong: where, what, and (in `fix`) what to do about it."""

    where: Place
    what: str
    fix: str = ""
    id: str = field(default="", compare=False)
    """The check that found it, for those that `kubectl mesh check` reports under a name of their
    own.
    """

    def __str__(self) -> str:
        return one_line(f"{self.where}: {self.what}") + (f"\n  fix: {self.fix}" if self.fix else "")


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


def refuse(file: str, what: str, fix: str = "") -> MeshError:
    """A `MeshError` of one problem that concerns a file (or a flag) as a whole."""
    return MeshError([Problem(Place(file), what, fix)])
