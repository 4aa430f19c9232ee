"""The results of a run for people, and for programs as JSON."""

from collections.abc import Mapping, Sequence

from kubectl_mesh.checks.check import PAGE
from kubectl_mesh.checks.result import Result
from kubectl_mesh.operations.check import CheckResult
from kubectl_mesh.reports.problems import finding_json
from kubectl_mesh.text import count_text, marked_text, plain_text, wrap_text


def check_text(
    checked: CheckResult,
    marks: Mapping[str, str],
    *,
    short: bool = False,
    width: int | None = None,
) -> str:
    """The results by category; `marks` are those of the five statuses. `short` has a line for each
    finding, and no other.

    `width` is that of the terminal: without one no line is broken, so that programs find what they
    look for.
    """
    found = checked.results
    lines: list[str] = []
    for category in dict.fromkeys(r.check.category for r in found):
        mine = [r for r in found if r.check.category == category]
        if short:
            lines += _short_lines(mine, marks)
        else:
            lines += [*([""] if lines else []), category]
            lines += [line for result in mine for line in _result_lines(result, marks, width)]
    if not short:
        has_findings = any(r.status in ("error", "warning") for r in found)
        lines += ["", *([f"every check is explained in {PAGE}"] if has_findings else [])]
    head = f"{checked.assumption}\n\n" if checked.assumption and not short else ""
    return (
        head + "\n".join([*lines, *wrap_line(_summary_text(found, short=short), width, "")]) + "\n"
    )


def _short_lines(results: Sequence[Result], marks: Mapping[str, str]) -> list[str]:
    return [
        f"{marks[r.status]} {r.check.id}: {f.where}: " + marked_text(f.what).replace("\n", " ")
        for r in results
        for f in r.findings
    ]


def _result_lines(result: Result, marks: Mapping[str, str], width: int | None) -> list[str]:
    lines: list[str] = []
    head = f"  {marks[result.status]} {result.check.id}: "
    if result.unknown is not None:
        lines += wrap_line(f"{head}cannot be known offline: {result.unknown.what}", width, "      ")
        lines += command_lines(marked_text(result.unknown.command), width)
    elif not result.findings:
        lines += wrap_line(head + result.check.sentence, width, "      ")
    for finding in result.findings:
        first, *more = f"{head}{finding.where}: {marked_text(finding.what)}".split("\n")
        lines += wrap_line(first, width, "      ") + [f"    {line}" for line in more]
        lines += fix_lines(marked_text(finding.fix), width)
    return lines


def _summary_text(found: Sequence[Result], *, short: bool) -> str:
    """How many errors and warnings there are, and how many checks have no answer."""
    errors = sum(len(r.findings) for r in found if r.status == "error")
    warnings = sum(len(r.findings) for r in found if r.status == "warning")
    ending = f"{count_text(errors, 'error')}, {count_text(warnings, 'warning')}"
    if short:
        return ending
    if skipped := sum(r.status == "skipped" for r in found):
        ending += (
            f", {count_text(skipped, 'check')} skipped: not there yet, or for the errors above"
        )
    if unknown := sum(r.status == "unknown" for r in found):
        need = "needs" if unknown == 1 else "need"
        ending += f", {count_text(unknown, 'check')} {need} a running cluster"
    return ending


def fix_lines(fix: str, width: int | None, indent: str = "      ") -> list[str]:
    """What to do; a command stays on one line, as one copies it."""
    lines: list[str] = []
    for number, part in enumerate(fix.split("\n") if fix else []):
        prose, mark, command = next(
            (part.partition(m) for m in ("again: ", "run: ") if m in part), (part, "", "")
        )
        if number:
            lines.append(indent + part)
        elif command and width is not None and len(plain_text(indent + part)) + 5 > width:
            lines += [
                *wrap_line(f"{indent}fix: {prose}{mark.rstrip()}", width, indent + "  "),
                f"{indent}  {command}",
            ]
        else:
            lines += wrap_line(f"{indent}fix: {part}", None if command else width, indent + "  ")
    return lines


def command_lines(command: str, width: int | None) -> list[str]:
    """A command to run, on a line of its own if the terminal is too narrow for both."""
    line = f"      run: {command}"
    return (
        [line]
        if width is None or len(plain_text(line)) <= width
        else ["      run:", f"        {command}"]
    )


def wrap_line(line: str, width: int | None, then: str) -> list[str]:
    """A line of prose in as many as it takes, `then` before each but the first; no word, path or
    URL is broken.
    """
    if width is None or len(plain_text(line)) <= width:
        return [line]
    return wrap_text(line.strip(), width, line[: len(line) - len(line.lstrip())], then)


def check_json(checked: CheckResult) -> dict[str, object]:
    """The results for programs; the schema is `report/check`."""
    found = checked.results
    return {
        "ok": all(r.status != "error" for r in found),
        "checks": [
            {
                "id": r.check.id,
                "category": r.check.category,
                "severity": r.check.severity,
                "status": r.status,
                "sentence": r.check.sentence,
                "prevents": r.check.prevents,
                "remedy": r.check.remedy,
                "page": r.check.page,
                "unknown": (
                    None
                    if r.unknown is None
                    else {"what": r.unknown.what, "command": r.unknown.command}
                ),
                "findings": [finding_json(finding) for finding in r.findings],
            }
            for r in found
        ],
        "assumed": checked.assumption or None,
    }
