"""Words that reports share."""

from collections.abc import Mapping
from typing import Any


def count(number: int, noun: str) -> str:
    """`1 cluster`, `2 days`, `3 directories`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{number} {noun}s"


def one_line(name: str) -> str:
    """A file's name that cannot pass for two lines of a report."""
    return name.replace("\n", "\\n")


def size(value: Mapping[str, Any]) -> str:
    """How many clusters and networks a mesh has, and how many of them what `describe` tells is about: `1 of 3 clusters, 1 of 2 networks`."""
    shown = {cluster["network"] for cluster in value["clusters"]}
    parts = ((len(value["clusters"]), value["total"], "cluster"), (len(shown), len(value["networks"]), "network"))
    return ", ".join(count(total, noun) if some == total else f"{some} of {count(total, noun)}" for some, total, noun in parts)
