"""What can be wrong: `Problem`, a sentence with its place, and `MeshError`, which carries all of them."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands: a file, a line and column counted from 1 (0: unknown), and the path of a field."""

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
    """The check that found it, for those that `kubectl mesh check` reports under a name of their own."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f"\n  fix: {self.fix}" if self.fix else "")


class MeshError(Exception):
    """Everything that is wrong, at once; `wrong` (the input is at fault) or merely in the way."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


def refuse(file: str, what: str, fix: str = "") -> MeshError:
    """A `MeshError` of one problem that concerns a file (or a flag) as a whole."""
    return MeshError([Problem(Place(file), what, fix)])


_BARE = re.compile(r"[A-Za-z0-9_@:/-]+\Z")


def path_text(path: Iterable[str | int]) -> str:
    """The path of a field as people write it: `contexts.east.gateways[0].port`; odd keys in quotes."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            bare = step if _BARE.match(step) else json.dumps(step, ensure_ascii=False)
            text += f".{bare}" if text else bare
    return text


def near(word: str, known: Iterable[str]) -> str:
    """` (did you mean "…"?)` where a known word is near, else nothing."""
    import difflib

    known = sorted(known)
    folded = {k.casefold().replace("_", "").replace("-", ""): k for k in known}
    same = folded.get(word.casefold().replace("_", "").replace("-", ""))
    close = [same] if same is not None else difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f' (did you mean "{close[0]}"?)' if close else ""


_HIDDEN = re.compile(r"PRIVATE KEY|eyJ[A-Za-z0-9_-]{8}|[A-Za-z0-9+/_-]{60}")


def shown(value: object) -> str:
    """A value of the user's as a message may show it: short, escaped, and never what may be a secret."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if _HIDDEN.search(text):
        return "the value"
    return text if len(text) <= 60 else text[:57] + "…" + ('"' if text[0] == '"' else "")
