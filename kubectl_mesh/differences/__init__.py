"""Compares two trees: a `Diff` lists the differences of the mesh, with what each does in running
clusters.

Bytes are compared first, and only files that differ are read. No part of a `Diff` contains a key, a
token or ciphertext.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kubectl_mesh.differences import clusters, control_planes, manual_edits, objects, remotes, trust
from kubectl_mesh.differences.comparison import TreePair
from kubectl_mesh.differences.differing_files import list_files_to_read, trim_tree
from kubectl_mesh.differences.fields import public_text
from kubectl_mesh.differences.impact import list_sentences
from kubectl_mesh.differences.rules import RESTART_RULES
from kubectl_mesh.differences.values import FOREIGN, GROUPS, Detail, Diff, Effect, Fact, Line
from kubectl_mesh.model import MESH_LOCK
from kubectl_mesh.observed import TreeReader
from kubectl_mesh.observed.cluster_pairs import pair_clusters
from kubectl_mesh.observed.lazy_state import open_trees
from kubectl_mesh.observed.mesh_state import ObservedCluster, RawTree
from kubectl_mesh.observed.removal import find_delivery_tool
from kubectl_mesh.safety import Review, review_change
from kubectl_mesh.safety.order import Finding, MeshChange
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
"""Every kind of line, in the order of the report: the most important first."""


@dataclass(frozen=True, slots=True)
class RenderFacts:
    """What is known where the second tree is a render of the first."""

    review: Review
    """What the render means for running clusters."""
    generated_intermediates: frozenset[str] = frozenset()
    """The clusters whose intermediate the render would make, and "" for the root."""


def diff_trees(
    before: RawTree,
    after: RawTree,
    names: tuple[str, str],
    *,
    only: frozenset[str] | None = None,
    versions: Mapping[str, str | None] | None = None,
    render: RenderFacts | None = None,
) -> Diff:
    """What differs between two trees, which people know by `names`.

    `only` are the directories that are compared. `versions` is what runs in clusters whose tree
    does not say so. Without `render`, the trees say what running clusters do not survive.
    """
    both = _read_trees(
        before, after, only, render.generated_intermediates if render is not None else frozenset()
    )
    facts, reformatted, differing = _list_facts(both, only, rendered=render is not None)
    running = {
        **both.after.clusters,
        **{both.current_name(n): c for n, c in both.before.clusters.items()},
    }
    lines = tuple(
        line
        for line in _merge_facts(facts, running, versions or {}, both.after.clusters)
        if not (line.kind == "edited" and set(line.files) <= set(reformatted))
    )
    changed = _changed_clusters(both, lines, differing, reformatted)
    reviewed = render.review if render is not None else _review_trees(both, names[0], only)
    order = reviewed.find_order(_describe_change(both, lines, changed))
    if order.refused:
        # Clusters still use what these commands delete.
        lines = tuple(replace(line, commands=()) for line in lines)
    return Diff(
        *names,
        _mesh_name(both),
        lines,
        order,
        changed,
        _count_clusters(both),
        reformatted,
        tuple(sorted({*both.before.problems, *both.after.problems})),
        manual_edits.count_secret_files(both) if only is None else {},
    )


def _read_trees(
    before: RawTree, after: RawTree, only: frozenset[str] | None, generated: frozenset[str]
) -> TreePair:
    """Reads the two trees: the files that differ, and the control planes."""
    paths_to_read = list_files_to_read(before, after, only)
    reader = TreeReader()
    old, new = (
        reader.read_state(trim_tree(before, after, paths_to_read), paths_to_read),
        reader.read_state(trim_tree(after, before, paths_to_read), paths_to_read),
    )
    found = pair_clusters(old, new)
    renamed = {p.before.name: p.name for p in found if p.before is not None and p.is_renamed}
    mesh = next((c.lock.contents.mesh for c in old.clusters.values() if c.lock is not None), "")
    return TreePair(
        before, after, old, new, found, generated, renamed, find_delivery_tool(before, mesh)
    )


def _list_facts(
    both: TreePair, only: frozenset[str] | None, *, rendered: bool
) -> tuple[list[Fact], tuple[str, ...], dict[str, set[str]]]:
    """Every fact, the files that only look different, and the files that differ by directory."""
    before, after = both.raw_before, both.raw_after
    differing = {
        n: {p for p in paths if before.get(n, {}).get(p) != after.get(n, {}).get(p)}
        for n, paths in list_files_to_read(before, after, only).items()
    }
    facts = list(_collect_facts(both, rendered=rendered))
    explained = {
        fact.file for fact in facts if fact.kind != "edited" or fact.file.endswith(MESH_LOCK)
    }
    reformatted = manual_edits.list_reformatted_files(both, differing, explained)
    facts += manual_edits.list_unexplained_files(both, differing, reformatted, facts)
    return facts, reformatted, differing


def _changed_clusters(
    both: TreePair,
    lines: Sequence[Line],
    differing: Mapping[str, set[str]],
    reformatted: Sequence[str],
) -> tuple[str, ...]:
    """The clusters in which anything differs but formatting and foreign files."""
    # What its peers hold changes with a cluster that comes or goes, and is told with that.
    changed = {n for line in lines if line.group != FOREIGN for n in line.clusters}
    unexplained = (
        {f"{n}/{p}" for n, paths in differing.items() for p in paths}
        - set(reformatted)
        - {f for line in lines if line.group == FOREIGN for f in line.files}
    )
    names = (f.partition("/")[0] for f in unexplained if not f.endswith(MESH_LOCK))
    return tuple(sorted({both.current_name(n) for n in names if not n.startswith("_")} | changed))


def _describe_change(both: TreePair, lines: Sequence[Line], changed: Sequence[str]) -> MeshChange:
    """What differs, as far as the order of applying depends on it."""
    findings = [
        Finding(
            line.kind,
            line.group,
            line.clusters,
            any(d.path == "recipient" and d.before is None for d in line.details),
        )
        for line in lines
    ]
    return MeshChange(
        both.pairs,
        both.after.clusters,
        both.before.clusters,
        findings,
        frozenset(changed),
        both.raw_before,
        both.raw_after,
    )


def _count_clusters(both: TreePair) -> int:
    """How many clusters there are in either tree."""
    names = {
        n
        for raw in (both.raw_before, both.raw_after)
        for n, files in raw.items()
        if n and not n.startswith("_") and MESH_LOCK in files
    }
    return len(names - set(both.renames))


def _mesh_name(both: TreePair) -> str:
    """The name of the mesh by what was read, else by the locks."""
    clusters = (*both.after.clusters.values(), *both.before.clusters.values())
    read = (m.value for c in clusters for m in c.mesh_ids)
    return next(read, "") or _mesh_in_locks(both.raw_after) or _mesh_in_locks(both.raw_before)


def _review_trees(both: TreePair, name: str, only: frozenset[str] | None) -> Review:
    """What clusters that run the first tree do not survive."""
    before = both.raw_before
    rest = {} if only is None else {n: files for n, files in before.items() if n not in only}
    return review_change(*open_trees(before, {**both.raw_after, **rest}), name)


def _mesh_in_locks(tree: RawTree) -> str:
    """The name of the mesh by the locks of a tree; nothing where no lock says it."""
    locks = (parse_lock(files.get(MESH_LOCK)) for files in tree.values())
    return next((lock.mesh for lock in locks if lock is not None), "")


def _collect_facts(both: TreePair, *, rendered: bool) -> Iterator[Fact]:
    yield from clusters.list_cluster_facts(both)
    for pair in both.pairs:
        yield from trust.list_trust_facts(both, pair)
        yield from remotes.list_remote_secret_facts(both, pair)
        yield from control_planes.list_control_plane_facts(pair, both.tool)
        yield from objects.list_object_facts(pair, both.tool)
    yield from objects.list_delivery_facts(both)
    yield from manual_edits.list_edit_facts(both, rendered=rendered)


def _merge_facts(
    facts: list[Fact],
    running: Mapping[str, ObservedCluster],
    versions: Mapping[str, str | None],
    after: Mapping[str, ObservedCluster],
) -> tuple[Line, ...]:
    """Facts that say the same of several clusters are one line."""
    restarted = {fact.cluster for fact in facts for e in fact.effects if e.rule in RESTART_RULES}
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
                public_text(str(subject)) or "",
                public_text(str(what)) or "",
                tuple(sorted({f.cluster for f in found} - {""})),
                tuple(sorted({f.file for f in found})),
                tuple(
                    Detail(d.path, public_text(d.before), public_text(d.after))
                    for d in found[0].details
                ),
                tuple(list_sentences(effects, running, versions, after, restarted)),
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
