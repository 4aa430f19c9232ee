"""`kubectl mesh tokens status`"""

import os
from typing import TYPE_CHECKING, Any

import click

from kubectl_mesh.cli import clock, common

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from kubectl_mesh.errors import Problem
    from kubectl_mesh.model import Cluster
    from kubectl_mesh.operations.build import Rendered
    from kubectl_mesh.operations.checked_inputs import CheckedInputs


def rendered(inputs: "CheckedInputs", out: str) -> "Rendered":
    """What a render would make now, with throw-away certificates where one is missing."""
    from kubectl_mesh.operations import build

    return build.make(inputs, inputs.machine.now, out, throwaway=True)


def differing(made: "Rendered", out: str) -> list[str]:
    """The directories that are not as a render would create them now."""
    from kubectl_mesh.tree.compare import compare

    return [c.name for c in compare(out, made.tree, made.plan.topology.mesh_id) if c.differs]


def stale(made: "Rendered", out: str, cluster: "Cluster") -> list[str]:
    """The directories that the rotation concerns and that are not as a render would make them
    now.
    """
    return [f"{out}/{name}" for name in concerned(made, cluster, differing(made, out))]


def concerned(made: "Rendered", cluster: "Cluster", names: "Sequence[str]") -> list[str]:
    """Those of some directories that the rotation of a cluster concerns."""
    from kubectl_mesh.credentials import token_rotation
    from kubectl_mesh.model import BUNDLE

    if not names:
        return []
    plan = made.plan
    own = {
        cluster.name,
        *token_rotation.holders(plan, cluster.name),
        *([BUNDLE] if plan.topology.bundled else []),
    }
    return [name for name in names if name in own]


def uncommitted(made: "Rendered", out: str, cluster: "Cluster") -> "list[Problem]":
    """Why the last commit of the repository around the tree does not hold the step of a cluster's
    token; nothing where it has no such tree.

    Whoever applies from the repository applies what is committed: a directory on disk says nothing
    of the clusters.
    """
    from kubectl_mesh.credentials import token_rotation
    from kubectl_mesh.errors import Place, Problem
    from kubectl_mesh.fs.read import read_file
    from kubectl_mesh.model import BUNDLE, LOCK, REMOTE_SECRETS
    from kubectl_mesh.text import count
    from kubectl_mesh.workdir.git_ignore import committed

    plan, name = made.plan, cluster.name
    paths = [f"{name}/{path}" for path in made.tree[name] if token_rotation.is_token(path)]
    holders = token_rotation.holders(plan, name)
    paths += (
        [f"{BUNDLE}/{name}.yaml"]
        if plan.topology.bundled
        else [f"{holder}/{REMOTE_SECRETS}{name}.yaml" for holder in holders]
    )
    locks = {path.partition("/")[0]: f"{path.partition('/')[0]}/{LOCK}" for path in paths}
    there = committed(out, [*locks.values(), *paths], os.environ) if os.path.isdir(out) else {}
    behind = [
        p
        for p in paths
        if locks[p.partition("/")[0]] in there
        and there.get(p) != read_file(os.path.join(out, p), "manifest")
    ]
    if not behind:
        return []
    more = f", nor are {count(len(behind) - 1, 'more file')}" if len(behind) > 1 else ""
    what = f"is not what {out}/{behind[0]} holds{more}: the step before is not committed"
    return [
        Problem(
            Place(f"HEAD:{out}/{behind[0]}"),
            what,
            "commit what was rendered, and have it applied everywhere",
        )
    ]


@click.command(name="status")
@common.directory
@common.tree
@click.option(
    "--cluster",
    "clusters",
    multiple=True,
    metavar="NAME",
    shell_complete=common.complete_contexts,
    help="Of this cluster only; may be given again.",
)
@common.kubeconfig
@click.option(
    "-o",
    "output",
    type=click.Choice(["text", "json", "ics"]),
    default="text",
    metavar="FORMAT",
    help="text, json or ics (a calendar).  [default: text]",
)
def status(
    directory: str, out: str | None, clusters: tuple[str, ...], kubeconfig: str | None, output: str
) -> None:
    """Show where each rotation stands, and how old the tokens are."""
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.operations import private_files

    private_files.check_folders(directory, out)
    show(
        directory,
        out if out is not None else join(directory, "out"),
        kubeconfig,
        output,
        clusters,
    )


