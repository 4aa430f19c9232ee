"""What one cluster's manifests say that decides whether calls reach it or leave it.

A fact belongs to the part of a cluster that brings it: the trust of 1-trust, the control plane of
2-control-plane, the objects of 3-mesh. Each part is applied by itself, so each may be old or new
while a change is under way.
"""

from dataclasses import dataclass
from datetime import datetime

from kubectl_mesh.observed.mesh_state import Opaque

DEFAULT_DOMAIN = "cluster.local"
"""Istio's trust domain where none is stated."""


@dataclass(frozen=True, slots=True)
class TrustFacts:
    """What 1-trust brings: who signs, whom proxies trust, and Istio's namespace."""

    roots: tuple[str, ...] = ()
    """The fingerprints of the roots in root-cert.pem; none where the tree does not have them."""
    signer: str | None = None
    """The root that the intermediate leads to; None where the tree does not say it."""
    issuer: str | None = None
    """Who makes the intermediate in the cluster, where the tree does not have it."""
    namespace: str | None = None
    primary: str | None = None
    """The cluster whose istiod serves this one; None where it has its own."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that takes traffic of other networks."""

    cluster: str
    kind: str
    name: str
    network: str
    """By whose label istiod finds it; empty where it has no label."""
    service_type: str
    ports: tuple[int, ...]
    """Those that it states; none where its chart chooses them."""
    addresses: tuple[tuple[str, int | None], ...] = ()
    """Those that it states."""


@dataclass(frozen=True, slots=True)
class ControlFacts:
    """What 2-control-plane brings: the settings of istiod and of the proxies that it injects."""

    revisions: frozenset[str] = frozenset()
    """The revisions of istiod; "" is the default one."""
    network: str | None = None
    """`global.network`: the network of the proxies."""
    trust_domain: str = DEFAULT_DOMAIN
    trusted_domains: frozenset[str] = frozenset({DEFAULT_DOMAIN})
    """The trust domain and its aliases."""
    declared: frozenset[str] = frozenset()
    """The networks for which meshNetworks states addresses of gateways."""
    registries: frozenset[tuple[str, str]] = frozenset()
    """The clusters that meshNetworks places on a network, each with the network."""
    charted: tuple[Gateway, ...] = ()
    """The gateways that charts and operators install."""
    ambient: bool = False


@dataclass(frozen=True, slots=True)
class Reader:
    """An account by which peers read the cluster: its ServiceAccount, role binding or token."""

    kind: str
    namespace: str
    name: str
    account: str = ""
    """Of a token or a role binding: whose it is."""
    peer: str = ""
    """The one peer that uses it; "" for all."""


@dataclass(frozen=True, slots=True)
class Login:
    """What the istiod of a cluster has of a peer: the server and the login of a remote secret."""

    namespace: str | None
    labelled: bool
    server: str | None
    kind: str | None
    """`token`, `exec` and so on; None where it is encrypted."""
    user: Opaque
    """The digest of what it logs in with; of the whole ciphertext where it is encrypted."""
    token_secret: str | None = None
    """The Secret from which the token is, by its claims."""
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class MeshFacts:
    """What 3-mesh brings, except for remote secrets: gateways, accounts of readers, and whether it
    exposes istiod.
    """

    gateways: tuple[Gateway, ...] = ()
    lets_in: bool = False
    """Whether an Istio Gateway passes traffic of other networks on."""
    stated: frozenset[str] = frozenset()
    """The networks for which objects here state addresses of gateways elsewhere."""
    readers: frozenset[Reader] = frozenset()
    exposes_istiod: bool = False


Facts = TrustFacts | ControlFacts | MeshFacts
"""What a part of a cluster brings."""
