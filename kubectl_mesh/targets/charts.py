"""Istio's Helm charts as a cluster needs them: which, in what order, of which version, with which
values; and the targets that install them.

Istio's manifests/charts: base, istio-control/istio-discovery (istiod), istio-cni (cni), ztunnel,
gateway. The values of istiod are those that Sail and istioctl read too.
"""

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from kubectl_mesh.errors import Problem
from kubectl_mesh.istio import versions
from kubectl_mesh.istio.east_west_gateway import (
    GATEWAY_NAME,
    GATEWAY_SELECTOR,
    NETWORK_VIEW_VARIABLE,
    discovery_labels,
    service_ports,
)
from kubectl_mesh.model import Cluster, Json, Member, Plan, Release, Topology
from kubectl_mesh.targets import images, values
from kubectl_mesh.targets.gateway_rules import gateway_address_problems
from kubectl_mesh.targets.images import stated_at
from kubectl_mesh.targets.modern import ModernTarget
from kubectl_mesh.targets.node_components import stated_platform
from kubectl_mesh.targets.target import Base, Path, ReadSchema
from kubectl_mesh.targets.value_rules import StatedValues, reader_problems, value_problems
from kubectl_mesh.text import value_text
from kubectl_mesh.yaml_io.merge_patch import merge_values

REPOSITORY: str = versions.RELEASES["charts"]["home"]
"""Where Istio publishes its charts."""
ORDER = ("istiod", "base", "cni", "ztunnel", "gateway")
"""The charts that base.yaml may customise, the main one first."""
NODE_COMPONENTS = ("cni", "ztunnel")
"""The charts of what runs on every node, which may have a namespace of its own."""
_VERSION = re.compile(r"v?(1\.[0-9]+\.[0-9]+)\Z")


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart to install: the part of base.yaml that customises it, the name of the release, its
    version, what the mesh sets, what goes before.
    """

    part: str
    release: str
    version: str
    values: Mapping[str, Json]
    after: tuple[str, ...]


class ChartTarget(ModernTarget):
    """A kind of base.yaml for Istio's charts, each installed by an object of its own."""

    OLDEST = versions.SINCE_CHARTS
    EXACT = True
    GATEWAYS = ("Chart", "Deployment", "Gateway")
    CHART: ClassVar[Path]
    """Where a document names its chart."""

    @abstractmethod
    def chart_namespace(self, base: Base, part: str, cluster: Cluster) -> str:
        """The namespace that a chart is installed into."""

    def part_name(self, value: Mapping[str, Json]) -> str:
        """What a document of base.yaml customises: the chart that it names."""
        # The schema reports a name that is not a text.
        chart = stated_at(value, self.CHART)
        return chart if isinstance(chart, str) else self.main_part

    def read_version(self, value: Json) -> str | None:
        """The version of a chart as the topology writes it."""
        found = _VERSION.match(str(value))
        return None if found is None else found[1]

    def list_schemas(
        self, part: str, topology: Topology, read: ReadSchema
    ) -> Iterator[tuple[Path, Mapping[str, object]]]:
        """Where a document of base.yaml holds values, and their schema."""
        schema = (
            values.values_schema(read, chart=True, more={})
            if part == "istiod"
            else read(f"values/{part}.json")
        )
        yield self.VALUES, schema

    def stated_platform(self, base: Base, topology: Topology) -> str | None:
        """The platform that the values of istiod state."""
        return stated_platform(values.stated_values(base["istiod"].value, self.VALUES))

    def base_problems(self, base: Base, topology: Topology) -> Iterator[Problem]:
        """What is wrong with a base.yaml beyond its schema."""
        yield from self._release_problems(base, topology)
        main = StatedValues(base["istiod"], self.VALUES)
        yield from value_problems(main, topology, creates_reader=False)
        if "base" in base:
            yield from reader_problems(base["base"], self.VALUES, topology, creates=True)
        service = (
            values.stated_values(base["gateway"].value, (*self.VALUES, "service"))
            if "gateway" in base
            else {}
        )
        yield from gateway_address_problems(topology, self.GATEWAYS[0], service)
        yield from self.chart_namespace_problems(base, topology)
        yield from self.ztunnel_problems(base, topology)

    def chart_namespace_problems(self, base: Base, topology: Topology) -> Iterator[Problem]:
        """A stated namespace that does not suit a chart; by default none is stated."""
        return iter(())

    def _release_problems(self, base: Base, topology: Topology) -> Iterator[Problem]:
        """A chart without a version, or with one that is no pin."""
        main = base["istiod"]
        text = stated_at(main.value, self.VERSION)
        if text is None and any(c.version is None for c in topology.clusters):
            yield Problem(
                main.field_place("spec"),
                "no version of the charts is stated, here or in the topology",
                f'state istio: {{version: "{versions.DEFAULT_VERSION}"}} in the topology',
                "istio-version",
                code="istio-version-missing",
            )
        elif text is not None and self.read_version(text) is None:
            yield Problem(
                main.field_place(*self.VERSION),
                f"{value_text(text)} is no version that a chart can be pinned to",
                f"write a whole version, such as {versions.DEFAULT_VERSION}",
                "istio-version",
                code="version-not-exact",
            )

    def component_accounts(
        self, base: Base, topology: Topology, cluster: Cluster
    ) -> dict[str, str]:
        """The namespace and the account of each component on the nodes."""
        own = self.base_values(base)
        parts = [
            *(["cni"] if _needs_cni(own, topology) else []),
            *(["ztunnel"] if topology.is_ambient else []),
        ]
        names = {
            "cni": "istio-cni",
            "ztunnel": str(own.get("ztunnel", {}).get("resourceName") or "ztunnel"),
        }
        return {
            part: f"{self.chart_namespace(base, part, cluster)}/{names[part]}" for part in parts
        }

    def base_values(self, base: Base) -> dict[str, dict[str, Any]]:
        """The values of base.yaml by chart."""
        return {
            part: dict(values.stated_values(document.value, self.VALUES))
            for part, document in base.items()
        }

    def base_object(self, base: Base, part: str) -> Json:
        """The object that a chart's is laid over: the main document without its values, and the
        chart's own over it.
        """
        main: Any = base["istiod"].value if "istiod" in base else {}
        if part == "istiod":
            return main
        own: Any = base[part].value if part in base else {}
        return merge_values(_without(main, self.VALUES), own)


