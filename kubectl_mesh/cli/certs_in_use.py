"""`kubectl mesh certs import` of an intermediate that a running cluster signs with."""

import os
from typing import TYPE_CHECKING

from kubectl_mesh.cli import clock, common

if TYPE_CHECKING:
    from collections.abc import Mapping


def in_use(file: str) -> bool:
    """Whether a file is a dump, or a folder, and not a certificate that came back."""
    from kubectl_mesh.fs.read import read_file
    from kubectl_mesh.operations import dumps

    if os.path.isdir(file):
        return True
    if not os.path.isfile(file):
        return False
    body = read_file(file) or b""
    return not dumps.is_pem(body) and any(word in body for word in (b"kind:", b'"kind"'))


def take(directory: str, name: str, file: str, root: str | None, key: str | None) -> None:
    """Takes the four files in, byte for byte, so that the cluster sees nothing change but what it
    trusts.
    """
    from kubectl_mesh.cli.certs_import_root import keep_out
    from kubectl_mesh.errors import MeshError, refuse
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.fs.locking import locked
    from kubectl_mesh.fs.owned_files import write_certificates
    from kubectl_mesh.operations.checked_inputs import load_inputs
    from kubectl_mesh.pki.inuse import take as taken
    from kubectl_mesh.topology.selection import chosen_clusters
    from kubectl_mesh.workdir.places import TOPOLOGY, located
    from kubectl_mesh.x509.chain import outlives
    from kubectl_mesh.x509.layout import ROOT_CERT, folder

    base = join(directory, "certs")
    with locked(directory):
        inputs = load_inputs(directory, None, clock.machine())
        topology = inputs.topology
        if not topology.own_intermediates:
            path = join(directory, TOPOLOGY)
            raise refuse(
                path,
                f"says issuer: {topology.issuer}, which makes the intermediates in the clusters",
                "write issuer: local or csr",
            )
        (cluster,) = chosen_clusters(topology, (name,), "NAME")
        namespace, primary = next(
            (c.namespace, c.primary) for c in topology.clusters if c.name == cluster
        )
        if primary is not None:
            raise refuse(
                "NAME",
                f"{cluster} has no intermediate: the istiod of {primary} signs there",
                "leave it out",
            )
        own = (
            {}
            if key is None
            else {
                "ca-cert.pem": file,
                "ca-key.pem": key,
                "cert-chain.pem": file,
                "root-cert.pem": root or f"certs/{ROOT_CERT}",
            }
        )
        try:
            parts = (
                _dumped(file, root, namespace) if key is None else _files(own, root, inputs.kept)
            )
            new = taken(
                cluster,
                [c.name for c in topology.clusters],
                file,
                parts,
                inputs.kept,
                clock.now(),
                own,
            )
        except MeshError as error:
            raise MeshError(located(directory, error.problems, given=(file, key, root))) from None
        keep_out(directory)
        write_certificates(base, new)
    common.warn(outlives(file, {**inputs.kept, **new}, folder(cluster)))
    common.put_text(
        "".join(f"create  {base}/{path}\n" for path in sorted(new))
        or f"keep    {base}/{folder(cluster)}\n"
    )
    common.say(common.NEXT)


def _dumped(file: str, root: str | None, namespace: str) -> "Mapping[str, bytes]":
    """The four files that a cluster signs with, from a dump or a folder."""
    from kubectl_mesh.errors import refuse
    from kubectl_mesh.observed.cacerts import the_one
    from kubectl_mesh.operations import dumps

    if root is not None:
        raise refuse(
            "--root",
            f"is not needed: {file} holds the root that the cluster trusts",
            "leave it out",
        )
    found = the_one(file, dumps.read(file), namespace)
    if found.issuer is not None:
        raise refuse(
            file,
            "was made by cert-manager, which renews it there",
            "write `certificates: {issuer: cert-manager}`",
        )
    return found.files


def _files(
    own: "Mapping[str, str]", root: str | None, kept: "Mapping[str, bytes]"
) -> "Mapping[str, bytes]":
    """The same from PEM files: the chain, its key, and the root where there is none yet."""
    from kubectl_mesh.errors import refuse
    from kubectl_mesh.fs.read import read_file
    from kubectl_mesh.pki.inuse import of_chain
    from kubectl_mesh.x509.layout import ROOT_CERT

    if root is None and ROOT_CERT not in kept:
        raise refuse(
            own["ca-cert.pem"],
            f"cannot be judged, for there is no certs/{ROOT_CERT} yet",
            "name its root with --root FILE",
        )
    named = {
        part: read_file(own[part], pipe=True)
        for part in ("ca-cert.pem", "ca-key.pem", *(["root-cert.pem"] if root is not None else []))
    }
    if missing := [own[part] for part, body in named.items() if body is None]:
        raise refuse(missing[0], "is not there", "name a PEM file")
    return of_chain(
        named["ca-cert.pem"] or b"",
        named["ca-key.pem"] or b"",
        named.get("root-cert.pem") or kept[ROOT_CERT],
        own,
    )
