"""The picture as a Mermaid flowchart, which GitHub and GitLab draw in a pull request."""

import re

from kubectl_mesh.graph.nodes import Area, Node
from kubectl_mesh.graph.picture import Picture

SIGNS = {"ok": "✓", "pending": "…", "warning": "!", "broken": "✗", "off": "∅"}
"""The sign of each state, for those who see no colours."""
_SETTINGS = '%%{init: {"flowchart": {"wrappingWidth": 420}}}%%'
_ACROSS = 12
"""The clusters per row."""
_CLASSES = {
    "ok": "fill:#eef8f0,stroke:#1a7f37,color:#1b1f24",
    "pending": "fill:#fff6dd,stroke:#8a5a00,color:#1b1f24,stroke-width:2px,stroke-dasharray:6 4",
    "warning": "fill:#fff6dd,stroke:#8a5a00,color:#1b1f24",
    "broken": "fill:#ffebe9,stroke:#b3261e,color:#1b1f24,stroke-width:4px",
    "off": "fill:#f3f4f6,stroke:#57606a,color:#1b1f24,stroke-dasharray:2 4",
    "mesh": "fill:#e7f0fd,stroke:#0b5fc0,color:#1b1f24",
}
_ARROWS = {
    "both": "<-->",
    "one-way": "-->|one way|",
    "cut": "x-. cut .-x",
    "pending": "-. pending .->",
    "broken": "== broken ==>",
    "served": "-. istiod .-o",
}
_STROKES = {
    "both": "#0b5fc0",
    "one-way": "#0b5fc0",
    "cut": "#57606a",
    "pending": "#8a5a00",
    "broken": "#b3261e",
    "served": "#57606a",
}


def mermaid_text(picture: Picture) -> str:
    """The flowchart."""
    lines = [
        _SETTINGS,
        "flowchart TB",
        f"  accTitle: {_escape_line(picture.title)}",
        (
            "  accDescr:"
            f" {_escape_line('; '.join((*picture.facts, picture.statement, picture.summary)))}"
        ),
    ]
    ids = {node.name: f"c{i}" for i, node in enumerate(picture.nodes)}
    for i, area in enumerate(picture.areas):
        lines += [
            f'  subgraph n{i}["{_area_text(area)}"]',
            *(f'    {ids[n.name]}["{_node_text(n)}"]:::{n.state}' for n in area.nodes),
        ]
        lines += [
            *(
                f"    {ids[upper.name]} ~~~ {ids[lower.name]}"
                for upper, lower in area.vertical_pairs
            ),
            "  end",
        ]
    links: list[str | None] = [None for area in picture.areas for _ in area.vertical_pairs]
    on_line = [i for i, area in enumerate(picture.areas) if area.is_fully_connected]
    whole = [
        *([picture.statement] if picture.statement else []),
        *(f"{SIGNS['broken']} {f.short_text}" for f in picture.findings if f.severity == "error"),
    ]
    lines += [f'  mesh{{{{"{_label_text(whole)}"}}}}:::mesh']
    for i in on_line:
        lines.append(f"  mesh --- n{i}")
        links.append(_STROKES["both"])
    beside = max(1, _ACROSS // max(a.columns for a in picture.areas))
    lines += [f"  n{i} ~~~ n{i + beside}" for i in range(len(picture.areas) - beside)]
    links += [None] * (len(picture.areas) - beside)
    for line in picture.lines:
        lines.append(f"  {ids[line.source]} {_ARROWS[line.kind]} {ids[line.target]}")
        links.append(_STROKES[line.kind])
    if picture.notes:
        lines.append(f'  notes["{_label_text([n.text for n in picture.notes])}"]')
    used = {n.state for n in picture.nodes} | {"mesh"}
    lines += [f"  classDef {state} {style}" for state, style in _CLASSES.items() if state in used]
    for colour in dict.fromkeys(filter(None, links)):
        numbers = ",".join(str(i) for i, c in enumerate(links) if c == colour)
        lines.append(f"  linkStyle {numbers} stroke:{colour}")
    return "\n".join(lines) + "\n"


def _area_text(area: Area) -> str:
    return _label_text(
        [f"network {area.name}", area.gateways, *([area.statement] if area.statement else [])]
    )


def _node_text(node: Node) -> str:
    return _label_text(
        [
            f"<b>{_escape_label(node.name)}</b>",
            _escape_label(node.control_plane),
            _escape_label(node.expiry_text),
            *(_escape_label(f"{SIGNS[m.state]} {m.text}") for m in node.marks),
        ],
        raw=True,
    )


def _label_text(parts: list[str], *, raw: bool = False) -> str:
    return "<br/>".join(parts if raw else map(_escape_label, parts))


def _escape_label(text: str) -> str:
    """A text in a label: whatever could end it, or be taken for markup, as an entity."""
    return re.sub(r"[^\w .,:()+/…✓✗∅·-]", lambda m: f"#{ord(m[0])};", text)


def _escape_line(text: str) -> str:
    """A text of its own line."""
    return re.sub(r"[^\w .,:()+/·-]", ",", text)
