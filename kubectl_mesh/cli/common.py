"""What verbs share: options, and how warnings and documents are put out."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import click

from kubectl_mesh.cli import printed_commands
from kubectl_mesh.errors import Problem
from kubectl_mesh.text import escape_for_json, escape_for_terminal, mesh_command, plain_text

F = TypeVar("F", bound=Callable[..., Any])

directory_option = click.option(
    "-C",
    "directory",
    default=".",
    callback=printed_commands.record_option,
    metavar="DIR",
    help="The working directory.  [default: .]",
)
kubeconfig_option = click.option(
    "--kubeconfig",
    type=click.Path(),
    callback=printed_commands.record_option,
    metavar="FILE",
    help=(
        "Take servers and CAs from this kubeconfig.  [default: kubeconfig.yaml in DIR, if it is"
        " there]"
    ),
)
tree_option = click.option(
    "--out",
    callback=printed_commands.record_option,
    metavar="FOLDER",
    help="Where the tree is.  [default: out in DIR]",
)
output_option = click.option(
    "-o",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    metavar="FORMAT",
    help="text or json.  [default: text]",
)


def print_json(value: object) -> None:
    """Prints JSON on stdout; terminal control characters are JSON escapes."""
    click.echo(escape_for_json(plain_text(json.dumps(value, indent=2, ensure_ascii=False))))


def print_text(text: str, *, people: bool = True) -> None:
    """Prints a report on stdout, for `people` or for a program; control characters are escaped."""
    click.echo(
        escape_for_terminal(
            printed_commands.complete_commands(text) if people else plain_text(text)
        ),
        nl=False,
    )


def print_note_if_any(text: str) -> None:
    """Prints a note on stderr unless it is empty."""
    if text:
        print_note(text)


def print_notes(notes: Iterable[str]) -> None:
    """Prints notes on stderr, one per line."""
    for note in notes:
        print_note(note)


def print_note(text: str) -> None:
    """Prints a note on stderr: what comes next, or what was done."""
    click.echo(escape_for_terminal(printed_commands.complete_commands(text)), err=True)


NEXT_RENDER = f"next: {mesh_command('render')}"
"""What comes after most changes of the working directory."""


def print_calendar(text: str) -> None:
    """Prints a calendar on stdout, as bytes, because iCalendar lines end in CR LF on
    every system.
    """
    click.echo(text.encode(), nl=False)


def print_warnings(problems: Iterable[Problem]) -> None:
    """Prints warnings on stderr."""
    for problem in problems:
        click.echo(
            (
                "warning:"
                f" {escape_for_terminal(printed_commands.complete_commands(problem.marked_text))}"
            ),
            err=True,
        )


def print_errors(problems: Iterable[Problem]) -> None:
    """Prints problems that are the answer of a command on stderr."""
    for problem in problems:
        click.echo(
            (
                "error:"
                f" {escape_for_terminal(printed_commands.complete_commands(problem.marked_text))}"
            ),
            err=True,
        )


def progress_callback(what: str) -> Callable[[int, int], None]:
    """A progress callback that prints a counter line on a terminal."""
    return partial(_print_progress, what, sys.stderr is not None and sys.stderr.isatty())


def _print_progress(what: str, shown: bool, done: int, of: int) -> None:
    if shown:
        click.echo(f"\r{what} {done} of {of}", err=True, nl=done == of)


def complete_contexts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The contexts or clusters of the topology for shell completion; empty if it cannot be read."""
    from kubectl_mesh.errors import MeshError
    from kubectl_mesh.workdir.topology_document import read_context_names

    try:
        clusters = read_context_names(ctx.params.get("directory") or ".")
    except (MeshError, OSError):
        return []
    names = clusters.values() if param.name == "clusters" else clusters
    return sorted({name for name in names if name.startswith(incomplete)})


def status_marks() -> dict[str, str]:
    """The marks of ok, warning, error, skipped and unknown, as the terminal can show them."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    shown = ("√", "‼", "×", "-", "?") if encoding.startswith("utf") else ("ok", "!!", "x", "-", "?")
    return dict(zip(("ok", "warning", "error", "skipped", "unknown"), shown, strict=True))


def terminal_width() -> int | None:
    """The columns of the terminal; None if the output is not a terminal, so lines are not
    wrapped.
    """
    import shutil

    return (
        shutil.get_terminal_size().columns
        if sys.stdout is not None and sys.stdout.isatty()
        else None
    )


def print_marked_text(text: str) -> None:
    """A report for people whose lines begin with marks, in colour on a terminal that has not said
    no (NO_COLOR, TERM=dumb).
    """
    shown = escape_for_terminal(printed_commands.complete_commands(text))
    if (
        sys.stdout is not None
        and sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    ):
        colours = dict(
            zip(
                status_marks().values(),
                ("green", "yellow", "red", "bright_black", "cyan"),
                strict=True,
            )
        )
        words = "|".join(map(re.escape, colours))
        shown = re.sub(
            rf"^( *)({words})(?= )",
            lambda m: m[1] + click.style(m[2], fg=colours[m[2]]),
            shown,
            flags=re.MULTILINE,
        )
    click.echo(shown, nl=False)
