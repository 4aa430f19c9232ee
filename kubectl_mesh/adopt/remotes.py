"""Remote secrets and kubeconfigs: who holds whom, and how a cluster is reached and logged in to;
read as istiod and client-go read them.

pkg/kube/multicluster/secretcontroller.go: the cluster's ID is the key, whatever the Secret is
called; one Secret may hold several.
"""

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.model import Document, Json
from kubectl_mesh.observed.objects import Found, at, secret_data
from kubectl_mesh.text import shown

LABEL = "istio/multiCluster"
CONTEXT = "istio.io/clusterContext"
Read = Callable[[bytes], Document]
"""A loader for what stands in an object as text; for a kubeconfig one that leaves every scalar a
text.
"""


@dataclass(frozen=True, slots=True)
class Login:
    """How a cluster is reached, and as whom: its server, CA (None: none is stated), and the `user`
    of a kubeconfig.
    """

    server: str
    ca: bytes | None = field(repr=False)
    tls_server_name: str | None = None
    user: Mapping[str, Any] = field(default_factory=dict, repr=False)
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Remote:
    """A cluster as another holds it, under the ID `key`."""

    found: Found
    key: str
    login: Login
    body: bytes = field(repr=False)

    @property
    def holder(self) -> str:
        """The context of the cluster that holds it."""
        return self.found.context

    @property
    def said(self) -> str | None:
        """The context that istioctl of old noted."""
        return self.found.words("annotations").get(CONTEXT)


def is_remote(found: Found) -> bool:
    """Whether istiod takes a Secret for a remote secret."""
    return found.kind == "Secret" and not found.group and found.words("labels").get(LABEL) == "true"


def is_kubeconfig(found: Found) -> bool:
    """Whether an object is a kubeconfig."""
    return found.kind == "Config" and isinstance(found.value.get("contexts"), list)


def remotes(found: Found, read: Read) -> Iterator[Remote]:
    """The clusters in a remote secret; raises a `MeshError` that shows nothing of what cannot be
    read.
    """
    problems: list[Problem] = []
    for key, body in sorted(secret_data(found).items()):
        try:
            document = read(body)
        except MeshError:
            problems.append(
                Problem(
                    found.place,
                    f"the key {shown(key)} of {found} holds no kubeconfig that can be read",
                    "dump it again",
                )
            )
            continue
        login = _current(document.value)
        if isinstance(login, str):
            problems.append(
                Problem(
                    found.place,
                    f"the kubeconfig under {shown(key)} of {found} {login}",
                    "dump it again, or leave it out",
                )
            )
        else:
            yield Remote(found, key, login, body)
    if problems:
        raise MeshError(problems)


def _current(value: Json) -> Login | str:
    """What the current context of a kubeconfig leads to, or what is wrong with it."""
    name = at(value, "current-context")
    if not isinstance(name, str) or not name:
        return "names no current context"
    found = of_context(value, name)
    return (
        f"has no context {shown(name)}, which it calls the current one" if found is None else found
    )


def of_context(value: Json, name: str) -> Login | str | None:
    """What a context of a kubeconfig leads to, None where there is no such context; of two with one
    name the last counts.
    """
    context = _named(value, "contexts", name, "context")
    if context is None:
        return None
    cluster = _named(value, "clusters", str(context.get("cluster")), "cluster")
    user = _named(value, "users", str(context.get("user")), "user")
    if cluster is None:
        return "has no cluster for its context"
    server = cluster.get("server")
    if not isinstance(server, str) or not server:
        return "has no server"
    data, ca = cluster.get("certificate-authority-data"), None
    if data:
        try:
            ca = base64.b64decode("".join(str(data).split()), validate=True)
        except (binascii.Error, ValueError):
            return "has a certificate-authority-data that is not base64"
    tls = cluster.get("tls-server-name")
    insecure = str(cluster.get("insecure-skip-tls-verify")).lower() == "true"
    return Login(server, ca, tls if isinstance(tls, str) and tls else None, user or {}, insecure)


