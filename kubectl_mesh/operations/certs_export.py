"""Writes what a store holds that is filled by hand."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubectl_mesh.errors import MeshError, Place, Problem, refuse
from kubectl_mesh.fs.durable import make_folder
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.fs.owned_files import add_files
from kubectl_mesh.model import Cluster, Intermediate, Topology
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations import build
from kubectl_mesh.operations.checked_inputs import CheckedInputs, load_inputs
from kubectl_mesh.stores import store_of
from kubectl_mesh.text import mesh_command
from kubectl_mesh.topology.selection import select_clusters
from kubectl_mesh.workdir.git_ignore import list_unignored_files
from kubectl_mesh.workdir.places import TOPOLOGY_FILE


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What belongs where in the store."""

    topology: Topology
    clusters: tuple[Cluster, ...]
    """Those whose intermediate is put there by hand."""
    to: str | None
    """The folder that has the files, as NAME/cacerts.json; None where none were written."""


def export_intermediates(
    directory: str, clusters: Sequence[str], to: str | None, machine: Machine
) -> ExportResult:
    """The contents of the store `external` for these clusters, by name or context, or for all; with
    `to`, writes them there as private files.
    """
    inputs = load_inputs(directory, None, machine)
    topology = inputs.topology
    if not store_of(topology).OUTSIDE:
        raise refuse(
            join_path(directory, TOPOLOGY_FILE),
            f"says store: {topology.store}; only the store external is filled by hand",
            "write store: external",
            code="store-not-external",
        )
    only = select_clusters(topology, clusters) if clusters else None
    if not topology.has_intermediate_files:
        return ExportResult(topology, (), None)
    chosen = tuple(
        c for c in topology.clusters if c.primary is None and (only is None or c.name in only)
    )
    intermediates = _complete_intermediates(inputs, chosen)
    if to is not None:
        _write_files(to, intermediates, machine, join_path(directory, "certs"))
    return ExportResult(topology, chosen, to)


def _complete_intermediates(
    inputs: CheckedInputs, clusters: Sequence[Cluster]
) -> dict[str, Intermediate]:
    """The intermediates of clusters; refused where one is not there yet."""
    base = join_path(inputs.directory, "certs")
    everyone = frozenset(c.name for c in inputs.topology.clusters)
    pki = build.build_certificates(inputs, inputs.machine.now, everyone, throwaway=True)
    if pki.new_files:
        raise refuse(
            base,
            "has no intermediate yet for some cluster",
            f"run `{mesh_command('render')}` first, which makes them",
            code="intermediate-missing",
        )
    waiting = [c.name for c in clusters if c.name not in pki.intermediates]
    if waiting:
        raise refuse(
            base,
            f"has no certificate yet for {', '.join(waiting)}",
            f"run `{mesh_command('certs csr')}`",
            code="intermediate-missing",
        )
    return {c.name: pki.intermediates[c.name] for c in clusters}


def _write_files(
    to: str, intermediates: Mapping[str, Intermediate], machine: Machine, certs: str
) -> None:
    """Writes the material of each cluster as JSON, outside of what git takes."""
    bodies: dict[str, bytes] = {}
    problems = []
    for name, found in intermediates.items():
        if found.ca_key is None:
            problems.append(
                Problem(
                    Place(f"{certs}/intermediate-{name}/ca-key.pem"),
                    "is not here, and cannot be put into the store",
                    "put it back",
                    code="intermediate-key-missing",
                )
            )
            continue
        parts = {
            "ca-cert.pem": found.ca_cert,
            "ca-key.pem": found.ca_key,
            "cert-chain.pem": found.cert_chain,
            "root-cert.pem": found.root_cert,
        }
        text = json.dumps({part: body.decode() for part, body in parts.items()}, indent=2)
        bodies[f"{name}/cacerts.json"] = f"{text}\n".encode()
    if problems:
        raise MeshError(problems)
    if bare := list_unignored_files(to, list(bodies), machine.environment):
        raise refuse(
            to,
            f"lies in a git work tree that would take {bare[0]}",
            "name a folder outside of it, or one that is ignored",
            code="git-takes-private-file",
        )
    make_folder(to, 0o700)
    add_files(to, bodies, private=True)
