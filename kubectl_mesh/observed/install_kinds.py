"""The kinds of documents that install Istio: where each has the chart's values, its version and its
chart.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_mesh.model import Json
from kubectl_mesh.yaml_io.lookup import mapping_at, text_at

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InstallKind:
    """A kind of documents: its API, and the paths of what they state."""

    api_version: str
    version: Path
    part: str = ""
    """The part of Istio that it installs; empty where each document states it."""
    values: Path = ("spec", "values")
    """Where the values of Istio's chart are."""
    chart: Path = ()
    """Where the name of the chart is, for what installs charts."""
    namespace: Path = ()
    """Where a component on the nodes has its namespace."""

    @property
    def group(self) -> str:
        """The group of its API."""
        return self.api_version.partition("/")[0]


INSTALL_KINDS: Mapping[str, InstallKind] = {
    "IstioControlPlane": InstallKind("install.istio.io/v1alpha2", ("spec", "tag"), "istiod"),
    "IstioOperator": InstallKind("install.istio.io/v1alpha1", ("spec", "tag")),
    "Istio": InstallKind("sailoperator.io/v1", ("spec", "version"), "istiod"),
    "IstioCNI": InstallKind(
        "sailoperator.io/v1", ("spec", "version"), "cni", namespace=("spec", "namespace")
    ),
    "ZTunnel": InstallKind(
        "sailoperator.io/v1", ("spec", "version"), "ztunnel", namespace=("spec", "namespace")
    ),
    "HelmRelease": InstallKind(
        "helm.toolkit.fluxcd.io/v2",
        ("spec", "chart", "spec", "version"),
        chart=("spec", "chart", "spec", "chart"),
        namespace=("spec", "targetNamespace"),
    ),
    "Application": InstallKind(
        "argoproj.io/v1alpha1",
        ("spec", "source", "targetRevision"),
        values=("spec", "source", "helm", "valuesObject"),
        chart=("spec", "source", "chart"),
        namespace=("spec", "destination", "namespace"),
    ),
}
CONTROL_PLANE_KINDS = tuple(
    name for name, kind in INSTALL_KINDS.items() if kind.part in ("", "istiod")
)
"""The kinds that base.yaml may have for istiod."""
CHARTS = ("istiod", "base", "cni", "ztunnel", "gateway")
NODE_COMPONENTS = ("cni", "ztunnel")
"""The parts that run on every node."""
EAST_WEST = "eastwest"
"""The part that an IstioOperator of the profile `empty` installs: the east-west gateway."""
DEFAULT_REVISION = "default"
CLUSTER_NAME, MESH_ID, NETWORK, NAMESPACE = (
    ("multiCluster", "clusterName"),
    ("meshID",),
    ("network",),
    ("istioNamespace",),
)
"""What the values state of a cluster, by the path below `global`."""
UNVALIDATED = ("unvalidatedValues", "global")
"""Where an IstioOperator has values of `global` that its schema does not know."""
_TAG = re.compile(r"v?(1\.[0-9]+(?:\.[0-9]+)?)(?:[-.].*)?\Z")


def part_name(kind: str, value: Json) -> str | None:
    """The part of Istio that a document installs: `istiod`, `base`, `cni`, `ztunnel`, `gateway`,
    `eastwest`, or the name of another chart; None where it names no chart.
    """
    known = INSTALL_KINDS[kind]
    if kind == "IstioOperator":
        return EAST_WEST if text_at(value, "spec", "profile") == "empty" else "istiod"
    if known.chart:
        chart = text_at(value, *known.chart)
        return None if chart is None else chart.rsplit("/", 1)[-1]
    return known.part


def chart_values(kind: str, value: Json) -> Mapping[str, Any]:
    """The values of Istio's chart in a document, empty where there are none."""
    return mapping_at(value, *INSTALL_KINDS[kind].values)


def revision_of_name(kind: str, name: str) -> str | None:
    """The revision that the name of an object states; None where it states none."""
    return name if kind == "Istio" and name not in ("", DEFAULT_REVISION) else None


def stated_version(kind: str, value: Json) -> str | None:
    """The version as a topology writes it, 1.30.3, or 1.30 for the newest of a line; whatever else
    stands there as it is.
    """
    stated = text_at(value, *INSTALL_KINDS[kind].version)
    return None if stated is None else stated.removeprefix("v").removesuffix("-latest")


def release_of_tag(tag: str) -> str | None:
    """The release of Istio that a tag names, without what a vendor appends; None for another."""
    found = _TAG.match(tag)
    return None if found is None else found[1]
