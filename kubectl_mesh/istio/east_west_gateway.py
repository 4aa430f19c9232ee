"""The names, ports and labels of a cluster's east-west gateway, whatever creates it.

Source: Istio's samples/multicluster/gen-eastwest-gateway.sh and manifests/charts/gateway. istiod
finds a gateway by the label of its Service. Where addresses are declared, the Service has no such
label, so that only they count.
"""

from kubectl_mesh.model import Member, Network, Plan

GATEWAY_NAME = "istio-eastwestgateway"
GATEWAY_SELECTOR = "eastwestgateway"
TLS_PORT, HBONE_PORT = 15443, 15008
NETWORK_LABEL = "topology.istio.io/network"
PORT_LABEL = "networking.istio.io/gatewayPort"
NETWORK_VIEW_VARIABLE = "ISTIO_META_REQUESTED_NETWORK_VIEW"
"""The gateway's environment variable that limits it to the endpoints of its own network."""
_STATUS = ("status-port", 15021)
_ISTIOD = (("tls-istiod", 15012), ("tls-webhook", 15017))


def service_ports(member: Member, plan: Plan) -> list[dict[str, object]]:
    """The ports of the gateway's Service: those that the mesh needs."""
    ports = [(*_STATUS, _STATUS[1])]
    if plan.has_several_networks:
        ports.append(("tls", member.cluster.east_west.port or TLS_PORT, TLS_PORT))
    if member.is_primary:
        ports += [(name, port, port) for name, port in _ISTIOD]
    return [
        {"name": name, "port": port, "protocol": "TCP", "targetPort": target}
        for name, port, target in ports
    ]


def discovery_labels(member: Member) -> dict[str, str]:
    """The labels with which istiod finds a gateway; none where addresses are declared."""
    port = member.cluster.east_west.port
    if member.static_gateways:
        return {}
    return {
        NETWORK_LABEL: member.cluster.network,
        **({PORT_LABEL: str(port)} if port not in (None, TLS_PORT) else {}),
    }


def remote_networks(member: Member) -> list[Network]:
    """The other networks that a cluster's istiod reaches at declared addresses."""
    return [
        n
        for n in member.networks
        if n.name != member.cluster.network and n.gateways and member.primary is None
    ]
