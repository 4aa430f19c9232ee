"""What `check`, `explain` and others look at: a working directory, its certificates and its tree,
with every check's findings.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from kubectl_mesh import checks
from kubectl_mesh.credentials.kubeconfig import ca_date_problems
from kubectl_mesh.credentials.tokens import TOKENS, token_findings
from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.fs.folders import join
from kubectl_mesh.model import FolderChange, Topology
from kubectl_mesh.model.commands import kubectl
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.observed import Reader
from kubectl_mesh.observed.sources import on_disk, some
from kubectl_mesh.observed.sources import rendered as as_rendered
from kubectl_mesh.operations import build, private_files, refusals, root_changes, sealed_logins
from kubectl_mesh.operations.checked_inputs import CheckedInputs, check_directory
from kubectl_mesh.operations.server_cas import ca_file, list_server_cas
from kubectl_mesh.safety import reconnect
from kubectl_mesh.targets.releases import is_hub_unknown
from kubectl_mesh.topology.peers import peers_of
from kubectl_mesh.tree.compare import compare, strangers
from kubectl_mesh.workdir.places import TOPOLOGY, located
from kubectl_mesh.workdir.topology_file import read_topology
from kubectl_mesh.x509.layout import SEAL_KEY

_LATER = ("servers", "credentials", "gateways", "certificates", "tree", "git")
_BY_RENDER = frozenset(
    (
        *(
            "tree-current",
            "tree-edited",
            "tree-stale",
            "tree-withdrawn",
            "tree-foreign",
            "secret-change",
            "remote-login",
        ),
        *("root-exchange", "root-elsewhere", "tree-in-use", "identity-change"),
        *(
            "sealed-current",
            "sealed-proven",
            "recipient-shared",
            "sealing-certificate",
            "sealing-expiring",
            "sealing-pending",
        ),
        *("tree-networks", "tree-trust-domain", "token-order"),
    )
)
"""The checks that ask what a render would change."""
_BY_COMPARISON = frozenset(
    (
        *(
            "remote-extra",
            "remote-missing",
            "remote-names",
            "remote-server",
            "remote-ca",
            "remote-login",
        ),
        *("tree-identity", "tree-network", "tree-networks", "tree-namespace", "tree-trust-domain"),
    )
)
"""The checks that compare what the tree says with the topology."""
_REFUSED_FIRST = (
    "take the steps of what a render refuses (identity-change, tree-in-use and others) first"
)
_BY_MAKING = frozenset(
    (
        *(
            "base-lost",
            "charts-gone",
            "images-gone",
            "istio-known",
            "istio-security",
            "version-skew",
        ),
        *(
            "ambient-shared",
            "server-unique",
            "server-pending",
            "server-borrowed",
            "credential-cost",
        ),
        *(
            "token-expired",
            "token-expiring",
            "token-account",
            "token-old",
            "token-pending",
            "next-token-pending",
        ),
        *("gateway-address", "gateway-pending", "control-plane-address", "address-pending"),
        *(
            "certs-own",
            "certs-expiring",
            "certs-key-type",
            "certs-names",
            "crl-expiring",
            "crl-read",
            "certificate-pending",
        ),
    )
)
"""The checks that are made of a render in mind, whatever is in the tree."""
_BY_CONTENT = frozenset(
    (
        *(
            "tree-readable",
            "tree-complete",
            "tree-root",
            "tree-own",
            "tree-chain",
            "tree-pair",
            "tree-ca",
            "tree-expired",
            "tree-expiring",
        ),
        *(
            "remote-missing",
            "remote-extra",
            "remote-double",
            "remote-names",
            "remote-seen",
            "remote-server",
            "remote-ca",
            "remote-login",
        ),
        *("tree-identity", "tree-network", "tree-networks", "tree-namespace", "tree-trust-domain"),
    )
)
"""The checks that read the tree, of which there is none before the first render."""
_BY_CA = ("server-ca-expired", "server-ca-expiring")
"""The checks of dates that the survey asks itself, with the time of `--fail-within`."""
_SOON = ("certs-expiring", "crl-expiring")
_SAME = ("identical", "tighten")


@dataclass
class _Found:
    """What a run collects."""

    errors: list[Problem]
    warnings: list[Problem]
    skipped: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found, as far as it could be looked at."""

    topology: Topology | None
    inputs: CheckedInputs | None
    rendered: build.Rendered | None
    changes: tuple[FolderChange, ...] | None
    """What a render would change; None where the tree could not be compared."""
    results: tuple[checks.Result, ...]


