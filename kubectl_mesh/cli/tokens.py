"""`kubectl mesh tokens`: the peers of a cluster move from one token to the next, a render at a
time.
"""

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from kubectl_mesh.cli import clock, common, own, tokens_status
from kubectl_mesh.cli.certs_rotate import seen

if TYPE_CHECKING:
    from kubectl_mesh.errors import Problem
    from kubectl_mesh.model import Cluster
    from kubectl_mesh.operations.build import Rendered
    from kubectl_mesh.operations.checked_inputs import CheckedInputs

PUSHED = timedelta(hours=2)
"""How long it takes at most until the peers hold a token that goes through a store of the user's:
each side looks once an hour.
"""


@click.group(name="tokens")
def command() -> None:
    """The tokens by which peers log in: how old they are, and how peers move to the next."""


command.add_command(tokens_status.status)


@command.command(name="rotate")
@click.argument("name", metavar="NAME", shell_complete=common.complete_contexts)
@click.argument("step", metavar="STEP", type=click.Choice(["begin", "advance", "abort", "status"]))
@seen
@click.option(
    "--with-restarts",
    is_flag=True,
    help="Rotate on Istio 1.30.0 to 1.30.3, where istiod must restart right after each apply.",
)
@common.directory
@common.tree
@common.kubeconfig
@common.output
def rotate(
    name: str,
    step: str,
    seen_for: timedelta | None,
    with_restarts: bool,
    directory: str,
    out: str | None,
    kubeconfig: str | None,
    output: str,
) -> None:
    """Move the peers of cluster NAME to another token, in three renders.

    STEP is begin (a second token beside the first), advance (the peers move to it; again: the first
    one goes), abort (one step back) or status. Each writes the topology alone. The tree, and the
    last commit of its repository, must hold the step before; a step by which a token goes also
    needs --seen-for. Every render may be applied in any order.
    """
    from kubectl_mesh.credentials import token_rotation
    from kubectl_mesh.errors import MeshError, refuse
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.fs.locking import locked
    from kubectl_mesh.fs.owned_files import replace_file
    from kubectl_mesh.fs.read import read_inside
    from kubectl_mesh.operations import private_files
    from kubectl_mesh.operations.checked_inputs import load_inputs
    from kubectl_mesh.topology.selection import chosen_clusters
    from kubectl_mesh.workdir.places import TOPOLOGY
    from kubectl_mesh.workdir.topology_file import parsed
    from kubectl_mesh.yaml_io import edit
    from kubectl_mesh.yaml_io.read import load

    folder = out if out is not None else join(directory, "out")
    private_files.check_folders(directory, out)
    if step == "status":
        tokens_status.show(directory, folder, kubeconfig, output, (name,))
        return
    path = join(directory, TOPOLOGY)
    with locked(directory):
        private_files.check_regular(path)
        inputs = load_inputs(directory, kubeconfig, clock.machine())
        (chosen,) = chosen_clusters(inputs.topology, (name,), "NAME")
        cluster = next(c for c in inputs.topology.clusters if c.name == chosen)
        rendered = tokens_status.rendered(inputs, folder)
        _rotatable(rendered, cluster, step)
        behind = tokens_status.stale(rendered, folder, cluster)
        was = not behind
        if step == "begin":
            if not with_restarts:
                _need_no_restart(rendered, cluster)
            entry = token_rotation.begun(cluster, _taken(directory, cluster, rendered))
        else:
            # What no tree has had is in no cluster.
            entry = (
                token_rotation.advanced(cluster)
                if step == "advance"
                else token_rotation.aborted(cluster, was=was)
            )
        source = read_inside(directory, TOPOLOGY, "topology") or b""
        body = edit.tokens(
            source.decode(),
            cluster.context,
            entry,
            lambda text: load(path, text.encode()).value,
            path,
        )
        after = load_inputs(
            directory,
            kubeconfig,
            clock.machine(),
            topology=parsed(path, body.encode()),
        )
        made = None
        if (
            behind
            and step == "abort"
            and not tokens_status.stale(
                made := tokens_status.rendered(after, folder), folder, cluster
            )
        ):
            behind = []
        if behind:
            what = "is not what a render of the step before would make"
            raise refuse(
                behind[0], what, "run `kubectl mesh render`, review and apply it; then go on"
            )
        goes = token_rotation.step(cluster) == (
            token_rotation.MOVED if step == "advance" else token_rotation.BEGUN
        )
        if (
            step != "begin"
            and was
            and (
                problems := [
                    *tokens_status.uncommitted(rendered, folder, cluster),
                    *_seen(inputs, cluster, seen_for, goes=goes),
                ]
            )
        ):
            raise MeshError(problems)
        if step == "advance" and token_rotation.step(cluster) == token_rotation.BEGUN:
            _next_is_there(inputs, rendered, cluster)
        elif step == "advance":
            _last_may_go(inputs, rendered, cluster)
        made = made or tokens_status.rendered(after, folder)
        if step == "abort":
            _first_is_there(inputs, rendered, made, cluster)
        replace_file(path, source, body.encode())
    _tell(step, rendered, made, cluster.name, path, folder, output)


