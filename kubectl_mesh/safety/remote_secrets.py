"""What a render changes of the remote secrets by which clusters discover each other."""

from collections.abc import Iterator, Sequence

from kubectl_mesh.errors import Problem
from kubectl_mesh.model import BUNDLE, LOCK, REMOTE_SECRETS, FolderChange, Plan
from kubectl_mesh.text import count


def changed_secrets(plan: Plan, changes: Sequence[FolderChange]) -> Iterator[tuple[str, str, str]]:
    """Every remote secret of a directory that changes: the directory, the cluster that it reads,
    and what happens to it.

    One that only moves between a cluster's directory and the bundle is not gone.
    """
    bundle = next((c for c in changes if c.name == BUNDLE), None)
    bundled = (
        {}
        if bundle is None
        else {
            f.path.removesuffix(".yaml"): f.action
            for f in bundle.changes
            if f.path not in (LOCK, "kustomization.yaml")
        }
    )
    for name, action in bundled.items():
        if action == "remove":
            copied = {
                c.name
                for c in changes
                for f in c.changes
                if f.path == f"{REMOTE_SECRETS}{name}.yaml" and f.action != "remove"
            }
            moved = (
                name in plan.members and bool(copied) and copied >= set(plan.members[name].readers)
            )
            yield BUNDLE, name, "identical" if moved else action
        else:
            yield BUNDLE, name, action
    for change in changes:
        for file in change.changes if change.name in plan.members and change.differs else ():
            if file.path.startswith(REMOTE_SECRETS):
                name = file.path.removeprefix(REMOTE_SECRETS).removesuffix(".yaml")
                moved = (
                    file.action == "remove"
                    and name in plan.members[change.name].peers
                    and bundled.get(name, "remove") != "remove"
                )
                yield change.name, name, "identical" if moved else file.action


def removed_secrets(plan: Plan, changes: Sequence[FolderChange]) -> list[tuple[str, str]]:
    """The remote secrets that left the tree of a cluster that stays: its name, and the peer's."""
    gone = []
    for name, peer, action in changed_secrets(plan, changes):
        if action == "remove" and name == BUNDLE:
            gone += [
                (holder, peer)
                for holder, m in plan.members.items()
                if m.cluster.joined and m.primary is None and holder != peer
            ]
        elif action == "remove":
            gone.append((name, peer))
    return gone


def withdrawn(plan: Plan, changes: Sequence[FolderChange], out: str) -> list[Problem]:
    """Remote secrets that would go merely because a token or a server cannot be read here: in a
    running mesh that is an outage.
    """
    waiting = {(p.subject, p.peer): p for p in plan.pending if p.kind in ("token", "server")}
    held: dict[tuple[str, str], list[str]] = {}
    for name, peer, action in changed_secrets(plan, changes):
        if action != "remove":
            continue
        keys = [(peer, ""), (peer, name)]
        wanted = name == BUNDLE or peer in plan.members[name].peers
        for key in keys:
            if wanted and key in waiting:
                held.setdefault(key, []).append(name)
                break
    problems = []
    for key, holders in held.items():
        peer, item = key[0], waiting[key]
        secrets = count(len(holders), "rendered remote secret")
        what = (
            f"{item.what} is not there, but {secrets} for it would be removed (as in"
            f" {out}/{holders[0]})"
        )
        fix = (
            f"put it back, or run: {item.command}\n  to take the cluster out of discovery, state"
            " disableRegistryJoin or peers"
        )
        problems.append(Problem(plan.members[peer].cluster.place, what, fix, "tree-withdrawn"))
    for change in changes:
        member = plan.members.get(change.name)
        if (
            member is None
            or not member.waits
            or not any(f.action == "remove" and f.path[0] != "1" for f in change.changes)
        ):
            continue
        lost = next(
            (
                p
                for p in plan.pending
                if p.subject == change.name and p.kind in ("sealing", "certificate")
            ),
            None,
        )
        if lost is not None:
            why, fix = f"{lost.what} is not there any more", f"put it back, or run: {lost.command}"
        else:
            assert member.primary is not None
            why, fix = (
                f"the controlPlaneAddress of {member.primary.context} is not stated any more",
                "state it again",
            )
        what = f"is rendered in {out}/{change.name}, but would be withdrawn, for {why}"
        problems.append(
            Problem(member.cluster.place, what, f"{fix}, or remove the cluster", "tree-withdrawn")
        )
    return problems
