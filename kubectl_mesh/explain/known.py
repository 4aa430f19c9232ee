"""An error message that is known: how it is recognised, what it means, and what it may come from."""

from kubectl_mesh.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Cause:
    """What a message may come from, the checks that prove or clear it, and what to do."""

    says: str
    do: str
    checks: tuple[str, ...] = ()
    """Any finding of these proves it; that all of them are ok clears it. None: it cannot be told offline."""
    versions: tuple[str, ...] = ()
    """The releases of Istio that it concerns; none: all."""


@dataclass(frozen=True, slots=True)
class Known:
    """A message, by a pattern over a pasted text (case does not count). What may lie between two parts of it is bounded."""

    id: str
    source: str
    """What prints it."""
    pattern: str
    means: str
    causes: tuple[Cause, ...]
