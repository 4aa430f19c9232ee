"""Whether a render would change roots in a way that no order of applying makes safe."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.fs.folders import join
from kubectl_mesh.fs.read import read_file
from kubectl_mesh.model import CACERTS, LOCK, FolderChange
from kubectl_mesh.model.trust import Trust
from kubectl_mesh.observed import read as view
from kubectl_mesh.observed.trust import Certificates
from kubectl_mesh.operations import tree_trust
from kubectl_mesh.safety import rollout
from kubectl_mesh.safety.root_exchange import ID as ID  # noqa: PLC0414 -- the check that reports it
from kubectl_mesh.safety.root_exchange import refused
from kubectl_mesh.tree.lock_file import parse_lock
from kubectl_mesh.x509.layout import ROOT_CERT

if TYPE_CHECKING:
    from kubectl_mesh.operations.build import Rendered

CERTS = "certs/"
GONE = "put it back, with its key"


def exchanged(
    rendered: "Rendered",
    out: str,
    changes: Sequence[FolderChange],
    unapplied: frozenset[str] = frozenset(),
) -> list[Problem]:
    """What is wrong with the roots of a render, next to those in the existing tree; `unapplied` are
    clusters whose tree does not count.
    """
    narrow = (
        rollout.one_root(rendered.plan.topology.clusters) if len(rendered.pki.roots) > 1 else []
    )
    # Roots and intermediates stand in the locks: where no directory differs, they are the same.
    if not rendered.pki.intermediates or not any(change.differs for change in changes):
        return narrow
    directory, members = rendered.inputs.directory, rendered.plan.members
    there = tree_trust.of_tree(out, members.keys() - unapplied)
    return narrow or (
        _sets(rendered, out, there) or tree_trust.cut(out, there, rendered.tree, members, directory)
        if there
        else []
    )


def elsewhere(rendered: "Rendered", out: str, changes: Sequence[FolderChange]) -> list[Problem]:
    """A warning where the tree has the root of another issuer than the topology, and only the
    clusters know whether it is the same one.
    """
    topology = rendered.plan.topology
    differing = [
        change.name for change in changes if change.differs and change.name in rendered.plan.members
    ]
    if not differing:
        return []

    found = []
    for name in differing:
        before = _issuer(read_file(os.path.join(out, name, LOCK), "lock"))
        after = _issuer(rendered.tree[name][LOCK].body) if before is not None else None
        if after is not None and before != after:
            found.append((before, after))
    if not found:
        return []

    from kubectl_mesh.differences.rules import (
        BETWEEN,
        ELSEWHERE,
        HERE,
    )  # loads all of `differences`, and the case is rare

    return [
        Problem(
            topology.document.place("certificates", "issuer"),
            f"has workloads trust the root of {after}, where {before} was: if that is not the same"
            " root, clusters that have the change and those that have not refuse each other",
            HERE if after == CERTS else ELSEWHERE if before == CERTS else BETWEEN,
            "root-elsewhere",
        )
        for before, after in dict.fromkeys(found)
    ]


def _issuer(body: bytes | None) -> str | None:
    """Whose root a lock says that is trusted; None where it says nothing of it."""
    lock = parse_lock(body)
    if lock is None or not (lock.roots or lock.issuer):
        return None
    return CERTS if lock.roots else (lock.issuer or "").partition(": ")[2]


def _sets(rendered: "Rendered", out: str, there: Mapping[str, "Trust"]) -> list[Problem]:

    pki = rendered.pki
    before = {name: trust for name, trust in there.items() if trust.intermediate}
    roots = tuple(root.fingerprint for root in pki.roots)
    known = {name: made.certificate.fingerprint for name, made in pki.intermediates.items()}
    if all(
        set(old.roots) == set(roots) and (len(roots) == 1 or old.intermediate == known.get(name))
        for name, old in before.items()
    ):
        return []

    read = Certificates()
    after = {
        name: Trust(
            roots,
            read.signer(
                {
                    "ca-cert.pem": i.ca_cert,
                    "cert-chain.pem": i.cert_chain,
                    "root-cert.pem": i.root_cert,
                }
            ),
            known[name],
        )
        for name, i in pki.intermediates.items()
    }
    where = join(rendered.inputs.directory, f"certs/{ROOT_CERT}")
    problem = refused(where, _signers(before, out), after)
    if problem is not None and ROOT_CERT in pki.new:
        problem = Problem(
            Place(where),
            "is missing, and a new root would take the place of the one by which the rendered"
            " clusters trust each other",
            GONE,
            problem.id,
        )
    return [problem] if problem is not None else []


def _signers(before: "dict[str, Trust]", out: str) -> "dict[str, Trust]":
    """With the root that signed, where there are several, no lock tells it, and the tree holds the
    certificates in clear.
    """
    found = {}
    for name, old in before.items():
        body = (
            read_file(os.path.join(out, name, CACERTS), "manifest")
            if len(old.roots) > 1 and old.signer is None
            else None
        )
        signer = (
            view({name: {CACERTS: body}}).clusters[name].trust.signer
            if body is not None
            else old.signer
        )
        found[name] = replace(old, signer=signer)
    return found
