"""The files of a working directory for a mesh that runs, built before any is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from kubectl_mesh import targets
from kubectl_mesh.adopt import base_documents, clusters, files
from kubectl_mesh.adopt.evidence import Notes
from kubectl_mesh.adopt.running_mesh import Overrides, RunningMesh
from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model import Document, Topology
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.observed.dumped_objects import DumpedObject
from kubectl_mesh.operations.adopted_certificates import adopt_certificates
from kubectl_mesh.targets.control_plane import check_base
from kubectl_mesh.text import marked_text, path_text
from kubectl_mesh.topology.names import derive_cluster_name
from kubectl_mesh.workdir.base_file import parse_base
from kubectl_mesh.workdir.places import BASE_FILE, TOPOLOGY_FILE
from kubectl_mesh.workdir.topology_file import parse_topology
from kubectl_mesh.yaml_io.read import load_document
from kubectl_mesh.yaml_io.write import dump_yaml

_TRIES = 50


@dataclass(frozen=True, slots=True)
class AdoptedFiles:
    """The files of a working directory, as paths in it, with their bytes."""

    public: Mapping[str, bytes] = field(default_factory=dict)
    private: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """The logins, and everything below `certs/`."""


@lru_cache(maxsize=4096)
def read_kubeconfig_text(body: bytes) -> Document:
    """A kubeconfig, every scalar a text; the remote secret for a cluster is the same in all that
    hold it, and is read once.
    """
    return load_document("kubeconfig", body, typed=False)


def _parse_text(body: bytes) -> Document:
    """Parses another text in an object."""
    return load_document("text", body)


def build_files(
    found: Sequence[DumpedObject],
    given: Overrides,
    control_plane: str | None,
    directory: str,
    machine: Machine,
    notes: Notes,
) -> tuple[RunningMesh, AdoptedFiles]:
    """The mesh that the objects of dumps show, and the files for it.

    `given` and `control_plane`, the kind of base.yaml, are what the command line states. What does
    not fit goes to the notes; if there is any problem, there are no files.
    """
    mesh = clusters.assemble_mesh(
        found, read_kubeconfig_text, _parse_text, derive_cluster_name, given, notes
    )
    kind = files.choose_base_kind(mesh, control_plane, notes)
    certificates = adopt_certificates(mesh, directory, machine.now, notes)
    value, named = files.build_topology(
        mesh, kind, certificates.stated, certificates.organization, derive_cluster_name, notes
    )
    if notes.problems:
        return mesh, AdoptedFiles()
    text = files.TOPOLOGY_HEADER + dump_yaml(value)
    try:
        topology = parse_topology(join_path(directory, TOPOLOGY_FILE), text.encode())
    except MeshError as error:
        notes.problems += [_explain_problem(p, mesh) for p in error.problems]
        return mesh, AdoptedFiles()
    base = _build_base(mesh, kind, topology, directory, notes)
    if notes.problems:
        return mesh, AdoptedFiles()
    logins = {n: b for n, b in named.items() if n.startswith("credentials/")}
    others = {n: b for n, b in named.items() if n not in logins}
    return mesh, AdoptedFiles(
        {TOPOLOGY_FILE: text.encode(), BASE_FILE: base.encode(), **others},
        {**logins, **certificates.files},
    )


def _explain_problem(problem: Problem, mesh: RunningMesh) -> Problem:
    """A problem of a topology that is not written yet, with the dump that it comes from."""
    path = problem.where.path
    for cluster in mesh.clusters:
        if path.startswith(path_text(("contexts", cluster.context))):
            return replace(
                problem,
                where=cluster.objects[0].place,
                what=f"makes {path}, which {marked_text(problem.what)}",
            )
    if path == "mesh_id":
        said = [e.place for c in mesh.clusters for e in c.evidence.get("mesh_id", ())]
        return replace(
            problem,
            where=said[0] if said else Place("--mesh-id"),
            what=f"names the mesh: {marked_text(problem.what)}",
            fix="--mesh-id NAME gives it another",
        )
    return replace(problem, where=Place("the topology that they make", path=path))


def _build_base(
    mesh: RunningMesh, kind: str, topology: Topology, directory: str, notes: Notes
) -> str:
    """base.yaml; what its schema refuses is left out, and noted."""
    versions = {c.version for c in mesh.clusters}
    parts = base_documents.build_base_documents(
        mesh, kind, next(iter(versions)) if len(versions) == 1 else None
    )
    if not parts:
        return targets.KINDS[kind].STARTER
    path = join_path(directory, BASE_FILE)
    mains = [c.istiod_install for c in mesh.clusters if c.istiod_install is not None]
    for _ in range(_TRIES):
        text = base_documents.base_text(parts)
        found = check_base(parse_base(path, text.encode()), topology)
        if not found.problems:
            return text
        dropped = [
            _drop_field(parts, p, found.base, mains[0].resource, notes) for p in found.problems
        ]
        if not any(dropped):
            break
    notes.problems += found.problems
    return ""


def _drop_field(
    parts: dict[str, dict[str, Any]],
    problem: Problem,
    base: Mapping[str, Document],
    source: DumpedObject,
    notes: Notes,
) -> bool:
    """Takes what a problem of base.yaml is about out of its documents."""
    for name, document in zip(parts, base.values(), strict=False):
        for path, (line, column) in document.positions.items():
            if (
                path
                and (line, column) == (problem.where.line, problem.where.column)
                and path_text(path) == problem.where.path
            ):
                parts[name] = _remove_path(parts[name], path)
                notes.dropped_settings[problem.where.path] = problem.what
                notes.add_unused(source, problem.what, f"{source}, {problem.where.path}")
                return True
    return False


def _remove_path(value: Any, path: tuple[str | int, ...]) -> Any:
    """The value without the field at a path, and without mappings that become empty."""
    if isinstance(value, dict):
        inner = _remove_path(value[path[0]], path[1:]) if len(path) > 1 else None
        kept = inner is not None and inner != {}
        return {k: inner if k == path[0] else v for k, v in value.items() if k != path[0] or kept}
    if isinstance(value, list) and isinstance(path[0], int):
        inner = _remove_path(value[path[0]], path[1:]) if len(path) > 1 else None
        return [
            inner if i == path[0] else v
            for i, v in enumerate(value)
            if i != path[0] or inner is not None
        ]
    return value
