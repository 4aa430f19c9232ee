"""`kubectl mesh certs revoke` and `certs crl`: intermediates that no proxy is to trust any more."""

import re
import shlex
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from cryptography import x509


DAYS = click.option(
    "--days",
    type=click.IntRange(2, 3650),
    default=365,
    show_default=True,
    help="Until nextUpdate: sign anew before that, or every connection is refused.",
)


def register(group: click.Group) -> None:
    """Adds the verbs to `kubectl mesh certs`."""
    group.add_command(revoke)
    group.add_command(crl)


@click.command(name="revoke")
@common.directory
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--certificate",
    "certificates",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="An intermediate that is not in certs/ any more; may be given again.",
)
@DAYS
def revoke(
    directory: str, names: tuple[str, ...], certificates: tuple[str, ...], days: int
) -> None:
    """Revoke the intermediate of a cluster that has left the mesh.

    Writes certs/ca-crl.pem: the root's CRL with its serial, and an empty one of each intermediate,
    without which istiod would drop it. That needs the root's key and those of all intermediates.
    What the cluster signed with before, as certs/archive has it, is revoked too. The next render
    puts all of it into cacerts.
    """
    from kubectl_mesh.errors import refuse

    if not names and not certificates:
        raise refuse("NAME", "is missing", "name a cluster, or a file with --certificate")
    _sign(directory, days, names, certificates, (), clear=False)


@click.command(name="crl")
@common.directory
@DAYS
@click.option(
    "--clear",
    is_flag=True,
    help="Revoke nothing any more: every CRL is empty, for istiod takes no bundle away.",
)
@click.option(
    "--add",
    "added",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="A CRL of a CA whose key is not here; may be given again.",
)
def crl(directory: str, days: int, clear: bool, added: tuple[str, ...]) -> None:
    """Sign the CRLs of the mesh anew, before their nextUpdate.

    In a directory that holds a root alone: the CRL of that root, for --add where the mesh is.
    """
    _sign(directory, days, (), (), added, clear=clear)


