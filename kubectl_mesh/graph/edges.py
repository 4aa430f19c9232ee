"""The edges of discovery: who reads whom, and what is the matter with it."""

from collections.abc import Mapping, Sequence

from kubectl_mesh.frozen import dataclass
from kubectl_mesh.model import BUNDLE, REMOTE_SECRETS, FolderChange, Plan

NONE, READS, WAITS, STALE, BROKEN = ".", "r", "p", "n", "x"
"""No edge; it reads; it waits for a token or a server; the tree is behind; a person edited or deleted the remote secret."""


@dataclass(frozen=True, slots=True)
class Line:
    """An edge, or two that are opposite, to be drawn: from the reader to whom it reads.

    `kind` is both, one-way, cut, pending, broken or served (from a cluster to the one whose istiod serves it).
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
class Reading:
    """Who reads whom: for each cluster, one letter for each cluster, in the order of the plan."""

    names: tuple[str, ...]
    rows: Mapping[str, str]
    index: Mapping[str, int]
    whole: frozenset[str]
    """Clusters of which something is awaited that is told at the cluster itself: its token, its server, its render."""

    def of(self, reader: str, other: str) -> str:
        """The letter of an edge."""
        return self.rows[reader][self.index[other]]

    def plain(self, reader: str, other: str) -> bool:
        """Whether nothing has to be said of an edge that is there."""
        letter = self.of(reader, other)
        return letter == READS or (letter == WAITS and other in self.whole) or (letter in (STALE, WAITS) and reader in self.whole)


def readings(plan: Plan, changes: Sequence[FolderChange] | None) -> Reading:
    """Every edge of the plan, as the tree on disk has it."""
    names = tuple(plan.members)
    by_name = {c.name: c for c in changes or ()}
    whole = {p.subject for p in plan.pending if p.kind in ("server", "token", "certificate", "sealing") and not p.peer}
    whole |= {c.name for c in changes or () if c.action == "create"}
    shared = _files(by_name[BUNDLE]) if BUNDLE in by_name else None
    rows = {}
    for name, member in plan.members.items():
        files = shared if shared is not None else _files(by_name[name]) if name in by_name else {}
        peers = frozenset(member.peers)
        letters = []
        for other in names:
            target = plan.members[other]
            if other not in peers or other == name:
                letters.append(NONE)
            elif target.server is None or target.login(name) is None or member.held:
                letters.append(WAITS)
            else:
                letters.append(files.get(other, READS))
        rows[name] = "".join(letters)
    return Reading(names, rows, {name: i for i, name in enumerate(names)}, frozenset(whole))


def _files(change: FolderChange) -> dict[str, str]:
    """The remote secrets of a directory that are not what a render would make."""
    folder = "" if change.name == BUNDLE else REMOTE_SECRETS
    return {
        c.path.removeprefix(folder).removesuffix(".yaml"): BROKEN if c.edited else STALE
        for c in change.changes
        if c.path.startswith(folder) and c.action not in ("identical", "tighten")
    }
