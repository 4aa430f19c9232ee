"""Target IstioOperator: what `istioctl install -f` reads (install.istio.io/v1alpha1, since Istio
1.5), one for the control plane and one for the gateway.

operator/pkg/apis/types.go and samples/multicluster/gen-eastwest-gateway.sh. Up to 1.7 networks are
known by `global.meshNetworks`, which stands here without the `networks:` that 1.4 had, for the
chart of 1.5 writes it itself.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kubectl_mesh.errors import Problem
from kubectl_mesh.istio import versions
from kubectl_mesh.istio.east_west_gateway import NAME, SELECTOR, VIEW, labels, service_ports
from kubectl_mesh.model import Cluster, Document, Json, Member, Pki, Plan, Release, Topology
from kubectl_mesh.model.commands import address_command
from kubectl_mesh.plan import Traits
from kubectl_mesh.targets import images, modern, node_components, values
from kubectl_mesh.targets.replaced import replaced_problems
from kubectl_mesh.text import near, shown
from kubectl_mesh.yaml_io.manifest import document
from kubectl_mesh.yaml_io.merge_patch import Whole, merge, shared

KIND = "IstioOperator"
API_VERSION = "install.istio.io/v1alpha1"
HUB = False
APPLIED = False
VERSION = ("spec", "tag")
"""Where a document of base.yaml states a version."""
KEY_TYPE = "ec-p256"
SCHEMAS = {KIND: "kinds/istiooperator-install-v1alpha1.json"}
VALUES = ("spec", "values")
PROFILES = (
    "default",
    "demo",
    "empty",
    "minimal",
    "preview",
    "remote",
    "stable",
    "ambient",
    "openshift",
    "openshift-ambient",
    "external",
)

STARTER = f"""\
# The control plane, customised once for all clusters: an IstioOperator for istioctl.
# `kubectl mesh render` lays what makes the mesh over it; \
its report names the settings that are lost by that.
apiVersion: {API_VERSION}
kind: {KIND}
spec:
  profile: minimal
  meshConfig:
    # Every request is logged by the proxies; remove it where that is too much.
    accessLogFile: /dev/stdout
