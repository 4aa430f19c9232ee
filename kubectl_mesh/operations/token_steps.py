"""What must be true before a step of the rotation of a token."""

from collections.abc import Iterator
from datetime import timedelta

from kubectl_mesh.credentials import token_rotation
from kubectl_mesh.credentials.accounts import reader_secret, token_command, token_file
from kubectl_mesh.credentials.logins import Claims, parse_claims
from kubectl_mesh.credentials.tokens import DAY, account_problems, expiring_text
from kubectl_mesh.errors import MeshError, Place, Problem, refuse
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.read import read_inside
from kubectl_mesh.model import Cluster
from kubectl_mesh.operations.build import RenderedMesh
from kubectl_mesh.operations.checked_inputs import CheckedInputs
from kubectl_mesh.safety import reconnections, rollout
from kubectl_mesh.stores import store_of
from kubectl_mesh.text import mesh_command

PUSH_DELAY = timedelta(hours=2)
"""How long it takes at most until the peers have a token that goes through a store of the user's:
each side looks once an hour.
"""


def check_step(rendered: RenderedMesh, cluster: Cluster, step: str) -> None:
    """Raises a `MeshError` if a step cannot follow the present one."""
    way, at = cluster.credential.kind, token_rotation.rotation_step(cluster)
    place = str(cluster.place)
    if way != "tokenFile":
        raise refuse(
            place,
            f"peers log in to it by {way}, and only tokens are rotated here",
            "change what credential names, and render",
            code="login-without-token",
        )
    if not rendered.plan.members[cluster.name].readers:
        raise refuse(
            place,
            "no cluster discovers it, so it has no token for peers",
            "name a cluster that others read",
            code="cluster-not-discovered",
        )
    if step == "begin" and at != token_rotation.STEADY:
        advance = mesh_command(f"tokens rotate {cluster.name} advance")
        raise refuse(
            place,
            f"is being rotated already: generation {cluster.token_generation} with"
            f" {cluster.second_generation}"
            " beside it",
            f"go on with `{advance}`, or back with abort",
            code="rotation-running",
        )
    if step != "begin" and at == token_rotation.STEADY:
        begin = mesh_command(f"tokens rotate {cluster.name} begin")
        raise refuse(
            place, "is not being rotated", f"begin with `{begin}`", code="rotation-not-running"
        )


def check_restarts(rendered: RenderedMesh, cluster: Cluster) -> None:
    """Raises a `MeshError` if istiod of a peer loses the cluster in a rotation until it
    restarts.
    """
    holders = [
        rendered.plan.members[h].cluster
        for h in token_rotation.remote_secret_holders(rendered.plan, cluster.name)
    ]
    if problems := reconnections.restart_problems(
        cluster.place, "the second step changes its remote secret", holders
    ):
        raise MeshError(problems)


def seen_problems(
    inputs: CheckedInputs, cluster: Cluster, seen_for: timedelta | None, *, goes: bool
) -> list[Problem]:
    """Why it is too early for a step, by what was seen; `goes`: a token goes with it, which peers
    may still use.
    """
    wait = PUSH_DELAY if store_of(inputs.topology).OUTSIDE else timedelta()
    if not goes or (seen_for is not None and seen_for >= wait):
        return []
    if seen_for is None:
        what = (
            f"is required: a token of {cluster.name} goes, and this tool cannot see whether a peer"
            " still logs in with it"
        )
    else:
        what = (
            f"is {rollout.hours_text(seen_for.total_seconds())}; the token is pushed within 1h,"
            " and the"
            " peers get it within 1h more"
        )
    fix = (
        "run the commands that the step before printed; where every peer holds the other token,"
        f" give the time since then, at least {rollout.hours_text(wait.total_seconds())}"
    )
    code = "seen-for-missing" if seen_for is None else "seen-for-too-short"
    return [Problem(Place("--seen-for"), what, fix, code=code)]


def check_next_token(inputs: CheckedInputs, rendered: RenderedMesh, cluster: Cluster) -> None:
    """Raises a `MeshError` if peers would move to a token that is not here, or is not the next
    one.
    """
    if store_of(inputs.topology).OUTSIDE:
        return
    problems = [
        problem
        for peer in _token_peers(inputs, rendered, cluster)
        for problem in _next_token_problems(inputs, cluster, peer)
    ]
    if problems:
        raise MeshError(problems)


