"""The settings of base.yaml that the mesh replaces, as warnings; those that `init` wrote are not
settings of a person.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from kubectl_mesh.errors import Problem
from kubectl_mesh.istio import versions
from kubectl_mesh.model import Document, Json, Plan
from kubectl_mesh.text import value_text
from kubectl_mesh.yaml_io.merge_patch import overridden_paths
from kubectl_mesh.yaml_io.read import load_document

Path = tuple[str | int, ...]
_KIND = (("apiVersion",), ("kind",))


class Replaceable(NamedTuple):
    """What a kind of base.yaml says of its settings."""

    starter: str
    """The base.yaml that `init` wrote."""
    version_path: Path
    """Where a document states its version, the default of clusters for which the topology states
    none.
    """
    read_version: Callable[[Json], str | None]
    merged: tuple[Path, ...] = ()
    """Paths whose values the overlay contains."""


def replaced_problems(
    base: Mapping[str, Document],
    overlays: Iterable[tuple[str, object]],
    plan: Plan,
    kind: Replaceable,
) -> list[Problem]:
    """The values of base.yaml that the mesh replaces, each with its line.

    `overlays` are what is laid over each part of base.yaml, by the name of the part.
    """
    found = {
        (part, path)
        for part, overlay in overlays
        if part in base
        for path in overridden_paths(base[part].value, overlay)
    }
    main, written = next(iter(base)), load_document("", kind.starter.encode()).value
    problems = []
    for part, path in sorted(found, key=str):
        value = _at(base[part].value, path)
        if path in (*_KIND, *kind.merged) or (part == main and value == _at(written, path)):
            continue
        what = "is set by the mesh; the value here is lost"
        if path == kind.version_path:
            stated, used = kind.read_version(value), used_versions(plan)
            if stated in used or (part == main and stated in versions.INIT_VERSIONS):
                continue
            what = (
                f"is {value_text(value)}, and by the topology every cluster runs"
                f" {' or '.join(used)};"
                " the value here is lost"
            )
        problems.append(
            Problem(base[part].field_place(*path), what, id="base-lost", code="base-value-replaced")
        )
    return problems


def used_versions(plan: Plan) -> list[str]:
    """The versions that the clusters of a mesh run, as far as they are stated."""
    return sorted(
        {
            r.version
            for m in plan.members.values()
            for r in m.cluster.releases
            if r.version is not None
        }
    )


def _at(value: Json, path: Path) -> Json:
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[str(key)]
    return value
