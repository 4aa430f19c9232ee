"""`kubectl mesh describe`"""

import click

from kubectl_mesh.cli import common


@click.command(name="describe")
@common.directory
@click.option("--out", metavar="FOLDER", help="Where the tree is.  [default: out in DIR]")
@click.option(
    "--cluster", "clusters", multiple=True, metavar="NAME", shell_complete=common.complete_contexts, help="Show this cluster only; may be given again."
)
@common.kubeconfig
@common.output
def command(directory: str, out: str | None, clusters: tuple[str, ...], kubeconfig: str | None, output: str) -> None:
    """Show clusters, certificates, remote secrets, gateways, and what is pending."""
    from kubectl_mesh.cli import compose, workdir
    from kubectl_mesh.compare import compare
    from kubectl_mesh.describe import describe, text

    folder = out if out is not None else workdir.join(directory, "out")
    inputs = workdir.gather(directory, kubeconfig)
    only = workdir.chosen(inputs.topology, clusters) if clusters else None
    at = workdir.now()
    rendered = compose.make(inputs, at, folder, throwaway=True)
    changes = [c for c in compare(folder, rendered.tree, inputs.topology.mesh_id) if c.name in rendered.tree]
    value = describe(rendered.plan, rendered.pki, changes, inputs.target.KIND, folder, at, only)
    common.warn(rendered.warnings)
    if output == "json":
        common.put_json(value)
    else:
        common.put_text(text(value))
