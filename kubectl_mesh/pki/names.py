"""The names of the files in `certs/`."""

ROOT_CERT, ROOT_KEY = "root-cert.pem", "root-key.pem"

PARTS = ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")


def folder(name: str) -> str:
    """The folder of a cluster's intermediate below `certs/`."""
    return f"intermediate-{name}"
