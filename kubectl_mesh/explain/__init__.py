"""Finds known messages in a pasted error, each with its possible causes. The pasted text is never
printed.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from kubectl_mesh.checks.result import Result
from kubectl_mesh.explain import delivery, envoy, istiod, ztunnel
from kubectl_mesh.explain.known_messages import Cause, KnownMessage

__all__ = [
    "LONGEST",
    "MESSAGES",
    "Cause",
    "JudgedCause",
    "KnownMessage",
    "find_messages",
    "find_named_clusters",
    "judge_causes",
]

MESSAGES: tuple[KnownMessage, ...] = (
    *envoy.MESSAGES,
    *istiod.MESSAGES,
    *ztunnel.MESSAGES,
    *delivery.MESSAGES,
)
LONGEST = 1 << 20
"""How much of a text is looked at, in characters."""
_WORD = re.compile(r"[A-Za-z0-9-]+")
PROVEN, OPEN, CLEARED, GENERAL = "proven", "open", "cleared", "general"


def find_messages(text: str) -> tuple[KnownMessage, ...]:
    """The known messages in a text, in the order of their positions."""
    found = [
        (match.start(), index, known)
        for index, known in enumerate(MESSAGES)
        if (match := re.search(known.pattern, text[:LONGEST], re.IGNORECASE))
    ]
    return tuple(known for _, _, known in sorted(found, key=lambda f: f[:2]))


@dataclass(frozen=True, slots=True)
class JudgedCause:
    """A cause and its state here: proven, open (it cannot be known offline), cleared, or general
    (there is no mesh at hand).
    """

    cause: Cause
    state: str
    results: tuple[Result, ...] = ()


def judge_causes(
    known: KnownMessage, results: Mapping[str, Result] | None, versions: Collection[str]
) -> tuple[JudgedCause, ...]:
    """The causes of a message, proven ones first; `results` are those of the checks by id, None
    without a working directory.

    `versions` are the releases of all control planes; empty if any of them is not stated.
    """
    judged = [_judge_cause(cause, results, versions) for cause in known.causes]
    return tuple(sorted(judged, key=lambda j: (PROVEN, OPEN, GENERAL, CLEARED).index(j.state)))


def _judge_cause(
    cause: Cause, results: Mapping[str, Result] | None, versions: Collection[str]
) -> JudgedCause:
    if results is None:
        return JudgedCause(cause, GENERAL)
    asked = tuple(results[check] for check in cause.checks)
    everything = (*asked, *(results[check] for check in cause.hints))
    if cause.versions and versions and not set(versions) & set(cause.versions):
        return JudgedCause(cause, CLEARED, everything)
    if any(result.findings for result in asked):
        return JudgedCause(cause, PROVEN, everything)
    if cause.is_proof and asked and all(result.status == "ok" for result in asked):
        return JudgedCause(cause, CLEARED, everything)
    return JudgedCause(cause, OPEN, everything)


def find_named_clusters(text: str, names: Sequence[str]) -> tuple[str, ...]:
    """The clusters of the mesh that a text names."""
    words = set(_WORD.findall(text[:LONGEST]))
    return tuple(name for name in names if name in words)
