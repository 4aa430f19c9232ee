"""Why something cannot be parsed, for the caller that decides what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong: its code, and the fact as the end of a sentence."""

    code: str
    text: str

    def __str__(self) -> str:
        return self.text
