"""Tokens that have expired and would take the place of what the peers log in with."""

from collections.abc import Sequence
from datetime import datetime

from kubectl_mesh.cli.workdir import join
from kubectl_mesh.credentials import claims
from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model import BUNDLE, FolderChange, Plan
from kubectl_mesh.plan import token_command, token_file
from kubectl_mesh.report import changed_secrets
from kubectl_mesh.words import count


def expired(directory: str, plan: Plan, changes: Sequence[FolderChange], out: str, now: datetime) -> list[Problem]:
    """The tokens that a render would put into remote secrets though they open nothing any more; those that stay as they are, `check` tells."""
    dead: dict[tuple[str, str], list[str]] = {}
    for name, peer, action in changed_secrets(plan, changes):
        member = plan.members.get(peer)
        if action not in ("create", "update") or member is None:
            continue
        key = name if name in member.logins and name != BUNDLE else ""
        text = member.logins.get(key, {}).get("token")
        if isinstance(text, str) and key not in member.absent and (said := claims(text)) is not None and said.expires is not None and said.expires <= now:
            dead.setdefault((peer, key), []).append(name)
    found = []
    for (peer, key), names in dead.items():
        cluster = plan.members[peer].cluster
        ended = claims(str(plan.members[peer].logins[key]["token"]))
        assert ended is not None
        what = f"expired on {ended.expires:%Y-%m-%d}, and would go into {count(len(names), 'remote secret')} (as in {out}/{names[0]})"
        found.append(
            Problem(Place(join(directory, token_file(cluster, key))), what, f"fetch it again: {token_command(cluster, directory, key)}", "token-expired")
        )
    return found
