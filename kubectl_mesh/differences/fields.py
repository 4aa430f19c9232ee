"""Values by path, before and after, as texts that may be shown."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from kubectl_mesh.differences.values import Detail
from kubectl_mesh.observed.mesh_state import Fields
from kubectl_mesh.text import can_be_secret, count_text, value_text

_HIDDEN = re.compile(r"(?i)password|passwd|secret|token|credential|private|apikey|api_key")
_ABSENT: Any = object()
HIDDEN_VALUE = "the value"
"""The text shown instead of a value that may be a secret."""


def difference_count_text(details: Sequence[Detail]) -> str:
    """How many values differ, in words."""
    return f"{count_text(len(details), 'value')} differ" + ("s" if len(details) == 1 else "")


def public_value_text(path: str, value: object) -> str:
    """A value as a review may show it."""
    if value and value is not True and _HIDDEN.search(".".join(path.rsplit(".", 2)[-2:])):
        return HIDDEN_VALUE
    return (
        value
        if isinstance(value, str) and value_text(value) == f'"{value}"' and value
        else value_text(value)
    )


def public_text(text: str | None) -> str | None:
    """A text that ought to be public, unless it looks like a secret all the same."""
    return HIDDEN_VALUE if text is not None and can_be_secret(text) else text


def list_details(
    before: Fields, after: Fields, reported: Iterable[tuple[str, str]] = (), prefix: str = ""
) -> Iterator[Detail]:
    """The values that differ, by path, without the pairs in `reported`."""
    known = set(reported)
    for path in sorted({*before, *after}):
        old, new = before.get(path, _ABSENT), after.get(path, _ABSENT)
        if old == new and type(old) is type(new):
            continue
        if isinstance(old, str) and isinstance(new, str) and (old, new) in known:
            continue
        name = prefix + path
        yield Detail(
            name,
            None if old is _ABSENT else public_value_text(path, old),
            None if new is _ABSENT else public_value_text(path, new),
        )
