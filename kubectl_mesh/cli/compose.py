"""The stages composed: from the inputs of a working directory to certificates and tree."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from kubectl_mesh import assets
from kubectl_mesh.cli.workdir import Inputs, intermediates, join, keep, located, now
from kubectl_mesh.compare import open_folder
from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.model import Pki, Plan, Tree


@dataclass(frozen=True, slots=True)
class Rendered:
    """The mesh as it would be written."""

    inputs: Inputs
    plan: Plan
    pki: Pki
    tree: Tree
    warnings: tuple[Problem, ...]


def make(inputs: Inputs, at: datetime, *, throwaway: bool = False, progress: Callable[[int, int], None] = lambda done, of: None) -> Rendered:
    """From the inputs to the tree. `throwaway` makes missing certificates with the quickest keys, for verbs that write nothing."""
    from kubectl_mesh.manifest import Manifests
    from kubectl_mesh.plan import plan as make_plan
    from kubectl_mesh.render import render

    topology, target = inputs.topology, inputs.target
    plan = make_plan(topology, inputs.servers, inputs.logins, target.traits(topology), inputs.directory)
    pki = certificates(inputs, at, throwaway=throwaway, progress=progress)
    tree = render(plan, inputs.base, pki, target, Manifests(lambda name: assets.text(f"templates/{name}")), inputs.only)
    warnings = {*plan.warnings, *pki.warnings, *inputs.loose}
    made = {w for w in target.warnings(topology, pki) if not (throwaway and w.id == "certs-key-type" and pki.new)}
    lost = target.lost_settings(plan, inputs.base) if inputs.base else ()
    return Rendered(inputs, plan, pki, tree, tuple(sorted({*warnings, *made, *lost})))


def certificates(inputs: Inputs, at: datetime, *, throwaway: bool = False, progress: Callable[[int, int], None] = lambda done, of: None) -> Pki:
    """The certificates of the mesh, checked, and made where they are missing."""
    from kubectl_mesh.pki import Wanted, issue

    topology = inputs.topology
    wanted = Wanted(
        topology.organization,
        "ec-p256" if throwaway else topology.key_type or inputs.target.KEY_TYPE,
        topology.root_days,
        topology.intermediate_days,
        {c.name: c.namespace for c in topology.clusters if c.primary is None and (inputs.only is None or c.name in inputs.only)},
    )
    try:
        pki = issue(wanted, inputs.kept, at, progress, inputs.folders)
    except MeshError as error:
        raise MeshError(located(inputs.directory, error.problems)) from None
    return replace(pki, warnings=located(inputs.directory, pki.warnings))


def root(directory: str, organization: str, key_type: str, days: int) -> Pki:
    """The mesh's root, checked if it is there, else made; for `init`, which knows no clusters yet."""
    from kubectl_mesh.pki import ROOT_CERT, ROOT_KEY, Wanted, issue

    kept: dict[str, bytes] = {}
    folders: tuple[str, ...] = ()
    path = join(directory, "certs")
    top = open_folder(path)
    if top is not None:
        try:
            for name in (ROOT_CERT, ROOT_KEY):
                keep(kept, name, top, f"{path}/{name}", name, [])
            folders = intermediates(top)
        finally:
            os.close(top)
    try:
        return issue(Wanted(organization, key_type, days, 730, {}), kept, now(), folders=folders)
    except MeshError as error:
        raise MeshError(located(directory, error.problems)) from None


def narrowed(inputs: Inputs, only: frozenset[str]) -> Inputs:
    """The inputs for a render of some clusters: only their intermediates count and are made."""
    others = {f"intermediate-{c.name}/" for c in inputs.topology.clusters if c.name not in only}
    kept = {path: body for path, body in inputs.kept.items() if path[: path.find("/") + 1] not in others}
    return replace(inputs, kept=kept, only=only)
