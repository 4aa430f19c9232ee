"""describe: what the mesh is, cluster by cluster, as a value for programs and as text for
people.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kubectl_mesh.credentials.logins import claims
from kubectl_mesh.errors import Problem
from kubectl_mesh.model import (
    BUNDLE,
    REMOTE_SECRETS,
    Certificate,
    Change,
    FolderChange,
    Member,
    Pki,
    Plan,
    Topology,
)
from kubectl_mesh.observed.secret_states import SecretState, States, read_states, secret_path
from kubectl_mesh.reports.render import problems_json
from kubectl_mesh.text import count, one_line, size

STORES = {
    "sops": "encrypted by SOPS",
    "sealed": "sealed for the controller of each cluster",
    "external": "in a store of yours; the tree says where",
}
FEW, NAMED = 8, 3
"""The text shows so many remote secrets and tokens of a cluster line by line; of more it shows the
counts and names so many of each state.
"""
EXPECTED = (
    "ok",
    "off",
    "not a peer",
    "not held here",
    "not rendered",
    "server pending",
    "token pending",
)
"""The states of remote secrets that other columns and lines show."""


@dataclass(frozen=True, slots=True)
class Partial:
    """What is known where the inputs are wrong in part."""

    problems: tuple[Problem, ...] = ()
    files: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The files on disk of directories that nobody compared."""
    broken: frozenset[tuple[str, str]] = frozenset()
    """What is wrong and so not pending, by kind and cluster."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """What the description of a cluster is made from."""

    plan: Plan
    pki: Pki
    by_name: Mapping[str, FolderChange]
    files: Mapping[str, frozenset[str]]
    committed: Mapping[str, frozenset[str]] | None
    """The remote secrets that git's HEAD has, by directory."""
    states: States
    expired: frozenset[tuple[str, str]]
    """The tokens that have ended, by cluster and peer."""
    out: str
    now: datetime
    bundles: dict[tuple[bool, bool, bool], Mapping[str, dict[str, Any]]] = field(
        default_factory=dict
    )
    """With a bundle, the remote secrets as clusters of one kind have them."""


def _files(change: FolderChange) -> frozenset[str]:
    """The files of a directory that exist on disk, as far as a render has them."""
    return frozenset(c.path for c in change.changes if c.action != "create")


def _states(
    plan: Plan,
    by_name: Mapping[str, FolderChange],
    existing: Mapping[str, frozenset[str]],
    out: str,
    now: datetime,
    only: frozenset[str] | None,
) -> States:
    """The states of the remote secrets on disk that are not as a render would write them."""
    found: dict[tuple[str, str], SecretState] = {}
    for directory in (
        [BUNDLE]
        if plan.topology.bundled
        else [n for n in plan.members if only is None or n in only]
    ):
        change = by_name.get(directory)
        same = (
            {c.path for c in change.changes if c.action in ("identical", "tighten")}
            if change is not None
            else set()
        )
        there = existing.get(directory, frozenset()) - same
        peers = plan.members if directory == BUNDLE else plan.members[directory].peers
        wanted = [peer for peer in peers if secret_path(directory, peer) in there]
        if wanted:
            found |= read_states(out, plan, {directory: wanted}, now, rendered=change is not None)
    return found


def describe(
    plan: Plan,
    pki: Pki,
    changes: Sequence[FolderChange],
    kind: str,
    out: str,
    now: datetime,
    only: frozenset[str] | None,
    committed: frozenset[str] | None = None,
    refusals: Sequence[Problem] = (),
    partial: Partial | None = None,
    assumed: str = "",
) -> dict[str, Any]:
    """The mesh for programs; its schema is `report/describe`. Certificates that are not made yet
    are null.

    `committed` are the paths below `out` that git's HEAD has, None where there is no repository.
    `refusals` say why a render is refused. `partial` is what is known where the inputs are wrong in
    part: then `changes` may lack directories. `assumed` says that Istio 1.4 is assumed.
    """
    by_name = {change.name: change for change in changes}
    partial = partial or Partial()
    existing = {name: _files(change) for name, change in by_name.items()} | dict(partial.files)
    states = _states(plan, by_name, existing, out, now, only)
    expired = {
        (name, peer)
        for name, member in plan.members.items()
        for peer, login in member.logins.items()
        if isinstance(login.get("token"), str)
        and (said := claims(str(login["token"]))) is not None
        and said.expires is not None
        and said.expires <= now
    }
    rendered = {name: _secret_files(name, paths) for name, paths in existing.items()}
    shown = _Shown(
        plan,
        pki,
        by_name,
        rendered,
        _committed_files(committed),
        states,
        frozenset(expired),
        out,
        now,
    )
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
            _cluster(shown, m) | {"counts": _counts(shown, m)}
            for name, m in plan.members.items()
            if only is None or name in only
        ],
        "pending": [
            p.value()
            for p in plan.pending
            if (only is None or p.subject in only or p.subject in near)
            and (p.kind, p.subject) not in partial.broken
        ],
        "refused": [
            {"file": p.where.file, "path": p.where.path, "what": p.what, "fix": p.fix, "id": p.id}
            for p in refusals
        ],
        "assumed": assumed or None,
        "problems": problems_json(partial.problems),
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
        "revoked": [
            {"serial": serial, "since": f"{since:%Y-%m-%dT%H:%M:%SZ}"}
            for serial, since in pki.crl.revoked
        ],
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


