"""What keeps a step of a rotation of the root back, and where the rotation is."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from kubectl_mesh import targets
from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.istio.versions import can_read_crl
from kubectl_mesh.istio.workload_certificates import max_ttl
from kubectl_mesh.model.trust import Trust
from kubectl_mesh.operations import tree_trust
from kubectl_mesh.operations.checked_inputs import CheckedInputs
from kubectl_mesh.pki.rotation import (
    WAITING_STEPS,
    Rotation,
    abort_step,
    next_step,
    read_trust,
    wait_problem,
)
from kubectl_mesh.safety import rollout
from kubectl_mesh.safety.roots import lagging_tree_problems
from kubectl_mesh.text import mesh_command
from kubectl_mesh.x509.layout import CRL_FILE, ROOT_CERT


def check_clusters_can_follow(inputs: CheckedInputs, *, with_restarts: bool) -> None:
    """Refuses where running clusters could not follow, or only by restarts that nobody has agreed
    to.
    """
    topology = inputs.topology
    check_one_root(inputs)
    slow = rollout.find_clusters_to_restart(
        topology.clusters, inputs.target.KIND, ambient=topology.is_ambient
    )
    if not slow or with_restarts:
        return
    names = ", ".join(c.name for c in slow[:3]) + (
        f" and {len(slow) - 3} more" if len(slow) > 3 else ""
    )
    if topology.is_ambient:
        what = (
            "says dataPlane: ambient: ztunnel takes other roots only when it restarts, which"
            " cuts what runs over it (Istio's issue 47427)"
        )
    else:
        what = (
            "names clusters that take other roots only when istiod or Citadel restarts, as"
            f" before Istio 1.20 ({names})"
        )
    raise MeshError(
        [
            Problem(
                topology.document.field_place(),
                what,
                "with --with-restarts each step tells what to restart, in which order",
                code="rotation-needs-restarts",
            )
        ]
    )


def check_one_root(inputs: CheckedInputs) -> None:
    """Refuses where istiod would hand out one root of several."""
    if broken := rollout.one_root_problems(inputs.topology.clusters):
        raise MeshError(broken)


def check_step_rendered(inputs: CheckedInputs, on: Rotation, out: str | None) -> None:
    """Refuses while the tree, on disk or in the last commit, does not have the step."""
    tree = out if out is not None else join_path(inputs.directory, "out")
    wanted = _with_crl(inputs, on, own_trusts(inputs))
    problems = lagging_tree_problems(
        tree,
        tree_trust.read_tree_trusts(tree, wanted),
        wanted,
        f"run `{mesh_command('render')}`, apply it everywhere, and see that it is there",
    )
    committed = tree_trust.read_commit_trusts(tree, wanted, inputs.machine.environment)
    if committed and not problems:
        there = {name: t for name, t in wanted.items() if name in committed}
        problems = lagging_tree_problems(
            f"HEAD:{tree}",
            committed,
            there,
            "commit what was rendered, and have it applied everywhere",
        )
    if problems := _unsigned_problems(inputs, on, wanted) or problems:
        raise MeshError(problems)


def own_trusts(inputs: CheckedInputs) -> dict[str, Trust]:
    """What each cluster must trust according to `certs/`, and its signer."""
    return read_trust(
        inputs.certs_files, [c.name for c in inputs.topology.clusters if c.primary is None]
    )


def _with_crl(inputs: CheckedInputs, on: Rotation, wanted: dict[str, Trust]) -> dict[str, Trust]:
    """The same, with the CRLs where the next step waits for them and Istio reads them."""
    if on.step != "trust-both" or CRL_FILE not in inputs.certs_files:
        return wanted
    digest = hashlib.sha256(inputs.certs_files[CRL_FILE]).hexdigest()
    read = {
        c.name for c in inputs.topology.clusters if any(can_read_crl(r.version) for r in c.releases)
    }
    return {name: replace(t, crl=digest) if name in read else t for name, t in wanted.items()}


def _unsigned_problems(
    inputs: CheckedInputs, on: Rotation, wanted: Mapping[str, Trust]
) -> list[Problem]:
    """Intermediates that the root of this step did not sign."""
    # What came back from the archive is not in question; and who had the one root from the start
    # keeps it.
    if on.step not in ("sign-new", "sign-old") or (on.is_union and on.step == "sign-old"):
        return []
    unsigned = [
        n for n, t in wanted.items() if (t.signer == on.new_root) != (on.step == "sign-new")
    ]
    if not unsigned:
        return []
    renew = mesh_command(f"certs renew {' '.join(unsigned)}")
    which = "new" if on.step == "sign-new" else "old"
    return [
        Problem(
            Place(join_path(inputs.directory, "certs")),
            f"has intermediates that the {which} root did not sign: {', '.join(unsigned)}",
            f"renew them: `{renew}`, then `certs import`, render and apply",
            code="intermediate-signed-by-wrong-root",
        )
    ]


def waiting_time(inputs: CheckedInputs, on: Rotation) -> timedelta:
    """How long every cluster must have held a step before the next one."""
    return (
        max_ttl(inputs.base, citadel=inputs.target.KIND == targets.OLD)
        if on.step in WAITING_STEPS
        else timedelta()
    )


def check_waiting_time(inputs: CheckedInputs, on: Rotation, seen_for: timedelta | None) -> None:
    """Refuses while it is too early by what was seen."""
    if found := wait_problem(on, seen_for, waiting_time(inputs, on), inputs.machine.now):
        raise MeshError([found])


def rotation_json(inputs: CheckedInputs, on: Rotation | None, out: str | None) -> dict[str, Any]:
    """The state for programs; the schema is `report/certs-rotation`."""
    tree = out if out is not None else join_path(inputs.directory, "out")
    wanted = own_trusts(inputs) if ROOT_CERT in inputs.certs_files else {}
    there = tree_trust.read_tree_trusts(tree, wanted)
    signers = {t.signer or "" for t in wanted.values()}
    return {
        "mesh": inputs.topology.mesh_id,
        "step": on.step if on is not None else None,
        "old": list(on.old_roots) if on is not None else [],
        "new": on.new_root if on is not None else None,
        "since": f"{on.since:%Y-%m-%dT%H:%M:%SZ}" if on is not None else None,
        "union": on is not None and on.is_union,
        "next": (next_step(on, signers) or "end") if on is not None else "begin",
        "abort": abort_step(on, signers) if on is not None else None,
        "waitSeconds": int(waiting_time(inputs, on).total_seconds()) if on is not None else 0,
        "tree": tree,
        "directories": [
            {"cluster": name, "rendered": there.get(name) == t, "signer": t.signer or None}
            for name, t in sorted(wanted.items())
        ],
    }
