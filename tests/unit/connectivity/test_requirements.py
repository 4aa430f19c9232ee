"""Each requirement of a call by itself, on facts that are stated here."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from kubectl_mesh.connectivity.facts import (
    ControlFacts,
    Gateway,
    Login,
    MeshFacts,
    Reader,
    TrustFacts,
)
from kubectl_mesh.connectivity.requirements import (
    Fault,
    StatedAddress,
    UnknownAddress,
    UnknownLogin,
    UnknownRevisions,
    UnknownTrust,
    find_control_plane_fault,
    find_discovery_fault,
    find_endpoint_fault,
    find_trust_fault,
)
from kubectl_mesh.observed.mesh_state import Opaque

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LOGIN = Login("istio-system", True, "https://192.0.2.1", "token", Opaque(b"1"), "reader-token")
TOKEN = Reader("Secret", "istio-system", "reader-token", "reader")
GATEWAY = Gateway("b", "Service", "east-west", "south", "LoadBalancer", (15021, 15443))


@dataclass
class Facts:
    """A mesh of two clusters, `a` on north and `b` on south, in which every call works."""

    now: datetime | None = None
    trusts: dict[str, TrustFacts] = field(
        default_factory=lambda: {n: TrustFacts(("r",), "r", namespace="istio-system") for n in "ab"}
    )
    controls: dict[str, ControlFacts] = field(
        default_factory=lambda: {
            "a": ControlFacts(frozenset({""}), "north"),
            "b": ControlFacts(frozenset({""}), "south"),
        }
    )
    used: dict[str, ControlFacts] = field(default_factory=dict)
    """What workloads were injected with, where it differs."""
    meshes: dict[str, MeshFacts] = field(
        default_factory=lambda: {
            "a": MeshFacts(),
            "b": MeshFacts(gateways=(GATEWAY,), readers=frozenset({TOKEN})),
        }
    )
    secrets: dict[str, dict[str, Login]] = field(
        default_factory=lambda: {"a": {"b": LOGIN}, "b": {}}
    )
    labels: dict[str, str] = field(default_factory=dict)

    def trust(self, name: str) -> TrustFacts:
        return self.trusts[name]

    def control(self, name: str) -> ControlFacts:
        return self.controls[name]

    def mesh(self, name: str) -> MeshFacts:
        return self.meshes[name]

    def logins(self, name: str) -> Mapping[str, Login]:
        return self.secrets[name]

    def network_label(self, name: str) -> str | None:
        return self.labels.get(name)

    def workload_roots(self, name: str) -> TrustFacts:
        return self.trusts[name]

    def workload_signer(self, name: str) -> TrustFacts:
        return self.trusts[name]

    def workload_domain(self, name: str) -> str:
        return self.controls[name].trust_domain

    def injected_settings(self, name: str) -> ControlFacts:
        return self.used.get(name, self.controls[name])

    def gateways(self, network: str) -> Mapping[str, tuple[Gateway, ...]]:
        return {
            n: tuple(g for g in m.gateways if g.network == network) for n, m in self.meshes.items()
        }

    def all_gateways(self, network: str) -> frozenset[Gateway]:
        return frozenset(g for m in self.meshes.values() for g in m.gateways)


def code_of(fault: Fault | None) -> str | None:
    """The code of a fault; None where there is none."""
    return fault.code if fault is not None else None


def test_a_revision_that_workloads_still_have() -> None:
    """All of their revisions gone is a violation; one of several is unknown; one more is nothing."""
    mesh = Facts()
    assert find_control_plane_fault(mesh, "a", "b") is None
    mesh.used["b"] = replace(mesh.controls["b"], revisions=frozenset({"", "blue"}))
    fault = find_control_plane_fault(mesh, "a", "b")
    assert fault is not None
    assert fault.depends_on == UnknownRevisions(frozenset({"blue"}))
    assert "blue" in fault.why
    mesh.used["b"] = replace(mesh.controls["b"], revisions=frozenset({"blue"}))
    assert code_of(find_control_plane_fault(mesh, "b", "a")) == "revision-gone"
    mesh.controls["b"] = replace(mesh.controls["b"], revisions=frozenset({"", "blue"}))
    assert find_control_plane_fault(mesh, "a", "b") is None
    mesh.controls["b"] = replace(mesh.controls["b"], revisions=frozenset({"blue"}))
    mesh.used["b"] = replace(mesh.controls["b"], revisions=frozenset({""}))
    fault = find_control_plane_fault(mesh, "a", "b")
    assert fault is not None
    assert "default" in fault.why


def test_an_istiod_that_serves_another_cluster() -> None:
    """It is exposed, and a gateway there has istiod's port, or leaves ports to its chart."""
    mesh = Facts()
    mesh.trusts["a"] = replace(mesh.trusts["a"], primary="b")
    assert code_of(find_control_plane_fault(mesh, "a", "b")) == "istiod-not-exposed"
    mesh.meshes["b"] = replace(mesh.meshes["b"], exposes_istiod=True)
    assert code_of(find_control_plane_fault(mesh, "a", "b")) == "istiod-not-exposed"
    for ports in ((15012, 15443), ()):
        open_gateway = replace(GATEWAY, ports=ports)
        mesh.meshes["b"] = replace(mesh.meshes["b"], gateways=(open_gateway,))
        assert find_control_plane_fault(mesh, "a", "b") is None
    mesh.meshes["b"] = replace(mesh.meshes["b"], exposes_istiod=False)
    assert code_of(find_control_plane_fault(mesh, "a", "b")) == "istiod-not-exposed"