def _cluster(shown: _Shown, member: Member) -> dict[str, Any]:
    cluster, pki, now = member.cluster, shown.pki, shown.now
    change = shown.by_name.get(cluster.name)
    made = (
        f"intermediate-{cluster.name}/ca-cert.pem" in pki.new
        or cluster.name not in pki.intermediates
    )
    states = {
        "create": "not rendered",
        "identical": "up to date",
        "tighten": "up to date",
        "update": "out of date",
    }
    gateways = next((n.gateways for n in member.networks if n.name == cluster.network), ())
    return {
        "name": cluster.name,
        "context": cluster.context,
        "network": cluster.network,
        "namespace": cluster.namespace,
        "joined": cluster.joined,
        "server": member.server.url if member.server is not None else None,
        "istio": {
            "servedBy": member.primary.name if member.primary is not None else None,
            "releases": (
                []
                if member.primary is not None
                else [{"version": r.version, "revision": r.revision} for r in cluster.releases]
            ),
        },
        "eastWestGateway": member.gateway_kind,
        "credential": cluster.credential.way,
        "token": bool(member.logins),
        "tokens": _tokens(member, now),
        "tokenGeneration": cluster.generation,
        "tokenBeside": cluster.beside,
        "gateways": [{"address": g.address, "port": g.port} for g in gateways],
        "certificate": (
            None if made else _certificate(pki.intermediates[cluster.name].certificate, now)
        ),
        "directory": f"{shown.out}/{cluster.name}",
        "tree": "not compared" if change is None else states[change.action],
        "remoteSecrets": _remote_secrets(shown, member),
    }


def _directory(plan: Plan, member: Member) -> str:
    """The directory that has the remote secrets of a cluster."""
    return BUNDLE if plan.topology.bundled else member.cluster.name


def _remote_secrets(shown: _Shown, member: Member) -> list[dict[str, Any]]:
    """The remote secrets of all other clusters. With a bundle, clusters of one kind have the same
    ones, which are described once.
    """
    kind = (member.cluster.joined, member.primary is not None, member.held)
    found = shown.bundles.get(kind)
    if found is None:
        members = shown.plan.members
        change = shown.by_name.get(_directory(shown.plan, member))
        files = {c.path: c for c in change.changes} if change is not None else None
        bundled = shown.plan.topology.bundled
        peers = frozenset(members if bundled else member.peers)
        found = {
            name: _remote_secret(shown, member, other, files, peers)
            for name, other in members.items()
        }
        if bundled:
            shown.bundles[kind] = found
    return [secret for name, secret in found.items() if name != member.cluster.name]


def _remote_secret(
    shown: _Shown,
    member: Member,
    other: Member,
    files: Mapping[str, Change] | None,
    peers: frozenset[str],
) -> dict[str, Any]:
    found = _state(shown, member, other, files, peers)
    url = other.server.url if other.server is not None else None
    return {
        "cluster": other.cluster.name,
        "state": found.state,
        "server": url,
        "treeServer": (
            url if found.state in ("ok", "expired token") and found.server is None else found.server
        ),
        "detail": found.detail,
    }


def _secret_files(directory: str, paths: Iterable[str]) -> frozenset[str]:
    """The remote secrets among the files of a directory, without their folder."""
    folder = "" if directory == BUNDLE else REMOTE_SECRETS
    return frozenset(
        p.removeprefix(folder) for p in paths if p.startswith(folder) and p.endswith(".yaml")
    ) - {"kustomization.yaml"}


def _committed_files(committed: frozenset[str] | None) -> Mapping[str, frozenset[str]] | None:
    """The remote secrets among the files that git's HEAD has, by directory."""
    if committed is None:
        return None
    paths: dict[str, list[str]] = {}
    for path in committed:
        directory, _, rest = path.partition("/")
        paths.setdefault(directory, []).append(rest)
    return {directory: _secret_files(directory, rest) for directory, rest in paths.items()}


