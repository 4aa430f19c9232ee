"""Summarizes edges: a full mesh of 60 clusters is one sentence, and only exceptions are drawn."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import reduce
from operator import or_

from kubectl_mesh.graph.edges import BROKEN, NO_EDGE, STALE, WAITS, Discovery, Edges, Line, Note
from kubectl_mesh.model import Plan
from kubectl_mesh.text import count_text

NOTE_THRESHOLD, MOST_LINES = 5, 24
"""From this many edges of one kind at one cluster on they are said in a note; and so many lines are
drawn at most.
"""
_URGENCY = ("broken", "pending", "one-way", "cut", "both")
BOTH, ALONE, CUT, TROUBLED = "both", "alone", "cut", "troubled"
FORTH, BACK = "forth", "back"
"""How the clusters of a pair read each other: of `ALONE` only one has an istiod; of `FORTH` the
first reads the second only.
"""
CONNECTED_KINDS = (BOTH, ALONE)


@dataclass(frozen=True, slots=True)
class Summary:
    """The sentence for the mesh and for each area, the areas whose clusters all read each other,
    and what differs.
    """

    statement: str
    areas: dict[str, str]
    fully_connected: frozenset[str]
    lines: tuple[Line, ...]
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two clusters that could read each other, and how they do. For one-way the first reads the
    second.
    """

    first: str
    second: str
    kind: str
    text: str


@dataclass(slots=True)
class _PairGroup:
    """The pairs within a network, or between two: counted, and created one by one only where they
    are drawn.
    """

    rows: list[tuple[str, Mapping[str, int]]] = field(default_factory=list)
    """A cluster, and as bits the later ones with which it forms pairs, by kind."""
    counts: Counter[str] = field(default_factory=Counter)
    clusters: int = 0
    """The clusters that are in a pair, as bits."""
    declared: int = 0
    """In how many pairs each istiod that could read the other has the remote secret."""
    readers: set[str] = field(default_factory=set)
    """The networks of those that read and are not read."""

    def add_pairs(self, first: str, bit: int, found: Mapping[str, int], declared: int) -> None:
        """Adds the pairs of a cluster with later ones."""
        self.rows.append((first, found))
        for kind, bits in found.items():
            self.counts[kind] += bits.bit_count()
            self.clusters |= bits | bit
        self.declared += declared

    def list_pairs(
        self, reading: Discovery, edges: Edges, without: Sequence[str]
    ) -> Iterator[_Pair]:
        """The pairs in the order of the plan, without those of some kinds."""
        for first, found in self.rows:
            kinds = {
                place: kind
                for kind, bits in found.items()
                if kind not in without
                for place in _places(bits)
            }
            for place in sorted(kinds):
                yield _build_pair(reading, edges, kinds[place], first, reading.names[place])

    @property
    def is_mostly_connected(self) -> bool:
        """Whether most of them read each other: then what is missing is drawn, else what exists."""
        return self.declared > 0 and 2 * self.declared >= self.counts.total()

    @property
    def is_one_way(self) -> bool:
        """Whether the clusters of one network read all of the other, and none reads back."""
        forth_and_back = self.counts[FORTH] + self.counts[BACK]
        return len(self.readers) == 1 and forth_and_back == self.counts.total()

    @property
    def is_fully_connected(self) -> bool:
        """Whether all read each other."""
        return all(kind in CONNECTED_KINDS for kind in self.counts)


