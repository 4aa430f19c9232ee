"""`kubectl mesh certs revoke` and `certs crl`: intermediates that no proxy is to trust any more."""

import re
import shlex
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import common

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from kubectl_mesh.pki.crl import Signer

DAYS = click.option(
    "--days", type=click.IntRange(2, 3650), default=365, show_default=True, help="Until nextUpdate: sign anew before that, or every connection is refused."
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
def revoke(directory: str, names: tuple[str, ...], certificates: tuple[str, ...], days: int) -> None:
    """Revoke the intermediate of a cluster that has left the mesh.

    Writes certs/ca-crl.pem: the root's CRL with its serial, and an empty one of each intermediate, without which istiod would drop
    it. That needs the root's key and those of all intermediates. The next render puts it into cacerts.
    """
    from kubectl_mesh.errors import refuse

    if not names and not certificates:
        raise refuse("NAME", "is missing", "name a cluster, or a file with --certificate")
    _sign(directory, days, names, certificates, (), clear=False)


@click.command(name="crl")
@common.directory
@DAYS
@click.option("--clear", is_flag=True, help="Revoke nothing any more: every CRL is empty, for istiod takes no bundle away.")
@click.option("--add", "added", multiple=True, type=click.Path(), metavar="FILE", help="A CRL of a CA whose key is not here; may be given again.")
def crl(directory: str, days: int, clear: bool, added: tuple[str, ...]) -> None:
    """Sign the CRLs of the mesh anew, before their nextUpdate."""
    _sign(directory, days, (), (), added, clear=clear)


def _sign(directory: str, days: int, names: "Sequence[str]", files: "Sequence[str]", added: "Sequence[str]", *, clear: bool) -> None:
    from datetime import timedelta

    from kubectl_mesh.cli import workdir
    from kubectl_mesh.errors import MeshError, refuse
    from kubectl_mesh.pki import ROOT_CERT, crl, kept
    from kubectl_mesh.pki.names import CRL
    from kubectl_mesh.pki.revoke import revoke as anew
    from kubectl_mesh.revoked import unread
    from kubectl_mesh.words import count
    from kubectl_mesh.write import locked, write_certificates

    with locked(directory):
        inputs = workdir.gather(directory, None)
        topology, at = inputs.topology, workdir.now()
        path = f"{workdir.join(directory, 'certs')}/{CRL}"
        if not topology.own_intermediates:
            what = f"says issuer: {topology.issuer}; what it signed, it revokes"
            raise refuse(workdir.join(directory, workdir.TOPOLOGY), what, "revoke it where that issuer is")
        if ROOT_CERT not in inputs.kept:
            raise refuse(workdir.join(directory, "certs"), "has no root yet, so nothing to revoke", "run `kubectl mesh render` first")
        if CRL not in inputs.kept and not names and not files and not added:
            raise refuse(path, "is not there: nothing is revoked, and no proxy asks for it", "begin with `kubectl mesh certs revoke NAME`")
        try:
            root = kept.kept_root(inputs.kept, at, inputs.folders)
            own = [c.name for c in topology.clusters if c.primary is None and f"intermediate-{c.name}/ca-cert.pem" in inputs.kept]
            states = {name: kept.kept_intermediate(name, inputs.kept, root, at, keyless=True) for name in own}
            there = crl.load(crl.NAME, inputs.kept[CRL]) if CRL in inputs.kept else ()
            wanted = crl.signers(states, root)
            before = crl.Listed((*there, *_given(added, wanted)))
            current = {s.certificate: name for name, s in states.items() if s.certificate is not None}
            gone = [_revocable(*found, current, root.certificates, before) for found in _chosen(directory, names, files)]
            until = at.replace(microsecond=0) + timedelta(days=days)
            body, late = anew(inputs.kept, _archive(directory, inputs.archived), states, root, before, gone, at, until, clear=clear)
            _, told, _, warnings = crl.complete(body, states, root, at)
        except MeshError as error:
            raise MeshError(workdir.located(directory, error.problems)) from None
        write_certificates(workdir.join(directory, "certs"), {CRL: body}, replaced=(CRL,))
    lines = [f"{'update' if CRL in inputs.kept else 'create':7} {path}: CRL number {told.number}, valid until {told.until:%Y-%m-%d}"]
    lines += [f"revoked {serial} since {since:%Y-%m-%d}" for serial, since in told.revoked] or ["nothing is revoked"]
    common.warn(workdir.located(directory, (*warnings, *late)))
    common.warn(workdir.located(directory, unread(topology, present=True)))
    if CRL not in inputs.kept:
        lines.append("a sidecar that is running goes by it from its next start on, and by later ones at once; gateways made by injection do not mount it")
    where = "" if directory in (".", "") else f" -C {shlex.quote(directory)}"
    lines.append(f"next: kubectl mesh render{where}; it changes cacerts in {count(len(own), 'cluster')}, and istiod takes it without a restart")
    common.put_text("\n".join(lines) + "\n")


def _archive(directory: str, names: "Sequence[str]") -> dict[str, bytes]:
    """The files of `certs/archive/`, by their paths below `certs/`."""
    from kubectl_mesh.cli import workdir
    from kubectl_mesh.pki.names import ARCHIVE, ROOT_KEY

    paths = [f"{ARCHIVE}/{name}/{file}" for name in names for file in ("ca-cert.pem", "ca-key.pem", ROOT_KEY)]
    bodies = {path: workdir.read_file(f"{workdir.join(directory, 'certs')}/{path}") for path in paths}
    return {path: body for path, body in bodies.items() if body is not None}


def _given(files: "Sequence[str]", wanted: "Sequence[Signer]") -> "list[x509.CertificateRevocationList]":
    from kubectl_mesh.cli import workdir
    from kubectl_mesh.errors import refuse
    from kubectl_mesh.pki import crl

    found: list[x509.CertificateRevocationList] = []
    for file in files:
        body = workdir.read_file(file)
        if body is None:
            raise refuse(file, "is not there", "name a CRL in PEM")
        given = crl.load(file, body)
        known = crl.Listed(given)
        if len([s for s in wanted if known.of(s.certificate) is not None]) < len(given):
            raise refuse(file, "is of no CA of this mesh, or not signed by it", "leave it out, or find out whose it is")
        found += given
    return found


def _chosen(directory: str, names: "Sequence[str]", files: "Sequence[str]") -> "list[tuple[str, x509.Certificate]]":
    """The certificates that are to be revoked, each with the name of its file."""
    from kubectl_mesh.cli import workdir
    from kubectl_mesh.errors import refuse
    from kubectl_mesh.pki.read import load_certificates

    found = []
    for name in names:
        path = f"{workdir.join(directory, 'certs')}/intermediate-{name}/ca-cert.pem"
        body = workdir.read_file(path) if re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name) else None
        if body is None:
            raise refuse(path, "is not there", "name a cluster whose intermediate is, or its file with --certificate")
        found.append((path, load_certificates(path, body)[0]))
    for file in files:
        body = workdir.read_file(file)
        if body is None:
            raise refuse(file, "is not there", "name a certificate in PEM")
        found.append((file, load_certificates(file, body)[0]))
    return found


def _revocable(
    path: str, certificate: "x509.Certificate", current: "dict[x509.Certificate, str]", roots: "Sequence[x509.Certificate]", listed: "object"
) -> "x509.Certificate":
    """Refuses what is in use, is revoked already, or is none of this root's."""
    from kubectl_mesh.errors import refuse
    from kubectl_mesh.pki.crl import Listed
    from kubectl_mesh.pki.judge import direct_issuer

    assert isinstance(listed, Listed)
    if certificate in current:
        name = current[certificate]
        fix = f"remove the cluster first (`kubectl mesh remove`), or have another intermediate made: move certs/intermediate-{name} away and render"
        raise refuse(path, f'is what "{name}" signs with: every workload there would be refused', fix)
    issuer = direct_issuer(certificate, roots)
    if issuer is None:
        raise refuse(path, "is not signed by the root of this mesh, so its CRL cannot list it", "name an intermediate of this mesh")
    before = listed.of(issuer)
    if before is not None and before.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
        raise refuse(path, f"is revoked already (serial {certificate.serial_number:x})", "leave it out; `kubectl mesh certs crl` signs anew what is there")
    return certificate