def _token_peers(
    inputs: CheckedInputs, rendered: RenderedMesh, cluster: Cluster
) -> tuple[str, ...]:
    """The peers that have a token each; an empty name if all have the same."""
    if not inputs.topology.reader_per_peer:
        return ("",)
    return tuple(rendered.plan.members[cluster.name].readers)


def _next_token_problems(inputs: CheckedInputs, cluster: Cluster, peer: str) -> Iterator[Problem]:
    """What is wrong with the next token for a peer."""
    token = inputs.next_tokens.get((cluster.name, peer))
    others = {
        str(login["token"]): name
        for (name, _), login in inputs.logins.items()
        if name != cluster.name and "token" in login
    }
    place = Place(join_path(inputs.directory, token_file(cluster, peer, cluster.next_generation)))
    fix = f"run: {token_command(cluster, inputs.directory, peer, cluster.next_generation)}"
    if token is None:
        what = "is not there: the peers have nothing to move to"
        yield Problem(place, what, fix, code="next-token-missing")
    elif token == inputs.logins.get((cluster.name, peer), {}).get("token"):
        what = f"holds the token of generation {cluster.token_generation}, which is to go"
        yield Problem(place, what, fix, code="next-token-is-first")
    elif token in others:
        what = f'holds the token of "{others[token]}", which this cluster would refuse'
        yield Problem(place, what, fix, code="token-of-other-cluster")
    elif (said := parse_claims(token)) is not None:
        yield from _claim_problems(inputs, cluster, peer, said)


def _claim_problems(
    inputs: CheckedInputs, cluster: Cluster, peer: str, said: Claims
) -> Iterator[Problem]:
    """What the next token for a peer says of itself, and it should not."""
    now = inputs.machine.now
    place = Place(join_path(inputs.directory, token_file(cluster, peer, cluster.next_generation)))
    fix = f"run: {token_command(cluster, inputs.directory, peer, cluster.next_generation)}"
    secret = reader_secret(cluster, peer, cluster.next_generation)
    if said.expires is not None and said.expires <= now:
        what = f"expired on {said.expires:%Y-%m-%d}"
        yield Problem(place, what, fix, code="token-expired")
    elif said.expires is not None and said.expires <= now + DAY:
        what = expiring_text(said.expires, now)
        yield Problem(place, what, fix, code="token-expires-soon")
    elif other := account_problems(place, said, cluster, peer, cluster.next_generation):
        yield from other
    elif said.secret not in (None, secret):
        what = f"holds a token of another Secret than {secret}, as it says itself"
        yield Problem(place, what, fix, code="token-of-other-secret")


def check_first_token(
    inputs: CheckedInputs, rendered: RenderedMesh, after: RenderedMesh, cluster: Cluster
) -> None:
    """Raises a `MeshError` if peers would move back to a token that is not here, as that of a peer
    that joined since they moved: no render would go on from there.
    """
    problems: list[Problem] = []
    back = after.plan.members[cluster.name]
    for peer in rendered.plan.members[cluster.name].logins:
        if peer not in back.logins:
            what = f"is not there: {peer or 'the peers'} would have nothing to go back to"
            fix = f"run: {token_command(back.cluster, inputs.directory, peer)}"
            place = Place(join_path(inputs.directory, token_file(back.cluster, peer)))
            problems.append(Problem(place, what, fix, code="first-token-missing"))
    if problems:
        raise MeshError(problems)


def check_last_use(inputs: CheckedInputs, rendered: RenderedMesh, cluster: Cluster) -> None:
    """Raises a `MeshError` if peers use the token that goes, under the name of the next."""
    problems: list[Problem] = []
    for peer in _token_peers(inputs, rendered, cluster):
        name = token_file(cluster, peer, cluster.second_generation)
        first = read_inside(inputs.directory, name, "credential")
        used = inputs.logins.get((cluster.name, peer), {}).get("token")
        if first is None or used is None:
            continue
        if first.decode("ascii", "replace").strip() == used:
            what = (
                f"holds the token of generation {cluster.second_generation}, which is to go: no"
                " peer could log"
                " in any more"
            )
            fetch = token_command(cluster, inputs.directory, peer)
            fix = f"run: {fetch}; then render and apply it"
            place = Place(join_path(inputs.directory, token_file(cluster, peer)))
            problems.append(Problem(place, what, fix, code="token-in-use"))
    if problems:
        raise MeshError(problems)
