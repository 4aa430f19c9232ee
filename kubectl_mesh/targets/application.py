"""Target Application: Istio's charts, each as an Application of Argo CD (argoproj.io/v1alpha1)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kubectl_mesh.delivery.teardown import ARGOCD, NAMESPACES, stage_name
from kubectl_mesh.errors import Problem
from kubectl_mesh.istio import versions
from kubectl_mesh.model import Cluster, Document, Json, Member, Pki, Plan, Topology
from kubectl_mesh.plan import Traits
from kubectl_mesh.targets import charts, modern, node_components, values
from kubectl_mesh.targets.replaced import replaced_problems
from kubectl_mesh.yaml_io.manifest import document
from kubectl_mesh.yaml_io.merge_patch import Whole, merge

KIND = "Application"
API_VERSION = "argoproj.io/v1alpha1"
HUB = True
APPLIED = True
VERSION = ("spec", "source", "targetRevision")
"""Where a document of base.yaml states a version."""
KEY_TYPE = "ec-p256"
SCHEMAS = dict.fromkeys(charts.ORDER, "kinds/application-argoproj-v1alpha1.json")
VALUES = ("spec", "source", "helm", "valuesObject")

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
    targetRevision: {versions.DEFAULT}
    helm:
      valuesObject:
        meshConfig:
          # Every request is logged by the proxies; remove it where that is too much.
          accessLogFile: /dev/stdout
  syncPolicy:
    automated: {{}}
"""
DEFAULT_BASE: Json = {}


def traits(topology: Topology) -> Traits:
    """Istiod finds gateways; a chart makes them."""
    return modern.traits("Chart", topology)


def part(value: Mapping[str, Any]) -> str:
    """What a document of base.yaml customises: the chart that it names."""
    return charts.part(values.stated(dict(value), ("spec", "source")).get("chart"))


def version(base: Mapping[str, Document]) -> str | None:
    """The version that base.yaml states."""
    return (
        charts.version(
            values.stated(base["istiod"].value, ("spec", "source")).get("targetRevision")
        )
        if "istiod" in base
        else None
    )


def problems(topology: Topology) -> Iterator[Problem]:
    """What the topology asks for that Istio's charts cannot give."""
    return charts.problems(topology, KIND, ("kubectl", "argocd"))


def checked(
    part: str, topology: Topology, read: values.Read
) -> Iterator[tuple[tuple[str, ...], Mapping[str, object]]]:
    """What in a document of base.yaml the schema of its kind leaves open, each path with its
    schema.
    """
    return charts.checked(part, VALUES, read)


def base_problems(base: Mapping[str, Document], topology: Topology) -> Iterator[Problem]:
    """What is wrong with a base.yaml beyond its schema."""
    path = ("spec", "source", "targetRevision")
    yield from charts.release_problems(
        base,
        topology,
        lambda value: values.stated(value, ("spec", "source")).get("targetRevision"),
        path,
    )
    yield from values.problems(base["istiod"], VALUES, topology)
    if "base" in base:
        yield from values.reader_problems(base["base"], VALUES, topology, creates=True)
    service = (
        values.stated(base["gateway"].value, (*VALUES, "service")) if "gateway" in base else {}
    )
    yield from modern.gateway_address_problems(topology, "Chart", service)
    own = values.stated(base["istiod"].value, VALUES)
    accounts = {
        c.name: component_accounts(base, topology, c).get("ztunnel", "") for c in topology.clusters
    }
    place = base["istiod"].place(*VALUES, "pilot")
    yield from node_components.trust_problems(
        topology, own, node_components.stated_platform(own), accounts, place, ".".join(VALUES)
    )


def warnings(topology: Topology, pki: Pki) -> Iterator[Problem]:
    """What Istio takes, but not as one might think."""
    return modern.warnings(topology)


def name(cluster: Cluster, release: str) -> str:
    """The name of an Application; several clusters may have theirs in one Argo CD."""
    return stage_name(cluster.name, release)


def can_detect_platform(base: Mapping[str, Document]) -> bool:
    """Whether an operator in the cluster chooses the ztunnel that istiod trusts."""
    return False


def component_accounts(
    base: Mapping[str, Document], topology: Topology, cluster: Cluster
) -> dict[str, str]:
    """The namespace and the account of each component on the nodes; the namespace that its own
    document states stays.
    """
    return charts.component_accounts(
        base, topology, VALUES, lambda part: _namespace(base, part, cluster)
    )