def _sign(
    directory: str,
    days: int,
    names: "Sequence[str]",
    files: "Sequence[str]",
    added: "Sequence[str]",
    *,
    clear: bool,
) -> None:
    from datetime import timedelta

    from kubectl_mesh.errors import MeshError, refuse
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.fs.locking import locked
    from kubectl_mesh.fs.owned_files import write_certificates
    from kubectl_mesh.istio.crl_support import unread
    from kubectl_mesh.operations.checked_inputs import load_inputs
    from kubectl_mesh.pki import ahead, crl, kept
    from kubectl_mesh.pki.revoke import former
    from kubectl_mesh.pki.revoke import revoke as anew
    from kubectl_mesh.text import count
    from kubectl_mesh.workdir.places import TOPOLOGY, located
    from kubectl_mesh.workdir.topology_file import has_no_clusters, read_topology
    from kubectl_mesh.x509.layout import CRL, ROOT_CERT, ROOT_KEY, ROTATION

    with locked(directory):
        inputs = load_inputs(
            directory,
            None,
            clock.machine(),
            topology=read_topology(directory, empty=True),
        )
        topology, at = inputs.topology, clock.now()
        alone = not inputs.folders and has_no_clusters(directory)
        path = f"{join(directory, 'certs')}/{CRL}"
        if not topology.own_intermediates:
            what = f"says issuer: {topology.issuer}; what it signed, it revokes"
            raise refuse(
                join(directory, TOPOLOGY),
                what,
                "revoke it where that issuer is",
            )
        if ROOT_CERT not in inputs.kept:
            raise refuse(
                join(directory, "certs"),
                "has no root yet, so nothing to revoke",
                "run `kubectl mesh render` first",
            )
        if alone and ROOT_KEY not in inputs.kept:
            raise refuse(
                f"{join(directory, 'certs')}/{ROOT_KEY}",
                "is not here, and its CRL is signed with it",
                "put it back for as long as this takes",
            )
        if CRL not in inputs.kept and not names and not files and not added and not alone:
            raise refuse(
                path,
                "is not there: nothing is revoked, and no proxy asks for it",
                "begin with `kubectl mesh certs revoke NAME`",
            )
        try:
            root = kept.kept_root(inputs.kept, at, inputs.folders)
            own = [
                c.name
                for c in topology.clusters
                if c.primary is None and f"intermediate-{c.name}/ca-cert.pem" in inputs.kept
            ]
            states = {
                name: kept.kept_intermediate(name, inputs.kept, root, at, keyless=True)
                for name in own
            }
            there = crl.load(crl.NAME, inputs.kept[CRL]) if CRL in inputs.kept else ()
            wanted = crl.signers(states, root)
            idle = ahead.idle(root.certificates, wanted)
            before = crl.Listed((*there, *_given(added, (*(s.certificate for s in wanted), *idle))))
            current = {
                s.certificate: name for name, s in states.items() if s.certificate is not None
            }
            gone = _chosen(
                directory,
                names,
                files,
                lambda path, found: _revocable(path, found, current, root.certificates, before),
            )
            archive = _archive(directory, inputs.archived)
            gone = list(
                dict.fromkeys(
                    (
                        *gone,
                        *(
                            c
                            for name in names
                            for c in former(name, archive, root, before, at)
                            if c not in current
                        ),
                    )
                )
            )
            until = at.replace(microsecond=0) + timedelta(days=days)
            body, late = anew(
                inputs.kept, archive, states, root, before, gone, at, until, clear=clear
            )
            _, told, _, warnings = crl.complete(body, states, root, at)
            put = {**_again(inputs.kept, body, at), CRL: body}
        except MeshError as error:
            raise MeshError(located(directory, error.problems)) from None
        write_certificates(join(directory, "certs"), put, replaced=(ROTATION, CRL))
    lines = [
        (
            f"{'update' if CRL in inputs.kept else 'create':7} {path}: CRL number {told.number},"
            f" valid until {told.until:%Y-%m-%d}"
        )
    ]
    lines += [f"revoked {serial} since {since:%Y-%m-%d}" for serial, since in told.revoked] or [
        "nothing is revoked"
    ]
    if clear and told.revoked:
        lines.append(
            "its CRL is kept until it ends, for it is of a root that signs no more, and whose key"
            " is not here"
        )
    common.warn(located(directory, (*warnings, *late)))
    if alone:
        common.put_text(
            "\n".join(
                [
                    *lines,
                    (
                        "next: in the directory of the mesh, kubectl mesh certs crl --add"
                        f" {shlex.quote(path)}"
                    ),
                ]
            )
            + "\n",
            people=False,
        )
        return
    common.warn(located(directory, unread(topology, present=True)))
    if ROTATION in put:
        lines.append(
            "trust-both counts from now on, for the new root may sign only where proxies have"
            " its CRL"
        )
    if CRL not in inputs.kept:
        lines.append(
            "a sidecar that is running goes by it from its next start on, and by later ones at"
            " once; gateways made by injection do not mount it"
        )
    lines.append(
        f"next: kubectl mesh render; it changes cacerts in {count(len(own), 'cluster')}, and istiod"
        " takes it without a restart"
    )
    common.put_text("\n".join(lines) + "\n")


def _archive(directory: str, names: "Sequence[str]") -> dict[str, bytes]:
    """The files of `certs/archive/`, by their paths below `certs/`."""
    from kubectl_mesh.fs.read import read_inside
    from kubectl_mesh.x509.layout import ARCHIVE, ROOT_KEY

    paths = [
        f"{ARCHIVE}/{name}/{file}"
        for name in names
        for file in ("ca-cert.pem", "ca-key.pem", ROOT_KEY)
    ]
    bodies = {
        path: read_inside(
            directory, f"certs/{path}", "key" if path.endswith("key.pem") else "certificates"
        )
        for path in paths
    }
    return {path: body for path, body in bodies.items() if body is not None}


