"""diff: two trees become a `Diff`, told in terms of the mesh, with what each difference does in
running clusters.

Bytes are compared first, and only files that differ are read. No key, token or ciphertext is in any
part of a `Diff`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from kubectl_mesh.differences import clusters, documents, hands, objects, remotes, trust
from kubectl_mesh.differences.both import Both
from kubectl_mesh.differences.fields import public
from kubectl_mesh.differences.impact import sentences
from kubectl_mesh.differences.order import order
from kubectl_mesh.differences.pair import pairs, trimmed, worth_reading
from kubectl_mesh.differences.rules import RESTARTS
from kubectl_mesh.differences.values import FOREIGN, GROUPS, Detail, Diff, Effect, Fact, Line
from kubectl_mesh.errors import Problem
from kubectl_mesh.model import LOCK
from kubectl_mesh.observed import RawTree, Reader
from kubectl_mesh.observed.removal import tool_at
from kubectl_mesh.observed.values import Cluster
from kubectl_mesh.safety.review import find_refusals
from kubectl_mesh.tree.lock_file import parse_lock

_KINDS = (
    "cluster",
    "rename",
    "mesh",
    "trust-domain",
    "namespace",
    "network",
    "discovery",
    "roots",
    "intermediate",
    "issuer",
    "store",
    "recipients",
    "bundle",
    "remote-secret",
    "kind",
    "release",
    "version",
    "revision",
    "control-plane",
    "gateway",
    "reader",
    "delivery",
    "object",
    "kustomization",
    "edited",
    "foreign",
)
"""Every kind of line, in the order in which they are told: what matters most first."""


def diff(
    before: RawTree,
    after: RawTree,
    names: tuple[str, str],
    *,
    rendered: bool = False,
    only: frozenset[str] | None = None,
    made: frozenset[str] = frozenset(),
    versions: Mapping[str, str | None] | None = None,
    refused: Sequence[Problem] | None = None,
) -> Diff:
    """What differs between two trees, which people know by `names`.

    `rendered`: the second is a render of the first. `made`: clusters whose intermediate that render
    would make, and "" for the root. `versions`: what runs in clusters whose tree does not say so.
    `refused`: why that render is refused; without it, the trees say what running clusters do not
    survive.
    """
    wanted = worth_reading(before, after, only)
    reader = Reader()
    old, new = (
        reader.read(trimmed(before, after, wanted), wanted),
        reader.read(trimmed(after, before, wanted), wanted),
    )
    found = pairs(old, new)
    tool = tool_at(
        before, next((c.lock.says.mesh for c in old.clusters.values() if c.lock is not None), "")
    )
    both = Both(
        before,
        after,
        old,
        new,
        found,
        made,
        {p.before.name: p.name for p in found if p.before is not None and p.renamed},
        tool,
    )
    facts = list(_facts(both, rendered=rendered))
    running = {**new.clusters, **{both.now(n): c for n, c in old.clusters.items()}}
    differing = {
        n: {p for p in paths if before.get(n, {}).get(p) != after.get(n, {}).get(p)}
        for n, paths in wanted.items()
    }
    looks = hands.formatting(
        both,
        differing,
        {fact.file for fact in facts if fact.kind != "edited" or fact.file.endswith(LOCK)},
    )
    facts += hands.untold(both, differing, looks, facts)
    lines = _lines(facts, running, versions or {}, new.clusters)
    lines = tuple(
        line for line in lines if not (line.kind == "edited" and set(line.files) <= set(looks))
    )
    # What its peers hold changes with a cluster that comes or goes, and is told with that.
    telling = {n for line in lines if line.group != FOREIGN for n in line.clusters}
    silent = (
        {f"{n}/{p}" for n, paths in differing.items() for p in paths}
        - set(looks)
        - {f for line in lines if line.group == FOREIGN for f in line.files}
    )
    changed = tuple(
        sorted(
            {
                both.now(n)
                for n in (f.partition("/")[0] for f in silent if not f.endswith(LOCK))
                if not n.startswith("_")
            }
            | telling
        )
    )
    total = {
        n
        for raw in (before, after)
        for n, files in raw.items()
        if n and not n.startswith("_") and LOCK in files
    } - set(both.renamed)
    mesh = (
        next(
            (m.value for c in (*new.clusters.values(), *old.clusters.values()) for m in c.mesh_ids),
            "",
        )
        or _mesh(after)
        or _mesh(before)
    )
    steps = order(
        both,
        lines,
        changed,
        _refusals(before, after, names[0], only) if refused is None else refused,
    )
    if steps.refused:
        # Clusters still use what these commands delete.
        lines = tuple(replace(line, commands=()) for line in lines)
    return Diff(
        *names,
        mesh,
        lines,
        steps,
        changed,
        len(total),
        looks,
        tuple(sorted({*old.problems, *new.problems})),
        hands.secrets(both) if only is None else {},
    )


def _refusals(
    before: RawTree, after: RawTree, name: str, only: frozenset[str] | None
) -> list[Problem]:
    """What clusters that run the first tree do not survive."""
    rest = {} if only is None else {n: files for n, files in before.items() if n not in only}
    return [r.problem for r in find_refusals(before, {**after, **rest}, name)]


def _mesh(tree: RawTree) -> str:
    """The name of the mesh by the locks of a tree; nothing where no lock says it."""
    locks = (parse_lock(files.get(LOCK)) for files in tree.values())
    return next((lock.mesh for lock in locks if lock is not None), "")


def _facts(both: Both, *, rendered: bool) -> Iterator[Fact]:
    yield from clusters.facts(both)
    for pair in both.pairs:
        yield from trust.facts(both, pair)
        yield from remotes.facts(both, pair)
        yield from documents.facts(pair, both.tool)
        yield from objects.facts(pair, both.tool)
    yield from objects.shared(both)
    yield from hands.facts(both, rendered=rendered)


def _lines(
    facts: list[Fact],
    running: Mapping[str, Cluster],
    versions: Mapping[str, str | None],
    after: Mapping[str, Cluster],
) -> tuple[Line, ...]:
    """Facts that say the same of several clusters are one line."""
    restarted = {fact.cluster for fact in facts for e in fact.effects if e.rule in RESTARTS}
    groups: dict[tuple[object, ...], list[Fact]] = {}
    for fact in facts:
        groups.setdefault(
            (fact.group, fact.kind, fact.subject, fact.what, fact.details), []
        ).append(fact)
    lines = []
    for (group, kind, subject, what, _), found in groups.items():
        effects: list[tuple[str, Effect]] = [
            (fact.cluster, e) for fact in found for e in fact.effects
        ]
        lines.append(
            Line(
                str(group),
                str(kind),
                public(str(subject)) or "",
                public(str(what)) or "",
                tuple(sorted({f.cluster for f in found} - {""})),
                tuple(sorted({f.file for f in found})),
                tuple(Detail(d.path, public(d.before), public(d.after)) for d in found[0].details),
                tuple(sentences(effects, running, versions, after, restarted)),
                tuple(dict.fromkeys(c for f in found for c in f.commands)),
            )
        )
    return tuple(
        sorted(
            lines,
            key=lambda line: (
                GROUPS.index(line.group),
                _KINDS.index(line.kind),
                line.subject,
                line.what,
                line.clusters,
            ),
        )
    )
