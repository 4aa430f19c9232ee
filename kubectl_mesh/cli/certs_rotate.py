"""`kubectl mesh certs rotate-root`: a new root in three steps, each one change of certs/ and one
render.
"""

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common
from kubectl_mesh.cli.options import Duration

if TYPE_CHECKING:
    from kubectl_mesh.operations.certs_rotate import RotationResult

KEYS = "making keys:"
seen = click.option(
    "--seen-for",
    type=Duration(),
    metavar="TIME",
    help=(
        "How long every cluster has been seen to hold the step before, such as 24h; the tool cannot"
        " see it."
    ),
)


@click.group(name="rotate-root")
def command() -> None:
    """Replace the root in three steps, while traffic flows.

    Trust both, sign with the new, drop the old. Each step is one change of certs/, then a render, a
    review, and an apply, in any order of the clusters. `status` tells what must be seen in every
    cluster before the next one.
    """


@command.command(name="advance")
@common.directory
@common.tree
@seen
def advance(directory: str, out: str | None, seen_for: timedelta | None) -> None:
    """Go to the next step, once every cluster holds the one before."""
    from kubectl_mesh.operations.certs_rotate import advance_rotation

    machine, progress = clock.machine(), common.progress(KEYS)
    show_step(advance_rotation(directory, out, seen_for, machine, progress))


@command.command(name="abort")
@common.directory
@common.tree
def abort(directory: str, out: str | None) -> None:
    """Go back, as long as the old root is trusted."""
    from kubectl_mesh.operations.certs_rotate import abort_rotation

    show_step(abort_rotation(directory, out, clock.machine(), common.progress(KEYS)))


def show_step(result: "RotationResult") -> None:
    """Prints the step that a rotation is at now."""
    from kubectl_mesh.reports import certs_rotate

    common.say_all(result.notes)
    common.put_text(certs_rotate.rotation_text(result))
    common.say_if(certs_rotate.next_text(result))