class ChartPlan:
    """The charts of a plan. `base` are the values of base.yaml by chart."""

    def __init__(self, plan: Plan, base: Mapping[str, Json]) -> None:
        self.plan, self.base = plan, base
        self._values = values.Values(plan)

    def list_charts(self, member: Member) -> Iterator[Chart]:
        """The charts of a cluster, in the order in which they are installed."""
        cluster, topology = member.cluster, self.plan.topology
        yield self._definitions(member)
        for release in cluster.releases:
            own = self._istiod_values(member, release)
            yield Chart("istiod", _istiod(release), release.version or "", own, ("istio-base",))
        stable = cluster.releases[0]
        pinned = stable.version or ""
        ready: tuple[str, ...] = (_istiod(stable),)
        if _needs_cni(self.base, topology):
            own = {"profile": "ambient"} if topology.is_ambient else {}
            own = self._with_hub(own, images.CNI_CHART, "cni", stable.version)
            yield Chart("cni", "istio-cni", pinned, own, ready)
            ready = ("istio-cni",)
        if topology.is_ambient:
            own = {
                "istioNamespace": cluster.namespace,
                "multiCluster": {"clusterName": cluster.name},
                "network": cluster.network,
                **values.ztunnel_values(topology),
            }
            own = self._with_hub(own, images.ZTUNNEL_CHART, "ztunnel", stable.version)
            yield Chart("ztunnel", "ztunnel", pinned, own, ready)
        if member.gateway_kind == "Chart":
            yield Chart(
                "gateway",
                GATEWAY_NAME,
                pinned,
                gateway_values(member, self.plan),
                (_istiod(stable),),
            )

    def _definitions(self, member: Member) -> Chart:
        """The chart base; the definitions of the newest version serve the older control plane
        too.
        """
        cluster = member.cluster
        newest = max(
            (r.version or "" for r in cluster.releases),
            key=lambda v: [int(n) for n in v.split(".")] if v else [],
        )
        profile = {"profile": "remote"} if member.primary is not None else {}
        own = {"global": {"istioNamespace": cluster.namespace}, **profile}
        return Chart("base", "istio-base", newest, own, ())

    def _istiod_values(self, member: Member, release: Release) -> dict[str, Any]:
        own: dict[str, Any] = self._values.build_overlay(member, self.base.get("istiod"))
        if member.primary is not None:
            own["profile"] = "remote"
        elif self.plan.topology.is_ambient:
            own["profile"] = "ambient"
        if release.revision:
            own["revision"] = release.revision
        return self._with_hub(own, images.ISTIOD_CHART, "istiod", release.version)

    def _with_hub(
        self, own: Mapping[str, Any], paths: images.HubPaths, part: str, version: str | None
    ) -> dict[str, Any]:
        needed = images.is_hub_needed(version)
        hub = images.hub_overlay(paths, self.base.get(part), self.plan.topology, needed=needed)
        return images.with_hub(own, hub)


def _istiod(release: Release) -> str:
    return f"istiod-{release.revision}" if release.revision else "istiod"


def _needs_cni(base: Mapping[str, Json], topology: Topology) -> bool:
    """Whether the data plane needs Istio's CNI: ambient does, and sidecars where base.yaml says
    so.
    """
    stated = values.stated_values(base.get("istiod"), ("pilot", "cni")).get("enabled") is True
    return topology.is_ambient or "cni" in base or stated


def gateway_values(member: Member, plan: Plan) -> dict[str, Json]:
    """The values of the chart gateway for an east-west gateway."""
    cluster, wanted = member.cluster, member.cluster.east_west
    service: dict[str, Json] = {"type": wanted.service_type}
    if wanted.annotations:
        service["annotations"] = dict(wanted.annotations)
    service["ports"] = service_ports(member, plan)
    made: dict[str, Json] = {
        "env": {NETWORK_VIEW_VARIABLE: cluster.network},
        "labels": {"app": GATEWAY_NAME, "istio": GATEWAY_SELECTOR, **discovery_labels(member)},
        "name": GATEWAY_NAME,
        "service": service,
    }
    if wanted.replicas is not None:
        made |= {"autoscaling": {"enabled": False}, "replicaCount": wanted.replicas}
    if cluster.revision:
        made["revision"] = cluster.revision
    return made


def repository_url(topology: Topology) -> str:
    """Where the charts are taken from."""
    return topology.chart_repository or REPOSITORY


def _without(value: Json, path: tuple[str, ...]) -> Json:
    if not isinstance(value, dict) or path[0] not in value:
        return value
    rest = {k: v for k, v in value.items() if k != path[0]}
    if len(path) > 1:
        rest[path[0]] = _without(value[path[0]], path[1:])
    return rest
