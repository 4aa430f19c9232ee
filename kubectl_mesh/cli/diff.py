"""`kubectl mesh diff`"""

from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common, options

if TYPE_CHECKING:
    from kubectl_mesh.operations.diff import DiffOptions
    from kubectl_mesh.operations.paths import Paths

BUDGET = 65536
"""What a comment in a pull request may hold."""


@click.command(name="diff")
@click.argument("directories", nargs=-1, metavar="[OLD NEW]")
@common.directory_option
@common.tree_option
@click.option(
    "--against",
    metavar="REV",
    help="Compare the tree on disk with the one in this revision of git, and not with a render.",
)
@options.clusters_option("For this cluster only; may be given again.")
@click.option(
    "--max-bytes",
    type=click.IntRange(1024),
    metavar="N",
    help=f"The most that markdown may take.  [default: {BUDGET}]",
)
@common.kubeconfig_option
@options.format_option("text", "json", "markdown")
@options.paths_option
@options.collect_options("wanted", "diff:DiffOptions")
def command(paths: "Paths", wanted: "DiffOptions", max_bytes: int | None, output: str) -> int:
    """Show what a change does to the mesh: clusters, networks, trust, control planes, gateways,
    secrets. No secret is ever shown.

    Without arguments the tree on disk is compared with what a render would write; with --against
    REV, the tree of a revision of git with the one on disk; with two folders, one tree with the
    other. Nothing is written. Exit code 1 if anything but formatting differs.
    """
    from kubectl_mesh.errors import refuse
    from kubectl_mesh.operations.diff import compare_mesh
    from kubectl_mesh.reports.diff_markdown import markdown_text
    from kubectl_mesh.reports.diff_text import diff_json, diff_text

    if max_bytes is not None and output != "markdown":
        what = f"is for -o markdown, not for -o {output}"
        raise refuse("--max-bytes", what, "leave it out", code="option-without-effect")
    result = compare_mesh(paths, wanted, clock.read_machine())
    common.print_warnings(result.warnings)
    if output == "json":
        common.print_json(diff_json(result.diff))
    elif output == "markdown":
        click.echo(markdown_text(result.diff, max_bytes or BUDGET), nl=False)
    else:
        common.print_text(diff_text(result.diff))
    return 1 if result.diff.has_differences else 0
