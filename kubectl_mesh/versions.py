"""versions: Istio's versions, and what each changes for a mesh; every rule that asks for a version asks here.

A version that no file states counts as the newest that is known. The sources are Istio's release notes and the code of each release.
"""

OLDEST, NEWEST = 4, 30
"""The minors of 1.x whose rules are known."""
DEFAULT = "1.30.3"
"""What `init` writes."""
STARTED = (DEFAULT,)
"""Every version that `init` has written into a base.yaml. Add the old one when DEFAULT changes."""

ISTIOD = 5
LABELS = 8
HOST_NAMES = 13
TLS_CACERTS = 15
ISTIO_CSR = 16
RELOAD = 18
ROOTS = 20
GATEWAY_V1 = 22
CHARTS = SAIL = 24
AMBIENT = 27
CRL = 27
AMBIENT_BETA = ZTUNNEL_CRL = 29
FAST_SWAP = 30
CHANGES = (
    (4, "the last with Citadel and Pilot apart: IstioControlPlane, networks by meshNetworks, a cluster knows itself as `Kubernetes`"),
    (ISTIOD, "istiod and IstioOperator; meshNetworks without its own `networks:`; a root of EC keys is read, but not signed with before 1.7.7"),
    (6, "a cluster knows itself by its own name in meshNetworks, no longer as `Kubernetes`; revisions"),
    (LABELS, "istiod finds networks by the label of the namespace, and gateways by the label of their Service: no address has to be known"),
    (HOST_NAMES, "host names of gateways are looked up by istiod, again and again; credentials by `exec` have to be allowed"),
    (TLS_CACERTS, "istiod reads cacerts as cert-manager writes it (tls.crt, tls.key, ca.crt)"),
    (ISTIO_CSR, "istiod loads the serving certificate that istio-csr gives it, from the Secret istiod-tls"),
    (RELOAD, "istiod reads a new intermediate as soon as it is applied; before, when it starts"),
    (ROOTS, "istiod reads a changed bundle of roots as soon as it is applied, with ISTIO_MULTIROOT_MESH; before, when it starts"),
    (GATEWAY_V1, "networking.istio.io/v1"),
    (
        CHARTS,
        "no operator in the cluster reads an IstioOperator any more; the oldest for the Sail operator's API of today and for Helm values as they are today",
    ),
    (AMBIENT, "ambient over several networks, alpha; istiod and sidecars read ca-crl.pem of cacerts, and refuse what is revoked there"),
    (AMBIENT_BETA, "ambient over several networks, beta; ztunnel reads ca-crl.pem too"),
    (FAST_SWAP, "a changed remote secret is taken without a gap, but 1.30.0 to 1.30.3 can lose the cluster's endpoints until istiod restarts"),
)
"""The first minor in which something is so, and what."""


def minor(version: str | None) -> int:
    """The minor of a version such as 1.30.3; the newest known where none is stated."""
    return NEWEST if version is None else int(version.split(".")[1])


def exact(version: str | None) -> bool:
    """Whether a version names one release and not a line of them."""
    return version is not None and version.count(".") == 2


def loses_endpoints(version: str | None) -> bool:
    """Whether istiod may lose a cluster whose remote secret changes (Istio's issues 60612, 60920, 61043)."""
    return version in ("1.30", "1.30.0", "1.30.1", "1.30.2", "1.30.3")


def reads_crl(version: str | None, *, ztunnel: bool = False) -> bool:
    """Whether istiod reads ca-crl.pem and its proxies go by it (pilot/pkg/features: PILOT_ENABLE_CA_CRL, on by default since it is there)."""
    return minor(version) >= (ZTUNNEL_CRL if ztunnel else CRL)
