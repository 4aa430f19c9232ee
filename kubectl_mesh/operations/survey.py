"""The operation of `check`: a working directory and its tree are read as far as they can be, and
every check looks at what was read. `explain` and `graph` ask here too.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from kubectl_mesh.checks import table
from kubectl_mesh.checks.context import (
    ERROR,
    WARNING,
    CheckContext,
    Comparison,
    DateLimits,
    Finding,
    InputFacts,
    Needs,
    TreeContext,
    files_of,
)
from kubectl_mesh.checks.result import Result, run_checks
from kubectl_mesh.credentials.tokens import TOKEN_CHECKS
from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model import FolderChange, Topology
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations import build, private_files
from kubectl_mesh.operations.change_review import review_render
from kubectl_mesh.operations.checked_inputs import CheckedInputs, check_directory
from kubectl_mesh.operations.server_cas import find_ca_file, list_server_cas
from kubectl_mesh.operations.tree_context import TreeReading, is_different
from kubectl_mesh.targets.releases import is_hub_unknown
from kubectl_mesh.tree.compare import compare_tree, find_foreign_entries
from kubectl_mesh.workdir.places import TOPOLOGY_FILE
from kubectl_mesh.workdir.topology_file import read_topology
from kubectl_mesh.x509.layout import SEAL_KEY

_JUDGED_BY_CHECKS = (*TOKEN_CHECKS, "server-ca-expired", "server-ca-expiring")
"""What a render warns of too. The checks judge it by the limits of this run."""
_NO_LIMITS = DateLimits()


@dataclass(frozen=True, slots=True)
class Survey:
    """What was read, and what every check found."""

    topology: Topology | None
    inputs: CheckedInputs | None
    rendered: build.RenderedMesh | None
    changes: tuple[FolderChange, ...] | None
    """What a render would change; None where the tree could not be compared."""
    results: tuple[Result, ...]


def survey_mesh(
    directory: str,
    out: str | None,
    kubeconfig: str | None,
    machine: Machine,
    clock: Callable[[CheckedInputs], datetime],
    limits: DateLimits = _NO_LIMITS,
) -> Survey:
    """The result of every check, on the day that `clock` returns once the inputs are read.

    A directory without a topology is refused.
    """
    private_files.check_folders(directory, out)
    if not os.path.lexists(join_path(directory, TOPOLOGY_FILE)):
        read_topology(directory)  # says what is missing
    folder = out if out is not None else join_path(directory, "out")
    seen = _Reading(directory, folder, limits, machine.now)
    try:
        seen.read_inputs(kubeconfig, machine, clock)
        seen.compare_tree()
    except MeshError as error:
        seen.stop_at(error)
    results = run_checks(table.CHECKS, seen.check_context())
    return Survey(seen.topology, seen.inputs, seen.rendered, seen.changes, results)


@dataclass
class _Reading:
    """What was read so far, and what the stages found."""

    directory: str
    out: str
    limits: DateLimits
    now: datetime
    topology: Topology | None = None
    inputs: CheckedInputs | None = None
    rendered: build.RenderedMesh | None = None
    changes: tuple[FolderChange, ...] | None = None
    tree: TreeContext | None = None
    comparison: Comparison | None = None
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    missing: Needs = Needs.NOTHING

    def read_inputs(
        self,
        kubeconfig: str | None,
        machine: Machine,
        clock: Callable[[CheckedInputs], datetime],
    ) -> None:
        """Reads the working directory, and renders it in memory."""
        self.topology = read_topology(self.directory)
        self.inputs = inputs = check_directory(
            self.directory, kubeconfig, machine, self.topology, self.out
        )
        self.errors += inputs.problems
        self.now = clock(inputs)
        self.errors += private_files.clear_tree_problems(
            inputs, self.out
        ) + private_files.unignored_problems(inputs)
        if any(e.id != "git-ignored" for e in self.errors):
            self.missing |= Needs.COMPARISON
        self.rendered = build.build_mesh(inputs, self.now, self.out, throwaway=True)
        self.warnings += (w for w in self.rendered.warnings if w.id not in _JUDGED_BY_CHECKS)

    def compare_tree(self) -> None:
        """Compares the tree with the render; with problems in the inputs, reads the tree alone."""
        assert self.topology is not None
        assert self.rendered is not None
        reading = self._tree_reading(self.topology)
        if Needs.COMPARISON in self.missing:
            self.tree = reading.read_alone()
            return
        rendered, out = self.rendered, self.out
        self.changes = changes = _compare_tree(out, rendered)
        review = review_render(rendered, changes, out, self.now)
        refused = review.list_problems()
        self.warnings += (*review.unknown_problems, *review.warnings)
        if any(is_different(c) for c in changes):
            self.tree = reading.read_compared(rendered, changes)
        self.comparison = Comparison(
            out,
            changes,
            find_foreign_entries(out, rendered.tree, changes),
            tuple(refused),
            bool(rendered.pki.new_files),
        )
        self.errors += refused

    def stop_at(self, error: MeshError) -> None:
        """Takes the problems that end the reading. If they are those of a check, the tree is read
        alone.
        """
        self.errors += error.problems
        self.tree = self.comparison = None
        if self.topology is None:
            self.missing = ~Needs.NOTHING
        elif any(p.id for p in self.errors):
            self.missing |= Needs.COMPARISON
            self.tree = self._tree_reading(self.topology).read_alone()
        else:
            self.missing |= Needs.INPUTS | Needs.RENDER | Needs.COMPARISON

    def check_context(self) -> CheckContext:
        """What the checks look at."""
        inputs = self.inputs
        if inputs is not None:
            self.errors += private_files.tracked_secret_problems(inputs, self.out)
            self.warnings += inputs.warnings
        return CheckContext(
            self.directory,
            self.now,
            self.limits,
            self.topology,
            _input_facts(inputs, self.rendered) if inputs is not None else None,
            self.tree,
            self.comparison,
            (*_findings(ERROR, self.errors), *_findings(WARNING, self.warnings)),
            self.missing | self._missing_parts(),
        )

    def _tree_reading(self, topology: Topology) -> TreeReading:
        within, explained = self.limits.fail_within, files_of(self.errors)
        return TreeReading(self.out, topology, self.now, within, explained)

    def _missing_parts(self) -> Needs:
        """What the inputs do not have, or what was not asked for."""
        parts = [(Needs.RENDER, self.rendered is None)]
        parts.append((Needs.TOKEN_AGE, self.limits.token_age is None))
        if self.rendered is not None:
            members = self.rendered.plan.members.values()
            parts.append((Needs.PLANNED_LOGINS, not any(m.logins for m in members)))
        if self.changes:
            parts.append((Needs.CONTENT, all(c.action == "create" for c in self.changes)))
        missing = _missing_inputs(self.inputs) if self.inputs is not None else Needs.NOTHING
        for need, is_missing in parts:
            missing |= need if is_missing else Needs.NOTHING
        return missing


def _missing_inputs(inputs: CheckedInputs) -> Needs:
    missing = Needs.NOTHING
    for need, is_missing in (
        (Needs.CERTS, not inputs.certs_files),  # those of the render in memory are thrown away
        (Needs.LOGINS, not inputs.logins),
        (Needs.BASE, not inputs.base and inputs.has_known_fields),
        (Needs.BASE_SHAPE, not inputs.has_known_fields),
        (Needs.CONTROL_PLANE, not inputs.has_known_kind),
        (Needs.EVERY_SERVER, any(c.name not in inputs.servers for c in inputs.topology.clusters)),
        (Needs.SERVERS, not inputs.servers),
    ):
        missing |= need if is_missing else Needs.NOTHING
    return missing


def _input_facts(inputs: CheckedInputs, rendered: build.RenderedMesh | None) -> InputFacts:
    topology, target = inputs.topology, inputs.target
    ca_files = {
        c.name: find_ca_file(inputs.directory, c)
        for c in topology.clusters
        if c.name in inputs.servers
    }
    return InputFacts(
        topology,
        inputs.servers,
        list_server_cas(inputs.directory, topology, inputs.servers),
        {name: file for name, file in ca_files.items() if file is not None},
        inputs.broken_inputs,
        has_seal_key=SEAL_KEY in inputs.certs_files,
        can_detect_platform=bool(inputs.base) and target.can_detect_platform(inputs.base),
        is_hub_unknown=is_hub_unknown(topology, target),
        plan=rendered.plan if rendered is not None else None,
        pki=rendered.pki if rendered is not None else None,
    )


def _compare_tree(out: str, rendered: build.RenderedMesh) -> tuple[FolderChange, ...]:
    try:
        return compare_tree(out, rendered.tree, rendered.plan.topology.mesh_id)
    except MeshError as error:
        raise MeshError(replace(p, id=p.id or "tree-current") for p in error.problems) from None


def _findings(severity: str, problems: Iterable[Problem]) -> list[Finding]:
    return [Finding(severity, problem) for problem in problems]
