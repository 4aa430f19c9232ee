"""Control planes among the objects of a cluster: what each says of its cluster, and what of them is
left for base.yaml.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubectl_mesh.model import Json
from kubectl_mesh.observed.objects import Found, clean
from kubectl_mesh.yaml_io.lookup import value_at

Path = tuple[str, ...]
VALUES: Mapping[str, Path] = {
    "IstioControlPlane": ("spec", "values"),
    "IstioOperator": ("spec", "values"),
    "Istio": ("spec", "values"),
    "HelmRelease": ("spec", "values"),
    "Application": ("spec", "source", "helm", "valuesObject"),
}
"""The kinds of control planes, and where the values of istiod stand in each."""
BESIDE = {"IstioCNI": "Istio", "ZTunnel": "Istio"}
"""Kinds that stand beside a control plane, which a base.yaml customises with it."""
GROUPS = {
    "IstioControlPlane": "install.istio.io",
    "IstioOperator": "install.istio.io",
    "Istio": "sailoperator.io",
    "IstioCNI": "sailoperator.io",
    "ZTunnel": "sailoperator.io",
    "HelmRelease": "helm.toolkit.fluxcd.io",
    "Application": "argoproj.io",
}
API_VERSIONS = {
    "IstioControlPlane": "install.istio.io/v1alpha2",
    "IstioOperator": "install.istio.io/v1alpha1",
    "Istio": "sailoperator.io/v1",
    "IstioCNI": "sailoperator.io/v1",
    "ZTunnel": "sailoperator.io/v1",
    "HelmRelease": "helm.toolkit.fluxcd.io/v2",
    "Application": "argoproj.io/v1alpha1",
}
CHARTS = ("istiod", "base", "cni", "ztunnel", "gateway")
HELM = "values"
"""What a document without a kind is, that holds values for the chart istiod."""
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
_TAG = re.compile(r"v?(1\.[0-9]+(?:\.[0-9]+)?)(?:[-.].*)?\Z")


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A part of a control plane: its kind (`values` for bare Helm values), and what it customises,
    as base.yaml has it.
    """

    found: Found
    kind: str
    part: str
    value: Mapping[str, Any] = field(repr=False)
    """Without what the server added."""

    @property
    def main(self) -> bool:
        """Whether it is istiod's, and not of what stands beside it."""
        return self.part == "istiod" or (self.part == self.kind and self.kind in VALUES)

    @property
    def values(self) -> Mapping[str, Any]:
        """The values of the chart."""
        path = () if self.kind == HELM else VALUES.get(self.kind, ("spec", "values"))
        found = value_at(self.value, *path)
        return found if isinstance(found, dict) else {}


def control_plane(found: Found, objects: Sequence[Found] = ()) -> ControlPlane | None:
    """The control plane that an object is, None where it is none; the source of a HelmRelease's
    chart is looked up among `objects`.
    """
    value = with_chart(found, objects)
    kind = found.kind
    if not kind and "apiVersion" not in value:
        return ControlPlane(found, HELM, "istiod", value) if _HELM_KEYS & set(value) else None
    if kind == "ConfigMap" or GROUPS.get(kind) != found.group:
        return None
    if kind in ("HelmRelease", "Application"):
        chart = (
            value_at(value, "spec", "chart", "spec", "chart")
            if kind == "HelmRelease"
            else value_at(value, "spec", "source", "chart")
        )
        other = chart == "gateway" and "eastwest" not in found.name
        return ControlPlane(found, kind, chart, value) if chart in CHARTS and not other else None
    if kind == "IstioOperator" and value_at(value, "spec", "profile") == "empty":
        return ControlPlane(found, kind, "gateway", value)
    return ControlPlane(found, kind, kind, value)


def with_chart(found: Found, objects: Sequence[Found]) -> dict[str, Any]:
    """An object's value without what the server added, the chart of an OCI artifact written as that
    of a chart repository.

    Argo CD takes a chart as `repoURL: oci://.../istiod` with `path: .`, Flux as `chartRef` to an
    OCIRepository.
    """
    value: Any = clean(dict(found.value))
    if (
        found.kind == "Application"
        and value_at(value, "spec", "source", "path") == "."
        and (parts := _split_chart(value_at(value, "spec", "source", "repoURL")))
    ):
        source = {key: part for key, part in value["spec"]["source"].items() if key != "path"}
        value = {
            **value,
            "spec": {**value["spec"], "source": {**source, "chart": parts[1], "repoURL": parts[0]}},
        }
    elif (
        found.kind == "HelmRelease"
        and value_at(value, "spec", "chartRef", "kind") == "OCIRepository"
        and (artifact := chart_source(found, objects))
    ):
        parts = _split_chart(artifact.at("spec", "url"))
        if parts is not None:
            tag = artifact.at("spec", "ref", "tag")
            pinned = {"version": tag} if isinstance(tag, str) else {}
            spec = {key: part for key, part in value["spec"].items() if key != "chartRef"}
            value = {**value, "spec": {**spec, "chart": {"spec": {"chart": parts[1], **pinned}}}}
    assert isinstance(value, dict)
    return value


def chart_source(found: Found, objects: Sequence[Found]) -> Found | None:
    """The HelmRepository or OCIRepository that a HelmRelease takes its chart from, None where it
    was not dumped.
    """
    for path in (("spec", "chart", "spec", "sourceRef"), ("spec", "chartRef")):
        kind, name = found.at(*path, "kind"), found.at(*path, "name")
        namespace = found.at(*path, "namespace") or found.namespace
        for source in objects:
            if name and (source.kind, source.name, source.namespace) == (kind, name, namespace):
                return source
    return None


