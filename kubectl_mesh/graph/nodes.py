"""A cluster and a network as they are drawn: the words and the state by which each is shown."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kubectl_mesh.credentials.logins import parse_claims
from kubectl_mesh.errors import Problem
from kubectl_mesh.graph.findings import Finding
from kubectl_mesh.model import Certificate, FolderChange, Member, Pki, Plan

STATES = ("broken", "pending", "warning", "off", "ok")
"""What a cluster is shown as: the worst of what is known of it comes first."""


@dataclass(frozen=True, slots=True)
class PictureInputs:
    """What the picture is made from. `changes` None: the tree could not be compared."""

    plan: Plan
    pki: Pki
    changes: Sequence[FolderChange] | None
    findings: Sequence[tuple[str, Problem]]
    """What the checks found: the severity, and the problem with the check's id."""
    kind: str
    selected_clusters: frozenset[str] | None = None
    day: datetime | None = None
    """The day for judging dates; None: dates are shown and not judged."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A word with its state in a cluster's box."""

    state: str
    text: str


@dataclass(frozen=True, slots=True)
class Token:
    """The expiry of a token (None if unknown or never), and its peer ("" for all)."""

    peer: str
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class Node:
    """A cluster as it is drawn."""

    name: str
    member: Member
    control_plane: str
    """Istio's version, or whose istiod serves the cluster."""
    expiry_text: str
    certificate: Certificate | None
    marks: tuple[Mark, ...]
    tree: str
    tokens: tuple[Token, ...]
    findings: tuple[Finding, ...]
    is_neighbour: bool = False
    """It is shown because a selected cluster is tied to it."""

    @property
    def state(self) -> str:
        """The worst of its marks."""
        return min((m.state for m in self.marks), key=STATES.index)


@dataclass(frozen=True, slots=True)
class Area:
    """A network with its clusters."""

    name: str
    gateways: str
    has_gateway: bool
    marks: tuple[Mark, ...]
    nodes: tuple[Node, ...]
    statement: str
    is_fully_connected: bool
    """All clusters of the areas on the line read each other."""
    findings: tuple[Finding, ...]

    @property
    def columns(self) -> int:
        """In how many columns a program should be asked to lay it out that would put all clusters
        side by side.
        """
        return len(self.nodes) if len(self.nodes) < 4 else math.isqrt(len(self.nodes) - 1) + 1

    @property
    def vertical_pairs(self) -> tuple[tuple[Node, Node], ...]:
        """The pairs of clusters that are drawn one above the other."""
        return tuple(zip(self.nodes, self.nodes[self.columns :], strict=False))


def build_node(
    seen: PictureInputs, name: str, tree: Mapping[str, FolderChange], findings: tuple[Finding, ...]
) -> Node:
    """A cluster, with what is known of it."""
    member = seen.plan.members[name]
    new = f"intermediate-{name}/ca-cert.pem" in seen.pki.new_files
    held = seen.pki.intermediates.get(name)
    certificate = held.certificate if held is not None and not new else None
    state = (
        {"create": "not rendered", "update": "out of date"}.get(tree[name].action, "up to date")
        if name in tree
        else "not compared"
    )
    broken = any(f.id.startswith("certs-") and f.severity == "error" for f in findings)
    return Node(
        name,
        member,
        _control_plane_text(member),
        _expiry_text(seen, member, certificate, broken=broken),
        certificate,
        _list_marks(seen, member, state, findings),
        state,
        _list_tokens(member),
        findings,
        is_neighbour=seen.selected_clusters is not None and name not in seen.selected_clusters,
    )


def _control_plane_text(member: Member) -> str:
    if member.primary is not None:
        return f"served by {member.primary.name}"
    releases = [
        (r.version or "version not stated")
        + (f" ({r.revision})" if r.revision not in (None, "default") else "")
        for r in member.cluster.releases
    ]
    return f"Istio {' + '.join(releases)}"


def _expiry_text(
    seen: PictureInputs, member: Member, certificate: Certificate | None, *, broken: bool
) -> str:
    topology = seen.plan.topology
    if member.primary is not None:
        return "no CA of its own"
    if topology.issuer_kind.in_clusters:
        return f"CA by {topology.issuer}"
    if certificate is None:
        if broken:
            return "CA broken"
        return "CA awaited" if topology.issuer_kind.takes_requests else "CA not made yet"
    return f"CA until {certificate.not_after:%Y-%m-%d}"


def _list_tokens(member: Member) -> tuple[Token, ...]:
    found = []
    for peer, login in sorted(member.logins.items()):
        text = login.get("token")
        said = (
            parse_claims(text)
            if isinstance(text, str) and peer not in member.sealed_logins
            else None
        )
        found.append(Token(peer, said.expires if said is not None else None))
    return tuple(found)


def _list_marks(
    seen: PictureInputs, member: Member, tree: str, findings: Sequence[Finding]
) -> tuple[Mark, ...]:
    """The words in a box: what is broken by its check's id, then what is awaited, then warnings;
    else that all is well.
    """
    found = {
        Mark("broken", f.short_text): None
        for f in findings
        if f.severity == "error" and f.id != "tree-current"
    }
    found |= {
        Mark("pending", f"{p.kind} pending"): None
        for p in seen.plan.pending
        if p.subject == member.cluster.name and p.kind != "gateway"
    }
    if tree in ("not rendered", "out of date"):
        found |= {Mark("pending", tree): None}
    found |= {
        Mark("warning", f.short_text): None
        for f in findings
        if f.severity == "warning" and not f.id.endswith("-pending")
    }
    if not member.cluster.is_joined:
        found |= {Mark("off", "kept out"): None}
    return tuple(found) or (Mark("ok", tree) if tree != "not compared" else Mark("pending", tree),)


def build_area(
    seen: PictureInputs,
    network: str,
    nodes: tuple[Node, ...],
    statement: str,
    on_line: bool,
    findings: tuple[Finding, ...],
) -> Area:
    """A network, with how it is entered."""
    plan = seen.plan
    known = {
        g
        for m in plan.members.values()
        for n in m.networks
        if n.name == network
        for g in n.gateways
    }
    kinds = sorted({n.member.gateway_kind for n in nodes if n.member.gateway_kind})
    stated = ", ".join(
        f"[{g.address}]:{g.port}" if ":" in g.address else f"{g.address}:{g.port}"
        for g in sorted(known)
    )
    pending = any(p.kind == "gateway" and p.subject == network for p in plan.pending)
    if pending:
        text = f"gateway pending{f' besides {stated}' if stated else ''}"
    elif stated:
        text = f"gateway {stated}"
    elif kinds:
        text = f"gateway found by label ({', '.join(kinds)})"
    else:
        text = "no gateway"
    marks = [
        Mark("broken" if f.severity == "error" else "warning", f.short_text)
        for f in findings
        if not f.id.endswith("-pending")
    ]
    marks += [Mark("pending", "gateway pending")] if pending else []
    return Area(
        network,
        text,
        bool(stated or kinds or pending),
        tuple(dict.fromkeys(marks)),
        nodes,
        statement,
        on_line,
        findings,
    )
