"""What a call from a workload of one cluster to a workload of another one needs.

A requirement is satisfied, violated, or unknown offline. Each looks at a few facts of a few
clusters through a `View`, which may show the old state of one cluster and the new one of another:
that is what a mesh looks like while a change is under way.

Sources, by file of the repository istio/istio:
- pkg/kube/multicluster/secretcontroller.go: istiod reads the Secrets in its own namespace that have
  the label istio/multiCluster: "true"; the key is the cluster's ID.
- pilot/pkg/serviceregistry/kube/controller/network.go: the network of an endpoint is the label of
  its pod, else that of the namespace, else that of meshNetworks; gateways are Services and Gateways
  with the label topology.istio.io/network, and what meshNetworks states.
- pilot/pkg/xds/endpoints/ep_filters.go: an endpoint on another network is replaced by the gateways
  of that network; without any, its own address stays, which leads nowhere.
- pilot/pkg/networking/plugin/authn/util.go, pilot/pkg/model/push_context.go: both sides accept the
  trust domain of their istiod and its aliases.
- pilot/pkg/bootstrap/istio_ca.go: istiod signs by the intermediate, and hands out root-cert.pem.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from kubectl_mesh.connectivity.facts import (
    ControlFacts,
    Gateway,
    Login,
    MeshFacts,
    Reader,
    TrustFacts,
)
from kubectl_mesh.observed.mesh_state import Opaque

BALANCER = "LoadBalancer"
"""The only type of Service that always has an address (istio conversion.go)."""
_AMBIENT_PORT, _ISTIOD_PORT = 15008, 15012


class View(Protocol):
    """The facts of each cluster in one mixture of two states."""

    @property
    def now(self) -> datetime | None:
        """When it is; None where dates are not looked at."""

    def trust(self, name: str) -> TrustFacts:
        """What 1-trust brings."""

    def control(self, name: str) -> ControlFacts:
        """What 2-control-plane brings."""

    def mesh(self, name: str) -> MeshFacts:
        """What 3-mesh brings but for remote secrets."""

    def logins(self, name: str) -> Mapping[str, Login]:
        """The remote secrets that istiod reads, by peer."""

    def network_label(self, name: str) -> str | None:
        """`topology.istio.io/network` of the namespace."""

    def workload_roots(self, name: str) -> TrustFacts:
        """The trust as running workloads have its roots."""

    def workload_signer(self, name: str) -> TrustFacts:
        """The trust that signed the certificates of running workloads."""

    def workload_domain(self, name: str) -> str:
        """The trust domain in the certificates of running workloads."""

    def injected_settings(self, name: str) -> ControlFacts:
        """The settings that running workloads were injected with."""

    def gateways(self, network: str) -> Mapping[str, tuple[Gateway, ...]]:
        """The gateways of a network that let traffic in, by cluster; istiod finds them by label."""

    def all_gateways(self, network: str) -> frozenset[Gateway]:
        """The gateways that let traffic in, of the clusters on a network, labelled or not."""


class Unknown(Protocol):
    """The facts on which something unknown depends."""

    def is_implied_by(self, other: "Unknown | None") -> bool:
        """Whether it holds wherever what depends on these other facts holds; None stands for what
        was satisfied.
        """


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a requirement is violated, or why it cannot be known offline whether it is."""

    code: str
    why: str
    depends_on: Unknown | None = None
    """The facts on which an unknown rests; None where the requirement is violated."""
    command: str = ""
    """What shows it in a cluster."""
    cluster: str = ""
    """The cluster where the command is run."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement of a call, and the facts of each side that it looks at."""

    id: str
    find_fault: Callable[[View, str, str], Fault | None]
    caller: frozenset[str] = frozenset()
    """The facts of the caller that count."""
    primary: frozenset[str] = frozenset()
    """Those of the cluster whose istiod serves the caller."""
    callee: frozenset[str] = frozenset()
    callee_primary: frozenset[str] = frozenset()
    gateways: bool = False
    """Whether it looks for gateways in other clusters."""

    @property
    def facts_by_role(self) -> tuple[frozenset[str], ...]:
        """The facts of the caller, its primary, the callee and its primary."""
        return self.caller, self.primary, self.callee, self.callee_primary


def primary_of(view: View, name: str) -> str:
    """The cluster whose istiod serves a cluster."""
    return view.trust(name).primary or name


# Control plane


def find_control_plane_fault(view: View, caller: str, callee: str) -> Fault | None:
    """Why no istiod configures workloads of one side."""
    for name in (caller, callee):
        primary = primary_of(view, name)
        fault = (
            _revision_fault(view, name) if primary == name else _served_fault(view, name, primary)
        )
        if fault is not None:
            return fault
    return None


def _revision_fault(view: View, name: str) -> Fault | None:
    used, there = view.injected_settings(name).revisions, view.control(name).revisions
    if used <= there:
        return None
    gone = ", ".join(sorted(revision or "default" for revision in used - there))
    if not used & there:
        return Fault(
            "revision-gone", f"workloads of {name} have no istiod of their revision {gone}"
        )
    return Fault(
        "revision-in-use-unknown",
        f"whether workloads of {name} still have the revision {gone}",
        UnknownRevisions(used - there),
        "istioctl proxy-status",
        name,
    )


