"""Stage 3, the other half: the remote secrets, by which istiod here reads the peers."""

import base64
from collections.abc import Mapping

from kubectl_mesh.credentials.accounts import SHARED_READER, login_file_names
from kubectl_mesh.credentials.logins import masked_login
from kubectl_mesh.delivery import delivery_of
from kubectl_mesh.model import BUNDLE_FOLDER, Json, Member, Plan, SecretManifest
from kubectl_mesh.render.stage import Stage
from kubectl_mesh.stores import store_of
from kubectl_mesh.yaml_io.manifest import document_text
from kubectl_mesh.yaml_io.templates import Manifests


class RemoteSecrets:
    """The remote secrets of a plan; the same text in every cluster that holds one, unless every
    peer logs in as itself.
    """

    def __init__(self, plan: Plan, manifests: Manifests) -> None:
        self.plan, self.manifests = plan, manifests
        self._secrets: dict[tuple[str, str, str], str | SecretManifest] = {}
        self._public: dict[tuple[str, str], str] = {}

    def add_to_stage(self, stage: Stage, member: Member) -> None:
        """Adds those that a cluster holds, or names the directory that has them all."""
        if self.plan.topology.has_remote_secret_bundle:
            # What SOPS encrypted, kubectl cannot apply: it is in no kustomization.
            topology = self.plan.topology
            applied = not store_of(topology).NEEDS_DECRYPTION or delivery_of(topology).DECRYPTS
            if (
                applied
                and member.cluster.is_joined
                and member.primary is None
                and any(m.peer_login("") for m in self.plan.members.values())
            ):
                stage.resources.append(f"../../{BUNDLE_FOLDER}")
            return
        name, namespace, shared = (
            member.cluster.name,
            member.cluster.namespace,
            not self.plan.topology.reader_per_peer,
        )
        for peer in member.peers:
            # A mesh of a thousand clusters comes by here a million times, and mostly for what is
            # made already.
            secret = (
                shared and self._secrets.get((peer, namespace, SHARED_READER))
            ) or self.find_secret(self.plan.members[peer], name, namespace)
            if secret is not None:
                stage.add_file(f"remote-secrets/{peer}.yaml", secret)

    def find_secret(
        self, other: Member, reader_cluster: str, namespace: str
    ) -> str | SecretManifest | None:
        """The object by which istiod in `namespace` of `holder` reads a cluster; None while it may
        not or cannot.
        """
        login = other.peer_login(reader_cluster)
        if login is None:
            return None
        reader = reader_cluster if reader_cluster in other.logins else SHARED_READER
        key = (other.cluster.name, namespace, reader)
        if key not in self._secrets:
            self._secrets[key] = self._build_secret(other, namespace, reader, login)
        return self._secrets[key]

    def _build_secret(
        self, other: Member, namespace: str, reader: str, login: Mapping[str, Json]
    ) -> str | SecretManifest:
        topology, cluster = self.plan.topology, other.cluster
        store = store_of(topology)
        if not store.has_login(cluster):
            return self._secret_text(other, namespace, login)
        own = store.remote_secret_object(
            topology,
            cluster,
            (namespace, reader),
            lambda mark: kubeconfig_text(other, masked_login(cluster.credential, mark)),
        )
        if own is not None:
            return own
        public = ""
        if store.ENCRYPTS:
            if (cluster.name, namespace) not in self._public:
                # A reader of YAML passes over it; a login of another generation is sealed anew for
                # it.
                which = (
                    ""
                    if cluster.token_generation == 1
                    else f"# generation {cluster.token_generation}\n"
                )
                self._public[cluster.name, namespace] = (
                    self._secret_text(other, namespace, masked_login(cluster.credential)) + which
                )
            public = self._public[cluster.name, namespace]
        text = None if reader in other.sealed_logins else self._secret_text(other, namespace, login)
        return SecretManifest(text, public, login_file_names(cluster, reader))

    def _secret_text(self, member: Member, namespace: str, login: Mapping[str, Json]) -> str:
        name = member.cluster.name
        encoded = base64.b64encode(kubeconfig_text(member, login).encode()).decode()
        return self.manifests.render_once(
            "remote-secret.yaml",
            name=name,
            context=member.cluster.context,
            namespace=namespace,
            kubeconfig=encoded,
        )


def kubeconfig_text(member: Member, login: Mapping[str, Json]) -> str:
    """The kubeconfig by which a cluster is read. Its text is part of the contract: istiod
    reconnects when a byte of it changes.
    """
    assert member.server is not None
    name = member.cluster.name
    server: dict[str, object] = {
        "certificate-authority-data": base64.b64encode(member.server.ca).decode(),
        "server": member.server.url,
    }
    if member.server.tls_server_name is not None:
        server["tls-server-name"] = member.server.tls_server_name
    return document_text(
        {
            "apiVersion": "v1",
            "clusters": [{"cluster": server, "name": name}],
            "contexts": [{"context": {"cluster": name, "user": name}, "name": name}],
            "current-context": name,
            "kind": "Config",
            "users": [{"name": name, "user": login}],
        }
    )


def build_bundle(plan: Plan, manifests: Manifests) -> dict[str, str | SecretManifest]:
    """The remote secrets of all clusters, once; istiod passes over its own ("would overwrite the
    config cluster").
    """
    remotes = RemoteSecrets(plan, manifests)
    files: dict[str, str | SecretManifest] = {}
    for name, member in plan.members.items():
        secret = remotes.find_secret(member, SHARED_READER, member.cluster.namespace)
        if secret is not None:
            files[f"{name}.yaml"] = secret
    return files
