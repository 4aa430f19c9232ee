"""`kubectl mesh certs import-root`"""

import os
import shlex
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import common

if TYPE_CHECKING:
    from kubectl_mesh.model import Topology


@click.command(name="import-root")
@common.directory
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option("--key", "key", metavar="FILE", type=click.Path(), help="Its private key: this directory signs the intermediates.")
@click.option("--union", "union", is_flag=True, help="Trust the roots of running clusters as well, beside the one that is here.")
def command(directory: str, files: tuple[str, ...], key: str | None, union: bool) -> None:
    """Take in a root of your own as certs/root-cert.pem.

    It is judged before anything is written. With its key this directory signs the intermediates. Without it somebody else does:
    `certificates: {issuer: csr}`. A root that is there is never replaced; with --union those of running clusters are added to it,
    the first step on the way to one root. Their FILEs are PEM, or what `kubectl get -o yaml` printed of cacerts,
    istio-ca-secret or the ConfigMap istio-ca-root-cert.
    """
    if union and key is not None:
        raise click.UsageError("--key is for a root of your own, and --union for those of others: do one after the other", click.get_current_context())
    if union:
        _union(directory, files)
        return
    if len(files) > 1:
        raise click.UsageError("one root is taken in; the roots of running clusters are added with --union", click.get_current_context())
    _own(directory, files[0], key)


def _own(directory: str, file: str, key: str | None) -> None:
    from kubectl_mesh.cli import workdir
    from kubectl_mesh.errors import MeshError, Place, Problem, refuse
    from kubectl_mesh.pki.own import own_root
    from kubectl_mesh.write import locked, make_folder, write_certificates

    named = {path: workdir.read_file(path, pipe=True) for path in (file, key) if path is not None}
    if missing := [path for path, body in named.items() if body is None]:
        raise MeshError(Problem(Place(path), "is not there", "name the root's certificate" if path == file else "name the root's key") for path in missing)
    topology = topology_of(directory)
    if key is None and topology is not None and topology.issuer != "csr":
        path = workdir.join(directory, workdir.TOPOLOGY)
        what = f"says issuer: {topology.issuer}, and without its key the root in {file} signs nothing here"
        raise refuse(path, what, "give --key FILE; or write `certificates: {issuer: csr}`, and somebody else signs")
    make_folder(directory)
    base = workdir.join(directory, "certs")
    with locked(directory):
        kept, clusters = kept_files(directory, topology)
        try:
            pair = None if key is None else (key, named[key] or b"")
            taken = own_root((file, named[file] or b""), pair, kept, clusters, workdir.now())
        except MeshError as error:
            raise MeshError(workdir.located(directory, error.problems)) from None
        keep_out(directory)
        for name, body in taken.files.items():
            write_certificates(base, {name: body})
        if not taken.files:
            write_certificates(base, {})  # takes away what a killed run left unfinished
    common.warn(workdir.located(directory, taken.warnings))
    common.put_text("".join(f"{'create' if name in taken.files else 'keep':7} {base}/{name}\n" for name in _names(pair is not None)))
    where = "" if directory in (".", "") else f" -C {shlex.quote(directory)}"
    issuer = "" if pair is not None else " --issuer csr"
    click.echo(f"next: kubectl mesh {f'init{where}{issuer} --mesh-id NAME' if topology is None else f'render{where}'}", err=True)