@dataclass(frozen=True, slots=True)
class UnknownRevisions:
    """The revisions that workloads may still have, and that have no istiod."""

    revisions: frozenset[str]

    def is_implied_by(self, other: Unknown | None) -> bool:
        """Whether no other revision is missing."""
        return isinstance(other, UnknownRevisions) and self.revisions <= other.revisions


def _served_fault(view: View, name: str, primary: str) -> Fault | None:
    mesh = view.mesh(primary)
    gateways = (*view.control(primary).charted, *mesh.gateways)
    leads = any(not g.ports or _ISTIOD_PORT in g.ports for g in gateways)
    if mesh.exposes_istiod and leads:
        return None
    return Fault("istiod-not-exposed", f"{name} does not reach istiod of {primary}")


# Discovery


def find_discovery_fault(view: View, caller: str, callee: str) -> Fault | None:
    """Why the istiod of the caller does not read the callee."""
    primary = primary_of(view, caller)
    if primary == callee:
        return None
    login = view.logins(primary).get(callee)
    if login is None:
        return Fault("no-remote-secret", f"{primary} has no remote secret for {callee}")
    namespace = view.trust(primary).namespace
    if not login.labelled:
        return Fault(
            "remote-secret-not-labelled",
            f"istiod of {primary} ignores the remote secret for {callee}, which lacks its label",
        )
    if login.namespace is not None and namespace is not None and login.namespace != namespace:
        return Fault(
            "remote-secret-elsewhere",
            f"the remote secret for {callee} is in the namespace {login.namespace}, and istiod of"
            f" {primary} reads {namespace}",
        )
    return _login_fault(view, primary, callee, login)


@dataclass(frozen=True, slots=True)
class UnknownLogin:
    """What it depends on whether an API server accepts a login of which the tree shows nothing: the
    login itself, and the accounts and tokens that the cluster has.
    """

    login: Opaque
    readers: frozenset[Reader]

    def is_implied_by(self, other: Unknown | None) -> bool:
        """Whether it is the same login, and no account or token is missing."""
        return (
            isinstance(other, UnknownLogin)
            and self.login == other.login
            and self.readers >= other.readers
        )


def _login_fault(view: View, primary: str, callee: str, login: Login) -> Fault | None:
    """Why the API server of the callee does not accept a login."""
    readers = frozenset(r for r in view.mesh(callee).readers if r.peer in ("", primary))
    if view.now is not None and login.expires is not None and login.expires <= view.now:
        return Fault(
            "token-expired",
            f"the token that {primary} sends to {callee} expired on {login.expires:%Y-%m-%d}",
        )
    tokens = {r.name: r for r in readers if r.kind == "Secret"}
    if login.token_secret is None or not tokens:
        return Fault(
            "login-unknown",
            f"whether {callee} accepts the login that {primary} sends",
            UnknownLogin(login.user, readers),
            "istioctl remote-clusters",
            primary,
        )
    if login.token_secret not in tokens:
        return Fault(
            "token-left",
            f"{primary} sends the token of the Secret {login.token_secret}, which {callee} does not"
            " have",
        )
    return None


# Endpoints


def network_of(view: View, primary: str, name: str) -> str | None:
    """The network on which an istiod has the workloads of a cluster."""
    stated = view.injected_settings(name).network or view.network_label(name)
    return stated or dict(view.control(primary).registries).get(name)


def find_endpoint_fault(view: View, caller: str, callee: str) -> Fault | None:
    """Why the caller has no address that leads to the workloads of the callee."""
    primary = primary_of(view, caller)
    here, there = network_of(view, primary, caller), network_of(view, primary, callee)
    if here == there or there is None:
        return None
    if there in view.control(primary).declared or there in view.mesh(primary).stated:
        return Fault(
            "stated-address",
            f"whether the address that {primary} has for the network {there} leads to a gateway",
            StatedAddress(view.all_gateways(there)),
        )
    is_ambient = view.injected_settings(caller).ambient
    read = view.logins(primary)
    found = [
        gateway
        for name, some in view.gateways(there).items()
        if name == primary or name in read
        for gateway in some
        if not gateway.ports or (_AMBIENT_PORT in gateway.ports) == is_ambient
    ]
    if not found:
        return Fault(
            "no-gateway",
            f"istiod of {primary} finds no gateway of the network {there}, on which {callee} is",
        )
    if any(g.service_type == BALANCER or g.addresses for g in found):
        return None
    return Fault(
        "gateway-address-unknown",
        f"which address the gateway {found[0].name} of {found[0].cluster} has",
        UnknownAddress(frozenset(found)),
        f"kubectl get service {found[0].name} --all-namespaces",
        found[0].cluster,
    )


