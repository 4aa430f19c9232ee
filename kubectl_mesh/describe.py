"""describe: what the mesh is, cluster by cluster, as a value for programs and as text for people."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from kubectl_mesh.credentials import claims
from kubectl_mesh.model import BUNDLE, REMOTE_SECRETS, Certificate, FolderChange, Member, Pki, Plan, Topology
from kubectl_mesh.words import count, size

STORES = {"sops": "encrypted by SOPS", "sealed": "sealed for the controller of each cluster", "external": "in a store of yours; the tree says where"}


def describe(
    plan: Plan,
    pki: Pki,
    changes: Sequence[FolderChange],
    kind: str,
    out: str,
    now: datetime,
    only: frozenset[str] | None,
    committed: frozenset[str] | None = None,
) -> dict[str, Any]:
    """The mesh for programs; its schema is `report/describe`. Certificates that are not made yet are null.

    `committed` are the paths below `out` that git's HEAD has, None where there is no repository.
    """
    by_name = {change.name: change for change in changes}
    made_root = any(path.startswith("root-") for path in pki.new)
    topology = plan.topology
    near = {plan.members[name].cluster.network for name in only or ()}
    return {
        "mesh": topology.mesh_id,
        "organization": organization(topology, pki),
        "controlPlane": kind,
        "issuer": topology.issuer,
        "store": topology.store,
        "networks": sorted({c.network for c in topology.clusters}),
        "total": len(topology.clusters),
        "crl": _crl(pki, now),
        "roots": [] if made_root else [_certificate(c, now) for c in pki.roots],
        "clusters": [
            _cluster(plan, m, pki, by_name, out, now) | {"counts": _counts(plan, m, by_name, committed)}
            for name, m in plan.members.items()
            if only is None or name in only
        ],
        "pending": [p.value() for p in plan.pending if only is None or p.subject in only or p.subject in near],
    }


def organization(topology: Topology, pki: Pki) -> str:
    """The O= of the mesh's certificates: what the topology states, else that of the root."""
    by_root = pki.roots[0].organization if pki.roots and not topology.organization_stated else None
    return by_root or topology.organization


def _crl(pki: Pki, now: datetime) -> dict[str, Any] | None:
    if pki.crl is None:
        return None
    return {
        "number": pki.crl.number,
        "nextUpdate": f"{pki.crl.until:%Y-%m-%dT%H:%M:%SZ}",
        "daysLeft": (pki.crl.until - now).days,
        "revoked": [{"serial": serial, "since": f"{since:%Y-%m-%dT%H:%M:%SZ}"} for serial, since in pki.crl.revoked],
    }


def _certificate(certificate: Certificate, now: datetime) -> dict[str, Any]:
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "serial": certificate.serial,
        "fingerprint": certificate.fingerprint,
        "keyType": certificate.key_type,
        "notBefore": f"{certificate.not_before:%Y-%m-%dT%H:%M:%SZ}",
        "notAfter": f"{certificate.not_after:%Y-%m-%dT%H:%M:%SZ}",
        "daysLeft": (certificate.not_after - now).days,
    }


def _cluster(plan: Plan, member: Member, pki: Pki, by_name: Mapping[str, FolderChange], out: str, now: datetime) -> dict[str, Any]:
    cluster, change = member.cluster, by_name[member.cluster.name]
    made = f"intermediate-{cluster.name}/ca-cert.pem" in pki.new or cluster.name not in pki.intermediates
    state = {"create": "not rendered", "identical": "up to date", "tighten": "up to date", "update": "out of date"}[change.action]
    gateways = next((n.gateways for n in member.networks if n.name == cluster.network), ())
    held = by_name[BUNDLE] if plan.topology.bundled else change
    files = {c.path.removeprefix(REMOTE_SECRETS).removesuffix(".yaml"): c for c in held.changes}
    return {
        "name": cluster.name,
        "context": cluster.context,
        "network": cluster.network,
        "namespace": cluster.namespace,
        "joined": cluster.joined,
        "server": member.server.url if member.server is not None else None,
        "istio": {
            "servedBy": member.primary.name if member.primary is not None else None,
            "releases": [] if member.primary is not None else [{"version": r.version, "revision": r.revision} for r in cluster.releases],
        },
        "eastWestGateway": member.gateway_kind,
        "credential": cluster.credential.way,
        "token": bool(member.logins),
        "tokens": _tokens(member, now),
        "tokenGeneration": cluster.generation,
        "tokenBeside": cluster.beside,
        "gateways": [{"address": g.address, "port": g.port} for g in gateways],
        "certificate": None if made else _certificate(pki.intermediates[cluster.name].certificate, now),
        "directory": f"{out}/{cluster.name}",
        "tree": state,
        "remoteSecrets": [
            {"cluster": name, "state": _state(member, other, files), "server": other.server.url if other.server is not None else None}
            for name, other in plan.members.items()
            if name != cluster.name
        ],
    }


