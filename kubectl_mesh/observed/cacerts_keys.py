"""The keys of the Secret `cacerts` for the files that a cluster signs with."""

from collections.abc import Collection, Mapping

CERT_MANAGER_KEYS = {
    "ca-cert.pem": "tls.crt",
    "ca-key.pem": "tls.key",
    "cert-chain.pem": "tls.crt",
    "root-cert.pem": "ca.crt",
}
"""The files of `cacerts`, and what cert-manager calls them."""
CACERTS_FILES = tuple(CERT_MANAGER_KEYS)


def find_key_names(data: Collection[str]) -> Mapping[str, str]:
    """The key under which `cacerts` holds each of its files: cert-manager's, which istiod takes
    first, else the name of the file.
    """
    return (
        CERT_MANAGER_KEYS
        if "tls.crt" in data
        else dict(zip(CACERTS_FILES, CACERTS_FILES, strict=True))
    )
