"""`kubectl mesh check`"""

import os
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common

if TYPE_CHECKING:
    from kubectl_mesh.checks.result import Result


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A time such as 30d, 12h, 4w or 1y."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        match = re.fullmatch(r"([0-9]{1,6})([hdwy])", str(value))
        if match is None:
            self.fail(f'"{value}" is no time such as 30d, 12h, 4w or 1y', param, ctx)
        return timedelta(hours=int(match[1]) * {"h": 1, "d": 24, "w": 168, "y": 8760}[match[2]])


def complete(_ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The ids or the categories of the checks, for a shell's completion."""
    from kubectl_mesh.checks.table import check_categories, check_ids

    return [
        name
        for name in (sorted(check_ids()) if param.name == "ids" else check_categories())
        if name.startswith(incomplete)
    ]


@click.command(name="check")
@common.directory
@common.tree
@click.option(
    "--fail-within",
    type=Duration(),
    metavar="TIME",
    help=(
        "Make it an error if a certificate or a token expires within this time, such as 30d; those"
        " in the tree count too."
    ),
)
@click.option(
    "--token-age",
    type=Duration(),
    metavar="TIME",
    help="Make it an error if a token was made longer ago than this, such as 90d.",
)
@click.option(
    "--category",
    "categories",
    multiple=True,
    metavar="NAME",
    shell_complete=complete,
    help="These checks only, by category; may be given again.",
)
@click.option(
    "--id",
    "ids",
    multiple=True,
    metavar="ID",
    shell_complete=complete,
    help="These checks only, by id; may be given again.",
)
@common.kubeconfig
@click.option(
    "-o",
    "output",
    type=click.Choice(["text", "short", "json", "sarif", "junit"]),
    default="text",
    metavar="FORMAT",
    help="text, short, json, sarif or junit.  [default: text]",
)
def command(
    directory: str,
    out: str | None,
    fail_within: timedelta | None,
    token_age: timedelta | None,
    categories: tuple[str, ...],
    ids: tuple[str, ...],
    kubeconfig: str | None,
    output: str,
) -> int:
    """Tell every problem that can be told offline, in topology, certificates and rendered tree.

    Exit code 1 if there is an error; warnings leave it at 0. Every check is explained in
    docs/checks.md.
    """
    from kubectl_mesh.checks.context import ERROR, DateLimits
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.operations import base_file
    from kubectl_mesh.operations.survey import survey

    wanted = _wanted(categories, ids)
    machine = clock.machine()
    found = survey(
        directory,
        out,
        kubeconfig,
        machine,
        lambda _: machine.now,
        DateLimits(fail_within, token_age),
    )
    results = [r for r in found.results if r.check.id in wanted]
    folder = out if out is not None else join(directory, "out")
    _put(
        results,
        output,
        (
            base_file.assumption(directory, found.topology, folder)
            if found.topology is not None
            else ""
        ),
    )
    return 1 if any(r.status == ERROR for r in results) else 0


def _wanted(categories: Sequence[str], ids: Sequence[str]) -> set[str]:
    from kubectl_mesh.checks.table import CHECKS, check_categories, check_ids
    from kubectl_mesh.errors import MeshError, Place, Problem
    from kubectl_mesh.text import near

    known, ids_known = check_categories(), check_ids()
    problems = [
        Problem(
            Place("--category"),
            f'no checks are called "{c}"{near(c, known)}',
            f"take one of {', '.join(known)}",
        )
        for c in categories
        if c not in known
    ]
    problems += [
        Problem(
            Place("--id"),
            f'no check is called "{i}"{near(i, ids_known)}',
            "take an id of docs/checks.md",
        )
        for i in ids
        if i not in ids_known
    ]
    if problems:
        raise MeshError(problems)
    return {
        c.id for c in CHECKS if not (categories or ids) or c.id in ids or c.category in categories
    }


def _put(results: "Sequence[Result]", output: str, assumed: str) -> None:
    from kubectl_mesh.reports import checks

    if output == "json":
        common.put_json(checks.value(results) | {"assumed": assumed or None})
    elif output == "sarif":
        from kubectl_mesh import __version__
        from kubectl_mesh.reports.sarif import sarif

        common.put_json(sarif(results, relative, __version__))
    elif output == "junit":
        from kubectl_mesh.reports.junit import junit

        common.put_text(junit(results, relative), people=False)
    else:
        if assumed and output == "text":
            common.put_text(f"{assumed}\n\n")
        common.put_marked(
            checks.text(results, common.marks(), short=output == "short", width=common.width())
        )


def relative(file: str) -> str:
    """A file's path from where one stands, with `/`: what a code host takes for one of the
    repository, if this was started at its top.
    """
    return os.path.relpath(file).replace(os.sep, "/")