def _counts(plan: Plan, member: Member, by_name: Mapping[str, FolderChange], committed: frozenset[str] | None) -> dict[str, int | None]:
    """How many remote secrets the topology asks for, how many lie in the tree, and how many git's HEAD has."""
    bundled, name = plan.topology.bundled and member.primary is None and member.cluster.joined, member.cluster.name
    folder, prefix = (BUNDLE, "") if bundled else (name, REMOTE_SECRETS)
    change = by_name.get(folder)
    there = [c.path for c in change.changes if c.action != "create"] if change is not None else []
    kept = [path.removeprefix(f"{folder}/") for path in committed or () if path.startswith(f"{folder}/")]

    def of_others(paths: Sequence[str]) -> int:
        return sum(p.startswith(prefix) and p.endswith(".yaml") and p[len(prefix) :] not in (f"{name}.yaml", "kustomization.yaml") for p in paths)

    return {"declared": len(member.peers), "rendered": of_others(there), "committed": None if committed is None else of_others(kept)}


def _tokens(member: Member, now: datetime) -> list[dict[str, Any]]:
    """What the tokens say of themselves; one that says nothing is opaque."""
    found = []
    for peer, login in sorted(member.logins.items()):
        token = login.get("token")
        said = claims(token) if isinstance(token, str) else None
        if isinstance(token, str) and peer not in member.absent:
            found.append(
                {
                    "peer": peer or None,
                    "subject": said.subject if said is not None else None,
                    "audience": list(said.audience) if said is not None else [],
                    "issued": f"{said.issued:%Y-%m-%dT%H:%M:%SZ}" if said is not None and said.issued is not None else None,
                    "ageDays": (now - said.issued).days if said is not None and said.issued is not None else None,
                    "expires": f"{said.expires:%Y-%m-%dT%H:%M:%SZ}" if said is not None and said.expires is not None else None,
                    "daysLeft": (said.expires - now).days if said is not None and said.expires is not None else None,
                }
            )
    return found


def _state(member: Member, other: Member, files: Mapping[str, Any]) -> str:
    if not member.cluster.joined or not other.cluster.joined:
        return "off"
    if member.primary is not None:
        return "not held here"
    if other.cluster.name not in member.peers:
        return "not a peer"
    if other.server is None:
        return "server pending"
    if other.login(member.cluster.name) is None:
        return "token pending"
    if member.held:
        return "not rendered"
    change = files[other.cluster.name]
    return {"identical": "ok", "tighten": "ok", "create": "not rendered", "update": "out of date"}[change.action]