def _counts(shown: _Shown, member: Member) -> dict[str, int | None]:
    """How many remote secrets the topology asks for, how many lie in the tree, and how many git's
    HEAD has.
    """
    bundled, name = (
        shown.plan.topology.bundled and member.primary is None and member.cluster.joined,
        member.cluster.name,
    )

    def count_others(files: Mapping[str, frozenset[str]]) -> int:
        found = files.get(BUNDLE if bundled else name, frozenset())
        return len(found) - (f"{name}.yaml" in found)

    return {
        "declared": len(member.peers),
        "rendered": count_others(shown.files),
        "committed": None if shown.committed is None else count_others(shown.committed),
    }


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
                    "issued": (
                        f"{said.issued:%Y-%m-%dT%H:%M:%SZ}"
                        if said is not None and said.issued is not None
                        else None
                    ),
                    "ageDays": (
                        (now - said.issued).days
                        if said is not None and said.issued is not None
                        else None
                    ),
                    "expires": (
                        f"{said.expires:%Y-%m-%dT%H:%M:%SZ}"
                        if said is not None and said.expires is not None
                        else None
                    ),
                    "daysLeft": (
                        (said.expires - now).days
                        if said is not None and said.expires is not None
                        else None
                    ),
                }
            )
    return found


def _state(
    shown: _Shown,
    member: Member,
    other: Member,
    files: Mapping[str, Change] | None,
    peers: frozenset[str],
) -> SecretState:
    if not member.cluster.joined or not other.cluster.joined:
        return SecretState("off")
    if member.primary is not None:
        return SecretState("not held here")
    name, directory = other.cluster.name, _directory(shown.plan, member)
    if name not in peers:
        return SecretState("not a peer")
    if files is None and (directory, name) in shown.states:
        return shown.states[directory, name]
    if other.server is None:
        return SecretState("server pending")
    if other.login(member.cluster.name) is None:
        return SecretState("token pending")
    if member.held:
        return SecretState("not rendered")
    change = files.get(secret_path(directory, name)) if files is not None else None
    if change is None or change.action == "create":
        gone = change.edited if change is not None else files is None and directory in shown.files
        return SecretState("not found" if gone else "not rendered")
    if change.action != "update":
        holder = "" if shown.plan.topology.bundled else member.cluster.name
        ended = (name, holder if holder in other.logins else "") in shown.expired
        return SecretState("expired token") if ended else SecretState("ok")
    return shown.states[directory, name]


def text(value: Mapping[str, Any]) -> str:
    """The mesh for people."""
    clusters = value["clusters"]
    lines = [*head_lines(value), f"mesh {value['mesh']}: {size(value)}, {value['controlPlane']}"]
    lines += [
        line for root in value["roots"] for line in _certificate_lines("root", root, issuer=False)
    ]
    made_elsewhere = {
        "cert-manager": "made in the cluster, by cert-manager",
        "istio-csr": "none: istio-csr signs",
    }.get(value["issuer"])
    if not value["roots"]:
        lines.append(
            "root         "
            + ("that of the issuer in the clusters" if made_elsewhere else "not made yet")
        )
    if value["crl"] is not None:
        crl = value["crl"]
        lines.append(
            f"revoked      {count(len(crl['revoked']), 'intermediate')}; CRL number {crl['number']}"
            f" until {crl['nextUpdate'][:10]} ({crl['daysLeft']} days)"
        )
        lines += [
            f"{'':11}  {entry['serial']} since {entry['since'][:10]}" for entry in crl["revoked"]
        ]
    if value["store"] != "plain":
        lines.append(f"secrets      {STORES[value['store']]}")
    for cluster in clusters:
        found = (
            f"found by label ({cluster['eastWestGateway']})"
            if cluster["eastWestGateway"]
            else "<none>"
        )
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
                lines.append(
                    f"  istio        {release['version'] or 'version not stated'}, revision"
                    f" {release['revision'] or 'default'}"
                )
        if plane["servedBy"] is not None:
            lines.append(f"  istio        served by {plane['servedBy']}")
        tokens = [t for t in cluster["tokens"] if t["subject"] is not None]
        first = (
            tokens
            if len(tokens) <= FEW
            else sorted(tokens, key=lambda t: (t["expires"] is None, t["expires"] or ""))[:NAMED]
        )
        for token in first:
            whom = f" for {token['peer']}" if token["peer"] else ""
            until = (
                "never expires"
                if token["expires"] is None
                else f"expires {token['expires'][:10]} ({token['daysLeft']} days)"
            )
            age = (
                f"made {token['issued'][:10]} ({token['ageDays']} days ago), "
                if token["issued"] is not None
                else ""
            )
            lines.append(
                f"  token{whom}{'' if whom else '       '} {age}{until},"
                f" {one_line(token['subject'])}"
            )
        if len(tokens) > len(first):
            lines.append(
                f"  tokens       {len(tokens) - len(first)} more, which end later or never;"
                " `kubectl mesh tokens status` lists them"
            )
        if cluster["tokenBeside"] is not None:
            lines.append(
                f"  rotation     peers use the token of generation {cluster['tokenGeneration']};"
                f" generation {cluster['tokenBeside']} is beside it"
            )
        if plane["servedBy"] is not None:
            pass
        elif cluster["certificate"] is None:
            lines.append(
                "  certificate "
                f" {made_elsewhere or ('awaited' if value['issuer'] == 'csr' else 'not made yet')}"
            )
        else:
            lines += [
                f"  {line}"
                for line in _certificate_lines("certificate", cluster["certificate"], issuer=True)
            ]
        if not cluster["joined"]:
            lines.append("  services     kept out of the mesh (disableRegistryJoin)")
            continue
        lines += _secret_lines(cluster["remoteSecrets"])
    lines += _pending(value["pending"])
    if value["refused"]:
        lines += [
            "",
            (
                "refused: `kubectl mesh render` refuses this for"
                f" {count(len(value['refused']), 'reason')}; `kubectl mesh check` prints the steps"
            ),
        ]
        lines += [f"  {p['file']}: {p['what']}" for p in value["refused"]]
    return "\n".join(lines) + "\n"


