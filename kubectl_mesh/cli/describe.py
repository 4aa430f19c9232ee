"""`kubectl mesh describe`"""

import os

import click

from kubectl_mesh.cli import clock, common


@click.command(name="describe")
@common.directory
@common.tree
@click.option(
    "--cluster",
    "clusters",
    multiple=True,
    metavar="NAME",
    shell_complete=common.complete_contexts,
    help="Show this cluster only; may be given again.",
)
@common.kubeconfig
@click.option(
    "-o",
    "output",
    type=click.Choice(["text", "table", "json"]),
    default="text",
    metavar="FORMAT",
    help="text, table or json.  [default: text]",
)
def command(
    directory: str, out: str | None, clusters: tuple[str, ...], kubeconfig: str | None, output: str
) -> int:
    """Show clusters, certificates, remote secrets, gateways, and what is pending.

    Where inputs are wrong, shows what can be known, and exits 1.
    """
    from kubectl_mesh.errors import MeshError, Problem
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.model import BUNDLE, FolderChange, Pki, Plan
    from kubectl_mesh.operations import base_file, build, partial, refusals
    from kubectl_mesh.operations.checked_inputs import check_directory
    from kubectl_mesh.operations.last_commit import committed
    from kubectl_mesh.reports.describe import Partial, describe, text
    from kubectl_mesh.reports.table import table
    from kubectl_mesh.targets.control_plane import BY_CONTROL_PLANE
    from kubectl_mesh.topology.selection import chosen_clusters
    from kubectl_mesh.tree.compare import compare

    folder = out if out is not None else join(directory, "out")
    found: list[Problem] = []
    topology = partial.read_valid_contexts(directory, found)
    inputs = check_directory(directory, kubeconfig, clock.machine(), topology, folder)
    found += inputs.problems
    only = chosen_clusters(inputs.topology, clusters) if clusters else None
    at = inputs.machine.now
    plan: Plan | None = None
    pki: Pki | None = None
    changes: tuple[FolderChange, ...] = ()
    warnings: tuple[Problem, ...] = ()
    refused: list[Problem] = []
    doubts: list[Problem] = []
    if not found:
        try:
            rendered = build.make(inputs, at, folder, throwaway=True)
            plan, pki, warnings = rendered.plan, rendered.pki, rendered.warnings
            compared = compare(folder, rendered.tree, inputs.topology.mesh_id, faults=found)
            changes = tuple(c for c in compared if c.name in rendered.tree)
            if not found:
                refused = refusals.find_refusals(
                    rendered, compared, folder, directory, at, doubts=doubts
                )
        except MeshError as error:
            found += error.problems
    if plan is None or pki is None:
        plan, pki = partial.plan_without_render(inputs, [p.where.file for p in found])
    unknown = {*plan.members, *([BUNDLE] if plan.topology.bundled else ())} - {
        c.name for c in changes
    }
    rest = (
        Partial(tuple(sorted(set(found))), partial.listed_files(folder, unknown), inputs.broken)
        if found
        else None
    )
    kind = "control plane not known" if inputs.unasked >= BY_CONTROL_PLANE else inputs.target.KIND
    assumed = base_file.assumption(directory, inputs.topology, folder)
    held = committed(folder, os.environ) if output != "text" else None
    value = describe(plan, pki, changes, kind, folder, at, only, held, refused, rest, assumed)
    common.warn((*warnings, *doubts))
    common.tell(rest.problems if rest is not None else ())
    if output == "json":
        common.put_json(value)
    elif output == "table":
        common.put_text(table(value, common.width() or 80))
    else:
        common.put_text(text(value))
    return 1 if found else 0