def _again(held: "Mapping[str, bytes]", body: bytes, at: "datetime") -> "dict[str, bytes]":
    """The step of a rotation, made now, where it is complete only with the CRL that has come."""
    from dataclasses import replace

    from kubectl_mesh.pki import rotation
    from kubectl_mesh.pki.ahead import lacking
    from kubectl_mesh.x509.layout import CRL, ROTATION

    on = rotation.read(held)
    if (
        on is None
        or on.step != "trust-both"
        or not lacking(held, {on.new}, at)
        or lacking({**held, CRL: body}, {on.new}, at)
    ):
        return {}
    return {ROTATION: rotation.write(replace(on, since=at))}


def _given(
    files: "Sequence[str]", authorities: "Sequence[x509.Certificate]"
) -> "list[x509.CertificateRevocationList]":
    from kubectl_mesh.errors import refuse
    from kubectl_mesh.fs.read import read_file
    from kubectl_mesh.pki import crl

    found: list[x509.CertificateRevocationList] = []
    for file in files:
        body = read_file(file, "certificates")
        if body is None:
            raise refuse(file, "is not there", "name a CRL in PEM")
        given = crl.load(file, body)
        known = crl.Listed(given)
        if len([c for c in authorities if known.of(c) is not None]) < len(given):
            raise refuse(
                file,
                "is of no CA of this mesh, or not signed by it",
                "leave it out, or find out whose it is",
            )
        found += given
    return found


def _chosen(
    directory: str,
    names: "Sequence[str]",
    files: "Sequence[str]",
    judged: "Callable[[str, x509.Certificate], x509.Certificate]",
) -> "list[x509.Certificate]":
    """The certificates that are to be revoked, each judged; all that keeps one from it is told at
    once.
    """
    from kubectl_mesh.errors import MeshError, Problem, refuse
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.fs.read import read_file
    from kubectl_mesh.x509.certificates import load_certificates

    place = join(directory, "certs")
    asked = [
        (
            f"{place}/intermediate-{name}/ca-cert.pem",
            name,
            "name a cluster whose intermediate is, or its file with --certificate",
        )
        for name in names
    ]
    asked += [(file, "x", "name a certificate in PEM") for file in files]
    found: list[x509.Certificate] = []
    problems: list[Problem] = []
    for path, name, fix in dict.fromkeys(asked):
        try:
            body = (
                read_file(path, "certificates")
                if re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name)
                else None
            )
            if body is None:
                raise refuse(path, "is not there", fix)
            found.append(judged(path, load_certificates(path, body)[0]))
        except MeshError as error:
            problems += error.problems
    if problems:
        raise MeshError(problems)
    return list(dict.fromkeys(found))


def _revocable(
    path: str,
    certificate: "x509.Certificate",
    current: "dict[x509.Certificate, str]",
    roots: "Sequence[x509.Certificate]",
    listed: "object",
) -> "x509.Certificate":
    """Refuses what is in use, is revoked already, or is none of this root's."""
    from kubectl_mesh.errors import refuse
    from kubectl_mesh.pki.crl import Listed
    from kubectl_mesh.x509.chain import direct_issuer

    assert isinstance(listed, Listed)
    if certificate in current:
        name = current[certificate]
        fix = (
            "remove the cluster first (`kubectl mesh remove`), or have another intermediate made:"
            f" move certs/intermediate-{name} away and render"
        )
        raise refuse(
            path, f'is what "{name}" signs with: every workload there would be refused', fix
        )
    issuer = direct_issuer(certificate, roots)
    if issuer is None:
        raise refuse(
            path,
            "is not signed by the root of this mesh, so its CRL cannot list it",
            "name an intermediate of this mesh",
        )
    before = listed.of(issuer)
    if (
        before is not None
        and before.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
    ):
        raise refuse(
            path,
            f"is revoked already (serial {certificate.serial_number:x})",
            "leave it out; `kubectl mesh certs crl` signs anew what is there",
        )
    return certificate
