"""The one list of what a render must refuse because clusters run what is in the tree; `render`,
`check`, `diff` and `describe` ask here.

`--unapplied NAME` names clusters that run nothing of their tree: it counts as if it did not exist.
"""

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from kubectl_mesh.credentials import token_rotation
from kubectl_mesh.credentials.accounts import SHARED, token_command
from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.fs.folders import join, read
from kubectl_mesh.fs.read import read_file
from kubectl_mesh.model import BUNDLE, LOCK, Folder, FolderChange, Plan, Topology
from kubectl_mesh.operations import expired_tokens, root_changes, sealed_logins
from kubectl_mesh.operations.last_commit import committed, has_no_commit, read_commit
from kubectl_mesh.safety import reconnect, remote_secrets, review
from kubectl_mesh.safety.review import with_way_out
from kubectl_mesh.stores import store_of
from kubectl_mesh.text import count, near
from kubectl_mesh.tree.lock_file import parse_lock
from kubectl_mesh.workdir import git_ignore

if TYPE_CHECKING:
    from kubectl_mesh.operations.build import Rendered

NONE: frozenset[str] = frozenset()
_FEW = 3
_TOKEN = "token-order"  # noqa: S105 -- the name of a check


def find_refusals(
    rendered: "Rendered",
    changes: Sequence[FolderChange],
    out: str,
    directory: str,
    now: datetime,
    unapplied: frozenset[str] = NONE,
    *,
    with_restarts: bool = False,
    doubts: list[Problem] | None = None,
) -> list[Problem]:
    """Why a render must not change the tree in `out`, each problem with the way out for a tree that
    no cluster runs.

    `with_restarts` accepts changes of remote secrets after which istiod has to restart. `doubts`
    gets what cannot be known here.
    """
    plan = rendered.plan
    there = _on_disk(plan.topology, changes, out) - unapplied
    running = [c for c in changes if c.name not in unapplied and (c.name != BUNDLE or there)]
    found: list[Problem] = []
    readers: set[str] = set()
    refused = _tree_refusals(rendered, running, there, out)
    for refusal in refused:
        problem = refusal.problem
        if refusal.readers:
            commands, topology = _fetch_commands(plan, refusal, directory), plan.topology
            fix = review.reader_steps(
                out, refusal.clusters, commands, store=topology.store, bundled=topology.bundled
            )
            problem = replace(problem, fix=fix)
            readers.update(refusal.readers)
        found.append(with_way_out(problem, refusal.clusters))
    known = {(r.problem.id, r.problem.where) for r in refused}
    since = _commit_refusals(rendered, running, there, out, unapplied, doubts)
    found += [
        _commit_first(r, there, rendered, out)
        for r in since
        if (r.problem.id, r.problem.where) not in known
    ]
    # What the peers lack of a reader that is not there yet, the refusal above explains.
    withdrawn = [
        p
        for p in remote_secrets.withdrawn(plan, running, out)
        if p.where not in {plan.members[n].cluster.place for n in readers}
    ]
    names = sorted(there)
    found += [with_way_out(p, names) for p in withdrawn]
    found += [
        with_way_out(p, names)
        for p in (
            *token_rotation.skipped(plan, running),
            *_late_holders(rendered, running, there, out),
        )
    ]
    found += [
        with_way_out(p, names) if p.id == root_changes.ID else p
        for p in root_changes.exchanged(rendered, out, changes, unapplied)
    ]
    found += expired_tokens.expired(directory, plan, changes, out, now)
    if not with_restarts:
        logins = reconnect.reconnections(
            plan, running, sealed_logins.sealed_anew(out, rendered, running), out=out
        )
        found += [with_way_out(p, names) for p in logins.refusals]
    return list(dict.fromkeys(found))


def _on_disk(topology: Topology, changes: Sequence[FolderChange], out: str) -> frozenset[str]:
    """The clusters that have a tree: those of the topology, and those that leave it."""
    known = {c.name for c in topology.clusters} | {c.name for c in changes}
    return frozenset(
        name
        for name in known
        if not name.startswith("_") and os.path.lexists(os.path.join(out, name, LOCK))
    )


def _tree_refusals(
    rendered: "Rendered", running: Sequence[FolderChange], there: frozenset[str], out: str
) -> list[review.Refusal]:
    if not any(change.differs for change in running):
        return []
    before, after = _read_trees(rendered, running, there, out)
    return review.find_refusals(before, after, out, _peer_question(rendered.plan))


def _read_trees(
    rendered: "Rendered", running: Sequence[FolderChange], there: frozenset[str], out: str
) -> tuple[dict[str, review.Files], dict[str, review.Files]]:
    """The tree on disk, and what a render leaves there."""
    folders = {name: os.path.join(out, name) for name in (*there, BUNDLE)}
    before: dict[str, review.Files] = {
        name: _OnDisk(path, rendered.tree.get(name, {}))
        for name, path in folders.items()
        if os.path.isdir(path)
    }
    removed = {change.name for change in running if change.action == "remove"}
    after: dict[str, review.Files] = {
        name: files for name, files in before.items() if name not in removed
    }
    after |= {name: _Rendered(folder) for name, folder in rendered.tree.items()}
    return before, after


