"""Target HelmRelease: Istio's charts, each as a HelmRelease of Flux (helm.toolkit.fluxcd.io/v2),
and the repository that they come from.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kubectl_mesh.errors import Problem
from kubectl_mesh.istio import versions
from kubectl_mesh.model import Cluster, Document, Json, Member, Pki, Plan, Topology
from kubectl_mesh.plan import Traits
from kubectl_mesh.targets import charts, modern, node_components, values
from kubectl_mesh.targets.replaced import replaced_problems
from kubectl_mesh.text import shown
from kubectl_mesh.yaml_io.manifest import document
from kubectl_mesh.yaml_io.merge_patch import Whole, merge

KIND = "HelmRelease"
API_VERSION = "helm.toolkit.fluxcd.io/v2"
HUB = False
APPLIED = True
VERSION = ("spec", "chart", "spec", "version")
"""Where a document of base.yaml states a version."""
KEY_TYPE = "ec-p256"
SCHEMAS = dict.fromkeys(charts.ORDER, "kinds/helmrelease-helm-v2.json")
VALUES = ("spec", "values")
REPOSITORY = "istio"

STARTER = f"""\
# The control plane, customised once for all clusters: Istio's Helm charts, installed by Flux.
# This document is for the chart istiod, and what is not under values counts for all charts. \
Documents for base, cni, ztunnel and
# gateway may follow, each after a line of three dashes and with its chart's name.
# `kubectl mesh render` lays what makes the mesh over it; \
its report names the settings that are lost by that.
apiVersion: {API_VERSION}
kind: {KIND}
spec:
  interval: 10m
  chart:
    spec:
      chart: istiod
      version: {versions.DEFAULT}
  values:
    meshConfig:
      # Every request is logged by the proxies; remove it where that is too much.
      accessLogFile: /dev/stdout
"""
DEFAULT_BASE: Json = {}


def traits(topology: Topology) -> Traits:
    """Istiod finds gateways; a chart makes them."""
    return modern.traits("Chart", topology)


def _chart(value: Json) -> Mapping[str, Any]:
    return values.stated(value, ("spec", "chart", "spec"))


def part(value: Mapping[str, Any]) -> str:
    """What a document of base.yaml customises: the chart that it names."""
    return charts.part(_chart(dict(value)).get("chart"))


def version(base: Mapping[str, Document]) -> str | None:
    """The version that base.yaml states."""
    return charts.version(_chart(base["istiod"].value).get("version")) if "istiod" in base else None


def problems(topology: Topology) -> Iterator[Problem]:
    """What the topology asks for that Istio's charts cannot give."""
    return charts.problems(topology, KIND, ("kubectl", "flux"))


def checked(
    part: str, topology: Topology, read: values.Read
) -> Iterator[tuple[tuple[str, ...], Mapping[str, object]]]:
    """What in a document of base.yaml the schema of its kind leaves open, each path with its
    schema.
    """
    return charts.checked(part, VALUES, read)


def base_problems(base: Mapping[str, Document], topology: Topology) -> Iterator[Problem]:
    """What is wrong with a base.yaml beyond its schema."""
    yield from charts.release_problems(
        base,
        topology,
        lambda value: _chart(value).get("version"),
        ("spec", "chart", "spec", "version"),
    )
    yield from values.problems(base["istiod"], VALUES, topology)
    if "base" in base:
        yield from values.reader_problems(base["base"], VALUES, topology, creates=True)
    service = (
        values.stated(base["gateway"].value, (*VALUES, "service")) if "gateway" in base else {}
    )
    yield from modern.gateway_address_problems(topology, "Chart", service)
    yield from _namespace_problems(base, topology)
    own = values.stated(base["istiod"].value, VALUES)
    accounts = {
        c.name: component_accounts(base, topology, c).get("ztunnel", "") for c in topology.clusters
    }
    place = base["istiod"].place(*VALUES, "pilot")
    yield from node_components.trust_problems(
        topology, own, node_components.stated_platform(own), accounts, place, ".".join(VALUES)
    )


