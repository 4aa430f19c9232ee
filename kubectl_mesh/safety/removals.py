"""What leaves a tree but is in the clusters: the commands that delete it, or the tool that does."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kubectl_mesh.credentials import token_rotation
from kubectl_mesh.delivery import TOOLS, find_delivery
from kubectl_mesh.delivery.removal import Tool
from kubectl_mesh.model import MESH_LOCK, REMOTE_SECRETS_PREFIX, STAGES
from kubectl_mesh.observed import read_mesh_state as read_state
from kubectl_mesh.observed.lazy_state import open_tree
from kubectl_mesh.observed.mesh_state import Files, MeshState, RawTree
from kubectl_mesh.observed.removal import build_installation, find_delivery_tool
from kubectl_mesh.safety.planned_render import PlannedRender
from kubectl_mesh.safety.remote_secrets import list_removed_secrets
from kubectl_mesh.stores import store_of
from kubectl_mesh.targets import teardown
from kubectl_mesh.targets.istiooperator import EAST_WEST, IstioOperator
from kubectl_mesh.targets.teardown import Holder, Leaving
from kubectl_mesh.yaml_io.manifest import read_manifest

_IDENTIFYING_LINES = re.compile(rb"^(?:apiVersion|kind|  name|  namespace): .*", re.MULTILINE)


class ObjectReference(NamedTuple):
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


class _RemovedObject(NamedTuple):
    """An object that leaves the tree of a cluster that stays, and its file."""

    cluster: str
    path: str
    reference: ObjectReference


def delete_commands(context: str, reference: ObjectReference, tool: Tool) -> list[str]:
    """The commands that delete an object, as far as the tool that applied it does not."""
    if not TOOLS[tool.name].RECONCILES:
        return teardown.object_delete_commands(context, *reference)
    # Argo CD deletes the Application, and without a finalizer nothing that its chart installed.
    is_application = TOOLS[tool.name].NEEDS_FINALIZER and reference.kind == "Application"
    return [teardown.set_finalizer_command(tool, [reference.name])] if is_application else []


def delete_control_plane_commands(
    context: str, reference: ObjectReference, revision: str, tool: Tool
) -> list[str]:
    """The commands that delete a part of a control plane; istioctl, not kubectl, applied what an
    IstioOperator says.
    """
    if reference.kind != IstioOperator.KIND:
        return delete_commands(context, reference, tool)
    return (
        [] if reference.name == EAST_WEST else teardown.release_delete_commands(context, revision)
    )


def delete_remote_secret_commands(holder: Holder, tool: Tool) -> list[str]:
    """The commands by which a cluster that stays forgets a peer, as far as its tool does not."""
    return (
        [] if TOOLS[tool.name].RECONCILES else [teardown.delete_remote_secret_command(holder, tool)]
    )


def list_needed_paths(render: PlannedRender) -> dict[str, list[str]]:
    """By directory, the files of the existing tree that `list_removals` reads."""
    if not any(change.has_differences for change in render.changes):
        return {}
    paths_by_folder: dict[str, list[str]] = {}
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
                if f.action in ("remove", "update") and _is_stage_object(f.path, STAGES[1:])
            ]
        elif change.action == "remove":
            paths += [f.path for f in change.changes]
        paths_by_folder[change.name] = paths
    return paths_by_folder


def list_removals(new: MeshState, render: PlannedRender, existing_files: RawTree) -> Leaving:
    """What leaves the tree on disk; `existing_files` has the files that are needed of it."""
    if not existing_files:
        return Leaving()
    plan = render.plan
    tool = find_delivery_tool(existing_files, plan.topology.mesh_id)
    uninstall = _uninstall_commands(render, existing_files, tool)
    removed = list(_list_removed_objects(new, render, existing_files))
    if not TOOLS[tool.name].RECONCILES:
        return Leaving(
            tuple(dict.fromkeys((*_removal_commands(render, removed, tool), *uninstall)))
        )
    deletes = any(
        (
            list_removed_secrets(plan, render.changes),
            token_rotation.removed_secrets(plan, render.changes),
            removed,
        )
    )
    applications = [
        g.reference.name for g in _in_stage(removed, 1) if g.reference.kind == "Application"
    ]
    before = (
        (teardown.set_finalizer_command(tool, applications),)
        if applications and TOOLS[tool.name].NEEDS_FINALIZER
        else ()
    )
    return Leaving(uninstall, before, TOOLS[tool.name].TITLE, deletes=deletes)


def _in_stage(gone: Sequence[_RemovedObject], number: int) -> list[_RemovedObject]:
    return [g for g in gone if g.path.partition("/")[0] == STAGES[number]]


def _removal_commands(
    render: PlannedRender, removed: Sequence[_RemovedObject], tool: Tool
) -> Iterator[str]:
    """The commands that delete what leaves the trees of clusters that stay, where no tool does."""
    members = render.plan.members
    for name, peer in list_removed_secrets(render.plan, render.changes):
        yield from delete_remote_secret_commands(_holder(render, name, peer), tool)
    yield from token_rotation.delete_secret_commands(render.plan, render.changes)
    for name, _, thing in _in_stage(removed, 2):
        yield from delete_commands(members[name].cluster.context, thing, tool)
    for name, _, thing in _in_stage(removed, 1):
        revision = "" if thing.name == "default" else thing.name
        context = members[name].cluster.context
        yield from delete_control_plane_commands(context, thing, revision, tool)


def _holder(render: PlannedRender, name: str, peer: str) -> Holder:
    """A cluster of the plan that reads another one, which the topology may no longer have."""
    plan = render.plan
    cluster = plan.members[name].cluster
    if peer in plan.members:
        return teardown.holder_of(cluster, plan.members[peer].cluster, plan.topology)
    secret, controller = teardown.secret_name(peer), store_of(plan.topology).CONTROLLER
    return Holder(cluster.name, cluster.context, cluster.namespace, secret, controller)


def _uninstall_commands(
    render: PlannedRender, existing_files: RawTree, tool: Tool
) -> tuple[str, ...]:
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
        for lock in open_tree(existing_files).locks.values()
        for peer, source in lock.remote.items()
        if source.server in servers
    }
    leaving = read_state({name: existing_files[name] for name in names}).clusters
    installed = [build_installation(leaving[n]) for n in names if n in leaving and n not in stay]
    installed = [cluster for cluster in installed if cluster.context not in contexts]
    return tuple(step.text for step in teardown.list_commands(installed, (), tool, whole=False))


def _list_removed_objects(
    new: MeshState, render: PlannedRender, existing_files: RawTree
) -> Iterator[_RemovedObject]:
    """The objects that leave the control planes and the mesh of clusters that stay, but remote
    secrets and tokens.

    Of a control plane only what a tree of the same kind held: a control plane of another kind may
    hold the rest from now on.
    """
    kinds = render.target.SCHEMAS.keys() | {render.target.KIND}
    for change in render.changes:
        gone: list[tuple[str, bytes]] = []
        for file in change.changes if change.name in render.plan.members else ():
            if file.action in ("remove", "update") and _is_stage_object(file.path, STAGES[1:]):
                # Where a person put there what no manifest can be, the render replaces it.
                body = existing_files[change.name].get(file.path) or b""
                after = b"" if file.action == "remove" else new.tree[change.name][file.path]
                if file.action == "remove" or _identifying_lines(body) != _identifying_lines(
                    after or b""
                ):
                    gone.append((file.path, body))
        stay = set(_list_identities(new.tree[change.name])) if gone else set()
        for path, body in gone:
            for thing in _parse_references(body):
                if thing.identity not in stay and (
                    path.startswith(STAGES[2]) or thing.kind in kinds
                ):
                    yield _RemovedObject(change.name, path, thing)


def _identifying_lines(body: bytes) -> list[bytes]:
    """The lines of a manifest that say which object it is; a quick look, because most files change
    in other lines.
    """
    return _IDENTIFYING_LINES.findall(body)


def _list_identities(files: Files) -> Iterator[tuple[str, ...]]:
    """The objects of a rendered directory."""
    for path in files:
        if _is_stage_object(path, STAGES[1:]):
            yield from (thing.identity for thing in _parse_references(files[path] or b""))


def _is_stage_object(path: str, stages: Sequence[str]) -> bool:
    """Whether a file of the tree holds an object of these stages, but a remote secret."""
    stage = path.partition("/")[0]
    return (
        stage in stages
        and not path.startswith(REMOTE_SECRETS_PREFIX)
        and path.endswith(".yaml")
        and not path.endswith("/kustomization.yaml")
    )


def _parse_references(body: bytes) -> Iterator[ObjectReference]:
    """The object of a manifest; nothing where it is not one, because it may have been edited."""
    try:
        value = read_manifest(body)
        group, _, version = str(value["apiVersion"]).rpartition("/")
        metadata = value["metadata"]
        yield ObjectReference(
            str(value["kind"]),
            group,
            version,
            str(metadata.get("namespace", "")),
            str(metadata["name"]),
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        return
