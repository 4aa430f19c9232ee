"""The documents by which Istio is installed: their values as Istio knows them, their versions and
revisions.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from kubectl_mesh.model import Json
from kubectl_mesh.observed.parse import flat, without
from kubectl_mesh.observed.values import ControlPlane, Fields, Object, Said
from kubectl_mesh.yaml_io.lookup import mapping_at, text_at

KINDS = frozenset(
    (
        "Istio",
        "IstioCNI",
        "ZTunnel",
        "IstioOperator",
        "IstioControlPlane",
        "Application",
        "HelmRelease",
    )
)
_PARTS = {"Istio": "istiod", "IstioCNI": "cni", "ZTunnel": "ztunnel", "IstioControlPlane": "istiod"}
_CHARTS = {
    "istiod": "istiod",
    "base": "base",
    "cni": "cni",
    "ztunnel": "ztunnel",
    "gateway": "gateway",
}
DEFAULT = "default"
CLUSTER, MESH, NETWORK, NAMESPACE = (
    "multiCluster.clusterName",
    "meshID",
    "network",
    "istioNamespace",
)


def control_plane(objects: tuple[tuple[Object, Json], ...]) -> Iterator[ControlPlane]:
    """The documents of a cluster's control plane."""
    for seen, value in objects:
        if seen.kind in KINDS:
            spec = mapping_at(value, "spec")
            made = _made(seen, spec)
            if made is not None:
                yield made


def _made(seen: Object, spec: Mapping[str, Any]) -> ControlPlane | None:
    if seen.kind == "Application":
        return _chart(
            seen,
            mapping_at(spec, "source", "helm", "valuesObject"),
            text_at(spec, "source", "chart"),
            spec,
            "source.helm.valuesObject",
        )
    if seen.kind == "HelmRelease":
        return _chart(
            seen,
            mapping_at(spec, "values"),
            text_at(spec, "chart", "spec", "chart"),
            spec,
            "values",
        )
    values = mapping_at(spec, "values")
    revision: str | None
    if seen.kind == "IstioOperator":
        part = "eastwest" if text_at(spec, "profile") == "empty" else "istiod"
        version, revision = text_at(spec, "tag"), text_at(spec, "revision")
    elif seen.kind == "IstioControlPlane":
        part, version, revision = "istiod", text_at(spec, "tag"), None
    else:
        part, version = _PARTS[seen.kind], text_at(spec, "version")
        revision = seen.name if seen.kind == "Istio" and seen.name != DEFAULT else None
    return ControlPlane(
        seen.file,
        seen.kind,
        seen.name,
        part,
        _version(version),
        revision,
        _fields(values),
        without(flat(dict(spec)), "values"),
    )


def _chart(
    seen: Object, values: Mapping[str, Any], chart: str | None, spec: Mapping[str, Any], path: str
) -> ControlPlane | None:
    if chart is None:
        return None
    part = _CHARTS.get(chart.rsplit("/", 1)[-1], chart)
    version = (
        text_at(spec, "source", "targetRevision")
        if seen.kind == "Application"
        else text_at(spec, "chart", "spec", "version")
    )
    return ControlPlane(
        seen.file,
        seen.kind,
        seen.name,
        part,
        _version(version),
        text_at(values, "revision"),
        _fields(values),
        without(flat(dict(spec)), path),
    )


def _fields(values: Mapping[str, Any]) -> Fields:
    """Values by path; none where there are none."""
    return flat(dict(values)) if values else {}


def _version(stated: str | None) -> str | None:
    """A version as the topology writes it: 1.30.3, or 1.30 for the newest of a line."""
    return None if stated is None else stated.removeprefix("v").removesuffix("-latest")


def said(documents: tuple[ControlPlane, ...], field: str) -> tuple[Said, ...]:
    """What each document says of a field of `global`, wherever it keeps it."""
    found = []
    for document in documents:
        for path in (f"global.{field}", f"ztunnel.{field}", f"ztunnel.global.{field}", field):
            value = document.values.get(path)
            if isinstance(value, str) and (path != field or document.part == "ztunnel"):
                found.append(Said(value, document.file, f"values.{path}"))
        unvalidated = document.settings.get(f"unvalidatedValues.global.{field}")
        if isinstance(unvalidated, str):
            found.append(Said(unvalidated, document.file, f"unvalidatedValues.global.{field}"))
    return tuple(found)


def namespaces(documents: tuple[ControlPlane, ...]) -> tuple[Said, ...]:
    """Istio's namespace as each document says it."""
    found = list(said(documents, NAMESPACE))
    for document in documents:
        for path in (
            ("namespace", "defaultNamespace") if document.part not in ("cni", "ztunnel") else ()
        ):
            value = document.settings.get(path)
            if isinstance(value, str):
                found.append(Said(value, document.file, path))
    return tuple(found)
