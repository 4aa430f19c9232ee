"""What keeps a step of a rotation back, what it asks of the clusters, and where it stands."""

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.fs.folders import join
from kubectl_mesh.fs.read import read_inside
from kubectl_mesh.istio.versions import reads_crl
from kubectl_mesh.istio.workload_certificates import longest
from kubectl_mesh.operations import tree_trust
from kubectl_mesh.operations.checked_inputs import CheckedInputs
from kubectl_mesh.pki.ahead import lacking
from kubectl_mesh.pki.joining import alone
from kubectl_mesh.pki.rotation import WAITS, Rotation, back, early, follows, trusts
from kubectl_mesh.pki.steps import Holdings
from kubectl_mesh.safety import rollout, rotation_steps
from kubectl_mesh.x509.layout import ARCHIVE, CRL, PARTS


def able(inputs: CheckedInputs, with_restarts: bool) -> None:
    """Refuses where running clusters could not follow, or only by restarts that nobody has agreed
    to.
    """
    topology = inputs.topology
    place = topology.document.place
    whole(inputs)
    slow = rollout.by_restart(topology.clusters, inputs.target.KIND, ambient=topology.ambient)
    if slow and not with_restarts:
        names = ", ".join(c.name for c in slow[:3]) + (
            f" and {len(slow) - 3} more" if len(slow) > 3 else ""
        )
        if topology.ambient:
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
                    place(),
                    what,
                    "with --with-restarts each step tells what to restart, in which order",
                )
            ]
        )


def whole(inputs: CheckedInputs) -> None:
    """Refuses where istiod would hand out one root of several."""
    if broken := rollout.one_root(inputs.topology.clusters):
        raise MeshError(broken)


def rendered(inputs: CheckedInputs, have: Holdings, on: Rotation, out: str | None) -> None:
    """Refuses while the tree, on disk or in the last commit, does not have the step."""
    folder = out if out is not None else join(inputs.directory, "out")
    wanted = _wanted(inputs, have)
    if on.step == "trust-both" and CRL in have.kept:
        digest = hashlib.sha256(have.kept[CRL]).hexdigest()
        read = {
            c.name
            for c in inputs.topology.clusters
            if any(reads_crl(r.version) for r in c.releases)
        }
        wanted = {name: replace(t, crl=digest) if name in read else t for name, t in wanted.items()}
    problems = tree_trust.behind(
        folder,
        tree_trust.of_tree(folder, wanted),
        wanted,
        "run `kubectl mesh render`, apply it everywhere, and see that it is there",
    )
    committed = tree_trust.of_commit(folder, wanted, inputs.machine.environment)
    if committed and not problems:
        there = {name: t for name, t in wanted.items() if name in committed}
        problems = tree_trust.behind(
            f"HEAD:{folder}",
            committed,
            there,
            "commit what was rendered, and have it applied everywhere",
        )
    # What came back from the archive is not in question; and who had the one root from the start
    # keeps it.
    unsigned = (
        []
        if on.step not in ("sign-new", "sign-old") or (on.union and on.step == "sign-old")
        else [n for n, t in wanted.items() if (t.signer == on.new) != (on.step == "sign-new")]
    )
    if unsigned:
        fix = (
            f"renew them: `kubectl mesh certs renew {' '.join(unsigned)}`, then `certs import`,"
            " render and apply"
        )
        which = "new" if on.step == "sign-new" else "old"
        problems = [
            Problem(
                Place(join(inputs.directory, "certs")),
                f"has intermediates that the {which} root did not sign: {', '.join(unsigned)}",
                fix,
            )
        ]
    if problems:
        raise MeshError(problems)


def _wanted(inputs: CheckedInputs, have: Holdings) -> dict[str, Any]:
    return dict(trusts(have.kept, [c.name for c in inputs.topology.clusters if c.primary is None]))


def _wait(inputs: CheckedInputs, on: Rotation) -> timedelta:
    """How long every cluster must have held a step before the next one."""
    return (
        longest(inputs.base, citadel=inputs.target.KIND == rollout.OLD)
        if on.step in WAITS
        else timedelta()
    )


def waited(inputs: CheckedInputs, on: Rotation, seen_for: timedelta | None) -> None:
    """Refuses while it is too early by what was seen."""
    if found := early(on, seen_for, _wait(inputs, on), inputs.machine.now):
        raise MeshError([found])


def old_key(directory: str, inputs: CheckedInputs, on: Rotation) -> bytes | None:
    """The key of an old root, out of the archive."""
    for mark in on.old:
        for name in inputs.archived:
            if name == f"root-{mark[:8]}" or name.startswith(f"root-{mark[:8]}-"):
                body = read_inside(directory, f"certs/{ARCHIVE}/{name}/root-key.pem", "key")
                if body is not None:
                    return body
    return None


