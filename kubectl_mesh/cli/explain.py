"""`kubectl mesh explain`"""

import sys
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common, options

if TYPE_CHECKING:
    from kubectl_mesh.operations.paths import Paths


@click.command(name="explain")
@click.argument("words", metavar="TEXT", nargs=-1, required=True)
@common.directory_option
@common.tree_option
@common.kubeconfig_option
@common.output_option
@options.paths_option
def command(paths: "Paths", words: tuple[str, ...], output: str) -> int:
    """Find the cause of an error of Envoy, istiod, ztunnel, kubectl, Argo CD, Flux or SOPS in this
    mesh.

    TEXT is what was printed, in quotes; `-` reads it from stdin. Each cause is proven, cleared by
    files that prove it, or cannot be known offline; then a command shows it. Without a working
    directory the causes are general. The text itself is never printed again. Exit code 1 if nothing
    in it is known.
    """
    from kubectl_mesh.explain import LONGEST
    from kubectl_mesh.operations.explain import explain_text
    from kubectl_mesh.reports import explain

    text = _read_stdin(LONGEST) if words == ("-",) else " ".join(words)[:LONGEST]
    result = explain_text(text, paths, clock.read_machine())
    if output == "json":
        common.print_json(explain.explain_json(result))
    elif result.messages:
        common.print_marked_text(
            explain.explain_text(result, paths, common.status_marks(), common.terminal_width())
        )
    else:
        common.print_text(explain.UNKNOWN)
    return 0 if result.messages else 1


def _read_stdin(longest: int) -> str:
    """The text on stdin; invalid UTF-8 is replaced."""
    if sys.stdin is None or sys.stdin.closed:
        from kubectl_mesh.errors import refuse

        raise refuse(
            "-",
            "stdin is closed, so there is no text to read",
            "pipe the text in, or give it in quotes",
            code="stdin-closed",
        )
    return sys.stdin.buffer.read(4 * longest).decode("utf-8", "replace")[:longest]
