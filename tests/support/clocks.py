"""A clock that tests of the command line move."""

from datetime import UTC, datetime, timedelta

import pytest

from kubectl_mesh.cli import clock as shell

START = datetime(2026, 12, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = START

    def pass_(self, **time: float) -> None:
        """Lets time pass."""
        self.now += timedelta(**time)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of every run."""
    found = Clock()
    monkeypatch.setattr(shell, "read_clock", lambda: found.now)
    return found
