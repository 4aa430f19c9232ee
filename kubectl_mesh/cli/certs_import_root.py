"""`kubectl mesh certs import-root`"""

import os
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kubectl_mesh.model import Topology


EMPTY = "none"
"""What stands for the clusters of a topology that has none yet."""


@click.command(name="import-root")
@common.directory
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--key",
    "key",
    metavar="FILE",
    type=click.Path(),
    help="Its private key: this directory signs the intermediates.",
)
@click.option(
    "--union",
    "union",
    is_flag=True,
    help="Trust the roots of running clusters as well, beside the one that is here.",
)
def command(directory: str, files: tuple[str, ...], key: str | None, union: bool) -> None:
    """Take in a root of your own as certs/root-cert.pem.

    It is judged before anything is written. With its key this directory signs the intermediates.
    Without it somebody else does: `certificates: {issuer: csr}`. A root that is there is never
    replaced; with --union others are added to it: those of running clusters, or with --key the one
    that all are to come under. It is the first step of a rotation, and rotate-root takes the next.
    Their FILEs are PEM, or what `kubectl get -o yaml` printed of cacerts, istio-ca-secret or the
    ConfigMap istio-ca-root-cert.
    """
    if union:
        _union(directory, files, key)
        return
    if len(files) > 1:
        raise click.UsageError(
            "one root is taken in; the roots of running clusters are added with --union",
            click.get_current_context(),
        )
    _own(directory, files[0], key)


def _own(directory: str, file: str, key: str | None) -> None:
    from kubectl_mesh.errors import MeshError, Place, Problem, refuse
    from kubectl_mesh.fs.durable import make_folder
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.fs.locking import locked
    from kubectl_mesh.fs.owned_files import write_certificates
    from kubectl_mesh.fs.read import read_file
    from kubectl_mesh.pki.own import own_root
    from kubectl_mesh.workdir.places import TOPOLOGY, located

    named = {
        path: read_file(path, "certificates", pipe=True) for path in (file, key) if path is not None
    }
    if missing := [path for path, body in named.items() if body is None]:
        raise MeshError(
            Problem(
                Place(path),
                "is not there",
                "name the root's certificate" if path == file else "name the root's key",
            )
            for path in missing
        )
    topology = topology_of(directory)
    _signs_here(directory, topology)
    if key is None and topology is not None and topology.issuer != "csr":
        path = join(directory, TOPOLOGY)
        what = (
            f"says issuer: {topology.issuer}, and without its key the root in {file} signs nothing"
            " here"
        )
        raise refuse(
            path,
            what,
            "give --key FILE; or write `certificates: {issuer: csr}`, and somebody else signs",
        )
    make_folder(directory)
    base = join(directory, "certs")
    with locked(directory):
        kept, clusters = kept_files(directory, topology)
        try:
            pair = None if key is None else (key, named[key] or b"")
            taken = own_root((file, named[file] or b""), pair, kept, clusters, clock.now())
        except MeshError as error:
            raise MeshError(located(directory, error.problems)) from None
        keep_out(directory)
        for name, body in taken.files.items():
            write_certificates(base, {name: body})
        if not taken.files:
            write_certificates(base, {})  # takes away what a killed run left unfinished
    common.warn(located(directory, taken.warnings))
    common.put_text(
        "".join(
            f"{'create' if name in taken.files else 'keep':7} {base}/{name}\n"
            for name in _names(pair is not None)
        )
    )
    issuer = "" if pair is not None else " --issuer csr"
    common.say(
        f"next: kubectl mesh {f'init{issuer} --mesh-id NAME' if topology is None else 'render'}"
    )


