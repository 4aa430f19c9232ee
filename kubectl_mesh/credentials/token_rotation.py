"""generations: where a cluster's token stands between two generations, what the next step changes,
and what has to be seen before it.

Three renders: a second Secret beside the first, the peers move to its token, the first Secret goes.
Each may be applied as late and in whatever order one likes, but the third has to wait until all
peers have applied the second.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from kubectl_mesh.credentials.accounts import SHARED_READER, reader_account, reader_secret
from kubectl_mesh.errors import Problem
from kubectl_mesh.model import BUNDLE_FOLDER, REMOTE_SECRETS_PREFIX, Cluster, FolderChange, Plan
from kubectl_mesh.model.commands import cluster_command
from kubectl_mesh.text import count_text, mesh_command

STEADY, BEGUN, MOVED = "steady", "begun", "moved"
_TOKEN = re.compile(r"3-mesh/reader(?:-(.+?))?-token(?:-g([0-9]+))?\.yaml")
_PUSH = re.compile(r"3-mesh/reader(?:-.+)?-push\.yaml")


def rotation_step(cluster: Cluster) -> str:
    """Where a cluster stands: `steady` (one token), `begun` (a second beside it), `moved` (the
    peers use the second, the first is still there).
    """
    return (
        STEADY
        if cluster.second_generation is None
        else BEGUN
        if cluster.next_generation is not None
        else MOVED
    )


def begin_rotation(cluster: Cluster, used_generations: Iterable[int]) -> dict[str, int]:
    """The `tokens` of a cluster after `begin`; a generation that was (`last`), or of which there is
    a file (`taken`), never comes again.

    Its token would be another; and who is late with the render that takes the Secret away would
    take away the new one.
    """
    return {
        "generation": cluster.token_generation,
        "beside": max((cluster.token_generation, cluster.highest_generation, *used_generations))
        + 1,
    }


def advance_rotation(cluster: Cluster) -> dict[str, int]:
    """After `advance`."""
    assert cluster.second_generation is not None
    return (
        {"generation": cluster.second_generation, "beside": cluster.token_generation}
        if rotation_step(cluster) == BEGUN
        else {"generation": cluster.token_generation}
    )


def abort_rotation(cluster: Cluster, *, was_rendered: bool = True) -> dict[str, int]:
    """After `abort`: one step back; `was`: the second token was rendered, so clusters may have
    it.
    """
    assert cluster.second_generation is not None
    if rotation_step(cluster) == MOVED:
        return {"generation": cluster.second_generation, "beside": cluster.token_generation}
    last = cluster.second_generation if was_rendered else cluster.second_generation - 1
    if last > cluster.token_generation:
        return {"generation": cluster.token_generation, "last": last}
    return {"generation": cluster.token_generation} if cluster.token_generation > 1 else {}


def remote_secret_holders(plan: Plan, name: str) -> tuple[str, ...]:
    """The clusters whose istiod holds a remote secret for a cluster."""
    if plan.topology.has_remote_secret_bundle:
        return tuple(
            h
            for h, m in plan.members.items()
            if h != name and m.cluster.is_joined and m.primary is None
        )
    return plan.members[name].readers


def verification_commands(
    plan: Plan,
    name: str,
    digests: Mapping[str, str],
    find_arrival: Callable[[Cluster, str], tuple[str, str] | None],
) -> list[tuple[str, str]]:
    """Before the last token goes: the command for each holder, and what it has to print.

    `find_arrival` gives both for a cluster and a remote secret that a store outside of the tree
    fills, as `Store.arrival_command` does.
    `digests` are the SHA-256 of what each remote secret holds in base64, by holder; of those that
    are not known here there is none.
    """
    found = []
    for holder in remote_secret_holders(plan, name):
        cluster = plan.members[holder].cluster
        arrival = find_arrival(cluster, f"istio-remote-secret-{name}")
        if arrival is not None:
            found.append(arrival)
        else:
            value = f'go-template={{{{index .data "{name}"}}}}'
            get = cluster_command(
                cluster,
                "-n",
                cluster.namespace,
                "get",
                "secret",
                f"istio-remote-secret-{name}",
                "-o",
                value,
            )
            found.append((f"{get} | sha256sum", digests.get(holder, "")))
    return found


def is_token_path(path: str) -> bool:
    """Whether a file of a cluster's directory is a Secret for a token, or pushes one."""
    return bool(_TOKEN.fullmatch(path)) or is_push_path(path)


def is_push_path(path: str) -> bool:
    """Whether a file of a cluster's directory pushes a token into a store of the user's."""
    return bool(_PUSH.fullmatch(path))


def skipped_step_problems(plan: Plan, changes: Sequence[FolderChange]) -> list[Problem]:
    """Tokens that would go in the same render in which the peers move to another: whoever applies
    it late is locked out.
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
            elif file.action == "update" and _PUSH.fullmatch(file.path):
                moving.setdefault(change.name, []).append(change.name)
    found = []
    for name, secrets in removed_secrets(plan, changes).items():
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
            found.append(
                Problem(cluster.place, what, fix, "token-order", code="token-removed-too-early")
            )
    return found


def removed_secrets(plan: Plan, changes: Sequence[FolderChange]) -> dict[str, list[str]]:
    """The Secrets of token generations that leave the tree of a cluster that peers still log in to
    by a token.
    """
    found: dict[str, list[str]] = {}
    for change in changes:
        member = plan.members.get(change.name)
        if (
            not change.has_differences
            or member is None
            or not member.readers
            or member.cluster.credential.kind != "tokenFile"
        ):
            continue
        for file in change.changes:
            match = _TOKEN.fullmatch(file.path)
            peer = (match[1] or SHARED_READER) if match else SHARED_READER
            known = member.readers if plan.topology.reader_per_peer else (SHARED_READER,)
            if (
                match
                and file.action == "remove"
                and peer in known
                and int(match[2] or 1) not in member.cluster.token_generations
            ):
                found.setdefault(change.name, []).append(
                    reader_secret(member.cluster, peer, int(match[2] or 1))
                )
    return found


def delete_secret_commands(plan: Plan, changes: Sequence[FolderChange]) -> list[str]:
    """The commands that take such Secrets out of the clusters, and the tokens in them with it."""
    return [
        cluster_command(
            plan.members[name].cluster,
            "-n",
            plan.members[name].cluster.namespace,
            "delete",
            "secret",
            secret,
            "--ignore-not-found",
        )
        for name, secrets in removed_secrets(plan, changes).items()
        for secret in secrets
    ]


def rotated_accounts(plan: Plan, name: str) -> list[str]:
    """The accounts of a cluster whose tokens are rotated."""
    member = plan.members[name]
    return [
        reader_account(member.cluster, peer)
        for peer in (member.readers if plan.topology.reader_per_peer else (SHARED_READER,))
    ]
