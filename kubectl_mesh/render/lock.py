"""What the lock of each directory says: the files, and what they were made from."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from kubectl_mesh.model import BUNDLE_FOLDER, File, Member, Pki, Plan
from kubectl_mesh.render.trust import find_cluster_crl
from kubectl_mesh.tree.lock_file import LockFile, Source


class LockContent(NamedTuple):
    """The files of a directory, and what its lock says of them."""

    files: Mapping[str, File]
    sealed: Mapping[str, str]
    """What each sealed file was made from, as far as it is public."""
    store: Mapping[str, object]
    """What the store says of the directory, as fields of a `LockFile`."""

    @property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of each file."""
        return {path: file.digest for path, file in self.files.items()}


class LockBuilder:
    """The locks of a plan; `kind` is that of base.yaml."""

    def __init__(self, plan: Plan, pki: Pki, kind: str) -> None:
        self.plan, self.pki, self.kind = plan, pki, kind
        self._sources = _remote_secret_sources(plan)

    def cluster_lock(self, member: Member, content: LockContent) -> LockFile:
        """The lock of a cluster's directory."""
        cluster, plan, sources = member.cluster, self.plan, self._sources
        remote_sources = (
            {}
            if plan.topology.has_remote_secret_bundle
            else {
                p: sources[p]
                for p in member.peers
                if p in sources and plan.members[p].peer_login(cluster.name) is not None
            }
        )
        return LockFile(
            cluster=cluster.name,
            mesh=plan.topology.mesh_id,
            context=cluster.context,
            network=cluster.network,
            namespace=cluster.namespace,
            control_plane=self.kind,
            roots=tuple(root.fingerprint for root in self.pki.roots),
            remote=remote_sources,
            files=content.digests,
            sealed=content.sealed,
            **self._signer_fields(member),  # type: ignore[arg-type]
            **content.store,  # type: ignore[arg-type]
        )

    def mesh_lock(self, name: str, content: LockContent) -> LockFile:
        """The lock of a directory that belongs to the mesh as a whole."""
        sources = self._sources
        return LockFile(
            cluster=name,
            mesh=self.plan.topology.mesh_id,
            control_plane=self.kind,
            remote={peer: sources[peer] for peer in sorted(sources)}
            if name == BUNDLE_FOLDER
            else {},
            files=content.digests,
            sealed=content.sealed,
            **content.store,  # type: ignore[arg-type]
        )

    def _signer_fields(self, member: Member) -> dict[str, str]:
        """Who signs in a cluster, as fields of its lock."""
        topology = self.plan.topology
        if member.lacks_intermediate:
            return {"pending": "for its intermediate"}
        if not topology.has_intermediate_files:
            assert topology.issuer_ref is not None
            name, issuer, group = topology.issuer_ref
            return {"issuer": f"{topology.issuer}: {issuer}.{group}/{name}"}
        if member.primary is not None:
            return {"served_by": member.primary.name}
        own = self.pki.intermediates[member.cluster.name]
        listed = find_cluster_crl(member, self.pki)
        return {
            "intermediate": own.certificate.fingerprint,
            **({"signer": own.signer} if own.signer else {}),
            **({"crl": hashlib.sha256(listed).hexdigest()} if listed is not None else {}),
        }


def _remote_secret_sources(plan: Plan) -> dict[str, Source]:
    """What the remote secrets of each cluster are made from."""
    return {
        name: Source(
            member.server.url,
            hashlib.sha256(member.server.ca).hexdigest(),
            member.server.tls_server_name,
        )
        for name, member in plan.members.items()
        if member.server is not None and member.logins
    }