def _peer_question(plan: Plan) -> Callable[[str, str], bool]:
    """Whether a cluster is meant to read another one."""
    peers = {name: frozenset(member.peers) for name, member in plan.members.items()}

    def wanted(holder: str, peer: str) -> bool:
        return peer in peers.get(holder, ())

    return wanted


def _commit_refusals(
    rendered: "Rendered",
    running: Sequence[FolderChange],
    there: frozenset[str],
    out: str,
    unapplied: frozenset[str],
    doubts: list[Problem] | None,
) -> list[review.Refusal]:
    """What clusters that run the last commit do not survive: several renders may lie between it and
    this one.
    """
    if not any(change.differs for change in running):
        return []
    try:
        tree = read_commit(out, rendered.inputs.machine.environment)
    except MeshError as error:
        if doubts is not None:
            rest = (
                "; so it cannot be known whether clusters that run the last commit survive this"
                " render"
            )
            doubts += [
                Problem(Place(out), f"{p.what}{rest}", p.fix, review.IN_USE) for p in error.problems
            ]
        return []
    before: dict[str, review.Files] = {
        name: files for name, files in tree.items() if name and name not in unapplied
    }
    if not before:
        return []
    _, after = _read_trees(rendered, running, there, out)
    return review.find_refusals(before, after, out, _peer_question(rendered.plan))


def _commit_first(
    refusal: review.Refusal, there: frozenset[str], rendered: "Rendered", out: str
) -> Problem:
    """A refusal that only the last commit shows, with the commit that it needs."""
    problem = refusal.problem
    what = (
        f"{problem.what}; the last commit does not hold what {out} holds, and clusters may still"
        " run that commit"
    )
    deleted = [
        name for name in refusal.clusters if name not in there and name in rendered.plan.members
    ]
    if deleted:
        paths = " ".join(shlex.quote(join(out, name)) for name in deleted)
        return replace(
            problem,
            what=what,
            fix=(
                "put back what the last commit holds, and render again: git checkout HEAD --"
                f" {paths}"
            ),
        )
    fix = (
        f"let each step reach the clusters before the next:\n  1. commit what is in {out}, and have"
        " it applied in every cluster\n  2. render again"
    )
    problem = replace(problem, what=what, fix=fix)
    return (
        with_way_out(problem, refusal.clusters) if there.issuperset(refusal.clusters) else problem
    )


