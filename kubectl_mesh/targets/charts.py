"""Istio's Helm charts as a cluster needs them: which, in what order, of which version, with which
values.

Istio's manifests/charts: base, istio-control/istio-discovery (istiod), istio-cni (cni), ztunnel,
gateway. The values of istiod are those that Sail and istioctl read too.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_mesh.errors import Problem
from kubectl_mesh.istio import versions
from kubectl_mesh.istio.east_west_gateway import NAME, SELECTOR, VIEW, labels, service_ports
from kubectl_mesh.model import Document, Json, Member, Plan, Release, Topology
from kubectl_mesh.targets import images, modern, values
from kubectl_mesh.text import shown
from kubectl_mesh.yaml_io.merge_patch import merge

REPOSITORY: str = versions.RELEASES["charts"]["home"]
"""Where Istio publishes its charts."""
ORDER = ("istiod", "base", "cni", "ztunnel", "gateway")
"""The charts that base.yaml may customise, the main one first."""
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


def version(text: object) -> str | None:
    """A chart's version as the topology writes it."""
    found = _VERSION.match(str(text))
    return None if found is None else found[1]


def release_problems(
    base: Mapping[str, Document],
    topology: Topology,
    stated: Callable[[Json], object],
    path: tuple[str, ...],
) -> Iterator[Problem]:
    """A chart without a version, or with one that is no pin; `path` is where base.yaml states
    it.
    """
    main = base.get("istiod")
    if main is None:
        return
    text = stated(main.value)
    if text is None and any(c.version is None for c in topology.clusters):
        what = "no version of the charts is stated, here or in the topology"
        yield Problem(
            main.place("spec"),
            what,
            f'state istio: {{version: "{versions.DEFAULT}"}} in the topology',
            "istio-version",
        )
    elif text is not None and version(text) is None:
        what = f"{shown(text)} is no version that a chart can be pinned to"
        yield Problem(
            main.place(*path),
            what,
            f"write a whole version, such as {versions.DEFAULT}",
            "istio-version",
        )


def charts(plan: Plan, base: Mapping[str, Json]) -> Callable[[Member], Iterator[Chart]]:
    """For a cluster its charts, in the order in which they are installed. `base` are the values of
    base.yaml by chart.
    """
    made = values.Values(plan)
    topology = plan.topology

    def hub(paths: images.HubPaths, part: str, version: str | None) -> Mapping[str, Json]:
        return images.hub_overlay(
            paths, base.get(part), topology, needed=images.is_hub_needed(version)
        )

    def of(member: Member) -> Iterator[Chart]:
        cluster = member.cluster
        namespace = {"istioNamespace": cluster.namespace}
        profile = (
            "remote" if member.primary is not None else "ambient" if topology.ambient else None
        )
        pinned = {"profile": profile} if profile is not None else {}
        newest = max(
            (r.version or "" for r in cluster.releases),
            key=lambda v: [int(n) for n in v.split(".")] if v else [],
        )
        # The definitions of the newest serve the older control plane too.
        yield Chart(
            "base",
            "istio-base",
            newest,
            {"global": namespace, **({"profile": "remote"} if member.primary is not None else {})},
            (),
        )
        for release in cluster.releases:
            own: dict[str, Any] = {**made.of(member, base.get("istiod")), **pinned}
            if release.revision:
                own["revision"] = release.revision
            own = images.with_hub(own, hub(images.ISTIOD_CHART, "istiod", release.version))
            yield Chart("istiod", _istiod(release), release.version or "", own, ("istio-base",))
        stable = cluster.releases[0]
        ready: tuple[str, ...] = (_istiod(stable),)
        if topology.ambient or "cni" in base or _cni_on(base):
            own = images.with_hub(
                {"profile": "ambient"} if topology.ambient else {},
                hub(images.CNI_CHART, "cni", stable.version),
            )
            yield Chart("cni", "istio-cni", stable.version or "", own, ready)
            ready = ("istio-cni",)
        if topology.ambient:
            zone: dict[str, Any] = {
                **namespace,
                "multiCluster": {"clusterName": cluster.name},
                "network": cluster.network,
                **values.ztunnel(topology),
            }
            zone = images.with_hub(zone, hub(images.ZTUNNEL_CHART, "ztunnel", stable.version))
            yield Chart("ztunnel", "ztunnel", stable.version or "", zone, ready)
        if member.gateway_kind == "Chart":
            yield Chart(
                "gateway", NAME, stable.version or "", gateway(member, plan), (_istiod(stable),)
            )

    return of