def _named(value: Json, where: str, name: str, what: str) -> dict[str, Any] | None:
    listed = at(value, where)
    for item in reversed(listed if isinstance(listed, list) else []):
        if isinstance(item, dict) and item.get("name") == name:
            inner = item.get(what)
            return inner if isinstance(inner, dict) else None
    return None


@dataclass(frozen=True, slots=True)
class Credential:
    """How the peers log in, as the topology states it, and the files that it names: path in the
    working directory -> bytes.
    """

    stated: Mapping[str, Any] | None
    """None: the token file, which is the default."""
    files: Mapping[str, bytes] = field(repr=False)


def credential(name: str, user: Mapping[str, Any]) -> Credential | str:
    """The credential of a cluster from the `user` of a kubeconfig, or why there is none; only what
    istiod takes.
    """
    token = user.get("token")
    if isinstance(token, str) and token:
        return Credential(None, {f"credentials/{name}.token": token.encode()})
    if isinstance(user.get("exec"), dict):
        return _exec(user["exec"])
    if isinstance(user.get("auth-provider"), dict):
        return _oidc(name, user["auth-provider"])
    certificate, key = user.get("client-certificate-data"), user.get("client-key-data")
    if isinstance(certificate, str) and isinstance(key, str):
        try:
            bodies = [
                base64.b64decode("".join(text.split()), validate=True)
                for text in (certificate, key)
            ]
        except (binascii.Error, ValueError):
            return "its client certificate or key is not base64"
        names = (f"credentials/{name}.crt", f"credentials/{name}.key")
        return Credential(
            {"clientCertificate": {"certificateFile": names[0], "keyFile": names[1]}},
            dict(zip(names, bodies, strict=True)),
        )
    ways = [
        key
        for key in ("tokenFile", "username", "password", "client-certificate", "client-key")
        if user.get(key)
    ]
    return (
        f"it logs in by {ways[0]}, which a topology cannot state" if ways else "it holds no login"
    )


def _exec(stated: Mapping[str, Any]) -> Credential | str:
    command, api = stated.get("command"), stated.get("apiVersion")
    if not isinstance(command, str) or not command:
        return "its exec names no command"
    arguments, env = stated.get("args"), stated.get("env")
    made: dict[str, Any] = {"command": command}
    if isinstance(arguments, list) and arguments:
        made["args"] = [str(a) for a in arguments]
    pairs = (
        {str(e.get("name")): str(e.get("value")) for e in env if isinstance(e, dict)}
        if isinstance(env, list)
        else {}
    )
    made |= {"env": pairs} if pairs else {}
    made |= (
        {"apiVersion": api}
        if isinstance(api, str) and api != "client.authentication.k8s.io/v1"
        else {}
    )
    made |= (
        {"provideClusterInfo": True}
        if str(stated.get("provideClusterInfo")).lower() == "true"
        else {}
    )
    return Credential({"exec": made}, {})


_OIDC = {
    "id-token": "idTokenFile",
    "refresh-token": "refreshTokenFile",
    "client-secret": "clientSecretFile",
}


def _oidc(name: str, stated: Mapping[str, Any]) -> Credential | str:
    if stated.get("name") != "oidc":
        return f"its auth-provider {shown(stated.get('name'))} is one that istiod refuses"
    config = stated.get("config")
    config = config if isinstance(config, dict) else {}
    if not all(
        isinstance(config.get(key), str) for key in ("idp-issuer-url", "client-id", "id-token")
    ):
        return "its auth-provider oidc lacks idp-issuer-url, client-id or id-token"
    made: dict[str, Any] = {"issuerURL": config["idp-issuer-url"], "clientID": config["client-id"]}
    files: dict[str, bytes] = {}
    for key, stated_as in _OIDC.items():
        if isinstance(config.get(key), str):
            path = f"credentials/{name}.{key}"
            made[stated_as] = path
            files[path] = config[key].encode()
    return Credential({"oidc": made}, files)
