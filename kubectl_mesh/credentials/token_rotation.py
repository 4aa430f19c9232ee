"""The steps of a token rotation: the state of a cluster, what the next step changes, and what must
be verified before it.

A rotation has three renders: a second Secret next to the first one, peers use its token, the first
Secret is removed. Each can be applied late and in any order, but the third must wait until all
peers have applied the second.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from kubectl_mesh.credentials.accounts import SHARED_READER, reader_account, reader_secret
from kubectl_mesh.model import Cluster, FolderChange, Plan
from kubectl_mesh.model.commands import cluster_command

STEADY, BEGUN, MOVED = "steady", "begun", "moved"
_TOKEN = re.compile(r"3-mesh/reader(?:-(.+?))?-token(?:-g([0-9]+))?\.yaml")
_PUSH = re.compile(r"3-mesh/reader(?:-.+)?-push\.yaml")


def rotation_step(cluster: Cluster) -> str:
    """The state of a cluster: `steady` (one token), `begun` (a second token exists), `moved` (peers
    use the second token, the first one still exists).
    """
    return (
        STEADY
        if cluster.second_generation is None
        else BEGUN
        if cluster.next_generation is not None
        else MOVED
    )


def begin_rotation(cluster: Cluster, used_generations: Iterable[int]) -> dict[str, int]:
    """The `tokens` of a cluster after `begin`. A former generation, or one with a file
    (`used_generations`), is never used again.

    Its token would be another one, and a cluster that applies the removal of its Secret late would
    remove the new one.
    """
    return {
        "generation": cluster.token_generation,
        "beside": max((cluster.token_generation, cluster.highest_generation, *used_generations))
        + 1,
    }


def advance_rotation(cluster: Cluster) -> dict[str, int]:
    """The `tokens` of a cluster after `advance`."""
    assert cluster.second_generation is not None
    return (
        {"generation": cluster.second_generation, "beside": cluster.token_generation}
        if rotation_step(cluster) == BEGUN
        else {"generation": cluster.token_generation}
    )


def abort_rotation(cluster: Cluster, *, was_rendered: bool = True) -> dict[str, int]:
    """The `tokens` of a cluster after `abort`, one step back. `was_rendered`: the second token was
    rendered, so clusters may have it.
    """
    assert cluster.second_generation is not None
    if rotation_step(cluster) == MOVED:
        return {"generation": cluster.second_generation, "beside": cluster.token_generation}
    last = cluster.second_generation if was_rendered else cluster.second_generation - 1
    if last > cluster.token_generation:
        return {"generation": cluster.token_generation, "last": last}
    return {"generation": cluster.token_generation} if cluster.token_generation > 1 else {}


def remote_secret_holders(plan: Plan, name: str) -> tuple[str, ...]:
    """The clusters whose istiod has a remote secret for a cluster."""
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
    """The commands to run in each holder before the last token is removed, each with the expected
    output.

    `digests` are the SHA-256 of the base64 in each remote secret, by holder; unknown ones are
    missing.
    """
    commands = []
    for holder in remote_secret_holders(plan, name):
        cluster = plan.members[holder].cluster
        arrival = find_arrival(cluster, f"istio-remote-secret-{name}")
        if arrival is not None:
            commands.append(arrival)
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
            commands.append((f"{get} | sha256sum", digests.get(holder, "")))
    return commands


def is_token_path(path: str) -> bool:
    """Whether a path of a cluster's directory is a Secret with a token, or pushes one."""
    return bool(_TOKEN.fullmatch(path)) or is_push_path(path)


def is_push_path(path: str) -> bool:
    """Whether a path of a cluster's directory pushes a token into an external store."""
    return bool(_PUSH.fullmatch(path))


def removed_secrets(plan: Plan, changes: Sequence[FolderChange]) -> dict[str, list[str]]:
    """The Secrets of token generations that are removed from the tree, by cluster, where peers
    still log in with a token.
    """
    secrets: dict[str, list[str]] = {}
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
                secrets.setdefault(change.name, []).append(
                    reader_secret(member.cluster, peer, int(match[2] or 1))
                )
    return secrets


def delete_secret_commands(plan: Plan, changes: Sequence[FolderChange]) -> list[str]:
    """The commands that delete the removed Secrets, and with them their tokens, from the
    clusters.
    """
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
