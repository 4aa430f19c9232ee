"""base.yaml judged: the control plane that it states, and what is wrong with it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kubectl_mesh import targets
from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.istio import versions
from kubectl_mesh.model import Document, Topology
from kubectl_mesh.targets.target import Target
from kubectl_mesh.text import path_text
from kubectl_mesh.workdir.base_file import BaseFile
from kubectl_mesh.workdir.files import with_check_id
from kubectl_mesh.yaml_io import assets
from kubectl_mesh.yaml_io.schema import schema_problems


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """What base.yaml says."""

    base: Mapping[str, Document] = field(default_factory=dict)
    """Its documents by what they customise."""
    target: Target = field(default_factory=lambda: targets.KINDS[targets.OLD])
    topology: Topology | None = None
    """The topology with the version that base.yaml states; None if it is not a control plane."""
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    has_known_kind: bool = True
    """It is a control plane of a known kind, or there is none."""
    has_known_fields: bool = True
    """Its fields are those of its kind."""


def check_base(file: BaseFile, topology: Topology) -> ControlPlane:
    """The control plane that a base.yaml states, and what is wrong with it."""
    if file.problems:
        return _unread(file.problems)
    problems = [p for document in file.documents for p in document.problems]
    try:
        target = targets.choose_target(file.documents)
        base = targets.documents_by_part(file.documents, target)
    except MeshError as error:
        return _unread([*problems, *error.problems])
    settled = add_base_version(topology, target.stated_version(base))
    if not base:
        return ControlPlane({}, target, settled)
    problems += _shape_problems(base, target, settled, tuple(problems))
    warnings, problems = _newer_values(problems, target, settled)
    is_shapeless = bool(problems)
    if not is_shapeless:
        problems += target.base_problems(base, settled)
    return ControlPlane(
        base,
        target,
        settled,
        with_check_id(dict.fromkeys(problems), "base-valid"),
        warnings,
        has_known_fields=not is_shapeless,
    )


def _shape_problems(
    base: Mapping[str, Document], target: Target, topology: Topology, known: Sequence[Problem]
) -> Iterator[Problem]:
    """Where the documents do not fit their schemas; at the positions of known problems nothing is
    reported again.
    """
    positions = {(p.where.line, p.where.column) for p in known}
    for name, document in base.items():
        schemas = [
            base_schema(target.document_schema(name, assets.load_schema)),
            *(
                _below(path, schema)
                for path, schema in target.list_schemas(name, topology, assets.load_schema)
            ),
        ]
        for schema in schemas:
            for problem in schema_problems(document, schema):
                if (problem.where.line, problem.where.column) not in positions:
                    yield problem
            for variant in document.variants:
                yield from variant.later_value_problems(schema_problems(variant, schema))


def _newer_values(
    problems: list[Problem], target: Target, topology: Topology
) -> tuple[tuple[Problem, ...], list[Problem]]:
    """The unknown values of an Istio whose charts are not known, as warnings; and the other
    problems.
    """
    newest = max(
        (
            versions.minor_version(r.version)
            for c in topology.clusters
            for r in c.releases
            if r.version is not None
        ),
        default=0,
    )
    if newest <= versions.NEWEST_WITH_CHARTS:
        return (), problems
    below = tuple(f"{path_text(path)}." for path in (target.VALUES, ("spec", "meshConfig")))
    unknown = [p for p in problems if p.code == "field-unknown" and p.where.path.startswith(below)]
    what = (
        f"not a value of Istio 1.{versions.NEWEST_WITH_CHARTS}, the newest whose charts are known;"
        f" Istio 1.{newest} may read it"
    )
    fix = (
        "compare it with the values of the chart: `helm show values istiod --repo"
        " https://blob.istio.io/istio-release/charts`"
    )
    warnings = tuple(
        Problem(p.where, what, fix, "base-unknown", code="value-of-newer-istio")
        for p in dict.fromkeys(unknown)
    )
    return warnings, [p for p in problems if p not in unknown]


def _unread(problems: Iterable[Problem]) -> ControlPlane:
    sorted_problems = MeshError(problems).problems
    return ControlPlane(
        problems=with_check_id(sorted_problems, "base-valid"),
        has_known_kind=False,
        has_known_fields=False,
    )


def base_schema(schema: Mapping[str, Any]) -> Mapping[str, object]:
    """The schema of a kind as base.yaml has it, which the mesh completes: nothing is required of
    the object but what it is.
    """
    parts = {
        key: part if key in ("apiVersion", "kind") else _partial(part)
        for key, part in schema["properties"].items()
    }
    return {**schema, "properties": parts, "required": ["apiVersion", "kind"]}


def _below(path: tuple[str, ...], schema: Mapping[str, object]) -> Mapping[str, object]:
    """A schema for what stands at a path, wherever that is there."""
    for key in reversed(path):
        schema = {"properties": {key: schema}}
    return schema


def _partial(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key != "required"}
    if "properties" in kept:
        kept["properties"] = {
            key: part if key == "values" else _partial(part)
            for key, part in kept["properties"].items()
        }
    return kept


def add_base_version(topology: Topology, version: str | None) -> Topology:
    """The topology with the version of base.yaml where it states none."""
    if version is None:
        return topology
    clusters = tuple(
        replace(c, releases=tuple(replace(r, version=r.version or version) for r in c.releases))
        for c in topology.clusters
    )
    return replace(topology, clusters=clusters)
