"""`kubectl mesh render`"""

import contextlib
import os
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import common, own

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kubectl_mesh.model import Plan


@click.command(name="render")
@common.directory
@click.option("--out", callback=own.given, metavar="FOLDER", help="Where the tree goes.  [default: out in DIR]")
@click.option("--check", "check", is_flag=True, help="Write nothing; exit 1 if a render would change a byte.")
@click.option("--dry-run", is_flag=True, help="Write nothing; tell what a render would do.")
@click.option(
    "--cluster", "clusters", multiple=True, metavar="NAME", shell_complete=common.complete_contexts, help="Render this cluster only; may be given again."
)
@click.option("--reseal", is_flag=True, help="Seal everything anew, with a new certs/seal-key (stores sops and sealed).")
@click.option("--strict", is_flag=True, help="Make everything that is pending an error.")
@common.kubeconfig
@common.output
def command(
    directory: str, out: str | None, check: bool, dry_run: bool, clusters: tuple[str, ...], reseal: bool, strict: bool, kubeconfig: str | None, output: str
) -> int:
    """Render the mesh: a directory of manifests per cluster.

    Certificates that are missing are made; what is there is kept. The tree is written to out/, where only files that the
    lock of a directory lists are ever replaced or removed.
    """
    from kubectl_mesh.cli.aside import aside
    from kubectl_mesh.cli.authorities import ready

    with contextlib.ExitStack() as held:
        begin = held.enter_context(aside(ready))  # before anything else is loaded, which goes on meanwhile
        held.enter_context(_reading_is_possible())
        from kubectl_mesh import generations, report, rollout
        from kubectl_mesh.cli import basefile, bounds, compose, expired, leaving, roots, stored, workdir
        from kubectl_mesh.compare import compare, strangers
        from kubectl_mesh.errors import MeshError, refuse
        from kubectl_mesh.pki.names import CRL
        from kubectl_mesh.stores import ENCRYPTED
        from kubectl_mesh.stores.sealing import SEAL_KEY
        from kubectl_mesh.targets.replaced import kind_text
        from kubectl_mesh.write import clear, locked, write_certificates, write_tree

        out = out.rstrip("/") or "/" if out else out
        target_folder = out if out is not None else workdir.join(directory, "out")
        writes = not (check or dry_run)
        bounds.check_folders(directory, out)
        if writes:
            held.enter_context(locked(directory))
            if out is not None and os.path.isdir(out) and not os.path.samefile(out, directory):
                held.enter_context(locked(out))
        inputs = workdir.gather(directory, kubeconfig, later=True)
        only = workdir.chosen(inputs.topology, clusters)
        exposed = bounds.in_clear(inputs, target_folder)
        if os.path.lexists(workdir.join(directory, ".gitignore")):
            exposed += bounds.let_through(inputs)
        if not inputs.base:
            exposed += basefile.lost(directory, inputs.topology, target_folder)
        if exposed:
            raise MeshError(exposed)
        if clusters:
            inputs = compose.narrowed(inputs, only)
        if reseal and (clusters or inputs.topology.store not in ENCRYPTED):
            why = "seals the whole mesh, and --cluster a part of it" if clusters else f"is for the stores sops and sealed, not for {inputs.topology.store}"
            raise refuse("--reseal", why, "leave one of the two out" if clusters else "leave it out")
        if writes:
            clear(target_folder)
        rendered = compose.make(
            inputs, workdir.now(), target_folder, reseal=reseal, throwaway=not writes, progress=common.progress("making keys:"), begin=begin
        )
        # What belongs to the mesh as a whole is made with any of its clusters, which may take it.
        wanted = only | {name for name in rendered.tree if name.startswith("_")} if clusters else None
        changes = compare(target_folder, rendered.tree, inputs.topology.mesh_id, wanted)
        sealed_anew = stored.sealed_anew(target_folder, rendered, changes)
        if cut := [
            *report.withdrawn(rendered.plan, changes, target_folder),
            *expired.expired(directory, rendered.plan, changes, target_folder, workdir.now()),
            *generations.skipped(rendered.plan, changes),
            *roots.exchanged(rendered, target_folder, changes),
        ]:
            raise MeshError(cut)
        elsewhere = roots.elsewhere(rendered, target_folder, changes)
        if strict and rendered.plan.pending:
            raise _pending_errors(rendered.plan)
        members = rendered.plan.members
        forgotten = [inputs.target.forget(members[name].cluster, peer) for name, peer in report.removed_secrets(rendered.plan, changes)]
        forgotten += generations.forget(rendered.plan, changes)
        forgotten = list(dict.fromkeys((*forgotten, *leaving.leaving(rendered.plan, rendered.tree, changes, target_folder))))
        if writes:
            bounds.keep_out(inputs)
            made = {**rendered.pki.new, **({SEAL_KEY: rendered.seal_key} if rendered.seal_key is not None else {})}
            if made or inputs.leftovers:
                write_certificates(workdir.join(directory, "certs"), made, replaced=(CRL, *((SEAL_KEY,) if reseal else ())))
            if rendered.seal_key is not None:
                common.say(f"wrote {workdir.join(directory, 'certs')}/{SEAL_KEY}, by which later renders change no more than they must: keep it")
            write_tree(target_folder, rendered.tree, changes)
    other = strangers(target_folder, rendered.tree, changes) if not clusters else ()
    warnings = (*rendered.warnings, *elsewhere, *report.reconnected(rendered.plan, changes, sealed_anew))
    common.warn(warnings)
    # git keeps no modes: a checkout of the very same tree is no difference.
    differs = bool(rendered.pki.new) or rendered.seal_key is not None or any(c.differs for c in changes)
    assumed = basefile.assumption(directory, inputs.topology, target_folder)
    if output == "json":
        value = report.render_json(rendered.plan, rendered.pki, changes, target_folder, other, written=writes, forgotten=forgotten)
        common.put_json(value | {"warnings": report.problems_json(warnings), "assumed": assumed or None})
    else:
        kind = kind_text(inputs.target, inputs.base, rendered.plan)
        text = report.render_text(
            rendered.plan, rendered.pki, changes, target_folder, other, kind=kind, would=not writes, files=not writes, forgotten=forgotten
        )
        common.put_text(f"{assumed}\n{text}" if assumed else text)
        if writes and differs:
            common.say(rollout.apply(rendered.plan, changes, target_folder))
    return 1 if check and differs else 0


@contextlib.contextmanager
def _reading_is_possible() -> "Iterator[None]":
    """Tells whoever may not write what can be done all the same."""
    from dataclasses import replace

    from kubectl_mesh.errors import MeshError
    from kubectl_mesh.write import ASK

    try:
        yield
    except MeshError as error:
        raise MeshError(replace(p, fix=f"{ASK}; --check and --dry-run need none") if p.fix == ASK else p for p in error.problems) from None


def _pending_errors(plan: "Plan") -> Exception:
    from kubectl_mesh.errors import MeshError, Place, Problem

    name = plan.topology.document.name
    return MeshError(Problem(Place(name, path=p.subject), f"{p.what} is pending; it holds back {p.holds_back}", f"run: {p.command}") for p in plan.pending)
