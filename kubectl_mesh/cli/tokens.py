"""`kubectl mesh tokens`: the peers of a cluster move from one token to the next, a render at a
time.
"""

from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common, options, own, tokens_status
from kubectl_mesh.cli.certs_rotate import seen

if TYPE_CHECKING:
    from kubectl_mesh.operations.paths import Paths
    from kubectl_mesh.operations.rotate_token import RotationStep


@click.group(name="tokens")
def command() -> None:
    """The tokens by which peers log in: how old they are, and how peers move to the next."""


command.add_command(tokens_status.status)


@command.command(name="rotate")
@click.argument("name", metavar="NAME", shell_complete=common.complete_contexts)
@click.argument("step", metavar="STEP", type=click.Choice(["begin", "advance", "abort", "status"]))
@seen
@click.option(
    "--with-restarts",
    is_flag=True,
    help="Rotate on Istio 1.30.0 to 1.30.3, where istiod must restart right after each apply.",
)
@common.directory
@common.tree
@common.kubeconfig
@common.output
@options.paths
@options.collect("wanted", "rotate_token:RotationStep")
def rotate(paths: "Paths", wanted: "RotationStep", output: str) -> None:
    """Move the peers of cluster NAME to another token, in three renders.

    STEP is begin (a second token beside the first), advance (the peers move to it; again: the first
    one goes), abort (one step back) or status. Each writes the topology alone. The tree, and the
    last commit of its repository, must hold the step before; a step by which a token goes also
    needs --seen-for. Every render may be applied in any order.
    """
    if wanted.step == "status":
        tokens_status.put_status(paths, (wanted.name,), output)
        return
    from kubectl_mesh.operations.rotate_token import rotate_token
    from kubectl_mesh.reports.rotate_token import rotation_json, rotation_text

    result = rotate_token(paths, wanted, clock.machine())
    if output == "json":
        common.put_json(rotation_json(result, own.whole))
    else:
        common.put_text(rotation_text(result))
