"""What is known of a pasted error, for people and for programs."""

import shlex
from collections.abc import Iterator, Mapping, Sequence

from kubectl_mesh.errors import Problem
from kubectl_mesh.explain import CLEARED, GENERAL, OPEN, PROVEN, JudgedCause
from kubectl_mesh.operations.explain import Explanation
from kubectl_mesh.operations.paths import Paths
from kubectl_mesh.reports.checks import wrap_line
from kubectl_mesh.reports.problems import finding_json
from kubectl_mesh.text import marked_text, mesh_command, render_paths

_WORDS = {
    PROVEN: "proven here",
    OPEN: "cannot be known offline",
    CLEARED: "cleared: not so in these files",
    GENERAL: "may be",
}
_MARKS = {PROVEN: "error", OPEN: "unknown", CLEARED: "ok", GENERAL: "skipped"}
UNKNOWN = f"""\
nothing in this text is known to kubectl mesh
  look at `{mesh_command("check")}` for what is wrong in these files
  look at the log of istiod in both clusters (`kubectl -n istio-system logs deploy/istiod`), \
and at the access log of the proxies,
    and explain a line that says "error" or "warn" there
  look at /debug/clusterz of istiod, which lists the clusters it reads: `istioctl remote-clusters`
"""


def explain_text(
    explanation: Explanation, paths: Paths, marks: Mapping[str, str], width: int | None = None
) -> str:
    """For people; the text that was pasted does not appear. `paths` are those of the run. `width`
    is that of the terminal; what holds a command is not broken.
    """
    lines = _unread_lines(explanation.input_problems, marks)
    for known, causes in explanation.messages:
        lines += [*([""] if lines else []), f"{known.id} ({known.source}): {known.meaning}"]
        lines += [line for judged in causes for line in _cause_lines(judged, paths, marks)]
    if explanation.clusters:
        lines += ["", f"it names {', '.join(explanation.clusters)}"]
    if any(judged.state == CLEARED for _, causes in explanation.messages for judged in causes):
        lines += [
            "",
            (
                "What a cluster runs may be older than these files: `kubectl diff -k"
                f" {shlex.quote(paths.locate('out/NAME/1-trust'))}`, and so for each stage, shows"
                " it."
            ),
        ]
    whole = [
        piece
        for line in lines
        for piece in (
            wrap_line(line, width, " " * (len(line) - len(line.lstrip()) + 4))
            if "`" not in line
            else [line]
        )
    ]
    return "\n".join(whole) + "\n"


def _unread_lines(unread: Sequence[Problem], marks: Mapping[str, str]) -> list[str]:
    """Why inputs cannot be used."""
    if not unread:
        return []
    return [
        (
            f"{unread[0].where.file} cannot be used, and what rests on it is neither proven nor"
            " cleared here:"
        ),
        *(
            f"  {marks['error']} {problem.where}: {marked_text(problem.what)}"
            for problem in unread[:3]
        ),
        *(
            [f"  and {len(unread) - 3} more, which `{mesh_command('check')}` tells"]
            if len(unread) > 3
            else []
        ),
    ]


def _cause_lines(judged: JudgedCause, paths: Paths, marks: Mapping[str, str]) -> Iterator[str]:
    says = render_paths(marked_text(judged.cause.description), paths.locate)
    yield f"  {marks[_MARKS[judged.state]]} {_WORDS[judged.state]}: {says}"
    if judged.cause.versions:
        yield f"      concerns Istio {', '.join(judged.cause.versions)}"
    for result in judged.results:
        for finding in result.findings[:3]:
            yield f"      {result.check.id}: {finding.where}: {marked_text(finding.what)}"
        if len(result.findings) > 3:
            yield f"      {result.check.id}: and {len(result.findings) - 3} more"
    if judged.state == CLEARED:
        yield f"      by {', '.join(judged.cause.checks) or 'the version'}"
        return
    if judged.state != PROVEN:
        see = marked_text(judged.cause.command)
        yield f"      see: `{render_paths(see, lambda path: shlex.quote(paths.locate(path)))}`"
    yield f"      do: {render_paths(marked_text(judged.cause.remedy), paths.locate)}"


def explain_json(explanation: Explanation) -> dict[str, object]:
    """For programs; the schema is `report/explain`."""
    return {
        "known": bool(explanation.messages),
        "clusters": list(explanation.clusters),
        "unread": [finding_json(problem) for problem in explanation.input_problems],
        "messages": [
            {
                "id": known.id,
                "source": known.source,
                "means": known.meaning,
                "causes": [_cause_json(judged) for judged in causes],
            }
            for known, causes in explanation.messages
        ],
    }


def _cause_json(judged: JudgedCause) -> dict[str, object]:
    cause = judged.cause
    results = {result.check.id: result for result in reversed(judged.results)}
    return {
        "says": cause.description,
        "state": judged.state,
        "do": cause.remedy,
        "see": cause.command,
        "versions": list(cause.versions),
        "checks": [
            {
                "id": check,
                "status": results[check].status if check in results else None,
                "findings": (
                    [finding_json(f) for f in results[check].findings] if check in results else []
                ),
            }
            for check in (*cause.checks, *cause.hints)
        ],
    }
