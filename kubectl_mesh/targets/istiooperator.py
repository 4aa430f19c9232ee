"""Target IstioOperator: what `istioctl install -f` reads (install.istio.io/v1alpha1, since Istio
1.5), one for the control plane and one for the gateway.

operator/pkg/apis/types.go and samples/multicluster/gen-eastwest-gateway.sh. Up to 1.7 networks are
known by `global.meshNetworks`, which stands here without the `networks:` that 1.4 had, for the
chart of 1.5 writes it itself.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from kubectl_mesh.delivery.removal import Installation, PlaneRemoval
from kubectl_mesh.errors import Problem
from kubectl_mesh.istio import versions
from kubectl_mesh.istio.east_west_gateway import (
    GATEWAY_NAME,
    GATEWAY_SELECTOR,
    NETWORK_VIEW_VARIABLE,
    discovery_labels,
    service_ports,
)
from kubectl_mesh.model import Cluster, Json, Member, Network, Pki, Plan, Release, Topology
from kubectl_mesh.plan import TargetTraits
from kubectl_mesh.targets import images, node_components, values
from kubectl_mesh.targets.cluster_rules import stated_versions
from kubectl_mesh.targets.gateway_rules import gateway_address_problems
from kubectl_mesh.targets.modern import ModernTarget, ambient_profile
from kubectl_mesh.targets.old_istio import (
    INGRESS_TRAITS,
    OWN_REGISTRY,
    profile_problem,
    stated_entries,
    weak_key_problem,
)
from kubectl_mesh.targets.target import Base, Path, PlaneFile, ReadSchema
from kubectl_mesh.targets.uninstall import component_commands, components_command
from kubectl_mesh.targets.value_rules import StatedValues, value_problems
from kubectl_mesh.yaml_io.merge_patch import Replacement, overlapping_fields

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
EAST_WEST = "eastwest"
"""The name of the IstioOperator that installs only the east-west gateway."""
_MESH = ("spec", "meshConfig")


class IstioOperator(ModernTarget):
    """An IstioOperator for istioctl."""

    KIND = "IstioOperator"
    API_VERSION = "install.istio.io/v1alpha1"
    SCHEMAS: ClassVar[Mapping[str, str]] = {KIND: "kinds/istiooperator-install-v1alpha1.json"}
    VERSION = ("spec", "tag")
    APPLIED = False
    STATES_VERSION = False
    OLDEST = versions.SINCE_ISTIOD
    GATEWAYS = (KIND, "Deployment", "Gateway")
    TOOLS = ("kubectl",)
    READ_BY = "nothing in a cluster reads it"
    OWN_CHARTS = "istioctl"
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
    DEFAULT_BASE: ClassVar[Json] = {"spec": {"profile": "minimal"}}

    def plan_traits(self, topology: Topology) -> TargetTraits:
        """Istioctl makes the gateway; before 1.8 the ingress gateway takes in what comes from other
        networks.
        """
        return INGRESS_TRAITS if _is_legacy(topology) else super().plan_traits(topology)

    def topology_problems(self, topology: Topology) -> Iterator[Problem]:
        """What the topology asks for that istioctl, or Istio, cannot give."""
        yield from super().topology_problems(topology)
        if not _is_legacy(topology):
            return
        place = topology.document.field_place
        for path, version in stated_versions(topology):
            if versions.minor_version(version) >= versions.SINCE_LABELS:
                yield Problem(
                    place(*path),
                    f"Istio {version} finds networks by labels, and an earlier one in this mesh by"
                    " addresses",
                    f"bring all clusters to 1.{versions.SINCE_LABELS} or later first",
                    "istio-version",
                    code="networks-found-differently",
                )
        for where, entry in stated_entries(topology):
            for keys in (("istio", "canary"), ("eastWestGateway",), ("controlPlane",)):
                if values.value_at(entry, keys) is not None:
                    yield Problem(
                        place(*where, *keys),
                        f"kubectl mesh renders this from Istio 1.{versions.SINCE_LABELS} on",
                        "remove it, or write a later version",
                        "istio-version",
                        code="istio-too-old",
                    )

    def list_schemas(
        self, part: str, topology: Topology, read: ReadSchema
    ) -> Iterator[tuple[Path, Mapping[str, object]]]:
        """What in a document of base.yaml the schema of its kind leaves open; the values of older
        versions are not known here.
        """
        releases = [r for c in topology.clusters for r in c.releases]
        if all(versions.minor_version(r.version) >= versions.SINCE_CHARTS for r in releases):
            yield self.VALUES, values.values_schema(read, chart=False, more=_more_values(read))
            yield _MESH, values.mesh_config_schema(read)

    def stated_platform(self, base: Base, topology: Topology) -> str | None:
        """The platform that base.yaml states, or that its profile implies."""
        main = self.main_value(base)
        own = values.stated_values(main, self.VALUES)
        return node_components.stated_platform(own, _platform_profile(main, topology))

    def base_problems(self, base: Base, topology: Topology) -> Iterator[Problem]:
        """What is wrong with a base.yaml beyond its schema."""
        main = base[self.KIND]
        yield from profile_problem(main, PROFILES, "istioctl")
        stated = StatedValues(main, self.VALUES, _MESH)
        yield from value_problems(stated, topology, creates_reader=True)
        if not _is_legacy(topology):
            yield from gateway_address_problems(topology, self.KIND)
        yield from self.ztunnel_problems(base, topology)

    def component_accounts(
        self, base: Base, topology: Topology, cluster: Cluster
    ) -> dict[str, str]:
        """The namespace and the account of each component on the nodes: as the components state it,
        else by the profile (manifests/profiles).
        """
        value = self.main_value(base)
        usual = (
            "kube-system"
            if _platform_profile(value, topology).startswith("openshift")
            else cluster.namespace
        )
        components = values.stated_values(value, ("spec", "components"))
        parts = [
            *(["cni"] if topology.is_ambient or "cni" in components else []),
            *(["ztunnel"] if topology.is_ambient else []),
        ]
        ztunnel = values.stated_values(value, (*self.VALUES, "ztunnel"))
        names = {"cni": "istio-cni", "ztunnel": str(ztunnel.get("resourceName") or "ztunnel")}
        spaces = {
            part: values.stated_values(value, ("spec", "components", part)).get("namespace")
            or usual
            for part in parts
        }
        return {part: f"{spaces[part]}/{names[part]}" for part in parts}

    def topology_warnings(self, topology: Topology, pki: Pki) -> Iterator[Problem]:
        """What Istio takes, but not as one might think."""
        yield from super().topology_warnings(topology, pki)
        old = min(
            (versions.minor_version(c.version) for c in topology.clusters),
            default=versions.NEWEST_MINOR,
        )
        if old < versions.SINCE_LABELS:
            yield from weak_key_problem(topology, pki, f"Istio 1.{old}", " before 1.7.7")

    def plane_removal(self, cluster: Installation) -> PlaneRemoval:
        """Everything that istioctl installed, by its label."""
        return PlaneRemoval((components_command(cluster),))

    def webhook_commands(self, cluster: Installation) -> tuple[str, ...]:
        """The commands that delete what istioctl installs outside of namespaces."""
        return component_commands(cluster)

    def plane_files(self, plan: Plan, base: Base) -> Callable[[Member], Iterator[PlaneFile]]:
        """Gives for each cluster an IstioOperator for each revision, and one for its gateway."""
        value = self.main_value(base)
        overlays = _Overlays(plan, value)

        def of(member: Member) -> Iterator[PlaneFile]:
            cluster = member.cluster
            for index, release in enumerate(cluster.releases):
                file = f"istiooperator-{release.revision}.yaml" if index else "istiooperator.yaml"
                name, spec = release.revision or "default", overlays.spec(member, release)
                yield PlaneFile(file, self._object(cluster, name, spec), self.KIND, value)
            if member.gateway_kind == self.KIND:
                spec = _gateway_spec(member, plan, value)
                yield PlaneFile(f"{EAST_WEST}.yaml", self._object(cluster, EAST_WEST, spec))

        return of

    def _object(self, cluster: Cluster, name: str, spec: dict[str, object]) -> dict[str, object]:
        return {
            "apiVersion": self.API_VERSION,
            "kind": self.KIND,
            "metadata": {"name": name, "namespace": cluster.namespace},
            "spec": spec,
        }


def _is_legacy(topology: Topology) -> bool:
    """Whether networks are found by addresses."""
    return any(versions.minor_version(c.version) < versions.SINCE_LABELS for c in topology.clusters)


def _more_values(read: ReadSchema) -> dict[str, object]:
    """The schemas of values that istioctl reads beyond those of istiod."""
    gateway = {"type": "object"}
    gateways = {
        "istio-egressgateway": gateway,
        "istio-ingressgateway": gateway,
        "securityContext": {},
        "seccompProfile": {},
        "enabled": {"type": "boolean"},
    }
    kind: Any = read("kinds/istiocni-sailoperator-v1.json")
    cni = kind["properties"]["spec"]["properties"]["values"]["properties"]["cni"]
    own = {"enabled": {"type": "boolean"}, "logLevel": {"type": "string"}}
    return {
        "cni": {**cni, "properties": {**cni["properties"], **own}},
        "istio_cni": {"type": "object"},
        "gateways": {"additionalProperties": False, "properties": gateways, "type": "object"},
        "ztunnel": read("values/ztunnel.json"),
    }


def _platform_profile(value: Json, topology: Topology) -> str:
    """The profile of base.yaml, unless the mesh sets another."""
    profile = str(values.stated_values(value, ("spec",)).get("profile"))
    return "ambient" if topology.is_ambient and not profile.endswith("ambient") else profile


class _Overlays:
    """The overlays of a plan."""

    def __init__(self, plan: Plan, base: Json) -> None:
        self.plan, self.base = plan, base
        self.values = values.Values(plan)
        self.legacy = _is_legacy(plan.topology)

    def spec(self, member: Member, release: Release) -> dict[str, object]:
        """What the mesh sets in one control plane."""
        cluster, topology = member.cluster, self.plan.topology
        made = self._values(member, release)
        spec = {
            **({"namespace": cluster.namespace} if not self.legacy else {}),
            **ambient_profile(self.base, topology, is_served=member.primary is not None),
            **({"revision": release.revision} if release.revision else {}),
            **self._beyond(made),
            "values": made,
        }
        stated = dict(values.stated_values(self.base, ("spec",)))
        needed = images.is_hub_needed(release.version)
        hub = images.hub_overlay(images.OPERATOR, stated, topology, needed=needed)
        return images.with_hub(spec, hub)

    def _values(self, member: Member, release: Release) -> dict[str, Any]:
        cluster, topology = member.cluster, self.plan.topology
        made: dict[str, Any] = self.values.build_overlay(
            member, values.stated_values(self.base, ("spec", "values"))
        )
        if self.legacy:
            is_first = versions.minor_version(release.version) == versions.SINCE_ISTIOD
            own = OWN_REGISTRY if is_first else cluster.name
            networks = {
                n.name: _network(n, own if n.name == cluster.network else None, cluster.name)
                for n in member.networks
            }
            made["global"] = {**made["global"], "meshNetworks": Replacement(networks)}
        if topology.is_ambient:
            made["ztunnel"] = {
                "multiCluster": {"clusterName": cluster.name},
                "network": cluster.network,
                **values.ztunnel_values(topology),
            }
        return made

    def _beyond(self, made: dict[str, Any]) -> dict[str, object]:
        """What the mesh sets once more where istioctl lets base.yaml override `values`."""
        spec = values.stated_values(self.base, ("spec",))
        mesh, unvalidated = (
            overlapping_fields(spec.get("meshConfig"), made.get("meshConfig", {})),
            overlapping_fields(spec.get("unvalidatedValues"), made),
        )
        return {
            **({"meshConfig": mesh} if mesh else {}),
            **({"unvalidatedValues": unvalidated} if unvalidated else {}),
        }


def _network(network: Network, own: str | None, name: str) -> dict[str, object]:
    endpoints = [
        {"fromRegistry": own if own is not None and c == name else c} for c in network.clusters
    ]
    gateways = [{"address": g.address, "port": g.port} for g in network.gateways]
    return {"endpoints": endpoints, **({"gateways": gateways} if gateways else {})}


def _gateway_spec(member: Member, plan: Plan, base: Json) -> dict[str, object]:
    """The east-west gateway; never one with the control plane, whose profile would make it too. Its
    image has the hub of the control plane.
    """
    cluster = member.cluster
    wanted = cluster.east_west
    kubernetes: dict[str, object] = {
        "env": [{"name": NETWORK_VIEW_VARIABLE, "value": cluster.network}],
        **({"replicaCount": wanted.replicas} if wanted.replicas is not None else {}),
        "service": {"ports": service_ports(member, plan), "type": wanted.service_type},
        **({"serviceAnnotations": dict(wanted.annotations)} if wanted.annotations else {}),
    }
    own = {"app": GATEWAY_NAME, "istio": GATEWAY_SELECTOR, **discovery_labels(member)}
    gateway = {
        "enabled": True,
        "k8s": kubernetes,
        "label": dict(sorted(own.items())),
        "name": GATEWAY_NAME,
        "namespace": cluster.namespace,
    }
    return {
        "components": {"ingressGateways": [gateway]},
        **_gateway_hub(plan.topology, cluster, base),
        "namespace": cluster.namespace,
        "profile": "empty",
        **({"revision": cluster.revision} if cluster.revision else {}),
        "values": {
            "gateways": {"istio-ingressgateway": {"injectionTemplate": "gateway"}},
            "global": {"istioNamespace": cluster.namespace, "network": cluster.network},
        },
    }


def _gateway_hub(topology: Topology, cluster: Cluster, base: Json) -> dict[str, Any]:
    spec = dict(values.stated_values(base, ("spec",)))
    hub = images.stated_hub(images.OPERATOR, spec) if topology.image_hub is None else None
    if hub is not None:
        return {"hub": hub}
    needed = images.is_hub_needed(cluster.version)
    return images.hub_overlay(images.OPERATOR, {}, topology, needed=needed)
