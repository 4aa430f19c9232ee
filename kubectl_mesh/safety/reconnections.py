"""reconnect: what istiod does when a remote secret changes, by its version, and what clusters need
then.
"""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from kubectl_mesh.credentials.token_rotation import is_push_path
from kubectl_mesh.credentials.token_rotation import remote_secret_holders as holders_of
from kubectl_mesh.delivery import delivery_of
from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.istio.versions import SINCE_FAST_SWAP, can_lose_endpoints, is_exact, minor_version
from kubectl_mesh.model import BUNDLE_FOLDER, STAGES, Cluster, FolderChange, Plan
from kubectl_mesh.model.commands import cluster_command
from kubectl_mesh.safety.refusal import names_text
from kubectl_mesh.safety.remote_secrets import list_secret_changes
from kubectl_mesh.stores import store_of
from kubectl_mesh.text import count_text

MEASURED_LOSS = (
    "measured on 1.30.3: every request into the cluster failed until istiod restarted; with the"
    " restart right after each apply 42 of 6,438 failed (4 s); on 1.31.0 none of 6,218 failed"
)
"""What a changed remote secret costs in requests, each on a connection of its own."""
_LOSS_TEXT = (
    "istiod 1.30.0 to 1.30.3 loses all endpoints of a cluster whose remote secret changes, until it"
    " restarts (Istio's issue 61043)"
)


_CHECK = "secret-change"
"""The check that reports these problems."""
RESTART_CODE = "remote-secret-change-needs-restart"
"""The code of a change of a remote secret after which istiod has to restart."""


class LoginChange(Enum):
    """What happens to the login in a remote secret that changes; the value is what is reported."""

    UNCHANGED = "keeps its login"
    CHANGED = "changes"
    STORE = "changes its store, and perhaps its login, which cannot be compared,"
    RESEALED = "is sealed anew, perhaps with another login, which cannot be compared,"


class Reconnections(NamedTuple):
    """The remote secrets that change in clusters whose istiod loses endpoints by that."""

    refusals: list[Problem]
    """Those that change, without --with-restarts."""
    restarts: list[Problem]
    """The same with --with-restarts: what to run."""
    warnings: list[Problem]
    """Those that cannot be decided offline."""


def find_losing_clusters(clusters: Iterable[Cluster]) -> list[Cluster]:
    """The clusters whose istiod loses the endpoints of a cluster when its remote secret changes; a
    line of releases counts as its worst.
    """
    return [c for c in clusters if any(can_lose_endpoints(r.version) for r in c.releases)]


def find_unversioned_clusters(clusters: Iterable[Cluster]) -> list[Cluster]:
    """The clusters whose Istio version no file states."""
    return [c for c in clusters if any(r.version is None for r in c.releases)]


def restart_problems(place: Place, what: str, holders: Iterable[Cluster]) -> list[Problem]:
    """Why a change of a remote secret is refused without --with-restarts in the clusters that hold
    it.
    """
    clusters = find_losing_clusters(holders)
    if not clusters:
        return []
    lines = any(
        r.version is not None and not is_exact(r.version) for c in clusters for r in c.releases
    )
    patch = " (where it is, state the patch too)" if lines else ""
    fix = (
        f"upgrade Istio to 1.30.4 or later first{patch}; or use --with-restarts, which prints the"
        f" restart of istiod right after each apply\n  {MEASURED_LOSS}"
    )
    fact = f"{what} in {_cluster_names_text(clusters)}: {_LOSS_TEXT}"
    return [Problem(place, fact, fix, _CHECK, code=RESTART_CODE)]


def restart_lines(plan: Plan, holders: Iterable[Cluster], out: str) -> list[str]:
    """What to run where remote secrets change and istiod loses endpoints: one line for each
    cluster, and how to see that they are back.
    """
    clusters = find_losing_clusters(holders)
    if not clusters:
        return []
    delivery, store = delivery_of(plan.topology), store_of(plan.topology)
    if store.WRITER:
        when = f"as soon as {store.WRITER} has written the remote secret"
    elif delivery.RECONCILES:
        when = f"as soon as {delivery.TITLE} has applied it"
    else:
        when = "right after each apply, one cluster after the other"
    by_kubectl = not delivery.RECONCILES and store.private
    look = shlex.join(
        [
            "istioctl",
            f"--context={clusters[0].context}",
            "proxy-config",
            "endpoints",
            "POD.NAMESPACE",
        ]
    )
    return [
        f"restart istiod {when}; until then it has none of the endpoints:",
        *(
            f"  {_restart_command(plan, cluster, out if by_kubectl else None)}"
            for cluster in clusters
        ),
        (
            "see that the endpoints are back, and that requests work on new connections (`istioctl"
            " remote-clusters` says synced throughout):"
        ),
        f"  {look}",
    ]


def _restart_command(plan: Plan, cluster: Cluster, out: str | None) -> str:
    """Applies the remote secrets of a cluster from `out`, if that is done here, and restarts its
    istiod.
    """
    folder = (
        f"{out}/{BUNDLE_FOLDER}"
        if plan.topology.has_remote_secret_bundle
        else f"{out}/{cluster.name}/{STAGES[2]}"
    )
    apply = [cluster_command(cluster, "apply", "-k", folder)] if out is not None else []
    steps = [
        cluster_command(
            cluster, "-n", cluster.namespace, "rollout", step, "deployment", "-l", "app=istiod"
        )
        for step in ("restart", "status")
    ]
    return " && ".join([*apply, *steps])


