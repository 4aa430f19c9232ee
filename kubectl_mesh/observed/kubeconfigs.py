"""Kubeconfigs in dumps: the server and login of each cluster, as client-go reads them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kubectl_mesh.credentials.kubeconfig_file import find_access, parse_server
from kubectl_mesh.model import Json
from kubectl_mesh.observed.dumped_objects import DumpedObject
from kubectl_mesh.observed.faults import Fault
from kubectl_mesh.text import value_text
from kubectl_mesh.yaml_io.lookup import text_at


@dataclass(frozen=True, slots=True)
class Login:
    """The access to a cluster: its server, CA (None if not stated), and the `user` of a
    kubeconfig.
    """

    server: str
    ca: bytes | None = field(repr=False)
    tls_server_name: str | None = None
    user: Mapping[str, Any] = field(default_factory=dict, repr=False)
    is_insecure: bool = False


def is_kubeconfig(resource: DumpedObject) -> bool:
    """Whether an object is a kubeconfig."""
    return resource.kind == "Config" and isinstance(resource.value.get("contexts"), list)


def parse_current_login(config: Json) -> Login | Fault:
    """The login of a kubeconfig's current context, or why there is none."""
    name = text_at(config, "current-context")
    if not name:
        return Fault("current-context-missing", "names no current context")
    found = parse_context_login(config, name)
    if found is None:
        text = f"has no context {value_text(name)}, which it calls the current one"
        return Fault("current-context-unknown", text)
    return found


def parse_context_login(config: Json, name: str) -> Login | Fault | None:
    """The login of a context in a kubeconfig, or why there is none; None if the context does not
    exist.
    """
    access = find_access(config, name)
    if access is None:
        return None
    if access.cluster is None:
        return Fault("cluster-of-context-missing", "has no cluster for its context")
    server = parse_server(access.cluster, wrapped=True)
    if not server.url:
        return Fault("server-missing", "has no server")
    if server.has_invalid_ca:
        return Fault("server-ca-not-base64", "has a certificate-authority-data that is not base64")
    return Login(
        server.url,
        server.ca or None,
        server.tls_server_name or None,
        access.user or {},
        server.insecure,
    )