def survey(
    directory: str,
    out: str | None,
    kubeconfig: str | None,
    machine: Machine,
    clock: Callable[[CheckedInputs], datetime],
    fail_within: timedelta | None = None,
    token_age: timedelta | None = None,
) -> Survey:
    """Asks every check, on the day that `clock` gives; it is asked once the inputs are read.

    A directory without a topology is refused, for there is nothing to answer.
    """
    folder = out if out is not None else join(directory, "out")
    found = _Found([], [])
    private_files.check_folders(directory, out)
    if not os.path.lexists(join(directory, TOPOLOGY)):
        read_topology(directory)  # says what is missing
    topology: Topology | None = None
    inputs: CheckedInputs | None = None
    rendered: build.Rendered | None = None
    changes: tuple[FolderChange, ...] | None = None
    at = machine.now
    try:
        topology = read_topology(directory)
        found.warnings += checks.near_networks(topology)
        inputs = check_directory(directory, kubeconfig, machine, topology, folder)
        found.errors += inputs.problems
        at = clock(inputs)
        found.errors += private_files.in_clear(inputs, folder) + private_files.let_through(inputs)
        if any(e.id != "git-ignored" for e in found.errors):
            found.skipped = _BY_RENDER
        rendered = _inputs(found, inputs, folder, at, fail_within, token_age)
        if found.skipped:
            _tree(found, topology, folder, at, fail_within, None, ())
        else:
            changes = _compared(folder, rendered)
            cut = refusals.find_refusals(
                rendered, changes, folder, directory, at, doubts=found.warnings
            )
            told: frozenset[str] = frozenset()
            if any(_other(c) for c in changes):
                told = _tree(found, topology, folder, at, fail_within, rendered, changes)
            if cut:
                # They compare the tree with what a render refuses to write: a render is not their
                # fix.
                found.errors = [
                    replace(e, fix=_REFUSED_FIRST) if e.id in _BY_COMPARISON else e
                    for e in found.errors
                ]
            general = checks.tree_findings(
                changes,
                bool(rendered.pki.new),
                folder,
                strangers(folder, rendered.tree, changes),
                told,
            )
            # What a render refuses to change is not out of date because nobody rendered.
            found.errors += cut or general[0]
            logins = reconnect.reconnections(
                rendered.plan,
                changes,
                sealed_logins.sealed_anew(folder, rendered, changes),
                out=folder,
            )
            found.warnings += (
                *general[1],
                *root_changes.elsewhere(rendered, folder, changes),
                *logins.warnings,
            )
    except MeshError as error:
        found.errors += error.problems
        named = topology is not None and any(p.id for p in found.errors)
        found.skipped = _BY_RENDER if named else frozenset(_LATER)
        if topology is None:
            found.skipped |= {
                c.id for c in checks.CHECKS if c.category == "topology" and c.id != "topology-valid"
            }
        if named and topology is not None:
            _tree(found, topology, folder, at, fail_within, None, ())
    if inputs is not None:
        found.errors += private_files.tracked(inputs, folder)
        found.warnings += inputs.loose
        found.skipped |= inputs.unasked
        # What was judged by a control plane that nobody knows is no finding.
        found.errors = [e for e in found.errors if e.id not in inputs.unasked]
        found.warnings = [w for w in found.warnings if w.id not in inputs.unasked]
    if rendered is None:
        found.skipped |= _BY_MAKING
    if inputs is not None and not inputs.kept:
        found.skipped |= {"certificates"}  # those of the render in mind are throw-away
    if inputs is not None and not inputs.logins:
        found.skipped |= {"token-unique", "token-readable"}
    if token_age is None:
        found.skipped |= {"token-old"}
    unknown: dict[str, checks.Unknown] = {}
    if inputs is not None:
        found.skipped |= _unasked_servers(inputs)
        unknown = _unknown_checks(inputs, rendered)
        if is_hub_unknown(inputs.topology, inputs.target):
            see = kubectl(
                inputs.topology.clusters[0],
                "get",
                "pods",
                "--all-namespaces",
                "-o",
                "jsonpath={..image}",
            )
            unknown["images-gone"] = checks.Unknown(
                "istio.hub leaves the image registry to the operator or to istioctl, which no file"
                " shows",
                see,
            )
        for problem in ca_date_problems(
            list_server_cas(directory, inputs.topology, inputs.servers), at, fail_within
        ):
            (
                found.errors
                if problem.id == "server-ca-expired" or fail_within is not None
                else found.warnings
            ).append(problem)
    if rendered is not None and not any(m.logins for m in rendered.plan.members.values()):
        found.skipped |= {"token-expired", "token-expiring", "token-old"}
    if inputs is not None and not inputs.base and not inputs.unasked:
        found.skipped |= {
            "base-valid",
            "base-lost",
            "base-identity",
            "base-reader",
            "base-registry",
        }
    if changes and all(c.action == "create" for c in changes):
        found.skipped |= _BY_CONTENT
    soon = {e.where.file for e in found.errors if e.id in _SOON}
    kept = [
        w for w in dict.fromkeys(found.warnings) if w.id not in _SOON or w.where.file not in soon
    ]
    return Survey(
        topology,
        inputs,
        rendered,
        changes,
        checks.results(checks.CHECKS, dict.fromkeys(found.errors), kept, found.skipped, unknown),
    )


