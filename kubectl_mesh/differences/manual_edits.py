"""What people did to a tree: files edited, files of their own, files that only look different."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from kubectl_mesh.differences.comparison import TreePair, build_change, build_effect
from kubectl_mesh.differences.values import DELETED, FOREIGN, NEW, Fact
from kubectl_mesh.model import MESH_LOCK
from kubectl_mesh.observed.mesh_state import Directory, MeshState
from kubectl_mesh.text import single_line


def list_edit_facts(both: TreePair, *, rendered: bool) -> Iterator[Fact]:
    """Edits and foreign files; `rendered`: the tree after is that of a render, so it is the one
    before that was edited.
    """
    for name, directory in _directories(both.before if rendered else both.after).items():
        cluster = "" if name.startswith("_") else both.current_name(name) if rendered else name
        lock = directory.lock
        there = [MESH_LOCK in raw.get(name, {}) for raw in (both.raw_before, both.raw_after)]
        if name in both.raw_before and name in both.raw_after and there == [not rendered, rendered]:
            what = (
                "was deleted by hand; a render undoes that"
                if rendered
                else "is gone: a render takes the files beside it for somebody else's"
            )
            yield build_change(
                cluster, "edited", f"{name}/{MESH_LOCK}", what, f"{name}/{MESH_LOCK}"
            )
        if lock is None:
            continue
        other_tree = (both.raw_after if rendered else both.raw_before).get(name, {})
        edited_tree = (both.raw_before if rendered else both.raw_after).get(name, {})
        edited = [p for p in lock.edited_files if edited_tree.get(p) != other_tree.get(p)]
        missing = [p for p in lock.missing_files if p in other_tree]
        for path in sorted({*edited, *missing}):
            what = ("was deleted by hand" if path in missing else "was edited by hand") + (
                "; a render undoes that" if rendered else ""
            )
            yield build_change(
                cluster,
                "edited",
                f"{name}/{path}",
                what,
                f"{name}/{path}",
                *(() if rendered else (build_effect("edited"),)),
            )
        if not rendered and MESH_LOCK in both.raw_before.get(name, {}) and lock.is_damaged:
            yield build_change(
                cluster,
                "edited",
                f"{name}/{MESH_LOCK}",
                "cannot be read",
                f"{name}/{MESH_LOCK}",
                build_effect("edited"),
            )
    yield from _foreign_facts(both, rendered=rendered)


def _directories(view: MeshState) -> dict[str, Directory]:
    return {**view.clusters, **view.shared_directories}


def _foreign_facts(both: TreePair, *, rendered: bool) -> Iterator[Fact]:
    """Files that no lock lists: under a render they stay; between two trees those count that
    differ.
    """
    before, after = _foreign_paths(both.before), _foreign_paths(both.after)
    for path in sorted({*before, *after}):
        name = path.partition("/")[0] if "/" in path else ""
        cluster = name if name in both.after.clusters or name in both.before.clusters else ""
        shown = single_line(path)
        if rendered:
            yield Fact(
                FOREIGN,
                "foreign",
                shown,
                "is not of kubectl mesh's making: it stays",
                cluster,
                shown,
            )
        elif (path in before) != (path in after) or _read_body(
            both, path, before=True
        ) != _read_body(both, path, before=False):
            what = (
                "is there now"
                if path not in before
                else "is gone"
                if path not in after
                else "changes"
            )
            yield Fact(
                FOREIGN,
                "foreign",
                shown,
                f"is not of kubectl mesh's making: it {what}",
                cluster,
                shown,
            )


def _foreign_paths(view: MeshState) -> set[str]:
    return {
        f"{name}/{path}"
        for name, d in _directories(view).items()
        if d.lock is not None and not d.lock.is_damaged
        for path in d.lock.foreign_files
    } | set(view.foreign_entries)


def _read_body(both: TreePair, path: str, *, before: bool) -> bytes | None:
    raw = both.raw_before if before else both.raw_after
    name, _, rest = path.partition("/")
    return raw.get(name, {}).get(rest) if rest else raw.get("", {}).get(name)


def list_unexplained_files(
    both: TreePair,
    differing: Mapping[str, set[str]],
    reformatted: Collection[str],
    facts: Sequence[Fact],
) -> Iterator[Fact]:
    """Changed files that no other fact covers."""
    reported = {
        name
        for p in both.pairs
        if p.is_renamed or p.before is None or p.after is None
        for c in (p.before, p.after)
        if c is not None
        for name in (c.name,)
    }
    explained = {f.cluster for f in facts if f.group != FOREIGN} | {
        f.file.partition("/")[0] for f in facts
    }
    for name, paths in differing.items():
        if name in reported or both.current_name(name) in explained or name in explained:
            continue
        for path in sorted(paths):
            file = f"{name}/{path}"
            peer = path.rpartition("/")[2].removesuffix(".yaml")
            if (
                path == MESH_LOCK
                or path.endswith("kustomization.yaml")
                or file in reformatted
                or ("remote-secrets/" in file and peer in reported)
            ):
                continue
            yield build_change(
                "" if name.startswith("_") else both.current_name(name),
                "object",
                file,
                "differs in a way that cannot be told",
                file,
                build_effect("object"),
            )


def count_secret_files(both: TreePair) -> dict[str, int]:
    """How many files with secrets are new, changed, deleted and unchanged, by their bytes."""
    found = dict.fromkeys((NEW, "changed", DELETED, "unchanged"), 0)
    for name in {*both.raw_before, *both.raw_after} - {""}:
        old, new = both.raw_before.get(name, {}), both.raw_after.get(name, {})
        for path in {*old, *new}:
            if (
                not path.endswith("1-trust/cacerts.yaml")
                and "remote-secrets/" not in f"{name}/{path}"
            ):
                continue
            if path.endswith("kustomization.yaml") or path.rpartition("/")[2].startswith(
                (".", MESH_LOCK)
            ):
                continue
            state = (
                NEW
                if path not in old
                else (
                    DELETED
                    if path not in new
                    else "unchanged"
                    if old[path] == new[path]
                    else "changed"
                )
            )
            found[state] += 1
    return found


def list_reformatted_files(
    both: TreePair, differing: dict[str, set[str]], explained: set[str]
) -> tuple[str, ...]:
    """Files whose bytes differ and whose content does not."""
    found = []
    for name, paths in differing.items():
        if paths == {MESH_LOCK} and f"{name}/{MESH_LOCK}" not in explained:
            found.append(f"{name}/{MESH_LOCK}")
        old, new = _directories(both.before).get(name), _directories(both.after).get(name)
        if old is None or new is None:
            continue
        for path in paths:
            one = both.raw_before.get(name, {}).get(path)
            other = both.raw_after.get(name, {}).get(path)
            if (
                one is None
                or other is None
                or one == other
                or path == MESH_LOCK
                or f"{name}/{path}" in explained
            ):
                continue
            digests = [
                [o.digest for o in d.objects if o.file == f"{name}/{path}"] for d in (old, new)
            ]
            if digests[0] and digests[0] == digests[1]:
                found.append(f"{name}/{path}")
    return tuple(sorted(found))