def _places(bits: int) -> Iterator[int]:
    """The places of the bits that are set."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def natural_sort_key(name: str) -> tuple[tuple[str, int], ...]:
    """Sorts `east-10` after `east-9`."""
    return tuple(
        (text, int(number or -1)) for text, number in re.findall(r"([^0-9]*)([0-9]*)", name)
    )


def summarize_edges(
    plan: Plan, reading: Discovery, shown: AbstractSet[str], only: frozenset[str] | None
) -> Summary:
    """Splits the edges into sentences, lines and notes."""
    names = [n for n in plan.members if n in shown and plan.members[n].cluster.is_joined]
    network = {n: plan.members[n].cluster.network for n in names}
    size = {a: [n for n in names if network[n] == a] for a in sorted(set(network.values()))}
    edges = reading.to_edges()
    between = _group_pairs(plan, reading, edges, size, only)
    on_line = _find_fully_connected(size, between)
    lines, common = _split_pairs(between, on_line, reading, edges, size)
    bundled, left = _bundle_pairs(lines, size)
    drawn, uncounted = _draw_urgent(left)
    served = _served_lines(plan, shown)
    return Summary(
        _mesh_statement(size, between, on_line, only, reading),
        {a: _network_statement(between[a, a], size[a], reading) for a in size},
        on_line if len(on_line) > 1 else frozenset(),
        (*drawn, *(served if len(served) <= MOST_LINES // 2 else ())),
        (*bundled, *common, *uncounted),
    )


def _split_pairs(
    between: Mapping[tuple[str, str], _PairGroup],
    on_line: frozenset[str],
    reading: Discovery,
    edges: Edges,
    size: Mapping[str, Sequence[str]],
) -> tuple[list[_Pair], list[Note]]:
    """The pairs that are drawn one by one, and the notes for all pairs of two networks at once."""
    lines: list[_Pair] = []
    notes: list[Note] = []
    for (a, b), group in between.items():
        many, both = a != b and group.counts.total() >= NOTE_THRESHOLD, (*size[a], *size[b])
        if many and group.is_one_way:
            reader, other = (a, b) if a in group.readers else (b, a)
            text = (
                f"every cluster of {reader} reads every one of {other}, and none of {other} reads"
                " back"
            )
            notes.append(Note("one-way", text, both))
        elif many and group.is_mostly_connected and not {a, b} <= on_line:
            notes.append(Note("both", f"clusters of {a} and {b} read each other", both))
            lines += group.list_pairs(reading, edges, CONNECTED_KINDS)
        else:
            said = group.is_mostly_connected and (a == b or {a, b} <= on_line)
            lines += group.list_pairs(reading, edges, CONNECTED_KINDS if said else (CUT,))
    return lines, notes


def _draw_urgent(pairs: Sequence[_Pair]) -> tuple[list[Line], list[Note]]:
    """The most urgent pairs as lines, and a note that counts the rest."""
    left = sorted(pairs, key=lambda p: _URGENCY.index(p.kind))
    drawn = [Line(p.kind, p.first, p.second, p.text) for p in left[:MOST_LINES]]
    if len(left) <= MOST_LINES:
        return drawn, []
    counts = {kind: sum(p.kind == kind for p in left[MOST_LINES:]) for kind in _URGENCY}
    listed = ", ".join(f"{number} {kind}" for kind, number in counts.items() if number)
    text = (
        f"{count_text(len(left) - MOST_LINES, 'more pair')} not drawn ({listed}): ask for some"
        " clusters"
        " with"
        " --cluster, or for -o html"
    )
    return drawn, [Note("cut", text)]


def _served_lines(plan: Plan, shown: AbstractSet[str]) -> list[Line]:
    """The clusters that have no istiod of their own, with the one whose istiod serves them."""
    primaries = {
        n: m.primary.name
        for n, m in plan.members.items()
        if n in shown and m.primary is not None and m.primary.name in shown
    }
    return [
        Line("served", n, primary, f"{n} is served by the istiod of {primary}")
        for n, primary in primaries.items()
    ]


def _group_pairs(
    plan: Plan,
    reading: Discovery,
    edges: Edges,
    size: Mapping[str, Sequence[str]],
    only: frozenset[str] | None,
) -> dict[tuple[str, str], _PairGroup]:
    """The pairs of clusters where one has an istiod that can read the other, by their networks."""
    bit = {name: 1 << place for name, place in reading.positions.items()}
    network = {name: area for area, names in size.items() for name in names}
    at = {area: sum(bit[name] for name in names) for area, names in size.items()}
    able = sum(bit[name] for name in reading.names if plan.members[name].primary is None)
    asked = sum(bit[name] for name in network if only is None or name in only)
    between = {(a, b): _PairGroup() for a in size for b in size if a <= b}
    for first in (name for name in reading.names if name in network):
        later = (
            ~(2 * bit[first] - 1)
            & (-1 if bit[first] & asked else asked)
            & (-1 if bit[first] & able else able)
        )
        kinds, declared = _classify_pairs(edges, first, able, is_able=bool(bit[first] & able))
        for area, inside in at.items():
            among = later & inside
            found = {kind: bits & among for kind, bits in kinds.items() if bits & among}
            if found:
                group = between[min(network[first], area), max(network[first], area)]
                group.add_pairs(first, bit[first], found, (declared & among).bit_count())
                group.readers |= {
                    reader
                    for kind, reader in ((FORTH, network[first]), (BACK, area))
                    if kind in found
                }
    return between


def _classify_pairs(
    edges: Edges, first: str, able: int, *, is_able: bool
) -> tuple[dict[str, int], int]:
    """The pairs of a cluster by kind, and the pairs that read each other; both as bits."""
    reads, read_by = edges.reads[first], edges.read_by[first]
    troubled = edges.troubles[first] | edges.troubled_by[first]
    declared = reads & (read_by | ~able) if is_able else read_by
    rest = ~troubled & ~declared
    kinds = {
        BOTH: declared & ~troubled & (able if is_able else 0),
        ALONE: declared & ~troubled & (~able if is_able else -1),
        FORTH: rest & reads,
        BACK: rest & read_by & ~reads,
        CUT: rest & ~reads & ~read_by,
        TROUBLED: troubled,
    }
    return kinds, declared


def _build_pair(reading: Discovery, edges: Edges, kind: str, a: str, b: str) -> _Pair:
    """A pair as it is drawn."""
    there = (a, b, reading.edge_state(a, b))
    back = (b, a, reading.edge_state(b, a))
    reader, other, _ = there if there[2] != NO_EDGE else back
    if kind == TROUBLED:
        troubles = sorted(
            (t for t in (there, back) if edges.troubles[t[0]] >> reading.positions[t[1]] & 1),
            key=lambda t: t[2] != BROKEN,
        )
        drawn = "broken" if troubles[0][2] == BROKEN else "pending"
        return _Pair(*troubles[0][:2], drawn, "; ".join(_trouble_text(*t) for t in troubles))
    if kind == ALONE:
        return _Pair(reader, other, "one-way", f"{reader} reads {other}")
    if kind == BOTH:
        return _Pair(a, b, "both", f"{a} and {b} read each other")
    if kind == CUT:
        return _Pair(a, b, "cut", f"{a} and {b} do not read each other")
    return _Pair(
        reader, other, "one-way", f"{reader} reads {other}, {other} does not read {reader}"
    )


def _trouble_text(reader: str, other: str, letter: str) -> str:
    return {
        BROKEN: f"the remote secret of {other} in {reader} was edited or deleted by hand",
        STALE: f"the remote secret of {other} in {reader} is not what a render would make",
        WAITS: f"{reader} waits for what it needs to read {other}",
    }[letter]


def _find_fully_connected(
    size: dict[str, list[str]], between: dict[tuple[str, str], _PairGroup]
) -> frozenset[str]:
    """The areas whose clusters all read each other, with few exceptions. Drops the least connected
    area first.
    """

    def full(a: str, b: str) -> bool:
        group = between[min(a, b), max(a, b)]
        return group.is_mostly_connected or (a == b and not group.counts)

    left = [a for a in size if full(a, a)]
    while True:
        gaps = {a: sum(not full(a, b) for b in left if b != a) for a in left}
        worst = max(left, key=lambda a: (gaps[a], a), default=None)
        if worst is None or not gaps[worst]:
            return frozenset(left)
        left.remove(worst)


def _bundle_pairs(pairs: list[_Pair], size: dict[str, list[str]]) -> tuple[list[Note], list[_Pair]]:
    """Takes what is alike of many pairs at one cluster together."""
    left = list(pairs)
    notes: list[Note] = []
    while True:
        at: dict[tuple[str, str, bool], list[_Pair]] = {}
        for p in left:
            kind = p.kind
            at.setdefault((p.first, kind, True), []).append(p)
            at.setdefault((p.second, kind, kind in ("cut", "both")), []).append(p)
        key = max(at, key=lambda k: (len(at[k]), k), default=None)
        if key is None or len(at[key]) < NOTE_THRESHOLD:
            return notes, left
        name, kind, first = key
        others = sorted({p.second if p.first == name else p.first for p in at[key]})
        notes.append(
            Note(
                kind,
                _bundle_text(name, kind, _names_text(others, size, name), first=first),
                (name, *others),
            )
        )
        gone = set(map(id, at[key]))
        left = [p for p in left if id(p) not in gone]


def _bundle_text(name: str, kind: str, others: str, *, first: bool) -> str:
    return {
        ("both", True): f"{name} reads and is read by: {others}",
        ("cut", True): f"{name} does not read and is not read by: {others}",
        ("one-way", True): f"{name} reads, but is not read by: {others}",
        ("one-way", False): f"{name} is read by, but does not read: {others}",
        ("pending", True): f"{name} is yet to read: {others}",
        ("pending", False): f"{name} is yet to be read by: {others}",
        (
            "broken",
            True,
        ): f"{name} has remote secrets that were edited or deleted by hand, of: {others}",
        (
            "broken",
            False,
        ): f"the remote secret of {name} was edited or deleted by hand in: {others}",
    }[kind, first]


def _names_text(names: Sequence[str], size: dict[str, list[str]], but: str) -> str:
    """Clusters by their networks where all of one are meant, else the first few."""
    left = set(names)
    parts = []
    for area, members in size.items():
        all_of = set(members) - {but}
        if len(all_of) > 2 and all_of <= left:
            parts.append(f"all {len(all_of)}{' others' if but in members else ''} of {area}")
            left -= all_of
    few = sorted(left, key=natural_sort_key)
    parts += few if len(few) <= 4 else [*few[:3], f"{len(few) - 3} more"]
    return _join_words(parts)


def _join_words(words: Iterable[str]) -> str:
    *head, last = words
    return f"{', '.join(head)} and {last}" if head else last


def _network_statement(group: _PairGroup, names: list[str], reading: Discovery) -> str:
    """The sentence for a network."""
    if len(names) < 2 or not group.counts:
        return ""
    subject = f"all {len(names)}" if len(names) > 2 else "both"
    if ALONE in group.counts:
        return f"every istiod here reads {subject}" if group.is_fully_connected else ""
    if group.is_mostly_connected:
        return f"{subject} read each other{_exceptions_text([group], reading)}"
    return "none reads another" if group.counts.keys() == {CUT} else ""


def _exceptions_text(groups: Sequence[_PairGroup], reading: Discovery) -> str:
    """What keeps a sentence on many pairs from being the whole truth."""
    clusters = reduce(or_, (g.clusters for g in groups), 0)
    told = [] if all(g.is_fully_connected for g in groups) else ["but for exceptions"]
    told += (
        ["once nothing is pending"]
        if any(reading.names[place] in reading.pending_clusters for place in _places(clusters))
        else []
    )
    return f" ({', and '.join(told)})" if told else ""


def _mesh_statement(
    size: dict[str, list[str]],
    between: dict[tuple[str, str], _PairGroup],
    on_line: frozenset[str],
    only: frozenset[str] | None,
    reading: Discovery,
) -> str:
    """The mesh in a sentence."""
    groups = [group for group in between.values() if group.counts]
    clusters = sum(map(len, size.values()))
    if not groups:
        return (
            "one cluster: there is nobody else to read"
            if clusters < 2
            else "no cluster reads another"
        )
    subject = (
        "every istiod reads every other cluster"
        if any(ALONE in g.counts for g in groups)
        else "every cluster reads every other"
    )
    if only is not None:
        subject = f"{_join_words(sorted(only))} and all others read each other"
    if on_line == frozenset(size) and all(g.is_mostly_connected for g in groups):
        return f"full mesh{_exceptions_text(groups, reading)}: {subject}"
    if len(on_line) > 1:
        on_it = [g for (a, b), g in between.items() if {a, b} <= on_line]
        return (
            "clusters of the networks on this line read each"
            f" other{_exceptions_text(on_it, reading)}"
        )
    if all(g.counts.keys() == {CUT} for g in groups):
        return "no cluster reads another"
    return "no full mesh: only single edges"
