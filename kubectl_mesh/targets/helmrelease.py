"""Target HelmRelease: Istio's charts, each as a HelmRelease of Flux (helm.toolkit.fluxcd.io/v2),
and the repository that they come from.
"""

from collections.abc import Callable, Iterator

from kubectl_mesh.delivery.removal import LAST, Installation, PlaneRemoval, kubectl_command
from kubectl_mesh.errors import Problem
from kubectl_mesh.istio import versions
from kubectl_mesh.model import Cluster, Json, Member, Plan, Topology
from kubectl_mesh.targets import charts
from kubectl_mesh.targets.images import stated_at
from kubectl_mesh.targets.target import Base, PlaneFile
from kubectl_mesh.targets.uninstall import release_names
from kubectl_mesh.text import value_text
from kubectl_mesh.yaml_io.merge_patch import Replacement, merge_values

REPOSITORY = "istio"
_DEFAULTS: dict[str, object] = {
    "spec": {"interval": "10m", "install": {"remediation": {"retries": 3}}}
}
"""What a HelmRelease wants that base.yaml need not say."""


class HelmRelease(charts.ChartTarget):
    """HelmReleases that Flux installs."""

    KIND = "HelmRelease"
    API_VERSION = "helm.toolkit.fluxcd.io/v2"
    SCHEMAS = dict.fromkeys(charts.ORDER, "kinds/helmrelease-helm-v2.json")
    CHART = ("spec", "chart", "spec", "chart")
    VERSION = ("spec", "chart", "spec", "version")
    NAMESPACE = ("spec", "targetNamespace")
    TOOLS = ("kubectl", "flux")
    READ_BY = "its objects are for Flux"
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
      version: {versions.DEFAULT_VERSION}
  values:
    meshConfig:
      # Every request is logged by the proxies; remove it where that is too much.
      accessLogFile: /dev/stdout
"""

    def write_spec(self, values: Json) -> dict[str, Json]:
        """The `spec` of the HelmRelease of istiod."""
        return {"chart": {"spec": {"chart": "istiod"}}, "interval": "10m", "values": values}

    def chart_namespace(self, base: Base, part: str, cluster: Cluster) -> str:
        """The namespace of a chart, as base.yaml states it."""
        stated = stated_at(self.base_object(base, part), self.NAMESPACE)
        return str(stated or cluster.namespace)

    def chart_namespace_problems(self, base: Base, topology: Topology) -> Iterator[Problem]:
        """A targetNamespace of istiod, base or gateway that is not Istio's namespace, where cacerts
        is.
        """
        for part, found in base.items():
            target = stated_at(found.value, self.NAMESPACE)
            cluster = next(
                (c for c in topology.clusters if target not in (None, c.namespace)), None
            )
            if cluster is not None and part not in charts.NODE_COMPONENTS:
                yield Problem(
                    found.field_place(*self.NAMESPACE),
                    f"installs the chart {part} into {value_text(target)}, and Istio's namespace in"
                    f" {cluster.name} is {value_text(cluster.namespace)}",
                    f"remove it, or state contexts.{cluster.context}.namespace",
                    "base-valid",
                    code="chart-outside-istio-namespace",
                )

    def plane_removal(self, cluster: Installation) -> PlaneRemoval:
        """The HelmReleases, of which each uninstalls its chart."""
        kind = "helmreleases.helm.toolkit.fluxcd.io"
        words = ("-n", cluster.namespace, "delete", kind, *release_names(cluster), *LAST)
        return PlaneRemoval((kubectl_command(cluster.context, *words),))

    def plane_files(self, plan: Plan, base: Base) -> Callable[[Member], Iterator[PlaneFile]]:
        """Gives for each cluster the repository, and a HelmRelease for each chart."""
        wanted = charts.ChartPlan(plan, self.base_values(base))
        under = {
            name: merge_values(_DEFAULTS, self.base_object(base, name)) for name in charts.ORDER
        }

        def of(member: Member) -> Iterator[PlaneFile]:
            yield PlaneFile("helmrepository.yaml", _repository(member.cluster, plan.topology))
            for chart in wanted.list_charts(member):
                overlay = {
                    "apiVersion": self.API_VERSION,
                    "kind": self.KIND,
                    "metadata": {"name": chart.release, "namespace": member.cluster.namespace},
                    "spec": _spec(chart),
                }
                yield PlaneFile(f"{chart.release}.yaml", overlay, chart.part, under[chart.part])

        return of


def _spec(chart: charts.Chart) -> dict[str, object]:
    # Of another namespace, it would be another repository.
    source = Replacement({"kind": "HelmRepository", "name": REPOSITORY})
    return {
        "chart": {"spec": {"chart": chart.part, "sourceRef": source, "version": chart.version}},
        **({"dependsOn": [{"name": name} for name in chart.after]} if chart.after else {}),
        "releaseName": chart.release,
        "values": chart.values,
    }


def _repository(cluster: Cluster, topology: Topology) -> dict[str, object]:
    url = charts.repository_url(topology)
    oci = {"type": "oci"} if url.startswith("oci://") else {}
    return {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "HelmRepository",
        "metadata": {"name": REPOSITORY, "namespace": cluster.namespace},
        "spec": {"interval": "1h", **oci, "url": url},
    }
