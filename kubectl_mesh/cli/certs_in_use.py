"""`kubectl mesh certs import` of an intermediate that a running cluster signs with."""

import os

import click

from kubectl_mesh.cli import common


def in_use(file: str) -> bool:
    """Whether a file is a dump, or a folder, and not a certificate that came back."""
    from kubectl_mesh.cli import dumps, workdir

    if os.path.isdir(file):
        return True
    if not os.path.isfile(file):
        return False
    body = workdir.read_file(file) or b""
    return not dumps.is_pem(body) and any(word in body for word in (b"kind:", b'"kind"'))


def take(directory: str, name: str, file: str, root: str | None, key: str | None) -> None:
    """Takes the four files in, byte for byte, so that the cluster sees nothing change but what it trusts."""
    from kubectl_mesh.cli import workdir
    from kubectl_mesh.cli.certs_import_root import keep_out
    from kubectl_mesh.errors import MeshError, refuse
    from kubectl_mesh.pki.inuse import take as taken
    from kubectl_mesh.pki.names import folder
    from kubectl_mesh.write import locked, write_certificates

    base = workdir.join(directory, "certs")
    with locked(directory):
        inputs = workdir.gather(directory, None)
        topology = inputs.topology
        if not topology.own_intermediates:
            path = workdir.join(directory, workdir.TOPOLOGY)
            raise refuse(path, f"says issuer: {topology.issuer}, which makes the intermediates in the clusters", "write issuer: local or csr")
        (cluster,) = workdir.chosen(topology, (name,))
        namespace, primary = next((c.namespace, c.primary) for c in topology.clusters if c.name == cluster)
        if primary is not None:
            raise refuse("NAME", f"{cluster} has no intermediate: the istiod of {primary} signs there", "leave it out")
        parts = _parts(file, key, root, inputs.kept, namespace)
        try:
            new = taken(cluster, [c.name for c in topology.clusters], file, parts, inputs.kept, workdir.now())
        except MeshError as error:
            raise MeshError(workdir.located(directory, error.problems)) from None
        keep_out(directory)
        write_certificates(base, new)
    common.put_text("".join(f"create  {base}/{path}\n" for path in sorted(new)) or f"keep    {base}/{folder(cluster)}\n")
    click.echo("next: kubectl mesh render", err=True)


def _parts(file: str, key: str | None, root: str | None, kept: "dict[str, bytes] | object", namespace: str) -> dict[str, bytes]:
    """The four files that a cluster signs with."""
    from kubectl_mesh.adopt.authority import the_one
    from kubectl_mesh.cli import dumps, workdir
    from kubectl_mesh.errors import refuse
    from kubectl_mesh.pki.inuse import of_chain
    from kubectl_mesh.pki.names import ROOT_CERT

    if key is None:
        if root is not None:
            raise refuse("--root", f"is not needed: {file} holds the root that the cluster trusts", "leave it out")
        found = the_one(file, dumps.read(file), namespace)
        if found.issuer is not None:
            raise refuse(file, "was made by cert-manager, which renews it there", "write `certificates: {issuer: cert-manager}`")
        return dict(found.files)
    named = {path: workdir.read_file(path, pipe=True) for path in (file, key, root) if path is not None}
    if missing := [path for path, body in named.items() if body is None]:
        raise refuse(missing[0], "is not there", "name a PEM file")
    assert isinstance(kept, dict)
    trusted = named[root] if root is not None else kept.get(ROOT_CERT)
    if trusted is None:
        raise refuse(file, f"cannot be judged, for there is no certs/{ROOT_CERT} yet", "name its root with --root FILE")
    return of_chain(named[file] or b"", named[key] or b"", trusted, file)