def _union(directory: str, files: tuple[str, ...]) -> None:
    from kubectl_mesh.adopt.authority import roots
    from kubectl_mesh.cli import dumps, workdir
    from kubectl_mesh.errors import MeshError, Problem, refuse
    from kubectl_mesh.pki.names import ROOT_CERT, ROTATION
    from kubectl_mesh.pki.union import union
    from kubectl_mesh.write import locked, write_certificates

    others: list[tuple[str, bytes]] = []
    problems: list[Problem] = []
    for file in files:
        try:
            body = None if os.path.isdir(file) else workdir.read_file(file, pipe=True)
            if body is None and not os.path.isdir(file):
                raise refuse(file, "is not there", "name the root of a cluster: PEM, or a dump")
            others.append((file, body if body is not None and dumps.is_pem(body) else roots(file, dumps.read(file))))
        except MeshError as error:
            problems += error.problems
    if problems:
        raise MeshError(problems)
    base = workdir.join(directory, "certs")
    with locked(directory):
        if os.path.lexists(f"{base}/{ROTATION}"):
            what = "says that the root is being rotated, and whoever is under another root would be cut off at its end"
            raise refuse(f"{base}/{ROTATION}", what, "finish it with `kubectl mesh certs rotate-root advance`, or go back with abort")
        topology = topology_of(directory)
        kept, clusters = kept_files(directory, topology)
        try:
            taken = union(others, kept, clusters, workdir.now())
        except MeshError as error:
            raise MeshError(workdir.located(directory, error.problems)) from None
        write_certificates(base, taken.files, replaced=(ROOT_CERT,))
    common.warn(taken.warnings)
    common.put_text("".join(f"update  {base}/{path}\n" for path in taken.files) or f"keep    {base}/{ROOT_CERT}\n")
    named = {c.name for c in topology.clusters} if topology is not None else set()
    lacking = sorted(named - set(clusters))
    taken_in = f"; take in what {', '.join(lacking)} signs with now: kubectl mesh certs import NAME FILE" if lacking else ""
    click.echo(f"every cluster is to trust these roots before any signs with another{taken_in}", err=True)
    click.echo("then render, apply, and go on only when every workload trusts them: docs/adopt.md tells how to see it", err=True)


def _names(key: bool) -> tuple[str, ...]:
    from kubectl_mesh.pki import ROOT_CERT, ROOT_KEY

    return (ROOT_CERT, ROOT_KEY) if key else (ROOT_CERT,)


def topology_of(directory: str) -> "Topology | None":
    """The topology, None where there is none yet: a root may be there before the mesh is."""
    from kubectl_mesh.cli import workdir

    return workdir.read_topology(directory, empty=True) if os.path.lexists(workdir.join(directory, workdir.TOPOLOGY)) else None


def kept_files(directory: str, topology: "Topology | None") -> tuple[dict[str, bytes], tuple[str, ...]]:
    """The files of `certs/` that are there, and the clusters whose intermediates are among them."""
    from kubectl_mesh.cli import workdir
    from kubectl_mesh.compare import open_folder
    from kubectl_mesh.pki.names import PARTS, ROOT_CERT, ROOT_KEY, folder

    kept: dict[str, bytes] = {}
    path = workdir.join(directory, "certs")
    top = open_folder(path)
    if top is None:
        return kept, ()
    try:
        for name in (ROOT_CERT, ROOT_KEY):
            workdir.keep(kept, name, top, f"{path}/{name}", name, [])
        known = {folder(c.name) for c in topology.clusters} if topology is not None else set()
        folders = [f for f in workdir.intermediates(top) if f in known or topology is None]
        for base in folders:
            inner = open_folder(base, top)
            if inner is None:
                continue
            try:
                for part in PARTS:
                    workdir.keep(kept, part, inner, f"{path}/{base}/{part}", f"{base}/{part}", [])
            finally:
                os.close(inner)
    finally:
        os.close(top)
    return kept, tuple(f.removeprefix("intermediate-") for f in folders)


def keep_out(directory: str) -> None:
    """Keeps the keys that are about to be written out of git, or refuses to write them."""
    from kubectl_mesh.cli import workdir
    from kubectl_mesh.errors import MeshError
    from kubectl_mesh.guard import GITIGNORE, let_through
    from kubectl_mesh.write import add_files

    ignore = workdir.join(directory, ".gitignore")
    if not os.path.lexists(ignore):
        add_files(directory, {".gitignore": GITIGNORE.encode()})
        click.echo(f"wrote {ignore}, which keeps keys and tokens out of git", err=True)
    private = ["certs/root-key.pem", "certs/intermediate-x/ca-key.pem", "credentials/x.token", "certs/.kubectl-mesh-stage-x"]
    if bare := let_through(directory, private, ignore, os.environ):
        raise MeshError(bare)
