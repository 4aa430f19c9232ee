"""Merges the control planes of all clusters into base.yaml: the most common settings, without those
that the mesh sets.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kubectl_mesh.adopt.running_mesh import RunningMesh
from kubectl_mesh.model import Json
from kubectl_mesh.observed.dumped_control_planes import HELM_VALUES, DumpedControlPlane
from kubectl_mesh.observed.install_kinds import INSTALL_KINDS
from kubectl_mesh.targets import KINDS
from kubectl_mesh.targets.charts import NODE_COMPONENTS
from kubectl_mesh.targets.istiooperator import EAST_WEST
from kubectl_mesh.targets.target import Path
from kubectl_mesh.yaml_io.lookup import value_at
from kubectl_mesh.yaml_io.write import dump_yaml

BASE_HEADER = """\
# The control plane, customised once for all clusters, as `kubectl mesh adopt` found it: \
what most of them have.
# `kubectl mesh render` lays what makes the mesh over it.
"""

_MESH_PATHS: tuple[Path, ...] = (
    ("global", "istioNamespace"),
    ("global", "meshID"),
    ("global", "multiCluster", "clusterName"),
    ("global", "network"),
    ("global", "meshNetworks"),
    ("global", "remotePilotAddress"),
    ("global", "externalIstiod"),
    ("gateways", "istio-ingressgateway", "env", "ISTIO_MESH_NETWORK"),
    ("istiodRemote", "injectionPath"),
    ("meshConfig", "defaultConfig", "meshId"),
    ("meshConfig", "defaultConfig", "proxyMetadata", "ISTIO_META_NETWORK"),
    ("meshConfig", "defaultConfig", "proxyMetadata", "ISTIO_META_CLUSTER_ID"),
    ("meshConfig", "defaultConfig", "proxyMetadata", "ISTIO_META_MESH_ID"),
    ("meshConfig", "trustDomain"),
    ("multiCluster", "clusterName"),
    ("network",),
    ("pilot", "env", "CLUSTER_ID"),
    ("pilot", "env", "EXTERNAL_ISTIOD"),
    ("pilot", "meshNetworks"),
    ("revision",),
    ("ztunnel", "multiCluster", "clusterName"),
    ("ztunnel", "network"),
)
"""The values that the mesh sets for each cluster, which a base.yaml for all clusters has not."""
_GATEWAY_PATHS: tuple[Path, ...] = (
    ("networkGateway",),
    ("networkGatewayPorts",),
    ("name",),
    ("env",),
    ("labels",),
    ("service", "ports"),
    ("service", "type"),
)
"""The values of the chart gateway that the mesh sets for the east-west gateway."""
_PLACEMENT_PATHS: tuple[Path, ...] = (
    ("metadata",),
    ("spec", "defaultNamespace"),
    ("spec", "namespace"),
    ("spec", "revision"),
    ("spec", "targetNamespace"),
    ("spec", "releaseName"),
    ("spec", "dependsOn"),
    ("spec", "chart", "spec", "sourceRef"),
    ("spec", "destination"),
    ("spec", "source", "repoURL"),
    ("spec", "source", "helm", "releaseName"),
    ("spec", "meshConfig", "trustDomain"),
    ("spec", "meshConfig", "defaultConfig", "meshId"),
    ("spec", "unvalidatedValues", "global", "meshID"),
)


def strip_mesh_settings(
    control_plane: DumpedControlPlane, kind: str, namespace: str
) -> dict[str, Any]:
    """The settings of a control plane without those that the mesh sets. `kind` is the kind of
    base.yaml, for bare values.

    A node component keeps its namespace, unless it is Istio's own `namespace`.
    """
    if control_plane.kind == HELM_VALUES:
        value: Json = {"spec": KINDS[kind].write_spec(dict(control_plane.values))}
    else:
        value = dict(control_plane.value)
    path = INSTALL_KINDS[kind].values_path
    mesh = (*_MESH_PATHS, *(_GATEWAY_PATHS if control_plane.component == "gateway" else ()))
    for gone in (*_PLACEMENT_PATHS, *((*path, *p) for p in mesh)):
        value = _remove_path(value, gone)
    own_kind = kind if control_plane.kind == HELM_VALUES else control_plane.kind
    namespace_path = (
        INSTALL_KINDS[own_kind].namespace_path if control_plane.component in NODE_COMPONENTS else ()
    )
    own_namespace = value_at(control_plane.value, *namespace_path) if namespace_path else None
    if isinstance(own_namespace, str) and own_namespace != namespace:
        value = _set_value(value, namespace_path, own_namespace)
    assert isinstance(value, dict)
    spec = value.get("spec")
    body = {
        key: part
        for key, part in value.items()
        if key not in ("apiVersion", "kind", "metadata", "spec")
    }
    return {
        "apiVersion": INSTALL_KINDS[own_kind].api_version,
        "kind": own_kind,
        **body,
        "spec": spec if isinstance(spec, dict) else {},
    }


def _remove_path(value: Json, path: Path) -> Json:
    """A value without what stands at a path, and without the mappings that are empty then."""
    if not isinstance(value, dict) or path[0] not in value:
        return value
    others = {key: part for key, part in value.items() if key != path[0]}
    inner = _remove_path(value[path[0]], path[1:]) if len(path) > 1 else None
    return (
        others
        if inner is None or inner == {}
        else {key: inner if key == path[0] else value[key] for key in value}
    )


def _set_value(value: Json, path: Path, new: Json) -> dict[str, Any]:
    """A value with another at a path."""
    others = dict(value) if isinstance(value, dict) else {}
    return {
        **others,
        path[0]: new if len(path) == 1 else _set_value(others.get(path[0]), path[1:], new),
    }


def find_common_value(values: Sequence[Json]) -> Json:
    """A common value of all clusters: at each path the most frequent value, the first one if
    equal.
    """
    mappings = [v for v in values if isinstance(v, dict)]
    if len(mappings) < len(values):
        return max(values, key=values.count)
    merged = {}
    for key in dict.fromkeys(k for v in mappings for k in v):
        having = [v[key] for v in mappings if key in v]
        if 2 * len(having) > len(mappings) or (
            2 * len(having) == len(mappings) and key in mappings[0]
        ):
            merged[key] = find_common_value(having)
    return merged


def build_base_documents(
    mesh: RunningMesh, kind: str, version: str | None
) -> dict[str, dict[str, Any]]:
    """The documents of base.yaml by the part that they customise, the main one first; none where no
    control plane was dumped.
    """
    parts: dict[str, list[DumpedControlPlane]] = {}
    spaces: dict[str, list[str]] = {}
    for cluster in mesh.clusters:
        for plane in cluster.control_planes:
            if plane.component != EAST_WEST:
                part = _document_name(plane)
                parts.setdefault(part, []).append(plane)
                spaces.setdefault(part, []).append(cluster.namespace)
    found: dict[str, dict[str, Any]] = {}
    for part in sorted(parts, key=lambda p: p != "istiod"):
        made = find_common_value(
            [
                strip_mesh_settings(plane, kind, space)
                for plane, space in zip(parts[part], spaces[part], strict=True)
            ]
        )
        assert isinstance(made, dict)
        found[part] = made
    if (
        "istiod" in found
        and any(p.kind == HELM_VALUES for p in parts["istiod"])
        and version is not None
    ):
        target = KINDS[kind]
        if target.STATES_VERSION and target.FIXED_VERSION is None:
            stated = target.write_version(version)
            found["istiod"] = _set_value(found["istiod"], target.VERSION, stated)
    return found if "istiod" in found else {}


def _document_name(plane: DumpedControlPlane) -> str:
    """The document of base.yaml that a control plane customises: that of istiod, of a kind for a
    component on the nodes, or of a chart.
    """
    if plane.is_istiod:
        return "istiod"
    return plane.kind if INSTALL_KINDS[plane.kind].component else plane.component


def base_text(documents: Mapping[str, Mapping[str, Any]]) -> str:
    """base.yaml."""
    return BASE_HEADER + "---\n".join(dump_yaml(dict(document)) for document in documents.values())
