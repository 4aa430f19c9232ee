"""The names of the files in `certs/`."""

ROOT_CERT, ROOT_KEY = "root-cert.pem", "root-key.pem"
"""Every root that the clusters trust, and the key of the one that signs."""

NEXT_ROOT_KEY = "next-root-key.pem"
"""The key of a root that is trusted already and does not sign yet."""

ROTATION_FILE = "rotation.json"
"""Where the rotation of the root stands; public, and there only while one is on."""

ARCHIVE_FOLDER = "archive"
"""The folder for what was replaced; nothing in it is ever removed or overwritten."""

CSR_FILE = "ca.csr"
"""The request for a certificate that somebody else signs, beside the key that it is for."""

CRL_FILE = "ca-crl.pem"
"""What is revoked: a CRL of every CA of the mesh."""

SEAL_KEY = "seal-key"
"""The file below `certs/` from which all that is random in what is sealed is derived; it opens
nothing that the keys beside it do not.
"""

INTERMEDIATE_FILES = ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")


def intermediate_folder(name: str) -> str:
    """The folder of a cluster's intermediate below `certs/`."""
    return f"intermediate-{name}"


def next_intermediate_folder(name: str) -> str:
    """The folder for the key and the request of an intermediate that is to follow the one in
    use.
    """
    return f"next-intermediate-{name}"
