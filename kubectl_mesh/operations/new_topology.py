"""The topology.yaml of a new working directory."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace

from kubectl_mesh.credentials.api_servers import KubeconfigContext
from kubectl_mesh.errors import MeshError, Place, Problem, refuse
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model import Topology
from kubectl_mesh.model.issuers import DEFAULT_ISSUER
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations.context_entry import (
    ContextEntry,
    Warn,
    copy_entry,
    kubeconfig_problem,
    rename_fix,
)
from kubectl_mesh.operations.context_networks import split_network
from kubectl_mesh.operations.stated_values import StatedValues, root_problems
from kubectl_mesh.text import mesh_command, path_text
from kubectl_mesh.topology.names import LABEL_RULE, NAME_CODES
from kubectl_mesh.workdir.kubeconfig_file import read_user_contexts
from kubectl_mesh.workdir.places import TOPOLOGY_FILE
from kubectl_mesh.workdir.topology_file import validate_topology
from kubectl_mesh.yaml_io.read import load_document
from kubectl_mesh.yaml_io.write import dump_yaml

_FLAGS = {"mesh_id": "--mesh-id", "organization": "--organization"}
_HEAD = """\
# Which clusters form the mesh. `kubectl mesh schema` prints the schema of this file, \
REFERENCE.md explains every key.
"""
_NO_CONTEXTS = """\
# Add clusters with `kubectl mesh add CONTEXT --network NETWORK`.
contexts: {}
"""


@dataclass(frozen=True, slots=True)
class NewTopology:
    """A topology that is not written yet."""

    topology: Topology
    """It has one cluster in the place of none."""
    body: bytes
    authorities: Mapping[str, bytes]
    """The CAs of API servers, by path in the working directory."""


def build_topology(
    stated: StatedValues, kubeconfig: str | None, machine: Machine, warn: Warn
) -> NewTopology:
    """The topology of the values that were stated; servers and CAs are those of a kubeconfig.

    Raises a `MeshError` with every problem of the values, at their flags.
    """
    if stated.mesh_id is None:
        raise refuse(
            "--mesh-id",
            "the mesh needs a name: --mesh-id NAME, or MESH_ID in the environment",
            code="mesh-id-missing",
        )
    known = read_user_contexts(kubeconfig, machine.environment) if stated.contexts else {}
    if known is None:
        warn([kubeconfig_problem(_list_contexts(stated))])
    entries = _copy_entries(stated, known)
    if conflicts := list(root_problems(stated, {})):
        raise MeshError(conflicts)
    contexts = {context: entry.keys for context, entry in entries.items()}
    clusters = dump_yaml({"contexts": contexts}) if contexts else _NO_CONTEXTS
    body = _HEAD + dump_yaml(_mesh_keys(stated)) + clusters
    path = join_path(stated.directory, TOPOLOGY_FILE)
    try:
        topology = validate_topology(load_document(path, body.encode()), allow_empty=True)
    except MeshError as error:
        raise MeshError(_relocate_to_flag(p, contexts) for p in error.problems) from None
    authorities = {
        f"clusters/{c.name}.crt": authority
        for c in topology.clusters
        if c.context in entries and (authority := entries[c.context].authority) is not None
    }
    return NewTopology(topology, body.encode(), authorities)


def _list_contexts(stated: StatedValues) -> list[str]:
    return [given.rpartition("=")[0] or given for given in stated.contexts]


def _mesh_keys(stated: StatedValues) -> dict[str, object]:
    """What the topology states about the mesh as a whole."""
    head: dict[str, object] = {"mesh_id": stated.mesh_id}
    if stated.organization not in (None, stated.mesh_id):
        head["organization"] = stated.organization
    if stated.issuer != DEFAULT_ISSUER:
        head["certificates"] = {"issuer": stated.issuer}
    return head


def _copy_entries(
    stated: StatedValues, known: Mapping[str, KubeconfigContext] | None
) -> dict[str, ContextEntry]:
    """The entries of the contexts that were stated; everything that is wrong with them at once."""
    entries: dict[str, ContextEntry] = {}
    problems: list[Problem] = []
    for given in stated.contexts:
        try:
            context, network = split_network("--context", given)
            if context in entries:
                raise refuse(
                    "--context",
                    f'"{context}" is given twice',
                    f"give it once; {rename_fix(context)}",
                    code="context-repeated",
                )
            entry = (
                copy_entry(context, known, "--context", entries, _add_fix(context))
                if known is not None
                else ContextEntry()
            )
        except MeshError as error:
            problems += error.problems
            continue
        entries[context] = replace(entry, keys={"network": network, **entry.keys})
    if problems:
        raise MeshError(problems)
    return entries


def _add_fix(context: str) -> str:
    """What to do about a context whose server or CA peers cannot use."""
    add = mesh_command(f"add {context} --network NETWORK --server URL --ca FILE")
    return f"leave it out here, and then `{add}`"


def _relocate_to_flag(problem: Problem, contexts: Mapping[str, Mapping[str, object]]) -> Problem:
    """A problem of the topology at the flag that states the value.

    No flag states the name of a cluster here: `add` has one.
    """
    path = problem.where.path
    problem = replace(problem, where=Place(_FLAGS.get(path, "--context"), path=path))
    context = next((c for c in contexts if path_text(("contexts", c)) == path), None)
    if context is None or problem.code not in NAME_CODES:
        return problem
    words = shlex.join(["add", context, "--network", str(contexts[context]["network"])])
    add = mesh_command(f"{words} --cluster-name NAME")
    return replace(problem, fix=f"leave it out here, and then `{add}`: {LABEL_RULE}")
