"""Target Application: Istio's charts, each as an Application of Argo CD (argoproj.io/v1alpha1)."""

from collections.abc import Callable, Iterator

from kubectl_mesh.delivery import delivery_of
from kubectl_mesh.delivery.argocd import HERE, ArgoCd, stage_name
from kubectl_mesh.delivery.removal import Installation, PlaneRemoval, cascade_commands
from kubectl_mesh.istio import versions
from kubectl_mesh.model import Cluster, Json, Member, Plan, Topology
from kubectl_mesh.targets import charts, values
from kubectl_mesh.targets.images import stated_at
from kubectl_mesh.targets.target import Base, PlaneFile
from kubectl_mesh.targets.uninstall import release_names
from kubectl_mesh.yaml_io.merge_patch import Replacement

IGNORED: list[dict[str, object]] = [
    {
        "group": "admissionregistration.k8s.io",
        "jqPathExpressions": [".webhooks[]?.clientConfig.caBundle", ".webhooks[]?.failurePolicy"],
        "kind": kind,
    }
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
]
"""What istiod writes into its webhooks once it runs: the CA, and that they fail closed."""


class Application(charts.ChartTarget):
    """Applications that Argo CD installs."""

    KIND = "Application"
    API_VERSION = "argoproj.io/v1alpha1"
    SCHEMAS = dict.fromkeys(charts.ORDER, "kinds/application-argoproj-v1alpha1.json")
    VALUES = ("spec", "source", "helm", "valuesObject")
    CHART = ("spec", "source", "chart")
    VERSION = ("spec", "source", "targetRevision")
    NAMESPACE = ("spec", "destination", "namespace")
    HUB = True
    MERGED = (("spec", "syncPolicy", "syncOptions"), ("spec", "ignoreDifferences"))
    TOOLS = ("kubectl", "argocd")
    READ_BY = "its objects are for Argo CD"
    STARTER = f"""\
# The control plane, customised once for all clusters: Istio's Helm charts, installed by Argo CD.
# This document is for the chart istiod, and what is not under valuesObject counts for all charts. \
Documents for base, cni, ztunnel
# and gateway may follow, each after a line of three dashes and with its chart's name.
# `kubectl mesh render` lays what makes the mesh over it; \
its report names the settings that are lost by that.
apiVersion: {API_VERSION}
kind: {KIND}
spec:
  project: default
  source:
    chart: istiod
    targetRevision: {versions.DEFAULT_VERSION}
    helm:
      valuesObject:
        meshConfig:
          # Every request is logged by the proxies; remove it where that is too much.
          accessLogFile: /dev/stdout
  syncPolicy:
    automated: {{}}
"""

    def write_spec(self, values: Json) -> dict[str, Json]:
        """The `spec` of the Application of istiod."""
        return {"source": {"chart": "istiod", "helm": {"valuesObject": values}}}

    def chart_namespace(self, base: Base, part: str, cluster: Cluster) -> str:
        """The namespace of a chart; the one that its own document states stays."""
        own = base[part].value if part in base and part in charts.NODE_COMPONENTS else {}
        stated = stated_at(own, self.NAMESPACE)
        return str(stated or cluster.namespace)

    def plane_removal(self, cluster: Installation) -> PlaneRemoval:
        """The Applications with what they installed."""
        names = [stage_name(cluster.name, release) for release in release_names(cluster)]
        kubectl = ["kubectl", f"--context={cluster.context}"]
        commands = cascade_commands(kubectl, ArgoCd.NAMESPACE, names)
        return PlaneRemoval(tuple(commands), tuple(names))

    def plane_files(self, plan: Plan, base: Base) -> Callable[[Member], Iterator[PlaneFile]]:
        """Gives for each cluster an Application for each chart."""
        wanted = charts.ChartPlan(plan, self.base_values(base))
        under = {part: self.base_object(base, part) for part in charts.ORDER}

        def of(member: Member) -> Iterator[PlaneFile]:
            waves: dict[str, int] = {}
            for chart in wanted.list_charts(member):
                part, below = chart.part, under[chart.part]
                waves[chart.release] = 1 + max((waves[after] for after in chart.after), default=-1)
                namespace = self.chart_namespace(base, part, member.cluster)
                overlay = {
                    "apiVersion": self.API_VERSION,
                    "kind": self.KIND,
                    "metadata": _metadata(
                        member.cluster, plan.topology, chart, waves[chart.release]
                    ),
                    "spec": _spec(member.cluster, plan.topology, chart, below, namespace),
                }
                yield PlaneFile(f"{chart.release}.yaml", overlay, part, below)

        return of


def _metadata(
    cluster: Cluster, topology: Topology, chart: charts.Chart, wave: int
) -> dict[str, object]:
    return {
        "annotations": {"argocd.argoproj.io/sync-wave": str(wave)},
        # Several clusters may have theirs in one Argo CD.
        "name": stage_name(cluster.name, chart.release),
        "namespace": topology.delivery.namespace or ArgoCd.NAMESPACE,
    }


def _spec(
    cluster: Cluster, topology: Topology, chart: charts.Chart, base: Json, namespace: str
) -> dict[str, object]:
    where: dict[str, object] = (
        {"name": cluster.name} if delivery_of(topology).CENTRAL else dict(HERE)
    )
    stated = _base_list(base, ("spec", "syncPolicy"), "syncOptions")
    # CRDs are too large for the annotation of a client-side apply; and what is ignored below must
    # not be written back.
    options = [
        *stated,
        *(o for o in ("ServerSideApply=true", "RespectIgnoreDifferences=true") if o not in stated),
    ]
    return {
        # Argo CD refuses one with both a name and a server.
        "destination": Replacement({**where, "namespace": namespace}),
        **(
            {"ignoreDifferences": [*_base_list(base, ("spec",), "ignoreDifferences"), *IGNORED]}
            if chart.part in ("base", "istiod")
            else {}
        ),
        "project": values.stated_values(base, ("spec",)).get("project", topology.delivery.project),
        "source": {
            "chart": chart.part,
            "helm": {"releaseName": chart.release, "valuesObject": chart.values},
            # Argo CD knows a registry of charts by a URL without its scheme.
            "repoURL": charts.repository_url(topology).removeprefix("oci://"),
            "targetRevision": chart.version,
        },
        "syncPolicy": {"syncOptions": options},
    }


def _base_list(base: Json, path: tuple[str, ...], key: str) -> list[object]:
    """What base.yaml lists there, to which the mesh adds, for a list is replaced as a whole."""
    found = values.stated_values(base, path).get(key)
    return found if isinstance(found, list) else []
