"""Control planes in dumps: the objects that install Istio, and what they state about their
cluster.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kubectl_mesh.model import Json
from kubectl_mesh.observed.dumped_objects import DumpedObject, strip_server_fields
from kubectl_mesh.observed.install_kinds import (
    CLUSTER_NAME,
    INSTALL_KINDS,
    MESH_ID,
    NAMESPACE,
    NETWORK,
    UNVALIDATED,
    chart_values,
    component_name,
    release_from_tag,
    revision_from_name,
)
from kubectl_mesh.observed.networks import MESH_NETWORKS, DeclaredNetwork, parse_mesh_networks
from kubectl_mesh.targets import KINDS
from kubectl_mesh.targets.charts import ORDER as CHART_NAMES
from kubectl_mesh.targets.istiooperator import EAST_WEST
from kubectl_mesh.targets.target import Path
from kubectl_mesh.yaml_io.lookup import items_at, mapping_at, text_at, value_at

HELM_VALUES = "values"
"""The kind of a document without a kind that contains values of the chart istiod."""
_HELM_KEYS = frozenset(
    (
        "global",
        "meshConfig",
        "pilot",
        "istiodRemote",
        "revision",
        "revisionTags",
        "sidecarInjectorWebhook",
        "telemetry",
    )
)
_INJECTION = re.compile(r"/inject/cluster/([^/]+)/net/([^/]+)\Z")


@dataclass(frozen=True, slots=True)
class DumpedControlPlane:
    """A component of a control plane: its kind (`values` for bare Helm values), and its settings as
    base.yaml has them.
    """

    resource: DumpedObject
    kind: str
    component: str
    value: Mapping[str, Any] = field(repr=False)
    """The object without the fields that the server adds."""

    @property
    def is_istiod(self) -> bool:
        """Whether it installs istiod, not another component."""
        return self.component == "istiod"

    @property
    def values(self) -> Mapping[str, Any]:
        """The values of the chart."""
        return self.value if self.kind == HELM_VALUES else chart_values(self.kind, self.value)

    @property
    def values_path(self) -> str:
        """The prefix of the path of a chart value."""
        return (
            "" if self.kind == HELM_VALUES else ".".join(INSTALL_KINDS[self.kind].values_path) + "."
        )


def parse_control_plane(
    resource: DumpedObject, objects: Sequence[DumpedObject] = ()
) -> DumpedControlPlane | None:
    """The control plane in an object, None if it contains none. The chart source of a HelmRelease
    is looked up in `objects`.
    """
    value, kind = normalize_chart(resource, objects), resource.kind
    if not kind and "apiVersion" not in value:
        return parse_helm_values(resource, value)
    if kind not in INSTALL_KINDS or INSTALL_KINDS[kind].group != resource.group:
        return None
    chart = INSTALL_KINDS[kind].chart_path
    if chart:
        name = text_at(value, *chart)
        if name not in CHART_NAMES or (name == "gateway" and EAST_WEST not in resource.name):
            return None
    part = component_name(kind, value)
    return None if part is None else DumpedControlPlane(resource, kind, part, value)


def parse_helm_values(resource: DumpedObject, values: Json) -> DumpedControlPlane | None:
    """The control plane in Helm values, from a file or a ConfigMap; None for values of another
    chart.
    """
    return (
        DumpedControlPlane(resource, HELM_VALUES, "istiod", values)
        if isinstance(values, dict) and _HELM_KEYS & set(values)
        else None
    )


def normalize_chart(resource: DumpedObject, objects: Sequence[DumpedObject]) -> dict[str, Any]:
    """An object without server fields, with the chart of an OCI artifact written as a chart of a
    chart repository.

    Argo CD states such a chart as `repoURL: oci://.../istiod` with `path: .`, Flux as `chartRef` to
    an OCIRepository.
    """
    value: Any = strip_server_fields(dict(resource.value))
    if (
        resource.kind == "Application"
        and value_at(value, "spec", "source", "path") == "."
        and (parts := _split_chart(value_at(value, "spec", "source", "repoURL")))
    ):
        source = {key: part for key, part in value["spec"]["source"].items() if key != "path"}
        value = {
            **value,
            "spec": {**value["spec"], "source": {**source, "chart": parts[1], "repoURL": parts[0]}},
        }
    elif (
        resource.kind == "HelmRelease"
        and value_at(value, "spec", "chartRef", "kind") == "OCIRepository"
        and (artifact := find_chart_source(resource, objects))
    ):
        parts = _split_chart(artifact.value_at("spec", "url"))
        if parts is not None:
            tag = artifact.value_at("spec", "ref", "tag")
            pinned = {"version": tag} if isinstance(tag, str) else {}
            spec = {key: part for key, part in value["spec"].items() if key != "chartRef"}
            value = {**value, "spec": {**spec, "chart": {"spec": {"chart": parts[1], **pinned}}}}
    assert isinstance(value, dict)
    return value


def find_chart_source(
    resource: DumpedObject, objects: Sequence[DumpedObject]
) -> DumpedObject | None:
    """The HelmRepository or OCIRepository of a HelmRelease's chart, None if it was not dumped."""
    for path in (("spec", "chart", "spec", "sourceRef"), ("spec", "chartRef")):
        kind, name = resource.value_at(*path, "kind"), resource.value_at(*path, "name")
        namespace = resource.value_at(*path, "namespace") or resource.namespace
        for source in objects:
            if name and (source.kind, source.name, source.namespace) == (kind, name, namespace):
                return source
    return None


