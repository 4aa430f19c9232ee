"""`kubectl mesh render`"""

import contextlib
import os
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import common

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kubectl_mesh.cli.workdir import Inputs
    from kubectl_mesh.model import FolderChange, Plan


@click.command(name="render")
@common.directory
@click.option("--out", metavar="FOLDER", help="Where the tree goes.  [default: out in DIR]")
@click.option("--check", "check", is_flag=True, help="Write nothing; exit 1 if a render would change anything.")
@click.option("--dry-run", is_flag=True, help="Write nothing; tell what a render would do.")
@click.option(
    "--cluster", "clusters", multiple=True, metavar="NAME", shell_complete=common.complete_contexts, help="Render this cluster only; may be given again."
)
@click.option("--strict", is_flag=True, help="Make everything that is pending an error.")
@common.kubeconfig
@common.output
def command(directory: str, out: str | None, check: bool, dry_run: bool, clusters: tuple[str, ...], strict: bool, kubeconfig: str | None, output: str) -> int:
    """Render the mesh: a directory of manifests per cluster.

    Certificates that are missing are made; what is there is kept. The tree is written to out/, where only files that the
    lock of a directory lists are ever replaced or removed.
    """
    from kubectl_mesh import report
    from kubectl_mesh.cli import workdir
    from kubectl_mesh.compare import compare, strangers
    from kubectl_mesh.write import locked, write_certificates, write_tree

    target_folder = out if out is not None else workdir.join(directory, "out")
    writes = not (check or dry_run)
    if not os.path.isdir(directory):
        from kubectl_mesh.errors import refuse

        raise refuse(directory, "is no folder", "name the working directory with -C")
    with contextlib.ExitStack() as held:
        if writes:
            held.enter_context(locked(directory))
            if out is not None and os.path.isdir(out) and not os.path.samefile(out, directory):
                held.enter_context(locked(out))
        inputs = workdir.gather(directory, kubeconfig)
        only = workdir.chosen(inputs.topology, clusters)
        if writes:
            _guard(inputs, directory, target_folder)
        if clusters:
            inputs = workdir.narrowed(inputs, only)
        rendered = workdir.make(inputs, workdir.now(), throwaway=not writes, progress=common.progress("making keys:"))
        changes = compare(target_folder, rendered.tree, only if clusters else None)
        _keeps_secrets(rendered.plan, changes, target_folder)
        if strict and rendered.plan.pending:
            raise _pending_errors(rendered.plan)
        if writes:
            if rendered.pki.new or inputs.leftovers:
                write_certificates(workdir.join(directory, "certs"), rendered.pki.new)
            if any(p.kind == "token" for p in rendered.plan.pending):
                _credentials_folder(directory, rendered.plan)
            write_tree(target_folder, rendered.tree, changes)
    other = strangers(target_folder, rendered.tree, changes) if not clusters else ()
    common.warn(rendered.warnings)
    differs = bool(rendered.pki.new) or any(c.action != "identical" for c in changes)
    if output == "json":
        value = report.render_json(rendered.plan, rendered.pki, changes, target_folder, other, written=writes)
        common.put_json(value | {"warnings": report.problems_json(rendered.warnings)})
    else:
        kind = inputs.target.KIND + ("" if inputs.base is not None else " (no base.yaml: as for Istio 1.4)")
        text = report.render_text(rendered.plan, rendered.pki, changes, target_folder, other, kind=kind, would=not writes, files=not writes)
        click.echo(text, nl=False)
    return 1 if check and differs else 0


def _guard(inputs: "Inputs", directory: str, out: str) -> None:
    """Refuses to write a secret where git would take it into a commit; a missing .gitignore is written first."""
    from kubectl_mesh.cli.workdir import join
    from kubectl_mesh.errors import refuse
    from kubectl_mesh.guard import GITIGNORE, not_ignored, work_tree
    from kubectl_mesh.pki import ROOT_CERT, ROOT_KEY, folder
    from kubectl_mesh.write import add_files

    topology = inputs.topology
    if topology.store == "plain" and not topology.store_stated and work_tree(out):
        secret = [os.path.join(os.path.realpath(out), c.name, "1-trust", "cacerts.yaml") for c in topology.clusters]
        if not_ignored(out, secret):
            what = "lies in a git work tree, and the store `plain` would put private keys there in clear"
            fix = (
                "add the folder to .gitignore; or state `secrets: {store: plain}` in topology.yaml if the repository may hold them;"
                " the stores sops, sealed and external are for trees that others read (this version of kubectl mesh does not write them yet)"
            )
            raise refuse(out, what, fix)
    ignore = join(directory, ".gitignore")
    if not os.path.lexists(ignore) and (ROOT_CERT not in inputs.kept or work_tree(directory)):
        add_files(directory, {".gitignore": GITIGNORE.encode()})
        click.echo(f"wrote {ignore}, which keeps keys and tokens out of git", err=True)
    if work_tree(directory):
        private = [f"certs/{ROOT_KEY}", *(f"certs/{folder(c.name)}/ca-key.pem" for c in topology.clusters), *(c.token_file for c in topology.clusters)]
        bare = not_ignored(directory, private)
        if bare:
            lines = "".join(f"\n    {line}" for line in GITIGNORE.splitlines() if not line.startswith("#"))
            some = f"{bare[0]}" + (f" and {len(bare) - 1} more private files" if len(bare) > 1 else "")
            raise refuse(ignore, f"does not keep {some} out of git", f"add these lines to it (and `git rm --cached` what is tracked):{lines}")


def _keeps_secrets(plan: "Plan", changes: "Sequence[FolderChange]", out: str) -> None:
    """Refuses to withdraw a remote secret merely because its token or server cannot be read here: in a running mesh that is an outage."""
    from kubectl_mesh.errors import MeshError, Problem

    waiting = {p.subject: p for p in plan.pending if p.kind in ("token", "server")}
    held: dict[str, list[str]] = {}
    for change in changes:
        member = plan.members.get(change.name)
        for file in change.changes if member is not None else ():
            peer = file.path.removeprefix("3-mesh/remote-secrets/").removesuffix(".yaml")
            if file.action == "remove" and member is not None and peer in member.peers and peer in waiting:
                held.setdefault(peer, []).append(change.name)
    problems = []
    for peer, holders in held.items():
        item = waiting[peer]
        secrets = f"{len(holders)} rendered remote secret{'' if len(holders) == 1 else 's'}"
        what = f"{item.what} is not there, but {secrets} for it would be removed (as in {out}/{holders[0]})"
        fix = f"put it back, or run: {item.command}\n  to take the cluster out of discovery, state disableRegistryJoin or peers"
        problems.append(Problem(plan.members[peer].cluster.place, what, fix))
    if problems:
        raise MeshError(problems)


def _pending_errors(plan: "Plan") -> Exception:
    from kubectl_mesh.errors import MeshError, Place, Problem

    name = plan.topology.document.name
    return MeshError(Problem(Place(name, path=p.subject), f"{p.what} is pending; it holds back {p.holds_back}", f"run: {p.command}") for p in plan.pending)


def _credentials_folder(directory: str, plan: "Plan") -> None:
    """Makes the folders that the printed commands write tokens to, private from the start."""
    from kubectl_mesh.cli.workdir import join
    from kubectl_mesh.model import PRIVATE_FOLDER
    from kubectl_mesh.write import make_folder

    for parent in sorted({os.path.dirname(m.cluster.token_file) for m in plan.members.values()} - {""}):
        make_folder(join(directory, parent), PRIVATE_FOLDER)
