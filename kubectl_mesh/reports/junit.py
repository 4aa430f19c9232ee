"""The results of a run as JUnit XML, which CI systems read: a suite per category, a case per
check.
"""

import re
from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape, quoteattr

from kubectl_mesh.checks.result import Result
from kubectl_mesh.text import escape_for_terminal

_NEVER = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
"""What XML 1.0 has no way to write (section 2.2)."""


def junit_text(found: Sequence[Result], relative: Callable[[str], str]) -> str:
    """The JUnit XML. Errors are failures; warnings go to `system-out`, because JUnit has none. It
    contains no times, so the same input gives the same bytes.
    """
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="kubectl mesh check" {_counts_text(found)}>',
    ]
    for category in dict.fromkeys(r.check.category for r in found):
        mine = [r for r in found if r.check.category == category]
        lines.append(f"  <testsuite name={_escape_attribute(category)} {_counts_text(mine)}>")
        for result in mine:
            lines += _case_lines(result, relative)
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>"]) + "\n"


def _counts_text(found: Sequence[Result]) -> str:
    failures = sum(r.status == "error" for r in found)
    return (
        f'tests="{len(found)}" failures="{failures}" errors="0"'
        f' skipped="{sum(r.status in ("skipped", "unknown") for r in found)}"'
    )


def _case_lines(result: Result, relative: Callable[[str], str]) -> list[str]:
    check = result.check
    head = (
        f"    <testcase classname={_escape_attribute(f'kubectl-mesh.{check.category}')}"
        f" name={_escape_attribute(f'{check.id}: {check.sentence}')}"
    )
    if result.findings:
        head += f" file={_escape_attribute(relative(result.findings[0].where.file))}"
    told = "\n".join(str(f) for f in result.findings)
    if result.status == "error":
        body = f"{told}\n\nprevents: {check.prevents}\nremedy: {check.remedy}\nsee: {check.page}"
        more = f" (and {len(result.findings) - 1} more)" if len(result.findings) > 1 else ""
        message = _escape_attribute(str(result.findings[0]).split("\n", 1)[0] + more)
        inner = f'      <failure type="error" message={message}>{_escape_text(body)}</failure>'
    elif result.status == "warning":
        inner = f"      <system-out>{_escape_text(told)}</system-out>"
    elif result.status == "skipped":
        inner = '      <skipped message="not there yet, or for errors elsewhere"/>'
    elif result.unknown is not None:
        message = f"cannot be known offline: {result.unknown.what}; run: {result.unknown.command}"
        inner = f"      <skipped message={_escape_attribute(message)}/>"
    else:
        return [f"{head}/>"]
    return [f"{head}>", inner, "    </testcase>"]


def _strip_invalid_characters(text: str) -> str:
    return re.sub(_NEVER, "\N{REPLACEMENT CHARACTER}", escape_for_terminal(text))


def _escape_text(text: str) -> str:
    return escape(_strip_invalid_characters(text))


def _escape_attribute(text: str) -> str:
    return quoteattr(_strip_invalid_characters(text))
