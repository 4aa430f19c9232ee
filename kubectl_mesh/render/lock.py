"""The lock of a directory: every file with its SHA-256, and what it was made from."""

import hashlib
import json
from collections.abc import Mapping

from kubectl_mesh.model import BUNDLE, Folder, Member, Pki, Plan
from kubectl_mesh.render.trust import crls


def sources(plan: Plan) -> dict[str, str]:
    """What the remote secrets of each cluster are made from, as lines of a lock."""
    found = {}
    for name, member in plan.members.items():
        if member.server is not None and member.logins:
            value = {"ca": hashlib.sha256(member.server.ca).hexdigest(), "server": member.server.url}
            if member.server.tls_server_name is not None:
                value["tlsServerName"] = member.server.tls_server_name
            found[name] = f"      {json.dumps(name)}: {json.dumps(value, sort_keys=True)}"
    return found


def of_cluster(
    plan: Plan, member: Member, pki: Pki, kind: str, files: Folder, lines: Mapping[str, str], store: Mapping[str, object], sealed: Mapping[str, str]
) -> bytes:
    """The lock of a cluster's directory."""
    cluster = member.cluster
    head = {
        "context": cluster.context,
        "mesh": plan.topology.mesh_id,
        "network": cluster.network,
        "namespace": cluster.namespace,
        "controlPlane": kind,
    }
    if member.held:
        head["waits"] = "for its intermediate"
    elif not plan.topology.own_intermediates:
        assert plan.topology.issuer_ref is not None
        name, issuer, group = plan.topology.issuer_ref
        head["issuer"] = f"{plan.topology.issuer}: {issuer}.{group}/{name}"
    elif member.primary is None:
        head["intermediate"] = pki.intermediates[cluster.name].certificate.fingerprint
        if pki.intermediates[cluster.name].signer:
            head["signer"] = pki.intermediates[cluster.name].signer
        if (listed := crls(member, pki)) is not None:
            head["crl"] = hashlib.sha256(listed).hexdigest()
    else:
        head["servedBy"] = member.primary.name
    roots = {"roots": [root.fingerprint for root in pki.roots]}
    held = () if plan.topology.bundled else [lines[p] for p in member.peers if p in lines and plan.members[p].login(cluster.name) is not None]
    return _lock(cluster.name, {**head, **roots, **store}, files, held, sealed)


def of_all(name: str, plan: Plan, kind: str, files: Folder, lines: Mapping[str, str], store: Mapping[str, object], sealed: Mapping[str, str]) -> bytes:
    """The lock of a directory that belongs to the mesh as a whole."""
    held = [lines[n] for n in sorted(lines)] if name == BUNDLE else ()
    return _lock(name, {"mesh": plan.topology.mesh_id, "controlPlane": kind, **store}, files, held, sealed)


def _lock(name: str, head: Mapping[str, object], files: Folder, held: "list[str] | tuple[str, ...]", sealed: Mapping[str, str]) -> bytes:
    """JSON, a line per file and per source; `sealed` are the digests of what is public of each sealed file.

    Nothing in it but names, addresses, public fingerprints and digests.
    """
    peers = ",\n".join(held)
    made_from = "".join(f"    {json.dumps(k)}: {json.dumps(v)},\n" for k, v in head.items())
    listed = ",\n".join(f'    {json.dumps(path)}: "{file.digest}"' for path, file in files.items())
    opening = f'{{\n  "lock": 1,\n  "cluster": {json.dumps(name)},\n  "madeFrom": {{\n{made_from}'
    remote = f'    "remoteSecrets": {{\n{peers}\n    }}\n' if peers else '    "remoteSecrets": {}\n'
    kept = ",\n".join(f'    {json.dumps(path)}: "{digest}"' for path, digest in sealed.items())
    inputs = f'  "sealed": {{\n{kept}\n  }},\n' if sealed else ""
    return f'{opening}{remote}  }},\n{inputs}  "files": {{\n{listed}\n  }}\n}}\n'.encode()
