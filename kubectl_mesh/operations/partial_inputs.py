"""What can be known of a mesh whose inputs are wrong in part, so that it cannot be rendered."""

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime

from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.model import BUNDLE_FOLDER, REMOTE_SECRETS_PREFIX, Pki, Plan, Topology
from kubectl_mesh.operations import build
from kubectl_mesh.operations.checked_inputs import CheckedInputs
from kubectl_mesh.plan import KnownClusters, build_plan
from kubectl_mesh.text import path_text
from kubectl_mesh.topology.validation import validate_document
from kubectl_mesh.workdir.topology_document import load_topology_document
from kubectl_mesh.workdir.topology_file import read_topology
from kubectl_mesh.x509.certificates import describe_certificate, load_certificates
from kubectl_mesh.yaml_io import assets


def read_valid_contexts(directory: str, found: list[Problem]) -> Topology:
    """The topology without the contexts that are wrong, whose problems go to `found`; raises a
    `MeshError` if anything else is wrong.
    """
    try:
        return read_topology(directory)
    except MeshError as error:
        problems = error.problems
        document = load_topology_document(directory)
        value = document.value if document is not None else None
        contexts = value.get("contexts") if isinstance(value, dict) else None
        if document is None or not isinstance(value, dict) or not isinstance(contexts, dict):
            raise
    wrong: set[str] = set()
    while problems:
        named = {
            c
            for c in contexts
            if any(_is_below(p.where.path, path_text(("contexts", c))) for p in problems)
        } - wrong
        beside = [
            p
            for p in problems
            if not any(_is_below(p.where.path, path_text(("contexts", c))) for c in contexts)
        ]
        if beside or not named or len(named | wrong) == len(contexts):
            raise MeshError([*found, *problems])
        found += problems
        wrong |= named
        left = {c: e for c, e in contexts.items() if c not in wrong}
        try:
            return validate_document(
                replace(document, value={**value, "contexts": left}, problems=(), variants=()),
                assets.load_schema("topology.schema.json"),
            )
        except MeshError as error:
            problems = error.problems
    raise MeshError(found)


def _is_below(path: str, above: str) -> bool:
    return path == above or path.startswith((f"{above}.", f"{above}["))


def plan_without_render(inputs: CheckedInputs, files: Sequence[str]) -> tuple[Plan, Pki]:
    """The plan, and the certificates without problems other than their age; `files` are the files
    with problems.
    """
    topology = inputs.topology
    known = KnownClusters(inputs.servers, inputs.logins)
    known_plan = build_plan(topology, inputs.target.plan_traits(topology), known, inputs.directory)
    rest = frozenset(
        c.name
        for c in topology.clusters
        if not any(f"intermediate-{c.name}/" in file for file in files)
    )
    try:
        return known_plan, build.build_certificates(
            build.narrow_inputs(inputs, rest), find_steady_day(inputs), throwaway=True
        )
    except MeshError as error:
        more = [p.where.file for p in error.problems if "/intermediate-" in p.where.file]
        if more and not set(more) <= set(files):
            return plan_without_render(inputs, [*files, *more])
        return known_plan, Pki(b"", (), {}, {})


def list_secret_files(out: str, directories: Collection[str]) -> dict[str, frozenset[str]]:
    """The remote secrets on disk of directories, by their paths there."""
    found = {}
    for directory in directories:
        prefix = "" if directory == BUNDLE_FOLDER else REMOTE_SECRETS_PREFIX
        try:
            found[directory] = frozenset(
                prefix + name for name in os.listdir(os.path.join(out, directory, prefix))
            )
        except OSError:
            continue  # it does not exist, or cannot be read
    return found


def find_steady_day(inputs: CheckedInputs) -> datetime:
    """A day on which every certificate has begun and, as long as they are used, none has ended: so
    that a picture does not depend on today.
    """
    begun = []
    for path, body in inputs.certs_files.items():
        if path.endswith(("root-cert.pem", "ca-cert.pem")):
            try:
                begun += [describe_certificate(c).not_before for c in load_certificates(path, body)]
            except MeshError:
                continue  # told by its own check
    return max(begun, default=inputs.machine.now)
