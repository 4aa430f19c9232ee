"""What many edges have in common, said once: a full mesh of 60 clusters is one sentence, and only what differs from it is drawn."""

import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from kubectl_mesh.graph.edges import BROKEN, NONE, STALE, WAITS, Line, Note, Reading
from kubectl_mesh.model import Plan
from kubectl_mesh.words import count

MANY, MOST = 5, 24
"""From this many edges of one kind at one cluster on they are said in a note; and so many lines are drawn at most."""
_URGENCY = ("broken", "pending", "one-way", "cut", "both")


@dataclass(frozen=True, slots=True)
class Summary:
    """The sentence for the mesh and for each area, the areas whose clusters all read each other, and what differs."""

    statement: str
    areas: dict[str, str]
    on_line: frozenset[str]
    lines: tuple[Line, ...]
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two clusters that could read each other, and how they do. For one-way the first reads the second."""

    first: str
    second: str
    kind: str
    declared: bool
    text: str
    alone: bool = False
    """Only the first has an istiod that could read."""


@dataclass(slots=True)
class _Between:
    """The pairs within a network, or between two."""

    pairs: list[_Pair] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether most of them read each other: then what is missing is drawn, else what is there."""
        declared = sum(p.declared for p in self.pairs)
        return declared > 0 and 2 * declared >= len(self.pairs)


def natural(name: str) -> tuple[tuple[str, int], ...]:
    """Sorts `east-10` after `east-9`."""
    return tuple((text, int(number or -1)) for text, number in re.findall(r"([^0-9]*)([0-9]*)", name))


def summary(plan: Plan, reading: Reading, shown: AbstractSet[str], only: frozenset[str] | None) -> Summary:
    """Splits the edges into sentences, lines and notes."""
    names = [n for n in plan.members if n in shown and plan.members[n].cluster.joined]
    network = {n: plan.members[n].cluster.network for n in names}
    size = {a: [n for n in names if network[n] == a] for a in sorted(set(network.values()))}
    between: dict[tuple[str, str], _Between] = {(a, b): _Between() for a in size for b in size if a <= b}
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            if only is not None and first not in only and second not in only:
                continue
            pair = _pair(plan, reading, first, second)
            if pair is not None:
                a, b = sorted((network[first], network[second]))
                between[a, b].pairs.append(pair)
    on_line = _on_line(size, between)
    lines: list[_Pair] = []
    notes: list[Note] = []
    for (a, b), group in between.items():
        kinds = {(p.kind, network[p.first]) if p.kind == "one-way" else p.kind for p in group.pairs}
        if a != b and len(group.pairs) >= MANY and len(kinds) == 1 and kinds <= {("one-way", a), ("one-way", b)}:
            reader, other = (a, b) if ("one-way", a) in kinds else (b, a)
            notes.append(Note("one-way", f"every cluster of {reader} reads every one of {other}, and none of {other} reads back", (*size[a], *size[b])))
        elif a != b and group.full and not {a, b} <= on_line and len(group.pairs) >= MANY:
            notes.append(Note("both", f"clusters of {a} and {b} read each other", (*size[a], *size[b])))
            lines += [p for p in group.pairs if p.kind != "whole"]
        else:
            told = group.full and (a == b or {a, b} <= on_line)
            lines += [p for p in group.pairs if (p.kind != "whole" if told else p.kind != "cut")]
    bundled, left = _bundle(lines, size)
    notes = [*bundled, *notes]
    left.sort(key=lambda p: _URGENCY.index(_kind(p)))
    if len(left) > MOST:
        counts = {kind: sum(_kind(p) == kind for p in left[MOST:]) for kind in _URGENCY}
        listed = ", ".join(f"{number} {kind}" for kind, number in counts.items() if number)
        notes.append(Note("cut", f"{count(len(left) - MOST, 'more pair')} not drawn ({listed}): ask for some clusters with --cluster, or for -o html"))
    drawn = [Line(_kind(p), p.first, p.second, p.text) for p in left[:MOST]]
    primaries = {n: m.primary.name for n, m in plan.members.items() if n in shown and m.primary is not None and m.primary.name in shown}
    served = [Line("served", n, primary, f"{n} is served by the istiod of {primary}") for n, primary in primaries.items()]
    if len(served) <= MOST // 2:
        drawn += served
    areas = {a: _within(between[a, a], size[a], reading) for a in size}
    return Summary(_statement(size, between, on_line, only, reading), areas, on_line if len(on_line) > 1 else frozenset(), tuple(drawn), tuple(notes))


def _kind(pair: _Pair) -> str:
    """How a pair is drawn."""
    if pair.kind == "whole":
        return "one-way" if pair.alone else "both"
    return pair.kind


def _pair(plan: Plan, reading: Reading, a: str, b: str) -> _Pair | None:
    """How two clusters read each other; None where neither has an istiod that could."""
    there, back = reading.of(a, b), reading.of(b, a)
    can = [plan.members[n].primary is None for n in (a, b)]
    if not any(can):
        return None
    declared = all(letter != NONE for letter, able in zip((there, back), can, strict=True) if able)
    troubled = [(x, y, letter) for x, y, letter in ((a, b, there), (b, a, back)) if letter != NONE and not reading.plain(x, y)]
    if troubled:
        kind = "broken" if any(letter == BROKEN for _, _, letter in troubled) else "pending"
        ordered = sorted(troubled, key=lambda t: t[2] != BROKEN)
        return _Pair(*ordered[0][:2], kind, declared, "; ".join(_trouble(*t) for t in ordered))
    if declared and not all(can):
        reader, other = (a, b) if can[0] else (b, a)
        return _Pair(reader, other, "whole", declared=True, text=f"{reader} reads {other}", alone=True)
    if declared:
        return _Pair(a, b, "whole", declared=True, text=f"{a} and {b} read each other")
    if there == back == NONE:
        return _Pair(a, b, "cut", declared=False, text=f"{a} and {b} do not read each other")
    reader, other = (a, b) if there != NONE else (b, a)
    return _Pair(reader, other, "one-way", declared=False, text=f"{reader} reads {other}, {other} does not read {reader}")


