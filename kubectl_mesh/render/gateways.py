"""Stage 3: the gateways of a cluster, and what they let in (Istio's samples/multicluster:
expose-services.yaml, expose-istiod.yaml).
"""

from kubectl_mesh.istio import versions
from kubectl_mesh.istio.east_west_gateway import (
    GATEWAY_NAME,
    GATEWAY_SELECTOR,
    HBONE_PORT,
    NETWORK_LABEL,
    NETWORK_VIEW_VARIABLE,
    TLS_PORT,
    discovery_labels,
    remote_networks,
    service_ports,
)
from kubectl_mesh.model import Cluster, Gateway, Member, Network, Plan
from kubectl_mesh.model.address import is_address
from kubectl_mesh.render.stage import Stage
from kubectl_mesh.yaml_io.templates import Manifests


def add_gateways(
    stage: Stage, plan: Plan, member: Member, manifests: Manifests, *, legacy: bool
) -> None:
    """Adds the gateways of a cluster."""
    cluster = member.cluster
    if legacy:
        stage.add_file(
            "cluster-aware-gateway.yaml",
            manifests.render("cluster-aware-gateway.yaml", namespace=cluster.namespace),
        )
        return
    if member.gateway_kind == "Deployment":
        stage.add_file(
            "eastwest-account.yaml",
            manifests.render(
                "eastwest-account.yaml", name=GATEWAY_NAME, namespace=cluster.namespace
            ),
        )
        stage.add_file(
            "eastwest-deployment.yaml", manifests.document_text(_deployment_json(member))
        )
        stage.add_file(
            "eastwest-service.yaml", manifests.document_text(_service_json(member, plan))
        )
    elif member.gateway_kind == "Gateway":
        stage.add_file(
            "eastwest-gateway.yaml", manifests.document_text(_gateway_json(member, plan))
        )
    if member.primary is None:
        _add_exposures(stage, plan, member, manifests)


def _add_exposures(stage: Stage, plan: Plan, member: Member, manifests: Manifests) -> None:
    """Adds what the gateways let in, which istiod reads: a cluster without one has none of it."""
    cluster = member.cluster
    place = {
        "namespace": cluster.namespace,
        "version": (
            "v1"
            if versions.minor_version(cluster.version) >= versions.SINCE_GATEWAY_V1
            else "v1alpha3"
        ),
    }
    if member.gateway_kind not in (None, "Gateway") and plan.has_several_networks:
        stage.add_file(
            "cross-network-gateway.yaml",
            manifests.render("cross-network-gateway.yaml", **place),
        )
    if member.is_primary and member.gateway_kind is not None:
        service = f"istiod-{cluster.revision}" if cluster.revision else "istiod"
        host = f"{service}.{cluster.namespace}.svc.cluster.local"
        stage.add_file("istiod-gateway.yaml", manifests.render("istiod-gateway.yaml", **place))
        stage.add_file(
            "istiod-virtual-service.yaml",
            manifests.render("istiod-virtual-service.yaml", host=host, **place),
        )
    if plan.topology.is_ambient:
        for network in remote_networks(member):
            stage.add_file(
                f"remote-gateways/{network_file_name(network.name)}.yaml",
                manifests.document_text(_remote_gateway_json(network, cluster)),
            )


def network_file_name(network: str) -> str:
    """A network's name as that of a file and of an object: lower case, for networks may differ from
    others by nothing but case.
    """
    lower = network.lower().replace("_", "-")
    return (
        lower
        if lower == network
        else f"{lower}-{sum(1 << i for i, c in enumerate(network) if c != lower[i]):x}"
    )


