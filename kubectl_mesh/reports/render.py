"""report: what a render did, or would do, as text for people and as a value for programs; never a
secret.
"""

from collections.abc import Iterator, Sequence

from kubectl_mesh.model import Change, FolderChange, Pending, Pki, Plan
from kubectl_mesh.operations.render import RenderResult
from kubectl_mesh.reports.problems import problems_json
from kubectl_mesh.safety import rollout
from kubectl_mesh.targets.teardown import Leaving
from kubectl_mesh.text import count_text, marked_text, single_line

ACTIONS = ("create", "update", "tighten", "remove")


def mesh_line(plan: Plan, kind: str) -> str:
    """What the mesh is, in one line."""
    clusters = plan.topology.clusters
    return (
        f"mesh {plan.topology.mesh_id}: {count_text(len(clusters), 'cluster')},"
        f" {count_text(len({c.network for c in clusters}), 'network')}, {kind}"
    )


def list_new_certificates(pki: Pki) -> tuple[bool, list[str], list[str]]:
    """Whether the root is new, the clusters with a new intermediate, and the clusters that got only
    missing files.
    """
    made = {
        path.split("/")[0].removeprefix("intermediate-")
        for path in pki.new_files
        if path.endswith("/ca-cert.pem")
    }
    touched = {
        path.split("/")[0].removeprefix("intermediate-") for path in pki.new_files if "/" in path
    }
    return (
        any(path.startswith("root-") for path in pki.new_files),
        sorted(made),
        sorted(touched - made),
    )


def certificates_line(pki: Pki, would: bool) -> str:
    """What was made of certificates, or nothing."""
    root, made, completed = list_new_certificates(pki)
    if not pki.new_files:
        return ""
    verb = "would be " if would else ""
    parts = [
        *(["root"] if root else []),
        *([count_text(len(made), "intermediate")] if made else []),
    ]
    said = [f"{' and '.join(parts)} {verb}made"] if parts else []
    said += [f"{count_text(len(completed), 'intermediate')} {verb}completed"] if completed else []
    said += [f"CRLs {verb}signed"] if "ca-crl.pem" in pki.new_files else []
    return f"certificates: {', '.join(said)}"


def folder_line(change: FolderChange, out: str) -> str:
    """What happens to one directory, in one line."""
    actions = [c.action for c in change.changes]
    if change.action in ("update", "tighten"):
        detail = ", ".join(
            f"{actions.count(a)} {a}{'d' if a[-1] == 'e' else 'ed'}"
            for a in ACTIONS
            if actions.count(a)
        )
    else:
        detail = count_text(len(actions), "file")
    return f"{change.action:9} {out}/{change.name}  {detail}"


def list_notes(result: RenderResult) -> Iterator[str]:
    """What a person must not overlook: files removed, edited by hand, foreign, or damaged."""
    out, would = result.out, not result.is_written
    for change in result.changes:
        base = f"{out}/{change.name}"
        if change.repairs_lock:
            yield (
                f"{_action_text(would, 'repaired ', 'repair   ')} {base}: its mesh.lock cannot be"
                " read, as"
                " after a power loss"
            )
        for file in change.changes:
            yield from _file_notes(change, file, base, would)
        if change.foreign_files and change.action == "remove":
            yield (
                f"{_action_text(would, 'kept     ', 'keep     ')} {base}: files that are not of"
                " kubectl"
                " mesh's making are in it"
            )
        for foreign in change.foreign_files:
            yield f"foreign   {base}/{single_line(foreign)}: left alone"
    for name in result.foreign_entries:
        yield f"foreign   {out}/{single_line(name)}: left alone"


def _action_text(would: bool, past: str, future: str) -> str:
    return future if would else past


def _file_notes(change: FolderChange, file: Change, base: str, would: bool) -> Iterator[str]:
    """What a person must not overlook of one file."""
    path = f"{base}/{file.path}"
    edited = " (it had been edited by hand)" if file.was_edited else ""
    if file.action == "remove" and (change.action != "remove" or file.was_edited):
        yield f"{_action_text(would, 'removed  ', 'remove   ')} {path}{edited}"
    elif file.was_edited and file.action == "create":
        yield (
            f"edited    {path}: it had been deleted by hand, and"
            f" {_action_text(would, 'was', 'would be')} written again"
        )
    elif file.was_edited:
        yield (
            f"edited    {path}: it had been changed by hand, and"
            f" {_action_text(would, 'was', 'would be')} rewritten"
        )
    elif file.action == "tighten":
        yield (
            f"{_action_text(would, 'tightened', 'tighten  ')} {path}: others"
            f" {_action_text(would, 'could', 'can')} read it"
        )


