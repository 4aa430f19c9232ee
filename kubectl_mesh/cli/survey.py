"""What `check` and `graph` look at: a working directory, its certificates and its tree, with every check's findings."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from kubectl_mesh import checks, report
from kubectl_mesh.cli import bounds, compose, workdir
from kubectl_mesh.compare import compare, strangers
from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.model import FolderChange, Topology

_LATER = frozenset(("servers", "credentials", "gateways", "certificates", "tree", "git"))
"""What cannot be asked of a topology that is not valid."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found, as far as it could be looked at."""

    topology: Topology | None
    inputs: workdir.Inputs | None
    rendered: compose.Rendered | None
    changes: tuple[FolderChange, ...] | None
    """What a render would change; None where the tree could not be compared."""
    results: tuple[checks.Result, ...]


def survey(
    directory: str, out: str | None, kubeconfig: str | None, clock: Callable[[workdir.Inputs], datetime], fail_within: timedelta | None = None
) -> Survey:
    """Asks every check, on the day that `clock` gives; it is asked once the inputs are read."""
    folder = out if out is not None else workdir.join(directory, "out")
    errors: list[Problem] = []
    warnings: list[Problem] = []
    skipped: frozenset[str] = frozenset()
    bounds.check_folders(directory, out)
    if not os.path.lexists(workdir.join(directory, workdir.TOPOLOGY)):
        workdir.read_topology(directory)  # says what is missing: there is nothing to answer
    topology: Topology | None = None
    inputs: workdir.Inputs | None = None
    rendered: compose.Rendered | None = None
    changes: tuple[FolderChange, ...] | None = None
    try:
        topology = workdir.read_topology(directory)
        inputs = workdir.gather(directory, kubeconfig, errors, topology)
        errors += bounds.in_clear(inputs, folder) + bounds.let_through(inputs)
        if any(e.id != "git-ignored" for e in errors):
            skipped = frozenset(("tree",))
        at = clock(inputs)
        rendered = compose.make(inputs, at, folder, throwaway=True)
        if fail_within is not None:
            errors += workdir.located(directory, checks.expiry_findings(rendered.pki, at, fail_within))
        tokens = checks.token_findings(rendered.plan, at, fail_within)
        errors += workdir.located(directory, tokens[0], (p.where.file for p in tokens[0]))
        warnings += workdir.located(directory, tokens[1], (p.where.file for p in tokens[1]))
        warnings += (*rendered.warnings, *checks.pending_findings(rendered.plan, inputs.broken))
        if not skipped:
            changes = compare(folder, rendered.tree, inputs.topology.mesh_id)
            cut = report.withdrawn(rendered.plan, changes, folder)
            found = checks.tree_findings(changes, bool(rendered.pki.new), folder, strangers(folder, rendered.tree, changes))
            errors += cut or found[0]
            warnings += (*found[1], *report.reconnected(rendered.plan, changes))
    except MeshError as error:
        errors += error.problems
        skipped = _LATER if not any(p.id for p in errors) else frozenset(("tree",))
    if inputs is not None and not inputs.kept:
        skipped |= {"certificates"}  # those of the render in mind are throw-away
    if inputs is not None and not inputs.logins:
        skipped |= {"token-unique", "token-readable"}
    told = {e.where.file for e in errors if e.id == "certs-expiring"}
    warned = [w for w in dict.fromkeys(warnings) if w.id != "certs-expiring" or w.where.file not in told]
    return Survey(topology, inputs, rendered, changes, checks.results(dict.fromkeys(errors), warned, skipped))
