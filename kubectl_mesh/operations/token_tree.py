"""The tree as far as the rotation of a token concerns it: what a render would create, on disk and
in the last commit.
"""

import os
from collections.abc import Sequence

from kubectl_mesh.credentials import token_rotation
from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.fs.read import read_file
from kubectl_mesh.model import BUNDLE_FOLDER, MESH_LOCK, REMOTE_SECRETS_PREFIX, Cluster
from kubectl_mesh.operations import build
from kubectl_mesh.operations.build import RenderedMesh
from kubectl_mesh.operations.checked_inputs import CheckedInputs
from kubectl_mesh.text import count_text
from kubectl_mesh.tree.compare import compare_tree
from kubectl_mesh.workdir.git_ignore import read_committed_files


def build_tree(inputs: CheckedInputs, out: str) -> RenderedMesh:
    """What a render would create now, with throw-away certificates where one is missing."""
    return build.build_mesh(inputs, inputs.machine.now, out, throwaway=True)


def list_differing_folders(rendered: RenderedMesh, out: str) -> list[str]:
    """The folders that are not as a render would create them now."""
    changes = compare_tree(out, rendered.tree, rendered.plan.topology.mesh_id)
    return [c.name for c in changes if c.has_differences]


def select_concerned_folders(
    rendered: RenderedMesh, cluster: Cluster, names: Sequence[str]
) -> list[str]:
    """Those of some folders that the rotation of a cluster's token concerns."""
    if not names:
        return []
    plan = rendered.plan
    own = {
        cluster.name,
        *token_rotation.remote_secret_holders(plan, cluster.name),
        *([BUNDLE_FOLDER] if plan.topology.has_remote_secret_bundle else []),
    }
    return [name for name in names if name in own]


def list_stale_folders(rendered: RenderedMesh, out: str, cluster: Cluster) -> list[str]:
    """The paths of the folders that the rotation concerns, and that are not as a render would
    create them now.
    """
    names = select_concerned_folders(rendered, cluster, list_differing_folders(rendered, out))
    return [f"{out}/{name}" for name in names]


def uncommitted_problems(rendered: RenderedMesh, out: str, cluster: Cluster) -> list[Problem]:
    """Problems if the last commit does not have the step of a cluster's token; none if it has no
    such tree.

    Delivery tools apply what is committed, so the tree on disk says nothing about the clusters.
    """
    paths = _token_paths(rendered, cluster.name)
    locks = {path.partition("/")[0]: f"{path.partition('/')[0]}/{MESH_LOCK}" for path in paths}
    environment = rendered.inputs.machine.environment
    there = (
        read_committed_files(out, [*locks.values(), *paths], environment)
        if os.path.isdir(out)
        else {}
    )
    behind = [
        p
        for p in paths
        if locks[p.partition("/")[0]] in there
        and there.get(p) != read_file(os.path.join(out, p), "manifest")
    ]
    if not behind:
        return []
    more = f", nor are {count_text(len(behind) - 1, 'more file')}" if len(behind) > 1 else ""
    return [
        Problem(
            Place(f"HEAD:{out}/{behind[0]}"),
            f"is not what {out}/{behind[0]} holds{more}: the step before is not committed",
            "commit what was rendered, and have it applied everywhere",
            code="step-not-committed",
        )
    ]


def _token_paths(rendered: RenderedMesh, name: str) -> list[str]:
    """The files of the tree that hold a cluster's token, or what peers log in with."""
    plan = rendered.plan
    own = [f"{name}/{path}" for path in rendered.tree[name] if token_rotation.is_token_path(path)]
    if plan.topology.has_remote_secret_bundle:
        return [*own, f"{BUNDLE_FOLDER}/{name}.yaml"]
    holders = token_rotation.remote_secret_holders(plan, name)
    return own + [f"{holder}/{REMOTE_SECRETS_PREFIX}{name}.yaml" for holder in holders]