def pending_lines(pending: Sequence[Pending]) -> Iterator[str]:
    """What is not known yet, what it holds back, and the command that gets it."""
    if pending:
        yield f"pending: {count_text(len(pending), 'thing')} not known yet; the rest is complete"
    for item in pending:
        owner = "network" if item.kind == "gateway" else "cluster"
        yield f"  {owner} {item.subject}: {item.what}"
        yield f"    holds back {marked_text(item.holds_back)}; the command that gets it:"
        yield f"    {marked_text(item.command)}"


def render_text(result: RenderResult) -> str:
    """The report of a render; without writing, each file that changes is named."""
    rendered, would = result.rendered, not result.is_written
    lines = [result.assumption] if result.assumption else []
    lines.append(
        mesh_line(
            rendered.plan,
            rendered.inputs.target.kind_text(rendered.inputs.base, rendered.plan),
        )
    )
    made = certificates_line(rendered.pki, would)
    if made:
        lines.append(made)
    changed = [c for c in result.changes if c.action != "identical"]
    identical = len(result.changes) - len(changed)
    for change in changed:
        lines.append(folder_line(change, result.out))
        if would:
            lines += [f"  {c.action:8} {c.path}" for c in change.changes if c.action != "identical"]
    if identical:
        lines.append(f"identical {count_text(identical, 'directory')}")
    lines += list_notes(result)
    lines += _left_lines(result.removals, would)
    lines += pending_lines(rendered.plan.pending)
    return "\n".join(lines) + "\n"


def next_step_text(result: RenderResult) -> str:
    """What comes after a render; empty if nothing was written."""
    if not (result.is_written and result.has_differences):
        return ""
    if result.needs_restarts:
        return (
            f"next: review {result.out}, and apply it cluster by cluster, each with the restart"
            " that is printed above"
        )
    rendered = result.rendered
    return rollout.next_step_text(
        rendered.plan, result.changes, result.out, rendered.inputs.target.KIND
    )


def _left_lines(left: Leaving, would: bool) -> Iterator[str]:
    """What left the tree and is in the clusters."""
    said = "would leave" if would else "left"
    if left.deletes:
        yield f"{said} the tree; {left.tool} deletes it from the clusters once the change is merged"
    if left.before:
        yield (
            f"{said} the tree: Applications whose charts {left.tool} would not uninstall; the"
            " command that changes this, before you merge:"
        )
        yield from (f"    {command}" for command in left.before)
    if left.commands and left.tool:
        yield (
            f"{said} the mesh: what {left.tool} does not delete; once the change is merged, the"
            " commands that do:"
        )
    elif left.commands:
        yield (
            f"{said} the tree, but not the clusters, for `kubectl apply` deletes nothing; the"
            " commands that do:"
        )
    yield from (f"    {command}" for command in left.commands)


def render_json(result: RenderResult) -> dict[str, object]:
    """The report of a render for programs; its schema is `report/render`."""
    plan, pki, left = result.rendered.plan, result.rendered.pki, result.removals
    root, made, completed = list_new_certificates(pki)
    return {
        "mesh": plan.topology.mesh_id,
        "written": result.is_written,
        "changed": bool(pki.new_files) or any(c.has_differences for c in result.changes),
        "certificates": {"root": root, "intermediates": made, "completed": completed},
        "directories": [_folder_json(change, result.out) for change in result.changes],
        "foreign": list(result.foreign_entries),
        "delete": list(left.commands),
        "deleteBefore": list(left.before),
        "deletedBy": left.tool if left.deletes else None,
        "pending": [item.pending_json() for item in plan.pending],
        "warnings": problems_json(result.warnings),
        "assumed": result.assumption or None,
    }


def _folder_json(change: FolderChange, out: str) -> dict[str, object]:
    return {
        "name": change.name,
        "path": f"{out}/{change.name}",
        "action": change.action,
        "changes": [
            {"path": f.path, "action": f.action, "edited": f.was_edited}
            for f in change.changes
            if f.action != "identical"
        ],
        "foreign": list(change.foreign_files),
        "repaired": change.repairs_lock,
    }
