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
from kubectl_mesh.safety.refusal import name_some
from kubectl_mesh.safety.remote_secrets import changed_secrets
from kubectl_mesh.stores import store_of
from kubectl_mesh.text import count_text

MEASURED = (
    "measured on 1.30.3: every request into the cluster failed until istiod restarted; with the"
    " restart right after each apply 42 of 6,438 failed (4 s); on 1.31.0 none of 6,218 failed"
)
"""What a changed remote secret costs in requests, each on a connection of its own."""
_LOSES = (
    "istiod 1.30.0 to 1.30.3 loses all endpoints of a cluster whose remote secret changes, until it"
    " restarts (Istio's issue 61043)"
)


_CHECK = "secret-change"
"""The check that reports these problems."""
RESTART = "remote-secret-change-needs-restart"
"""The code of a change of a remote secret after which istiod has to restart."""


class LoginChange(Enum):
    """What happens to the login in a remote secret that changes; the value is what is reported."""

    NONE = "keeps its login"
    OTHER = "changes"
    STORE = "changes its store, and perhaps its login, which cannot be compared,"
    RESEALED = "is sealed anew, perhaps with another login, which cannot be compared,"


class Reconnections(NamedTuple):
    """The remote secrets that change in clusters whose istiod loses endpoints by that."""

    refusals: list[Problem]
    """Those that change, without --with-restarts."""
    restarts: list[Problem]
    """The same with --with-restarts: what to run."""
    warnings: list[Problem]
    """Those of which it cannot be known here."""


def losing(clusters: Iterable[Cluster]) -> list[Cluster]:
    """The clusters whose istiod loses the endpoints of a cluster when its remote secret changes; a
    line of releases counts as its worst.
    """
    return [c for c in clusters if any(can_lose_endpoints(r.version) for r in c.releases)]


def unversioned(clusters: Iterable[Cluster]) -> list[Cluster]:
    """The clusters of which no file states the version of Istio."""
    return [c for c in clusters if any(r.version is None for r in c.releases)]


def restart_problems(place: Place, what: str, holders: Iterable[Cluster]) -> list[Problem]:
    """Why a change of a remote secret is refused without --with-restarts in the clusters that hold
    it.
    """
    clusters = losing(holders)
    if not clusters:
        return []
    lines = any(
        r.version is not None and not is_exact(r.version) for c in clusters for r in c.releases
    )
    patch = " (where it is, state the patch too)" if lines else ""
    fix = (
        f"upgrade Istio to 1.30.4 or later first{patch}; or use --with-restarts, which prints the"
        f" restart of istiod right after each apply\n  {MEASURED}"
    )
    fact = f"{what} in {_names(clusters)}: {_LOSES}"
    return [Problem(place, fact, fix, _CHECK, code=RESTART)]


def restart_lines(plan: Plan, holders: Iterable[Cluster], out: str) -> list[str]:
    """What to run where remote secrets change and istiod loses endpoints: one line for each
    cluster, and how to see that they are back.
    """
    clusters = losing(holders)
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
        *(f"  {_restart(plan, cluster, out if by_kubectl else None)}" for cluster in clusters),
        (
            "see that the endpoints are back, and that requests work on new connections (`istioctl"
            " remote-clusters` says synced throughout):"
        ),
        f"  {look}",
    ]