def find_charts_url(
    resource: DumpedObject, objects: Sequence[DumpedObject]
) -> tuple[str, DumpedObject, str] | None:
    """The chart repository of an Application or a HelmRelease, with the object and the field that
    state it; None if nothing does.
    """
    if resource.kind == "Application":
        url, where, how = (
            resource.value_at("spec", "source", "repoURL"),
            resource,
            "spec.source.repoURL",
        )
    elif (
        resource.kind == "HelmRelease"
        and (source := find_chart_source(resource, objects)) is not None
    ):
        url, where, how = source.value_at("spec", "url"), source, "spec.url"
    else:
        return None
    if not isinstance(url, str) or not url:
        return None
    parts = (
        _split_chart(url)
        if where.kind == "OCIRepository" or where.value_at("spec", "source", "path") == "."
        else None
    )
    url = parts[0] if parts is not None else url
    # Argo CD writes a registry of charts without its scheme.
    return (url if "://" in url else f"oci://{url}"), where, how


def _split_chart(url: object) -> tuple[str, str] | None:
    """The registry and the chart of an OCI artifact such as
    oci://ghcr.io/istio/release/charts/istiod; None for another URL.
    """
    if not isinstance(url, str):
        return None
    registry, _, chart = url.rstrip("/").rpartition("/")
    return (registry, chart) if chart in CHART_NAMES and registry else None


INJECTOR_CONFIG_MAP, MESH_CONFIG_MAP = "istio-sidecar-injector", "istio"
"""The ConfigMaps that a control plane creates, with its values and with the mesh configuration."""


def is_istiod_config_map(resource: DumpedObject, name: str) -> bool:
    """Whether an object is a ConfigMap that a control plane of any revision creates."""
    return (
        resource.kind == "ConfigMap"
        and not resource.group
        and (resource.name == name or resource.name.startswith(f"{name}-"))
    )


@dataclass(frozen=True, slots=True)
class Statement:
    """A fact that a document states about its cluster: the setting (`id`, `network`, `mesh_id`,
    `trust_domain`, `namespace`, `revision`, `address`, `version`, `registry`, `charts`), its value,
    and the field.
    """

    setting: str
    value: str
    field: str


def list_config_statements(values: Json) -> Iterator[Statement]:
    """The statements in the injector's values, or in a MeshConfig below `meshConfig`."""
    return (s for s in _at_paths(values, _IN_VALUES) if s.setting not in ("address", "revision"))


