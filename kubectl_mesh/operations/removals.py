"""What leaves the tree but is in the clusters: the commands that delete it, or the tool that
does.
"""

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kubectl_mesh.credentials import token_rotation
from kubectl_mesh.delivery import TOOLS, find_delivery
from kubectl_mesh.delivery.removal import Tool
from kubectl_mesh.errors import MeshError
from kubectl_mesh.fs.read import read_file
from kubectl_mesh.model import LOCK, REMOTE_SECRETS, STAGES, FolderChange, Tree
from kubectl_mesh.observed import read as read_view
from kubectl_mesh.observed import sources
from kubectl_mesh.observed.removal import installation_at, tool_at
from kubectl_mesh.operations.build import Rendered
from kubectl_mesh.safety import remote_secrets
from kubectl_mesh.stores import store_of
from kubectl_mesh.targets import teardown
from kubectl_mesh.targets.teardown import Leaving
from kubectl_mesh.yaml_io.manifest import read

_HEAD = re.compile(rb"^(?:apiVersion|kind|  name|  namespace): .*", re.MULTILINE)


class _Object(NamedTuple):
    kind: str
    group: str
    version: str
    namespace: str
    name: str


def list_leaving(rendered: Rendered, changes: Sequence[FolderChange], out: str) -> Leaving:
    """What left the tree of `out`; it is asked before anything is written."""
    plan = rendered.plan
    tool = _tool(changes, out, plan.topology.mesh_id)
    gone = _clusters(rendered, changes, out, tool)
    if TOOLS[tool.name].RECONCILES:
        deletes = any(
            (
                remote_secrets.removed_secrets(plan, changes),
                token_rotation.gone(plan, changes),
                *_gone(rendered, changes, out, STAGES[1:]),
            )
        )
        return Leaving(
            gone,
            tuple(_before(rendered, changes, out, tool)),
            TOOLS[tool.name].TITLE,
            deletes=deletes,
        )
    members = plan.members
    held = [
        (members[name].cluster, members[peer].cluster if peer in members else None, peer)
        for name, peer in remote_secrets.removed_secrets(plan, changes)
    ]
    commands = [
        teardown.forget_peer(
            (
                teardown.holder_of(cluster, other, plan.topology)
                if other is not None
                else teardown.Holder(
                    cluster.name,
                    cluster.context,
                    cluster.namespace,
                    teardown.secret_name(peer),
                    store_of(plan.topology).CONTROLLER,
                )
            ),
            tool,
        )
        for cluster, other, peer in held
    ]
    commands += token_rotation.forget(plan, changes)
    for name, thing in _gone(rendered, changes, out, STAGES[2:]):
        commands += teardown.delete_object(members[name].cluster.context, *thing)
    for name, thing in _gone(rendered, changes, out, STAGES[1:2]):
        cluster = members[name].cluster
        if rendered.inputs.target.APPLIED:
            commands += teardown.delete_object(cluster.context, *thing)
        elif thing.kind == "IstioOperator" and thing.name != "eastwest":
            commands += teardown.delete_release(
                cluster.context, "" if thing.name == "default" else thing.name
            )
    return Leaving(tuple(dict.fromkeys((*commands, *gone))))


def _tool(changes: Sequence[FolderChange], out: str, mesh: str) -> Tool:
    """What applied the tree until now."""
    there = [c.name for c in changes if find_delivery(c.name) and c.action != "create"]
    if not there:
        return Tool(mesh=mesh)
    return tool_at(
        sources.some(
            out,
            {
                name: [p.path for c in changes if c.name == name for p in c.changes]
                for name in there
            },
        ),
        mesh,
    )


