"""The picture in DOT, for Graphviz."""

import textwrap
from collections.abc import Mapping

from kubectl_mesh.graph.mermaid import SIGNS
from kubectl_mesh.graph.nodes import Area
from kubectl_mesh.graph.picture import Picture

_NODES = {
    "ok": 'color="#1a7f37", fillcolor="#eef8f0"',
    "pending": 'color="#8a5a00", fillcolor="#fff6dd", style="rounded,filled,dashed", penwidth=2',
    "warning": 'color="#8a5a00", fillcolor="#fff6dd"',
    "broken": 'color="#b3261e", fillcolor="#ffebe9", style="filled", shape=octagon, penwidth=3',
    "off": 'color="#57606a", fillcolor="#f3f4f6", style="rounded,filled,dotted"',
}
_EDGES = {
    "both": 'dir=both, color="#0b5fc0"',
    "one-way": 'color="#0b5fc0", label="one way"',
    "cut": 'dir=both, arrowhead=tee, arrowtail=tee, style=dotted, color="#57606a", label="cut"',
    "pending": 'style=dashed, color="#8a5a00", label="pending"',
    "broken": 'penwidth=3, color="#b3261e", label="broken"',
    "served": 'arrowhead=odot, style=dashed, color="#57606a", label="istiod"',
}


def dot_text(picture: Picture) -> str:
    """The graph."""
    ids = {node.name: f"c{i}" for i, node in enumerate(picture.nodes)}
    lines = [
        "digraph mesh {",
        (
            f"  label={_quoted(picture.title, '; '.join(picture.facts), picture.summary)};"
            " labelloc=t;"
            " compound=true;"
        ),
        (
            '  fontname="Helvetica"; node [shape=box, style="rounded,filled",'
            ' fontname="Helvetica"]; edge [fontname="Helvetica"];'
        ),
    ]
    for i, area in enumerate(picture.areas):
        lines += _area_lines(i, area, ids)
    whole = [
        *([picture.statement] if picture.statement else []),
        *(f"{SIGNS['broken']} {f.short_text}" for f in picture.findings if f.severity == "error"),
    ]
    whole = [line for text in whole for line in textwrap.wrap(text, 40)]
    lines.append(
        f'  mesh [label={_quoted(*whole)}, shape=hexagon, color="#0b5fc0", fillcolor="#e7f0fd"];'
    )
    lines += [
        f"  mesh -> {ids[area.nodes[0].name]} [lhead=cluster_{i}, dir=none,"
        f" {_EDGES['both'].split(', ')[1]}];"
        for i, area in enumerate(picture.areas)
        if area.is_fully_connected
    ]
    lines += [
        f"  mesh -> {ids[n.name]} [style=invis];"
        for area in picture.areas
        for n in area.nodes[area.is_fully_connected : area.columns]
    ]
    lines += [
        f"  {ids[line.source]} -> {ids[line.target]} [constraint=false, {_EDGES[line.kind]},"
        f" tooltip={_quoted(line.text)}];"
        for line in picture.lines
    ]
    if picture.notes:
        notes = (line for n in picture.notes for line in textwrap.wrap(n.text, 60))
        lines.append(f"  notes [label={_quoted(*notes)}, shape=note, style=solid];")
    return "\n".join([*lines, "}"]) + "\n"


def _area_lines(number: int, area: Area, ids: Mapping[str, str]) -> list[str]:
    """A network with its clusters, as a subgraph."""
    head = (f"network {area.name}", area.gateways, *([area.statement] if area.statement else []))
    lines = [
        f"  subgraph cluster_{number} {{",
        f'    label={_quoted(*head)}; color="#57606a";',
    ]
    for n in area.nodes:
        marks = (f"{SIGNS[m.state]} {m.text}" for m in n.marks)
        label = _quoted(n.name, n.control_plane, n.expiry_text, *marks)
        lines.append(f"    {ids[n.name]} [label={label}, {_NODES[n.state]}];")
    lines += [
        f"    {ids[upper.name]} -> {ids[lower.name]} [style=invis];"
        for upper, lower in area.vertical_pairs
    ]
    return [*lines, "  }"]


def _quoted(*parts: str) -> str:
    r"""A label of several lines: `\n` is DOT's own; quotes and backslashes are escaped."""
    escaped = (part.replace("\\", "\\\\").replace('"', '\\"') for part in parts)
    return '"' + "\\n".join(escaped) + '"'
