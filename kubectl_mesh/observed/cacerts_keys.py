"""The keys of the Secret `cacerts`."""

from collections.abc import Collection, Mapping

CERT_MANAGER_KEYS = {
    "ca-cert.pem": "tls.crt",
    "ca-key.pem": "tls.key",
    "cert-chain.pem": "tls.crt",
    "root-cert.pem": "ca.crt",
}
"""cert-manager's keys for the files of `cacerts`."""
CACERTS_FILES = tuple(CERT_MANAGER_KEYS)


def find_key_names(data: Collection[str]) -> Mapping[str, str]:
    """The key of each file of `cacerts`: cert-manager's, which istiod prefers, else the file
    name.
    """
    return (
        CERT_MANAGER_KEYS
        if "tls.crt" in data
        else dict(zip(CACERTS_FILES, CACERTS_FILES, strict=True))
    )
