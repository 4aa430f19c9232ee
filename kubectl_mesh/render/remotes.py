"""Stage 3, the other half: the remote secrets, by which istiod here reads the peers."""

import base64

from kubectl_mesh.manifest import Manifests, document
from kubectl_mesh.model import BUNDLE, Member, Plan
from kubectl_mesh.render.stage import Stage


class Remotes:
    """The remote secrets of a plan; the same text in every cluster that holds one, unless every peer logs in as itself."""

    def __init__(self, plan: Plan, manifests: Manifests) -> None:
        self.plan, self.manifests = plan, manifests
        self._texts: dict[tuple[str, str, str], str] = {}

    def add(self, stage: Stage, member: Member) -> None:
        """Adds those that a cluster holds, or names the directory that has them all."""
        if self.plan.topology.bundled:
            if member.cluster.joined and member.primary is None and any(m.login("") for m in self.plan.members.values()):
                stage.resources.append(f"../../{BUNDLE}")
            return
        for peer in member.peers:
            text = self.text(self.plan.members[peer], member.cluster.name, member.cluster.namespace)
            if text is not None:
                stage.add(f"remote-secrets/{peer}.yaml", text, private=True)

    def text(self, other: Member, holder: str, namespace: str) -> str | None:
        """The Secret by which istiod in `namespace` of `holder` reads a cluster; None while it may not or cannot."""
        login = other.login(holder)
        if login is None:
            return None
        key = (other.cluster.name, namespace, holder if holder in other.logins else "")
        if key not in self._texts:
            self._texts[key] = self._made(other, namespace, login)
        return self._texts[key]

    def _made(self, member: Member, namespace: str, login: object) -> str:
        assert member.server is not None
        name = member.cluster.name
        server: dict[str, object] = {"certificate-authority-data": base64.b64encode(member.server.ca).decode(), "server": member.server.url}
        if member.server.tls_server_name is not None:
            server["tls-server-name"] = member.server.tls_server_name
        # The text is part of the contract: istiod reconnects when a byte of it changes.
        kubeconfig = document(
            {
                "apiVersion": "v1",
                "clusters": [{"cluster": server, "name": name}],
                "contexts": [{"context": {"cluster": name, "user": name}, "name": name}],
                "current-context": name,
                "kind": "Config",
                "users": [{"name": name, "user": login}],
            }
        )
        encoded = base64.b64encode(kubeconfig.encode()).decode()
        return self.manifests.once("remote-secret.yaml", name=name, context=member.cluster.context, namespace=namespace, kubeconfig=encoded)


def bundle(plan: Plan, manifests: Manifests) -> dict[str, tuple[str, bool]]:
    """The remote secrets of all clusters, once; istiod passes over its own ("would overwrite the config cluster")."""
    remotes = Remotes(plan, manifests)
    files: dict[str, tuple[str, bool]] = {}
    for name, member in plan.members.items():
        text = remotes.text(member, "", member.cluster.namespace)
        if text is not None:
            files[f"{name}.yaml"] = (text, True)
    if files:
        files["kustomization.yaml"] = (manifests.once("kustomization.yaml", resources=tuple(files)), False)
    return files
