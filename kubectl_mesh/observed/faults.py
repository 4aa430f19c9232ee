"""A parse failure as a value; the caller decides how to report it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """A parse failure: its code, and its text as the end of a sentence."""

    code: str
    text: str

    def __str__(self) -> str:
        return self.text
