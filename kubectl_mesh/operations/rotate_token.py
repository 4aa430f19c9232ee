"""Moves the peers of a cluster from one token to the next, one step at a time."""

import base64
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from kubectl_mesh.credentials import token_rotation
from kubectl_mesh.credentials.accounts import SHARED_READER, token_file
from kubectl_mesh.errors import MeshError, refuse
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.locking import hold_lock
from kubectl_mesh.fs.owned_files import replace_file
from kubectl_mesh.fs.read import read_inside
from kubectl_mesh.model import Cluster, Plan
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations import private_files
from kubectl_mesh.operations.build import RenderedMesh
from kubectl_mesh.operations.checked_inputs import CheckedInputs, load_inputs
from kubectl_mesh.operations.paths import Paths
from kubectl_mesh.operations.token_steps import (
    check_first_token,
    check_last_use,
    check_next_token,
    check_restarts,
    check_step,
    seen_problems,
)
from kubectl_mesh.operations.token_tree import build_tree, list_stale_folders, uncommitted_problems
from kubectl_mesh.render.remote_secrets import kubeconfig_text
from kubectl_mesh.safety import reconnections
from kubectl_mesh.stores import store_of
from kubectl_mesh.text import mesh_command
from kubectl_mesh.topology.selection import select_clusters
from kubectl_mesh.workdir.places import TOPOLOGY_FILE
from kubectl_mesh.workdir.topology_file import parse_topology
from kubectl_mesh.yaml_io import edit
from kubectl_mesh.yaml_io.read import load_document


@dataclass(frozen=True, slots=True)
class TokenRotationStep:
    """A step of the rotation of a cluster's token."""

    name: str
    """The cluster, by name or context."""
    step: str
    """`begin`, `advance` or `abort`."""
    seen_for: timedelta | None = None
    """How long every peer has been seen to use the step before."""
    with_restarts: bool = False
    """Whether istiod of peers may have to restart."""


@dataclass(frozen=True, slots=True)
class TokenRotationResult:
    """A step of a rotation that was written into topology.yaml."""

    directory: str
    requested_action: str
    """`begin`, `advance` or `abort`."""
    cluster: Cluster
    """The cluster after the step."""
    step: str
    """Where the rotation is now: `steady`, `begun` or `moved`."""
    holders: tuple[Cluster, ...]
    """The clusters whose istiod has a remote secret for it."""
    is_external: bool
    """Whether tokens go through a store of the user's."""
    removed_generation: int | None
    """The generation that was next to the first one before the step."""
    removed_files: tuple[str, ...]
    """The token files of the generation that went, which are of no use any more."""
    checks: tuple[tuple[str, str], ...] = ()
    """What must be seen before the next step: a command, and what it prints."""
    restarts: tuple[str, ...] = ()
    """What has to restart after the apply."""

    @property
    def is_going_back(self) -> bool:
        """Whether peers go back to the first token."""
        return self.requested_action == "abort" and self.step != token_rotation.STEADY

    @property
    def has_moved_peers(self) -> bool:
        """Whether peers use another token after the step."""
        return self.is_going_back or self.step == token_rotation.MOVED


def rotate_token(paths: Paths, wanted: TokenRotationStep, machine: Machine) -> TokenRotationResult:
    """Writes the next step of a rotation into topology.yaml, and nothing else.

    Raises a `MeshError` if the tree, or the last commit of its repository, does not have the step
    before, or if clusters would lose what they log in with.
    """
    directory, out = paths.directory, paths.tree
    private_files.check_folders(directory, paths.out)
    path = join_path(directory, TOPOLOGY_FILE)
    with hold_lock(directory):
        private_files.check_regular(path)
        inputs = load_inputs(directory, paths.kubeconfig, machine)
        (name,) = select_clusters(inputs.topology, (wanted.name,), "NAME")
        cluster = next(c for c in inputs.topology.clusters if c.name == name)
        before = build_tree(inputs, out)
        check_step(before, cluster, wanted.step)
        behind = list_stale_folders(before, out, cluster)
        entry = _next_entry(before, cluster, wanted, is_rendered=not behind)
        source, body = _edit_topology(directory, cluster, entry)
        later = load_inputs(
            directory, paths.kubeconfig, machine, topology=parse_topology(path, body)
        )
        after = None
        if behind:
            after = _check_stale(later, out, cluster, wanted.step, behind)
        else:
            _check_seen(before, out, cluster, wanted)
        if (
            wanted.step == "advance"
            and token_rotation.rotation_step(cluster) == token_rotation.BEGUN
        ):
            check_next_token(inputs, before, cluster)
        elif wanted.step == "advance":
            check_last_use(inputs, before, cluster)
        after = after or build_tree(later, out)
        if wanted.step == "abort":
            check_first_token(inputs, before, after, cluster)
        replace_file(path, source, body)
    return _describe_step(paths, wanted.step, before, after, name)


def _next_entry(
    rendered: RenderedMesh, cluster: Cluster, wanted: TokenRotationStep, *, is_rendered: bool
) -> dict[str, int]:
    """The `tokens` of the cluster after a step; `is_rendered`: a tree has the step before."""
    if wanted.step == "begin":
        if not wanted.with_restarts:
            check_restarts(rendered, cluster)
        return token_rotation.begin_rotation(cluster, _list_generations(rendered, cluster))
    if wanted.step == "advance":
        return token_rotation.advance_rotation(cluster)
    # What no tree has had is in no cluster.
    return token_rotation.abort_rotation(cluster, was_rendered=is_rendered)


