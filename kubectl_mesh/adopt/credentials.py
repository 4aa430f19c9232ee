"""How the peers log in to a cluster: the `user` of a kubeconfig as a topology states it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kubectl_mesh.text import value_text
from kubectl_mesh.yaml_io.lookup import decode_base64


@dataclass(frozen=True, slots=True)
class AdoptedCredential:
    """How the peers log in, as the topology states it, and the files that it names: path in the
    working directory -> bytes.
    """

    topology_value: Mapping[str, Any] | None
    """None: the token file, which is the default."""
    files: Mapping[str, bytes] = field(repr=False)


def parse_credential(name: str, user: Mapping[str, Any]) -> AdoptedCredential | str:
    """The credential of a cluster from the `user` of a kubeconfig, or why there is none; only what
    istiod takes.
    """
    token = user.get("token")
    if isinstance(token, str) and token:
        return AdoptedCredential(None, {f"credentials/{name}.token": token.encode()})
    if isinstance(user.get("exec"), dict):
        return _parse_exec(user["exec"])
    if isinstance(user.get("auth-provider"), dict):
        return _parse_oidc(name, user["auth-provider"])
    certificate, key = user.get("client-certificate-data"), user.get("client-key-data")
    if isinstance(certificate, str) and isinstance(key, str):
        bodies = [
            body
            for text in (certificate, key)
            if (body := decode_base64(text, wrapped=True)) is not None
        ]
        if len(bodies) < 2:
            return "its client certificate or key is not base64"
        names = (f"credentials/{name}.crt", f"credentials/{name}.key")
        return AdoptedCredential(
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


def _parse_exec(stated: Mapping[str, Any]) -> AdoptedCredential | str:
    command, api = stated.get("command"), stated.get("apiVersion")
    if not isinstance(command, str) or not command:
        return "its exec names no command"
    arguments, env = stated.get("args"), stated.get("env")
    entry: dict[str, Any] = {"command": command}
    if isinstance(arguments, list) and arguments:
        entry["args"] = [str(a) for a in arguments]
    pairs = (
        {str(e.get("name")): str(e.get("value")) for e in env if isinstance(e, dict)}
        if isinstance(env, list)
        else {}
    )
    entry |= {"env": pairs} if pairs else {}
    entry |= (
        {"apiVersion": api}
        if isinstance(api, str) and api != "client.authentication.k8s.io/v1"
        else {}
    )
    entry |= (
        {"provideClusterInfo": True}
        if str(stated.get("provideClusterInfo")).lower() == "true"
        else {}
    )
    return AdoptedCredential({"exec": entry}, {})


_OIDC_KEYS = {
    "id-token": "idTokenFile",
    "refresh-token": "refreshTokenFile",
    "client-secret": "clientSecretFile",
}


def _parse_oidc(name: str, stated: Mapping[str, Any]) -> AdoptedCredential | str:
    if stated.get("name") != "oidc":
        return f"its auth-provider {value_text(stated.get('name'))} is one that istiod refuses"
    config = stated.get("config")
    config = config if isinstance(config, dict) else {}
    if not all(
        isinstance(config.get(key), str) for key in ("idp-issuer-url", "client-id", "id-token")
    ):
        return "its auth-provider oidc lacks idp-issuer-url, client-id or id-token"
    entry: dict[str, Any] = {"issuerURL": config["idp-issuer-url"], "clientID": config["client-id"]}
    files: dict[str, bytes] = {}
    for key, stated_as in _OIDC_KEYS.items():
        if isinstance(config.get(key), str):
            path = f"credentials/{name}.{key}"
            entry[stated_as] = path
            files[path] = config[key].encode()
    return AdoptedCredential({"oidc": entry}, files)
