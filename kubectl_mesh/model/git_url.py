"""URLs of git repositories, in the forms that Flux and Argo CD accept.

Flux's GitRepository accepts `^(http|https|ssh)://.*$` (source-controller, api/v1); git and Argo CD
also accept `user@host:path`.
"""

import re

_URL = re.compile(r"(https?|ssh)://([^/\s]+)(/\S*)", re.IGNORECASE)
_SCP = re.compile(r"([^\s/:@]+@)?(\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]]+):(?!//)/?([^\s\\]+)")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


def flux_url(stated: str) -> str | None:
    """The URL in the form that Flux accepts; None if there is none with the same meaning."""
    if found := _URL.fullmatch(stated):
        return f"{found[1].lower()}://{found[2]}{found[3]}"
    if _SCHEME.fullmatch(stated) or not (found := _SCP.fullmatch(stated)):
        return None
    return f"ssh://{found[1] or ''}{found[2]}/{found[3]}"


def is_argocd_url(stated: str) -> bool:
    """Whether Argo CD reads a text as the URL of a repository, not as a folder."""
    return bool(_SCHEME.fullmatch(stated) or _SCP.fullmatch(stated))
