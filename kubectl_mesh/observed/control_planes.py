"""The documents that install Istio in a tree: their values, versions and revisions."""

from collections.abc import Iterator, Mapping
from typing import Any

from kubectl_mesh.model import Json
from kubectl_mesh.observed.install_kinds import (
    INSTALL_KINDS,
    NAMESPACE,
    UNVALIDATED,
    chart_values,
    component_name,
    revision_from_name,
    stated_version,
)
from kubectl_mesh.observed.mesh_state import ControlPlane, Fields, StatedValue, TreeObject
from kubectl_mesh.observed.tree_parser import exclude_paths, flatten_value
from kubectl_mesh.targets.charts import NODE_COMPONENTS
from kubectl_mesh.targets.istiooperator import IstioOperator
from kubectl_mesh.targets.target import Path
from kubectl_mesh.yaml_io.lookup import mapping_at, text_at


def find_control_planes(objects: tuple[tuple[TreeObject, Json], ...]) -> Iterator[ControlPlane]:
    """The documents of a cluster's control plane."""
    for seen, value in objects:
        if seen.kind in INSTALL_KINDS:
            part = component_name(seen.kind, value)
            if part is not None:
                yield _document(seen, value, part)


def _document(seen: TreeObject, value: Json, part: str) -> ControlPlane:
    kind, spec = INSTALL_KINDS[seen.kind], mapping_at(value, "spec")
    values = chart_values(seen.kind, value)
    revision = (
        text_at(values, "revision")
        if kind.chart_path
        else text_at(spec, "revision")
        if seen.kind == IstioOperator.KIND
        else revision_from_name(seen.kind, seen.name)
    )
    return ControlPlane(
        seen.file,
        seen.kind,
        seen.name,
        part,
        stated_version(seen.kind, value),
        revision,
        _fields(values),
        exclude_paths(flatten_value(dict(spec)), ".".join(kind.values_path[1:])),
    )


def _fields(values: Mapping[str, Any]) -> Fields:
    """Values by path; empty if there are none."""
    return flatten_value(dict(values)) if values else {}


def stated_values(documents: tuple[ControlPlane, ...], path: Path) -> tuple[StatedValue, ...]:
    """The values of a field of `global`, one for each document that states it."""
    found = []
    field, unvalidated = ".".join(path), ".".join((*UNVALIDATED, *path))
    for document in documents:
        for place in (f"global.{field}", f"ztunnel.{field}", f"ztunnel.global.{field}", field):
            value = document.values.get(place)
            if isinstance(value, str) and (place != field or document.component == "ztunnel"):
                found.append(StatedValue(value, document.file, f"values.{place}"))
        value = document.settings.get(unvalidated)
        if isinstance(value, str):
            found.append(StatedValue(value, document.file, unvalidated))
    return tuple(found)


def stated_namespaces(documents: tuple[ControlPlane, ...]) -> tuple[StatedValue, ...]:
    """Istio's namespace, one for each document that states it."""
    found = list(stated_values(documents, NAMESPACE))
    for document in documents:
        for path in (
            ("namespace", "defaultNamespace") if document.component not in NODE_COMPONENTS else ()
        ):
            value = document.settings.get(path)
            if isinstance(value, str):
                found.append(StatedValue(value, document.file, path))
    return tuple(found)