@dataclass(frozen=True, slots=True)
class UnknownAddress:
    """The gateways whose Services may have an address."""

    gateways: frozenset[Gateway]

    def is_implied_by(self, other: Unknown | None) -> bool:
        """Whether no gateway has left or changed."""
        return isinstance(other, UnknownAddress) and self.gateways >= other.gateways


@dataclass(frozen=True, slots=True)
class StatedAddress:
    """The gateways of a network for which an address is stated; to which of them it leads, only its
    people know.
    """

    gateways: frozenset[Gateway]

    def is_implied_by(self, other: Unknown | None) -> bool:
        """Whether no gateway has left or changed; an address that is stated anew is believed."""
        return not isinstance(other, StatedAddress) or self.gateways >= other.gateways


# Identity


def find_identity_fault(view: View, caller: str, callee: str) -> Fault | None:
    """Why one side does not accept the trust domain of the other."""
    ours, theirs = primary_of(view, caller), primary_of(view, callee)
    if ours == theirs:
        return None
    for name, other in ((ours, theirs), (theirs, ours)):
        domain = view.workload_domain(other)
        if domain not in view.control(name).trusted_domains:
            return Fault(
                "trust-domain",
                f"{name} does not accept the trust domain {domain} of workloads of {other}",
            )
    return None


# Trust


@dataclass(frozen=True, slots=True)
class UnknownTrust:
    """Whose roots two clusters have, where a tree does not say it."""

    issuers: frozenset[tuple[str | None, tuple[str, ...]]]

    def is_implied_by(self, other: Unknown | None) -> bool:
        """Whether it is the same unknown."""
        return self == other


def find_trust_fault(view: View, caller: str, callee: str) -> Fault | None:
    """Why one side does not trust the root by which the certificate of the other one is signed."""
    ours, theirs = primary_of(view, caller), primary_of(view, callee)
    for name, other in ((ours, theirs), (theirs, ours)):
        trusted, signed = view.workload_roots(name), view.workload_signer(other)
        if trusted.roots and signed.signer is not None:
            if signed.signer not in trusted.roots:
                return Fault(
                    "root-not-trusted",
                    f"workloads of {name} do not trust the root by which {other} signs",
                )
        elif (trusted.issuer, trusted.roots) != (signed.issuer, signed.roots):
            both = ((trusted.issuer, trusted.roots), (signed.issuer, signed.roots))
            return Fault(
                "root-unknown",
                f"whether {name} trusts the root by which {other} signs",
                UnknownTrust(frozenset(both)),
                "istioctl proxy-config secret POD.NAMESPACE",
                name,
            )
    return None


# Data plane


def find_data_plane_fault(view: View, caller: str, callee: str) -> Fault | None:
    """Why two data planes do not understand each other."""
    one, two = view.injected_settings(caller), view.injected_settings(callee)
    primary = primary_of(view, caller)
    if one.ambient == two.ambient:
        return None
    if network_of(view, primary, caller) == network_of(view, primary, callee):
        return None
    ambient, sidecar = (caller, callee) if one.ambient else (callee, caller)
    return Fault(
        "data-planes-differ",
        f"{ambient} is ambient and {sidecar} is not, and they are on different networks",
    )


_NETWORK = frozenset({"network", "network_label", "primary"})
_SERVES = frozenset({"exposes_istiod", "charted", "gateways", "revisions"})
_SIGNS = frozenset({"roots", "signer", "issuer"})
_DOMAINS = frozenset({"trust_domain", "trusted_domains"})
_PRIMARY = frozenset({"primary"})

REQUIREMENTS = (
    Requirement(
        "control-plane",
        find_control_plane_fault,
        caller=_PRIMARY | {"revisions"},
        primary=_SERVES,
        callee=_PRIMARY | {"revisions"},
        callee_primary=_SERVES,
    ),
    Requirement(
        "discovery",
        find_discovery_fault,
        caller=_PRIMARY,
        primary=frozenset({"logins", "namespace"}),
        callee=frozenset({"readers"}),
    ),
    Requirement(
        "endpoints",
        find_endpoint_fault,
        caller=_NETWORK | {"ambient"},
        primary=frozenset(
            {"declared", "stated", "registries", "peers", "charted", "gateways", "lets_in"}
        ),
        callee=_NETWORK,
        gateways=True,
    ),
    Requirement(
        "identity",
        find_identity_fault,
        caller=_PRIMARY,
        primary=_DOMAINS,
        callee=_PRIMARY,
        callee_primary=_DOMAINS,
    ),
    Requirement(
        "trust",
        find_trust_fault,
        caller=_PRIMARY,
        primary=_SIGNS,
        callee=_PRIMARY,
        callee_primary=_SIGNS,
    ),
    Requirement(
        "data-plane",
        find_data_plane_fault,
        caller=_NETWORK | {"ambient"},
        callee=_NETWORK | {"ambient"},
    ),
)
"""What a call needs, in the order in which it is looked at."""
GATEWAY_FACTS = frozenset({"charted", "gateways", "lets_in"})
"""The facts of a cluster on which it depends whether others find gateways there."""
