"""The picture as SVG: the same bytes for the same mesh, readable in light and in dark, by eye and
by a screen reader.
"""

import re
from html import escape

from kubectl_mesh.graph.edge_routing import MARGIN, Route
from kubectl_mesh.graph.layout import LINE, PAD, SMALL, Box, Frame, Layout, lay_out
from kubectl_mesh.graph.picture import Picture
from kubectl_mesh.graph.shapes import (
    GATEWAY_SHAPE,
    ICONS,
    badge_element,
    icon_element,
    marker_elements,
    px_text,
    text_element,
)
from kubectl_mesh.graph.text_width import text_width, wrap_to_width

DEFAULT_WIDTH = 1240.0
_LIGHT_DARK = re.compile(r"light-dark\(([^,)]+),([^)]+)\)")
_WORDS = {
    "ok": "up to date",
    "pending": "pending: waits for something, or is not rendered",
    "warning": "warning",
    "broken": "broken",
    "off": "kept out",
}
_KINDS = {
    "both": "read each other",
    "one-way": "one reads the other (arrow: whom it reads)",
    "cut": "do not read each other",
    "pending": "not read yet",
    "broken": "remote secret broken",
    "served": "served by the istiod of",
}


def svg_text(picture: Picture, style: str) -> str:
    """A file of its own."""
    return draw_picture(picture, DEFAULT_WIDTH, "", f"<style>{_with_dark_rules(style)}</style>")


