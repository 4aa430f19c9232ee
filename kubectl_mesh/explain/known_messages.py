"""A known error message: its pattern, its meaning, and its possible causes."""

from dataclasses import dataclass

from kubectl_mesh.text import keep_values


@dataclass(frozen=True, slots=True)
class Cause:
    """A possible cause of a message: the checks that confirm it or rule it out, what to do, and
    what shows it in a running cluster.
    """

    description: str
    remedy: str
    checks: tuple[str, ...] = ()
    """Any finding of these confirms it."""
    versions: tuple[str, ...] = ()
    """The releases of Istio that it concerns; none: all. A mesh that states only other releases
    rules it out.
    """
    hints: tuple[str, ...] = ()
    """Checks whose findings belong here and prove nothing."""
    is_proof: bool = False
    """Whether `checks` without a finding prove that these files do not have the fault; else it
    cannot be known offline.
    """
    command: str = ""
    """The command that shows it, with access to a cluster; words in capitals stand for names."""

    def __post_init__(self) -> None:
        for name in ("description", "remedy", "command"):
            object.__setattr__(self, name, keep_values(getattr(self, name)))


@dataclass(frozen=True, slots=True)
class KnownMessage:
    """A message, by a pattern over a pasted text (case does not count). What may lie between two
    parts of it is bounded.
    """

    id: str
    source: str
    """What prints it."""
    pattern: str
    meaning: str
    causes: tuple[Cause, ...]
