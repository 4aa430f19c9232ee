"""The edges of discovery: which cluster reads which, and the state of each edge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubectl_mesh.model import BUNDLE_FOLDER, REMOTE_SECRETS_PREFIX, FolderChange, Plan

NO_EDGE, READS, WAITS, STALE, BROKEN = ".", "r", "p", "n", "x"
"""No edge; it reads; it waits for a token or a server; the tree is behind; a person edited or
deleted the remote secret.
"""


@dataclass(frozen=True, slots=True)
class Line:
    """An edge, or two opposite edges, drawn from the reader to its peer.

    `kind` is both, one-way, cut, pending, broken or served (from a cluster to the one whose istiod
    serves it).
    """

    kind: str
    source: str
    target: str
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """What is said of many edges at once, with the clusters that it is said of."""

    kind: str
    text: str
    clusters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Discovery:
    """The edges of discovery: for each cluster a row with one letter per cluster, in the order of
    the plan.
    """

    names: tuple[str, ...]
    rows: Mapping[str, str]
    positions: Mapping[str, int]
    pending_clusters: frozenset[str]
    """Clusters that wait for a token, a server or a render; their own box shows it."""

    def edge_state(self, reader: str, other: str) -> str:
        """The letter of an edge."""
        return self.rows[reader][self.positions[other]]

    def to_edges(self) -> "Edges":
        """Every edge as bits: the first cluster of the plan is bit 0."""
        columns = dict(
            zip(
                self.names,
                map("".join, zip(*(self.rows[n] for n in self.names), strict=True)),
                strict=True,
            )
        )
        whole = sum(
            1 << self.positions[name] for name in self.pending_clusters if name in self.positions
        )
        edges = Edges({}, {}, {}, {})
        for name in self.names:
            row, column, is_whole = self.rows[name], columns[name], name in self.pending_clusters
            edges.reads[name] = _edge_bits(row, READS + WAITS + STALE + BROKEN)
            edges.read_by[name] = _edge_bits(column, READS + WAITS + STALE + BROKEN)
            edges.troubles[name] = _edge_bits(row, BROKEN) | (
                0 if is_whole else _edge_bits(row, STALE) | (_edge_bits(row, WAITS) & ~whole)
            )
            edges.troubled_by[name] = _edge_bits(column, BROKEN) | (
                _edge_bits(column, STALE if is_whole else STALE + WAITS) & ~whole
            )
        return edges


def _edge_bits(text: str, letters: str) -> int:
    """The places that have one of the letters."""
    ones = str.maketrans(
        {
            letter: "1" if letter in letters else "0"
            for letter in (NO_EDGE, READS, WAITS, STALE, BROKEN)
        }
    )
    return int(text[::-1].translate(ones), 2) if text else 0


@dataclass(frozen=True, slots=True)
class Edges:
    """For each cluster, as bits: the peers that it reads, its readers, and the edges of both with
    trouble.
    """

    reads: dict[str, int]
    read_by: dict[str, int]
    troubles: dict[str, int]
    """An edge without trouble works, or a cluster at one of its ends shows what it waits for."""
    troubled_by: dict[str, int]


def read_discovery(plan: Plan, changes: Sequence[FolderChange] | None) -> Discovery:
    """Every edge of the plan, as the tree on disk has it."""
    names = tuple(plan.members)
    by_name = {c.name: c for c in changes or ()}
    whole = {
        p.subject
        for p in plan.pending
        if p.kind in ("server", "token", "certificate", "sealing") and not p.peer
    }
    whole |= {c.name for c in changes or () if c.action == "create"}
    shared = _changed_secrets(by_name[BUNDLE_FOLDER]) if BUNDLE_FOLDER in by_name else None
    states = {
        name: WAITS if member.peer_login("") is None else (shared or {}).get(name, READS)
        for name, member in plan.members.items()
    }
    # The states of clusters that have a login for some readers only, by reader.
    known: dict[str, dict[str, str]] = {}
    for name, member in plan.members.items():
        for reader in member.logins if states[name] == WAITS else ():
            if member.peer_login(reader) is not None:
                known.setdefault(reader, {})[name] = (shared or {}).get(name, READS)
    everyone = frozenset(names)
    rows = {}
    for name, member in plan.members.items():
        row = (
            dict.fromkeys(names, WAITS)
            if member.lacks_intermediate
            else {**states, **known.get(name, {})}
        )
        files = _changed_secrets(by_name[name]) if shared is None and name in by_name else {}
        row |= {other: letter for other, letter in files.items() if row.get(other) == READS}
        row |= dict.fromkeys(everyone.difference(member.peers), NO_EDGE)
        row[name] = NO_EDGE
        rows[name] = "".join(row.values())
    return Discovery(names, rows, {name: i for i, name in enumerate(names)}, frozenset(whole))


def _changed_secrets(change: FolderChange) -> dict[str, str]:
    """The remote secrets of a directory that are not what a render would make."""
    folder = "" if change.name == BUNDLE_FOLDER else REMOTE_SECRETS_PREFIX
    return {
        c.path.removeprefix(folder).removesuffix(".yaml"): BROKEN if c.was_edited else STALE
        for c in change.changes
        if c.path.startswith(folder) and c.action not in ("identical", "tighten")
    }
