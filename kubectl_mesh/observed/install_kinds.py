"""The kinds of documents that install Istio, with the paths of their values, version and chart."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from kubectl_mesh.model import Json
from kubectl_mesh.targets import KINDS
from kubectl_mesh.targets.charts import ChartTarget
from kubectl_mesh.targets.istio import Istio
from kubectl_mesh.targets.istiooperator import EAST_WEST, IstioOperator
from kubectl_mesh.targets.target import Path, Target
from kubectl_mesh.yaml_io.lookup import mapping_at, text_at


@dataclass(frozen=True, slots=True)
class InstallKind:
    """A kind of documents: its API, and the paths of its settings."""

    api_version: str
    version_path: Path
    component: str = ""
    """The component of Istio that it installs; empty if each document states it."""
    values_path: Path = Target.VALUES
    """The path of the values of Istio's chart."""
    chart_path: Path = ()
    """The path of the chart's name, for kinds that install charts."""
    namespace_path: Path = ()
    """The path of the namespace of a node component."""

    @property
    def group(self) -> str:
        """The group of its API."""
        return self.api_version.partition("/")[0]


def list_kinds(target: Target) -> Iterator[tuple[str, InstallKind]]:
    """The kinds of documents of a target, by name."""
    base = InstallKind(target.API_VERSION, target.VERSION, values_path=target.VALUES)
    if isinstance(target, ChartTarget):
        yield target.KIND, replace(base, chart_path=target.CHART, namespace_path=target.NAMESPACE)
        return
    yield (
        target.KIND,
        base if target.KIND == IstioOperator.KIND else replace(base, component="istiod"),
    )
    for part, kind in target.NODE_KINDS.items():
        yield kind, replace(base, component=part, namespace_path=target.NAMESPACE)


INSTALL_KINDS: Mapping[str, InstallKind] = dict(
    kind for target in KINDS.values() for kind in list_kinds(target)
)
DEFAULT_REVISION = "default"
CLUSTER_NAME, MESH_ID, NETWORK, NAMESPACE = (
    ("multiCluster", "clusterName"),
    ("meshID",),
    ("network",),
    ("istioNamespace",),
)
"""What the values state of a cluster, by the path below `global`."""
UNVALIDATED = ("unvalidatedValues", "global")
"""The path of those `global` values in an IstioOperator that its schema does not know."""
_TAG = re.compile(r"v?(1\.[0-9]+(?:\.[0-9]+)?)(?:[-.].*)?\Z")


def component_name(kind: str, value: Json) -> str | None:
    """The component of Istio that a document installs: `istiod`, `base`, `cni`, `ztunnel`,
    `gateway`, `eastwest`, or the name of another chart; None if it names no chart.
    """
    known = INSTALL_KINDS[kind]
    if kind == IstioOperator.KIND:
        return EAST_WEST if text_at(value, "spec", "profile") == "empty" else "istiod"
    if known.chart_path:
        chart = text_at(value, *known.chart_path)
        return None if chart is None else chart.rsplit("/", 1)[-1]
    return known.component


def chart_values(kind: str, value: Json) -> Mapping[str, Any]:
    """The values of Istio's chart in a document, empty if there are none."""
    return mapping_at(value, *INSTALL_KINDS[kind].values_path)


def revision_from_name(kind: str, name: str) -> str | None:
    """The revision in the name of an object; None if it has none."""
    return name if kind == Istio.KIND and name not in ("", DEFAULT_REVISION) else None


def stated_version(kind: str, value: Json) -> str | None:
    """The version in the topology's notation: 1.30.3, or 1.30 for the newest patch; any other text
    unchanged.
    """
    stated = text_at(value, *INSTALL_KINDS[kind].version_path)
    return None if stated is None else stated.removeprefix("v").removesuffix("-latest")


def release_from_tag(tag: str) -> str | None:
    """The Istio release in an image tag, without a vendor's suffix; None for another tag."""
    found = _TAG.match(tag)
    return None if found is None else found[1]
