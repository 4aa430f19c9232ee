"""`kubectl mesh render`"""

import contextlib
import os
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common, own

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kubectl_mesh.errors import Problem
    from kubectl_mesh.model import Plan


@click.command(name="render")
@common.directory
@click.option(
    "--out",
    callback=own.given,
    metavar="FOLDER",
    help="Where the tree goes.  [default: out in DIR]",
)
@click.option(
    "--check", "check", is_flag=True, help="Write nothing; exit 1 if a render would change a byte."
)
@click.option("--dry-run", is_flag=True, help="Write nothing; tell what a render would do.")
@click.option(
    "--cluster",
    "clusters",
    multiple=True,
    metavar="NAME",
    shell_complete=common.complete_contexts,
    help="Render this cluster only; may be given again.",
)
@click.option(
    "--reseal",
    is_flag=True,
    help="Seal everything anew, with a new certs/seal-key (stores sops and sealed).",
)
@click.option(
    "--strict",
    is_flag=True,
    help="Make everything that is pending, and what tokens say against themselves, an error.",
)
@click.option(
    "--with-restarts",
    is_flag=True,
    help=(
        "Change remote secrets of Istio 1.30.0 to 1.30.3, which needs restarts of istiod; the"
        " report prints them."
    ),
)
@click.option(
    "--unapplied",
    "unapplied",
    multiple=True,
    metavar="NAME",
    shell_complete=common.complete_contexts,
    help="Count the tree of this cluster as not applied: no cluster runs it. May be given again.",
)
@click.option(
    "--confirm-unapplied",
    "confirmed",
    multiple=True,
    metavar="NAME",
    shell_complete=common.complete_contexts,
    help="Confirm --unapplied NAME although the last commit holds that tree. May be given again.",
)
@common.kubeconfig
@common.output
def command(
    directory: str,
    out: str | None,
    check: bool,
    dry_run: bool,
    clusters: tuple[str, ...],
    reseal: bool,
    strict: bool,
    unapplied: tuple[str, ...],
    confirmed: tuple[str, ...],
    with_restarts: bool,
    kubeconfig: str | None,
    output: str,
) -> int:
    """Render the mesh: a directory of manifests per cluster.

    Certificates that are missing are made; what is there is kept. The tree is written to out/,
    where only files that the lock of a directory lists are ever replaced or removed.
    """
    with contextlib.ExitStack() as held:
        held.enter_context(_reading_is_possible())
        from kubectl_mesh.credentials.tokens import TOKENS
        from kubectl_mesh.errors import MeshError, refuse
        from kubectl_mesh.fs.folders import join
        from kubectl_mesh.fs.locking import locked
        from kubectl_mesh.fs.owned_files import write_certificates
        from kubectl_mesh.operations import (
            base_file,
            build,
            private_files,
            refusals,
            removals,
            root_changes,
            sealed_logins,
        )
        from kubectl_mesh.operations.checked_inputs import load_inputs
        from kubectl_mesh.reports import render
        from kubectl_mesh.safety import reconnect, rollout
        from kubectl_mesh.stores import store_of
        from kubectl_mesh.topology.selection import chosen_clusters
        from kubectl_mesh.tree.compare import compare, strangers
        from kubectl_mesh.tree.write import clear, write_tree
        from kubectl_mesh.workdir.topology_file import read_topology
        from kubectl_mesh.x509.layout import CRL, SEAL_KEY

        out = out.rstrip("/") or "/" if out else out
        target_folder = out if out is not None else join(directory, "out")
        writes = not (check or dry_run)
        private_files.check_folders(directory, out)
        if writes:
            held.enter_context(locked(directory))
            if out is not None and os.path.isdir(out) and not os.path.samefile(out, directory):
                held.enter_context(locked(out))
        idle = refusals.NONE
        if unapplied or confirmed:
            idle = refusals.resolve_unapplied(
                unapplied,
                confirmed,
                read_topology(directory),
                target_folder,
                os.environ,
            )
        inputs = load_inputs(
            directory, kubeconfig, clock.machine(), out=target_folder, unapplied=idle
        )
        only = chosen_clusters(inputs.topology, clusters)
        exposed = private_files.in_clear(inputs, target_folder)
        if os.path.lexists(join(directory, ".gitignore")):
            exposed += private_files.let_through(inputs)
        if exposed:
            raise MeshError(exposed)
        if clusters:
            inputs = build.narrowed(inputs, only)
        if reseal and (clusters or not store_of(inputs.topology).ENCRYPTS):
            why = (
                "seals the whole mesh, and --cluster a part of it"
                if clusters
                else f"is for the stores sops and sealed, not for {inputs.topology.store}"
            )
            raise refuse(
                "--reseal", why, "leave one of the two out" if clusters else "leave it out"
            )
        if writes:
            clear(target_folder)
        rendered = build.make(
            inputs,
            inputs.machine.now,
            target_folder,
            reseal=reseal,
            throwaway=not writes,
            progress=common.progress("making keys:"),
        )
        # What belongs to the mesh as a whole is made with any of its clusters, which may take it.
        wanted = (
            only | {name for name in rendered.tree if name.startswith("_")} if clusters else None
        )
        changes = compare(target_folder, rendered.tree, inputs.topology.mesh_id, wanted)
        at = inputs.machine.now
        logins = reconnect.reconnections(
            rendered.plan,
            changes,
            sealed_logins.sealed_anew(target_folder, rendered, changes),
            out=target_folder,
        )
        doubts: list[Problem] = []
        if cut := refusals.find_refusals(
            rendered,
            changes,
            target_folder,
            directory,
            at,
            idle,
            with_restarts=with_restarts,
            doubts=doubts,
        ):
            raise MeshError(cut)
        if idle:
            lifted = bool(base_file.lost(directory, inputs.topology, target_folder)) or bool(
                refusals.find_refusals(
                    rendered, changes, target_folder, directory, at, with_restarts=with_restarts
                )
            )
            refusals.check_effect(unapplied, lifted=lifted)
        elsewhere = root_changes.elsewhere(rendered, target_folder, changes)
        doubtful = [w for w in rendered.warnings if w.id in TOKENS]
        if strict and (rendered.plan.pending or doubtful):
            raise MeshError((*_pending_errors(rendered.plan), *doubtful))
        left = removals.list_leaving(rendered, changes, target_folder)
        if writes:
            common.say_if(private_files.keep_out(inputs))
            made = {
                **rendered.pki.new,
                **({SEAL_KEY: rendered.seal_key} if rendered.seal_key is not None else {}),
            }
            if made or inputs.leftovers:
                write_certificates(
                    join(directory, "certs"),
                    made,
                    replaced=(CRL, *((SEAL_KEY,) if reseal else ())),
                )
            if rendered.seal_key is not None:
                common.say(
                    f"wrote {join(directory, 'certs')}/{SEAL_KEY}, by which later"
                    " renders change no more than they must: keep it"
                )
            write_tree(target_folder, rendered.tree, changes)
    other = strangers(target_folder, rendered.tree, changes) if not clusters else ()
    warnings = (*rendered.warnings, *elsewhere, *logins.restarts, *logins.warnings, *doubts)
    common.warn(warnings)
    # git keeps no modes: a checkout of the very same tree is no difference.
    differs = (
        bool(rendered.pki.new) or rendered.seal_key is not None or any(c.differs for c in changes)
    )
    assumed = base_file.assumption(directory, inputs.topology, target_folder, idle)
    if output == "json":
        value = render.render_json(
            rendered.plan, rendered.pki, changes, target_folder, other, written=writes, left=left
        )
        common.put_json(
            value | {"warnings": render.problems_json(warnings), "assumed": assumed or None}
        )
    else:
        kind = inputs.target.kind_text(inputs.base, rendered.plan)
        text = render.render_text(
            rendered.plan,
            rendered.pki,
            changes,
            target_folder,
            other,
            kind=kind,
            would=not writes,
            files=not writes,
            left=left,
        )
        common.put_text(f"{assumed}\n{text}" if assumed else text)
        if writes and differs:
            if logins.restarts:
                common.say(
                    f"next: review {target_folder}, and apply it cluster by cluster, each with the"
                    " restart that is printed above"
                )
            else:
                common.say(rollout.apply(rendered.plan, changes, target_folder, inputs.target.KIND))
    return 1 if check and differs else 0


@contextlib.contextmanager
def _reading_is_possible() -> "Iterator[None]":
    """Tells whoever may not write what can be done all the same."""
    from dataclasses import replace

    from kubectl_mesh.errors import MeshError
    from kubectl_mesh.fs.durable import ASK

    try:
        yield
    except MeshError as error:
        raise MeshError(
            replace(p, fix=f"{ASK}; --check and --dry-run need none") if p.fix == ASK else p
            for p in error.problems
        ) from None


def _pending_errors(plan: "Plan") -> "list[Problem]":
    from kubectl_mesh.errors import Place, Problem

    name = plan.topology.document.name
    return [
        Problem(
            Place(name, path=p.subject),
            f"{p.what} is pending; it holds back {p.holds_back}",
            f"run: {p.command}",
        )
        for p in plan.pending
    ]
