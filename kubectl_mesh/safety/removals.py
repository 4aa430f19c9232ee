"""What leaves a tree but is in the clusters: the commands that delete it, or the tool that does."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kubectl_mesh.credentials import token_rotation
from kubectl_mesh.delivery import TOOLS, find_delivery
from kubectl_mesh.delivery.removal import Tool
from kubectl_mesh.model import MESH_LOCK, REMOTE_SECRETS_PREFIX, STAGES
from kubectl_mesh.observed import read_mesh_state as read_state
from kubectl_mesh.observed.lazy import open_tree
from kubectl_mesh.observed.removal import build_installation, find_delivery_tool
from kubectl_mesh.observed.values import Files, MeshState, RawTree
from kubectl_mesh.safety.planned_render import PlannedRender
from kubectl_mesh.safety.remote_secrets import removed_secrets
from kubectl_mesh.stores import store_of
from kubectl_mesh.targets import teardown
from kubectl_mesh.targets.istiooperator import EAST_WEST, IstioOperator
from kubectl_mesh.targets.teardown import Holder, Leaving
from kubectl_mesh.yaml_io.manifest import read_manifest

_HEAD = re.compile(rb"^(?:apiVersion|kind|  name|  namespace): .*", re.MULTILINE)


class Thing(NamedTuple):
    """An object of Kubernetes as its deletion needs it."""

    kind: str
    group: str
    version: str
    namespace: str
    name: str

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes it the same object, in whatever version of its API."""
        return self.kind, self.group, self.namespace, self.name


class _Gone(NamedTuple):
    """An object that leaves the tree of a cluster that stays, and its file."""

    cluster: str
    path: str
    thing: Thing


def delete_commands(context: str, thing: Thing, tool: Tool) -> list[str]:
    """The commands that delete an object, as far as the tool that applied it does not."""
    if not TOOLS[tool.name].RECONCILES:
        return teardown.delete_object(context, *thing)
    # Argo CD deletes the Application, and without a finalizer nothing that its chart installed.
    is_application = TOOLS[tool.name].NEEDS_FINALIZER and thing.kind == "Application"
    return [teardown.set_finalizer(tool, [thing.name])] if is_application else []


def control_plane_commands(context: str, thing: Thing, revision: str, tool: Tool) -> list[str]:
    """The commands that delete a part of a control plane; istioctl, not kubectl, applied what an
    IstioOperator says.
    """
    if thing.kind != IstioOperator.KIND:
        return delete_commands(context, thing, tool)
    return [] if thing.name == EAST_WEST else teardown.delete_release(context, revision)


def forget_commands(holder: Holder, tool: Tool) -> list[str]:
    """The commands by which a cluster that stays forgets a peer, as far as its tool does not."""
    return [] if TOOLS[tool.name].RECONCILES else [teardown.forget_peer(holder, tool)]


def needed_paths(render: PlannedRender) -> dict[str, list[str]]:
    """By directory, the files of the existing tree that `list_removals` reads."""
    if not any(change.has_differences for change in render.changes):
        return {}
    found: dict[str, list[str]] = {}
    for change in render.changes:
        if change.action == "create":
            continue
        paths = [MESH_LOCK]
        if (delivery := find_delivery(change.name)) is not None:
            mark = delivery.NAMESPACE_FILE
            paths += [f.path for f in change.changes if f.path.rpartition("/")[2] == mark]
        elif change.name in render.plan.members:
            paths += [
                f.path
                for f in change.changes
                if f.action in ("remove", "update") and _is_listed(f.path, STAGES[1:])
            ]
        elif change.action == "remove":
            paths += [f.path for f in change.changes]
        found[change.name] = paths
    return found


def list_removals(new: MeshState, render: PlannedRender, disk: RawTree) -> Leaving:
    """What leaves the tree that is on disk; `disk` has the files that are needed of it."""
    if not disk:
        return Leaving()
    plan = render.plan
    tool = find_delivery_tool(disk, plan.topology.mesh_id)
    taken_off = _cluster_commands(render, disk, tool)
    gone = list(_list_gone(new, render, disk))
    if not TOOLS[tool.name].RECONCILES:
        return Leaving(tuple(dict.fromkeys((*_commands(render, gone, tool), *taken_off))))
    deletes = any(
        (
            removed_secrets(plan, render.changes),
            token_rotation.removed_secrets(plan, render.changes),
            gone,
        )
    )
    applications = [g.thing.name for g in _in_stage(gone, 1) if g.thing.kind == "Application"]
    before = (
        (teardown.set_finalizer(tool, applications),)
        if applications and TOOLS[tool.name].NEEDS_FINALIZER
        else ()
    )
    return Leaving(taken_off, before, TOOLS[tool.name].TITLE, deletes=deletes)


