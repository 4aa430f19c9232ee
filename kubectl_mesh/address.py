"""Addresses and URLs as they stand in a topology or a kubeconfig: what they are, and whether a peer could reach them."""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit


def is_address(text: str) -> bool:
    """Whether a text is an IP address, and not a host name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(url: str) -> bool:
    """Whether a URL's host is the machine itself: a loopback address, an unspecified one, or localhost."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


_URL = re.compile(r"https?://[^\s/?#@\x00-\x1f\x7f-\x9f\"'<>\\^`{|}]+(?:/[^\s?#@\x00-\x1f\x7f-\x9f\"'<>\\^`{|}]*)?\Z")


def url_fault(url: str) -> str:
    """What is wrong with the URL of an API server, or nothing; it may hold no user, query or fragment."""
    if not _URL.match(url):
        return "must be a URL such as https://203.0.113.11:6443, with no user, query or fragment"
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname
        if host and ":" in host:
            ip_address(host.partition("%")[0])
    except ValueError as error:
        return f"is not a URL: {error}"
    if not host or port == 0:
        return "must be a URL such as https://203.0.113.11:6443"
    return ""
