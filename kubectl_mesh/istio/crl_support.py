"""Which clusters ignore CRLs, because their version of Istio does not read them."""

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.istio.versions import can_read_crl
from kubectl_mesh.model import Topology


def crl_support_warnings(topology: Topology, has_crl: bool) -> tuple[Problem, ...]:
    """A warning with the clusters whose version of Istio keeps trusting revoked certificates.
    `has_crl`: something is or was revoked.
    """
    control_planes = [c for c in topology.clusters if c.primary is None]
    unsupported = [
        c.name
        for c in control_planes
        if not all(can_read_crl(r.version, ztunnel=topology.is_ambient) for r in c.releases)
    ]
    if not unsupported or not has_crl:
        return ()
    what = f"does not reach the proxies of {', '.join(unsupported)}: "
    what += (
        "ztunnel reads it from Istio 1.29 on"
        if topology.is_ambient
        else "Istio reads it from 1.27 on"
    )
    return (
        Problem(
            Place("certs/ca-crl.pem"),
            what,
            "what is revoked stays trusted there until Istio is upgraded, or the root rotated",
            "crl-read",
            code="crl-not-read-by-istio",
        ),
    )
