"""The changes of remote secrets that a render makes."""

from collections.abc import Iterator, Sequence

from kubectl_mesh.errors import Problem
from kubectl_mesh.model import BUNDLE_FOLDER, MESH_LOCK, REMOTE_SECRETS_PREFIX, FolderChange, Plan
from kubectl_mesh.text import count_text, marked_text

_WITHDRAWAL_CHECK = "tree-withdrawn"
"""The check that reports what would be withdrawn."""


def list_secret_changes(
    plan: Plan, changes: Sequence[FolderChange]
) -> Iterator[tuple[str, str, str]]:
    """Every remote secret of a directory that changes: the directory, the cluster that it reads,
    and what happens to it.

    One that only moves between a cluster's directory and the bundle is not gone.
    """
    bundle = next((c for c in changes if c.name == BUNDLE_FOLDER), None)
    bundled = (
        {}
        if bundle is None
        else {
            f.path.removesuffix(".yaml"): f.action
            for f in bundle.changes
            if f.path not in (MESH_LOCK, "kustomization.yaml")
        }
    )
    for name, action in bundled.items():
        if action == "remove":
            copied = {
                c.name
                for c in changes
                for f in c.changes
                if f.path == f"{REMOTE_SECRETS_PREFIX}{name}.yaml" and f.action != "remove"
            }
            moved = (
                name in plan.members and bool(copied) and copied >= set(plan.members[name].readers)
            )
            yield BUNDLE_FOLDER, name, "identical" if moved else action
        else:
            yield BUNDLE_FOLDER, name, action
    for change in changes:
        for file in (
            change.changes if change.name in plan.members and change.has_differences else ()
        ):
            if file.path.startswith(REMOTE_SECRETS_PREFIX):
                name = file.path.removeprefix(REMOTE_SECRETS_PREFIX).removesuffix(".yaml")
                moved = (
                    file.action == "remove"
                    and name in plan.members[change.name].peers
                    and bundled.get(name, "remove") != "remove"
                )
                yield change.name, name, "identical" if moved else file.action


def list_removed_secrets(plan: Plan, changes: Sequence[FolderChange]) -> list[tuple[str, str]]:
    """The remote secrets that left the tree of a cluster that stays: its name, and the peer's."""
    removed = []
    for name, peer, action in list_secret_changes(plan, changes):
        if action == "remove" and name == BUNDLE_FOLDER:
            removed += [
                (holder, peer)
                for holder, m in plan.members.items()
                if m.cluster.is_joined and m.primary is None and holder != peer
            ]
        elif action == "remove":
            removed.append((name, peer))
    return removed


def withdrawal_problems(plan: Plan, changes: Sequence[FolderChange], out: str) -> list[Problem]:
    """Remote secrets and stages that would leave merely because a token, a server or an address
    cannot be read here: in a running mesh that is an outage.
    """
    return [*_secret_problems(plan, changes, out), *_stage_problems(plan, changes, out)]


def _secret_problems(plan: Plan, changes: Sequence[FolderChange], out: str) -> Iterator[Problem]:
    waiting = {(p.subject, p.peer): p for p in plan.pending if p.kind in ("token", "server")}
    held: dict[tuple[str, str], list[str]] = {}
    for name, peer, action in list_secret_changes(plan, changes):
        if action == "remove" and (name == BUNDLE_FOLDER or peer in plan.members[name].peers):
            key = next((key for key in ((peer, ""), (peer, name)) if key in waiting), None)
            if key is not None:
                held.setdefault(key, []).append(name)
    for key, holders in held.items():
        item = waiting[key]
        secrets = count_text(len(holders), "rendered remote secret")
        what = (
            f"{item.what} is not there, but {secrets} for it would be removed (as in"
            f" {out}/{holders[0]})"
        )
        fix = (
            f"put it back, or run: {marked_text(item.command)}\n  to take the cluster out of"
            " discovery, state disableRegistryJoin or peers"
        )
        place = plan.members[key[0]].cluster.place
        yield Problem(place, what, fix, _WITHDRAWAL_CHECK, code="remote-secret-would-be-withdrawn")


def _stage_problems(plan: Plan, changes: Sequence[FolderChange], out: str) -> Iterator[Problem]:
    for change in changes:
        member = plan.members.get(change.name)
        if (
            member is None
            or not member.trust_stage_only
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
            why, fix = (
                f"{lost.what} is not there any more",
                f"put it back, or run: {marked_text(lost.command)}",
            )
        else:
            assert member.primary is not None
            why, fix = (
                f"the controlPlaneAddress of {member.primary.context} is not stated any more",
                "state it again",
            )
        what = f"is rendered in {out}/{change.name}, but would be withdrawn, for {why}"
        fix = f"{fix}, or remove the cluster"
        place = member.cluster.place
        yield Problem(place, what, fix, _WITHDRAWAL_CHECK, code="control-plane-would-be-withdrawn")