def head_lines(value: Mapping[str, Any]) -> list[str]:
    """What comes before everything else: that Istio 1.4 is assumed, and that not everything is
    known.
    """
    lines = [value["assumed"]] if value["assumed"] else []
    if value["problems"]:
        lines.append(
            f"not complete: {count(len(value['problems']), 'error')} in the inputs or the tree; the"
            " tree is not compared with a render"
        )
    return lines


def _secret_lines(secrets: Sequence[Mapping[str, Any]]) -> list[str]:
    """The remote secrets of a cluster: few one by one; many counted by state, what is not ok first
    and with some names.
    """
    if len(secrets) <= FEW:
        width = max((len(s["cluster"]) for s in secrets), default=0)
        shown = [f"    {s['cluster']:{width}}  {_secret_text(s)}" for s in secrets]
        return ["  remote secrets", *(shown or ["    <none>"])]
    by_state: dict[str, list[Mapping[str, Any]]] = {}
    for secret in secrets:
        by_state.setdefault(secret["state"], []).append(secret)
    parts, explained = [], []
    for state in sorted(by_state, key=lambda state: (state == "ok", state in EXPECTED)):
        some, rest = by_state[state][:NAMED], len(by_state[state]) - NAMED
        names = ", ".join(s["cluster"] for s in some) + (f" and {rest} more" if rest > 0 else "")
        parts.append(
            f"{len(by_state[state])} {state}"
            + ("" if state == "ok" or len(by_state) == 1 else f" ({names})")
        )
        explained += [s for s in some if s["detail"]]
    width = max((len(s["cluster"]) for s in explained), default=0)
    return [
        f"  remote secrets  {len(secrets)}: {', '.join(parts)}",
        *(f"    {s['cluster']:{width}}  {_secret_text(s)}" for s in explained),
    ]


def _secret_text(secret: Mapping[str, Any]) -> str:
    if secret["detail"]:
        return f"{secret['state']}: {one_line(secret['detail'])}"
    server = secret["treeServer"] or secret["server"]
    return f"{secret['state']}, {one_line(server)}" if server else f"{secret['state']}"


def _address(gateway: Mapping[str, Any]) -> str:
    address = gateway["address"]
    return f"[{address}]:{gateway['port']}" if ":" in address else f"{address}:{gateway['port']}"


def _certificate_lines(head: str, certificate: Mapping[str, Any], *, issuer: bool) -> list[str]:
    lines = [f"{head:11}  {one_line(certificate['subject'])}"]
    if issuer:
        lines.append(f"{'':11}  issued by {one_line(certificate['issuer'])}")
    when = certificate["notAfter"].replace("T", " ").removesuffix(":00Z").removesuffix("Z")
    lines.append(
        f"{'':11}  not after {when} UTC ({certificate['daysLeft']} days), {certificate['keyType']}"
    )
    lines.append(f"{'':11}  sha256 {certificate['fingerprint']}")
    return lines


def _pending(pending: Sequence[Mapping[str, str]]) -> list[str]:
    if not pending:
        return ["", "pending: nothing"]
    return [
        "",
        f"pending: {count(len(pending), 'thing')}",
        *(f"  {p['subject']}: {p['what']}\n    {p['command']}" for p in pending),
    ]