def _unasked_servers(inputs: CheckedInputs) -> frozenset[str]:
    """The checks of API servers that had no server to ask about."""
    unknown = [c for c in inputs.topology.clusters if c.name not in inputs.servers]
    return frozenset(
        (
            "kubeconfig-context",
            *(
                (
                    "server-reachable",
                    "server-ca",
                    "server-ca-expired",
                    "server-ca-expiring",
                    "server-unique",
                )
                if not inputs.servers
                else ()
            ),
        )
        if unknown
        else ()
    )


def _unknown_checks(
    inputs: CheckedInputs, rendered: build.Rendered | None
) -> dict[str, checks.Unknown]:
    """What no file shows."""
    plan = rendered.plan if rendered is not None else None
    detects = bool(inputs.base) and inputs.target.can_detect_platform(inputs.base)
    return checks.unknown_checks(
        inputs.topology,
        inputs.servers,
        plan,
        lambda c: ca_file(inputs.directory, c),
        is_proven=SEAL_KEY in inputs.kept,
        can_detect_platform=detects,
    )


def _inputs(
    found: _Found,
    inputs: CheckedInputs,
    folder: str,
    at: datetime,
    fail_within: timedelta | None,
    token_age: timedelta | None,
) -> build.Rendered:
    """The render in mind, and what it finds in the inputs."""
    directory = inputs.directory
    rendered = build.make(inputs, at, folder, throwaway=True)
    if fail_within is not None:
        found.errors += located(directory, checks.expiry_findings(rendered.pki, at, fail_within))
    tokens = token_findings(rendered.plan, at, fail_within, token_age)
    found.errors += located(directory, tokens[0], (p.where.file for p in tokens[0]))
    found.warnings += located(directory, tokens[1], (p.where.file for p in tokens[1]))
    # What the tokens and the CAs say is in the findings already, as errors where it is one.
    found.warnings += (
        *(w for w in rendered.warnings if w.id not in (*_BY_CA, *TOKENS)),
        *checks.pending_findings(rendered.plan, inputs.broken),
    )
    return rendered


def _compared(folder: str, rendered: build.Rendered) -> tuple[FolderChange, ...]:
    try:
        return compare(folder, rendered.tree, rendered.plan.topology.mesh_id)
    except MeshError as error:
        raise MeshError(replace(p, id=p.id or "tree-current") for p in error.problems) from None


def _other(change: FolderChange) -> bool:
    """Whether a directory holds anything but what a render makes."""
    return change.differs or bool(change.foreign)


def _tree(
    found: _Found,
    topology: Topology,
    out: str,
    at: datetime,
    within: timedelta | None,
    rendered: build.Rendered | None,
    changes: Sequence[FolderChange],
) -> frozenset[str]:
    """Reads the tree as it is and asks what it says; gives the files of which something was
    told.
    """
    meant, trusted, intermediates = None, None, {}
    same: frozenset[str] = frozenset()
    made: frozenset[str] | None = None
    if rendered is None:
        view = Reader(foreign=True).read(on_disk(out))
    else:
        # What is as a render would make it needs no second look.
        only = {
            c.name: {f.path for f in c.changes if f.action not in _SAME} | {*c.foreign}
            for c in changes
            if _other(c)
        }
        view = Reader(foreign=True).read(some(out, only))
        folders = {
            name: {
                path: rendered.tree[name][path]
                for path in only[name]
                if path in rendered.tree[name]
            }
            for name in only
            if name in rendered.tree
        }
        meant = Reader().read(as_rendered(folders))
        same = frozenset(
            f"{c.name}/{f.path}" for c in changes for f in c.changes if f.action in _SAME
        )
        made = frozenset(
            f"{name}/{path}" for name, folder in rendered.tree.items() for path in folder
        )
        if not rendered.pki.new:
            trusted = frozenset(c.fingerprint for c in rendered.pki.roots) or None
            intermediates = {
                name: i.certificate.fingerprint for name, i in rendered.pki.intermediates.items()
            }
    by_hand = {
        f"{c.name}/{f.path}": "deleted" if f.action == "create" else "edited"
        for c in changes
        for f in c.changes
        if f.edited
    }
    if rendered is None:
        locks = [(n, d.lock) for n, d in view.clusters.items() if d.lock is not None]
        by_hand = {f"{n}/{path}": "edited" for n, lock in locks for path in lock.edited} | {
            f"{n}/{path}": "deleted" for n, lock in locks for path in lock.missing
        }
    asked = checks.Asked(
        out,
        view,
        meant,
        topology,
        peers_of(topology),
        trusted,
        intermediates,
        at,
        within,
        by_hand,
        same,
        made,
    )
    errors, warnings = checks.cacerts_findings(asked)
    unread = checks.files_of(e for e in errors if e.id in ("tree-readable", "tree-complete"))
    errors += [
        e
        for e in checks.remote_findings(asked) + checks.identity_findings(asked)
        if e.where.file not in unread
    ]
    before = checks.files_of(found.errors)
    errors = [e for e in errors if e.where.file not in before]
    found.errors += errors
    found.warnings += (*warnings, *checks.home_findings(asked))
    told = checks.files_of((*errors, *warnings))
    return told | checks.listed(asked, told)
