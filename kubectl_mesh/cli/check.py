"""`kubectl mesh check`"""

import os
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common, options

if TYPE_CHECKING:
    from kubectl_mesh.operations.check import CheckOptions
    from kubectl_mesh.operations.paths import Paths


def complete_checks(_ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The ids or the categories of the checks, for a shell's completion."""
    from kubectl_mesh.checks.table import check_categories, check_ids

    names = sorted(check_ids()) if param.name == "ids" else check_categories()
    return [name for name in names if name.startswith(incomplete)]


@click.command(name="check")
@common.directory_option
@common.tree_option
@click.option(
    "--fail-within",
    type=options.Duration(),
    metavar="TIME",
    help="Make it an error if a certificate or a token expires within this time, such as 30d; those"
    " in the tree count too.",
)
@click.option(
    "--token-age",
    type=options.Duration(),
    metavar="TIME",
    help="Make it an error if a token was made longer ago than this, such as 90d.",
)
@options.repeatable_option(
    "--category",
    "categories",
    "NAME",
    complete_checks,
    "These checks only, by category; may be given again.",
)
@options.repeatable_option(
    "--id", "ids", "ID", complete_checks, "These checks only, by id; may be given again."
)
@common.kubeconfig_option
@options.format_option("text", "short", "json", "sarif", "junit")
@options.paths_option
@options.collect_options("wanted", "check:CheckOptions")
def command(paths: "Paths", wanted: "CheckOptions", output: str) -> int:
    """Tell every problem that can be told offline, in topology, certificates and rendered tree.

    Exit code 1 if there is an error; warnings leave it at 0. Every check is explained in
    docs/checks.md.
    """
    from kubectl_mesh import __version__
    from kubectl_mesh.operations.check import check_mesh
    from kubectl_mesh.reports import checks, sarif

    result = check_mesh(paths, wanted, clock.read_machine())
    if output == "json":
        common.print_json(checks.check_json(result))
    elif output == "sarif":
        common.print_json(sarif.sarif_json(result.results, relative_path, __version__))
    elif output == "junit":
        from kubectl_mesh.reports import junit  # slow to load

        common.print_text(junit.junit_text(result.results, relative_path), people=False)
    else:
        short, marks, width = output == "short", common.status_marks(), common.terminal_width()
        common.print_marked_text(checks.check_text(result, marks, short=short, width=width))
    return 1 if result.has_errors else 0


def relative_path(file: str) -> str:
    """A file's path from here with `/`: its path in the repository, if this runs at its top."""
    return os.path.relpath(file).replace(os.sep, "/")
