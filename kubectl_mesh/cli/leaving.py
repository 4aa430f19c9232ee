"""Objects that leave the tree of a cluster that stays: `kubectl apply` deletes nothing, so they stay in the cluster."""

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kubectl_mesh.cli.workdir import read_file
from kubectl_mesh.manifest import read
from kubectl_mesh.model import REMOTE_SECRETS, STAGES, FolderChange, Plan, Tree
from kubectl_mesh.plan import kubectl


class _Object(NamedTuple):
    kind: str
    group: str
    version: str
    namespace: str
    name: str


def leaving(plan: Plan, tree: Tree, changes: Sequence[FolderChange], out: str) -> list[str]:
    """The commands that delete such objects of stage 3, but remote secrets; it is asked before anything is written.

    What the other stages held, another may hold from then on: cert-manager the `cacerts`, another kind of control plane its parts.
    """
    found = []
    for change in changes:
        gone = [f.path for f in change.changes if f.action == "remove" and _own(f.path)] if change.name in plan.members else []
        if not gone:
            continue
        stay = {thing[:2] + thing[3:] for path, file in tree[change.name].items() if _own(path) for thing in _objects(file.body)}
        cluster = plan.members[change.name].cluster
        for path in gone:
            for thing in _objects(read_file(os.path.join(out, change.name, path), "manifest") or b""):
                if thing[:2] + thing[3:] not in stay:
                    kind = f"{thing.kind.lower()}.{thing.version}.{thing.group}" if thing.group else thing.kind.lower()
                    where = ("-n", thing.namespace) if thing.namespace else ()
                    found.append(kubectl(cluster, *where, "delete", kind, thing.name, "--ignore-not-found"))
    return found


def _own(path: str) -> bool:
    return path.startswith(f"{STAGES[2]}/") and not path.startswith(REMOTE_SECRETS) and path.endswith(".yaml") and not path.endswith("/kustomization.yaml")


def _objects(body: bytes) -> Iterator[_Object]:
    """The object of a manifest; nothing where it is none, for it may have been edited."""
    try:
        value = read(body)
        group, _, version = str(value["apiVersion"]).rpartition("/")
        metadata = value["metadata"]
        yield _Object(str(value["kind"]), group, version, str(metadata.get("namespace", "")), str(metadata["name"]))
    except (ValueError, LookupError, TypeError, AttributeError):
        return
