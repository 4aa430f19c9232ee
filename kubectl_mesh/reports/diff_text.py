"""A diff as text for people and as a value for programs."""

from collections.abc import Iterator

from kubectl_mesh.differences.values import GROUPS, Detail, Diff, Line
from kubectl_mesh.reports.problems import refusal_json
from kubectl_mesh.text import count_text, marked_text, mesh_command, single_line

MOST_DETAILS = 12
"""How many details of a line are shown in text."""


def diff_json(diff: Diff) -> dict[str, object]:
    """The diff for programs; its schema is `report/diff`."""
    refused = diff.order.refused
    return {
        "mesh": diff.mesh,
        "before": diff.before,
        "after": diff.after,
        "differs": diff.has_differences,
        "clusters": {"changed": list(diff.changed), "total": diff.cluster_count},
        "summary": {group: sum(line.group == group for line in diff.lines) for group in GROUPS},
        "secrets": dict(diff.secret_file_counts),
        "lines": [
            {
                "group": line.group,
                "kind": line.kind,
                "subject": line.subject,
                "what": line.what,
                "clusters": list(line.clusters),
                "files": list(line.files),
                "details": [
                    {"path": d.path, "before": d.before, "after": d.after} for d in line.details
                ],
                "impact": [{"what": says, "clusters": list(names)} for says, names in line.impact],
                "commands": list(line.commands),
            }
            for line in diff.lines
        ],
        "order": {
            "any": diff.order.has_any_order,
            "refused": (
                refusal_json(refused[0]) | {"others": [refusal_json(p) for p in refused[1:]]}
                if refused
                else None
            ),
            "steps": [list(step) for step in diff.order.steps],
            "reasons": list(diff.order.reasons),
            "notes": list(diff.order.notes),
            "unknown": list(diff.order.unknown),
        },
        "formatting": list(diff.reformatted_files),
        "problems": [refusal_json(p) for p in diff.problems],
    }


def summary_text(diff: Diff) -> str:
    """How much differs, in one line."""
    if not diff.has_differences:
        return "no difference in the mesh"
    parts = [f"{sum(line.group == group for line in diff.lines)} {group}" for group in GROUPS]
    found = (
        f"{', '.join(parts)}; {len(diff.changed)} of"
        f" {count_text(diff.cluster_count, 'cluster')} change"
    )
    told = [f"{number} {state}" for state, number in diff.secret_file_counts.items() if number]
    return found + (f"; files with secrets: {', '.join(told)}" if told else "")


def diff_text(diff: Diff) -> str:
    """The diff for people."""
    lines = [
        f"{'mesh ' + diff.mesh + ': ' if diff.mesh else ''}{diff.before} -> {diff.after}",
        summary_text(diff),
    ]
    for group in GROUPS:
        found = [line for line in diff.lines if line.group == group]
        if found:
            lines += ["", group.capitalize()]
        for line in found:
            lines += _line(line, diff.cluster_count)
    if diff.has_differences:
        lines += ["", "Order", *(f"  {says}" for says in order(diff))]
    if diff.reformatted_files:
        lines += [
            "",
            (
                f"{count_text(len(diff.reformatted_files), 'file')} written otherwise, saying the"
                " same:"
                f" {', '.join(diff.reformatted_files[:MOST_DETAILS])}"
            ),
        ]
    return "\n".join(map(single_line, lines)) + "\n"


def clusters_text(names: tuple[str, ...], total: int) -> str:
    """Clusters in words: all of them, the few, or how many."""
    if len(names) == total and total > 1:
        return "all clusters"
    return (
        ", ".join(names) if len(names) <= 6 else f"{len(names)} clusters: {', '.join(names[:5])}, …"
    )


def _line(line: Line, total: int) -> Iterator[str]:
    places = clusters_text(line.clusters, total)
    yield f"  {line.subject}: {line.what}" + (
        f"  [{places}]" if places and not line.subject.endswith(f" {places}") else ""
    )
    for detail in line.details[:MOST_DETAILS]:
        yield f"      {detail_text(detail)}"
    if len(line.details) > MOST_DETAILS:
        yield f"      and {len(line.details) - MOST_DETAILS} more (-o json has them all)"
    for says, names in line.impact:
        yield f"    > {says}" + (
            f"  [{clusters_text(names, total)}]" if names != line.clusters and names else ""
        )
    if line.commands:
        yield "    > the commands that delete what stays:"
        yield from (f"        {command}" for command in line.commands[:MOST_DETAILS])
        if len(line.commands) > MOST_DETAILS:
            yield f"        and {len(line.commands) - MOST_DETAILS} more (-o json has them all)"


def detail_text(detail: Detail) -> str:
    """A value before and after, in one line."""
    if detail.before is None:
        return f"+ {detail.path}: {detail.after}"
    if detail.after is None:
        return f"- {detail.path}: {detail.before}"
    return f"  {detail.path}: {detail.before} -> {detail.after}"


def order(diff: Diff) -> Iterator[str]:
    """Who applies it when, in sentences."""
    found = diff.order
    if found.refused:
        for problem in found.refused:
            yield (
                f"safe in no order, and `{mesh_command('render')}` refuses it:"
                f" {marked_text(problem.what)}"
            )
            yield from marked_text(problem.fix).split("\n")
    elif found.has_any_order:
        yield "the clusters may apply this in any order"
    else:
        for number, step in enumerate(found.steps, 1):
            yield f"{number}. {clusters_text(step, 0)}"
        yield from found.reasons
    yield from found.unknown
    yield from found.notes
