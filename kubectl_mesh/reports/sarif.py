"""The results of a run as SARIF 2.1.0, which code hosts show beside the lines of a change."""

import hashlib
import re
from collections.abc import Callable, Sequence
from urllib.parse import quote

from kubectl_mesh.checks.check import Check
from kubectl_mesh.checks.result import Result
from kubectl_mesh.errors import Problem
from kubectl_mesh.text import escape_for_terminal

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def sarif_json(
    found: Sequence[Result], relative: Callable[[str], str], version: str
) -> dict[str, object]:
    """A log of one run of a version of kubectl mesh; `relative` gives a file's path from where the
    run was started, as code hosts want it.
    """
    results = [
        _result_json(index, result, finding, relative)
        for index, result in enumerate(found)
        if result.status in ("error", "warning")
        for finding in result.findings
    ]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                # No informationUri: the project has no address yet.
                "tool": {
                    "driver": {
                        "name": "kubectl mesh",
                        "version": version,
                        "rules": [_rule_json(result.check) for result in found],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": results,
            }
        ],
    }


def _rule_json(check: Check) -> dict[str, object]:
    prevents = f"What one would see in a cluster: {check.prevents}."
    return {
        "id": check.id,
        "shortDescription": {"text": message_text(_sentence(check.sentence))},
        "fullDescription": {"text": message_text(f"{_sentence(check.sentence)} {prevents}")},
        "help": {
            "text": message_text(f"{prevents} {check.remedy} See {check.page}."),
            "markdown": _braced(f"{prevents}\n\n{check.remedy}\n\nSee `{check.page}`."),
        },
        "defaultConfiguration": {"level": check.severity},
        "properties": {"category": check.category, "tags": [check.category]},
    }


def _result_json(
    index: int, result: Result, finding: Problem, relative: Callable[[str], str]
) -> dict[str, object]:
    where = finding.where
    file = relative(where.file)
    physical: dict[str, object] = {"artifactLocation": {"uri": quote(file, safe="/~")}}
    if where.line:
        physical["region"] = {"startLine": where.line, "startColumn": max(where.column, 1)}
    location: dict[str, object] = {"physicalLocation": physical}
    if where.path:
        location["logicalLocations"] = [{"fullyQualifiedName": escape_for_terminal(where.path)}]
    fix = f" Fix: {finding.fix}" if finding.fix else ""
    # What a finding says may hold days that pass; where it stands and what it asks is what makes it
    # the same one tomorrow.
    same = f"{result.check.id}\n{file}\n{where.path}"
    return {
        "ruleId": result.check.id,
        "ruleIndex": index,
        "level": result.status,
        "message": {
            "text": message_text(
                escape_for_terminal(
                    f"{where.path + ': ' if where.path else ''}{finding.what}.{fix}"
                )
            )
        },
        "locations": [location],
        "partialFingerprints": {
            "kubectlMesh/v1": hashlib.sha256(same.encode(errors="backslashreplace")).hexdigest()
        },
    }


_LINK = re.compile(r"(?<!\\)(\\*)\]\(")


def message_text(text: str) -> str:
    """A text as a plain text message of SARIF, in which nothing is a placeholder (3.11.5) or an
    embedded link (3.11.6).
    """
    # A bracket behind an odd number of backslashes is escaped already.
    return _braced(_LINK.sub(lambda m: m[0] if len(m[1]) % 2 else f"{m[1]}\\](", text))


def _braced(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
