"""The description of a mesh as JSON, cluster by cluster."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from kubectl_mesh.credentials.logins import parse_claims
from kubectl_mesh.model import (
    BUNDLE_FOLDER,
    REMOTE_SECRETS_PREFIX,
    Certificate,
    Change,
    Member,
    Pki,
    Plan,
    Topology,
)
from kubectl_mesh.observed.secret_states import SecretState, secret_path
from kubectl_mesh.operations.describe import Description
from kubectl_mesh.reports.problems import problems_json, refusal_json


class _Shown:
    """What the description of a cluster is made from, by name and directory."""

    def __init__(self, known: Description) -> None:
        self.plan, self.pki, self.now = known.plan, known.pki, known.now
        self.out, self.states = known.out, known.secret_states
        self.by_name = {change.name: change for change in known.changes}
        self.files = {name: _secret_files(name, paths) for name, paths in known.files.items()}
        self.committed = _committed_files(known.committed_paths)
        self.expired = _expired_tokens(known)
        self.bundles: dict[tuple[bool, bool, bool], Mapping[str, dict[str, Any]]] = {}
        """With a bundle, the remote secrets as clusters of one kind have them."""


def _expired_tokens(known: Description) -> frozenset[tuple[str, str]]:
    """The tokens that have ended, by cluster and peer."""
    return frozenset(
        (name, peer)
        for name, member in known.plan.members.items()
        for peer, login in member.logins.items()
        if isinstance(login.get("token"), str)
        and (said := parse_claims(str(login["token"]))) is not None
        and said.expires is not None
        and said.expires <= known.now
    )


def describe_json(known: Description) -> dict[str, Any]:
    """The mesh for programs; its schema is `report/describe`. Certificates that are not made yet
    are null.
    """
    plan, pki, only, now = known.plan, known.pki, known.selected_clusters, known.now
    made_root = any(path.startswith("root-") for path in pki.new_files)
    topology, shown = plan.topology, _Shown(known)
    near = {plan.members[name].cluster.network for name in only or ()}
    return {
        "mesh": topology.mesh_id,
        "organization": find_organization(topology, pki),
        "controlPlane": known.kind,
        "issuer": topology.issuer,
        "store": topology.store,
        "networks": sorted({c.network for c in topology.clusters}),
        "total": len(topology.clusters),
        "crl": _crl_json(pki, now),
        "roots": [] if made_root else [_certificate_json(c, now) for c in pki.roots],
        "clusters": [
            _cluster_json(shown, m) | {"counts": _secret_counts_json(shown, m)}
            for name, m in plan.members.items()
            if only is None or name in only
        ],
        "pending": [
            p.pending_json()
            for p in plan.pending
            if (only is None or p.subject in only or p.subject in near)
            and (p.kind, p.subject) not in known.broken_inputs
        ],
        "refused": [refusal_json(problem) for problem in known.refusal_problems],
        "assumed": known.assumption or None,
        "problems": problems_json(known.problems),
    }


def find_organization(topology: Topology, pki: Pki) -> str:
    """The O= of the mesh's certificates: what the topology states, else that of the root."""
    by_root = (
        pki.roots[0].organization if pki.roots and not topology.has_stated_organization else None
    )
    return by_root or topology.organization


def _crl_json(pki: Pki, now: datetime) -> dict[str, Any] | None:
    if pki.crl is None:
        return None
    return {
        "number": pki.crl.number,
        "nextUpdate": f"{pki.crl.next_update:%Y-%m-%dT%H:%M:%SZ}",
        "daysLeft": (pki.crl.next_update - now).days,
        "revoked": [
            {"serial": serial, "since": f"{since:%Y-%m-%dT%H:%M:%SZ}"}
            for serial, since in pki.crl.revoked
        ],
    }


def _certificate_json(certificate: Certificate, now: datetime) -> dict[str, Any]:
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


