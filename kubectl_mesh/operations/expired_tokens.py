"""Tokens that have expired and would take the place of what the peers log in with."""

from collections.abc import Sequence
from datetime import datetime

from kubectl_mesh.credentials.accounts import SHARED, token_command, token_file
from kubectl_mesh.credentials.logins import claims
from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.fs.folders import join
from kubectl_mesh.model import BUNDLE, FolderChange, Plan
from kubectl_mesh.safety.remote_secrets import changed_secrets
from kubectl_mesh.text import count


def expired(
    directory: str, plan: Plan, changes: Sequence[FolderChange], out: str, now: datetime
) -> list[Problem]:
    """The tokens that a render would put into remote secrets though they open nothing any more;
    those that stay as they are, `check` tells.
    """
    ended = {
        (peer, key): said.expires
        for peer, member in plan.members.items()
        for key, login in member.logins.items()
        if key not in member.absent and isinstance(text := login.get("token"), str)
        if (said := claims(text)) is not None and said.expires is not None and said.expires <= now
    }
    dead: dict[tuple[str, str], list[str]] = {}
    for name, peer, action in changed_secrets(plan, changes) if ended else ():
        own = name != BUNDLE and peer in plan.members and name in plan.members[peer].logins
        if action in ("create", "update") and (peer, name if own else SHARED) in ended:
            dead.setdefault((peer, name if own else SHARED), []).append(name)
    found = []
    for (peer, key), names in dead.items():
        cluster = plan.members[peer].cluster
        what = (
            f"expired on {ended[peer, key]:%Y-%m-%d}, and would go into"
            f" {count(len(names), 'remote secret')} (as in {out}/{names[0]})"
        )
        found.append(
            Problem(
                Place(join(directory, token_file(cluster, key))),
                what,
                f"fetch it again: {token_command(cluster, directory, key)}",
                "token-expired",
            )
        )
    return found
