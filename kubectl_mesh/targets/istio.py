"""Target Istio: the custom resources of the Sail operator (sailoperator.io/v1), which installs
today's Istio and keeps it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

from kubectl_mesh.delivery.removal import LAST, Installation, PlaneRemoval, kubectl_command
from kubectl_mesh.errors import Problem
from kubectl_mesh.istio import versions
from kubectl_mesh.model import Cluster, Json, Member, Plan, Release, Topology
from kubectl_mesh.targets import images, node_components, values
from kubectl_mesh.targets.gateway_rules import gateway_address_problems
from kubectl_mesh.targets.images import stated_at
from kubectl_mesh.targets.modern import ModernTarget, ambient_profile
from kubectl_mesh.targets.target import Base, PlaneFile
from kubectl_mesh.targets.value_rules import StatedValues, value_problems

_VERSION = re.compile(r"v(1\.[0-9]+)(\.[0-9]+|-latest)\Z")


class Istio(ModernTarget):
    """An Istio of the Sail operator, with an IstioCNI and a ZTunnel where they are needed."""

    KIND = "Istio"
    API_VERSION = "sailoperator.io/v1"
    NODE_KINDS: ClassVar[Mapping[str, str]] = {"cni": "IstioCNI", "ztunnel": "ZTunnel"}
    SCHEMAS: ClassVar[Mapping[str, str]] = {
        KIND: "kinds/istio-sailoperator-v1.json",
        NODE_KINDS["cni"]: "kinds/istiocni-sailoperator-v1.json",
        NODE_KINDS["ztunnel"]: "kinds/ztunnel-sailoperator-v1.json",
    }
    NAMESPACE = ("spec", "namespace")
    BRINGS_IMAGES = True
    OLDEST = versions.SINCE_SAIL
    GATEWAYS = ("Deployment", "Gateway")
    OWN_CHARTS = "the Sail operator"
    STARTER = f"""\
# The control plane, customised once for all clusters: an Istio of the Sail operator.
# `kubectl mesh render` lays what makes the mesh over it; \
its report names the settings that are lost by that.
# After a line of three dashes an IstioCNI and a ZTunnel may be customised as well.
apiVersion: {API_VERSION}
kind: Istio
spec:
  version: v{versions.DEFAULT_VERSION}
  values:
    meshConfig:
      # Every request is logged by the proxies; remove it where that is too much.
      accessLogFile: /dev/stdout