@pytest.mark.parametrize(
    ("login", "code"),
    [
        (LOGIN, None),
        (replace(LOGIN, namespace=None), None),
        (replace(LOGIN, namespace="other"), "remote-secret-elsewhere"),
        (replace(LOGIN, labelled=False), "remote-secret-not-labelled"),
        (replace(LOGIN, expires=NOW), "token-expired"),
        (replace(LOGIN, expires=NOW + timedelta(1)), None),
        (replace(LOGIN, token_secret="other"), "token-left"),
        (replace(LOGIN, token_secret=None), "login-unknown"),
    ],
)
def test_a_remote_secret(login: Login, code: str | None) -> None:
    """Its namespace, label, token and date."""
    mesh = Facts(now=NOW, secrets={"a": {"b": login}, "b": {}})
    assert code_of(find_discovery_fault(mesh, "a", "b")) == code


def test_a_login_without_a_clock_or_a_namespace() -> None:
    """Where no time or no namespace is known, nothing is said about them."""
    mesh = Facts(secrets={"a": {"b": replace(LOGIN, expires=NOW - timedelta(9))}, "b": {}})
    assert find_discovery_fault(mesh, "a", "b") is None
    mesh = Facts(secrets={"a": {"b": replace(LOGIN, namespace="other")}, "b": {}})
    mesh.trusts["a"] = replace(mesh.trusts["a"], namespace=None)
    assert find_discovery_fault(mesh, "a", "b") is None


def test_a_token_of_another_peer() -> None:
    """A token Secret that only another peer uses does not count."""
    mesh = Facts()
    mesh.meshes["b"] = replace(mesh.meshes["b"], readers=frozenset({replace(TOKEN, peer="c")}))
    assert code_of(find_discovery_fault(mesh, "a", "b")) == "login-unknown"


def test_a_network_and_its_gateways() -> None:
    """By label, port, discovery and type of Service."""
    mesh = Facts()
    assert find_endpoint_fault(mesh, "a", "b") is None
    # The label of the namespace counts where values say nothing, and only then.
    mesh.labels["b"] = "north"
    assert find_endpoint_fault(mesh, "a", "b") is None
    mesh.meshes["b"] = replace(mesh.meshes["b"], gateways=())
    assert code_of(find_endpoint_fault(mesh, "a", "b")) == "no-gateway"
    mesh.controls["b"] = replace(mesh.controls["b"], network=None)
    assert find_endpoint_fault(mesh, "a", "b") is None
    del mesh.labels["b"]
    assert find_endpoint_fault(mesh, "a", "b") is None
    mesh.controls["a"] = replace(mesh.controls["a"], registries=frozenset({("b", "south")}))
    assert code_of(find_endpoint_fault(mesh, "a", "b")) == "no-gateway"