def find_reconnections(
    plan: Plan,
    changes: Sequence[FolderChange],
    login_changes: Mapping[tuple[str, str], LoginChange],
    out: str,
) -> Reconnections:
    """What a render means for the istiods that hold the remote secrets it changes.

    `login_changes` says of secrets in another store, by directory and peer, what happens to them.
    """
    clusters = {name: member.cluster for name, member in plan.members.items()}
    result = Reconnections([], [], [])
    groups = _changed_peers(plan, changes, login_changes)
    for change, peers in sorted(groups.items(), key=lambda group: group[0].value):
        effect = change.value
        place, what, holding = _locate_peers(clusters, peers, find_losing_clusters)
        lines = "\n  ".join(restart_lines(plan, holding, out))
        if holding and change is LoginChange.CHANGED:
            fact = f"{what} {effect} in {_cluster_names_text(holding)}: {_LOSS_TEXT}"
            result.refusals.extend(restart_problems(place, f"{what} {effect}", holding))
            result.restarts.append(Problem(place, fact, lines, _CHECK, code=RESTART_CODE))
        elif holding:
            fact = (
                f"{what} {effect} in {count_text(len(holding), 'cluster')} whose istiod (1.30.0 to"
                " 1.30.3)"
                " may lose endpoints until it restarts"
            )
            fix = f"if a login changed, {lines}"
            result.warnings.append(
                Problem(place, fact, fix, _CHECK, code="remote-secret-change-may-need-restart")
            )
        place, what, holding = _locate_peers(clusters, peers, find_unversioned_clusters)
        if holding:
            fact, fix = (
                f"{what} {effect} in {_unknown_version_text(holding)}",
                _version_fix(holding[0]),
            )
            result.warnings.append(Problem(place, fact, fix, _CHECK, code="istio-version-unknown"))
    return result


def _changed_peers(
    plan: Plan,
    changes: Sequence[FolderChange],
    login_changes: Mapping[tuple[str, str], LoginChange],
) -> dict[LoginChange, dict[str, dict[str, None]]]:
    """By what happens to them: the peers whose remote secrets change, and who holds them."""
    groups: dict[LoginChange, dict[str, dict[str, None]]] = {}
    for change in changes:
        if (
            change.name in plan.members
            and change.has_differences
            and any(f.action == "update" and is_push_path(f.path) for f in change.changes)
        ):
            groups.setdefault(LoginChange.CHANGED, {})[change.name] = dict.fromkeys(
                holders_of(plan, change.name)
            )
    for name, peer, action in list_secret_changes(plan, changes):
        does = login_changes.get((name, peer), LoginChange.CHANGED)
        if action == "update" and does is not LoginChange.UNCHANGED and peer in plan.members:
            holders = holders_of(plan, peer) if name == BUNDLE_FOLDER else (name,)
            groups.setdefault(does, {}).setdefault(peer, {}).update(dict.fromkeys(holders))
    return groups


def _locate_peers(
    clusters: Mapping[str, Cluster],
    peers: Mapping[str, Iterable[str]],
    select: Callable[[Iterable[Cluster]], list[Cluster]],
) -> tuple[Place, str, list[Cluster]]:
    """The place and the words for the remote secrets of `peers`, and the holders that `select`
    returns.
    """
    names = sorted(peer for peer, holders in peers.items() if select(clusters[h] for h in holders))
    if not names:
        return Place(""), "", []
    more = f" and that of {count_text(len(names) - 1, 'more cluster')}" if len(names) > 1 else ""
    holders = dict.fromkeys(h for peer in names for h in peers[peer])
    return (
        clusters[names[0]].place,
        f"its remote secret{more}",
        select(clusters[h] for h in holders),
    )


def describe_reconnections(clusters: Sequence[Cluster]) -> list[str]:
    """What istiod of each cluster does when a remote secret changes, by its version; text for
    people.
    """
    gap = [
        c.name
        for c in clusters
        if any(
            r.version is not None and minor_version(r.version) < SINCE_FAST_SWAP for r in c.releases
        )
    ]
    risky, unknown = find_losing_clusters(clusters), find_unversioned_clusters(clusters)
    others = {*gap, *(c.name for c in (*risky, *unknown))}
    smooth = [c.name for c in clusters if c.name not in others]
    lines = []
    if gap:
        lines.append(
            f"{', '.join(gap)}: istiod up to 1.29 drops the cluster before it connects anew; until"
            " then it has none of its endpoints (seconds)"
        )
    if risky:
        lines.append(f"{', '.join(c.name for c in risky)}: {_LOSS_TEXT}; {MEASURED_LOSS}")
    if unknown:
        lines.append(f"{_unknown_version_text(unknown)}; {_version_fix(unknown[0])}")
    if smooth:
        lines.append(
            f"{', '.join(smooth)}: istiod connects anew before it drops the old connection; nothing"
            " is missing in between"
        )
    return lines


def _unknown_version_text(clusters: Sequence[Cluster]) -> str:
    return (
        f"{_cluster_names_text(clusters)}, and no file states the version of Istio there, so it"
        " cannot be known"
        " offline whether istiod loses its endpoints"
    )


def _version_fix(cluster: Cluster) -> str:
    version = cluster_command(
        cluster,
        "-n",
        cluster.namespace,
        "get",
        "deployment",
        "-l",
        "app=istiod",
        "-o",
        "jsonpath={..image}",
    )
    return (
        "state istio.version; 1.30.0 to 1.30.3 need a restart of istiod right after the apply;"
        f" this command prints the version: {version}"
    )


def _cluster_names_text(clusters: Sequence[Cluster]) -> str:
    return names_text([cluster.name for cluster in clusters])
