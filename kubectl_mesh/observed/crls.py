"""Whether the CRLs of one `cacerts` cover the CAs of another."""

from kubectl_mesh.errors import MeshError
from kubectl_mesh.observed.mesh_state import Cacerts
from kubectl_mesh.pki.crl import CrlIndex, load_crls
from kubectl_mesh.x509.certificates import load_certificates

CRL_KEY = "ca-crl.pem"


def has_crl_for_chain(proxies: Cacerts, signing: Cacerts) -> bool:
    """Whether each CA in the chain of `signing` has a CRL in `proxies`. Also True if `proxies` has
    no CRLs, or if a file cannot be read.

    The signature assigns a CRL to its CA, as in Envoy (X509_V_FLAG_CRL_CHECK_ALL).
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
