"""Target IstioControlPlane: Istio 1.4, as `istioctl x multicluster generate` of its time made it, less its faults.

What the overlay sets and why is in Istio 1.4's istioctl/pkg/multicluster/generate.go; `pilot.meshNetworks` is what the chart reads
(with its `networks:`), `global.meshNetworks` stands beside it as it did. Endpoints of the cluster itself are those of the
registry `Kubernetes`, the name under which Pilot 1.4 knows its own.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from kubectl_mesh.address import is_address
from kubectl_mesh.errors import Problem, near, shown
from kubectl_mesh.manifest import Manifests, block, document
from kubectl_mesh.model import DEFAULT_READER, Cluster, Document, Json, Member, Network, Pki, Plan, Topology
from kubectl_mesh.overlay import lost, merge
from kubectl_mesh.plan import Traits, kubectl, reader_secret
from kubectl_mesh.yamltext import Block

KIND = "IstioControlPlane"
API_VERSION = "install.istio.io/v1alpha2"
SCHEMA = "kinds/istiocontrolplane-install-v1alpha2.json"
KEY_TYPE = "rsa-4096"
OPERATOR_NAMESPACE = "istio-operator"
"""Where the operator of 1.4 lives. It reconciles every namespace; an object in Istio's own would keep that from being deleted."""
OWN_REGISTRY = "Kubernetes"
PROFILES = ("default", "demo", "minimal", "remote", "sds")

STARTER = """\
# The control plane, customised once for all clusters (Istio 1.4).
# `kubectl mesh render` lays what makes the mesh over it; its report names the settings that are lost by that.
apiVersion: install.istio.io/v1alpha2
kind: IstioControlPlane
spec:
  profile: default
  values:
    security:
      # false: Citadel signs with the intermediate in the Secret cacerts.
      selfSigned: false
    global:
      mtls:
        enabled: true
"""
DEFAULT_BASE: Json = {"spec": {"profile": "default", "values": {"security": {"selfSigned": False}}}}


def gateway_command(cluster: Cluster) -> str:
    """The command that prints the addresses of a cluster's ingress gateway."""
    get = kubectl(cluster, "-n", cluster.namespace, "get", "service", "istio-ingressgateway")
    return f"{get} -o \"jsonpath={{.status.loadBalancer.ingress[*]['ip','hostname']}}\""


TRAITS = Traits(gateway_port=443, gateway_command=gateway_command)


def forget(cluster: Cluster, peer: str) -> str:
    """The command that makes a running cluster forget a peer: taking the remote secret out of the tree does not take it out of the cluster."""
    return kubectl(cluster, "-n", cluster.namespace, "delete", "secret", f"istio-remote-secret-{peer}", "--ignore-not-found")


def teardown(clusters: tuple[Cluster, ...], others: tuple[Cluster, ...]) -> Iterator[tuple[str, str]]:
    """The commands that take Istio off `clusters`, each with a cluster's name, in the old tool's order; the `others` forget them first."""
    label = ("-l", "operator.istio.io/managed=Reconcile", "--ignore-not-found")
    for cluster in clusters:
        for other in others:
            if cluster.joined and other.joined and (other.peers is None or cluster.name in other.peers):
                yield other.name, forget(other, cluster.name)
    for cluster in clusters:
        # Where the operator never was, its kind is unknown, which is no reason to stop.
        resource = kubectl(cluster, "-n", OPERATOR_NAMESPACE, "delete", "istiocontrolplane.install.istio.io", "default", "--ignore-not-found")
        yield cluster.name, f"{resource} || true"
        yield cluster.name, kubectl(cluster, "delete", "namespace", cluster.namespace, "--wait", "--ignore-not-found")
        for kind in ("mutatingwebhookconfiguration", "validatingwebhookconfiguration", "clusterrole", "clusterrolebinding", "customresourcedefinition"):
            yield cluster.name, kubectl(cluster, "delete", kind, *label)
        if cluster.reader != DEFAULT_READER:
            for kind in ("clusterrolebinding", "clusterrole"):
                yield cluster.name, kubectl(cluster, "delete", kind, _role(cluster), "--ignore-not-found")


