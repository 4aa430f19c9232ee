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

PROGRESS_LABEL = "making keys:"
seen_for_option = click.option(
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
@common.directory_option
@common.tree_option
@seen_for_option
def advance_command(directory: str, out: str | None, seen_for: timedelta | None) -> None:
    """Go to the next step, once every cluster holds the one before."""
    from kubectl_mesh.operations.certs_rotate import advance_rotation

    machine, progress = clock.read_machine(), common.progress_callback(PROGRESS_LABEL)
    print_step(advance_rotation(directory, out, seen_for, machine, progress))


@command.command(name="abort")
@common.directory_option
@common.tree_option
def abort_command(directory: str, out: str | None) -> None:
    """Go back, as long as the old root is trusted."""
    from kubectl_mesh.operations.certs_rotate import abort_rotation

    print_step(
        abort_rotation(
            directory, out, clock.read_machine(), common.progress_callback(PROGRESS_LABEL)
        )
    )


def print_step(result: "RotationResult") -> None:
    """Prints the step that a rotation is at now."""
    from kubectl_mesh.reports import certs_rotate

    common.print_notes(result.notes)
    common.print_text(certs_rotate.rotation_text(result))
    common.print_note_if_any(certs_rotate.next_text(result))
