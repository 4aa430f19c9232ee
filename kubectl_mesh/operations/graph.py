"""Draws the mesh: clusters, who reads whom, and what the checks found."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kubectl_mesh.checks.result import Result
from kubectl_mesh.errors import MeshError
from kubectl_mesh.graph import DATE_CHECKS, Picture, PictureInputs, build_picture
from kubectl_mesh.model import Pki, Plan
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations import partial_inputs
from kubectl_mesh.operations.checked_inputs import CheckedInputs
from kubectl_mesh.operations.paths import Paths
from kubectl_mesh.operations.survey import Survey, survey_mesh
from kubectl_mesh.topology.selection import select_clusters


@dataclass(frozen=True, slots=True)
class GraphResult:
    """The picture of a mesh, and the results of the checks that are shown next to it."""

    picture: Picture
    results: tuple[Result, ...]
    day: datetime | None
    """The day on which dates are judged; None: they are shown and not judged."""


def draw_mesh(
    paths: Paths, clusters: Sequence[str], day: datetime | None, machine: Machine
) -> GraphResult:
    """The picture of `clusters` and those that they are tied to, or of the whole mesh.

    Without a day, the same mesh gives the same picture on every day. Raises a `MeshError` where the
    inputs cannot be read.
    """
    found = survey_mesh(
        paths.directory,
        paths.out,
        paths.kubeconfig,
        machine,
        lambda inputs: day or partial_inputs.find_steady_day(inputs),
    )
    if found.topology is None or found.inputs is None:
        raise MeshError(problem for result in found.results for problem in result.findings)
    only = select_clusters(found.topology, clusters) if clusters else None
    plan, pki = _find_plan(found, found.inputs)
    findings = [
        (r.status if r.status == "error" else "warning", p)
        for r in found.results
        for p in r.findings
        if day is not None or r.check.id not in DATE_CHECKS
    ]
    kind = found.inputs.target.KIND
    seen = PictureInputs(plan, pki, found.changes, findings, kind, only, day)
    return GraphResult(build_picture(seen), found.results, day)


def _find_plan(found: Survey, inputs: CheckedInputs) -> tuple[Plan, Pki]:
    """The plan and the certificates, as far as they can be known."""
    if found.rendered is not None:
        return found.rendered.plan, found.rendered.pki
    files = [
        p.where.file for r in found.results for p in r.findings if r.check.id not in DATE_CHECKS
    ]
    return partial_inputs.plan_without_render(inputs, files)