def _rotatable(rendered: "Rendered", cluster: "Cluster", step: str) -> None:
    """Refuses what is no step from here."""
    from kubectl_mesh.credentials import token_rotation
    from kubectl_mesh.errors import refuse

    way, at = cluster.credential.way, token_rotation.step(cluster)
    if way != "tokenFile":
        raise refuse(
            str(cluster.place),
            f"peers log in to it by {way}, and only tokens are rotated here",
            "change what credential names, and render",
        )
    if not rendered.plan.members[cluster.name].readers:
        raise refuse(
            str(cluster.place),
            "no cluster discovers it, so it has no token for peers",
            "name a cluster that others read",
        )
    if step == "begin" and at != token_rotation.STEADY:
        numbers = f"generation {cluster.generation} with {cluster.beside} beside it"
        fix = f"go on with `kubectl mesh tokens rotate {cluster.name} advance`, or back with abort"
        raise refuse(str(cluster.place), f"is being rotated already: {numbers}", fix)
    if step != "begin" and at == token_rotation.STEADY:
        raise refuse(
            str(cluster.place),
            "is not being rotated",
            f"begin with `kubectl mesh tokens rotate {cluster.name} begin`",
        )


def _need_no_restart(rendered: "Rendered", cluster: "Cluster") -> None:
    """Refuses a rotation in which istiod of a peer loses the cluster until it restarts, which
    nobody has agreed to.
    """
    from kubectl_mesh.credentials import token_rotation
    from kubectl_mesh.errors import MeshError
    from kubectl_mesh.safety import reconnect

    holders = [
        rendered.plan.members[h].cluster
        for h in token_rotation.holders(rendered.plan, cluster.name)
    ]
    if problems := reconnect.restart_problems(
        cluster.place, "the second step changes its remote secret", holders
    ):
        raise MeshError(problems)


def _seen(
    inputs: "CheckedInputs", cluster: "Cluster", seen_for: timedelta | None, *, goes: bool
) -> "list[Problem]":
    """Why it is too early for a step, by what was seen; `goes`: a token goes by it, which peers may
    still use.
    """
    from kubectl_mesh.errors import Place, Problem
    from kubectl_mesh.safety import rollout

    wait = PUSHED if inputs.topology.store == "external" else timedelta()
    least = rollout.hours(wait.total_seconds())
    if not goes or (seen_for is not None and seen_for >= wait):
        return []
    if seen_for is None:
        what = (
            f"is required: a token of {cluster.name} goes, and this tool cannot see whether a peer"
            " still logs in with it"
        )
    else:
        what = (
            f"is {rollout.hours(seen_for.total_seconds())}; the token is pushed within 1h, and the"
            " peers get it within 1h more"
        )
    fix = (
        "run the commands that the step before printed; where every peer holds the other token,"
        f" give the time since then, at least {least}"
    )
    return [Problem(Place("--seen-for"), what, fix)]


def _taken(directory: str, cluster: "Cluster", rendered: "Rendered") -> list[int]:
    """The generations of which a token is here already."""
    import os

    from kubectl_mesh.credentials.accounts import token_file
    from kubectl_mesh.fs.folders import join

    peers = ("", *rendered.plan.members[cluster.name].readers)
    found = []
    for first in {token_file(cluster, peer, 1) for peer in peers}:
        above, last = os.path.split(join(directory, first))
        names = os.listdir(above or ".") if os.path.isdir(above or ".") else []
        found += [
            int(m[1]) for n in names if (m := re.fullmatch(re.escape(last) + r"\.g([0-9]{1,4})", n))
        ]
    return found


