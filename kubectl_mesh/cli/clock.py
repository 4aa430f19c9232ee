"""The machine: its clock and its environment, which nothing else reads."""

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubectl_mesh.model.machine import Machine

EARLIEST, LATEST = 1951, 9890
"""X.509 has dates from 1950 on (RFC 5280, section 4.1.2.5); the latest leaves room for a root of a
hundred years before 9999.
"""


def read_clock() -> datetime:
    """The clock; one that is so far off that no certificate can have its dates is refused."""
    from kubectl_mesh.errors import refuse

    at = datetime.now(UTC)
    if not EARLIEST <= at.year <= LATEST:
        raise refuse(
            "clock",
            f"this machine says that it is {at:%Y-%m-%d}",
            "set the date of this machine",
            code="clock-wrong",
        )
    return at


def read_machine() -> "Machine":
    """The machine that this runs on, as operations take it."""
    from kubectl_mesh.model.machine import Machine

    return Machine(read_clock(), os.environ)
