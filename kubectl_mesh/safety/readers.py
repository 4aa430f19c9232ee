"""Accounts, roles and tokens that a change would remove while peers read the cluster with them."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kubectl_mesh.credentials.accounts import SHARED_READER, token_command
from kubectl_mesh.errors import Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model import BUNDLE_FOLDER, REMOTE_SECRETS_PREFIX
from kubectl_mesh.safety.mesh_pair import ClusterState, MeshPair
from kubectl_mesh.safety.planned_render import PlannedRender
from kubectl_mesh.safety.refusal import (
    IN_USE_CHECK,
    Refusal,
    join_names,
    names_text,
    unapplied_options,
)
from kubectl_mesh.stores import store_of
from kubectl_mesh.text import count_text, mesh_command

_MOST_COMMANDS = 6
"""How many commands a fix has."""


@dataclass
class _LostReaders:
    """The readers that leave clusters while peers use them."""

    clusters: list[str]
    clusters_by_object: dict[str, list[str]]
    """The clusters by the account, role or token that leaves them."""
    users: dict[str, list[str]]
    """The peers that use them, by cluster."""


def find_lost_readers(mesh: MeshPair, render: PlannedRender | None) -> list[Refusal]:
    """Accounts, their roles and tokens that leave a cluster while peers log in by them; without a
    render the fix names no command that fetches a token.
    """
    lost_readers = _collect_lost_readers(mesh)
    if not lost_readers.clusters:
        return []
    lost = lost_readers.clusters
    first = lost_readers.users[lost[0]][0]
    holders = {n for users in lost_readers.users.values() for n in users}
    listed = [
        f"{thing} ({names_text(names)})" for thing, names in lost_readers.clusters_by_object.items()
    ]
    what = (
        f"{names_text(listed)} would leave the tree, and the remote secrets of"
        f" {count_text(len(holders), 'cluster')} log in by it (as in {join_path(mesh.out, first)})"
    )
    names = join_names(lost, holders)
    fix = _steps_text(mesh.out, names, lost, render)
    place = mesh.file_place(lost[0], "3-mesh")
    problem = Problem(place, what, fix, IN_USE_CHECK, code="reader-in-use-would-be-removed")
    return [Refusal(problem, names, tuple(lost))]


def _collect_lost_readers(mesh: MeshPair) -> _LostReaders:
    found = _LostReaders([], {}, {})
    for name in mesh.changed_clusters:
        old, new = mesh.old[name], mesh.new[name]
        if (
            old.lock.namespace != new.lock.namespace
            or new.lacks_control_plane
            or _has_same_readers(old, new)
        ):
            continue
        gone = {key: peer for key, peer in old.readers.items() if key not in new.readers}
        late = [
            n for n in mesh.list_readers(name) if any(peer in ("", n) for peer in gone.values())
        ]
        if late:
            for kind, _, thing in sorted(key for key, peer in gone.items() if peer in ("", *late)):
                found.clusters_by_object.setdefault(f"the {kind} {thing}", []).append(name)
            found.clusters.append(name)
            found.users[name] = late
    return found


def _has_same_readers(old: ClusterState, new: ClusterState) -> bool:
    """Whether all files about readers are the same."""
    one, other = (
        {p: d.files[p] for p in d.files if p.startswith("3-mesh/reader")} for d in (old, new)
    )
    return one == other


def _steps_text(
    out: str, names: Sequence[str], lost: Sequence[str], render: PlannedRender | None
) -> str:
    """How peers move to another account by hand, while the one that they use stays."""
    first = f"render --out next{unapplied_options(names)}"
    steps = (
        f"cp -R {shlex.quote(out)} next && {mesh_command(first)}",
        (
            "in each cluster that gets another reader: `kubectl --context=CTX apply -f FILE` for"
            " each next/NAME/3-mesh/reader*.yaml; the old objects stay"
        ),
        *_fetch_steps(lost, render),
        _apply_step(out, render),
        (
            f"put next in the place of {out}, commit it, and let the tool apply it; only now the"
            " old objects leave"
        ),
    )
    numbered = (f"  {number}. {step}" for number, step in enumerate(steps, 1))
    return "\n".join(
        ("move the peers by hand, from a copy of the tree that no cluster runs:", *numbered)
    )


def _apply_step(out: str, render: PlannedRender | None) -> str:
    topology = render.plan.topology if render is not None else None
    bundled = topology is not None and topology.has_remote_secret_bundle
    folder = (
        f"next/{BUNDLE_FOLDER}" if bundled else f"next/NAME/{REMOTE_SECRETS_PREFIX.rstrip('/')}"
    )
    applied = (
        f"`sops decrypt FILE | kubectl --context=CTX apply -f -` for each file in {folder}"
        if topology is not None and store_of(topology).NEEDS_DECRYPTION
        else f"`kubectl --context=CTX apply -f {folder}`"
    )
    return (
        f"stop the tool that applies {out}, if there is one; in each peer: {applied};\n     then"
        " `istioctl proxy-config endpoints` of a workload must list the endpoints of every peer"
        " (Istio 1.30.0 to 1.30.3: restart istiod first)"
    )


def _fetch_steps(lost: Sequence[str], render: PlannedRender | None) -> Iterator[str]:
    """The step that fetches the tokens of the readers that come; none where nobody fetches them."""
    commands = list(_fetch_commands(lost, render)) if render is not None else []
    if render is not None and not commands:
        return
    lines = [f"     {command}" for command in commands[:_MOST_COMMANDS]]
    if len(commands) > _MOST_COMMANDS:
        lines.append(f"     and {len(commands) - _MOST_COMMANDS} more, in the same way")
    again = f"fetch the new tokens, and render again: {mesh_command('render --out next')}"
    yield "\n".join((again, *lines))


def _fetch_commands(lost: Sequence[str], render: PlannedRender) -> Iterator[str]:
    plan = render.plan
    if store_of(plan.topology).OUTSIDE:
        return  # each cluster pushes its own
    for member in (plan.members[name] for name in lost if name in plan.members):
        if member.cluster.credential.kind == "tokenFile":
            for peer in member.readers if plan.topology.reader_per_peer else (SHARED_READER,):
                yield token_command(member.cluster, render.directory, peer)
