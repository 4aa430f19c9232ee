"""The checks of how the peers log in, and the tokens that end."""

from datetime import datetime, timedelta

from kubectl_mesh.checks.result import ERROR, WARNING, Check
from kubectl_mesh.credentials import claims
from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model import Plan
from kubectl_mesh.plan import token_file

_UNAUTHORIZED = "istiod: `Unauthorized`, and no endpoints of the cluster"
CHECKS = (
    Check(
        "credential-cost",
        "credentials",
        WARNING,
        "peers log in by tokens, which can be taken back",
        "a login that nobody can revoke, or that needs more than a Secret",
        "Use a token file, or do what the finding asks of istiod's image and environment.",
    ),
    Check(
        "credential-readable",
        "credentials",
        ERROR,
        "every file of a credential holds what it should",
        _UNAUTHORIZED,
        "Put into the file what the finding names, alone and in clear.",
    ),
    Check(
        "token-readable", "credentials", ERROR, "every token file holds a token", _UNAUTHORIZED, "Fetch the token again by the command that the finding gives."
    ),
    Check(
        "token-expired",
        "credentials",
        ERROR,
        "no token has expired",
        _UNAUTHORIZED,
        "Fetch a new token, render, review and apply; a token of a Secret (kubernetes.io/service-account-token) does not expire.",
    ),
    Check(
        "token-expiring",
        "credentials",
        WARNING,
        "no token expires soon; within the time of --fail-within it is an error",
        "a cluster that vanishes from the mesh on the day its token expires",
        "Fetch a new token, render, review and apply before that day.",
    ),
    Check(
        "token-old",
        "credentials",
        ERROR,
        "no token that says when it was made is older than --token-age allows, where that is given",
        "a token that was copied years ago, by who knows whom",
        "Move the peers to another token: `kubectl mesh tokens rotate NAME begin`.",
    ),
    Check(
        "token-unique",
        "credentials",
        WARNING,
        "every cluster has a token of its own",
        "istiod: `Unauthorized` from the one whose token it is not",
        "Fetch both tokens again, each from the cluster whose name its file has.",
    ),
    Check(
        "token-pending",
        "credentials",
        WARNING,
        "every token is there",
        "a cluster that its peers do not discover",
        "Apply stage 3 of the cluster, then fetch the token by the command that the finding gives, and render.",
    ),
    Check(
        "next-token-pending",
        "credentials",
        WARNING,
        "no rotation waits for its next token",
        "an old token that stays for years, since nobody went on",
        "Apply stage 3 of the cluster, fetch the next token by the command that the finding gives, and go on; or `tokens rotate NAME abort`.",
    ),
    Check(
        "token-order",
        "credentials",
        ERROR,
        "no token goes in the same render in which its peers move to another",
        "istiod of a cluster that applies late: `Unauthorized`, and no endpoints of the cluster",
        "Go step by step, each rendered and applied everywhere before the next: `kubectl mesh tokens rotate NAME advance`.",
    ),
)


def token_findings(plan: Plan, now: datetime, within: timedelta | None, age: timedelta | None = None) -> tuple[list[Problem], list[Problem]]:
    """Tokens that have expired, or do within a time (without one: 30 days, as a warning), or are older than `age`: errors and warnings.

    One that never expires and says no date, as Kubernetes puts them into Secrets, is no finding.
    """
    errors: list[Problem] = []
    warnings: list[Problem] = []
    for member in plan.members.values():
        for peer, login in sorted(member.logins.items()):
            if peer in member.absent:
                continue
            text = login.get("token")
            said = claims(text) if isinstance(text, str) else None
            if said is None:
                continue
            where = Place(token_file(member.cluster, peer))
            fix = f"have a new one made, put it into {where.file} and render"
            if age is not None and said.issued is not None and now - said.issued > age:
                what = f"was made on {said.issued:%Y-%m-%d}, {(now - said.issued).days} days ago"
                errors.append(Problem(where, what, fix, "token-old"))
            if said.expires is None:
                continue
            left = said.expires - now
            if left <= timedelta():
                errors.append(Problem(where, f"expired on {said.expires:%Y-%m-%d}", fix, "token-expired"))
            elif left <= (within if within is not None else timedelta(days=30)):
                what = f"expires on {said.expires:%Y-%m-%d}, in {left.days} days"
                (errors if within is not None else warnings).append(Problem(where, what, fix, "token-expiring"))
    return errors, warnings