def list_statements(plane: DumpedControlPlane) -> Iterator[Statement]:
    """The statements of a control plane about its cluster."""
    prefix = plane.values_path
    for stated in _at_paths(plane.values, _IN_VALUES):
        yield replace(stated, field=prefix + stated.field)
    path = text_at(plane.values, "istiodRemote", "injectionPath")
    injected = None if path is None else _INJECTION.match(path)
    if injected is not None:
        for what, value in (("id", injected[1]), ("network", injected[2])):
            unescaped = value.replace("--slash--", "/")
            yield Statement(what, unescaped, f"{prefix}istiodRemote.injectionPath")
    yield from _at_paths(plane.value, (("mesh_id", ("spec", *UNVALIDATED, *MESH_ID)),))
    yield from _at_paths(plane.value, _IN_DOCUMENT.get(plane.kind, ()))
    yield from _version_statements(plane)
    name = revision_from_name(plane.kind, plane.resource.name)
    if name is not None:
        yield Statement("revision", name, "metadata.name")


def _at_paths(value: Json, paths: Iterable[tuple[str, Path]]) -> Iterator[Statement]:
    for what, path in paths:
        stated = value_at(value, *path)
        if isinstance(stated, str) and stated:
            yield Statement(what, stated, ".".join(path))


def _version_statements(plane: DumpedControlPlane) -> Iterator[Statement]:
    target = KINDS.get(plane.kind)
    if target is not None and target.FIXED_VERSION is not None:
        yield Statement("version", target.FIXED_VERSION, "kind")
    elif plane.kind != HELM_VALUES:
        path = INSTALL_KINDS[plane.kind].version_path
        tag = value_at(plane.value, *path)
        version = None if tag is None else release_from_tag(str(tag))
        if version is not None:
            yield Statement("version", version, ".".join(path))


_IN_VALUES: tuple[tuple[str, Path], ...] = (
    ("id", ("global", *CLUSTER_NAME)),
    ("network", ("global", *NETWORK)),
    ("mesh_id", ("global", *MESH_ID)),
    ("mesh_id", ("meshConfig", "defaultConfig", "meshId")),
    ("trust_domain", ("meshConfig", "trustDomain")),
    ("namespace", ("global", *NAMESPACE)),
    ("revision", ("revision",)),
    ("address", ("global", "remotePilotAddress")),
)
_IN_DOCUMENT: Mapping[str, tuple[tuple[str, Path], ...]] = {
    "IstioControlPlane": (("namespace", ("spec", "defaultNamespace")),),
    "IstioOperator": (
        ("namespace", ("spec", "namespace")),
        ("revision", ("spec", "revision")),
        ("trust_domain", ("spec", "meshConfig", "trustDomain")),
        ("mesh_id", ("spec", "meshConfig", "defaultConfig", "meshId")),
    ),
    "Istio": (("namespace", ("spec", "namespace")),),
}


def list_istiod_statements(deployment: DumpedObject) -> Iterator[Statement]:
    """The statements of istiod's Deployment: `version` and `registry` of its image, and the `id` of
    its cluster.
    """
    for container in items_at(deployment.value, "spec", "template", "spec", "containers"):
        image = str(value_at(container, "image"))
        registry = image.rpartition("/")[0]
        if value_at(container, "name") == "discovery" and registry:
            yield Statement("registry", registry, "the image of istiod")
        version = _version_of_image(image)
        if version is None:
            continue
        yield Statement("version", version, "the image of istiod")
        for entry in items_at(container, "env"):
            name = value_at(entry, "value") if value_at(entry, "name") == "CLUSTER_ID" else None
            if isinstance(name, str) and name:
                yield Statement("id", name, "CLUSTER_ID of istiod")


def _version_of_image(image: str) -> str | None:
    """The Istio version in the tag of an istiod image, None for another image."""
    name, _, tag = image.partition("@")[0].rpartition(":")
    return release_from_tag(tag) if name.endswith("/pilot") else None


def find_declared_networks(values: Json) -> tuple[DeclaredNetwork, ...]:
    """The networks that chart values declare, from the first place that declares any."""
    tables = (parse_mesh_networks(mapping_at(values, *path)) for path in MESH_NETWORKS)
    return next(filter(None, tables), ())
