"""Target Istio: the custom resources of the Sail operator (sailoperator.io/v1), which installs
today's Istio and keeps it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kubectl_mesh.errors import Problem
from kubectl_mesh.istio import versions
from kubectl_mesh.model import Cluster, Document, Json, Member, Pki, Plan, Release, Topology
from kubectl_mesh.plan import Traits
from kubectl_mesh.targets import images, modern, node_components, values
from kubectl_mesh.targets.replaced import replaced_problems
from kubectl_mesh.yaml_io.manifest import document
from kubectl_mesh.yaml_io.merge_patch import merge

KIND = "Istio"
API_VERSION = "sailoperator.io/v1"
HUB = False
APPLIED = True
VERSION = ("spec", "version")
"""Where a document of base.yaml states a version."""
KEY_TYPE = "ec-p256"
SCHEMAS = {
    "Istio": "kinds/istio-sailoperator-v1.json",
    "IstioCNI": "kinds/istiocni-sailoperator-v1.json",
    "ZTunnel": "kinds/ztunnel-sailoperator-v1.json",
}
VALUES = ("spec", "values")

STARTER = f"""\
# The control plane, customised once for all clusters: an Istio of the Sail operator.
# `kubectl mesh render` lays what makes the mesh over it; \
its report names the settings that are lost by that.
# After a line of three dashes an IstioCNI and a ZTunnel may be customised as well.
apiVersion: {API_VERSION}
kind: Istio
spec:
  version: v{versions.DEFAULT}
  values:
    meshConfig:
      # Every request is logged by the proxies; remove it where that is too much.
      accessLogFile: /dev/stdout