def problems(topology: Topology) -> Iterator[Problem]:
    """What the topology asks for that Istio 1.4, or this version of kubectl mesh, cannot give."""
    place = topology.document.place
    version = topology.version
    if version is not None and version.split(".")[:2] != ["1", "4"]:
        what = f"nothing reads an {KIND} in Istio {version}; it is the control plane of Istio 1.4"
        yield Problem(place("istio", "version"), what, 'write version: "1.4.10", or a base.yaml of another kind', "istio-version")
    if topology.revision is not None:
        yield Problem(place("istio", "revision"), "Istio 1.4 has no revisions", "remove it", "istio-version")
    if topology.data_plane != "sidecar":
        yield Problem(place("istio", "dataPlane"), "Istio 1.4 has sidecars only", "remove it", "istio-version")
    if topology.trust_domain not in (None, "cluster.local"):
        what = "Citadel of Istio 1.4 issues identities of cluster.local whatever the trust domain, once it signs with cacerts"
        yield Problem(place("trustDomain"), what, "remove it", "istio-version")
    if topology.issuer != "local":
        what = f"this version of kubectl mesh makes intermediates with the local root only, not by {topology.issuer}"
        yield Problem(place("certificates", "issuer"), what, "write issuer: local", "unsupported")
    if topology.store != "plain":
        what = f"this version of kubectl mesh writes secrets as plain only, not as {topology.store}"
        yield Problem(place("secrets", "store"), what, "write store: plain, and keep out/ out of git, or keep its readers few", "unsupported")
    if topology.delivery != "kubectl":
        what = f"this version of kubectl mesh renders no objects of its own for {topology.delivery}, which can apply each out/NAME as it is"
        yield Problem(place("delivery", "tool"), what, "write tool: kubectl", "unsupported")
    value: Any = topology.document.value
    for context, entry in value["contexts"].items():
        for way in entry.get("credential", {}):
            if way != "tokenFile":
                what = f"this version of kubectl mesh lets the peers log in by a token only, not by {way}"
                yield Problem(place("contexts", context, "credential", way), what, "write credential: {tokenFile: FILE}", "unsupported")


def warnings(topology: Topology, pki: Pki) -> Iterator[Problem]:
    """What Istio 1.4 takes, but not as one might think."""
    value: Any = topology.document.value
    paths: list[tuple[str | int, ...]] = []
    for top in ("networks", "contexts"):
        for name, entry in value.get(top, {}).items():
            paths += [(top, name, "gateways", i, "address") for i, g in enumerate(entry.get("gateways", ())) if _is_name(g["address"])]
    for path in paths:
        what = "is a host name: Istio 1.4 takes gateways by IP, and looks a name up once, when it starts"
        yield Problem(topology.document.place(*path), what, "give the IP addresses", "gateway-address")
    weak = [name for name, i in pki.intermediates.items() if i.certificate.key_type.startswith("ec-")]
    if weak:
        what = f"Istio 1.4 loads an EC key but cannot sign workload certificates with it ({_some(weak)})"
        yield Problem(
            topology.document.place("certificates", "keyType"),
            what,
            "use rsa-4096, and move the intermediates away to have new ones made",
            "certs-key-type",
        )


def _is_name(address: str) -> bool:
    return address != "pending" and not is_address(address)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def base_problems(base: Document) -> Iterator[Problem]:
    """What is wrong with a base.yaml beyond its schema."""
    value: Any = base.value
    if not isinstance(value.get("spec"), dict):
        yield Problem(base.place("spec"), "is missing, and istioctl stops on a file without it", "write spec: {profile: default}", "base-valid")
        return
    profile = value["spec"].get("profile")
    if isinstance(profile, str) and profile not in PROFILES and not any(c in profile for c in "/."):
        what = f"{shown(profile)} is no profile of Istio 1.4{near(profile, PROFILES)}"
        yield Problem(base.place("spec", "profile"), what, f"name one of {', '.join(PROFILES)}, or a file", "base-valid")


