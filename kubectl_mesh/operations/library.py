"""The library interface: what `from kubectl_mesh import load, build, check, diff` gives. Nothing
here writes a file or asks for the time.

A tree is a mapping: a path below `out/`, such as `east/1-trust/cacerts.yaml`, to the bytes of the
file.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from kubectl_mesh.checks.result import Result
from kubectl_mesh.differences.values import Diff
from kubectl_mesh.errors import Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.observed.mesh_state import RawTree
from kubectl_mesh.operations import build as building
from kubectl_mesh.operations.check import CheckOptions, check_mesh
from kubectl_mesh.operations.checked_inputs import CheckedInputs, load_inputs
from kubectl_mesh.operations.diff import compare_trees
from kubectl_mesh.operations.paths import Paths

Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Built:
    """A mesh as it would be written."""

    tree: Files = field(repr=False)
    """What belongs into `out/`."""
    certs: Files = field(repr=False)
    """The certificates and keys that were missing and were made: what belongs into `certs/`, so
    that the next build is the same.
    """
    warnings: tuple[Problem, ...]


def load(
    directory: str | os.PathLike[str],
    now: datetime,
    *,
    kubeconfig: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> CheckedInputs:
    """Reads a working directory.

    `now` is in UTC. git starts with `environment`; without HOME it ignores the user's own
    configuration. Raises a `MeshError` with every problem of every file.
    """
    return load_inputs(os.fspath(directory), kubeconfig, Machine(now, environment or {}))


def build(inputs: CheckedInputs) -> Built:
    """Builds the tree in memory; raises a `MeshError` where it cannot be built.

    What is sealed in the `out/` of the working directory already is kept as it is. Whether running
    clusters survive the change is for `diff` to say.
    """
    rendered = building.build_mesh(inputs, inputs.machine.now, join_path(inputs.directory, "out"))
    tree = {
        f"{name}/{path}": file.body
        for name, folder in rendered.tree.items()
        for path, file in folder.items()
    }
    seal_key = {"seal-key": rendered.seal_key} if rendered.seal_key is not None else {}
    return Built(tree, {**rendered.pki.new_files, **seal_key}, rendered.warnings)


def check(
    directory: str | os.PathLike[str],
    now: datetime,
    *,
    kubeconfig: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[Result, ...]:
    """Asks every check of a working directory and its tree; what is wrong is in the results, and
    only what cannot be asked at all is raised.
    """
    paths = Paths(os.fspath(directory), kubeconfig=kubeconfig)
    return check_mesh(paths, CheckOptions(), Machine(now, environment or {})).results


def diff(before: Files, after: Files) -> Diff:
    """What a change from one tree to another does to the mesh: its lines, the order of applying it,
    and what running clusters do not survive.
    """
    return compare_trees(_to_raw_tree(before), _to_raw_tree(after)).diff


def _to_raw_tree(files: Files) -> RawTree:
    tree: dict[str, dict[str, bytes | None]] = {}
    for path, body in files.items():
        first, _, rest = path.partition("/")
        tree.setdefault(first if rest else "", {})[rest or first] = body
    return tree