def text(value: Mapping[str, Any]) -> str:
    """The mesh for people."""
    clusters = value["clusters"]
    lines = [f"mesh {value['mesh']}: {size(value)}, {value['controlPlane']}"]
    lines += [line for root in value["roots"] for line in _certificate_lines("root", root, issuer=False)]
    made_elsewhere = {"cert-manager": "made in the cluster, by cert-manager", "istio-csr": "none: istio-csr signs"}.get(value["issuer"])
    if not value["roots"]:
        lines.append("root         " + ("that of the issuer in the clusters" if made_elsewhere else "not made yet"))
    if value["crl"] is not None:
        crl = value["crl"]
        lines.append(
            f"revoked      {count(len(crl['revoked']), 'intermediate')}; CRL number {crl['number']} until {crl['nextUpdate'][:10]} ({crl['daysLeft']} days)"
        )
        lines += [f"{'':11}  {entry['serial']} since {entry['since'][:10]}" for entry in crl["revoked"]]
    if value["store"] != "plain":
        lines.append(f"secrets      {STORES[value['store']]}")
    for cluster in clusters:
        found = f"found by label ({cluster['eastWestGateway']})" if cluster["eastWestGateway"] else "<none>"
        gateways = ", ".join(_address(g) for g in cluster["gateways"]) or found
        lines += ["", cluster["name"]]
        if cluster["context"] != cluster["name"]:
            lines.append(f"  context      {cluster['context']}")
        lines.append(f"  network      {cluster['network']}, gateways: {gateways}")
        lines.append(f"  namespace    {cluster['namespace']}")
        lines.append(f"  server       {cluster['server'] or 'not known yet'}")
        lines.append(f"  tree         {cluster['directory']}: {cluster['tree']}")
        plane = cluster["istio"]
        for release in plane["releases"]:
            if release["version"] or release["revision"]:
                lines.append(f"  istio        {release['version'] or 'version not stated'}, revision {release['revision'] or 'default'}")
        if plane["servedBy"] is not None:
            lines.append(f"  istio        served by {plane['servedBy']}")
        for token in cluster["tokens"]:
            if token["subject"] is not None:
                whom = f" for {token['peer']}" if token["peer"] else ""
                until = "never expires" if token["expires"] is None else f"expires {token['expires'][:10]} ({token['daysLeft']} days)"
                age = f"made {token['issued'][:10]} ({token['ageDays']} days ago), " if token["issued"] is not None else ""
                lines.append(f"  token{whom}{'' if whom else '       '} {age}{until}, {token['subject']}")
        if cluster["tokenBeside"] is not None:
            lines.append(f"  rotation     peers use the token of generation {cluster['tokenGeneration']}; generation {cluster['tokenBeside']} is beside it")
        if plane["servedBy"] is not None:
            pass
        elif cluster["certificate"] is None:
            lines.append(f"  certificate  {made_elsewhere or ('awaited' if value['issuer'] == 'csr' else 'not made yet')}")
        else:
            lines += [f"  {line}" for line in _certificate_lines("certificate", cluster["certificate"], issuer=True)]
        if not cluster["joined"]:
            lines.append("  services     kept out of the mesh (disableRegistryJoin)")
            continue
        width = max((len(r["cluster"]) for r in cluster["remoteSecrets"]), default=0)
        shown = [f"    {r['cluster']:{width}}  {r['state']}" + (f", {r['server']}" if r["server"] else "") for r in cluster["remoteSecrets"]]
        lines += ["  remote secrets", *(shown or ["    <none>"])]
    lines += _pending(value["pending"])
    return "\n".join(lines) + "\n"


def _address(gateway: Mapping[str, Any]) -> str:
    address = gateway["address"]
    return f"[{address}]:{gateway['port']}" if ":" in address else f"{address}:{gateway['port']}"


def _certificate_lines(head: str, certificate: Mapping[str, Any], *, issuer: bool) -> list[str]:
    lines = [f"{head:11}  {certificate['subject']}"]
    if issuer:
        lines.append(f"{'':11}  issued by {certificate['issuer']}")
    when = certificate["notAfter"].replace("T", " ").removesuffix(":00Z").removesuffix("Z")
    lines.append(f"{'':11}  not after {when} UTC ({certificate['daysLeft']} days), {certificate['keyType']}")
    lines.append(f"{'':11}  sha256 {certificate['fingerprint']}")
    return lines


def _pending(pending: Sequence[Mapping[str, str]]) -> list[str]:
    if not pending:
        return ["", "pending: nothing"]
    return ["", f"pending: {count(len(pending), 'thing')}", *(f"  {p['subject']}: {p['what']}\n    {p['command']}" for p in pending)]
