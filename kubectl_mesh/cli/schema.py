"""`kubectl mesh schema`"""

import click

from kubectl_mesh.yaml_io import assets


def list_schemas() -> dict[str, str]:
    """The schemas that can be printed: name -> path below `schemas/`."""
    top = assets.asset_folder("schemas")
    found = {"topology": "topology.schema.json"}
    found |= {
        f"report/{p.name.removesuffix('.schema.json')}": f"output/{p.name}"
        for p in sorted((top / "output").glob("*.json"))
    }
    return found | {
        f"kind/{p.name.removesuffix('.json')}": f"kinds/{p.name}"
        for p in sorted((top / "kinds").glob("*.json"))
    }


@click.command(name="schema")
@click.argument(
    "name",
    default="topology",
    shell_complete=lambda ctx, param, incomplete: [
        n for n in list_schemas() if n.startswith(incomplete)
    ],
)
@click.option("--list", "listing", is_flag=True, help="Print the names of all schemas.")
@click.option(
    "--location",
    is_flag=True,
    help="Print the schema location for kubeconform: the schemas of every kind that is rendered.",
)
def command(name: str, listing: bool, location: bool) -> None:
    """Print a JSON Schema: of the topology (for editors), of a rendered kind, or of a verb's `-o
    json`.
    """
    if location:
        click.echo(
            f"{assets.asset_folder('schemas')}/kinds/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
        )
        return
    known = list_schemas()
    if listing:
        click.echo("\n".join(known))
        return
    if name not in known:
        from kubectl_mesh.text import did_you_mean, mesh_command

        raise click.UsageError(
            f'there is no schema "{name}"{did_you_mean(name, known)};'
            f" `{mesh_command('schema --list')}`"
            " names them"
        )
    click.echo(assets.asset_text(f"schemas/{known[name]}"), nl=False)
