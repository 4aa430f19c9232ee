"""Whether proxies that go by the CRLs of one `cacerts` take what another one signs."""

from kubectl_mesh.errors import MeshError
from kubectl_mesh.observed.mesh_state import Cacerts
from kubectl_mesh.pki.crl import CrlIndex, load_crls
from kubectl_mesh.x509.certificates import load_certificates

CRL_KEY = "ca-crl.pem"


def has_crl_for_chain(proxies: Cacerts, signing: Cacerts) -> bool:
    """Whether each CA in the chain of `signing` has a CRL among those of `proxies`; so it is too
    where there are none to go by, or nothing can be read.

    A CRL is the CA's by its signature, as Envoy would have it (X509_V_FLAG_CRL_CHECK_ALL).
    """
    if CRL_KEY not in proxies.files:
        return True
    try:
        listed = CrlIndex(load_crls(CRL_KEY, proxies.files[CRL_KEY]))
        chain = [
            c
            for name in ("ca-cert.pem", "cert-chain.pem")
            if name in signing.files
            for c in load_certificates(name, signing.files[name])
        ]
    except MeshError:
        return True
    return all(listed.find_newest(certificate) is not None for certificate in chain)
