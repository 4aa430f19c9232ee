"""Addresses and URLs of a topology or a kubeconfig: their kind, and whether peers can reach
them.
"""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit


def is_address(text: str) -> bool:
    """Whether a text is an IP address, not a host name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(url: str) -> bool:
    """Whether the host of a URL is the machine itself: a loopback address, an unspecified address,
    or localhost.
    """
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


_URL = re.compile(
    r"https?://[^\s/?#@\x00-\x1f\x7f-\x9f\"'<>\\^`{|}]+(?:/[^\s?#@\x00-\x1f\x7f-\x9f\"'<>\\^`{|}]*)?\Z"
)


def url_fault(url: str) -> str:
    """What is wrong with the URL of an API server, or an empty text. It must have no user, query or
    fragment.
    """
    if not _URL.match(url):
        return "must be a URL such as https://203.0.113.11:6443, with no user, query or fragment"
    try:
        host = urlsplit(url).hostname
        if host and ":" in host:
            ip_address(host.partition("%")[0])
    except ValueError:
        return "has a host in brackets that is no IPv6 address"
    try:
        port = urlsplit(url).port
    except ValueError:
        port = 0
    if port == 0:
        return "has a port that is not 1 to 65535"
    return "" if host else "must be a URL such as https://203.0.113.11:6443"