"""

    def write_version(self, version: str) -> str:
        """A version as Sail has it."""
        return f"v{version}"

    def read_version(self, value: Json) -> str | None:
        """A version of the Sail operator as the topology writes it."""
        found = _VERSION.match(str(value))
        return None if found is None else found[1] + (found[2] if found[2] != "-latest" else "")

    def stated_platform(self, base: Base, topology: Topology) -> str | None:
        """The platform that base.yaml states, or that its profile implies."""
        main = self.main_value(base)
        profile = values.stated_values(main, ("spec",)).get("profile")
        return node_components.stated_platform(values.stated_values(main, self.VALUES), profile)

    def base_problems(self, base: Base, topology: Topology) -> Iterator[Problem]:
        """What is wrong with a base.yaml beyond its schemas."""
        main = base[self.KIND]
        if "version" not in values.stated_values(main.value, ("spec",)) and any(
            c.version is None for c in topology.clusters
        ):
            yield Problem(
                main.field_place("spec"),
                "no version of Istio is stated, here or in the topology",
                f"write version: v{versions.DEFAULT_VERSION}",
                "istio-version",
                code="istio-version-missing",
            )
        stated = StatedValues(main, self.VALUES)
        yield from value_problems(stated, topology, creates_reader=True)
        yield from gateway_address_problems(topology, self.GATEWAYS[0])
        yield from self.ztunnel_problems(base, topology)

    def component_accounts(
        self, base: Base, topology: Topology, cluster: Cluster
    ) -> dict[str, str]:
        """The namespace and the account of each component on the nodes; stated namespaces stay, and
        that of an IstioCNI cannot change.
        """
        parts = [
            *(["cni"] if self._needs_cni(base, topology) else []),
            *(["ztunnel"] if topology.is_ambient else []),
        ]
        ztunnel = values.stated_values(
            _value(base, self.NODE_KINDS["ztunnel"]), (*self.VALUES, "ztunnel")
        )
        names = {"cni": "istio-cni", "ztunnel": str(ztunnel.get("resourceName") or "ztunnel")}
        return {
            part: f"{_namespace(_value(base, self.NODE_KINDS[part]), cluster)}/{names[part]}"
            for part in parts
        }

    def can_detect_platform(self, base: Base) -> bool:
        """Whether the operator chooses the ztunnel that istiod trusts, by the platform that it
        finds.
        """
        main = _value(base, self.KIND)
        own = values.stated_values(main, self.VALUES)
        profile = values.stated_values(main, ("spec",)).get("profile")
        return (
            not node_components.has_stated_trust(own)
            and node_components.stated_platform(own, profile) is None
        )

    def plane_removal(self, cluster: Installation) -> PlaneRemoval:
        """ZTunnel first; the Istio itself has no finalizer: what it owns does."""

        def delete(kind: str, *words: str) -> str:
            resource = f"{kind}.sailoperator.io"
            return kubectl_command(cluster.context, "delete", resource, *words, *LAST)

        names = [revision or "default" for revision in cluster.revisions]
        return PlaneRemoval(
            (
                *((delete("ztunnels", "default"),) if "ztunnel" in cluster.parts else ()),
                delete("istios", *names, "--cascade=foreground"),
                *((delete("istiocnis", "default"),) if "cni" in cluster.parts else ()),
            )
        )

    def _needs_cni(self, base: Base, topology: Topology) -> bool:
        """Whether the data plane needs Istio's CNI: ambient does, and sidecars where base.yaml says
        so.
        """
        stated = values.stated_values(_value(base, self.KIND), (*self.VALUES, "pilot", "cni"))
        return (
            topology.is_ambient or stated.get("enabled") is True or self.NODE_KINDS["cni"] in base
        )

    def plane_files(self, plan: Plan, base: Base) -> Callable[[Member], Iterator[PlaneFile]]:
        """Gives for each cluster an Istio for each revision, its IstioCNI and its ZTunnel."""
        made = values.Values(plan)
        topology = plan.topology
        needs_cni = self._needs_cni(base, topology)

        def of(member: Member) -> Iterator[PlaneFile]:
            main = _value(base, self.KIND)
            for index, release in enumerate(member.cluster.releases):
                file = f"istio-{release.revision}.yaml" if index else "istio.yaml"
                # The name of the Istio is that of the revision.
                spec = self._istio_spec(made, member, release, main)
                yield self._file(file, self.KIND, base, spec, release.revision or "default")
            if needs_cni:
                kind = self.NODE_KINDS["cni"]
                spec = self._cni_spec(member, topology, _value(base, kind))
                yield self._file("istiocni.yaml", kind, base, spec)
            if topology.is_ambient:
                kind = self.NODE_KINDS["ztunnel"]
                spec = self._ztunnel_spec(member, topology, _value(base, kind))
                yield self._file("ztunnel.yaml", kind, base, spec)

        return of

    def _file(
        self, file: str, kind: str, base: Base, spec: dict[str, object], name: str = "default"
    ) -> PlaneFile:
        overlay = {
            "apiVersion": self.API_VERSION,
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        }
        return PlaneFile(file, overlay, kind, _value(base, kind))

    def _istio_spec(
        self, made: values.Values, member: Member, release: Release, base: Json
    ) -> dict[str, object]:
        topology, stated = made.plan.topology, values.stated_values(base, self.VALUES)
        hub = images.hub_overlay(images.ISTIOD, dict(stated), topology, needed=True)
        return {
            "namespace": member.cluster.namespace,
            **_version(release),
            **ambient_profile(base, topology, is_served=member.primary is not None),
            "values": images.with_hub(made.build_overlay(member, stated), hub),
        }

    def _cni_spec(self, member: Member, topology: Topology, base: Json) -> dict[str, object]:
        stated = dict(values.stated_values(base, self.VALUES))
        hub = images.hub_overlay(images.CNI, stated, topology, needed=True)
        return {
            "namespace": _namespace(base, member.cluster),
            **_version(member.cluster.releases[0]),
            **ambient_profile(base, topology, is_served=member.primary is not None),
            **({"values": hub} if hub else {}),
        }

    def _ztunnel_spec(self, member: Member, topology: Topology, base: Json) -> dict[str, object]:
        cluster = member.cluster
        # The chart looks for istiod in istio-system, whatever namespace ztunnel is in.
        istio = {"istioNamespace": cluster.namespace} if cluster.namespace != "istio-system" else {}
        own = {
            **istio,
            "multiCluster": {"clusterName": cluster.name},
            "network": cluster.network,
            **values.ztunnel_values(topology),
        }
        stated = dict(values.stated_values(base, self.VALUES))
        hub = images.hub_overlay(images.ZTUNNEL, stated, topology, needed=True)
        return {
            "namespace": _namespace(base, cluster),
            **_version(cluster.releases[0]),
            "values": images.with_hub({"ztunnel": own}, hub),
        }


def _value(base: Base, kind: str) -> Json:
    return base[kind].value if kind in base else {}


def _namespace(base: Json, cluster: Cluster) -> str:
    return str(stated_at(base, Istio.NAMESPACE) or cluster.namespace)


def _version(release: Release) -> dict[str, object]:
    if release.version is None:
        return {}
    line = "" if versions.is_exact(release.version) else "-latest"
    return {"version": f"v{release.version}{line}"}
