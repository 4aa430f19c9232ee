"""The picture as SVG: the same bytes for the same mesh, readable in light and in dark, by eye and
by a screen reader.
"""

import re
from html import escape

from kubectl_mesh.graph.lanes import MARGIN, Route
from kubectl_mesh.graph.layout import LINE, PAD, SMALL, Box, Frame, Layout, layout
from kubectl_mesh.graph.letters import width, wrap
from kubectl_mesh.graph.picture import Picture
from kubectl_mesh.graph.shapes import GATE, ICONS, badge, icon, px, tips, written

WIDE = 1240.0
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


def svg(picture: Picture, style: str) -> str:
    """A file of its own."""
    return drawing(picture, WIDE, "", f"<style>{_both(style)}</style>")


def drawing(
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
    first = layout(picture, room, 0, wires=wires)
    wide = min(room, max(first.width, 560.0))
    head, top = _head(picture, wide, heading=heading)
    top += 17 * (len(_over_bar(picture, first)) - 1) if first.bars else 0
    places = layout(picture, room, top, wires=wires)
    foot, bottom = _foot(picture, places.bottom, wide)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="mesh" {_size(wide, bottom)} role="img"'
            f' aria-labelledby="{prefix}title {prefix}desc">'
        ),
        f"<title id='{prefix}title'>{escape(picture.title)}</title>",
        f"<desc id='{prefix}desc'>{escape(_description(picture))}</desc>",
        inside,
        f'<rect class="paper" width="{px(wide)}" height="{px(bottom)}"/>',
        *tips(prefix),
        *head,
        *_bars(picture, places),
        *(part for frame in places.frames for part in _frame(frame, bars=bool(places.bars))),
        *(part for route in places.routes for part in _route(route, prefix)),
        *(
            part
            for frame in places.frames
            for box in frame.boxes
            for part in _box(box, places.box, relations=not heading)
        ),
        *(
            badge(route.line.kind, route.number + 1, *route.badge, route.line.text)
            for route in places.routes
        ),
        *foot,
        "</svg>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _description(picture: Picture) -> str:
    """The picture in words, for a screen reader."""
    said = (*picture.facts, picture.statement, picture.sum)
    return "; ".join(
        (*said, *(line.text for line in picture.lines), *(n.text for n in picture.notes))
    )


def _size(wide: float, high: float) -> str:
    return f'viewBox="0 0 {px(wide)} {px(high)}" width="{px(wide)}" height="{px(high)}"'


def _both(style: str) -> str:
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


def _head(picture: Picture, room: float, *, heading: bool) -> tuple[list[str], float]:
    """Title, facts and the sentence on the whole; without `heading` they stand elsewhere."""
    y = 36.0
    parts = []
    if not heading:
        return _statement(picture, 18.0, room)
    for line in wrap(picture.title, room - 2 * MARGIN, 20, bold=True):
        parts.append(written(MARGIN, y, line, "title"))
        y += 24
    for line in wrap(" · ".join(picture.facts), room - 2 * MARGIN, 13):
        parts.append(written(MARGIN, y, line, "soft"))
        y += 18
    y += 6
    parts.append(icon(picture.state, MARGIN + 8, y - 4))
    for line in wrap(picture.sum, room - 2 * MARGIN - 24, 13):
        parts.append(written(MARGIN + 24, y, line, "sum"))
        y += 18
    said, y = _statement(picture, y, room)
    return parts + said, y


def _statement(picture: Picture, y: float, room: float) -> tuple[list[str], float]:
    """What is said of all edges, where no line says it."""
    parts = []
    if sum(a.on_line for a in picture.areas) < 2:
        y += 4
        for line in wrap(picture.statement, room - 2 * MARGIN, 13, bold=True):
            parts.append(written(MARGIN, y, line, "statement"))
            y += 18
    return parts, y + 2


def _over_bar(picture: Picture, places: Layout) -> list[str]:
    """The statement, which stands over the first bar."""
    start = next(f.x for f in places.frames if f.y > places.bars[0][0])
    return wrap(picture.statement, places.width - start - MARGIN, 13, bold=True)


def _bars(picture: Picture, places: Layout) -> list[str]:
    """The line on which all clusters read each other, over each row of areas."""
    if not places.bars:
        return []
    x = MARGIN + 4
    parts = (
        [f'<path class="bar" d="M{px(x)} {px(places.bars[0][0])}V{px(places.bars[-1][0])}"/>']
        if len(places.bars) > 1
        else []
    )
    parts += [f'<path class="bar" d="M{px(x)} {px(y)}H{px(end)}"/>' for y, end in places.bars]
    y = places.bars[0][0]
    start = next(f.x for f in places.frames if f.y > y)
    lines = _over_bar(picture, places)
    rise = y - 10 - 17 * (len(lines) - 1)
    parts += [written(start, rise + 17 * i, line, "statement") for i, line in enumerate(lines)]
    return parts


