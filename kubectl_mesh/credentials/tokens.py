"""Problems with the tokens of a mesh by their claims; every command asks here."""

from datetime import datetime, timedelta

from kubectl_mesh.credentials.accounts import reader_account, token_command, token_file
from kubectl_mesh.credentials.logins import Claims, parse_claims
from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model import Cluster, Plan
from kubectl_mesh.model.commands import cluster_command
from kubectl_mesh.text import count_text, single_line, value_text

DAY = timedelta(days=1)
TOKEN_CHECKS = frozenset(("token-expired", "token-expiring", "token-account"))
"""The checks of the claims of tokens."""


def token_findings(
    plan: Plan, now: datetime, within: timedelta | None, age: timedelta | None = None
) -> tuple[list[Problem], list[Problem]]:
    """Errors and warnings about tokens that have expired, expire within a time (None: a day; within
    30 days is a warning), are older than `age`, or belong to another account.

    A token without an end, as in a Secret, is not a finding.
    """
    errors: list[Problem] = []
    warnings: list[Problem] = []
    for member in plan.members.values():
        for peer, login in sorted(member.logins.items()):
            if peer in member.sealed_logins:
                continue
            text = login.get("token")
            token_claims = parse_claims(text) if isinstance(text, str) else None
            if token_claims is None:
                continue
            where = Place(token_file(member.cluster, peer))
            fix = f"have a new one made, put it into {where.file} and render"
            warnings += account_problems(where, token_claims, member.cluster, peer)
            if (
                age is not None
                and token_claims.issued is not None
                and now - token_claims.issued > age
            ):
                what = (
                    f"was made on {token_claims.issued:%Y-%m-%d},"
                    f" {(now - token_claims.issued).days} days ago"
                )
                errors.append(Problem(where, what, fix, "token-old", code="token-old"))
            if token_claims.expires is None:
                continue
            left = token_claims.expires - now
            if left <= timedelta():
                what = f"expired on {token_claims.expires:%Y-%m-%d}"
                errors.append(Problem(where, what, fix, "token-expired", code="token-expired"))
                continue
            what = expiring_text(token_claims.expires, now)
            expiring = Problem(where, what, fix, "token-expiring", code="token-expiring")
            if left <= max(within or DAY, DAY):
                errors.append(expiring)
            elif within is None and left <= timedelta(days=30):
                warnings.append(expiring)
    return errors, warnings


def expiring_text(expires: datetime, now: datetime) -> str:
    """When a token ends, and the time until then: in days, or for less than two days in hours or
    minutes.
    """
    left = expires - now
    minutes = int(left.total_seconds() // 60)
    if left < timedelta(hours=2):
        return f"expires at {expires:%Y-%m-%d %H:%M} UTC, in {count_text(minutes, 'minute')}"
    if left < timedelta(days=2):
        return f"expires at {expires:%Y-%m-%d %H:%M} UTC, in {count_text(minutes // 60, 'hour')}"
    return f"expires on {expires:%Y-%m-%d}, in {left.days} days"


def account_problems(
    where: Place, token_claims: Claims, cluster: Cluster, peer: str, generation: int | None = None
) -> list[Problem]:
    """A problem if a token belongs to another account than the rendered reader, by its claims."""
    account = f"system:serviceaccount:{cluster.namespace}:{reader_account(cluster, peer)}"
    if token_claims.account in (None, account):
        return []
    assert token_claims.account is not None
    ask = cluster_command(
        cluster,
        "auth",
        "can-i",
        "list",
        "endpointslices.discovery.k8s.io",
        "--all-namespaces",
        f"--as={single_line(token_claims.account)[:253]}",
    )
    what = (
        f"is the token of {value_text(token_claims.account)}, and the tree lets peers read"
        f" {cluster.name} as"
        f" {account}; whether it works cannot be known offline"
    )
    fix = (
        f"fetch it again: {token_command(cluster, '.', peer, generation)}\n  or see whether that"
        f" account may read the cluster: {ask}"
    )
    return [Problem(where, what, fix, "token-account", code="token-of-other-account")]
