"""Shows where the rotation of each token is, and how old the tokens are."""

from datetime import datetime
from typing import Any

from kubectl_mesh.operations.tokens_status import ClusterTokens, TokensStatus, TokenState


def status_text(status: TokensStatus) -> str:
    """The report for people."""
    lines = []
    for found in status.clusters:
        lines.append(f"{found.cluster.name}  {_step_text(found)}; tree {_tree_state(found)}")
        lines += [f"  {_token_text(token, status.now)}" for token in found.tokens]
    return "\n".join(lines) + "\n"


def _step_text(found: ClusterTokens) -> str:
    cluster = found.cluster
    if cluster.credential.kind != "tokenFile":
        return f"logs in by {cluster.credential.kind}"
    beside = (
        f", {cluster.second_generation} beside it" if cluster.second_generation is not None else ""
    )
    return f"{found.step}, generation {cluster.token_generation}{beside}"


def _tree_state(found: ClusterTokens) -> str:
    return "out of date" if found.is_stale else "up to date"


def _token_text(token: TokenState, now: datetime) -> str:
    whom = f" for {token.peer}" if token.peer else ""
    head = f"generation {token.generation}{whom} ({token.state})"
    if token.file is None:
        return f"{head}: in the store"
    if token.state == "to go":
        return head
    if not token.is_here:
        return f"{head}: {token.file} is not here"
    if token.claims is None:
        return f"{head}: says nothing of itself"
    issued, expires = token.claims.issued, token.claims.expires
    age = f"made {issued:%Y-%m-%d} ({(now - issued).days} days ago), " if issued else ""
    until = (
        "never expires"
        if expires is None
        else f"expires {expires:%Y-%m-%d} ({(expires - now).days} days)"
    )
    return f"{head}: {age}{until}"


def status_json(status: TokensStatus) -> dict[str, Any]:
    """The report for programs."""
    return {
        "clusters": [
            {
                "name": found.cluster.name,
                "credential": found.cluster.credential.kind,
                "step": found.step,
                "generation": found.cluster.token_generation,
                "beside": found.cluster.second_generation,
                "tree": _tree_state(found),
                "tokens": [_token_json(token, status.now) for token in found.tokens],
            }
            for found in status.clusters
        ]
    }


def _token_json(token: TokenState, now: datetime) -> dict[str, Any]:
    issued = token.claims.issued if token.claims is not None else None
    expires = token.claims.expires if token.claims is not None else None
    return {
        "peer": token.peer or None,
        "generation": token.generation,
        "state": token.state,
        "file": token.file,
        "here": token.is_here,
        "readable": token.claims is not None,
        "issued": _time_text(issued),
        "ageDays": (now - issued).days if issued is not None else None,
        "expires": _time_text(expires),
        "daysLeft": (expires - now).days if expires is not None else None,
    }


def _time_text(when: datetime | None) -> str | None:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}" if when is not None else None