def _next_is_there(inputs: "CheckedInputs", rendered: "Rendered", cluster: "Cluster") -> None:
    """Refuses to move peers to a token that is not here, or is not the next one."""
    from kubectl_mesh.credentials.accounts import reader_secret, token_command, token_file
    from kubectl_mesh.credentials.logins import claims
    from kubectl_mesh.credentials.tokens import DAY, account_problems, expiring_text
    from kubectl_mesh.errors import MeshError, Place, Problem
    from kubectl_mesh.fs.folders import join

    topology, member = inputs.topology, rendered.plan.members[cluster.name]
    if topology.store == "external":
        return
    problems: list[Problem] = []
    others = {
        str(login["token"]): name
        for (name, _), login in inputs.logins.items()
        if name != cluster.name and "token" in login
    }
    for peer in member.readers if topology.reader_per_peer else ("",):
        place = Place(join(inputs.directory, token_file(cluster, peer, cluster.coming)))
        token, old = (
            inputs.coming.get((cluster.name, peer)),
            inputs.logins.get((cluster.name, peer), {}).get("token"),
        )
        fetch = f"run: {token_command(cluster, inputs.directory, peer, cluster.coming)}"
        said = claims(token) if token is not None else None
        if token is None:
            problems.append(
                Problem(place, "is not there: the peers have nothing to move to", fetch)
            )
        elif token == old:
            problems.append(
                Problem(
                    place,
                    f"holds the token of generation {cluster.generation}, which is to go",
                    fetch,
                )
            )
        elif token in others:
            problems.append(
                Problem(
                    place,
                    f'holds the token of "{others[token]}", which this cluster would refuse',
                    fetch,
                )
            )
        elif (
            said is not None
            and said.expires is not None
            and said.expires <= inputs.machine.now + DAY
        ):
            problems.append(
                Problem(
                    place,
                    (
                        expiring_text(said.expires, inputs.machine.now)
                        if said.expires > inputs.machine.now
                        else f"expired on {said.expires:%Y-%m-%d}"
                    ),
                    fetch,
                )
            )
        elif said is not None and (
            other := account_problems(place, said, cluster, peer, cluster.coming)
        ):
            problems += other
        elif said is not None and said.secret not in (
            None,
            reader_secret(cluster, peer, cluster.coming),
        ):
            problems.append(
                Problem(
                    place,
                    "holds a token of another Secret than"
                    f" {reader_secret(cluster, peer, cluster.coming)}, as it says itself",
                    fetch,
                )
            )
    if problems:
        raise MeshError(problems)


def _first_is_there(
    inputs: "CheckedInputs", rendered: "Rendered", after: "Rendered", cluster: "Cluster"
) -> None:
    """Refuses to move peers back to a token that is not here, as of a peer that joined since they
    moved: no render would go on from there.
    """
    from kubectl_mesh.credentials.accounts import token_command, token_file
    from kubectl_mesh.errors import MeshError, Place, Problem
    from kubectl_mesh.fs.folders import join

    problems: list[Problem] = []
    back = after.plan.members[cluster.name]
    for peer in rendered.plan.members[cluster.name].logins:
        if peer not in back.logins:
            place = Place(join(inputs.directory, token_file(back.cluster, peer)))
            whom = peer or "the peers"
            what = f"is not there: {whom} would have nothing to go back to"
            problems.append(
                Problem(place, what, f"run: {token_command(back.cluster, inputs.directory, peer)}")
            )
    if problems:
        raise MeshError(problems)


def _last_may_go(inputs: "CheckedInputs", rendered: "Rendered", cluster: "Cluster") -> None:
    """Refuses to take away the first token while peers use it, under the name of the next."""
    from kubectl_mesh.credentials.accounts import token_command, token_file
    from kubectl_mesh.errors import MeshError, Place, Problem
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.fs.read import read_inside

    problems: list[Problem] = []
    for peer in (
        rendered.plan.members[cluster.name].readers if inputs.topology.reader_per_peer else ("",)
    ):
        first = read_inside(
            inputs.directory, token_file(cluster, peer, cluster.beside), "credential"
        )
        used = inputs.logins.get((cluster.name, peer), {}).get("token")
        if (
            first is not None
            and used is not None
            and first.decode("ascii", "replace").strip() == used
        ):
            place = Place(join(inputs.directory, token_file(cluster, peer)))
            what = (
                f"holds the token of generation {cluster.beside}, which is to go: no peer could log"
                " in any more"
            )
            problems.append(
                Problem(
                    place,
                    what,
                    f"run: {token_command(cluster, inputs.directory, peer)}; then render and"
                    " apply it",
                )
            )
    if problems:
        raise MeshError(problems)