def _clusters(
    rendered: Rendered, changes: Sequence[FolderChange], out: str, tool: Tool
) -> tuple[str, ...]:
    """The commands that take Istio off the clusters whose directories leave; their peers are not
    among them.
    """
    names = [
        c
        for c in changes
        if c.action == "remove"
        and not c.name.startswith("_")
        and c.name not in rendered.plan.members
    ]
    if not names:
        return ()
    raw = sources.some(out, {c.name: [LOCK, *(f.path for f in c.changes)] for c in names})
    view = read_view(
        {
            **raw,
            **sources.some(
                out, {c.name: [LOCK] for c in changes if c.action != "create" and c not in names}
            ),
        }
    )
    contexts = {member.cluster.context for member in rendered.plan.members.values()}
    servers = {
        member.server.url for member in rendered.plan.members.values() if member.server is not None
    }
    # A cluster that only has another name now runs on: nothing is taken off it.
    stay = {
        peer
        for d in (*view.clusters.values(), *view.shared.values())
        if d.lock
        for peer, source in d.lock.says.remote.items()
        if source.server in servers
    }
    installed = [
        installation_at(view.clusters[name])
        for name in raw
        if name in view.clusters and name not in stay
    ]
    installed = [cluster for cluster in installed if cluster.context not in contexts]
    return tuple(step.text for step in teardown.list_commands(installed, (), tool, whole=False))


def _before(
    rendered: Rendered, changes: Sequence[FolderChange], out: str, tool: Tool
) -> Iterator[str]:
    """The commands for Applications of charts that Argo CD would delete without what their charts
    installed.
    """
    names = [
        thing.name
        for _, thing in _gone(rendered, changes, out, STAGES[1:2])
        if thing.kind == "Application"
    ]
    if names and TOOLS[tool.name].NEEDS_FINALIZER:
        yield teardown.set_finalizer(tool, names)


def _gone(
    rendered: Rendered, changes: Sequence[FolderChange], out: str, stages: Sequence[str]
) -> Iterator[tuple[str, _Object]]:
    """The objects that leave these stages of clusters that stay, but remote secrets and tokens;
    each with its cluster.

    Of a control plane only what a tree of the same kind held: a control plane of another kind may
    hold the rest from now on.
    """
    plan, tree = rendered.plan, rendered.tree
    kinds = rendered.inputs.target.SCHEMAS.keys() | {rendered.inputs.target.KIND}
    for change in changes:
        gone: list[tuple[str, bytes]] = []
        for file in change.changes if change.name in plan.members else ():
            if file.action in ("remove", "update") and _is_listed(file.path, stages):
                body = _read(os.path.join(out, change.name, file.path))
                if file.action == "remove" or _identity(body) != _identity(
                    tree[change.name][file.path].body
                ):
                    gone.append((file.path, body))
        stay = {thing[:2] + thing[3:] for thing in _rendered(tree, change.name)} if gone else set()
        for path, body in gone:
            for thing in _objects(body):
                if thing[:2] + thing[3:] not in stay and (
                    path.startswith(STAGES[2]) or thing.kind in kinds
                ):
                    yield change.name, thing


def _read(path: str) -> bytes:
    """A file of the tree; nothing where a person put there what no manifest can be, which the
    render replaces.
    """
    try:
        return read_file(path, "manifest") or b""
    except MeshError:
        return b""


def _identity(body: bytes) -> list[bytes]:
    """The lines of a manifest that say which object it is; a quick look, because most files change
    in other lines.
    """
    return _HEAD.findall(body)


def _rendered(tree: Tree, name: str) -> Iterator[_Object]:
    for path, file in tree[name].items():
        if _is_listed(path, STAGES[1:]):
            yield from _objects(file.body)


def _is_listed(path: str, stages: Sequence[str]) -> bool:
    """Whether a file of the tree holds an object of these stages, but a remote secret."""
    stage = path.partition("/")[0]
    return (
        stage in stages
        and not path.startswith(REMOTE_SECRETS)
        and path.endswith(".yaml")
        and not path.endswith("/kustomization.yaml")
    )


def _objects(body: bytes) -> Iterator[_Object]:
    """The object of a manifest; nothing where it is not one, because it may have been edited."""
    try:
        value = read(body)
        group, _, version = str(value["apiVersion"]).rpartition("/")
        metadata = value["metadata"]
        yield _Object(
            str(value["kind"]),
            group,
            version,
            str(metadata.get("namespace", "")),
            str(metadata["name"]),
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        return
