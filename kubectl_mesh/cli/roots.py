"""Whether a render would change roots in a way that no order of applying makes safe."""

import os
from typing import TYPE_CHECKING

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model import LOCK

if TYPE_CHECKING:
    from kubectl_mesh.cli.compose import Rendered
    from kubectl_mesh.diff.roots import Signing

GONE = "put it back, with its key; where no cluster runs this mesh yet, move the tree away, and render again"


def exchanged(rendered: "Rendered", out: str) -> list[Problem]:
    """What is wrong with the roots of a render, next to those in the tree that is there."""
    pki = rendered.pki
    if not pki.intermediates:
        return []
    from kubectl_mesh.cli.workdir import join
    from kubectl_mesh.diff.roots import Signing, refused
    from kubectl_mesh.pki.names import ROOT_CERT

    before = _before(rendered, out)
    roots = frozenset(root.fingerprint for root in pki.roots)
    known = {name: made.certificate.fingerprint for name, made in pki.intermediates.items()}
    if all(old.roots == roots and (len(roots) == 1 or old.intermediate == known.get(name)) for name, old in before.items()):
        return []
    from kubectl_mesh.view.trust import Certificates

    read = Certificates()
    after = {
        name: Signing(roots, known[name], read.signer({"ca-cert.pem": i.ca_cert, "cert-chain.pem": i.cert_chain, "root-cert.pem": i.root_cert}))
        for name, i in pki.intermediates.items()
    }
    where = join(rendered.inputs.directory, f"certs/{ROOT_CERT}")
    problem = refused(where, _signers(before, out), after)
    if problem is not None and ROOT_CERT in pki.new:
        problem = Problem(
            Place(where), "is missing, and a new root would take the place of the one by which the rendered clusters trust each other", GONE, problem.id
        )
    return [problem] if problem is not None else []


def _before(rendered: "Rendered", out: str) -> "dict[str, Signing]":
    """What the clusters that stay have, by their locks."""
    from kubectl_mesh.cli.workdir import read_file
    from kubectl_mesh.diff.roots import Signing
    from kubectl_mesh.view.locks import lock
    from kubectl_mesh.view.parse import Parser

    found = {}
    for cluster in rendered.inputs.topology.clusters:
        body = read_file(os.path.join(out, cluster.name, LOCK))
        state = lock(cluster.name, {LOCK: body}, {}, Parser()) if body is not None else None
        if state is not None and state.intermediate is not None:
            found[cluster.name] = Signing(frozenset(state.roots), state.intermediate)
    return found


def _signers(before: "dict[str, Signing]", out: str) -> "dict[str, Signing]":
    """With the root that signed, where the tree holds the certificates in clear and there are several roots."""
    from dataclasses import replace

    from kubectl_mesh.cli.workdir import read_file
    from kubectl_mesh.model import CACERTS
    from kubectl_mesh.view import read as view

    found = {}
    for name, old in before.items():
        body = read_file(os.path.join(out, name, CACERTS)) if len(old.roots) > 1 else None
        signer = view({name: {CACERTS: body}}).clusters[name].trust.signer if body is not None else None
        found[name] = replace(old, signer=signer)
    return found