NODE_COMPONENTS = ("cni", "ztunnel")
"""The charts of what runs on every node, which may have a namespace of its own."""


def component_accounts(
    base: Mapping[str, Document],
    topology: Topology,
    path: tuple[str, ...],
    namespace: Callable[[str], str],
) -> dict[str, str]:
    """The namespace and the account of each component on the nodes; `namespace` says where a chart
    is installed.
    """
    own = base_values(base, path)
    parts = [
        *(["cni"] if topology.ambient or "cni" in base or _cni_on(own) else []),
        *(["ztunnel"] if topology.ambient else []),
    ]
    names = {
        "cni": "istio-cni",
        "ztunnel": str(own.get("ztunnel", {}).get("resourceName") or "ztunnel"),
    }
    return {part: f"{namespace(part)}/{names[part]}" for part in parts}


def _istiod(release: Release) -> str:
    return f"istiod-{release.revision}" if release.revision else "istiod"


def _cni_on(base: Mapping[str, Json]) -> bool:
    return values.stated(base.get("istiod"), ("pilot", "cni")).get("enabled") is True


def gateway(member: Member, plan: Plan) -> dict[str, Json]:
    """The values of the chart gateway for an east-west gateway."""
    cluster, wanted = member.cluster, member.cluster.east_west
    service: dict[str, Json] = {"type": wanted.service_type}
    if wanted.annotations:
        service["annotations"] = dict(wanted.annotations)
    service["ports"] = service_ports(member, plan)
    made: dict[str, Json] = {
        "env": {VIEW: cluster.network},
        "labels": {"app": NAME, "istio": SELECTOR, **labels(member)},
        "name": NAME,
        "service": service,
    }
    if wanted.replicas is not None:
        made |= {"autoscaling": {"enabled": False}, "replicaCount": wanted.replicas}
    if cluster.revision:
        made["revision"] = cluster.revision
    return made


def url(topology: Topology) -> str:
    """Where the charts are taken from."""
    return topology.charts or REPOSITORY


def base_values(base: Mapping[str, Document], path: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """The values of base.yaml by chart."""
    return {part: dict(values.stated(document.value, path)) for part, document in base.items()}


def problems(topology: Topology, kind: str, tools: tuple[str, ...]) -> Iterator[Problem]:
    """What the topology asks for that charts, or Istio, cannot give."""
    yield from modern.problems(
        topology, kind, versions.CHARTS, tools, ("Chart", "Deployment", "Gateway"), exact=True
    )


def part(chart: object) -> str:
    """The chart that a document names; its schema reports a name that is not a text."""
    return chart if isinstance(chart, str) else "istiod"


def checked(
    part: str, path: tuple[str, ...], read: values.Read
) -> Iterator[tuple[tuple[str, ...], Mapping[str, object]]]:
    """Where a document of base.yaml holds values, and their schema."""
    yield (
        path,
        (
            values.schema(read, chart=True, more={})
            if part == "istiod"
            else read(f"values/{part}.json")
        ),
    )


def merged(base: Mapping[str, Document], part: str, path: tuple[str, ...]) -> Json:
    """The object that a chart's is laid over: the main document without its values, and the chart's
    own over it.
    """
    main: Any = base["istiod"].value if "istiod" in base else {}
    if part == "istiod":
        return main
    own: Any = base[part].value if part in base else {}
    return merge(_without(main, path), own)


def _without(value: Json, path: tuple[str, ...]) -> Json:
    if not isinstance(value, dict) or path[0] not in value:
        return value
    rest = {k: v for k, v in value.items() if k != path[0]}
    if len(path) > 1:
        rest[path[0]] = _without(value[path[0]], path[1:])
    return rest