def _in_stage(gone: Sequence[_Gone], number: int) -> list[_Gone]:
    return [g for g in gone if g.path.partition("/")[0] == STAGES[number]]


def _commands(render: PlannedRender, gone: Sequence[_Gone], tool: Tool) -> Iterator[str]:
    """The commands that delete what leaves the trees of clusters that stay, where no tool does."""
    members = render.plan.members
    for name, peer in removed_secrets(render.plan, render.changes):
        yield from forget_commands(_holder(render, name, peer), tool)
    yield from token_rotation.delete_secret_commands(render.plan, render.changes)
    for name, _, thing in _in_stage(gone, 2):
        yield from delete_commands(members[name].cluster.context, thing, tool)
    for name, _, thing in _in_stage(gone, 1):
        revision = "" if thing.name == "default" else thing.name
        context = members[name].cluster.context
        yield from control_plane_commands(context, thing, revision, tool)


def _holder(render: PlannedRender, name: str, peer: str) -> Holder:
    """A cluster of the plan that reads another one, which the topology may no longer have."""
    plan = render.plan
    cluster = plan.members[name].cluster
    if peer in plan.members:
        return teardown.holder_of(cluster, plan.members[peer].cluster, plan.topology)
    secret, controller = teardown.secret_name(peer), store_of(plan.topology).CONTROLLER
    return Holder(cluster.name, cluster.context, cluster.namespace, secret, controller)


def _cluster_commands(render: PlannedRender, disk: RawTree, tool: Tool) -> tuple[str, ...]:
    """The commands that take Istio off the clusters whose directories leave; their peers are not
    among them.
    """
    members = render.plan.members
    names = [
        c.name
        for c in render.changes
        if c.action == "remove" and not c.name.startswith("_") and c.name not in members
    ]
    if not names:
        return ()
    contexts = {member.cluster.context for member in members.values()}
    servers = {member.server.url for member in members.values() if member.server is not None}
    # A cluster that only has another name now runs on: nothing is taken off it.
    stay = {
        peer
        for lock in open_tree(disk).locks.values()
        for peer, source in lock.remote.items()
        if source.server in servers
    }
    leaving = read_state({name: disk[name] for name in names}).clusters
    installed = [build_installation(leaving[n]) for n in names if n in leaving and n not in stay]
    installed = [cluster for cluster in installed if cluster.context not in contexts]
    return tuple(step.text for step in teardown.list_commands(installed, (), tool, whole=False))


def _list_gone(new: MeshState, render: PlannedRender, disk: RawTree) -> Iterator[_Gone]:
    """The objects that leave the control planes and the mesh of clusters that stay, but remote
    secrets and tokens.

    Of a control plane only what a tree of the same kind held: a control plane of another kind may
    hold the rest from now on.
    """
    kinds = render.target.SCHEMAS.keys() | {render.target.KIND}
    for change in render.changes:
        gone: list[tuple[str, bytes]] = []
        for file in change.changes if change.name in render.plan.members else ():
            if file.action in ("remove", "update") and _is_listed(file.path, STAGES[1:]):
                # Where a person put there what no manifest can be, the render replaces it.
                body = disk[change.name].get(file.path) or b""
                after = b"" if file.action == "remove" else new.tree[change.name][file.path]
                if file.action == "remove" or _head(body) != _head(after or b""):
                    gone.append((file.path, body))
        stay = set(_identities(new.tree[change.name])) if gone else set()
        for path, body in gone:
            for thing in _things(body):
                if thing.identity not in stay and (
                    path.startswith(STAGES[2]) or thing.kind in kinds
                ):
                    yield _Gone(change.name, path, thing)


def _head(body: bytes) -> list[bytes]:
    """The lines of a manifest that say which object it is; a quick look, because most files change
    in other lines.
    """
    return _HEAD.findall(body)


def _identities(files: Files) -> Iterator[tuple[str, ...]]:
    """The objects of a rendered directory."""
    for path in files:
        if _is_listed(path, STAGES[1:]):
            yield from (thing.identity for thing in _things(files[path] or b""))


def _is_listed(path: str, stages: Sequence[str]) -> bool:
    """Whether a file of the tree holds an object of these stages, but a remote secret."""
    stage = path.partition("/")[0]
    return (
        stage in stages
        and not path.startswith(REMOTE_SECRETS_PREFIX)
        and path.endswith(".yaml")
        and not path.endswith("/kustomization.yaml")
    )


def _things(body: bytes) -> Iterator[Thing]:
    """The object of a manifest; nothing where it is not one, because it may have been edited."""
    try:
        value = read_manifest(body)
        group, _, version = str(value["apiVersion"]).rpartition("/")
        metadata = value["metadata"]
        yield Thing(
            str(value["kind"]),
            group,
            version,
            str(metadata.get("namespace", "")),
            str(metadata["name"]),
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        return