class _Overlays:
    """The overlays of a plan; what clusters share is written once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._whole: dict[int, dict[str, Block]] = {}
        self._endpoints: dict[str, Block] = {}

    def of(self, member: Member) -> dict[str, object]:
        """What the mesh sets in the control plane of one cluster."""
        cluster, mesh = member.cluster, self.plan.topology.mesh_id
        networks: object = {}
        if cluster.joined:
            networks = block({"networks": {n.name: self._network(n, member) for n in member.networks}})
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": "default", "namespace": OPERATOR_NAMESPACE},
            "spec": {
                "defaultNamespace": cluster.namespace,
                "unvalidatedValues": {"global": {"meshID": mesh}},
                "values": {
                    "gateways": {"istio-ingressgateway": {"env": {"ISTIO_MESH_NETWORK": cluster.network}}},
                    "global": {
                        "controlPlaneSecurityEnabled": True,
                        "meshNetworks": networks,
                        "multiCluster": {"clusterName": cluster.name},
                        "network": cluster.network,
                    },
                    "pilot": {"meshNetworks": networks},
                    "security": {"selfSigned": False},
                },
            },
        }

    def _network(self, network: Network, member: Member) -> object:
        if network.name == member.cluster.network:
            return self._made(network, member.cluster.name)
        shared = self._whole.setdefault(id(member.networks), {})
        if network.name not in shared:
            shared[network.name] = block(self._made(network, None))
        return shared[network.name]

    def _made(self, network: Network, own: str | None) -> dict[str, object]:
        endpoints = [self._endpoint(OWN_REGISTRY if name == own else name) for name in network.clusters]
        made: dict[str, object] = {"endpoints": endpoints}
        if network.gateways:
            made["gateways"] = [{"address": g.address, "port": g.port} for g in network.gateways]
        return made

    def _endpoint(self, registry: str) -> Block:
        if registry not in self._endpoints:
            self._endpoints[registry] = block({"fromRegistry": registry})
        return self._endpoints[registry]


def lost_settings(plan: Plan, base: Document) -> list[Problem]:
    """The values of base.yaml that the mesh replaces, each with its line."""
    overlays = _Overlays(plan)
    paths = {path for member in plan.members.values() for path in lost(base.value, overlays.of(member)) if path not in (("apiVersion",), ("kind",))}
    return [Problem(base.place(*path), "is set by the mesh; the value here is lost", id="base-lost") for path in sorted(paths, key=str)]


def _role(cluster: Cluster) -> str:
    """The role of a reader that Istio does not bring; Istio's own is `istio-reader-NAMESPACE`."""
    return f"istio-reader-{cluster.namespace}-{cluster.reader}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def folders(plan: Plan, base: Json, pki: Pki, manifests: Manifests) -> Iterator[tuple[str, dict[str, tuple[str, bool]]]]:
    """For each cluster that has an intermediate in `pki` its name and its files: path -> text, and whether it is secret."""
    overlays = _Overlays(plan)
    remotes: dict[tuple[str, str], str] = {}
    for name, intermediate in pki.intermediates.items():
        member = plan.members[name]
        cluster = member.cluster
        place: Mapping[str, str] = {"namespace": cluster.namespace, "reader": cluster.reader}
        files: dict[str, tuple[str, bool]] = {
            "kustomization.yaml": (manifests.render("kustomization.yaml", resources=("1-trust", "2-control-plane", "3-mesh")), False),
            "1-trust/kustomization.yaml": (manifests.render("kustomization.yaml", resources=("namespace.yaml", "cacerts.yaml")), False),
            "1-trust/namespace.yaml": (manifests.render("namespace.yaml", namespace=cluster.namespace, network=cluster.network), False),
            "1-trust/cacerts.yaml": (
                manifests.once(
                    "cacerts.yaml",
                    namespace=cluster.namespace,
                    ca_cert=_base64(intermediate.ca_cert),
                    ca_key=_base64(intermediate.ca_key),
                    cert_chain=_base64(intermediate.cert_chain),
                    root_cert=_base64(intermediate.root_cert),
                ),
                True,
            ),
            "2-control-plane/kustomization.yaml": (manifests.render("kustomization.yaml", resources=("istiocontrolplane.yaml",)), False),
            "2-control-plane/istiocontrolplane.yaml": (document(merge(base, overlays.of(member))), False),
            "3-mesh/cluster-aware-gateway.yaml": (manifests.render("cluster-aware-gateway.yaml", namespace=cluster.namespace), False),
        }
        resources = ["cluster-aware-gateway.yaml"]
        if cluster.joined:
            if cluster.reader != DEFAULT_READER:
                role = _role(cluster)
                files["3-mesh/reader-account.yaml"] = (manifests.render("reader-account.yaml", **place), False)
                files["3-mesh/reader-role.yaml"] = (manifests.render("reader-role.yaml", role=role), False)
                files["3-mesh/reader-role-binding.yaml"] = (manifests.render("reader-role-binding.yaml", role=role, **place), False)
                resources += ["reader-account.yaml", "reader-role.yaml", "reader-role-binding.yaml"]
            files["3-mesh/reader-token.yaml"] = (manifests.render("reader-token.yaml", secret=reader_secret(cluster), **place), False)
            resources.append("reader-token.yaml")
        for peer in member.peers:
            other = plan.members[peer]
            if other.readable:
                key = (peer, cluster.namespace)
                if key not in remotes:
                    remotes[key] = remote_secret(other, cluster.namespace, manifests)
                path = f"remote-secrets/{peer}.yaml"
                files[f"3-mesh/{path}"] = (remotes[key], True)
                resources.append(path)
        files["3-mesh/kustomization.yaml"] = (manifests.once("kustomization.yaml", resources=tuple(resources)), False)
        yield name, files


def remote_secret(member: Member, namespace: str, manifests: Manifests) -> str:
    """The Secret by which istiod in `namespace` of another cluster reads this one: the same text in every cluster."""
    assert member.server is not None
    assert member.token is not None
    kubeconfig = manifests.once(
        "remote-kubeconfig.yaml",
        name=member.cluster.name,
        ca=_base64(member.server.ca),
        server=member.server.url,
        tls_server_name=member.server.tls_server_name,
        token=member.token,
    )
    return manifests.once(
        "remote-secret.yaml", name=member.cluster.name, context=member.cluster.context, namespace=namespace, kubeconfig=_base64(kubeconfig.encode())
    )