def charts_url(found: Found, objects: Sequence[Found]) -> tuple[str, Found, str] | None:
    """Where the chart of an Application or a HelmRelease comes from: the repository, the object and
    the field that state it; None where nothing does.
    """
    if found.kind == "Application":
        url, where, how = found.at("spec", "source", "repoURL"), found, "spec.source.repoURL"
    elif found.kind == "HelmRelease" and (source := chart_source(found, objects)) is not None:
        url, where, how = source.at("spec", "url"), source, "spec.url"
    else:
        return None
    if not isinstance(url, str) or not url:
        return None
    parts = (
        _split_chart(url)
        if where.kind == "OCIRepository" or where.at("spec", "source", "path") == "."
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
    return (registry, chart) if chart in CHARTS and registry else None


def of_values(found: Found, values: Json) -> ControlPlane | None:
    """The control plane that Helm values are, which stand in a ConfigMap as Flux and others read
    them.
    """
    return (
        ControlPlane(found, HELM, "istiod", values)
        if isinstance(values, dict) and _HELM_KEYS & set(values)
        else None
    )


INJECTOR, MESH_CONFIG = "istio-sidecar-injector", "istio"
"""The ConfigMaps that a control plane makes, with the values that it has and the configuration of
the mesh.
"""


def made_by_it(found: Found, name: str) -> bool:
    """Whether an object is a ConfigMap that a control plane makes, of whatever revision."""
    return (
        found.kind == "ConfigMap"
        and not found.group
        and (found.name == name or found.name.startswith(f"{name}-"))
    )


def values_say(values: Json, how: str) -> Iterator[tuple[str, str, str]]:
    """What values say that the injector has, or a MeshConfig under `meshConfig`."""
    for what, path in _SAID:
        value = value_at(values, *path)
        if isinstance(value, str) and value and what not in ("address", "revision"):
            yield what, value, f"{how} {'.'.join(path)}"


def says(one: ControlPlane) -> Iterator[tuple[str, str, str]]:
    """What a control plane says of its cluster: which property, its value, and the field that says
    so.
    """
    spec = "" if one.kind == HELM else ".".join(VALUES.get(one.kind, ("spec", "values"))) + "."
    for what, path in _SAID:
        value = value_at(one.values, *path)
        if isinstance(value, str) and value:
            yield what, value, spec + ".".join(path)
    injected = _INJECTION.match(str(value_at(one.values, "istiodRemote", "injectionPath")))
    if injected is not None:
        for what, value in (("id", injected[1]), ("network", injected[2])):
            yield what, value.replace("--slash--", "/"), f"{spec}istiodRemote.injectionPath"
    beyond = value_at(one.value, "spec", "unvalidatedValues", "global", "meshID")
    if isinstance(beyond, str) and beyond:
        yield "mesh_id", beyond, "spec.unvalidatedValues.global.meshID"
    for what, path in _SAID_BESIDE.get(one.kind, ()):
        value = value_at(one.value, *path)
        if isinstance(value, str) and value:
            yield what, value, ".".join(path)
    for path in _VERSIONS.get(one.kind, ()):
        tag = value_at(one.value, *path)
        version = None if tag is None else _TAG.match(str(tag))
        if version is not None:
            yield "version", version[1], ".".join(path)
    if one.kind == "IstioControlPlane":
        yield "version", "1.4", "kind"
    name = one.found.name
    if one.kind == "Istio" and one.main and name not in ("", "default"):
        yield "revision", name, "metadata.name"


_SAID: tuple[tuple[str, Path], ...] = (
    ("id", ("global", "multiCluster", "clusterName")),
    ("network", ("global", "network")),
    ("mesh_id", ("global", "meshID")),
    ("mesh_id", ("meshConfig", "defaultConfig", "meshId")),
    ("trust_domain", ("meshConfig", "trustDomain")),
    ("namespace", ("global", "istioNamespace")),
    ("revision", ("revision",)),
    ("address", ("global", "remotePilotAddress")),
)
_SAID_BESIDE: Mapping[str, tuple[tuple[str, Path], ...]] = {
    "IstioControlPlane": (("namespace", ("spec", "defaultNamespace")),),
    "IstioOperator": (
        ("namespace", ("spec", "namespace")),
        ("revision", ("spec", "revision")),
        ("trust_domain", ("spec", "meshConfig", "trustDomain")),
        ("mesh_id", ("spec", "meshConfig", "defaultConfig", "meshId")),
    ),
    "Istio": (("namespace", ("spec", "namespace")),),
}

_VERSIONS: Mapping[str, tuple[Path, ...]] = {
    "IstioOperator": (("spec", "tag"),),
    "Istio": (("spec", "version"),),
    "HelmRelease": (("spec", "chart", "spec", "version"),),
    "Application": (("spec", "source", "targetRevision"),),
}


def version_of(image: str) -> str | None:
    """The version of Istio that the image of istiod states, None where it is another image."""
    name, _, tag = image.partition("@")[0].rpartition(":")
    found = _TAG.match(tag) if name.endswith("/pilot") else None
    return None if found is None else found[1]


def mesh_networks(values: Json) -> Mapping[str, Any]:
    """The networks that values declare; 1.4 has them below `networks`, and what is nested so by
    mistake is read too.
    """
    for path in (("global", "meshNetworks"), ("pilot", "meshNetworks"), ("meshNetworks",)):
        found = value_at(values, *path)
        if isinstance(found, dict) and found:
            inner = found.get("networks")
            return inner if isinstance(inner, dict) and set(found) == {"networks"} else found
    return {}
