"""How wide a text is, by the widest of the fonts that browsers take for sans-serif, and where it is
wrapped.
"""

import re
from functools import lru_cache

_NARROW = {
    "i": 0.28,
    "j": 0.28,
    "l": 0.28,
    "t": 0.4,
    "r": 0.42,
    "f": 0.36,
    "-": 0.37,
    ".": 0.32,
    ",": 0.32,
    " ": 0.32,
    ":": 0.34,
    "(": 0.4,
    ")": 0.4,
    "/": 0.34,
}
_NARROW |= {
    "[": 0.4,
    "]": 0.4,
    "m": 0.98,
    "w": 0.83,
    "M": 0.87,
    "W": 0.99,
    "%": 0.95,
    "@": 1.0,
    "…": 1.0,
}
_BOLD = 1.12


@lru_cache(maxsize=4096)
def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """The width of a text in user units, rather too much than too little."""
    total = 0.0
    for letter in text:
        total += _NARROW.get(letter) or (
            0.64 if letter.islower() or letter.isdigit() else 0.74 if ord(letter) < 0x2E80 else 1.0
        )
    return total * size * (_BOLD if bold else 1)


def wrap_to_width(text: str, room: float, size: float, *, bold: bool = False) -> list[str]:
    """Lines no wider than `room`: broken at spaces, within a word that is too long after a hyphen,
    a dot or a colon, else anywhere.
    """
    lines = [""]
    for piece in re.findall(r" +|[^ ]+", text):
        left = piece
        if text_width(lines[-1] + left.rstrip(), size, bold=bold) > room and lines[-1].strip():
            lines.append("")
            left = left.lstrip()
        while text_width(left.rstrip(), size, bold=bold) > room and len(left) > 1:
            most = next(
                (
                    i
                    for i in range(len(left), 1, -1)
                    if text_width(left[:i], size, bold=bold) <= room
                ),
                1,
            )
            cut = max(left.rfind(sign, 0, most) for sign in "-.:") + 1 or most
            lines[-1] = left[:cut]
            lines.append("")
            left = left[cut:]
        lines[-1] += left
    return [line.strip() for line in lines if line.strip()] or [""]
