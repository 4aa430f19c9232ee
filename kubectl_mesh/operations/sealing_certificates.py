"""The certificates of the Sealed Secrets controllers, out of a working directory."""

from datetime import datetime
from typing import Any

from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.fs.read import read_inside
from kubectl_mesh.model import Topology
from kubectl_mesh.stores import sealed
from kubectl_mesh.workdir.places import located


def certificates(
    directory: str, topology: Topology, at: datetime, loose: list[Problem]
) -> dict[str, Any]:
    """The certificates of the Sealed Secrets controllers that are there."""
    if topology.store != "sealed":
        return {}

    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for cluster in topology.clusters:
        name = sealed.file_name(cluster)
        body = read_inside(directory, name, "certificates")
        if body is None:
            continue
        try:
            found[cluster.name], warnings = sealed.load(
                name, body, at, sealed.command(cluster, directory)
            )
            loose += located(directory, warnings)
        except MeshError as error:
            problems += error.problems
    if problems:
        raise MeshError(problems)
    return found
