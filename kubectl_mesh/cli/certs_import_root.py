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
@click.argument("file", metavar="FILE", type=click.Path())
@click.option("--key", "key", metavar="FILE", type=click.Path(), help="Its private key: this directory signs the intermediates.")
def command(directory: str, file: str, key: str | None) -> None:
    """Take in a root of your own as certs/root-cert.pem; it is judged before anything is written.

    With its key this directory signs the intermediates. Without it somebody else does: `certificates: {issuer: csr}`. A root that is
    there is never replaced.
    """
    from kubectl_mesh.cli import workdir
    from kubectl_mesh.errors import MeshError, refuse
    from kubectl_mesh.pki.own import own_root
    from kubectl_mesh.write import locked, make_folder, write_certificates

    named = {path: workdir.read_file(path, pipe=True) for path in (file, key) if path is not None}
    if missing := [path for path, body in named.items() if body is None]:
        raise refuse(missing[0], "is not there", "name the root's certificate" if missing[0] == file else "name the root's key")
    topology = topology_of(directory)
    if key is None and topology is not None and topology.issuer != "csr":
        path = workdir.join(directory, workdir.TOPOLOGY)
        what = f"says issuer: {topology.issuer}, and without its key the root in {file} signs nothing here"
        raise refuse(path, what, "give --key FILE; or write `certificates: {issuer: csr}`, and somebody else signs")
    make_folder(directory)
    base = workdir.join(directory, "certs")
    with locked(directory):
        kept, folders = kept_files(directory, topology)
        try:
            pair = None if key is None else (key, named[key] or b"")
            taken = own_root((file, named[file] or b""), pair, kept, folders, workdir.now())
        except MeshError as error:
            raise MeshError(workdir.located(directory, error.problems)) from None
        keep_out(directory)
        for name, body in taken.files.items():
            write_certificates(base, {name: body})
    common.warn(workdir.located(directory, taken.warnings))
    common.put_text("".join(f"{'create' if name in taken.files else 'keep':7} {base}/{name}\n" for name in _names(pair is not None)))
    where = "" if directory in (".", "") else f" -C {shlex.quote(directory)}"
    issuer = "" if pair is not None else " --issuer csr"
    click.echo(f"next: kubectl mesh {f'init{where}{issuer} --mesh-id NAME' if topology is None else f'render{where}'}", err=True)


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
