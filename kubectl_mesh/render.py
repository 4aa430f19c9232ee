"""render: a `Plan`, its `Pki` and a target become a `Tree`, each directory with the lock that lists it."""

import hashlib
import json
from types import ModuleType

from kubectl_mesh.manifest import Manifests
from kubectl_mesh.model import LOCK, File, Folder, Json, Member, Pki, Plan, Tree


def render(plan: Plan, base: Json, pki: Pki, target: ModuleType, manifests: Manifests) -> Tree:
    """Every file of every cluster; texts that clusters share are one object."""
    made: dict[tuple[str, bool], File] = {}

    def file(text: str, *, private: bool) -> File:
        if (text, private) not in made:
            body = text.encode()
            made[text, private] = File(body, private, hashlib.sha256(body).hexdigest())
        return made[text, private]

    sources = _sources(plan)
    tree: dict[str, Folder] = {}
    for name, texts in target.folders(plan, base, pki, manifests):
        files = {path: file(texts[path][0], private=texts[path][1]) for path in sorted(texts)}
        body = _lock(plan, plan.members[name], pki, target.KIND, files, sources)
        files[LOCK] = File(body, private=False, digest=hashlib.sha256(body).hexdigest())
        tree[name] = files
    return tree


def _sources(plan: Plan) -> dict[str, str]:
    """What each remote secret is made from, as lines of a lock."""
    found = {}
    for name, member in plan.members.items():
        if member.readable and member.server is not None:
            value = {"ca": hashlib.sha256(member.server.ca).hexdigest(), "server": member.server.url}
            if member.server.tls_server_name is not None:
                value["tlsServerName"] = member.server.tls_server_name
            found[name] = f"      {json.dumps(name)}: {json.dumps(value, sort_keys=True)}"
    return found


def _lock(plan: Plan, member: Member, pki: Pki, kind: str, files: Folder, sources: dict[str, str]) -> bytes:
    """The lock: JSON, a line per file and per source; nothing in it but names, addresses, public fingerprints and digests."""
    cluster = member.cluster
    peers = ",\n".join(sources[peer] for peer in member.peers if peer in sources)
    head = {
        "context": cluster.context,
        "mesh": plan.topology.mesh_id,
        "network": cluster.network,
        "namespace": cluster.namespace,
        "controlPlane": kind,
        "intermediate": pki.intermediates[cluster.name].certificate.fingerprint,
        "roots": [root.fingerprint for root in pki.roots],
    }
    made_from = "".join(f"    {json.dumps(k)}: {json.dumps(v)},\n" for k, v in head.items())
    listed = ",\n".join(f'    {json.dumps(path)}: "{file.digest}"' for path, file in files.items())
    opening = f'{{\n  "lock": 1,\n  "cluster": {json.dumps(cluster.name)},\n  "madeFrom": {{\n{made_from}'
    remote = f'    "remoteSecrets": {{\n{peers}\n    }}\n' if peers else '    "remoteSecrets": {}\n'
    return f'{opening}{remote}  }},\n  "files": {{\n{listed}\n  }}\n}}\n'.encode()
