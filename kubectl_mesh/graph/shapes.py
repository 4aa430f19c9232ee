"""The shapes and small parts of the SVG: a sign for each state and each kind of line, for those who
see no colours.
"""

from html import escape

ICONS = {
    "ok": '<circle r="7"/><path class="in" d="M-3.2 .2l2.2 2.4 4.2-5"/>',
    "pending": (
        '<path d="M0-8.4L8.4 0 0 8.4-8.4 0z"/><path class="in" d="M-3.4 0h.1M0 0h.1M3.4 0h.1"/>'
    ),
    "warning": '<path d="M0-7.6L8.2 6.6H-8.2z"/><path class="in" d="M0-2.6v4M0 4.2v.1"/>',
    "broken": (
        '<path d="M-3.3-8H3.3L8-3.3V3.3L3.3 8H-3.3L-8 3.3V-3.3z"/><path class="in" d="M-3-3l6'
        ' 6M3-3l-6 6"/>'
    ),
    "off": '<circle r="7"/><path class="in" d="M-3.6 3.6l7.2-7.2"/>',
}
"""Each state has a shape of its own, for those who see no colours."""
BADGES = {
    **dict.fromkeys(("both", "one-way", "served"), '<circle r="9"/>'),
    "cut": '<rect x="-9" y="-9" width="18" height="18" rx="2"/>',
    "pending": '<path d="M0-12L12 0 0 12-12 0z"/>',
    "broken": '<path d="M-4.5-11H4.5L11-4.5V4.5L4.5 11H-4.5L-11 4.5V-4.5z"/>',
}
"""Each kind of line has a shape for its number."""
GATEWAY_SHAPE = '<path d="M-6-9H6L11 0 6 9H-6L-11 0z"/>'


def px_text(value: float) -> str:
    """A length, to a tenth."""
    return f"{value:.1f}".removesuffix(".0")


def text_element(x: float, y: float, words: str, kind: str = "") -> str:
    """A line of text."""
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{px_text(x)}" y="{px_text(y)}"{named}>{escape(words)}</text>'


def icon_element(state: str, x: float, y: float) -> str:
    """The sign of a state, around a point."""
    return (
        f'<g class="icon {state}" transform="translate({px_text(x)}'
        f' {px_text(y)})">{ICONS[state]}</g>'
    )


def badge_element(kind: str, number: int, x: float, y: float, text: str) -> str:
    """The number of a line, around a point; its title explains it."""
    return (
        f'<g class="badge {kind}" data-line="{number}" transform="translate({px_text(x)}'
        f' {px_text(y)})"><title>{escape(text)}</title>{BADGES[kind]}<text'
        f' y="4">{number}</text></g>'
    )


def marker_elements(prefix: str) -> list[str]:
    """The ends of lines."""
    arrow = (
        '<marker id=\'{0}{1}\' class="tip {1}" viewBox="0 0 10 10" refX="9" refY="5"'
        ' markerWidth="{3}" markerHeight="{3}" orient="auto-start-reverse"'
        ' markerUnits="userSpaceOnUse"><path d="{2}"/></marker>'
    )
    shapes = {
        "both": "M0 0L10 5 0 10z",
        "one-way": "M0 0L10 5 0 10z",
        "pending": "M0 0L10 5 0 10z",
        "broken": "M0 0L10 5 0 10z",
    }
    shapes |= {"cut": "M3 0H6V10H3z", "served": "M5 0L10 5 5 10 0 5z"}
    return [
        "<defs>",
        *(
            arrow.format(prefix, kind, d, 13 if kind == "broken" else 9)
            for kind, d in shapes.items()
        ),
        "</defs>",
    ]
