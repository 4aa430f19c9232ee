"""base.yaml read into a control plane: its documents, the target that they choose, and what is
wrong with them.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kubectl_mesh import targets
from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.fs.folders import join
from kubectl_mesh.fs.read import read_file, read_inside
from kubectl_mesh.istio import versions
from kubectl_mesh.model import LOCK, Document, Topology
from kubectl_mesh.safety.review import with_way_out
from kubectl_mesh.targets.target import Target
from kubectl_mesh.text import path_text
from kubectl_mesh.tree.lock_file import parse_lock
from kubectl_mesh.workdir.places import BASE
from kubectl_mesh.yaml_io import assets
from kubectl_mesh.yaml_io.read import load_all
from kubectl_mesh.yaml_io.schema import schema_problems

UNKNOWN = "unknown-field"
"""The id of a problem about a field that no schema has, until it is judged by the version of Istio.
"""
BY_SHAPE = frozenset(
    (
        "base-identity",
        "base-reader",
        "base-registry",
        "trust-domain",
        "gateway-found",
        "revision-tag",
        "ztunnel-trusted",
    )
)
"""The checks that are made of a base.yaml whose shape is right."""
BY_CONTROL_PLANE = BY_SHAPE | frozenset(
    (
        *(
            "base-lost",
            "base-unknown",
            "charts-gone",
            "images-gone",
            "istio-version",
            "istio-known",
            "istio-security",
            "version-skew",
            "ambient",
            "ambient-shared",
            "namespace-equal",
            "delivery-target",
        ),
        *(
            "gateway-kind",
            "gateway-address",
            "gateway-pending",
            "control-plane-address",
            "certs-key-type",
            "crl-read",
        ),
    )
)
"""The checks that rest on what base.yaml is: a kind of control plane, and a version of Istio."""


@dataclass(frozen=True, slots=True)
class Read:
    """What base.yaml says: its documents by what they customise, the target, and the topology with
    the version that it states.
    """

    base: Mapping[str, Document] = field(default_factory=dict)
    target: Target = field(default_factory=lambda: targets.KINDS[targets.OLD])
    topology: Topology | None = None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    unasked: frozenset[str] = frozenset()
    """The checks that nobody could make for these problems."""


def documents(directory: str, *, lenient: bool = False) -> tuple[Document, ...]:
    """The documents of base.yaml, none where there is no such file; with `lenient`, what is wrong
    with them as YAML is among them.
    """
    path = join(directory, BASE)
    body = read_inside(directory, BASE, "base")
    return () if body is None else load_all(path, body, lenient=lenient)


def gather(directory: str, topology: Topology) -> Read:
    """Reads base.yaml and checks it; where it cannot be read as a control plane, the problems are
    all that is told of it.
    """
    try:
        return judged(documents(directory, lenient=True), topology)
    except MeshError as error:
        return _unread(error)


def judged(found: tuple[Document, ...], topology: Topology) -> Read:
    """As `gather`, for documents that are read already."""
    problems = [p for document in found for p in document.problems]
    told = {(p.where.line, p.where.column) for p in problems}
    try:
        target = targets.choose(found)
        base = targets.parts(found, target)
    except MeshError as error:
        return _unread(MeshError([*problems, *error.problems]))
    if not base:
        return Read({}, target, _settled(topology, target.version({})))
    settled = _settled(topology, target.version(base))
    for name, document in base.items():
        schemas = [
            base_schema(target.SCHEMAS[name]),
            *(
                _below(path, schema)
                for path, schema in target.checked(name, settled, assets.schema)
            ),
        ]
        for schema in schemas:
            problems += [
                p
                for p in schema_problems(document, schema, UNKNOWN)
                if (p.where.line, p.where.column) not in told
            ]
            problems += [
                p
                for variant in document.variants
                for p in variant.later_values(schema_problems(variant, schema, UNKNOWN))
            ]
    warnings, problems = _newer_values(problems, target, settled)
    shapeless = bool(problems)
    if not shapeless:
        problems += target.base_problems(base, settled)
    return Read(
        base,
        target,
        settled,
        _told(dict.fromkeys(problems)),
        warnings,
        BY_SHAPE if shapeless else frozenset(),
    )


def _newer_values(
    problems: list[Problem], target: Target, topology: Topology
) -> tuple[tuple[Problem, ...], list[Problem]]:
    """The unknown values of an Istio whose charts are not known, as warnings; and the other
    problems.
    """
    newest = max(
        (
            versions.minor(r.version)
            for c in topology.clusters
            for r in c.releases
            if r.version is not None
        ),
        default=0,
    )
    if newest <= versions.NEWEST_WITH_CHARTS:
        return (), problems
    below = tuple(f"{path_text(path)}." for path in (target.VALUES, ("spec", "meshConfig")))
    unknown = [p for p in problems if p.id == UNKNOWN and p.where.path.startswith(below)]
    what = (
        f"not a value of Istio 1.{versions.NEWEST_WITH_CHARTS}, the newest whose charts are known;"
        f" Istio 1.{newest} may read it"
    )
    fix = (
        "compare it with the values of the chart: `helm show values istiod --repo"
        " https://blob.istio.io/istio-release/charts`"
    )
    return tuple(Problem(p.where, what, fix, "base-unknown") for p in dict.fromkeys(unknown)), [
        p for p in problems if p not in unknown
    ]


def _unread(error: MeshError) -> Read:
    return Read(problems=_told(error.problems), unasked=BY_CONTROL_PLANE)


def _told(problems: Any) -> tuple[Problem, ...]:
    return tuple(p if p.id not in ("", UNKNOWN) else replace(p, id="base-valid") for p in problems)


def base_schema(name: str) -> Mapping[str, object]:
    """The schema of a kind for base.yaml, which the mesh completes: nothing is required of the
    object but what it is.
    """
    schema: Mapping[str, Any] = assets.schema(name)
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


def _settled(topology: Topology, version: str | None) -> Topology:
    """The topology with the version of base.yaml where it states none."""
    if version is None:
        return topology
    clusters = tuple(
        replace(c, releases=tuple(replace(r, version=r.version or version) for r in c.releases))
        for c in topology.clusters
    )
    return replace(topology, clusters=clusters)


def assumption(
    directory: str, topology: Topology, out: str, unapplied: frozenset[str] = frozenset()
) -> str:
    """What to say first where base.yaml is missing, and Istio 1.4 is assumed as on the original
    page; nothing where it is not.
    """
    if os.path.lexists(join(directory, BASE)) or lost(directory, topology, out, unapplied):
        return ""
    return (
        "Attention: Istio 1.4 is assumed, because base.yaml is missing. For today's Istio, run"
        " `kubectl mesh init --control-plane Istio`."
    )


def lost(
    directory: str, topology: Topology, out: str, unapplied: frozenset[str] = frozenset()
) -> list[Problem]:
    """That base.yaml is missing, by the tree in `out`: a missing file does not ask for Istio 1.4 in
    every cluster.
    """
    if os.path.lexists(join(directory, BASE)):
        return []
    names = [c.name for c in topology.clusters if c.name not in unapplied]
    kinds = {name: kind for name in names if (kind := _kind(out, name)) not in (None, targets.OLD)}
    if not kinds:
        return []
    what = (
        f"is missing, and {out} was rendered with one of kind {next(iter(kinds.values()))}; without"
        " it every control plane would be Istio 1.4"
    )
    fix = f"put it back (git checkout -- {BASE}); for Istio 1.4 write one of kind {targets.OLD}"
    return [
        with_way_out(Problem(Place(join(directory, BASE)), what, fix, "base-valid"), list(kinds))
    ]


def rendered_kind(topology: Topology, out: str) -> str | None:
    """The kind of control plane that a tree was rendered with, which all of its directories share;
    None if there is no tree.
    """
    return next(
        (
            kind
            for cluster in topology.clusters
            if (kind := _kind(out, cluster.name)) in targets.KINDS
        ),
        None,
    )


def _kind(out: str, name: str) -> str | None:
    """The kind of control plane that a directory was rendered with; None where its lock does not
    say, or cannot be read, which others tell.
    """
    try:
        lock = parse_lock(read_file(os.path.join(out, name, LOCK), "lock"))
    except MeshError:
        return None
    return lock.control_plane or None if lock is not None else None
