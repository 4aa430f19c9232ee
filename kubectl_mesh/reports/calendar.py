"""calendar: dates as a text that calendars read (RFC 5545); the same dates give the same bytes."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from kubectl_mesh.model import Expiry
from kubectl_mesh.text import escape_for_terminal, plain_text

REMIND = timedelta(days=30)


def calendar_text(mesh: str, entries: Iterable[Expiry]) -> str:
    """An event for each date, with an alarm 30 days before.

    Its UID is the same as long as it is the same thing that ends: a calendar that takes the file
    again moves the event. DTSTAMP is when the thing was made, where it says so, for the bytes must
    not depend on the clock.
    """
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//kubectl-mesh//dates//EN",
        f"X-WR-CALNAME:{_escape_text(f'mesh {mesh}')}",
    ]
    for entry in sorted(entries):
        summary = f"{mesh}: {entry.what.rstrip(',')} ends"
        lines += [
            "BEGIN:VEVENT",
            f"UID:{entry.id}.{mesh}@kubectl-mesh",
            f"DTSTAMP:{_time_text(entry.issued or entry.expires)}",
            f"DTSTART:{_time_text(entry.expires)}",
            f"SUMMARY:{_escape_text(summary)}",
            f"DESCRIPTION:{_escape_text(entry.fix)}",
            f"CATEGORIES:{entry.kind}",
            "TRANSP:TRANSPARENT",
            "BEGIN:VALARM",
            "ACTION:DISPLAY",
            f"DESCRIPTION:{_escape_text(f'{summary} in {REMIND.days} days')}",
            f"TRIGGER:-P{REMIND.days}D",
            "END:VALARM",
            "END:VEVENT",
        ]
    return "".join(_fold_line(line) for line in [*lines, "END:VCALENDAR"])


def _time_text(when: datetime) -> str:
    """A date-time in UTC (section 3.3.5, form 2)."""
    return f"{when:%Y%m%dT%H%M%SZ}"


def _escape_text(value: str) -> str:
    """A TEXT (section 3.3.11)."""
    value = escape_for_terminal(plain_text(value))
    for special, escaped in (("\\", "\\\\"), (";", "\\;"), (",", "\\,"), ("\n", "\\n")):
        value = value.replace(special, escaped)
    return value


def _fold_line(line: str) -> str:
    """A content line of at most 75 octets a piece (section 3.1), no character cut in two."""
    pieces, room, piece = [], 75, b""
    for character in line:
        octets = character.encode()
        if len(piece) + len(octets) > room:
            pieces.append(piece)
            piece, room = b"", 74
        piece += octets
    return b"\r\n ".join([*pieces, piece]).decode() + "\r\n"
