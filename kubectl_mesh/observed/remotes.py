"""Remote secrets, in clear, encrypted, or as a template for a store; and the accounts by which this
cluster is read.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kubectl_mesh.credentials.logins import claims
from kubectl_mesh.model import Json
from kubectl_mesh.observed.parse import Parser, items_at, mapping_at, opaque, text_at, texts
from kubectl_mesh.observed.trust import store_of
from kubectl_mesh.observed.values import Lock, Object, Reader, RemoteSecret

LABEL, ANNOTATION, CONTEXT = (
    "istio/multiCluster",
    "networking.istio.io/cluster",
    "istio.io/clusterContext",
)
ACCOUNT = "kubernetes.io/service-account.name"
_ACTION = re.compile(rb"\{\{[^{}\n]*\}\}")
_PLAIN_KEYS = frozenset(("exec", "auth-provider"))


def is_remote(value: Json) -> bool:
    """Whether an object is, or makes, a Secret that istiod takes for remote clusters."""
    return text_at(_metadata(value), "labels", LABEL) == "true" or (
        _data(value) != {}
        and (text_at(value, "metadata", "name") or "").startswith("istio-remote-secret-")
    )


def _metadata(value: Json) -> Mapping[str, Any]:
    """The metadata of the Secret itself."""
    store = store_of(value)
    if store == "sealed":
        return mapping_at(value, "spec", "template", "metadata")
    if store == "external":
        return mapping_at(value, "spec", "target", "template", "metadata")
    return mapping_at(value, "metadata")


def _data(value: Json) -> Mapping[str, Any]:
    kind = text_at(value, "kind")
    if kind == "SealedSecret":
        return mapping_at(value, "spec", "encryptedData")
    if kind == "ExternalSecret":
        return mapping_at(value, "spec", "target", "template", "data")
    return mapping_at(value, "data") if kind == "Secret" else {}


class Remotes:
    """Reads remote secrets; one that stands in many clusters is read once."""

    def __init__(self, parser: Parser) -> None:
        self.parser = parser
        self._known: dict[tuple[str, str], dict[str, Any]] = {}

    def read(
        self, directory: str, path: str, value: Json, lock: Lock | None
    ) -> Iterator[RemoteSecret]:
        """The clusters that an object lets istiod read."""
        file, store, metadata, data = (
            f"{directory}/{path}",
            store_of(value),
            _metadata(value),
            _data(value),
        )
        if not data:
            self.parser.problem(file, "names no cluster: it has no data")
        annotations = texts(mapping_at(metadata, "annotations"))
        for key, content in data.items():
            peer = str(key)
            source = lock.says.remote.get(peer) if lock is not None else None
            if not isinstance(content, str):
                self.parser.problem(file, "is no text", path=f"data.{peer}")
                continue
            told = self._kubeconfig(file, peer, store, content)
            if store in ("sops", "sealed") and source is not None:
                told = told | {
                    "server": source.server,
                    "ca": source.ca,
                    "tls_name": source.tls_name,
                }
            yield RemoteSecret(
                file=file,
                store=store,
                peer=peer,
                name=text_at(metadata, "name") or text_at(value, "metadata", "name") or "",
                namespace=text_at(value, "metadata", "namespace"),
                annotation=annotations.get(ANNOTATION),
                context=annotations.get(CONTEXT),
                labelled=text_at(metadata, "labels", LABEL) == "true",
                source=source,
                made_from=lock.says.sealed.get(path) if lock is not None else None,
                **told,
            )

    def _kubeconfig(self, file: str, peer: str, store: str, content: str) -> dict[str, Any]:
        if store in ("sops", "sealed"):
            return {
                "server": None,
                "ca": None,
                "tls_name": None,
                "login": None,
                "secret": None,
                "text": opaque(content.encode()),
            }
        if (store, content) not in self._known:
            self._known[store, content] = self._clear(file, peer, store, content)
        return self._known[store, content]

    def _clear(self, file: str, peer: str, store: str, content: str) -> dict[str, Any]:
        told: dict[str, Any] = {
            "server": None,
            "ca": None,
            "tls_name": None,
            "login": None,
            "secret": None,
        }
        if store == "external":
            # What a template takes from the store is not here; in its place stands a text.
            body = _ACTION.sub(b'"stored"', content.encode())
        else:
            try:
                body = base64.b64decode(content, validate=True)
            except (ValueError, binascii.Error):
                self.parser.problem(file, "is not base64", path=f"data.{peer}")
                return told | {"text": opaque(content.encode())}
        told["text"] = opaque(content.encode() if store == "external" else body)
        config = self.parser.mapping(file, body, f"data.{peer}")
        server = mapping_at(_first(config, "clusters"), "cluster")
        user = mapping_at(_first(config, "users"), "user")
        ca = text_at(server, "certificate-authority-data")
        told |= {
            "server": text_at(server, "server"),
            "tls_name": text_at(server, "tls-server-name"),
            "login": login(user),
        }
        if ca is not None:
            try:
                told["ca"] = hashlib.sha256(base64.b64decode(ca, validate=True)).hexdigest()
            except (ValueError, binascii.Error):
                self.parser.problem(file, "the CA of the server is not base64", path=f"data.{peer}")
        if server.get("insecure-skip-tls-verify") is True:
            told["insecure"] = True
        if store == "plain" and user and told["login"] != "exec":
            told["secret"] = opaque(dict(user))
            said = claims(str(user["token"])) if "token" in user else None
            told["expires"] = said.expires if said is not None else None
        return told


def _first(config: Mapping[str, Any], what: str) -> Any:
    """The entry that a kubeconfig's current context names; else the first."""
    entries = items_at(config, what)
    context = text_at(config, "current-context")
    for entry in items_at(config, "contexts"):
        if text_at(entry, "name") == context:
            wanted = text_at(entry, "context", what[:-1])
            return next(
                (e for e in entries if text_at(e, "name") == wanted),
                entries[0] if entries else None,
            )
    return entries[0] if entries else None


def login(user: Mapping[str, Any]) -> str:
    """How a kubeconfig logs in."""
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


def readers(objects: "tuple[tuple[Object, Json], ...]") -> Iterator[Reader]:
    """The accounts by which peers read a cluster."""
    for seen, value in objects:
        account = None
        if (
            seen.kind == "Secret"
            and text_at(value, "type") == "kubernetes.io/service-account-token"
        ):
            account = text_at(value, "metadata", "annotations", ACCOUNT)
        elif seen.kind == "ServiceAccount" and "/reader" in seen.file:
            account = seen.name
        elif seen.kind == "ClusterRoleBinding":
            account = next((text_at(s, "name") for s in items_at(value, "subjects")), None)
        elif seen.kind == "PushSecret":
            account = None
        else:
            continue
        yield Reader(seen.file, seen.kind, seen.name, seen.namespace, account)
