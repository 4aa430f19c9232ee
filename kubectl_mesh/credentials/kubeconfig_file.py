"""A kubeconfig as values: its contexts, API servers and logins.

The only parser of kubeconfigs: of the user's own, of those in remote secrets, and of dumps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kubectl_mesh.model import Json
from kubectl_mesh.yaml_io.lookup import decode_base64, items_at, text_at, value_at


@dataclass(frozen=True, slots=True)
class ApiServer:
    """The API server of a `cluster` in a kubeconfig, and how its certificate is verified."""

    url: str | None
    ca: bytes | None = field(repr=False)
    """PEM; None if the file contains none, or if it is not base64."""
    ca_file: str | None = None
    tls_server_name: str | None = None
    insecure: bool = False
    """The server's certificate is not verified."""
    has_invalid_ca: bool = False
    """`certificate-authority-data` is not base64."""


def parse_server(cluster: Mapping[str, Any], *, wrapped: bool = False) -> ApiServer:
    """The API server of a `cluster`; with `wrapped` the base64 of its CA can have line breaks."""
    stated = cluster.get("certificate-authority-data")
    text = text_at(stated)
    ca = decode_base64(text, wrapped=wrapped) if text is not None else None
    return ApiServer(
        text_at(cluster, "server"),
        ca,
        text_at(cluster, "certificate-authority"),
        text_at(cluster, "tls-server-name"),
        str(cluster.get("insecure-skip-tls-verify")).lower() == "true",
        bool(stated) and ca is None,
    )


def index_entries(config: Json, section: str) -> dict[str, tuple[int, Any]]:
    """The entries of `clusters`, `contexts` or `users` by name: their index and their value. Of two
    with the same name the last one counts, as in kubectl.
    """
    entries = {}
    for index, item in enumerate(items_at(config, section)):
        if (name := text_at(item, "name")) is not None:
            entries[name] = index, item.get(section[:-1])
    return entries


def login_kind(user: Mapping[str, Any]) -> str:
    """How a `user` logs in: `exec`, the name of its auth-provider, `token`, `tokenFile`,
    `clientCertificate`, `password` or `none`.
    """
    if "exec" in user:
        return "exec"
    if "auth-provider" in user:
        return text_at(user, "auth-provider", "name") or "auth-provider"
    if "token" in user:
        return "token"
    if "tokenFile" in user:
        return "tokenFile"
    if any(key.startswith("client-") for key in user):
        return "clientCertificate"
    return "password" if "username" in user else "none"


@dataclass(frozen=True, slots=True)
class Access:
    """The `cluster` and the `user` of a context; None if they are missing."""

    cluster: Mapping[str, Any] | None
    user: Mapping[str, Any] | None = field(repr=False)


def find_access(config: Json, context: str | None, *, lenient: bool = False) -> Access | None:
    """The cluster and the user of a context; None if there is no such context.

    With `lenient` the first cluster and the first user count if the context names none.
    """
    stated = index_entries(config, "contexts").get(context or "", (0, None))[1]
    if not isinstance(stated, Mapping) and not lenient:
        return None
    return Access(
        _find_entry(config, "clusters", text_at(stated, "cluster"), lenient=lenient),
        _find_entry(config, "users", text_at(stated, "user"), lenient=lenient),
    )


def _find_entry(
    config: Json, section: str, name: str | None, *, lenient: bool
) -> Mapping[str, Any] | None:
    entry = index_entries(config, section).get(name) if name is not None else None
    if entry is not None:
        inner = entry[1]
    else:
        first = items_at(config, section)[:1] if lenient else ()
        inner = value_at(first[0], section[:-1]) if first else None
    return inner if isinstance(inner, Mapping) else None