def _tell(
    step: str, before: "Rendered", after: "Rendered", name: str, path: str, folder: str, output: str
) -> None:
    """What was decided, what comes next, and what has to be seen before that."""
    from kubectl_mesh.credentials import token_rotation
    from kubectl_mesh.safety import reconnect

    cluster = after.plan.members[name].cluster
    at = token_rotation.step(cluster)
    notes = _notes(step, at, before, after, name)
    back = step == "abort" and at != token_rotation.STEADY
    look = _look(at, after, name, back=back)
    moves = back or at == token_rotation.MOVED
    seen_for = (
        f" --seen-for {'2h' if after.plan.topology.store == 'external' else '0h'}" if moves else ""
    )
    advance = own.whole(f"kubectl mesh tokens rotate {name} advance{'' if back else seen_for}")
    holders = [after.plan.members[h].cluster for h in token_rotation.holders(after.plan, name)]
    restarts = reconnect.restart_lines(after.plan, holders, folder) if moves else []
    value: dict[str, Any] = {
        "cluster": name,
        "step": at,
        "generation": cluster.generation,
        "beside": cluster.beside,
        "files": [{"path": "topology.yaml", "action": "update"}],
        "notes": notes,
        "render": own.whole(f"kubectl mesh render{' --with-restarts' if restarts else ''}"),
        "look": [{"command": c, "prints": p} for c, p in look],
        "then": None if at == token_rotation.STEADY else advance,
    }
    if output == "json":
        common.put_json(value)
        return
    lines = [
        f"update  {path}",
        *notes,
        f"next: {value['render']}; review and apply it, in any order of the clusters",
        *(f"  {line}" for line in restarts),
    ]
    if at != token_rotation.STEADY:
        lines.append(f"then: {advance}")
    if back:
        lines.append(
            f"or: {advance.removesuffix('advance')}abort{seen_for}, and the Secret of generation"
            f" {cluster.beside} goes"
        )
    if look:
        lines.append(
            "but not before each of these has printed what stands below it:"
            if moves
            else "before that:"
        )
        for asked, printed in look:
            lines += [f"  {asked}", *([f"    {printed}"] if printed else [])]
    common.put_text("\n".join(lines) + "\n")


def _notes(step: str, at: str, before: "Rendered", after: "Rendered", name: str) -> list[str]:
    from kubectl_mesh.credentials import token_rotation
    from kubectl_mesh.credentials.accounts import token_file
    from kubectl_mesh.safety import reconnect
    from kubectl_mesh.text import count

    cluster, external = after.plan.members[name].cluster, after.plan.topology.store == "external"
    holding = token_rotation.holders(after.plan, name)
    old = before.plan.members[name].cluster
    if at == token_rotation.BEGUN and step == "begin":
        notes = [
            (
                f"{name}: a Secret for the token of generation {cluster.beside} comes beside that"
                f" of generation {cluster.generation}; no peer changes"
            )
        ]
    elif at == token_rotation.STEADY:
        gone = old.beside
        notes = [
            (
                f"{name}: the Secret of generation {gone} goes, and its token is void; the peers"
                f" keep generation {cluster.generation}"
            )
        ]
        if not external and gone is not None:
            peers = (
                after.plan.members[name].readers if after.plan.topology.reader_per_peer else ("",)
            )
            notes.append(
                "of no use any more:"
                f" {', '.join(token_file(cluster, peer, gone) for peer in peers)}"
            )
    else:
        moved = (
            f"{count(len(holding), 'cluster')} move{'s' if len(holding) == 1 else ''} to the token"
            f" of generation {cluster.generation}"
        )
        notes = [f"{name}: {moved}; that of generation {cluster.beside} stays beside it"]
        if external:
            notes.append(
                "the cluster pushes the other token into the store within 1h, and the peers take it"
                " within 1h more; no peer's directory changes"
            )
        notes += reconnect.effects([after.plan.members[h].cluster for h in holding])
    return notes


def _look(at: str, after: "Rendered", name: str, *, back: bool) -> "list[tuple[str, str]]":
    """The commands that tell whether the next step may come, and what they print; `back`: peers
    move back to the first token.
    """
    import base64
    import hashlib

    from kubectl_mesh.credentials import token_rotation
    from kubectl_mesh.render.remotes import kubeconfig

    plan = after.plan
    if at == token_rotation.BEGUN and not back:
        return [
            (p.command, "") for p in plan.pending if p.kind == "next-token" and p.subject == name
        ]
    if at == token_rotation.STEADY:
        return []
    member = plan.members[name]
    digests = {}
    for holder in token_rotation.holders(plan, name):
        login = member.login(holder)
        if (
            login is not None
            and not ({holder, ""} & member.absent)
            and plan.topology.store != "external"
        ):
            digests[holder] = (
                hashlib.sha256(base64.b64encode(kubeconfig(member, login).encode())).hexdigest()
                + "  -"
            )
    return [
        *(
            (c, "the time of the push")
            for c in (
                token_rotation.pushed(plan, name) if plan.topology.store == "external" else []
            )
        ),
        *token_rotation.seen(plan, name, digests),
    ]
