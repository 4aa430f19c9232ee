"""The positions in the SVG: areas in rows, clusters in a grid, and lines in lanes between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubectl_mesh.graph.edge_routing import (
    COLUMN_LANE_GAP,
    GAP,
    MARGIN,
    ROW_LANE_GAP,
    Corridor,
    Gutter,
    Route,
    Slot,
    assign_lanes,
    build_route,
    group_by_corridor,
    list_runs,
)
from kubectl_mesh.graph.edges import Line
from kubectl_mesh.graph.nodes import Area, Node
from kubectl_mesh.graph.picture import Picture
from kubectl_mesh.graph.text_width import text_width, wrap_to_width

PAD = 16
LINE, SMALL, NAME = 17, 12, 14
"""The height of a line of text, the size of most of it, and of a cluster's name."""
WIDEST, ROOMY, FEW, NARROW = 300.0, 200.0, 8, 320.0
"""A box is never wider than the first; where there are few clusters, never narrower than the
second; and it fills a room that is narrow.
"""
_RISE = 26
"""From the line of those that read each other down to the areas."""


@dataclass(frozen=True, slots=True)
class Box:
    """A cluster's place; `pins` are the numbers of its lines, where these are not drawn."""

    node: Node
    x: float
    y: float
    name: tuple[str, ...]
    pins: tuple[tuple[int, Line], ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """A network's place."""

    area: Area
    x: float
    y: float
    width: float
    height: float
    head: tuple[str, ...]
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """All places; `bars` are the lines over the rows of areas whose clusters read each other: where
    each is, and where it ends.
    """

    width: float
    bottom: float
    box: tuple[float, float]
    frames: tuple[Frame, ...]
    routes: tuple[Route, ...]
    bars: tuple[tuple[float, float], ...]


def lay_out(picture: Picture, room: float, top: float, *, wires: bool = True) -> Layout:
    """Lays the picture out below `top`, as wide as `room` at most. Where lines find no room, their
    numbers are pinned to the boxes.
    """
    usable = room
    while wires and usable > 0.7 * room:
        made = _Grid(picture, usable, picture.lines).place_boxes(top)
        if made.width <= room:
            return made
        usable -= made.width - room
    return _Grid(picture, room, ()).place_boxes(top)


class _Grid:
    """The boxes in rows and columns, before anything has a height."""

    def __init__(self, picture: Picture, room: float, lines: Sequence[Line]) -> None:
        self.lines = lines
        self.pins: dict[str, list[tuple[int, Line]]] = {}
        for number, line in enumerate(picture.lines if not lines else ()):
            self.pins.setdefault(line.source, []).append((number, line))
            self.pins.setdefault(line.target, []).append((number, line))
        self.barred = sum(a.is_fully_connected for a in picture.areas) > 1
        usable = room - 2 * MARGIN - (16 if self.barred else 0)
        self.box = _box_size(picture.nodes, usable - 2 * PAD)
        self.rows, most = self._pack_rows(picture.areas, usable)
        self.columns = {a.name: min(most, len(a.nodes)) for a in picture.areas}
        self.slots = {
            n.name: Slot(r, a, i // self.columns[area.name], i % self.columns[area.name])
            for r, row in enumerate(self.rows)
            for a, area in enumerate(row)
            for i, n in enumerate(area.nodes)
        }
        self.down = group_by_corridor(lines, self.slots)

    def _pack_rows(self, areas: Sequence[Area], usable: float) -> tuple[list[list[Area]], int]:
        """Areas into rows, with as many columns of boxes as make the picture compact: rather wider
        than high.
        """
        best: tuple[float, float, int] | None = None
        kept: list[list[Area]] = []
        for columns in range(1, 9):
            wides = [self._area_width(min(columns, len(a.nodes))) for a in areas]
            if max(wides) > usable and columns > 1:
                break
            rows: list[list[Area]] = []
            left = -1.0
            for area, wide in zip(areas, wides, strict=True):
                if not rows or wide > left:
                    rows.append([])
                    left = usable
                rows[-1].append(area)
                left -= wide + GAP
            high = sum(
                110 + max(-(-len(a.nodes) // columns) for a in row) * (self.box[1] + 14)
                for row in rows
            )
            widest = max(
                sum(self._area_width(min(columns, len(a.nodes))) + GAP for a in row) for row in rows
            )
            cost = (max(high, 0.4 * widest), widest, columns)
            if best is None or cost < best:
                best, kept = cost, rows
        assert best is not None
        return kept, best[2]

    def _area_width(self, columns: int) -> float:
        return 2 * PAD + columns * self.box[0] + (columns - 1) * GAP

    def _lanes_width(self, way: Corridor) -> float:
        return COLUMN_LANE_GAP * len(self.down.get(way, ()))

    def place_boxes(self, top: float) -> Layout:
        """Gives everything its place."""
        left, wide = self._place_columns()
        found = list_runs(self.lines, self.slots, self.down, left, self.box[0])
        depth = assign_lanes(found)
        frames: list[Frame] = []
        bars: list[tuple[float, float]] = []
        tops: dict[Gutter, float] = {}
        y = top
        for r, row in enumerate(self.rows):
            on_line = [a for a, area in enumerate(row) if area.is_fully_connected]
            if self.barred and on_line:
                bars.append((y + _RISE, left[f"{r}.{on_line[-1]}"] + 28))
                y += 2 * _RISE
            made, y = self._place_row(r, y, left, wide, depth, tops)
            frames += made
        edge = max(f.x + f.width for f in frames)
        return Layout(
            edge + MARGIN,
            y,
            self.box,
            tuple(frames),
            tuple(build_route(run, tops) for run in found),
            tuple(bars),
        )

    def _place_columns(self) -> tuple[dict[str, float], dict[str, float]]:
        """Where each box and each area (by `row.area`) begins, and how wide the areas are."""
        left: dict[str, float] = {}
        wide: dict[str, float] = {}
        for r, row in enumerate(self.rows):
            x = MARGIN + (16 if self.barred else 0) + self._lanes_width(Corridor())
            for a, area in enumerate(row):
                beside = self._lanes_width(Corridor(r, a))
                x += max(0.0, beside - GAP + 10) if beside else 0
                inside = self._lanes_width(Corridor(r, a, inside=True))
                left[f"{r}.{a}"], wide[f"{r}.{a}"] = (
                    x,
                    self._area_width(self.columns[area.name]) + inside,
                )
                for n in area.nodes:
                    left[n.name] = (
                        x + inside + PAD + self.slots[n.name].column * (self.box[0] + GAP)
                    )
                x += wide[f"{r}.{a}"] + GAP
        return left, wide

    def _place_row(
        self,
        r: int,
        y: float,
        left: Mapping[str, float],
        wide: Mapping[str, float],
        depth: Mapping[Gutter, int],
        tops: dict[Gutter, float],
    ) -> tuple[list[Frame], float]:
        """A row of areas from `y` on: its frames, and where the next one begins."""
        row = self.rows[r]
        heads = [
            tuple(
                line
                for text in (area.gateways, area.statement)
                if text
                for line in wrap_to_width(text, wide[f"{r}.{a}"] - 2 * PAD, SMALL)
            )
            for a, area in enumerate(row)
        ]
        ys = []
        here = y + 44 + LINE * max(map(len, heads))
        for line in range(max(-(-len(area.nodes) // self.columns[area.name]) for area in row)):
            ys.append(here)
            tops[r, line] = here + self.box[1]
            lanes = depth.get((r, line), 0)
            pinned = any(
                n.name in self.pins and self.slots[n.name].line == line
                for area in row
                for n in area.nodes
            )
            here += self.box[1] + (
                8 + ROW_LANE_GAP * lanes if lanes else GAP + (8 if pinned else 0)
            )
        frames = [
            Frame(
                area,
                left[f"{r}.{a}"],
                y,
                wide[f"{r}.{a}"],
                here - y,
                heads[a],
                tuple(self._place_box(n, left[n.name], ys) for n in area.nodes),
            )
            for a, area in enumerate(row)
        ]
        return frames, here + GAP

    def _place_box(self, node: Node, x: float, tops: Sequence[float]) -> Box:
        """A cluster's box; `tops` is where each line of its row begins."""
        return Box(
            node,
            x,
            tops[self.slots[node.name].line],
            _wrap_name(node.name, self.box[0]),
            tuple(self.pins.get(node.name, ())),
        )


def _wrap_name(name: str, wide: float) -> tuple[str, ...]:
    return tuple(wrap_to_width(name, wide - 24, NAME, bold=True))


def _box_size(nodes: Sequence[Node], room: float) -> tuple[float, float]:
    """As wide as the longest line of any box, names wrapped; as high as the one with most lines."""
    texts = [
        max(
            text_width(t, SMALL)
            for t in (n.control_plane, n.expiry_text, *(m.text for m in n.marks))
        )
        + 44
        for n in nodes
    ]
    names = [text_width(n.name, NAME, bold=True) + 24 for n in nodes]
    wide = (
        room
        if room < NARROW
        else min(WIDEST, room, max(ROOMY if len(nodes) <= FEW else 150.0, *texts, *names))
    )
    return (
        wide,
        max(len(_wrap_name(n.name, wide)) * 18 + (2 + min(len(n.marks), 3)) * LINE for n in nodes)
        + 20,
    )
