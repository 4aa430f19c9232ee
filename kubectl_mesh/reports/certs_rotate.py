"""Shows where a rotation of the root is: what its step asks for, and the ways on and back."""

from collections.abc import Mapping, Sequence

from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model.trust import Trust
from kubectl_mesh.operations.certs_rotate import RotationResult, RotationStatus
from kubectl_mesh.operations.checked_inputs import CheckedInputs
from kubectl_mesh.operations.root_rotation import own_trusts, waiting_time
from kubectl_mesh.pki.next_root_crl import missing_crl_problems
from kubectl_mesh.pki.rotation import Rotation, next_step
from kubectl_mesh.pki.union_rotation import find_self_signed_clusters
from kubectl_mesh.safety import rollout, rotation_steps
from kubectl_mesh.stores import store_of
from kubectl_mesh.text import mesh_command


def rotation_text(result: RotationResult) -> str:
    """The step that the rotation is at now."""
    if result.rotation is None:
        return "the rotation is over\n"
    return f"{step_text(result.inputs, result.rotation)}\n"


def next_text(result: RotationResult) -> str:
    """What comes after the end of a rotation; empty before."""
    if result.rotation is not None:
        return ""
    return (
        f"next: `{mesh_command('render')}`, which no longer asks istiod and the proxies for several"
        " roots"
    )


def status_text(status: RotationStatus) -> str:
    """The step, and which clusters have it in the tree."""
    if status.rotation is None:
        return "no rotation is on\n"
    tree = status.json["tree"]
    missing = [d["cluster"] for d in status.json["directories"] if not d["rendered"]]
    rendered = (
        f"not rendered yet in {tree}: {', '.join(missing)}"
        if missing
        else f"rendered in {tree}: all clusters"
    )
    return f"{step_text(status.inputs, status.rotation)}\n{rendered}\n"


def step_text(inputs: CheckedInputs, on: Rotation) -> str:
    """What a step is, what it asks for, and the ways on and back."""
    topology, signers = inputs.topology, own_trusts(inputs)
    how = (
        "NOT BEFORE of every Leaf is later than the restart"
        if topology.is_ambient
        else "these commands name every workload that lacks it"
    )
    lines = [
        f"{on.step}: {rotation_steps.describe_step(on.step, union=on.is_union)}",
        "",
        *_before_render_lines(inputs, on, signers),
        f"1. {mesh_command('render')}; look at the difference, and apply it, in any order",
        *_setting_lines(inputs, on),
        *([f"   {rollout.MANUAL_STORE_STEP}"] if store_of(topology).OUTSIDE else []),
        *_restart_lines(inputs, on, list(signers)),
        f"2. see that it is everywhere; {how}:",
        *(f"     {line}" for line in _look_lines(inputs, on)),
        _advance_line(inputs, on, signers),
        f"back: {rotation_steps.describe_rollback(on.step, union=on.is_union)}",
    ]
    return "\n".join(lines)


def _before_render_lines(
    inputs: CheckedInputs, on: Rotation, signers: Mapping[str, Trust]
) -> list[str]:
    """What holders of roots do before a render."""
    lines = []
    if on.step == "trust-both" and missing_crl_problems(
        inputs.certs_files, {on.new_root}, inputs.machine.now
    ):
        lines.append(
            "0. have the new root sign a CRL, an empty one too, for proxies go by CRLs;"
            f" {mesh_command('certs crl --add FILE')}"
        )
    if not inputs.topology.issuer_kind.takes_requests or not on.step.startswith("sign"):
        return lines
    if on.is_union and on.step == "sign-old":
        return lines
    right = on.old_roots[0] if on.step == "sign-old" else on.new_root
    late = [name for name, trust in signers.items() if trust.signer != right]
    if late:
        whose = "--all" if len(late) == len(signers) and not on.is_union else " ".join(late)
        lines.append(
            f"0. {mesh_command(f'certs renew {whose}')}; have the {on.step[5:]} root sign the"
            " requests; certs import what comes back"
        )
    return lines


def _setting_lines(inputs: CheckedInputs, on: Rotation) -> list[str]:
    """What a render sets while a rotation is on, where clusters take it without a restart."""
    topology = inputs.topology
    slow = rollout.find_clusters_to_restart(
        topology.clusters, inputs.target.KIND, ambient=topology.is_ambient
    )
    if on.step != "trust-both" or len(slow) == len(topology.clusters):
        return []
    return [
        (
            "   ISTIO_MULTIROOT_MESH and PROXY_CONFIG_XDS_AGENT are rendered while a rotation"
            " is on, unless base.yaml has them:"
        ),
        (
            "   istiod restarts by that; a pod takes the second when it restarts, else it gets"
            " new roots when its certificate is due"
        ),
    ]


def _restart_lines(inputs: CheckedInputs, on: Rotation, names: Sequence[str]) -> list[str]:
    """The restarts that a step needs."""
    topology, kind = inputs.topology, inputs.target.KIND
    restarts = list(
        rollout.restart_commands(on.step, topology.clusters, kind, ambient=topology.is_ambient)
    )
    if on.is_union and on.step == "trust-both":
        own_roots = find_self_signed_clusters(inputs.certs_files, names)
        restarts += [
            line
            for c in topology.clusters
            if c.name in own_roots
            and (line := rollout.restart_istiod_command(c, kind)) not in restarts
        ]
    if not restarts:
        return []
    return ["   where it is applied, in this order:", *(f"     {line}" for line in restarts)]


def _look_lines(inputs: CheckedInputs, on: Rotation) -> Sequence[str]:
    """The commands that show whether every cluster has a step."""
    topology = inputs.topology
    return list(
        rollout.rollout_check_lines(
            on.step,
            topology.clusters,
            inputs.target.KIND,
            join_path(inputs.directory, "certs"),
            removed_roots={"drop-old": on.old_roots, "drop-new": (on.new_root,)}.get(on.step, ()),
            ambient=topology.is_ambient,
        )
    )


def _advance_line(inputs: CheckedInputs, on: Rotation, signers: Mapping[str, Trust]) -> str:
    """When the next step may be taken, and which one it is."""
    wait = waiting_time(inputs, on)
    least = rollout.hours_text(wait.total_seconds())
    then = next_step(on, {t.signer or "" for t in signers.values()}) or "the end"
    advance = mesh_command(f"certs rotate-root advance --seen-for {least}")
    return (
        f"3. once every cluster has {f'had it for {least}' if wait else 'it'}: {advance}  ({then})"
    )
