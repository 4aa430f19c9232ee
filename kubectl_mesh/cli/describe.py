"""`kubectl mesh describe`"""

import click

from kubectl_mesh.cli import common


@click.command(name="describe")
@common.directory
@common.tree
@click.option(
    "--cluster", "clusters", multiple=True, metavar="NAME", shell_complete=common.complete_contexts, help="Show this cluster only; may be given again."
)
@common.kubeconfig
@click.option("-o", "output", type=click.Choice(["text", "table", "json"]), default="text", metavar="FORMAT", help="text, table or json.  [default: text]")
def command(directory: str, out: str | None, clusters: tuple[str, ...], kubeconfig: str | None, output: str) -> None:
    """Show clusters, certificates, remote secrets, gateways, and what is pending."""
    from kubectl_mesh.cli import compose, refusals, workdir
    from kubectl_mesh.cli.committed import committed
    from kubectl_mesh.compare import compare
    from kubectl_mesh.describe import describe, text
    from kubectl_mesh.table import table

    folder = out if out is not None else workdir.join(directory, "out")
    inputs = workdir.gather(directory, kubeconfig, out=folder)
    only = workdir.chosen(inputs.topology, clusters) if clusters else None
    at = workdir.now()
    rendered = compose.make(inputs, at, folder, throwaway=True)
    compared = compare(folder, rendered.tree, inputs.topology.mesh_id)
    changes = [c for c in compared if c.name in rendered.tree]
    held = committed(folder) if output != "text" else None
    refused = refusals.find_refusals(rendered, compared, folder, directory, at)
    value = describe(rendered.plan, rendered.pki, changes, inputs.target.KIND, folder, at, only, held, refused)
    common.warn(rendered.warnings)
    if output == "json":
        common.put_json(value)
    elif output == "table":
        common.put_text(table(value, common.width() or 80))
    else:
        common.put_text(text(value))
