"""A diff as Markdown for a pull request, within a budget of bytes: the summary first, details
folded, what was cut is counted.
"""

import html
import re
from collections.abc import Iterator

from kubectl_mesh.differences.values import GROUPS, Diff, Line
from kubectl_mesh.reports.diff_text import clusters_text, detail_text, order, summary_text
from kubectl_mesh.text import count_text, escape_for_terminal, mesh_command, plain_text, single_line

SMALLEST_BUDGET = 1024
"""The smallest budget: room for the heading, the summary and what is said of a cut."""
_RESERVE = 160


def markdown_text(diff: Diff, budget: int) -> str:
    """The diff in at most `budget` bytes of UTF-8, at least `LEAST`. Only whole blocks are left
    out, so what is there stays valid.
    """
    blocks = [*_head(diff), *_groups(diff)]
    kept, size, lines, details = [], 0, 0, 0
    for block, kind in blocks:
        length = len(block.encode())
        if size + length + _RESERVE <= budget:
            kept.append(block)
            size += length
        elif kind == "line":
            lines += 1
        elif kind == "details":
            details += 1
    if lines or details:
        parts = [
            *([count_text(lines, "line")] if lines else []),
            *([f"details of {count_text(details, 'line')}"] if details else []),
        ]
        kept.append(
            f"\n*Left out to stay within {budget} bytes: {' and '.join(parts)}."
            f" `{plain_text(mesh_command('diff'))}` tells all.*\n"
        )
    return "".join(kept)


def _head(diff: Diff) -> Iterator[tuple[str, str]]:
    title = f"mesh {_code(diff.mesh)}: " if diff.mesh else ""
    yield (
        f"### {title}{_code(diff.before)} → {_code(diff.after)}\n\n{_text(summary_text(diff))}\n",
        "head",
    )
    if not diff.has_differences:
        return
    sentences = [plain_text(says) for says in order(diff)]
    if diff.order.refused:
        # The numbers of steps make a list; other signs could make a heading of the line above.
        steps = "\n".join(
            f"> {text if text[:1].isdecimal() else _line_start(text)}  "
            for text in (_text(says.strip()) for says in sentences[1:])
        )
        yield f"\n> [!CAUTION]\n> **{_text(sentences[0])}**  \n{steps}\n", "head"
    else:
        yield "\n**Order:** " + "; ".join(map(_text, sentences)) + "\n", "head"


def _groups(diff: Diff) -> Iterator[tuple[str, str]]:
    for group in GROUPS:
        found = [line for line in diff.lines if line.group == group]
        if not found:
            continue
        yield f"\n#### {group.capitalize()} ({len(found)})\n\n", "heading"
        for line in found:
            yield _bullet(line, diff.cluster_count), "line"
    folded = [line for line in diff.lines if line.details or line.commands or line.files]
    if folded:
        yield "\n#### Details\n", "heading"
        for line in folded:
            yield _folded(line), "details"
    if diff.reformatted_files:
        yield (
            (
                f"\n{count_text(len(diff.reformatted_files), 'file')} written otherwise, saying the"
                " same.\n"
            ),
            "line",
        )


def _bullet(line: Line, total: int) -> str:
    places = clusters_text(line.clusters, total)
    said = (
        f"- **{_text(line.subject)}** {_text(line.what)}"
        + (f" ({_text(places)})" if places and not line.subject.endswith(f" {places}") else "")
        + "\n"
    )
    for says, names in line.impact:
        said += (
            f"  - {_line_start(_text(says))}"
            + (
                f" ({_text(clusters_text(names, total))})"
                if names and names != line.clusters
                else ""
            )
            + "\n"
        )
    return said


def _folded(line: Line) -> str:
    """Preformatted HTML, in which nothing is Markdown, whatever names and values hold."""
    rows = [detail_text(d) for d in line.details]
    rows += ["", "the commands that delete what stays:", *line.commands] if line.commands else []
    rows += ["", *(f"in {file}" for file in line.files[:20])]
    rows += [f"and {len(line.files) - 20} more files"] if len(line.files) > 20 else []
    body = html.escape(
        escape_for_terminal("\n".join(map(single_line, rows))).strip("\n"), quote=False
    )
    # The block of HTML that begins at <pre> ends at </pre>, that of <details> at the first blank
    # line: each is a block of its own.
    summary = html.escape(_unlinked(f"{line.subject}: {line.what}"), quote=False)
    return f"\n<details><summary>{summary}</summary>\n\n<pre>\n{body}\n</pre>\n\n</details>\n"


_LINK = re.compile(
    r"@|#(?=\w)|[!$%&](?=[\d\"])|~(?=[\w\"])|(?i:\bGH-(?=\d)|\bwww(?=\.)|\b(?:mailto|xmpp):|:(?=//))"
)
"""After what a word joiner keeps GitHub and GitLab from a mention, a reference or a link: both look
for them in the text of the finished page.
"""
_SPECIAL = frozenset("\\`*_[]<>#|~!&")


def _unlinked(text: str) -> str:
    """A text in one line in which nothing is a mention, a reference or a link."""
    return _LINK.sub(lambda m: f"{m[0]}\u2060", escape_for_terminal(text).replace("\n", " "))


def _text(text: str) -> str:
    """A text in which nothing is Markdown, a mention, a link or HTML."""
    found = "".join(
        html.escape(c) if c in "&<>" else f"\\{c}" if c in _SPECIAL else c
        for c in _unlinked(text).strip()
    )
    return found or "\u2060"


def _line_start(text: str) -> str:
    """A text of `_text` at the start of a line, where it begins no list and underlines no
    heading.
    """
    return re.sub(r"^(\d*)([-+=.)])", r"\1\\\2", text)


def _code(text: str) -> str:
    """A name in the face of code."""
    found = escape_for_terminal(text).replace("\n", " ").replace("`", "'")
    return f"`{found}`" if found else ""
