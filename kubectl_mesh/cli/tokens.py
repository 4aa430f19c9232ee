"""`kubectl mesh tokens`: the peers of a cluster move from one token to the next, a render at a
time.
"""

from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common, options, printed_commands, tokens_status
from kubectl_mesh.cli.certs_rotate import seen_for_option

if TYPE_CHECKING:
    from kubectl_mesh.operations.paths import Paths
    from kubectl_mesh.operations.rotate_token import TokenRotationStep


@click.group(name="tokens")
def command() -> None:
    """The tokens by which peers log in: how old they are, and how peers move to the next."""


command.add_command(tokens_status.status_command)


@command.command(name="rotate")
@click.argument("name", metavar="NAME", shell_complete=common.complete_contexts)
@click.argument("step", metavar="STEP", type=click.Choice(["begin", "advance", "abort", "status"]))
@seen_for_option
@click.option(
    "--with-restarts",
    is_flag=True,
    help="Rotate on Istio 1.30.0 to 1.30.3, where istiod must restart right after each apply.",
)
@common.directory_option
@common.tree_option
@common.kubeconfig_option
@common.output_option
@options.paths_option
@options.collect_options("wanted", "rotate_token:TokenRotationStep")
def rotate_command(paths: "Paths", wanted: "TokenRotationStep", output: str) -> None:
    """Move the peers of cluster NAME to another token, in three renders.

    STEP is begin (a second token beside the first), advance (the peers move to it; again: the first
    one goes), abort (one step back) or status. Each writes the topology alone. The tree, and the
    last commit of its repository, must hold the step before; a step by which a token goes also
    needs --seen-for. Every render may be applied in any order.
    """
    if wanted.step == "status":
        tokens_status.print_status(paths, (wanted.name,), output)
        return
    from kubectl_mesh.operations.rotate_token import rotate_token
    from kubectl_mesh.reports.rotate_token import rotation_json, rotation_text

    result = rotate_token(paths, wanted, clock.read_machine())
    if output == "json":
        common.print_json(rotation_json(result, printed_commands.complete_commands))
    else:
        common.print_text(rotation_text(result))
