"""Finds the causes of an error text in a mesh."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from kubectl_mesh import explain
from kubectl_mesh.checks.context import OF_BASE
from kubectl_mesh.checks.result import Result
from kubectl_mesh.errors import Problem
from kubectl_mesh.explain import JudgedCause, KnownMessage
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations.paths import Paths
from kubectl_mesh.operations.survey import Survey, survey_mesh
from kubectl_mesh.workdir.places import TOPOLOGY_FILE
from kubectl_mesh.workdir.topology_file import read_topology


@dataclass(frozen=True, slots=True)
class Explanation:
    """The messages that are known in a text, each with its causes, and the clusters it names."""

    messages: tuple[tuple[KnownMessage, tuple[JudgedCause, ...]], ...] = ()
    clusters: tuple[str, ...] = ()
    input_problems: tuple[Problem, ...] = ()
    """Why inputs cannot be used, so that what rests on them is not known."""


@dataclass(frozen=True, slots=True)
class _Mesh:
    """What a working directory states about its mesh; empty without one."""

    results: Mapping[str, Result] | None = None
    """The results of all checks, by id."""
    versions: frozenset[str] = frozenset()
    """The releases of all control planes; none if any of them is not stated."""
    clusters: tuple[str, ...] = ()
    input_problems: tuple[Problem, ...] = ()


def explain_text(text: str, paths: Paths, machine: Machine) -> Explanation:
    """The messages that are known in a text, and what each comes from in the mesh of a working
    directory, if there is one.
    """
    mesh = _survey_mesh(paths, machine)
    messages = tuple(
        (known, explain.judge_causes(known, mesh.results, mesh.versions))
        for known in explain.find_messages(text)
    )
    return Explanation(
        messages, explain.find_named_clusters(text, mesh.clusters), mesh.input_problems
    )


def _survey_mesh(paths: Paths, machine: Machine) -> _Mesh:
    if not os.path.lexists(join_path(paths.directory, TOPOLOGY_FILE)):
        if paths.directory != ".":
            read_topology(paths.directory)  # says what is missing
        return _Mesh()
    seen = survey_mesh(paths.directory, paths.out, paths.kubeconfig, machine, lambda _: machine.now)
    clusters = seen.inputs.topology.clusters if seen.inputs is not None else ()
    names = tuple(c.name for c in clusters)
    results = {r.check.id: r for r in seen.results}
    if not results["base-valid"].findings:
        unread = results["topology-valid"].findings if seen.topology is None else ()
        return _Mesh(results, _stated_versions(seen), names, unread)
    unread = results["topology-valid" if seen.topology is None else "base-valid"].findings
    # What rests on a base.yaml that `render` refuses is known of no mesh.
    results |= {
        i: replace(result, status="skipped", findings=())
        for i, result in results.items()
        if result.check.needs & OF_BASE
    }
    return _Mesh(results, frozenset(), names, unread)


def _stated_versions(seen: Survey) -> frozenset[str]:
    """The releases of all control planes. One of an unknown version rules nothing out."""
    clusters = seen.inputs.topology.clusters if seen.inputs is not None else ()
    stated = {release.version for c in clusters if c.primary is None for release in c.releases}
    return frozenset(v for v in stated if v is not None) if None not in stated else frozenset()