def _deployment_json(member: Member) -> dict[str, object]:
    cluster = member.cluster
    own = {"app": GATEWAY_NAME, "istio": GATEWAY_SELECTOR}
    pod = {
        **own,
        "istio.io/dataplane-mode": "none",
        "sidecar.istio.io/inject": "true",
        NETWORK_LABEL: cluster.network,
    }
    if cluster.revision:
        pod["istio.io/rev"] = cluster.revision
    container = {
        "name": "istio-proxy",
        # The injector puts Istio's own image in the place of this word.
        "image": "auto",
        "env": [{"name": NETWORK_VIEW_VARIABLE, "value": cluster.network}],
        "ports": [{"containerPort": 15090, "name": "http-envoy-prom", "protocol": "TCP"}],
        "resources": {
            "limits": {"cpu": "2", "memory": "1Gi"},
            "requests": {"cpu": "100m", "memory": "128Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"labels": own, "name": GATEWAY_NAME, "namespace": cluster.namespace},
        "spec": {
            "replicas": cluster.east_west.replicas or 2,
            "selector": {"matchLabels": own},
            "template": {
                "metadata": {
                    "annotations": {"inject.istio.io/templates": "gateway"},
                    "labels": dict(sorted(pod.items())),
                },
                "spec": {"containers": [container], "serviceAccountName": GATEWAY_NAME},
            },
        },
    }


def _service_json(member: Member, plan: Plan) -> dict[str, object]:
    cluster = member.cluster
    annotations = dict(cluster.east_west.annotations)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            **({"annotations": annotations} if annotations else {}),
            "labels": dict(
                sorted(
                    {
                        "app": GATEWAY_NAME,
                        "istio": GATEWAY_SELECTOR,
                        **discovery_labels(member),
                    }.items()
                )
            ),
            "name": GATEWAY_NAME,
            "namespace": cluster.namespace,
        },
        "spec": {
            "ports": service_ports(member, plan),
            "selector": {"app": GATEWAY_NAME, "istio": GATEWAY_SELECTOR},
            "type": cluster.east_west.service_type,
        },
    }


def _gateway_json(member: Member, plan: Plan) -> dict[str, object]:
    """A Gateway of the Gateway API, for which istiod makes Deployment and Service."""
    cluster = member.cluster
    ambient = plan.topology.is_ambient
    own = {
        **discovery_labels(member),
        **({"istio.io/rev": cluster.revision} if cluster.revision else {}),
    }
    # istiod takes the type of the Service from here, and copies labels and annotations to it.
    annotations = {
        **dict(cluster.east_west.annotations),
        "networking.istio.io/service-type": cluster.east_west.service_type,
    }
    if not ambient:
        # Without it the Service would have the name of the class at its end.
        annotations["gateway.istio.io/name-override"] = GATEWAY_NAME
    infrastructure = {}
    if ambient and member.static_gateways:
        # istiod labels the Service of such a gateway by itself, unless the Gateway is labelled and
        # says what its Service is to have.
        own[NETWORK_LABEL] = cluster.network
        infrastructure = {
            "infrastructure": {"annotations": annotations, "labels": {"app": GATEWAY_NAME}}
        }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {
            "annotations": dict(sorted(annotations.items())),
            **({"labels": dict(sorted(own.items()))} if own else {}),
            "name": GATEWAY_NAME,
            "namespace": cluster.namespace,
        },
        "spec": {
            "gatewayClassName": "istio-east-west" if ambient else "istio",
            **infrastructure,
            "listeners": [_listener_json(member, ambient=ambient)],
        },
    }


def _listener_json(member: Member, *, ambient: bool) -> dict[str, object]:
    """What a gateway lets in: HBONE, or TLS for the services of the mesh."""
    if ambient:
        options = {"gateway.istio.io/tls-terminate-mode": "ISTIO_MUTUAL"}
        return {
            "name": "mesh",
            "port": HBONE_PORT,
            "protocol": "HBONE",
            "tls": {"mode": "Terminate", "options": options},
        }
    options = {"gateway.istio.io/listener-protocol": "auto-passthrough"}
    return {
        "name": "cross-network",
        "hostname": "*.local",
        "port": member.cluster.east_west.port or TLS_PORT,
        "protocol": "TLS",
        "tls": {"mode": "Passthrough", "options": options},
    }


def _remote_gateway_json(network: Network, cluster: Cluster) -> dict[str, object]:
    """The gateway of another network, whose addresses are declared; read by istiod of its own
    cluster alone.
    """
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {
            "labels": {NETWORK_LABEL: network.name},
            "name": f"{GATEWAY_NAME}-{network_file_name(network.name)}"[:253],
            "namespace": cluster.namespace,
        },
        "spec": {
            "addresses": [_address_json(gateway) for gateway in network.gateways],
            "gatewayClassName": "istio-remote",
            "listeners": [
                {
                    "name": "mesh",
                    "port": HBONE_PORT,
                    "protocol": "HBONE",
                    "tls": {
                        "mode": "Terminate",
                        "options": {"gateway.istio.io/tls-terminate-mode": "ISTIO_MUTUAL"},
                    },
                }
            ],
        },
    }


def _address_json(gateway: Gateway) -> dict[str, object]:
    return {
        "type": "IPAddress" if is_address(gateway.address) else "Hostname",
        "value": gateway.address,
    }