def former(directory: str, inputs: CheckedInputs) -> dict[str, bytes]:
    """The files of the intermediates in the archive, by their paths below `certs/`."""
    found = {}
    for name in inputs.archived:
        for part in PARTS if name.startswith("intermediate-") else ():
            body = read_inside(
                directory,
                f"certs/{ARCHIVE}/{name}/{part}",
                "key" if part == "ca-key.pem" else "certificates",
            )
            if body is not None:
                found[f"{ARCHIVE}/{name}/{part}"] = body
    return found


def told(inputs: CheckedInputs, on: Rotation) -> list[str]:
    """What a step is, what it asks for, and the ways on and back."""
    topology, kind = inputs.topology, inputs.target.KIND
    lines = [
        f"{on.step}: {rotation_steps.means(on.step, union=on.union)}",
        "",
        "1. kubectl mesh render; look at the difference, and apply it, in any order",
    ]
    if on.step == "trust-both" and len(
        rollout.by_restart(topology.clusters, kind, ambient=topology.ambient)
    ) < len(topology.clusters):
        lines += [
            (
                "   ISTIO_MULTIROOT_MESH and PROXY_CONFIG_XDS_AGENT are rendered while a rotation"
                " is on, unless base.yaml has them:"
            ),
            (
                "   istiod restarts by that; a pod takes the second when it restarts, else it gets"
                " new roots when its certificate is due"
            ),
        ]
    signers = trusts(inputs.kept, [c.name for c in topology.clusters if c.primary is None])
    if (
        topology.issuer == "csr"
        and on.step.startswith("sign")
        and not (on.union and on.step == "sign-old")
    ):
        late = [
            n
            for n, t in signers.items()
            if t.signer != (on.old[0] if on.step == "sign-old" else on.new)
        ]
        whose = "--all" if len(late) == len(signers) and not on.union else " ".join(late)
        lines[2:2] = (
            [
                (
                    f"0. kubectl mesh certs renew {whose}; have the {on.step[5:]} root sign the"
                    " requests; certs import what comes back"
                )
            ]
            if late
            else []
        )
    if on.step == "trust-both" and lacking(inputs.kept, {on.new}, inputs.machine.now):
        lines[2:2] = [
            (
                "0. have the new root sign a CRL, an empty one too, for proxies go by CRLs; kubectl"
                " mesh certs crl --add FILE"
            )
        ]
    if topology.store == "external":
        lines += [f"   {rollout.BY_HAND}"]
    restarts = list(rollout.restarts(on.step, topology.clusters, kind, ambient=topology.ambient))
    if on.union and on.step == "trust-both":
        restarts += [
            line
            for c in topology.clusters
            if c.name in alone(inputs.kept, list(signers))
            and (line := rollout.restart_istiod(c, kind)) not in restarts
        ]
    if restarts:
        lines += ["   where it is applied, in this order:", *(f"     {line}" for line in restarts)]
    how = (
        "NOT BEFORE of every Leaf is later than the restart"
        if topology.ambient
        else "these commands name every workload that lacks it"
    )
    lines += [f"2. see that it is everywhere; {how}:"]
    gone = {"drop-old": on.old, "drop-new": (on.new,)}.get(on.step, ())
    look = rollout.seen(
        on.step,
        topology.clusters,
        kind,
        join(inputs.directory, "certs"),
        gone=gone,
        ambient=topology.ambient,
    )
    lines += [f"     {line}" for line in look]
    wait = _wait(inputs, on)
    least = rollout.hours(wait.total_seconds())
    then = follows(on, {t.signer or "" for t in signers.values()}) or "the end"
    lines += [
        (
            f"3. once every cluster has {f'had it for {least}' if wait else 'it'}: kubectl mesh"
            f" certs rotate-root advance --seen-for {least}  ({then})"
        )
    ]
    return [*lines, f"back: {rotation_steps.back(on.step, union=on.union)}"]


def value(
    inputs: CheckedInputs, have: Holdings, on: Rotation | None, out: str | None
) -> dict[str, Any]:
    """The state for programs; the schema is `report/certs-rotation`."""
    folder = out if out is not None else join(inputs.directory, "out")
    wanted = _wanted(inputs, have) if "root-cert.pem" in have.kept else {}
    there, signers = tree_trust.of_tree(folder, wanted), {t.signer or "" for t in wanted.values()}
    return {
        "mesh": inputs.topology.mesh_id,
        "step": on.step if on is not None else None,
        "old": list(on.old) if on is not None else [],
        "new": on.new if on is not None else None,
        "since": f"{on.since:%Y-%m-%dT%H:%M:%SZ}" if on is not None else None,
        "union": on is not None and on.union,
        "next": (follows(on, signers) or "end") if on is not None else "begin",
        "abort": back(on, signers) if on is not None else None,
        "waitSeconds": int(_wait(inputs, on).total_seconds()) if on is not None else 0,
        "tree": folder,
        "directories": [
            {"cluster": name, "rendered": there.get(name) == t, "signer": t.signer or None}
            for name, t in sorted(wanted.items())
        ],
    }
