"""base.yaml compared with the tree: a missing one does not mean Istio 1.4 in every cluster.

The review of a change (`safety.review`) cannot refuse this. It compares the tree with a render, and
without base.yaml the inputs are judged, planned and rendered for Istio 1.4: their problems, and the
refusals of the review, would concern another control plane than the one that runs. So `lost` is
asked before the inputs are judged, and is reported alone. Its fix names the way out as a refusal
of the review does.
"""

import os

from kubectl_mesh import targets
from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.read import read_file
from kubectl_mesh.model import MESH_LOCK, Topology
from kubectl_mesh.safety.refusal import way_out_text
from kubectl_mesh.text import mesh_command
from kubectl_mesh.tree.lock_file import parse_lock
from kubectl_mesh.workdir.places import BASE_FILE


def find_assumption_text(directory: str, topology: Topology, out: str) -> str:
    """What to say first where base.yaml is missing, and Istio 1.4 is assumed as on the original
    page; nothing where it is not.
    """
    return "" if lost_base_problems(directory, topology, out) else assumption_text(directory)


def assumption_text(directory: str) -> str:
    """As `assumption`, where the inputs were accepted, so that base.yaml is not lost."""
    if os.path.lexists(join_path(directory, BASE_FILE)):
        return ""
    return (
        "Attention: Istio 1.4 is assumed, because base.yaml is missing. For today's Istio, run"
        f" `{mesh_command('init --control-plane Istio')}`."
    )


def lost_base_problems(
    directory: str, topology: Topology, out: str, unapplied: frozenset[str] = frozenset()
) -> list[Problem]:
    """That base.yaml is missing, by the tree in `out`: a missing file does not ask for Istio 1.4 in
    every cluster.
    """
    if os.path.lexists(join_path(directory, BASE_FILE)):
        return []
    names = [c.name for c in topology.clusters if c.name not in unapplied]
    kinds = {
        name: kind for name in names if (kind := _read_kind(out, name)) not in (None, targets.OLD)
    }
    if not kinds:
        return []
    what = (
        f"is missing, and {out} was rendered with one of kind {next(iter(kinds.values()))}; without"
        " it every control plane would be Istio 1.4"
    )
    fix = (
        f"put it back (git checkout -- {BASE_FILE}); for Istio 1.4 write one of kind {targets.OLD}"
        f"{way_out_text(list(kinds))}"
    )
    return [
        Problem(
            Place(join_path(directory, BASE_FILE)), what, fix, "base-valid", code="base-missing"
        )
    ]


def find_rendered_kind(topology: Topology, out: str) -> str | None:
    """The kind of control plane that a tree was rendered with, which all of its directories share;
    None if there is no tree.
    """
    return next(
        (
            kind
            for cluster in topology.clusters
            if (kind := _read_kind(out, cluster.name)) in targets.KINDS
        ),
        None,
    )


def _read_kind(out: str, name: str) -> str | None:
    """The control plane kind in a directory's lock; None if it is missing or unreadable."""
    try:
        lock = parse_lock(read_file(os.path.join(out, name, MESH_LOCK), "lock"))
    except MeshError:
        return None
    return lock.control_plane or None if lock is not None else None