def _frame(frame: Frame, *, bars: bool) -> list[str]:
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
            f'<rect class="ground" x="{px(frame.x)}" y="{px(frame.y)}" width="{px(frame.width)}"'
            f' height="{px(frame.height)}" rx="12"/>'
        ),
    ]
    gate = frame.x + 28
    if bars and area.on_line:
        parts.append(f'<path class="bar" d="M{px(gate)} {px(frame.y - 26)}V{px(frame.y)}"/>')
    if area.has_gateway:
        parts.append(
            f'<g class="gate" transform="translate({px(gate)}'
            f' {px(frame.y)})"><title>{escape(area.gateways)}</title>{GATE}</g>'
        )
    y = frame.y + 29
    parts.append(written(frame.x + PAD, y, area.name, "network"))
    for i, line in enumerate(frame.head):
        parts.append(written(frame.x + PAD, y + 18 + LINE * i, line, "soft small"))
    for i, mark in enumerate(area.marks[:2]):
        x = frame.x + frame.width - PAD - 8 - 22 * i
        parts.append(
            f"<g><title>{escape(mark.word)}</title>{icon(mark.state, x, frame.y + 22)}</g>"
        )
    return [*parts, "</g>"]


def _box(box: Box, size: tuple[float, float], *, relations: bool) -> list[str]:
    node = box.node
    marks = node.marks if len(node.marks) <= 3 else node.marks[:2]
    words = "; ".join(m.word for m in node.marks)
    parts = [
        (
            f'<g class="node {node.state}{" near" if node.near else ""}"'
            f' data-cluster="{escape(node.name)}" transform="translate({px(box.x)} {px(box.y)})">'
        ),
        (
            f"<title>{escape(node.name)}: {escape(node.plane)}, {escape(node.until)},"
            f" {escape(words)}</title>"
        ),
        f'<rect class="box" width="{px(size[0])}" height="{px(size[1])}" rx="8"/>',
    ]
    y = 24.0
    for line in box.name:
        parts.append(written(12, y, line, "name"))
        y += 18
    parts += [written(12, y, node.plane, "small"), written(12, y + LINE, node.until, "soft small")]
    y += 2 * LINE
    for i, mark in enumerate(marks):
        parts += [
            icon(mark.state, 19, y - 4 + LINE * i),
            written(34, y + LINE * i, mark.word, f"small {mark.state}"),
        ]
    if len(marks) < len(node.marks):
        parts.append(
            written(
                34, y + LINE * len(marks), f"and {len(node.marks) - len(marks)} more", "soft small"
            )
        )
    for i, (number, pinned) in enumerate(box.pins[: int(size[0] - 40) // 24]):
        parts.append(badge(pinned.kind, number + 1, size[0] - 24 - 24 * i, size[1], pinned.text))
    parts.append(
        f'<text class="relation" x="{px(size[0] - 12)}" y="4"></text>' if relations else ""
    )
    return [*parts, "</g>"]


def _route(route: Route, prefix: str) -> list[str]:
    line = route.line
    (x, y), *rest = route.points
    path = f"M{px(x)} {px(y)}" + "".join(f"L{px(a)} {px(b)}" for a, b in rest)
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


def _foot(picture: Picture, y: float, wide: float) -> tuple[list[str], float]:
    """What the numbers mean, what is said of many edges, what is wrong with the mesh as a whole,
    and the legend.
    """
    room = wide - 2 * MARGIN - 30
    parts: list[str] = []
    y += 14
    for i, line in enumerate(picture.lines):
        parts.append(badge(line.kind, i + 1, MARGIN + 12, y, line.text))
        y = _paragraph(parts, line.text, y, room)
    for note in picture.notes:
        state = {"broken": "broken", "pending": "pending"}.get(note.kind)
        parts.append(
            icon(state, MARGIN + 12, y)
            if state
            else f'<path class="dash {note.kind}" d="M{MARGIN + 4} {px(y)}h16"/>'
        )
        y = _paragraph(parts, note.text, y, room)
    for finding in picture.findings:
        parts.append(icon("broken" if finding.severity == "error" else "warning", MARGIN + 12, y))
        y = _paragraph(parts, f"{finding.id}: {finding.what}", y, room)
    return _legend(picture, parts, y + (8 if parts else 0), wide)


def _paragraph(parts: list[str], text: str, y: float, room: float) -> float:
    lines = wrap(text, room, SMALL)
    parts += [written(MARGIN + 30, y + 4 + LINE * i, line, "small") for i, line in enumerate(lines)]
    return y + LINE * len(lines) + 9


def _legend(picture: Picture, parts: list[str], y: float, wide: float) -> tuple[list[str], float]:
    marks = {m.state for n in picture.nodes for m in n.marks} | {
        m.state for a in picture.areas for m in a.marks
    }
    entries = [(_WORDS[s], icon(s, 9, 0)) for s in ICONS if s in marks]
    entries += [
        (_KINDS[k], f'<g class="edge {k}"><path class="wire" d="M0 0h18"/></g>')
        for k in _KINDS
        if any(line.kind == k for line in picture.lines)
    ]
    if any(a.has_gateway for a in picture.areas):
        entries.append(
            (
                "gateway into the network",
                f'<g class="gate" transform="translate(10 0) scale(.8)">{GATE}</g>',
            )
        )
    parts.append(f'<path class="rule" d="M{MARGIN} {px(y - 8)}H{px(wide - MARGIN)}"/>')
    x = float(MARGIN)
    y += 14
    for word, sign in entries:
        long = width(word, SMALL) + 26
        if x + long > wide - MARGIN and x > MARGIN:
            x, y = float(MARGIN), y + 22
        parts.append(f'<g transform="translate({px(x)} {px(y)})">{sign}</g>')
        parts.append(written(x + 24, y + 4, word, "soft small"))
        x += long + 20
    return parts, y + 22
