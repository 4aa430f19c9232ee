"""`kubectl mesh render`"""

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common, options, printed_commands

if TYPE_CHECKING:
    from kubectl_mesh.operations.paths import Paths
    from kubectl_mesh.operations.render import RenderOptions


@click.command(name="render")
@common.directory_option
@click.option(
    "--out",
    callback=printed_commands.record_option,
    metavar="FOLDER",
    help="Where the tree goes.  [default: out in DIR]",
)
@click.option(
    "--check", is_flag=True, help="Write nothing; exit 1 if a render would change a byte."
)
@click.option("--dry-run", is_flag=True, help="Write nothing; tell what a render would do.")
@options.clusters_option("Render this cluster only; may be given again.")
@click.option(
    "--reseal",
    is_flag=True,
    help="Seal everything anew, with a new certs/seal-key (stores sops and sealed).",
)
@click.option(
    "--strict",
    is_flag=True,
    help="Make everything that is pending, and what tokens say against themselves, an error.",
)
@click.option(
    "--with-restarts",
    is_flag=True,
    help="Change remote secrets of Istio 1.30.0 to 1.30.3, which needs restarts of istiod; the"
    " report prints them.",
)
@options.clusters_option(
    "Count the tree of this cluster as not applied: no cluster runs it. May be given again.",
    "--unapplied",
    "unapplied",
)
@options.clusters_option(
    "Confirm --unapplied NAME although the last commit holds that tree. May be given again.",
    "--confirm-unapplied",
    "confirmed",
)
@common.kubeconfig_option
@common.output_option
@options.paths_option
@options.collect_options("wanted", "render:RenderOptions")
def command(
    paths: "Paths", wanted: "RenderOptions", check: bool, dry_run: bool, output: str
) -> int:
    """Render the mesh: a directory of manifests per cluster.

    Certificates that are missing are made; what is there is kept. The tree is written to out/,
    where only files that the lock of a directory lists are ever replaced or removed.
    """
    from kubectl_mesh.operations.render import render_mesh
    from kubectl_mesh.reports import render

    paths = replace(paths, out=paths.out and (paths.out.rstrip("/") or "/"))
    progress, writes = common.progress_callback("making keys:"), not (check or dry_run)
    result = render_mesh(paths, wanted, clock.read_machine(), writes=writes, progress=progress)
    for note in result.notes:
        common.print_note(note)
    common.print_warnings(result.warnings)
    if output == "json":
        common.print_json(render.render_json(result))
    else:
        common.print_text(render.render_text(result))
        common.print_note_if_any(render.next_step_text(result))
    return 1 if check and result.has_differences else 0