def _trouble(reader: str, other: str, letter: str) -> str:
    return {
        BROKEN: f"the remote secret of {other} in {reader} was edited or deleted by hand",
        STALE: f"the remote secret of {other} in {reader} is not what a render would make",
        WAITS: f"{reader} waits for what it needs to read {other}",
    }[letter]


def _on_line(size: dict[str, list[str]], between: dict[tuple[str, str], _Between]) -> frozenset[str]:
    """The areas of which all clusters read each other, but for single exceptions: greedily, the least connected leaves first."""

    def full(a: str, b: str) -> bool:
        group = between[min(a, b), max(a, b)]
        return group.full or (a == b and not group.pairs)

    left = [a for a in size if full(a, a)]
    while True:
        gaps = {a: sum(not full(a, b) for b in left if b != a) for a in left}
        worst = max(left, key=lambda a: (gaps[a], a), default=None)
        if worst is None or not gaps[worst]:
            return frozenset(left)
        left.remove(worst)


def _bundle(pairs: list[_Pair], size: dict[str, list[str]]) -> tuple[list[Note], list[_Pair]]:
    """Takes what is alike of many pairs at one cluster together."""
    left = list(pairs)
    notes: list[Note] = []
    while True:
        at: dict[tuple[str, str, bool], list[_Pair]] = {}
        for p in left:
            kind = _kind(p)
            at.setdefault((p.first, kind, True), []).append(p)
            at.setdefault((p.second, kind, kind in ("cut", "both")), []).append(p)
        key = max(at, key=lambda k: (len(at[k]), k), default=None)
        if key is None or len(at[key]) < MANY:
            return notes, left
        name, kind, first = key
        others = sorted({p.second if p.first == name else p.first for p in at[key]})
        notes.append(Note(kind, _bundle_text(name, kind, _many(others, size, name), first=first), (name, *others)))
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
        ("broken", True): f"{name} has remote secrets that were edited or deleted by hand, of: {others}",
        ("broken", False): f"the remote secret of {name} was edited or deleted by hand in: {others}",
    }[kind, first]


def _many(names: Sequence[str], size: dict[str, list[str]], but: str) -> str:
    """Clusters by their networks where all of one are meant, else the first few."""
    left = set(names)
    told = []
    for area, members in size.items():
        all_of = set(members) - {but}
        if len(all_of) > 2 and all_of <= left:
            told.append(f"all {len(all_of)}{' others' if but in members else ''} of {area}")
            left -= all_of
    few = sorted(left, key=natural)
    told += few if len(few) <= 4 else [*few[:3], f"{len(few) - 3} more"]
    return _listed(told)


def _listed(words: Iterable[str]) -> str:
    *head, last = words
    return f"{', '.join(head)} and {last}" if head else last


def _within(group: _Between, names: list[str], reading: Reading) -> str:
    """The sentence for a network."""
    if len(names) < 2 or not group.pairs:
        return ""
    subject = f"all {len(names)}" if len(names) > 2 else "both"
    if any(p.alone for p in group.pairs):
        return f"every istiod here reads {subject}" if all(p.kind == "whole" for p in group.pairs) else ""
    if group.full:
        return f"{subject} read each other{_but(group.pairs, reading)}"
    return "" if any(p.kind != "cut" for p in group.pairs) else "none reads another"


def _but(pairs: Sequence[_Pair], reading: Reading) -> str:
    """What keeps a sentence on many pairs from being the whole truth."""
    told = [*(["but for exceptions"] if any(p.kind != "whole" for p in pairs) else [])]
    told += ["once nothing is pending"] if any({p.first, p.second} & reading.whole for p in pairs) else []
    return f" ({', and '.join(told)})" if told else ""


def _statement(
    size: dict[str, list[str]], between: dict[tuple[str, str], _Between], on_line: frozenset[str], only: frozenset[str] | None, reading: Reading
) -> str:
    """The mesh in a sentence."""
    pairs = [p for group in between.values() for p in group.pairs]
    clusters = sum(map(len, size.values()))
    if not pairs:
        return "one cluster: there is nobody else to read" if clusters < 2 else "no cluster reads another"
    subject = "every istiod reads every other cluster" if any(p.alone for p in pairs) else "every cluster reads every other"
    if only is not None:
        subject = f"{_listed(sorted(only))} and all others read each other"
    if on_line == frozenset(size) and all(g.full for g in between.values() if g.pairs):
        return f"full mesh{_but(pairs, reading)}: {subject}"
    if len(on_line) > 1:
        on_it = [p for (a, b), g in between.items() if {a, b} <= on_line for p in g.pairs]
        return f"clusters of the networks on this line read each other{_but(on_it, reading)}"
    if all(p.kind == "cut" for p in pairs):
        return "no cluster reads another"
    return "no full mesh: only single edges"
