"""The names of the files in `certs/`."""

ROOT_CERT, ROOT_KEY = "root-cert.pem", "root-key.pem"

REQUEST = "ca.csr"
"""The request for a certificate that somebody else signs, beside the key that it is for."""

CRL = "ca-crl.pem"
"""What is revoked: a CRL of every CA of the mesh."""

PARTS = ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")


def folder(name: str) -> str:
    """The folder of a cluster's intermediate below `certs/`."""
    return f"intermediate-{name}"