def _cluster_json(shown: _Shown, member: Member) -> dict[str, Any]:
    cluster, pki, now = member.cluster, shown.pki, shown.now
    change = shown.by_name.get(cluster.name)
    made = (
        f"intermediate-{cluster.name}/ca-cert.pem" in pki.new_files
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
        "joined": cluster.is_joined,
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
        "credential": cluster.credential.kind,
        "token": bool(member.logins),
        "tokens": _tokens_json(member, now),
        "tokenGeneration": cluster.token_generation,
        "tokenBeside": cluster.second_generation,
        "gateways": [{"address": g.address, "port": g.port} for g in gateways],
        "certificate": (
            None if made else _certificate_json(pki.intermediates[cluster.name].certificate, now)
        ),
        "directory": f"{shown.out}/{cluster.name}",
        "tree": "not compared" if change is None else states[change.action],
        "remoteSecrets": _remote_secrets_json(shown, member),
    }


def _secret_directory(plan: Plan, member: Member) -> str:
    """The directory that has the remote secrets of a cluster."""
    return BUNDLE_FOLDER if plan.topology.has_remote_secret_bundle else member.cluster.name


def _remote_secrets_json(shown: _Shown, member: Member) -> list[dict[str, Any]]:
    """The remote secrets of all other clusters. With a bundle, clusters of one kind have the same
    ones, which are described once.
    """
    kind = (member.cluster.is_joined, member.primary is not None, member.lacks_intermediate)
    found = shown.bundles.get(kind)
    if found is None:
        members = shown.plan.members
        change = shown.by_name.get(_secret_directory(shown.plan, member))
        files = {c.path: c for c in change.changes} if change is not None else None
        bundled = shown.plan.topology.has_remote_secret_bundle
        peers = frozenset(members if bundled else member.peers)
        found = {
            name: _remote_secret_json(shown, member, other, files, peers)
            for name, other in members.items()
        }
        if bundled:
            shown.bundles[kind] = found
    return [secret for name, secret in found.items() if name != member.cluster.name]


def _remote_secret_json(
    shown: _Shown,
    member: Member,
    other: Member,
    files: Mapping[str, Change] | None,
    peers: frozenset[str],
) -> dict[str, Any]:
    found = _secret_state(shown, member, other, files, peers)
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
    folder = "" if directory == BUNDLE_FOLDER else REMOTE_SECRETS_PREFIX
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


def _secret_counts_json(shown: _Shown, member: Member) -> dict[str, int | None]:
    """How many remote secrets the topology asks for, how many lie in the tree, and how many git's
    HEAD has.
    """
    bundled, name = (
        shown.plan.topology.has_remote_secret_bundle
        and member.primary is None
        and member.cluster.is_joined,
        member.cluster.name,
    )

    def count_others(files: Mapping[str, frozenset[str]]) -> int:
        found = files.get(BUNDLE_FOLDER if bundled else name, frozenset())
        return len(found) - (f"{name}.yaml" in found)

    return {
        "declared": len(member.peers),
        "rendered": count_others(shown.files),
        "committed": None if shown.committed is None else count_others(shown.committed),
    }


def _tokens_json(member: Member, now: datetime) -> list[dict[str, Any]]:
    """What the tokens say of themselves; one that says nothing is opaque."""
    found = []
    for peer, login in sorted(member.logins.items()):
        token = login.get("token")
        said = parse_claims(token) if isinstance(token, str) else None
        if isinstance(token, str) and peer not in member.sealed_logins:
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


def _secret_state(
    shown: _Shown,
    member: Member,
    other: Member,
    files: Mapping[str, Change] | None,
    peers: frozenset[str],
) -> SecretState:
    if not member.cluster.is_joined or not other.cluster.is_joined:
        return SecretState("off")
    if member.primary is not None:
        return SecretState("not held here")
    name, directory = other.cluster.name, _secret_directory(shown.plan, member)
    if name not in peers:
        return SecretState("not a peer")
    if files is None and (directory, name) in shown.states:
        return shown.states[directory, name]
    if other.server is None:
        return SecretState("server pending")
    if other.peer_login(member.cluster.name) is None:
        return SecretState("token pending")
    if member.lacks_intermediate:
        return SecretState("not rendered")
    change = files.get(secret_path(directory, name)) if files is not None else None
    if change is None or change.action == "create":
        gone = (
            change.was_edited if change is not None else files is None and directory in shown.files
        )
        return SecretState("not found" if gone else "not rendered")
    if change.action != "update":
        holder = "" if shown.plan.topology.has_remote_secret_bundle else member.cluster.name
        ended = (name, holder if holder in other.logins else "") in shown.expired
        return SecretState("expired token") if ended else SecretState("ok")
    return shown.states[directory, name]