"""
DEFAULT_BASE: Json = {"spec": {"version": f"v{versions.DEFAULT}"}}
_VERSION = re.compile(r"v(1\.[0-9]+)(\.[0-9]+|-latest)\Z")


def traits(topology: Topology) -> Traits:
    """Istiod finds gateways; a Deployment makes them."""
    return modern.traits("Deployment", topology)


def part(value: Mapping[str, Any]) -> str:
    """What a document of base.yaml customises."""
    return str(value.get("kind"))


def version(base: Mapping[str, Document]) -> str | None:
    """The version that base.yaml states, as the topology writes it."""
    return (
        _read_version(values.stated(base[KIND].value, ("spec",)).get("version"))
        if KIND in base
        else None
    )


def _read_version(value: Json) -> str | None:
    """A version of the Sail operator as the topology writes it."""
    found = _VERSION.match(str(value))
    return None if found is None else found[1] + (found[2] if found[2] != "-latest" else "")


def problems(topology: Topology) -> Iterator[Problem]:
    """What the topology asks for that the Sail operator, or Istio, cannot give."""
    yield from modern.problems(
        topology,
        KIND,
        versions.SAIL,
        ("kubectl", "argocd", "flux"),
        ("Deployment", "Gateway"),
        exact=False,
    )
    if topology.charts is not None:
        yield Problem(
            topology.document.place("istio", "charts"),
            "the Sail operator brings its charts along",
            "remove it",
            "delivery-target",
        )


def checked(
    part: str, topology: Topology, read: Any
) -> Iterator[tuple[tuple[str, ...], Mapping[str, object]]]:
    """What in a document of base.yaml the schema of its kind leaves open: nothing."""
    return iter(())


def base_problems(base: Mapping[str, Document], topology: Topology) -> Iterator[Problem]:
    """What is wrong with a base.yaml beyond its schemas."""
    main = base[KIND]
    if "version" not in values.stated(main.value, ("spec",)) and any(
        c.version is None for c in topology.clusters
    ):
        what = "no version of Istio is stated, here or in the topology"
        yield Problem(
            main.place("spec"), what, f"write version: v{versions.DEFAULT}", "istio-version"
        )
    yield from values.problems(main, VALUES, topology)
    yield from modern.gateway_address_problems(topology, "Deployment")
    own = values.stated(main.value, VALUES)
    platform = node_components.stated_platform(
        own, values.stated(main.value, ("spec",)).get("profile")
    )
    accounts = {
        c.name: component_accounts(base, topology, c).get("ztunnel", "") for c in topology.clusters
    }
    yield from node_components.trust_problems(
        topology, own, platform, accounts, main.place(*VALUES, "pilot"), "spec.values"
    )


def warnings(topology: Topology, pki: Pki) -> Iterator[Problem]:
    """What Istio takes, but not as one might think."""
    return modern.warnings(topology)


def name(release: Release) -> str:
    """The name of the Istio, which is that of the revision."""
    return release.revision or "default"


def _version(release: Release) -> dict[str, object]:
    if release.version is None:
        return {}
    return {
        "version": (
            f"v{release.version}"
            if versions.exact(release.version)
            else f"v{release.version}-latest"
        )
    }


def _profile(member: Member, topology: Topology, base: Json) -> dict[str, object]:
    if member.primary is not None:
        return {"profile": "remote"}
    stated = values.stated(base, ("spec",)).get("profile")
    # A platform's own profile of ambient stays.
    return (
        {"profile": "ambient"} if topology.ambient and not str(stated).endswith("ambient") else {}
    )


def _istio(made: values.Values, member: Member, release: Release, base: Json) -> dict[str, object]:
    topology = made.plan.topology
    stated = values.stated(base, VALUES)
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name(release)},
        "spec": {
            "namespace": member.cluster.namespace,
            **_version(release),
            **_profile(member, topology, base),
            "values": images.with_hub(
                made.of(member, stated),
                images.hub_overlay(images.ISTIOD, dict(stated), topology, needed=True),
            ),
        },
    }


def component_accounts(
    base: Mapping[str, Document], topology: Topology, cluster: Cluster
) -> dict[str, str]:
    """The namespace and the account of each component on the nodes; stated namespaces stay, and
    that of an IstioCNI cannot change.
    """
    parts = [
        *(["cni"] if needs_cni(base, topology) else []),
        *(["ztunnel"] if topology.ambient else []),
    ]
    kinds = {"cni": ("IstioCNI", "istio-cni"), "ztunnel": ("ZTunnel", _ztunnel_name(base))}
    return {
        part: f"{_namespace(_values(base, kinds[part][0]), cluster)}/{kinds[part][1]}"
        for part in parts
    }


def can_detect_platform(base: Mapping[str, Document]) -> bool:
    """Whether the operator chooses the ztunnel that istiod trusts, by the platform that it
    finds.
    """
    own, profile = (
        values.stated(_values(base, KIND), VALUES),
        values.stated(_values(base, KIND), ("spec",)).get("profile"),
    )
    return (
        not node_components.has_stated_trust(own)
        and node_components.stated_platform(own, profile) is None
    )


def _namespace(base: Json, cluster: Cluster) -> str:
    return str(values.stated(base, ("spec",)).get("namespace") or cluster.namespace)


def _ztunnel_name(base: Mapping[str, Document]) -> str:
    return str(
        values.stated(_values(base, "ZTunnel"), (*VALUES, "ztunnel")).get("resourceName")
        or "ztunnel"
    )


def _cni(member: Member, topology: Topology, base: Json) -> dict[str, object]:
    hub = images.hub_overlay(images.CNI, dict(values.stated(base, VALUES)), topology, needed=True)
    spec = {
        "namespace": _namespace(base, member.cluster),
        **_version(member.cluster.releases[0]),
        **_profile(member, topology, base),
        **({"values": hub} if hub else {}),
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "IstioCNI",
        "metadata": {"name": "default"},
        "spec": spec,
    }


def _ztunnel(member: Member, topology: Topology, base: Json) -> dict[str, object]:
    cluster = member.cluster
    # The chart looks for istiod in istio-system, whatever namespace ztunnel is in.
    own = {
        **({"istioNamespace": cluster.namespace} if cluster.namespace != "istio-system" else {}),
        "multiCluster": {"clusterName": cluster.name},
        "network": cluster.network,
        **values.ztunnel(topology),
    }
    hub = images.hub_overlay(
        images.ZTUNNEL, dict(values.stated(base, VALUES)), topology, needed=True
    )
    spec = {
        "namespace": _namespace(base, cluster),
        **_version(cluster.releases[0]),
        "values": images.with_hub({"ztunnel": own}, hub),
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "ZTunnel",
        "metadata": {"name": "default"},
        "spec": spec,
    }


def _values(base: Mapping[str, Document], kind: str) -> Json:
    return base[kind].value if kind in base else {}


def needs_cni(base: Mapping[str, Document], topology: Topology) -> bool:
    """Whether the data plane wants Istio's CNI: ambient does, and sidecars where base.yaml says
    so.
    """
    on = values.stated(_values(base, KIND), (*VALUES, "pilot", "cni")).get("enabled") is True
    return topology.ambient or on or "IstioCNI" in base


def _objects(
    plan: Plan, base: Mapping[str, Document]
) -> Callable[[Member], Iterator[tuple[str, str, dict[str, object]]]]:
    """For a cluster its objects: the file, the part of base.yaml that it is laid over, and the
    overlay.
    """
    made = values.Values(plan)
    cni = needs_cni(base, plan.topology)

    def of(member: Member) -> Iterator[tuple[str, str, dict[str, object]]]:
        for index, release in enumerate(member.cluster.releases):
            file = f"istio-{release.revision}.yaml" if index else "istio.yaml"
            yield file, KIND, _istio(made, member, release, _values(base, KIND))
        if cni:
            yield (
                "istiocni.yaml",
                "IstioCNI",
                _cni(member, plan.topology, _values(base, "IstioCNI")),
            )
        if plan.topology.ambient:
            yield (
                "ztunnel.yaml",
                "ZTunnel",
                _ztunnel(member, plan.topology, _values(base, "ZTunnel")),
            )

    return of


def control_plane(
    plan: Plan, base: Mapping[str, Document]
) -> Callable[[Member], Iterator[tuple[str, str]]]:
    """For a cluster the files of its control plane, each with its text."""
    objects = _objects(plan, base)

    def of(member: Member) -> Iterator[tuple[str, str]]:
        for file, kind, overlay in objects(member):
            yield file, document(merge(_values(base, kind), overlay))

    return of


def lost_settings(plan: Plan, base: Mapping[str, Document]) -> list[Problem]:
    """The values of base.yaml that the mesh replaces, each with its line."""
    objects = _objects(plan, base)
    overlays = (
        (kind, overlay)
        for member in plan.members.values()
        if not member.waits
        for _, kind, overlay in objects(member)
    )
    return replaced_problems(base, overlays, plan, STARTER, ("spec", "version"), _read_version)
