"""`kubectl mesh certs status`"""

import click

from kubectl_mesh.cli import clock, common


@click.command(name="status")
@common.directory
@click.option(
    "-o",
    "output",
    type=click.Choice(["text", "json", "ics"]),
    default="text",
    metavar="FORMAT",
    help="text, json or ics (a calendar).  [default: text]",
)
def command(directory: str, output: str) -> None:
    """Show roots, intermediates and the CAs of the API servers.

    Dates, fingerprints, what signs now, what is trusted.
    """
    from kubectl_mesh.errors import MeshError, refuse
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.operations.server_cas import server_ca_dates
    from kubectl_mesh.pki import rotation
    from kubectl_mesh.pki.status import ends, server_ca_values, status, text
    from kubectl_mesh.workdir.places import TOPOLOGY, located
    from kubectl_mesh.workdir.topology_file import read_topology

    topology = read_topology(directory)
    if not topology.own_intermediates:
        path = join(directory, TOPOLOGY)
        raise refuse(
            path,
            f"says issuer: {topology.issuer}, which makes the certificates in the clusters; none is"
            " here",
            "look there",
        )
    from kubectl_mesh.workdir.certs_folder import read_certs

    certs = read_certs(directory, [c.name for c in topology.clusters])
    validity = server_ca_dates(directory, topology)
    own = [c.name for c in topology.clusters if c.primary is None]
    try:
        if output == "ics":
            from kubectl_mesh.pki import dates
            from kubectl_mesh.reports.calendar import calendar

            roots, intermediates, crl = ends(certs.files, own)
            found = [
                *map(dates.root, roots),
                *(dates.intermediate(name, one) for name, one in intermediates.items()),
            ]
            found += [dates.server_ca(name, ends_) for name, ends_ in validity.items()]
            common.put_calendar(
                calendar(
                    topology.mesh_id, [*found, *([dates.crl(*crl)] if crl is not None else [])]
                )
            )
            return
        on = rotation.read(certs.files)
        value = status(
            topology.mesh_id,
            topology.issuer,
            certs.files,
            own,
            certs.archive,
            clock.now(),
            on.step if on is not None else None,
        )
        value["servers"] = server_ca_values(validity, clock.now())
    except MeshError as error:
        raise MeshError(located(directory, error.problems)) from None
    if output == "json":
        common.put_json(value)
    else:
        common.put_text(text(value))