def _namespace_problems(base: Mapping[str, Document], topology: Topology) -> Iterator[Problem]:
    """A targetNamespace of istiod, base or gateway that is not Istio's namespace, where cacerts
    is.
    """
    for part, found in base.items():
        target = values.stated(found.value, ("spec",)).get("targetNamespace")
        cluster = next((c for c in topology.clusters if target not in (None, c.namespace)), None)
        if cluster is not None and part not in charts.NODE_COMPONENTS:
            what = (
                f"installs the chart {part} into {shown(target)}, and Istio's namespace in"
                f" {cluster.name} is {shown(cluster.namespace)}"
            )
            fix = f"remove it, or state contexts.{cluster.context}.namespace"
            yield Problem(found.place("spec", "targetNamespace"), what, fix, "base-valid")


def warnings(topology: Topology, pki: Pki) -> Iterator[Problem]:
    """What Istio takes, but not as one might think."""
    return modern.warnings(topology)


def can_detect_platform(base: Mapping[str, Document]) -> bool:
    """Whether an operator in the cluster chooses the ztunnel that istiod trusts."""
    return False


def component_accounts(
    base: Mapping[str, Document], topology: Topology, cluster: Cluster
) -> dict[str, str]:
    """The namespace and the account of each component on the nodes."""

    def namespace(part: str) -> str:
        return str(
            values.stated(charts.merged(base, part, VALUES), ("spec",)).get("targetNamespace")
            or cluster.namespace
        )

    return charts.component_accounts(base, topology, VALUES, namespace)


def _release(member: Member, chart: charts.Chart) -> dict[str, object]:
    # Of another namespace, it would be another repository.
    source = Whole({"kind": "HelmRepository", "name": REPOSITORY})
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": chart.release, "namespace": member.cluster.namespace},
        "spec": {
            "chart": {"spec": {"chart": chart.part, "sourceRef": source, "version": chart.version}},
            **({"dependsOn": [{"name": name} for name in chart.after]} if chart.after else {}),
            "releaseName": chart.release,
            "values": chart.values,
        },
    }


def _repository(cluster: Cluster, topology: Topology) -> dict[str, object]:
    url = charts.url(topology)
    oci = {"type": "oci"} if url.startswith("oci://") else {}
    return {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "HelmRepository",
        "metadata": {"name": REPOSITORY, "namespace": cluster.namespace},
        "spec": {"interval": "1h", **oci, "url": url},
    }


_DEFAULTS: dict[str, object] = {
    "spec": {"interval": "10m", "install": {"remediation": {"retries": 3}}}
}
"""What a HelmRelease wants that base.yaml need not say."""


def control_plane(
    plan: Plan, base: Mapping[str, Document]
) -> Callable[[Member], Iterator[tuple[str, str]]]:
    """For a cluster the files of its control plane, each with its text."""
    wanted = charts.charts(plan, charts.base_values(base, VALUES))
    under = {name: merge(_DEFAULTS, charts.merged(base, name, VALUES)) for name in charts.ORDER}

    def of(member: Member) -> Iterator[tuple[str, str]]:
        yield "helmrepository.yaml", document(_repository(member.cluster, plan.topology))
        for chart in wanted(member):
            yield (
                f"{chart.release}.yaml",
                document(merge(under[chart.part], _release(member, chart))),
            )

    return of


def lost_settings(plan: Plan, base: Mapping[str, Document]) -> list[Problem]:
    """The values of base.yaml that the mesh replaces, each with its line."""
    wanted = charts.charts(plan, charts.base_values(base, VALUES))
    objects = (
        (chart.part, _release(m, chart))
        for m in plan.members.values()
        if not m.waits
        for chart in wanted(m)
    )
    return replaced_problems(
        base, objects, plan, STARTER, ("spec", "chart", "spec", "version"), charts.version
    )
