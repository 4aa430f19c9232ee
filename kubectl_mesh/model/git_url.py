"""URLs of git repositories, in the forms that Flux and Argo CD accept.

Flux's GitRepository accepts `^(http|https|ssh)://.*$` (source-controller, api/v1); git and Argo CD
also accept `user@host:path`.
"""

import re

_URL = re.compile(r"(https?|ssh)://([^/\s]+)(/\S*)", re.IGNORECASE)
_SCP = re.compile(r"([^\s/:@]+@)?(\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]]+):(?!//)/?([^\s\\]+)")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


def flux_url(url: str) -> str | None:
    """The URL in the form that Flux accepts; None if there is none with the same meaning."""
    if match := _URL.fullmatch(url):
        return f"{match[1].lower()}://{match[2]}{match[3]}"
    if _SCHEME.fullmatch(url) or not (match := _SCP.fullmatch(url)):
        return None
    return f"ssh://{match[1] or ''}{match[2]}/{match[3]}"


def is_argocd_url(url: str) -> bool:
    """Whether Argo CD reads a text as the URL of a repository, not as a folder."""
    return bool(_SCHEME.fullmatch(url) or _SCP.fullmatch(url))
