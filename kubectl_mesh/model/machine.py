"""The machine of a run as a value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Machine:
    """The time in UTC, and the environment of the process, with which git runs."""

    now: datetime
    environment: Mapping[str, str] = field(repr=False)