def show(
    directory: str, out: str, kubeconfig: str | None, output: str, clusters: "Sequence[str]"
) -> None:
    """Prints the state of rotations and tokens, of these clusters or of all."""
    from kubectl_mesh.credentials.tokens import TOKENS
    from kubectl_mesh.operations.checked_inputs import load_inputs
    from kubectl_mesh.pki.dates import dates
    from kubectl_mesh.reports.calendar import calendar
    from kubectl_mesh.topology.selection import chosen_clusters

    inputs = load_inputs(directory, kubeconfig, clock.machine())
    only = chosen_clusters(inputs.topology, clusters) if clusters else None
    made = rendered(inputs, out)
    if output == "ics":
        text = calendar(
            made.plan.topology.mesh_id,
            (
                d
                for d in dates(made.plan, made.pki)
                if d.kind == "token" and (only is None or d.subject in only)
            ),
        )
        common.put_calendar(text)
        return
    at = inputs.machine.now
    common.warn([w for w in made.warnings if w.id in TOKENS])
    names = differing(made, out)
    value = {
        "clusters": [
            _cluster(made, c, names, at)
            for c in inputs.topology.clusters
            if only is None or c.name in only
        ]
    }
    if output == "json":
        common.put_json(value)
        return
    lines = []
    for found in value["clusters"]:
        beside = f", {found['beside']} beside it" if found["beside"] is not None else ""
        step = (
            "logs in by " + found["credential"]
            if found["credential"] != "tokenFile"
            else f"{found['step']}, generation {found['generation']}{beside}"
        )
        lines.append(f"{found['name']}  {step}; tree {found['tree']}")
        lines += [f"  {_line(token)}" for token in found["tokens"]]
    common.put_text("\n".join(lines) + "\n")


def _cluster(
    made: "Rendered", cluster: "Cluster", names: "Sequence[str]", at: "datetime"
) -> dict[str, Any]:

    from kubectl_mesh.credentials import token_rotation
    from kubectl_mesh.credentials.accounts import token_file
    from kubectl_mesh.credentials.logins import claims
    from kubectl_mesh.fs.folders import join

    inputs, plan = made.inputs, made.plan
    member = plan.members[cluster.name]
    external = plan.topology.store == "external"
    tokens = []
    for peer in (
        (member.readers if plan.topology.reader_per_peer else ("",))
        if member.readers and cluster.credential.way == "tokenFile"
        else ()
    ):
        for generation in cluster.generations:
            here = inputs.coming.get((cluster.name, peer)) if generation == cluster.coming else None
            if generation == cluster.generation:
                login = inputs.logins.get((cluster.name, peer), {}).get("token")
                here = login if isinstance(login, str) else None
            said = claims(here) if here is not None else None
            tokens.append(
                {
                    "peer": peer or None,
                    "generation": generation,
                    "state": (
                        "used"
                        if generation == cluster.generation
                        else "next"
                        if generation == cluster.coming
                        else "to go"
                    ),
                    "file": None if external else token_file(cluster, peer, generation),
                    "here": (
                        here is not None
                        or (
                            not external
                            and os.path.isfile(
                                join(inputs.directory, token_file(cluster, peer, generation))
                            )
                        )
                    ),
                    "readable": said is not None,
                    "issued": (
                        f"{said.issued:%Y-%m-%dT%H:%M:%SZ}"
                        if said is not None and said.issued is not None
                        else None
                    ),
                    "ageDays": (
                        (at - said.issued).days
                        if said is not None and said.issued is not None
                        else None
                    ),
                    "expires": (
                        f"{said.expires:%Y-%m-%dT%H:%M:%SZ}"
                        if said is not None and said.expires is not None
                        else None
                    ),
                    "daysLeft": (
                        (said.expires - at).days
                        if said is not None and said.expires is not None
                        else None
                    ),
                }
            )
    return {
        "name": cluster.name,
        "credential": cluster.credential.way,
        "step": token_rotation.step(cluster),
        "generation": cluster.generation,
        "beside": cluster.beside,
        "tree": "out of date" if concerned(made, cluster, names) else "up to date",
        "tokens": tokens,
    }


def _line(token: dict[str, Any]) -> str:
    whom = f" for {token['peer']}" if token["peer"] else ""
    head = f"generation {token['generation']}{whom} ({token['state']})"
    if token["file"] is None:
        return f"{head}: in the store"
    if token["state"] == "to go":
        return head
    if not token["here"]:
        return f"{head}: {token['file']} is not here"
    if not token["readable"]:
        return f"{head}: says nothing of itself"
    age = f"made {token['issued'][:10]} ({token['ageDays']} days ago), " if token["issued"] else ""
    until = (
        "never expires"
        if token["expires"] is None
        else f"expires {token['expires'][:10]} ({token['daysLeft']} days)"
    )
    return f"{head}: {age}{until}"
