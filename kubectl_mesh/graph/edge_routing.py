"""The lanes that lines run in, between the boxes and at the left of the areas, so that no line
crosses a box or lies on another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubectl_mesh.graph.edges import Line

MARGIN = GAP = 16
ROW_LANE_GAP, COLUMN_LANE_GAP = 20, 14
"""How far lanes lie apart: those between rows, which have room for a badge, and those that run
down.
"""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a box is: which row of areas, which area of it, which line and which column of that."""

    row: int
    area: int
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Corridor:
    """Where a line runs down: at the left of everything (`row` None), at the left of an area, or
    inside of it.
    """

    row: int | None = None
    area: int = 0
    inside: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """A line's way, corner by corner, and where its badge stands."""

    number: int
    line: Line
    points: tuple[tuple[float, float], ...]
    badge: tuple[float, float]


Gutter = tuple[int, int]
"""The space below a line of boxes, which the areas of a row share: the row, and the line."""


@dataclass(slots=True)
class LineRun:
    """A line with its stretches along gutters: which, from where to where, and in which lane."""

    number: int
    line: Line
    ends: tuple[float, float]
    down: float | None
    stretches: list[tuple[Gutter, float, float]]
    lanes: list[int] = field(default_factory=list)


def find_corridor(line: Line, slots: Mapping[str, Slot]) -> Corridor | None:
    """Where a line runs down; None where both its ends are at one gutter."""
    a, b = slots[line.source], slots[line.target]
    if a.row != b.row:
        return Corridor()
    if a.line == b.line:
        return None
    return Corridor(a.row, max(a.area, b.area), a.area == b.area)


def group_by_corridor(
    lines: Sequence[Line], slots: Mapping[str, Slot]
) -> dict[Corridor, list[int]]:
    """The lines that run down together, by where."""
    found: dict[Corridor, list[int]] = {}
    for number, line in enumerate(lines):
        where = find_corridor(line, slots)
        if where is not None:
            found.setdefault(where, []).append(number)
    return found


def list_runs(
    lines: Sequence[Line],
    slots: Mapping[str, Slot],
    down: Mapping[Corridor, list[int]],
    left: Mapping[str, float],
    wide: float,
) -> list[LineRun]:
    """The lines on their ways; `left` is where each box begins, and where each area does, by
    `row.area`.
    """
    ports = _ports(lines, left, wide)
    found = []
    for number, line in enumerate(lines):
        a, b = slots[line.source], slots[line.target]
        start, end = ports[number, line.source], ports[number, line.target]
        where = find_corridor(line, slots)
        if where is None:
            found.append(LineRun(number, line, (start, end), None, [((a.row, a.line), start, end)]))
            continue
        place = COLUMN_LANE_GAP * down[where].index(number)
        if where.row is None:
            x = MARGIN + 12.0 + place
        else:
            edge = left[f"{where.row}.{where.area}"]
            x = edge + 12 + place if where.inside else edge - 8 - place
        found.append(
            LineRun(
                number,
                line,
                (start, end),
                x,
                [((a.row, a.line), start, x), ((b.row, b.line), x, end)],
            )
        )
    return found


def _ports(
    lines: Sequence[Line], left: Mapping[str, float], wide: float
) -> dict[tuple[int, str], float]:
    """Where each line leaves its boxes: side by side along their lower edges, in the order of where
    they lead.
    """
    ends: dict[str, list[tuple[float, int]]] = {}
    for number, line in enumerate(lines):
        ends.setdefault(line.source, []).append((left[line.target], number))
        ends.setdefault(line.target, []).append((left[line.source], number))
    return {
        (number, name): left[name] + wide * (i + 1) / (len(numbers) + 1)
        for name, numbers in ends.items()
        for i, (_, number) in enumerate(sorted(numbers))
    }


def assign_lanes(found: Sequence[LineRun]) -> dict[Gutter, int]:
    """Assigns each stretch the first free lane of its gutter; returns the number of lanes per
    gutter.
    """
    taken: dict[Gutter, list[list[tuple[float, float]]]] = {}
    for run in found:
        for gutter, a, b in run.stretches:
            low, high = min(a, b) - 12, max(a, b) + 12
            lanes = taken.setdefault(gutter, [])
            free = next(
                (i for i, lane in enumerate(lanes) if all(high <= x or low >= y for x, y in lane)),
                len(lanes),
            )
            if free == len(lanes):
                lanes.append([])
            lanes[free].append((low, high))
            run.lanes.append(free)
    return {gutter: len(lanes) for gutter, lanes in taken.items()}


def build_route(run: LineRun, tops: Mapping[Gutter, float]) -> Route:
    """The corners of a line, now that it is known how high everything is; its badge is on the
    longest stretch.
    """
    start, end = run.ends
    levels = [
        tops[gutter] + 14 + ROW_LANE_GAP * lane
        for (gutter, _, _), lane in zip(run.stretches, run.lanes, strict=True)
    ]
    points = [(start, tops[run.stretches[0][0]]), (start, levels[0])]
    if run.down is not None:
        points += [(run.down, levels[0]), (run.down, levels[1])]
    points += [(end, levels[-1]), (end, tops[run.stretches[-1][0]])]
    longest = max(range(len(levels)), key=lambda i: abs(run.stretches[i][1] - run.stretches[i][2]))
    _, a, b = run.stretches[longest]
    return Route(run.number, run.line, tuple(points), ((a + b) / 2, levels[longest]))