def _list_generations(rendered: RenderedMesh, cluster: Cluster) -> list[int]:
    """The generations whose token files exist."""
    peers = ("", *rendered.plan.members[cluster.name].readers)
    found = []
    for first in {token_file(cluster, peer, 1) for peer in peers}:
        above, last = os.path.split(join_path(rendered.inputs.directory, first))
        names = os.listdir(above or ".") if os.path.isdir(above or ".") else []
        found += [
            int(m[1]) for n in names if (m := re.fullmatch(re.escape(last) + r"\.g([0-9]{1,4})", n))
        ]
    return found


def _edit_topology(directory: str, cluster: Cluster, entry: dict[str, int]) -> tuple[bytes, bytes]:
    """topology.yaml as it is, and with other generations for a cluster."""
    path = join_path(directory, TOPOLOGY_FILE)
    source = read_inside(directory, TOPOLOGY_FILE, "topology") or b""
    body = edit.set_tokens(
        source.decode(),
        cluster.context,
        entry,
        lambda text: load_document(path, text.encode()).value,
        path,
    )
    return source, body.encode()


def _check_stale(
    later: CheckedInputs, out: str, cluster: Cluster, step: str, behind: list[str]
) -> RenderedMesh:
    """The mesh after the step, if the tree already is as then; else raises a `MeshError`, because
    the tree does not have the step before.
    """
    if step == "abort":
        after = build_tree(later, out)
        if not list_stale_folders(after, out, cluster):
            return after
    raise refuse(
        behind[0],
        "is not what a render of the step before would make",
        f"run `{mesh_command('render')}`, review and apply it; then go on",
        code="tree-out-of-date",
    )


def _check_seen(
    rendered: RenderedMesh, out: str, cluster: Cluster, wanted: TokenRotationStep
) -> None:
    """Raises a `MeshError` if the step before is not committed, or not seen everywhere."""
    if wanted.step == "begin":
        return
    last = token_rotation.MOVED if wanted.step == "advance" else token_rotation.BEGUN
    goes = token_rotation.rotation_step(cluster) == last
    if problems := [
        *uncommitted_problems(rendered, out, cluster),
        *seen_problems(rendered.inputs, cluster, wanted.seen_for, goes=goes),
    ]:
        raise MeshError(problems)


def _describe_step(
    paths: Paths, asked: str, before: RenderedMesh, after: RenderedMesh, name: str
) -> TokenRotationResult:
    """The result of a step, from the mesh before and after it."""
    plan = after.plan
    cluster = plan.members[name].cluster
    is_external = store_of(plan.topology).OUTSIDE
    gone = before.plan.members[name].cluster.second_generation
    peers = plan.members[name].readers if plan.topology.reader_per_peer else ("",)
    result = TokenRotationResult(
        directory=paths.directory,
        requested_action=asked,
        cluster=cluster,
        step=token_rotation.rotation_step(cluster),
        holders=tuple(
            plan.members[h].cluster for h in token_rotation.remote_secret_holders(plan, name)
        ),
        is_external=is_external,
        removed_generation=gone,
        removed_files=(
            ()
            if is_external or gone is None
            else tuple(token_file(cluster, peer, gone) for peer in peers)
        ),
    )
    moving = result.holders if result.has_moved_peers else ()
    return replace(
        result,
        checks=tuple(_list_checks(after, result)),
        restarts=tuple(reconnections.restart_lines(plan, moving, paths.tree)),
    )


def _list_checks(after: RenderedMesh, result: TokenRotationResult) -> list[tuple[str, str]]:
    """The commands that show whether the next step may come, and what they print."""
    plan, name = after.plan, result.cluster.name
    if result.step == token_rotation.BEGUN and not result.is_going_back:
        return [
            (p.command, "") for p in plan.pending if p.kind == "next-token" and p.subject == name
        ]
    if result.step == token_rotation.STEADY:
        return []
    store = store_of(plan.topology)
    digests = {} if result.is_external else _digest_secrets(after, name)
    return [
        *_list_pushes(plan, name),
        *token_rotation.verification_commands(plan, name, digests, store.arrival_command),
    ]


def _list_pushes(plan: Plan, name: str) -> Iterator[tuple[str, str]]:
    """The commands that show when a cluster put its tokens into the store, where it does."""
    member, store = plan.members[name], store_of(plan.topology)
    for peer in member.readers if plan.topology.reader_per_peer else (SHARED_READER,):
        command = store.push_command(member.cluster, peer)
        if command is not None:
            yield command, "the time of the push"


def _digest_secrets(after: RenderedMesh, name: str) -> dict[str, str]:
    """By holder what `sha256sum` prints of its remote secret, where the token is here."""
    member = after.plan.members[name]
    found = {}
    for holder in token_rotation.remote_secret_holders(after.plan, name):
        login = member.peer_login(holder)
        if login is not None and not {holder, ""} & member.sealed_logins:
            secret = base64.b64encode(kubeconfig_text(member, login).encode())
            found[holder] = hashlib.sha256(secret).hexdigest() + "  -"
    return found
