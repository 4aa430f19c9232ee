"""Tokens that peers log in with: those that would leave too early, and those that have expired."""

from collections.abc import Sequence
from datetime import datetime

from kubectl_mesh.credentials import token_rotation
from kubectl_mesh.credentials.accounts import SHARED_READER, token_command, token_file
from kubectl_mesh.credentials.logins import parse_claims
from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model import BUNDLE_FOLDER, REMOTE_SECRETS_PREFIX, FolderChange, Plan
from kubectl_mesh.safety.planned_render import PlannedRender
from kubectl_mesh.safety.refusal import TOKEN_ORDER_CHECK
from kubectl_mesh.safety.remote_secrets import list_secret_changes
from kubectl_mesh.text import count_text, mesh_command


def expired_token_problems(out: str, render: PlannedRender) -> list[Problem]:
    """The tokens that a render would put into remote secrets though they have expired; those that
    stay as they are, `check` reports.
    """
    plan, directory = render.plan, render.directory
    expired = _expired_tokens(plan, render.now)
    receivers: dict[tuple[str, str], list[str]] = {}
    for name, peer, action in list_secret_changes(plan, render.changes) if expired else ():
        own = name != BUNDLE_FOLDER and peer in plan.members and name in plan.members[peer].logins
        token = peer, name if own else SHARED_READER
        if action in ("create", "update") and token in expired:
            receivers.setdefault(token, []).append(name)
    found = []
    for (peer, key), names in receivers.items():
        cluster = plan.members[peer].cluster
        what = (
            f"expired on {expired[peer, key]:%Y-%m-%d}, and would go into"
            f" {count_text(len(names), 'remote secret')} (as in {out}/{names[0]})"
        )
        place = Place(join_path(directory, token_file(cluster, key)))
        fix = f"fetch it again: {token_command(cluster, directory, key)}"
        found.append(Problem(place, what, fix, "token-expired", code="token-expired"))
    return found


def _expired_tokens(plan: Plan, now: datetime) -> dict[tuple[str, str], datetime]:
    """When the tokens that have expired did, by peer and holder."""
    return {
        (peer, key): claims.expires
        for peer, member in plan.members.items()
        for key, login in member.logins.items()
        if key not in member.sealed_logins and isinstance(text := login.get("token"), str)
        if (claims := parse_claims(text)) is not None
        and claims.expires is not None
        and claims.expires <= now
    }


def skipped_step_problems(plan: Plan, changes: Sequence[FolderChange]) -> list[Problem]:
    """Tokens that would be removed in the same render in which peers move to another token; a
    cluster that applies it late would lose access.
    """
    moving: dict[str, list[str]] = {}
    for change in changes:
        for file in change.changes if change.has_differences else ():
            name = (
                file.path.removesuffix(".yaml")
                if change.name == BUNDLE_FOLDER
                else file.path.removeprefix(REMOTE_SECRETS_PREFIX).removesuffix(".yaml")
            )
            if file.action == "update" and (
                change.name == BUNDLE_FOLDER or file.path.startswith(REMOTE_SECRETS_PREFIX)
            ):
                moving.setdefault(name, []).append(change.name)
            elif file.action == "update" and token_rotation.is_push_path(file.path):
                moving.setdefault(change.name, []).append(change.name)
    problems = []
    for name, secrets in token_rotation.removed_secrets(plan, changes).items():
        if name in moving:
            cluster = plan.members[name].cluster
            what = (
                f"its Secret {secrets[0]} would go in the same render in which"
                f" {count_text(len(moving[name]), 'directory')} would move to another token"
            )
            fix = (
                "go one step at a time: put back what tokens said, and run"
                f" `{mesh_command(f'tokens rotate {name} advance')}`"
            )
            problems.append(
                Problem(cluster.place, what, fix, TOKEN_ORDER_CHECK, code="token-removed-too-early")
            )
    return problems


def early_removal_problems(render: PlannedRender) -> list[Problem]:
    """Tokens that would leave although peers that the render leaves as they are may still use
    them.
    """
    plan = render.plan
    found = []
    for name, secrets in token_rotation.removed_secrets(plan, render.running_changes).items():
        late = [
            h
            for h in sorted(render.running_clusters & plan.members.keys())
            if h not in render.rendered_folders
            and name in plan.members[h].peers
            and not render.has_login(h, name)
        ]
        if late:
            what = (
                f"its Secret {secrets[0]} would go, and {', '.join(late[:3])} may still log in"
                " by it: nothing here shows another token there"
            )
            place = plan.members[name].cluster.place
            fix = "render all clusters, or first those whose peers have to move"
            found.append(
                Problem(place, what, fix, TOKEN_ORDER_CHECK, code="token-in-use-would-leave")
            )
    return found