@pytest.mark.parametrize(
    ("gateway", "ambient", "code"),
    [
        (GATEWAY, False, None),
        (GATEWAY, True, "no-gateway"),
        (replace(GATEWAY, ports=(15008,)), True, None),
        (replace(GATEWAY, ports=(15008,)), False, "no-gateway"),
        (replace(GATEWAY, ports=()), True, None),
        (replace(GATEWAY, network="west"), False, "no-gateway"),
        (replace(GATEWAY, service_type="NodePort"), False, "gateway-address-unknown"),
        (replace(GATEWAY, service_type="NodePort", addresses=(("192.0.2.9", None),)), False, None),
    ],
)
def test_a_gateway(gateway: Gateway, ambient: bool, code: str | None) -> None:
    """Its network, its port for the data plane of the caller, its address."""
    mesh = Facts()
    mesh.meshes["b"] = replace(mesh.meshes["b"], gateways=(gateway,))
    mesh.controls["a"] = replace(mesh.controls["a"], ambient=ambient)
    assert code_of(find_endpoint_fault(mesh, "a", "b")) == code


def test_where_a_gateway_is_found() -> None:
    """In the primary itself, and in clusters that it reads."""
    mesh = Facts()
    mesh.secrets["a"] = {}
    assert code_of(find_endpoint_fault(mesh, "a", "b")) == "no-gateway"
    mesh.meshes["a"] = replace(mesh.meshes["a"], gateways=(GATEWAY,))
    assert find_endpoint_fault(mesh, "a", "b") is None


def test_a_stated_address() -> None:
    """It is believed, and rests on the gateways of the network."""
    mesh = Facts()
    mesh.controls["a"] = replace(mesh.controls["a"], declared=frozenset({"south"}))
    fault = find_endpoint_fault(mesh, "a", "b")
    assert fault is not None
    assert fault.depends_on == StatedAddress(frozenset({GATEWAY}))
    mesh.controls["a"] = replace(mesh.controls["a"], declared=frozenset())
    mesh.meshes["a"] = replace(mesh.meshes["a"], stated=frozenset({"south"}))
    assert code_of(find_endpoint_fault(mesh, "a", "b")) == "stated-address"


def test_roots_that_the_tree_does_not_show() -> None:
    """The same issuer is the same root; another one cannot be known; a signer that is shown is compared."""
    mesh = Facts()
    assert find_trust_fault(mesh, "a", "b") is None
    outside = TrustFacts(issuer="cert-manager: one")
    mesh.trusts |= {"a": outside, "b": outside}
    assert find_trust_fault(mesh, "a", "b") is None
    mesh.trusts["b"] = TrustFacts(issuer="cert-manager: two")
    fault = find_trust_fault(mesh, "a", "b")
    assert fault is not None
    assert isinstance(fault.depends_on, UnknownTrust)
    mesh.trusts["b"] = TrustFacts(("r",), None)
    mesh.trusts["a"] = TrustFacts(("r",), "r")
    assert find_trust_fault(mesh, "a", "b") is None
    mesh.trusts["b"] = TrustFacts(("s",), None)
    assert code_of(find_trust_fault(mesh, "a", "b")) in ("root-unknown", "root-not-trusted")


def test_what_an_unknown_rests_on() -> None:
    """It is the same unknown while nothing that it rests on is missing or another."""
    one, two = Opaque(b"1"), Opaque(b"2")
    few, many = frozenset({TOKEN}), frozenset({TOKEN, replace(TOKEN, name="next")})
    assert UnknownLogin(one, many).is_implied_by(UnknownLogin(one, few))
    assert not UnknownLogin(one, few).is_implied_by(UnknownLogin(one, many))
    assert not UnknownLogin(two, few).is_implied_by(UnknownLogin(one, few))
    assert not UnknownLogin(one, few).is_implied_by(None)
    there, gone = frozenset({GATEWAY}), frozenset[Gateway]()
    for kind in (UnknownAddress, StatedAddress):
        assert kind(there).is_implied_by(kind(gone))
        assert not kind(gone).is_implied_by(kind(there))
    assert not UnknownAddress(there).is_implied_by(None)
    assert StatedAddress(gone).is_implied_by(None)
    blue, both = frozenset({"blue"}), frozenset({"blue", "green"})
    assert UnknownRevisions(blue).is_implied_by(UnknownRevisions(both))
    assert not UnknownRevisions(both).is_implied_by(UnknownRevisions(blue))
    assert not UnknownRevisions(blue).is_implied_by(None)
    trust = UnknownTrust(frozenset({("one", ())}))
    assert trust.is_implied_by(UnknownTrust(frozenset({("one", ())})))
    assert not trust.is_implied_by(UnknownTrust(frozenset({("two", ())})))