"""
DEFAULT_BASE: Json = {"spec": {"profile": "minimal"}}


def _legacy(topology: Topology) -> bool:
    return any(versions.minor(c.version) < versions.LABELS for c in topology.clusters)


def traits(topology: Topology) -> Traits:
    """Istioctl makes the gateway; before 1.8 the ingress gateway takes in what comes from other
    networks.
    """
    if _legacy(topology):
        return Traits(
            gateway_port=443,
            gateway_command=lambda cluster: address_command(cluster, "istio-ingressgateway"),
            labels=False,
        )
    return modern.traits(KIND, topology)


def part(value: Mapping[str, Any]) -> str:
    """What a document of base.yaml customises."""
    return str(value.get("kind"))


def version(base: Mapping[str, Document]) -> str | None:
    """The version that base.yaml states, which is none: it is that of istioctl."""
    return None


def problems(topology: Topology) -> Iterator[Problem]:
    """What the topology asks for that istioctl, or Istio, cannot give."""
    place = topology.document.place
    yield from modern.problems(
        topology,
        KIND,
        versions.ISTIOD,
        ("kubectl",),
        ("IstioOperator", "Deployment", "Gateway"),
        exact=False,
    )
    if topology.charts is not None:
        yield Problem(
            place("istio", "charts"),
            "istioctl brings its charts along",
            "remove it",
            "delivery-target",
        )
    if not _legacy(topology):
        return
    value: Any = topology.document.value
    for path, version in modern.stated_versions(topology):
        if versions.minor(version) >= versions.LABELS:
            what = (
                f"Istio {version} finds networks by labels, and an earlier one in this mesh by"
                " addresses"
            )
            yield Problem(
                place(*path),
                what,
                f"bring all clusters to 1.{versions.LABELS} or later first",
                "istio-version",
            )
    for where, entry in [
        ((), value),
        *((("contexts", c), e) for c, e in value["contexts"].items()),
    ]:
        for keys in (("istio", "canary"), ("eastWestGateway",), ("controlPlane",)):
            found: Any = entry
            for key in keys:
                found = found.get(key) if isinstance(found, dict) else None
            if found is not None:
                what = f"kubectl mesh renders this from Istio 1.{versions.LABELS} on"
                yield Problem(
                    place(*where, *keys),
                    what,
                    "remove it, or write a later version",
                    "istio-version",
                )


def checked(
    part: str, topology: Topology, read: values.Read
) -> Iterator[tuple[tuple[str, ...], Mapping[str, object]]]:
    """What in a document of base.yaml the schema of its kind leaves open; the values of older
    versions are not known here.
    """
    if all(
        versions.minor(r.version) >= versions.CHARTS for c in topology.clusters for r in c.releases
    ):
        gateway = {"type": "object"}
        gateways = {
            "istio-egressgateway": gateway,
            "istio-ingressgateway": gateway,
            "securityContext": {},
            "seccompProfile": {},
            "enabled": {"type": "boolean"},
        }
        cni = read("kinds/istiocni-sailoperator-v1.json")["properties"]["spec"]["properties"][
            "values"
        ]["properties"]["cni"]
        more = {
            "cni": {
                **cni,
                "properties": {
                    **cni["properties"],
                    "enabled": {"type": "boolean"},
                    "logLevel": {"type": "string"},
                },
            },
            "istio_cni": {"type": "object"},
            "gateways": {"additionalProperties": False, "properties": gateways, "type": "object"},
            "ztunnel": read("values/ztunnel.json"),
        }
        yield VALUES, values.schema(read, chart=False, more=more)
        yield ("spec", "meshConfig"), values.mesh_config(read)


def base_problems(base: Mapping[str, Document], topology: Topology) -> Iterator[Problem]:
    """What is wrong with a base.yaml beyond its schema."""
    main = base[KIND]
    profile = values.stated(main.value, ("spec",)).get("profile")
    if isinstance(profile, str) and profile not in PROFILES and not any(c in profile for c in "/."):
        what = f"{shown(profile)} is no profile of istioctl{near(profile, PROFILES)}"
        yield Problem(
            main.place("spec", "profile"),
            what,
            f"name one of {', '.join(PROFILES)}, or a file",
            "base-valid",
        )
    yield from values.problems(main, VALUES, topology, ("spec", "meshConfig"))
    if not _legacy(topology):
        yield from modern.gateway_address_problems(topology, KIND)
    own = values.stated(main.value, VALUES)
    platform = node_components.stated_platform(own, _platform_profile(main.value, topology))
    accounts = {
        c.name: component_accounts(base, topology, c).get("ztunnel", "") for c in topology.clusters
    }
    yield from node_components.trust_problems(
        topology, own, platform, accounts, main.place(*VALUES, "pilot"), "spec.values"
    )


def can_detect_platform(base: Mapping[str, Document]) -> bool:
    """Whether an operator in the cluster chooses the ztunnel that istiod trusts."""
    return False


def component_accounts(
    base: Mapping[str, Document], topology: Topology, cluster: Cluster
) -> dict[str, str]:
    """The namespace and the account of each component on the nodes: as the components state it,
    else by the profile (manifests/profiles).
    """
    value = base[KIND].value if KIND in base else DEFAULT_BASE
    usual = (
        "kube-system"
        if _platform_profile(value, topology).startswith("openshift")
        else cluster.namespace
    )
    components = values.stated(value, ("spec", "components"))
    parts = [
        *(["cni"] if topology.ambient or "cni" in components else []),
        *(["ztunnel"] if topology.ambient else []),
    ]
    names = {
        "cni": "istio-cni",
        "ztunnel": str(values.stated(value, (*VALUES, "ztunnel")).get("resourceName") or "ztunnel"),
    }
    spaces = {
        part: values.stated(value, ("spec", "components", part)).get("namespace") or usual
        for part in parts
    }
    return {part: f"{spaces[part]}/{names[part]}" for part in parts}


def _platform_profile(value: Json, topology: Topology) -> str:
    """The profile of base.yaml, unless the mesh sets another."""
    profile = str(values.stated(value, ("spec",)).get("profile"))
    return "ambient" if topology.ambient and not profile.endswith("ambient") else profile


def warnings(topology: Topology, pki: Pki) -> Iterator[Problem]:
    """What Istio takes, but not as one might think."""
    yield from modern.warnings(topology)
    old = min((versions.minor(c.version) for c in topology.clusters), default=versions.NEWEST)
    weak = [
        name for name, i in pki.intermediates.items() if i.certificate.key_type.startswith("ec-")
    ]
    if weak and old < versions.LABELS:
        what = (
            f"Istio 1.{old} loads an EC key but cannot sign workload certificates with it before"
            f" 1.7.7 ({modern.some(weak)})"
        )
        fix = "use rsa-4096, and renew the intermediates with `kubectl mesh certs renew --all`"
        yield Problem(
            topology.document.place("certificates", "keyType"), what, fix, "certs-key-type"
        )


def _profile(member: Member, topology: Topology, base: Json) -> dict[str, object]:
    if member.primary is not None:
        return {"profile": "remote"}
    stated = values.stated(base, ("spec",)).get("profile")
    return (
        {"profile": "ambient"} if topology.ambient and not str(stated).endswith("ambient") else {}
    )


class _Overlays:
    """The overlays of a plan."""

    def __init__(self, plan: Plan, base: Json) -> None:
        self.plan, self.base = plan, base
        self.values = values.Values(plan)
        self.legacy = _legacy(plan.topology)

    def of(self, member: Member, release: Release) -> dict[str, object]:
        cluster, topology = member.cluster, self.plan.topology
        made: dict[str, Any] = self.values.of(member, values.stated(self.base, VALUES))
        if self.legacy:
            own = (
                "Kubernetes" if versions.minor(release.version) == versions.ISTIOD else cluster.name
            )
            networks = {
                n.name: self._network(n, own if n.name == cluster.network else None, cluster.name)
                for n in member.networks
            }
            made["global"] = {**made["global"], "meshNetworks": Whole(networks)}
        if topology.ambient:
            made["ztunnel"] = {
                "multiCluster": {"clusterName": cluster.name},
                "network": cluster.network,
                **values.ztunnel(topology),
            }
        spec = {
            **({"namespace": cluster.namespace} if not self.legacy else {}),
            **_profile(member, topology, self.base),
            **({"revision": release.revision} if release.revision else {}),
            **self._beyond(made),
            "values": made,
        }
        hub = images.hub_overlay(
            images.OPERATOR,
            dict(values.stated(self.base, ("spec",))),
            topology,
            needed=images.is_hub_needed(release.version),
        )
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": release.revision or "default", "namespace": cluster.namespace},
            "spec": images.with_hub(spec, hub),
        }

    def _beyond(self, made: dict[str, Any]) -> dict[str, object]:
        """What the mesh sets once more where istioctl lets base.yaml override `values`."""
        spec = values.stated(self.base, ("spec",))
        mesh, unvalidated = (
            shared(spec.get("meshConfig"), made.get("meshConfig", {})),
            shared(spec.get("unvalidatedValues"), made),
        )
        return {
            **({"meshConfig": mesh} if mesh else {}),
            **({"unvalidatedValues": unvalidated} if unvalidated else {}),
        }

    def _network(self, network: Any, own: str | None, name: str) -> dict[str, object]:
        endpoints = [
            {"fromRegistry": own if own is not None and c == name else c} for c in network.clusters
        ]
        gateways = [{"address": g.address, "port": g.port} for g in network.gateways]
        return {"endpoints": endpoints, **({"gateways": gateways} if gateways else {})}


def _gateway(member: Member, plan: Plan, base: Json) -> dict[str, object]:
    """The east-west gateway; never one with the control plane, whose profile would make it too. Its
    image has the hub of the control plane.
    """
    cluster = member.cluster
    wanted = cluster.east_west
    kubernetes: dict[str, object] = {
        "env": [{"name": VIEW, "value": cluster.network}],
        **({"replicaCount": wanted.replicas} if wanted.replicas is not None else {}),
        "service": {"ports": service_ports(member, plan), "type": wanted.service_type},
        **({"serviceAnnotations": dict(wanted.annotations)} if wanted.annotations else {}),
    }
    own = {"app": NAME, "istio": SELECTOR, **labels(member)}
    gateway = {
        "enabled": True,
        "k8s": kubernetes,
        "label": dict(sorted(own.items())),
        "name": NAME,
        "namespace": cluster.namespace,
    }
    overall = {"istioNamespace": cluster.namespace, "network": cluster.network}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": "eastwest", "namespace": cluster.namespace},
        "spec": {
            "components": {"ingressGateways": [gateway]},
            **_gateway_hub(plan.topology, cluster, base),
            "namespace": cluster.namespace,
            "profile": "empty",
            **({"revision": cluster.revision} if cluster.revision else {}),
            "values": {
                "gateways": {"istio-ingressgateway": {"injectionTemplate": "gateway"}},
                "global": overall,
            },
        },
    }


def _gateway_hub(topology: Topology, cluster: Cluster, base: Json) -> dict[str, Any]:
    spec = dict(values.stated(base, ("spec",)))
    hub = images.stated_hub(images.OPERATOR, spec) if topology.hub is None else None
    return (
        {"hub": hub}
        if hub is not None
        else images.hub_overlay(
            images.OPERATOR, {}, topology, needed=images.is_hub_needed(cluster.version)
        )
    )


def control_plane(
    plan: Plan, base: Mapping[str, Document]
) -> Callable[[Member], Iterator[tuple[str, str]]]:
    """For a cluster the files of its control plane, each with its text."""
    value = base[KIND].value if KIND in base else DEFAULT_BASE
    overlays = _Overlays(plan, value)

    def of(member: Member) -> Iterator[tuple[str, str]]:
        for index, release in enumerate(member.cluster.releases):
            file = f"istiooperator-{release.revision}.yaml" if index else "istiooperator.yaml"
            yield file, document(merge(value, overlays.of(member, release)))
        if member.gateway_kind == KIND:
            yield "eastwest.yaml", document(_gateway(member, plan, value))

    return of


def lost_settings(plan: Plan, base: Mapping[str, Document]) -> list[Problem]:
    """The values of base.yaml that the mesh replaces, each with its line."""
    overlays = _Overlays(plan, base[KIND].value)
    laid = (
        (KIND, overlays.of(member, release))
        for member in plan.members.values()
        if not member.waits
        for release in member.cluster.releases
    )
    return replaced_problems(base, laid, plan, STARTER)
