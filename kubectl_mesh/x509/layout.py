"""The names of the files in `certs/`."""

ROOT_CERT, ROOT_KEY = "root-cert.pem", "root-key.pem"
"""All trusted roots, and the key of the root that signs."""

NEXT_ROOT_KEY = "next-root-key.pem"
"""The key of a root that is trusted and does not sign yet."""

ROTATION_FILE = "rotation.json"
"""The state of a root rotation; public, and present only during a rotation."""

ARCHIVE_FOLDER = "archive"
"""The folder of replaced files; nothing in it is ever removed or overwritten."""

CSR_FILE = "ca.csr"
"""The certificate signing request for an external CA, next to its key."""

CRL_FILE = "ca-crl.pem"
"""The revoked certificates: a CRL of every CA of the mesh."""

SEAL_KEY = "seal-key"
"""The file below `certs/` from which the random values of sealed secrets are derived; it opens
nothing that the keys next to it do not open.
"""

INTERMEDIATE_FILES = ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")
"""The files of an intermediate's folder, under the keys of the Secret `cacerts`."""


def intermediate_folder(name: str) -> str:
    """The folder of a cluster's intermediate below `certs/`."""
    return f"intermediate-{name}"


def next_intermediate_folder(name: str) -> str:
    """The folder below `certs/` with the key and the request of a cluster's next intermediate."""
    return f"next-intermediate-{name}"