def _restart(plan: Plan, cluster: Cluster, out: str | None) -> str:
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
    resealed: Mapping[tuple[str, str], LoginChange],
    out: str,
) -> Reconnections:
    """What a render means for the istiods that hold the remote secrets it changes.

    `resealed` has those that are held in another way from now on, by directory and peer.
    """
    clusters = {name: member.cluster for name, member in plan.members.items()}
    found = Reconnections([], [], [])
    groups = _changed_peers(plan, changes, resealed)
    for change, peers in sorted(groups.items(), key=lambda group: group[0].value):
        does = change.value
        place, what, holding = _concerned(clusters, peers, losing)
        lines = "\n  ".join(restart_lines(plan, holding, out))
        if holding and change is LoginChange.OTHER:
            fact = f"{what} {does} in {_names(holding)}: {_LOSES}"
            found.refusals.extend(restart_problems(place, f"{what} {does}", holding))
            found.restarts.append(Problem(place, fact, lines, _CHECK, code=RESTART))
        elif holding:
            fact = (
                f"{what} {does} in {count_text(len(holding), 'cluster')} whose istiod (1.30.0 to"
                " 1.30.3)"
                " may lose endpoints until it restarts"
            )
            fix = f"if a login changed, {lines}"
            found.warnings.append(
                Problem(place, fact, fix, _CHECK, code="remote-secret-change-may-need-restart")
            )
        place, what, holding = _concerned(clusters, peers, unversioned)
        if holding:
            fact, fix = f"{what} {does} in {_unknown(holding)}", _ask(holding[0])
            found.warnings.append(Problem(place, fact, fix, _CHECK, code="istio-version-unknown"))
    return found


def _changed_peers(
    plan: Plan, changes: Sequence[FolderChange], resealed: Mapping[tuple[str, str], LoginChange]
) -> dict[LoginChange, dict[str, dict[str, None]]]:
    """By what happens to them: the peers whose remote secrets change, and who holds them."""
    groups: dict[LoginChange, dict[str, dict[str, None]]] = {}
    for change in changes:
        if (
            change.name in plan.members
            and change.has_differences
            and any(f.action == "update" and is_push_path(f.path) for f in change.changes)
        ):
            groups.setdefault(LoginChange.OTHER, {})[change.name] = dict.fromkeys(
                holders_of(plan, change.name)
            )
    for name, peer, action in changed_secrets(plan, changes):
        does = resealed.get((name, peer), LoginChange.OTHER)
        if action == "update" and does is not LoginChange.NONE and peer in plan.members:
            holders = holders_of(plan, peer) if name == BUNDLE_FOLDER else (name,)
            groups.setdefault(does, {}).setdefault(peer, {}).update(dict.fromkeys(holders))
    return groups


def _concerned(
    clusters: Mapping[str, Cluster],
    peers: Mapping[str, Iterable[str]],
    such: Callable[[Iterable[Cluster]], list[Cluster]],
) -> tuple[Place, str, list[Cluster]]:
    """Where remote secrets are of whom, in words, and the clusters among their holders that are
    `such`.
    """
    names = sorted(peer for peer, holders in peers.items() if such(clusters[h] for h in holders))
    if not names:
        return Place(""), "", []
    more = f" and that of {count_text(len(names) - 1, 'more cluster')}" if len(names) > 1 else ""
    holders = dict.fromkeys(h for peer in names for h in peers[peer])
    return clusters[names[0]].place, f"its remote secret{more}", such(clusters[h] for h in holders)


def effects(clusters: Sequence[Cluster]) -> list[str]:
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
    risky, unknown = losing(clusters), unversioned(clusters)
    others = {*gap, *(c.name for c in (*risky, *unknown))}
    smooth = [c.name for c in clusters if c.name not in others]
    lines = []
    if gap:
        lines.append(
            f"{', '.join(gap)}: istiod up to 1.29 drops the cluster before it connects anew; until"
            " then it has none of its endpoints (seconds)"
        )
    if risky:
        lines.append(f"{', '.join(c.name for c in risky)}: {_LOSES}; {MEASURED}")
    if unknown:
        lines.append(f"{_unknown(unknown)}; {_ask(unknown[0])}")
    if smooth:
        lines.append(
            f"{', '.join(smooth)}: istiod connects anew before it drops the old connection; nothing"
            " is missing in between"
        )
    return lines


def _unknown(clusters: Sequence[Cluster]) -> str:
    return (
        f"{_names(clusters)}, and no file states the version of Istio there, so it cannot be known"
        " offline whether istiod loses its endpoints"
    )


def _ask(cluster: Cluster) -> str:
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


def _names(clusters: Sequence[Cluster]) -> str:
    return name_some([cluster.name for cluster in clusters])
