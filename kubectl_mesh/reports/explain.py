"""What is known of a pasted error, for people and for programs."""

from collections.abc import Mapping, Sequence

from kubectl_mesh.errors import Problem
from kubectl_mesh.explain import CLEARED, GENERAL, OPEN, PROVEN, Judged, Known
from kubectl_mesh.reports.checks import wrapped

_WORDS = {
    PROVEN: "proven here",
    OPEN: "cannot be known offline",
    CLEARED: "cleared: not so in these files",
    GENERAL: "may be",
}
_MARKS = {PROVEN: "error", OPEN: "unknown", CLEARED: "ok", GENERAL: "skipped"}
Explained = Sequence[tuple[Known, Sequence[Judged]]]
UNKNOWN = """\
nothing in this text is known to kubectl mesh
  look at `kubectl mesh check` for what is wrong in these files
  look at the log of istiod in both clusters (`kubectl -n istio-system logs deploy/istiod`), \
and at the access log of the proxies,
    and explain a line that says "error" or "warn" there
  look at /debug/clusterz of istiod, which lists the clusters it reads: `istioctl remote-clusters`
"""


def text(
    explained: Explained,
    clusters: Sequence[str],
    marks: Mapping[str, str],
    width: int | None = None,
    unread: Sequence[Problem] = (),
) -> str:
    """For people; the text that was pasted does not appear. `width` is that of the terminal; what
    holds a command is not broken.

    `unread` says why inputs are of no use.
    """
    lines: list[str] = []
    if unread:
        lines.append(
            f"{unread[0].where.file} cannot be used, and what rests on it is neither proven nor"
            " cleared here:"
        )
        lines += [f"  {marks['error']} {problem.where}: {problem.what}" for problem in unread[:3]]
        lines += (
            [f"  and {len(unread) - 3} more, which `kubectl mesh check` tells"]
            if len(unread) > 3
            else []
        )
    for known, causes in explained:
        lines += [*([""] if lines else []), f"{known.id} ({known.source}): {known.means}"]
        for judged in causes:
            lines.append(
                f"  {marks[_MARKS[judged.state]]} {_WORDS[judged.state]}: {judged.cause.says}"
            )
            if judged.cause.versions:
                lines.append(f"      concerns Istio {', '.join(judged.cause.versions)}")
            for result in judged.results:
                lines += [
                    f"      {result.check.id}: {finding.where}: {finding.what}"
                    for finding in result.findings[:3]
                ]
                if len(result.findings) > 3:
                    lines.append(f"      {result.check.id}: and {len(result.findings) - 3} more")
            if judged.state == CLEARED:
                lines.append(f"      by {', '.join(judged.cause.checks) or 'the version'}")
            else:
                if judged.state != PROVEN:
                    lines.append(f"      see: `{judged.cause.see}`")
                lines.append(f"      do: {judged.cause.do}")
    if clusters:
        lines += ["", f"it names {', '.join(clusters)}"]
    if any(judged.state == CLEARED for _, causes in explained for judged in causes):
        lines += [
            "",
            (
                "What a cluster runs may be older than these files: `kubectl diff -k"
                " out/NAME/1-trust`, and so for each stage, shows it."
            ),
        ]
    whole = [
        piece
        for line in lines
        for piece in (
            wrapped(line, width, " " * (len(line) - len(line.lstrip()) + 4))
            if "`" not in line
            else [line]
        )
    ]
    return "\n".join(whole) + "\n"


def value(
    explained: Explained, clusters: Sequence[str], unread: Sequence[Problem] = ()
) -> dict[str, object]:
    """For programs; the schema is `report/explain`."""
    return {
        "known": bool(explained),
        "clusters": list(clusters),
        "unread": [_finding(problem) for problem in unread],
        "messages": [
            {
                "id": known.id,
                "source": known.source,
                "means": known.means,
                "causes": [
                    {
                        "says": judged.cause.says,
                        "state": judged.state,
                        "do": judged.cause.do,
                        "see": judged.cause.see,
                        "versions": list(judged.cause.versions),
                        "checks": [
                            {
                                "id": check,
                                "status": next(
                                    (r.status for r in judged.results if r.check.id == check), None
                                ),
                                "findings": [
                                    _finding(f)
                                    for r in judged.results
                                    if r.check.id == check
                                    for f in r.findings
                                ],
                            }
                            for check in (*judged.cause.checks, *judged.cause.hints)
                        ],
                    }
                    for judged in causes
                ],
            }
            for known, causes in explained
        ],
    }


def _finding(f: Problem) -> dict[str, object]:
    return {
        "file": f.where.file,
        "line": f.where.line,
        "column": f.where.column,
        "path": f.where.path,
        "what": f.what,
        "fix": f.fix,
    }
