"""The checks of gateways and their addresses, and what is pending."""

from kubectl_mesh.checks.result import ERROR, WARNING, Check
from kubectl_mesh.errors import Problem
from kubectl_mesh.model import Plan

CHECKS = (
    Check(
        "gateway-kind",
        "gateways",
        ERROR,
        "every east-west gateway is of a kind that something makes",
        "a network without a gateway",
        "State an `eastWestGateway.kind` that the control plane has, or leave it out.",
    ),
    Check(
        "gateway-address",
        "gateways",
        WARNING,
        "every gateway is given as Istio's version takes it",
        "a gateway that is looked up once and never again",
        "State IP addresses; from Istio 1.8 on no address has to be stated at all.",
    ),
    Check(
        "gateway-found",
        "gateways",
        ERROR,
        "every network has a gateway whose Service gives istiod an address, or a stated address",
        "`no healthy upstream` or `connection timeout` for everything in the network",
        "State the address under `networks`, or use `serviceType: LoadBalancer`.",
    ),
    Check(
        "gateway-pending",
        "gateways",
        WARNING,
        "every network has the address of a gateway",
        "no traffic into the network",
        "Apply the gateway, read its address by the command that the finding gives, and state it"
        " under `networks`.",
    ),
    Check(
        "control-plane-address",
        "gateways",
        WARNING,
        "where istiod is reached is stated by IP address, and for somebody",
        "pods without a sidecar: `failed calling webhook … connection refused`",
        "State the IP address of the primary's east-west gateway in `controlPlaneAddress`, or take"
        " it out where nobody is served.",
    ),
    Check(
        "address-pending",
        "gateways",
        WARNING,
        "every istiod that serves other clusters has a known address",
        "clusters without a control plane",
        "Apply the primary, read the address by the command that the finding gives, and state it in"
        " `controlPlaneAddress`.",
    ),
)


def pending_findings(plan: Plan, broken: frozenset[tuple[str, str]]) -> list[Problem]:
    """What is pending, as findings; but not what is there and wrong."""
    document = plan.topology.document
    found = []
    for p in plan.pending:
        where = (
            document.place("networks", p.subject)
            if p.kind == "gateway"
            else plan.members[p.subject].cluster.place
        )
        known_wrong = (p.kind, p.subject) in broken or (
            p.kind == "token" and ("server", p.subject) in broken
        )
        if not known_wrong:
            found.append(
                Problem(
                    where,
                    f"{p.what} is not known, which holds back {p.holds_back}",
                    f"run: {p.command}",
                    f"{p.kind}-pending",
                )
            )
    return found
