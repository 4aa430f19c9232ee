"""What the lock of each directory says: the files, and what they were made from."""

import hashlib
from collections.abc import Mapping

from kubectl_mesh.model import BUNDLE, Folder, Member, Pki, Plan
from kubectl_mesh.render.trust import crls
from kubectl_mesh.tree.lock_file import LockFile, Source


def sources(plan: Plan) -> dict[str, Source]:
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


def of_cluster(
    plan: Plan,
    member: Member,
    pki: Pki,
    kind: str,
    files: Folder,
    known: Mapping[str, Source],
    store: Mapping[str, object],
    sealed: Mapping[str, str],
) -> LockFile:
    """The lock of a cluster's directory."""
    cluster = member.cluster
    held = (
        {}
        if plan.topology.bundled
        else {
            p: known[p]
            for p in member.peers
            if p in known and plan.members[p].login(cluster.name) is not None
        }
    )
    return LockFile(
        cluster=cluster.name,
        mesh=plan.topology.mesh_id,
        context=cluster.context,
        network=cluster.network,
        namespace=cluster.namespace,
        control_plane=kind,
        roots=tuple(root.fingerprint for root in pki.roots),
        remote=held,
        files=_digests(files),
        sealed=sealed,
        **_certificates(plan, member, pki),  # type: ignore[arg-type]
        **store,  # type: ignore[arg-type]
    )


def _certificates(plan: Plan, member: Member, pki: Pki) -> dict[str, str]:
    """Who signs in a cluster, as fields of its lock."""
    if member.held:
        return {"waits": "for its intermediate"}
    if not plan.topology.own_intermediates:
        assert plan.topology.issuer_ref is not None
        name, issuer, group = plan.topology.issuer_ref
        return {"issuer": f"{plan.topology.issuer}: {issuer}.{group}/{name}"}
    if member.primary is not None:
        return {"served_by": member.primary.name}
    own = pki.intermediates[member.cluster.name]
    listed = crls(member, pki)
    return {
        "intermediate": own.certificate.fingerprint,
        **({"signer": own.signer} if own.signer else {}),
        **({"crl": hashlib.sha256(listed).hexdigest()} if listed is not None else {}),
    }


def of_all(
    name: str,
    plan: Plan,
    kind: str,
    files: Folder,
    known: Mapping[str, Source],
    store: Mapping[str, object],
    sealed: Mapping[str, str],
) -> LockFile:
    """The lock of a directory that belongs to the mesh as a whole."""
    held = {peer: known[peer] for peer in sorted(known)} if name == BUNDLE else {}
    head = {
        "cluster": name,
        "mesh": plan.topology.mesh_id,
        "control_plane": kind,
        "remote": held,
        "files": _digests(files),
        "sealed": sealed,
    }
    return LockFile(**head, **store)  # type: ignore[arg-type]


def _digests(files: Folder) -> dict[str, str]:
    return {path: file.digest for path, file in files.items()}
