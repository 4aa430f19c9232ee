"""What a run is told of the machine that it runs on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Machine:
    """The time, in UTC, and the environment of the process, which git is started with."""

    now: datetime
    environment: Mapping[str, str] = field(repr=False)
