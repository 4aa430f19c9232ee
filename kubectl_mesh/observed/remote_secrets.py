"""Remote secrets of trees: in clear, encrypted, or as a template for a store; and the accounts that
peers use to read the cluster.

pkg/kube/multicluster/secretcontroller.go: the key is the cluster ID, whatever the Secret's name; a
Secret may have several keys.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kubectl_mesh.credentials.kubeconfig_file import find_access, login_kind, parse_server
from kubectl_mesh.credentials.logins import parse_claims
from kubectl_mesh.model import Json
from kubectl_mesh.observed.mesh_state import (
    LockState,
    Opaque,
    ReaderAccount,
    RemoteSecret,
    TreeObject,
)
from kubectl_mesh.observed.tree_parser import TreeParser, digest_value
from kubectl_mesh.stores import find_store
from kubectl_mesh.stores.store import Store
from kubectl_mesh.tree.lock_file import Source
from kubectl_mesh.yaml_io.lookup import decode_base64, items_at, mapping_at, text_at, texts_at

REMOTE_SECRET_LABEL, CLUSTER_ANNOTATION, CONTEXT_ANNOTATION = (
    "istio/multiCluster",
    "networking.istio.io/cluster",
    "istio.io/clusterContext",
)
ACCOUNT_ANNOTATION = "kubernetes.io/service-account.name"
SERVICE_ACCOUNT_TYPE = "kubernetes.io/service-account-token"
"""The type of a Secret that Kubernetes fills with the token of an account."""
_ACTION = re.compile(rb"\{\{[^{}\n]*\}\}")


def is_remote_secret(value: Json) -> bool:
    """Whether an object is, or creates, a remote secret."""
    return has_remote_secret_label(_metadata(value)) or (
        _data(value) != {}
        and (text_at(value, "metadata", "name") or "").startswith("istio-remote-secret-")
    )


def has_remote_secret_label(metadata: Mapping[str, Any]) -> bool:
    """Whether a Secret has the label that makes it a remote secret."""
    return text_at(metadata, "labels", REMOTE_SECRET_LABEL) == "true"


def _metadata(value: Json) -> Mapping[str, Any]:
    """The metadata of the Secret itself."""
    return mapping_at(value, *find_store(value).METADATA)


def _data(value: Json) -> Mapping[str, Any]:
    store = find_store(value)
    return mapping_at(value, *store.DATA) if text_at(value, "kind") == store.OBJECT_KIND else {}


@dataclass(frozen=True, slots=True)
class _Contents:
    """The readable content of a key of a remote secret; fields as in `RemoteSecret`."""

    kubeconfig_digest: Opaque
    server: str | None = None
    ca_digest: str | None = None
    tls_server_name: str | None = None
    login_kind: str | None = None
    login_digest: Opaque | None = None
    is_insecure: bool = False
    expires: datetime | None = None
    token_secret: str | None = None


class RemoteSecretReader:
    """Reads remote secrets; identical content is parsed once."""

    def __init__(self, parser: TreeParser) -> None:
        self.parser = parser
        self._known: dict[tuple[str, str], _Contents] = {}

    def read_secrets(
        self, directory: str, path: str, value: Json, lock: LockState | None
    ) -> Iterator[RemoteSecret]:
        """The remote secrets in an object, one for each key."""
        file, store = f"{directory}/{path}", find_store(value)
        metadata, data = _metadata(value), _data(value)
        if not data:
            self.parser.add_problem(
                file, "names no cluster: it has no data", code="remote-secret-empty"
            )
        annotations = texts_at(metadata, "annotations")
        for key, content in data.items():
            peer = str(key)
            source = lock.contents.remote.get(peer) if lock is not None else None
            if not isinstance(content, str):
                self.parser.add_problem(file, "is no text", path=f"data.{peer}", code="not-text")
                continue
            held = self._contents(file, peer, store, content, source)
            yield RemoteSecret(
                file=file,
                store=store.NAME,
                peer=peer,
                name=text_at(metadata, "name") or text_at(value, "metadata", "name") or "",
                namespace=text_at(value, "metadata", "namespace"),
                cluster_annotation=annotations.get(CLUSTER_ANNOTATION),
                context=annotations.get(CONTEXT_ANNOTATION),
                has_label=has_remote_secret_label(metadata),
                server=held.server,
                ca_digest=held.ca_digest,
                tls_server_name=held.tls_server_name,
                login_kind=held.login_kind,
                login_digest=held.login_digest,
                kubeconfig_digest=held.kubeconfig_digest,
                source=source,
                sealed_digest=lock.contents.sealed.get(path) if lock is not None else None,
                is_insecure=held.is_insecure,
                expires=held.expires,
                token_secret=held.token_secret,
            )

    def _contents(
        self, file: str, peer: str, store: type[Store], content: str, source: Source | None
    ) -> _Contents:
        """The content of a key; for an encrypted one, the facts that the lock records."""
        if not store.SHOWS_KUBECONFIGS:
            text = digest_value(content.encode())
            if source is None:
                return _Contents(text)
            return _Contents(text, source.server, source.ca, source.tls_name)
        key = store.NAME, content
        if key not in self._known:
            self._known[key] = self._clear(file, f"data.{peer}", store, content)
        return self._known[key]

    def _clear(self, file: str, path: str, store: type[Store], content: str) -> _Contents:
        encoded = content.encode()
        # What a template takes from the store is not here; in its place stands a text.
        is_template = store.OUTSIDE
        body = _ACTION.sub(b'"stored"', encoded) if is_template else decode_base64(content)
        if body is None:
            self.parser.add_problem(file, "is not base64", path=path, code="not-base64")
            return _Contents(digest_value(encoded))
        config = self.parser.parse_mapping(file, body, path)
        access = find_access(config, text_at(config, "current-context"), lenient=True)
        assert access is not None
        server, user = parse_server(access.cluster or {}), access.user or {}
        if server.has_invalid_ca:
            self.parser.add_problem(
                file, "the CA of the server is not base64", path=path, code="server-ca-not-base64"
            )
        login = login_kind(user)
        is_clear = store.CLEAR and bool(user) and login != "exec"
        said = parse_claims(str(user["token"])) if is_clear and "token" in user else None
        return _Contents(
            digest_value(encoded if is_template else body),
            server.url,
            hashlib.sha256(server.ca).hexdigest() if server.ca is not None else None,
            server.tls_server_name,
            login,
            digest_value(dict(user)) if is_clear else None,
            server.insecure,
            *((said.expires, said.secret) if said is not None else ()),
        )


def find_reader_accounts(objects: "tuple[tuple[TreeObject, Json], ...]") -> Iterator[ReaderAccount]:
    """The accounts that peers use to read a cluster."""
    for seen, value in objects:
        account = None
        if seen.kind == "Secret" and text_at(value, "type") == SERVICE_ACCOUNT_TYPE:
            account = text_at(value, "metadata", "annotations", ACCOUNT_ANNOTATION)
        elif seen.kind == "ServiceAccount" and "/reader" in seen.file:
            account = seen.name
        elif seen.kind == "ClusterRoleBinding":
            account = next((text_at(s, "name") for s in items_at(value, "subjects")), None)
        elif seen.kind == "PushSecret":
            account = None
        else:
            continue
        yield ReaderAccount(seen.file, seen.kind, seen.name, seen.namespace, account)