def draw_picture(
    picture: Picture,
    room: float,
    prefix: str,
    inside: str = "",
    *,
    wires: bool = True,
    heading: bool = True,
) -> str:
    """The drawing, as wide as `room` at most; without `wires` lines are numbers at the boxes,
    without `heading` the title stands elsewhere.

    `prefix` keeps the ids of several in one page apart; `inside` stands first in it.
    """
    first = lay_out(picture, room, 0, wires=wires)
    wide = min(room, max(first.width, 560.0))
    head, top = _draw_head(picture, wide, heading=heading)
    top += 17 * (len(_draw_bar_statement(picture, first)) - 1) if first.bars else 0
    places = lay_out(picture, room, top, wires=wires)
    foot, bottom = _draw_foot(picture, places.bottom, wide)
    parts = [
        (
            '<svg xmlns="http://www.w3.org/2000/svg" class="mesh"'
            f' {_size_attributes(wide, bottom)} role="img"'
            f' aria-labelledby="{prefix}title {prefix}desc">'
        ),
        f"<title id='{prefix}title'>{escape(picture.title)}</title>",
        f"<desc id='{prefix}desc'>{escape(_description_text(picture))}</desc>",
        inside,
        f'<rect class="paper" width="{px_text(wide)}" height="{px_text(bottom)}"/>',
        *marker_elements(prefix),
        *head,
        *_draw_bars(picture, places),
        *(part for frame in places.frames for part in _draw_frame(frame, bars=bool(places.bars))),
        *(part for route in places.routes for part in _draw_route(route, prefix)),
        *(
            part
            for frame in places.frames
            for box in frame.boxes
            for part in _draw_box(box, places.box, relations=not heading)
        ),
        *(
            badge_element(route.line.kind, route.number + 1, *route.badge, route.line.text)
            for route in places.routes
        ),
        *foot,
        "</svg>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _description_text(picture: Picture) -> str:
    """The picture in words, for a screen reader."""
    said = (*picture.facts, picture.statement, picture.summary)
    return "; ".join(
        (*said, *(line.text for line in picture.lines), *(n.text for n in picture.notes))
    )


def _size_attributes(wide: float, high: float) -> str:
    return (
        f'viewBox="0 0 {px_text(wide)} {px_text(high)}" width="{px_text(wide)}"'
        f' height="{px_text(high)}"'
    )


def _with_dark_rules(style: str) -> str:
    """The style with what is for dark in rules of its own, for viewers that do not know
    `light-dark()`.
    """
    rules = []
    for selector, body in re.findall(r"^(.+)\{(.*)\}$", style, re.MULTILINE):
        dark = [d for d in body.split(";") if "light-dark(" in d]
        if dark:
            rules.append(f"{selector}{{{_LIGHT_DARK.sub(lambda m: m[2], ';'.join(dark))}}}")
    return (
        _LIGHT_DARK.sub(lambda m: m[1], style)
        + "@media (prefers-color-scheme:dark){\n"
        + "\n".join(rules)
        + "\n}\n"
    )


def _draw_head(picture: Picture, room: float, *, heading: bool) -> tuple[list[str], float]:
    """Title, facts and the sentence on the whole; without `heading` they stand elsewhere."""
    y = 36.0
    parts = []
    if not heading:
        return _draw_statement(picture, 18.0, room)
    for line in wrap_to_width(picture.title, room - 2 * MARGIN, 20, bold=True):
        parts.append(text_element(MARGIN, y, line, "title"))
        y += 24
    for line in wrap_to_width(" · ".join(picture.facts), room - 2 * MARGIN, 13):
        parts.append(text_element(MARGIN, y, line, "soft"))
        y += 18
    y += 6
    parts.append(icon_element(picture.state, MARGIN + 8, y - 4))
    for line in wrap_to_width(picture.summary, room - 2 * MARGIN - 24, 13):
        parts.append(text_element(MARGIN + 24, y, line, "sum"))
        y += 18
    said, y = _draw_statement(picture, y, room)
    return parts + said, y


def _draw_statement(picture: Picture, y: float, room: float) -> tuple[list[str], float]:
    """What is said of all edges, where no line says it."""
    parts = []
    if sum(a.is_fully_connected for a in picture.areas) < 2:
        y += 4
        for line in wrap_to_width(picture.statement, room - 2 * MARGIN, 13, bold=True):
            parts.append(text_element(MARGIN, y, line, "statement"))
            y += 18
    return parts, y + 2


def _draw_bar_statement(picture: Picture, places: Layout) -> list[str]:
    """The statement, which stands over the first bar."""
    start = next(f.x for f in places.frames if f.y > places.bars[0][0])
    return wrap_to_width(picture.statement, places.width - start - MARGIN, 13, bold=True)


def _draw_bars(picture: Picture, places: Layout) -> list[str]:
    """The line on which all clusters read each other, over each row of areas."""
    if not places.bars:
        return []
    x = MARGIN + 4
    parts = (
        [
            (
                f'<path class="bar" d="M{px_text(x)}'
                f' {px_text(places.bars[0][0])}V{px_text(places.bars[-1][0])}"/>'
            )
        ]
        if len(places.bars) > 1
        else []
    )
    parts += [
        f'<path class="bar" d="M{px_text(x)} {px_text(y)}H{px_text(end)}"/>'
        for y, end in places.bars
    ]
    y = places.bars[0][0]
    start = next(f.x for f in places.frames if f.y > y)
    lines = _draw_bar_statement(picture, places)
    rise = y - 10 - 17 * (len(lines) - 1)
    parts += [text_element(start, rise + 17 * i, line, "statement") for i, line in enumerate(lines)]
    return parts


def _draw_frame(frame: Frame, *, bars: bool) -> list[str]:
    area = frame.area
    state = next(
        (m.state for m in area.marks if m.state == "broken"),
        area.marks[0].state if area.marks else "ok",
    )
    parts = [
        (
            f'<g class="area {state}" data-network="{escape(area.name)}"><title>network'
            f" {escape(area.name)}</title>"
        ),
        (
            f'<rect class="ground" x="{px_text(frame.x)}" y="{px_text(frame.y)}"'
            f' width="{px_text(frame.width)}"'
            f' height="{px_text(frame.height)}" rx="12"/>'
        ),
    ]
    gate = frame.x + 28
    if bars and area.is_fully_connected:
        parts.append(
            f'<path class="bar" d="M{px_text(gate)} {px_text(frame.y - 26)}V{px_text(frame.y)}"/>'
        )
    if area.has_gateway:
        parts.append(
            f'<g class="gate" transform="translate({px_text(gate)}'
            f' {px_text(frame.y)})"><title>{escape(area.gateways)}</title>{GATEWAY_SHAPE}</g>'
        )
    y = frame.y + 29
    parts.append(text_element(frame.x + PAD, y, area.name, "network"))
    for i, line in enumerate(frame.head):
        parts.append(text_element(frame.x + PAD, y + 18 + LINE * i, line, "soft small"))
    for i, mark in enumerate(area.marks[:2]):
        x = frame.x + frame.width - PAD - 8 - 22 * i
        parts.append(
            f"<g><title>{escape(mark.text)}</title>{icon_element(mark.state, x, frame.y + 22)}</g>"
        )
    return [*parts, "</g>"]


def _draw_box(box: Box, size: tuple[float, float], *, relations: bool) -> list[str]:
    node = box.node
    marks = node.marks if len(node.marks) <= 3 else node.marks[:2]
    words = "; ".join(m.text for m in node.marks)
    parts = [
        (
            f'<g class="node {node.state}{" near" if node.is_neighbour else ""}"'
            f' data-cluster="{escape(node.name)}" transform="translate({px_text(box.x)}'
            f' {px_text(box.y)})">'
        ),
        (
            f"<title>{escape(node.name)}: {escape(node.control_plane)}, {escape(node.expiry_text)},"
            f" {escape(words)}</title>"
        ),
        f'<rect class="box" width="{px_text(size[0])}" height="{px_text(size[1])}" rx="8"/>',
    ]
    y = 24.0
    for line in box.name:
        parts.append(text_element(12, y, line, "name"))
        y += 18
    parts += [
        text_element(12, y, node.control_plane, "small"),
        text_element(12, y + LINE, node.expiry_text, "soft small"),
    ]
    y += 2 * LINE
    for i, mark in enumerate(marks):
        parts += [
            icon_element(mark.state, 19, y - 4 + LINE * i),
            text_element(34, y + LINE * i, mark.text, f"small {mark.state}"),
        ]
    if len(marks) < len(node.marks):
        parts.append(
            text_element(
                34, y + LINE * len(marks), f"and {len(node.marks) - len(marks)} more", "soft small"
            )
        )
    for i, (number, pinned) in enumerate(box.pins[: int(size[0] - 40) // 24]):
        parts.append(
            badge_element(pinned.kind, number + 1, size[0] - 24 - 24 * i, size[1], pinned.text)
        )
    parts.append(
        f'<text class="relation" x="{px_text(size[0] - 12)}" y="4"></text>' if relations else ""
    )
    return [*parts, "</g>"]


def _draw_route(route: Route, prefix: str) -> list[str]:
    line = route.line
    (x, y), *rest = route.points
    path = f"M{px_text(x)} {px_text(y)}" + "".join(f"L{px_text(a)} {px_text(b)}" for a, b in rest)
    tip = f"url(#{prefix}{line.kind})"
    start = f' marker-start="{tip}"' if line.kind in ("both", "cut") else ""
    ends = f'data-source="{escape(line.source)}" data-target="{escape(line.target)}"'
    return [
        (
            f'<g class="edge {line.kind}" data-line="{route.number + 1}"'
            f" {ends}><title>{escape(line.text)}</title>"
        ),
        (
            f'<path class="halo" d="{path}"/><path class="wire" d="{path}"{start}'
            f' marker-end="{tip}"/></g>'
        ),
    ]


def _draw_foot(picture: Picture, y: float, wide: float) -> tuple[list[str], float]:
    """What the numbers mean, what is said of many edges, what is wrong with the mesh as a whole,
    and the legend.
    """
    room = wide - 2 * MARGIN - 30
    parts: list[str] = []
    y += 14
    for i, line in enumerate(picture.lines):
        parts.append(badge_element(line.kind, i + 1, MARGIN + 12, y, line.text))
        y = _add_paragraph(parts, line.text, y, room)
    for note in picture.notes:
        state = {"broken": "broken", "pending": "pending"}.get(note.kind)
        parts.append(
            icon_element(state, MARGIN + 12, y)
            if state
            else f'<path class="dash {note.kind}" d="M{MARGIN + 4} {px_text(y)}h16"/>'
        )
        y = _add_paragraph(parts, note.text, y, room)
    for finding in picture.findings:
        parts.append(
            icon_element("broken" if finding.severity == "error" else "warning", MARGIN + 12, y)
        )
        y = _add_paragraph(parts, f"{finding.id}: {finding.what}", y, room)
    return _add_legend(picture, parts, y + (8 if parts else 0), wide)


def _add_paragraph(parts: list[str], text: str, y: float, room: float) -> float:
    lines = wrap_to_width(text, room, SMALL)
    parts += [
        text_element(MARGIN + 30, y + 4 + LINE * i, line, "small") for i, line in enumerate(lines)
    ]
    return y + LINE * len(lines) + 9


def _add_legend(
    picture: Picture, parts: list[str], y: float, wide: float
) -> tuple[list[str], float]:
    marks = {m.state for n in picture.nodes for m in n.marks} | {
        m.state for a in picture.areas for m in a.marks
    }
    entries = [(_WORDS[s], icon_element(s, 9, 0)) for s in ICONS if s in marks]
    entries += [
        (_KINDS[k], f'<g class="edge {k}"><path class="wire" d="M0 0h18"/></g>')
        for k in _KINDS
        if any(line.kind == k for line in picture.lines)
    ]
    if any(a.has_gateway for a in picture.areas):
        entries.append(
            (
                "gateway into the network",
                f'<g class="gate" transform="translate(10 0) scale(.8)">{GATEWAY_SHAPE}</g>',
            )
        )
    parts.append(f'<path class="rule" d="M{MARGIN} {px_text(y - 8)}H{px_text(wide - MARGIN)}"/>')
    x = float(MARGIN)
    y += 14
    for word, sign in entries:
        long = text_width(word, SMALL) + 26
        if x + long > wide - MARGIN and x > MARGIN:
            x, y = float(MARGIN), y + 22
        parts.append(f'<g transform="translate({px_text(x)} {px_text(y)})">{sign}</g>')
        parts.append(text_element(x + 24, y + 4, word, "soft small"))
        x += long + 20
    return parts, y + 22