def _namespace(base: Mapping[str, Document], part: str, cluster: Cluster) -> str:
    own = base[part].value if part in base and part in charts.NODE_COMPONENTS else {}
    return str(values.stated(own, ("spec", "destination")).get("namespace") or cluster.namespace)


def _listed(base: Json, path: tuple[str, ...], key: str) -> list[object]:
    """What base.yaml lists there, to which the mesh adds, for a list is replaced as a whole."""
    found = values.stated(base, path).get(key)
    return found if isinstance(found, list) else []


def _application(
    member: Member, topology: Topology, chart: charts.Chart, wave: int, base: Json, namespace: str
) -> dict[str, object]:
    cluster, hub = member.cluster, topology.delivery.tool == "argocd"
    where: dict[str, object] = (
        {"name": cluster.name} if hub else {"server": "https://kubernetes.default.svc"}
    )
    url = charts.url(topology)
    stated = _listed(base, ("spec", "syncPolicy"), "syncOptions")
    # CRDs are too large for the annotation of a client-side apply; and what is ignored below must
    # not be written back.
    options = [
        *stated,
        *(o for o in ("ServerSideApply=true", "RespectIgnoreDifferences=true") if o not in stated),
    ]
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "annotations": {"argocd.argoproj.io/sync-wave": str(wave)},
            "name": name(cluster, chart.release),
            "namespace": topology.delivery.namespace or NAMESPACES[ARGOCD],
        },
        "spec": {
            # Argo CD refuses one with both a name and a server.
            "destination": Whole({**where, "namespace": namespace}),
            **(
                {"ignoreDifferences": [*_listed(base, ("spec",), "ignoreDifferences"), *IGNORED]}
                if chart.part in ("base", "istiod")
                else {}
            ),
            "project": values.stated(base, ("spec",)).get("project", topology.delivery.project),
            "source": {
                "chart": chart.part,
                "helm": {"releaseName": chart.release, "valuesObject": chart.values},
                # Argo CD knows a registry of charts by a URL without its scheme.
                "repoURL": url.removeprefix("oci://"),
                "targetRevision": chart.version,
            },
            "syncPolicy": {"syncOptions": options},
        },
    }


IGNORED: list[dict[str, object]] = [
    {
        "group": "admissionregistration.k8s.io",
        "jqPathExpressions": [".webhooks[]?.clientConfig.caBundle", ".webhooks[]?.failurePolicy"],
        "kind": kind,
    }
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
]
"""What istiod writes into its webhooks once it runs: the CA, and that they fail closed."""


def _objects(
    plan: Plan, base: Mapping[str, Document]
) -> Callable[[Member], Iterator[tuple[charts.Chart, Json, dict[str, object]]]]:
    """For a cluster its charts, each with what it is laid over and the overlay."""
    wanted = charts.charts(plan, charts.base_values(base, VALUES))
    under = {part: charts.merged(base, part, VALUES) for part in charts.ORDER}

    def of(member: Member) -> Iterator[tuple[charts.Chart, Json, dict[str, object]]]:
        waves: dict[str, int] = {}
        for chart in wanted(member):
            waves[chart.release] = 1 + max((waves[after] for after in chart.after), default=-1)
            namespace = _namespace(base, chart.part, member.cluster)
            yield (
                chart,
                under[chart.part],
                _application(
                    member, plan.topology, chart, waves[chart.release], under[chart.part], namespace
                ),
            )

    return of


def control_plane(
    plan: Plan, base: Mapping[str, Document]
) -> Callable[[Member], Iterator[tuple[str, str]]]:
    """For a cluster the files of its control plane, each with its text."""
    objects = _objects(plan, base)

    def of(member: Member) -> Iterator[tuple[str, str]]:
        for chart, under, overlay in objects(member):
            yield f"{chart.release}.yaml", document(merge(under, overlay))

    return of


def lost_settings(plan: Plan, base: Mapping[str, Document]) -> list[Problem]:
    """The values of base.yaml that the mesh replaces, each with its line."""
    objects = _objects(plan, base)
    overlays = (
        (chart.part, overlay)
        for m in plan.members.values()
        if not m.waits
        for chart, _, overlay in objects(m)
    )
    ignored = (("spec", "syncPolicy", "syncOptions"), ("spec", "ignoreDifferences"))
    return replaced_problems(
        base, overlays, plan, STARTER, ("spec", "source", "targetRevision"), charts.version, ignored
    )
