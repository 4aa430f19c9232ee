"""The checks of gateways and their addresses, and what is pending."""

from kubectl_mesh.checks.check import StageCheck, Unknown
from kubectl_mesh.checks.context import ERROR, WARNING, InputFacts, Needs
from kubectl_mesh.checks.pending import PendingCheck
from kubectl_mesh.model.commands import address_command, cluster_command
from kubectl_mesh.text import count_text


class GatewayKind(StageCheck):
    id = "gateway-kind"
    category = "gateways"
    severity = ERROR
    sentence = "every east-west gateway is of a kind that something makes"
    prevents = "a network without a gateway"
    remedy = "State an `eastWestGateway.kind` that the control plane has, or leave it out."
    needs = Needs.INPUTS | Needs.CONTROL_PLANE


class GatewayAddress(StageCheck):
    id = "gateway-address"
    category = "gateways"
    severity = WARNING
    sentence = "every gateway is given as Istio's version takes it"
    prevents = "a gateway that is looked up once and never again"
    remedy = "State IP addresses; from Istio 1.8 on no address has to be stated at all."
    needs = Needs.RENDER | Needs.CONTROL_PLANE


class GatewayFound(StageCheck):
    id = "gateway-found"
    category = "gateways"
    severity = ERROR
    sentence = (
        "every network has a gateway whose Service gives istiod an address, or a stated address"
    )
    prevents = "`no healthy upstream` or `connection timeout` for everything in the network"
    remedy = "State the address under `networks`, or use `serviceType: LoadBalancer`."
    needs = Needs.INPUTS | Needs.BASE_SHAPE


class GatewayPending(PendingCheck):
    id = "gateway-pending"
    category = "gateways"
    severity = WARNING
    sentence = "every network has the address of a gateway"
    prevents = "no traffic into the network"
    remedy = (
        "Apply the gateway, read its address by the command that the finding gives, and state it"
        " under `networks`."
    )
    needs = Needs.RENDER | Needs.CONTROL_PLANE

    def find_unknown(self, inputs: InputFacts) -> Unknown | None:
        """The gateways that istiod finds by a label: their addresses are in the Services, or are
        those of nodes.
        """
        plan = inputs.plan
        if plan is None or not plan.has_several_networks:
            return None
        by_label = [
            m for m in plan.members.values() if m.gateway_kind is not None and not m.static_gateways
        ]
        if not by_label:
            return None
        what = (
            f"whether the Services of {count_text(len(by_label), 'east-west gateway')} have an"
            " address,"
            " which istiod reads from them"
        )
        first = by_label[0].cluster
        path = '{.items[*].status.addresses[?(@.type=="ExternalIP")].address}'
        nodes = cluster_command(first, "get", "nodes", "-o", f"jsonpath={path}")
        is_of_nodes = first.east_west.service_type == "NodePort"
        return Unknown(what, nodes if is_of_nodes else address_command(first))


class ControlPlaneAddress(StageCheck):
    id = "control-plane-address"
    category = "gateways"
    severity = WARNING
    sentence = "where istiod is reached is stated by IP address, and for somebody"
    prevents = "pods without a sidecar: `failed calling webhook … connection refused`"
    remedy = (
        "State the IP address of the primary's east-west gateway in `controlPlaneAddress`, or take"
        " it out where nobody is served."
    )
    needs = Needs.RENDER | Needs.CONTROL_PLANE


class AddressPending(PendingCheck):
    id = "address-pending"
    category = "gateways"
    severity = WARNING
    sentence = "every istiod that serves other clusters has a known address"
    prevents = "clusters without a control plane"
    remedy = (
        "Apply the primary, read the address by the command that the finding gives, and state it in"
        " `controlPlaneAddress`."
    )
    needs = Needs.RENDER