class _OnDisk(Mapping[str, "bytes | None"]):
    """The files of a directory as its lock lists them; each is read when it is asked for.

    Where a render makes what the lock says, a file that a person edited or deleted counts as it was
    rendered.
    """

    def __init__(self, folder: str, rendered: Folder) -> None:
        self._folder, self._rendered = folder, rendered
        self._known: dict[str, bytes | None] = {}

    @cached_property
    def _listed(self) -> Mapping[str, str] | None:
        """The digests in the lock; None where it cannot be read."""
        lock = parse_lock(read_file(os.path.join(self._folder, LOCK), "lock"))
        return None if lock is None else lock.files

    def __getitem__(self, path: str) -> bytes | None:
        if path not in self:
            raise KeyError(path)
        if path not in self._known:
            self._known[path] = self._read(path)
        return self._known[path]

    def _read(self, path: str) -> bytes | None:
        same = self._rendered.get(path)
        if (
            path != LOCK
            and same is not None
            and self._listed is not None
            and self._listed.get(path) == same.digest
        ):
            return same.body
        found = read(os.path.join(self._folder, path), kind="lock" if path == LOCK else "manifest")
        return found[0] if found is not None else None

    def __contains__(self, path: object) -> bool:
        if not isinstance(path, str):
            return False
        return os.path.lexists(os.path.join(self._folder, path)) or (
            self._listed is not None and path in self._listed
        )

    def __iter__(self) -> Iterator[str]:
        return iter((*self._listed, LOCK)) if self._listed is not None else self._walk()

    def _walk(self) -> Iterator[str]:
        """Every file, where the lock cannot say."""
        for above, _, names in os.walk(self._folder):
            yield from (
                os.path.relpath(os.path.join(above, name), self._folder).replace(os.sep, "/")
                for name in names
            )

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Rendered(Mapping[str, "bytes | None"]):
    """The files of a directory that a render makes."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def __getitem__(self, path: str) -> bytes:
        return self._folder[path].body

    def __iter__(self) -> Iterator[str]:
        return iter(self._folder)

    def __len__(self) -> int:
        return len(self._folder)


def _fetch_commands(plan: Plan, refusal: review.Refusal, directory: str) -> list[str]:
    """The commands that fetch the tokens of the readers that come."""
    if store_of(plan.topology).OUTSIDE:
        return []  # each cluster pushes its own
    members = [plan.members[name] for name in refusal.readers if name in plan.members]
    found = []
    for member in members:
        if member.cluster.credential.way == "tokenFile":
            whom = member.readers if plan.topology.reader_per_peer else (SHARED,)
            found += [token_command(member.cluster, directory, peer) for peer in whom]
    return found


def _late_holders(
    rendered: "Rendered", running: Sequence[FolderChange], there: frozenset[str], out: str
) -> list[Problem]:
    """Tokens that would go although peers that this render leaves as they are may still use
    them.
    """
    plan = rendered.plan
    found = []
    for name, secrets in token_rotation.gone(plan, running).items():
        late = [
            h
            for h in sorted(there & plan.members.keys())
            if h not in rendered.tree
            and name in plan.members[h].peers
            and not sealed_logins.holds_login(rendered, h, name, out)
        ]
        if late:
            what = (
                f"its Secret {secrets[0]} would go, and {', '.join(late[:_FEW])} may still log in"
                " by it: nothing here shows another token there"
            )
            found.append(
                Problem(
                    plan.members[name].cluster.place,
                    what,
                    "render all clusters, or first those whose peers have to move",
                    _TOKEN,
                )
            )
    return found


def resolve_unapplied(
    names: Sequence[str],
    confirmed: Sequence[str],
    topology: Topology,
    out: str,
    environment: Mapping[str, str],
) -> frozenset[str]:
    """The clusters that are named by `--unapplied`; refuses what names none, what has no tree, and
    what was committed and is not confirmed.
    """
    problems: list[Problem] = []
    chosen = {_resolve(name, "--unapplied", topology, out, problems): name for name in names}
    sure = {
        _resolve(name, "--confirm-unapplied", topology, out, problems): name for name in confirmed
    }
    held = _committed(out, [name for name in chosen if name], environment) if chosen else NONE
    for cluster, name in chosen.items():
        if cluster and not os.path.lexists(os.path.join(out, cluster, LOCK)):
            problems.append(
                Problem(
                    Place("--unapplied"),
                    f"{join(out, cluster)} does not exist, so nothing has to count as not applied",
                    f"leave out {name}",
                )
            )
        elif cluster in held and cluster not in sure:
            what = (
                f"the last commit holds {join(out, cluster)}, so what applies the repository may"
                " have applied it"
            )
            fix = (
                "look into the cluster (kubectl get namespace, secret); if it runs nothing of it,"
                f" add --confirm-unapplied {name}"
            )
            problems.append(Problem(Place("--unapplied"), what, fix))
    for cluster, name in sure.items():
        if cluster and (cluster not in chosen or cluster not in held):
            why = (
                f"--unapplied {name} is missing"
                if cluster not in chosen
                else f"the last commit does not hold {join(out, cluster)}"
            )
            fix = (
                f"add --unapplied {name}, or leave this out"
                if cluster not in chosen
                else "leave it out"
            )
            problems.append(Problem(Place("--confirm-unapplied"), f"confirms nothing: {why}", fix))
    if problems:
        raise MeshError(problems)
    return frozenset(chosen)


def _resolve(name: str, option: str, topology: Topology, out: str, problems: list[Problem]) -> str:
    """The directory of a cluster that is named by itself or by its context; the tree may have
    clusters that the topology no longer has.
    """
    known = {c.context: c.name for c in topology.clusters} | {
        c.name: c.name for c in topology.clusters
    }
    if name in known and os.path.lexists(os.path.join(out, known[name], LOCK)):
        return known[name]
    for folder in sorted(os.listdir(out)) if os.path.isdir(out) else ():
        path = os.path.join(out, folder, LOCK)
        if not folder.startswith(("_", ".")) and os.path.isfile(path):
            lock = parse_lock(read_file(path, "lock"))
            if name == folder or (lock is not None and name == lock.context):
                return folder
    if name in known:
        return known[name]
    problems.append(
        Problem(
            Place(option),
            f'no cluster "{name}" in the topology or in {out}{near(name, known)}',
            "name a cluster or its context",
        )
    )
    return ""


def _committed(out: str, names: Sequence[str], environment: Mapping[str, str]) -> frozenset[str]:
    """The clusters whose tree the last commit holds; all of them where git cannot be asked."""
    paths = committed(out, environment)
    if paths is None:
        return (
            frozenset(names)
            if git_ignore.top_of(out) is not None and not has_no_commit(out, environment)
            else NONE
        )
    folders = {path.partition("/")[0] for path in paths}
    return frozenset(name for name in names if name in folders)


def check_effect(names: Sequence[str], *, lifted: bool) -> None:
    """Refuses `--unapplied` where a render needs none: it must not stay in a script."""
    if names and not lifted:
        what = (
            f"has no effect: a render is not refused because of {count(len(names), 'tree')}"
            f" ({', '.join(names[:_FEW])}{', …' if len(names) > _FEW else ''})"
        )
        raise MeshError([Problem(Place("--unapplied"), what, "leave it out")])
