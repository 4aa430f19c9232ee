"""The picture: clusters in networks, lines and sentences about discovery, and a summary."""

from collections.abc import Sequence
from dataclasses import dataclass

from kubectl_mesh.graph.edges import Discovery, Line, Note, read_discovery
from kubectl_mesh.graph.findings import Finding, group_by_subject
from kubectl_mesh.graph.nodes import Area, Node, PictureInputs, build_area, build_node
from kubectl_mesh.graph.summary import natural_sort_key, summarize_edges
from kubectl_mesh.model import Plan
from kubectl_mesh.text import count_text

NOTHING_WRONG = "nothing is pending, nothing is broken"
"""The sentence for a mesh without findings."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The mesh as it is drawn."""

    title: str
    facts: tuple[str, ...]
    summary: str
    """Of the whole: what is broken or pending, in a sentence."""
    state: str
    """The worst of all: `ok`, `pending` or `broken`."""
    areas: tuple[Area, ...]
    statement: str
    lines: tuple[Line, ...]
    notes: tuple[Note, ...]
    discovery: Discovery
    inputs: PictureInputs
    findings: tuple[Finding, ...]
    """Those of the mesh as a whole."""

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All clusters, network by network."""
        return tuple(n for a in self.areas for n in a.nodes)


def build_picture(seen: PictureInputs) -> Picture:
    """Builds the picture: areas, boxes, lines and sentences."""
    plan = seen.plan
    found = group_by_subject(plan, seen.findings)
    reading = read_discovery(plan, seen.changes)
    shown = _select_clusters(reading, plan, seen.selected_clusters)
    edge_summary = summarize_edges(plan, reading, shown, seen.selected_clusters)
    tree = {c.name: c for c in seen.changes or ()}
    areas = []
    for network in sorted(
        {plan.members[name].cluster.network for name in shown}, key=natural_sort_key
    ):
        names = sorted(
            (name for name in shown if plan.members[name].cluster.network == network),
            key=natural_sort_key,
        )
        nodes = tuple(
            build_node(seen, name, tree, tuple(found.get(("cluster", name), ()))) for name in names
        )
        areas.append(
            build_area(
                seen,
                network,
                nodes,
                edge_summary.areas.get(network, ""),
                network in edge_summary.fully_connected,
                tuple(found.get(("network", network), ())),
            )
        )
    nodes = tuple(n for a in areas for n in a.nodes)
    whole = tuple(found.get(("", ""), ()))
    return Picture(
        f"mesh {plan.topology.mesh_id}",
        _list_facts(seen, nodes, len(areas)),
        *_summarize(nodes, areas, edge_summary.lines, edge_summary.notes, whole),
        tuple(areas),
        edge_summary.statement,
        edge_summary.lines,
        (
            edge_summary.notes
            if seen.changes is not None
            else (
                Note("pending", "the tree could not be compared with a render: see what is broken"),
                *edge_summary.notes,
            )
        ),
        reading,
        seen,
        whole,
    )


def _select_clusters(reading: Discovery, plan: Plan, only: frozenset[str] | None) -> frozenset[str]:
    """The clusters that were asked for, and those that they are tied to."""
    if only is None:
        return frozenset(plan.members)
    tied = {
        other
        for name in only
        for other in plan.members
        if reading.edge_state(name, other) != "." or reading.edge_state(other, name) != "."
    }
    serving = {
        m.primary.name for name, m in plan.members.items() if name in only and m.primary is not None
    }
    served = {
        name for name, m in plan.members.items() if m.primary is not None and m.primary.name in only
    }
    return only | tied | serving | served


def _list_facts(seen: PictureInputs, nodes: Sequence[Node], networks: int) -> tuple[str, ...]:
    versions = sorted(
        {
            r.version
            for n in nodes
            if n.member.primary is None
            for r in n.member.cluster.releases
            if r.version
        },
        key=_version_key,
    )
    ran = (
        f"Istio {versions[0]}"
        if len(versions) == 1
        else f"Istio {versions[0]} to {versions[-1]}"
        if versions
        else "Istio"
    )
    plane = f"{ran}, {'ambient' if seen.plan.topology.is_ambient else 'sidecar'}"
    clusters = (
        count_text(len(nodes), "cluster")
        if len(nodes) == len(seen.plan.members)
        else f"{len(nodes)} of {count_text(len(seen.plan.members), 'cluster')}"
    )
    return (
        f"{clusters} on {count_text(networks, 'network')}",
        plane,
        f"kind {seen.kind}",
        _root_text(seen),
    )


def _version_key(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def _root_text(seen: PictureInputs) -> str:
    topology = seen.plan.topology
    if topology.issuer_kind.in_clusters:
        return f"root of {topology.issuer}"
    if not seen.pki.roots:
        return (
            "root not known"
            if any(p.id.startswith("certs-") for _, p in seen.findings)
            else "no root yet"
        )
    if any("/" not in path for path in seen.pki.new_files):
        return "root not made yet"
    last = max(c.not_after for c in seen.pki.roots)
    several = f"{len(seen.pki.roots)} roots" if len(seen.pki.roots) > 1 else "root"
    return f"{several} until {last:%Y-%m-%d}"


def _summarize(
    nodes: Sequence[Node],
    areas: Sequence[Area],
    lines: Sequence[Line],
    notes: Sequence[Note],
    whole: Sequence[Finding],
) -> tuple[str, str]:
    """The sentence below the title, and the worst state."""
    broken = sum(n.state == "broken" for n in nodes)
    pending = sum(any(m.state == "pending" for m in n.marks) for n in nodes)
    gateways = sum(any(m.state == "pending" for m in a.marks) for a in areas)
    errors = sum(
        f.severity == "error"
        for f in (*whole, *(f for a in areas for f in a.findings))
        if f.id != "tree-current"
    )
    kinds = [line.kind for line in lines] + [note.kind for note in notes]
    edges = [kinds.count(kind) for kind in ("broken", "pending")]
    parts = [
        f"{count_text(number, noun)} {word}"
        for number, noun, word in (
            (broken, "cluster", "broken"),
            (errors, "error", "of the mesh as a whole"),
            (edges[0], "edge", "broken"),
            (pending, "cluster", "pending"),
            (gateways, "network", "without a known gateway"),
            (edges[1], "edge", "pending"),
        )
        if number
    ]
    state = "broken" if broken or errors or edges[0] else "pending" if parts else "ok"
    return ", ".join(parts) or NOTHING_WRONG, state