def _union(directory: str, files: tuple[str, ...], key: str | None) -> None:
    from kubectl_mesh.cli import certs_renew
    from kubectl_mesh.errors import MeshError, Problem, refuse
    from kubectl_mesh.fs.exchange import exchange_certificates
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.fs.locking import locked
    from kubectl_mesh.fs.read import read_file
    from kubectl_mesh.observed.cacerts import roots
    from kubectl_mesh.operations import dumps, root_rotation
    from kubectl_mesh.operations.checked_inputs import load_inputs
    from kubectl_mesh.pki import rotation
    from kubectl_mesh.pki.joining import join as join_roots
    from kubectl_mesh.workdir.places import located
    from kubectl_mesh.x509.layout import NEXT_KEY, ROOT_CERT

    others: list[tuple[str, bytes]] = []
    problems: list[Problem] = []
    for file in files:
        try:
            body = None if os.path.isdir(file) else read_file(file, pipe=True)
            if body is None and not os.path.isdir(file):
                raise refuse(file, "is not there", "name the root of a cluster: PEM, or a dump")
            others.append(
                (
                    file,
                    (
                        body
                        if body is not None and dumps.is_pem(body)
                        else roots(file, dumps.read(file))
                    ),
                )
            )
        except MeshError as error:
            problems += error.problems
    own = None
    if key is not None:
        own = read_file(key, "key", pipe=True)
        if own is None:
            problems += refuse(
                key, "is not there", "name the key of the root that all are to come under"
            ).problems
    if problems:
        raise MeshError(problems)
    base = join(directory, "certs")
    with locked(directory):
        topology = topology_of(directory)
        _signs_here(directory, topology)
        kept, clusters = kept_files(directory, topology)
        runs = (
            topology is not None
            and topology.own_intermediates
            and [c.context for c in topology.clusters] != [EMPTY]
        )
        if runs:
            root_rotation.whole(load_inputs(directory, None, clock.machine()))
        try:
            change, taken = join_roots(
                others,
                (key, own) if key is not None and own is not None else None,
                kept,
                clusters,
                clock.now(),
            )
        except MeshError as error:
            raise MeshError(located(directory, error.problems)) from None
        if change.put:
            keep_out(directory, (f"certs/{NEXT_KEY}", ".kubectl-mesh-certs/root-key.pem"))
            exchange_certificates(directory, change)
    common.warn(taken.warnings)
    common.put_text(
        "".join(
            f"{'update' if path in kept else 'create'}  {base}/{path}\n"
            for path in sorted(change.put, key=_order)
        )
        or f"keep    {base}/{ROOT_CERT}\n"
    )
    if not runs or topology is None:
        return
    lacking = sorted({c.name for c in topology.clusters if c.primary is None} - set(clusters))
    if lacking:
        common.say(
            f"first take in what {', '.join(lacking)} signs with now: kubectl mesh certs import"
            " NAME FILE"
        )
    inputs = certs_renew.gather(directory)
    if (on := rotation.read(inputs.kept)) is not None:
        common.say("\n".join(root_rotation.told(inputs, on)))


def _order(path: str) -> tuple[bool, str]:
    """The bundle comes before its copies."""
    from kubectl_mesh.x509.layout import ROOT_CERT

    return path != ROOT_CERT, path


def _signs_here(directory: str, topology: "Topology | None") -> None:
    """Refuses a root of which nothing would come: the issuer in the clusters has its own."""
    from kubectl_mesh.errors import refuse
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.workdir.places import TOPOLOGY

    if topology is not None and not topology.own_intermediates:
        what = (
            f"says issuer: {topology.issuer}, which has its root in the clusters; one that is here"
            " signs nothing"
        )
        raise refuse(
            join(directory, TOPOLOGY),
            what,
            "bring the root in there; or write issuer: local or csr",
        )


def _names(key: bool) -> tuple[str, ...]:
    from kubectl_mesh.x509.layout import ROOT_CERT, ROOT_KEY

    return (ROOT_CERT, ROOT_KEY) if key else (ROOT_CERT,)


def topology_of(directory: str) -> "Topology | None":
    """The topology, None where there is none yet: a root may be there before the mesh is."""
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.workdir.places import TOPOLOGY
    from kubectl_mesh.workdir.topology_file import read_topology

    return (
        read_topology(directory, empty=True) if os.path.lexists(join(directory, TOPOLOGY)) else None
    )


def kept_files(
    directory: str, topology: "Topology | None"
) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """The files of `certs/` that are there, and the clusters whose intermediates are among them."""
    from kubectl_mesh.workdir.certs_folder import read_certs
    from kubectl_mesh.x509.layout import CRL, NEXT_KEY, PARTS, ROOT_CERT, ROOT_KEY, ROTATION, folder

    there = read_certs(directory, None if topology is None else [c.name for c in topology.clusters])
    known = (
        there.intermediates
        if topology is None
        else tuple(
            f for f in there.intermediates if f in {folder(c.name) for c in topology.clusters}
        )
    )
    wanted = {
        ROOT_CERT,
        ROOT_KEY,
        NEXT_KEY,
        ROTATION,
        CRL,
        *(f"{base}/{part}" for base in known for part in PARTS),
    }
    kept = {path: body for path, body in there.files.items() if path in wanted}
    return kept, tuple(f.removeprefix(folder("")) for f in known)


def keep_out(directory: str, more: "Sequence[str]" = ()) -> None:
    """Keeps the keys that are about to be written out of git, or refuses to write them; `more` are
    others than one that signs.
    """
    from kubectl_mesh.errors import MeshError
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.workdir.git_ignore import (
        GITIGNORE_FILE,
        MADE_FIRST,
        let_through,
        write_gitignore,
    )

    ignore = join(directory, GITIGNORE_FILE)
    if write_gitignore(directory):
        common.say(f"wrote {ignore}, which keeps keys and tokens out of git")
    if bare := let_through(directory, [*MADE_FIRST, *more], ignore, os.environ):
        raise MeshError(bare)
