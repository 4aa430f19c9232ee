"""What the first render of an adopted mesh would change of what runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kubectl_mesh.adopt import difference, files
from kubectl_mesh.adopt.difference import Difference
from kubectl_mesh.adopt.evidence import Notes
from kubectl_mesh.adopt.running_mesh import RunningMesh
from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model import Folder, Pending
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.observed.dumped_objects import DumpedObject, unroll_objects
from kubectl_mesh.operations import build
from kubectl_mesh.operations.adopted_files import read_kubeconfig_text
from kubectl_mesh.operations.checked_inputs import load_inputs
from kubectl_mesh.operations.sealed_tree import SealedTree
from kubectl_mesh.stores.plain import Plain
from kubectl_mesh.targets import KINDS
from kubectl_mesh.text import marked_text, mesh_command
from kubectl_mesh.yaml_io.read import load_documents


@dataclass(frozen=True, slots=True)
class FirstRender:
    """The first render of an adopted mesh, next to what runs."""

    differences: tuple[Difference, ...]
    warnings: tuple[Problem, ...]


def compare_first_render(
    directory: str, machine: Machine, mesh: RunningMesh, found: Sequence[DumpedObject], notes: Notes
) -> FirstRender:
    """Compares what a render of the directory would create with the objects of the dumps."""
    inputs = load_inputs(directory, None, machine)
    out = join_path(directory, "out")
    sealed = SealedTree(inputs, out, store=Plain())
    rendered = build.build_mesh(inputs, machine.now, out, sealed=sealed, throwaway=True)
    pairs = [
        difference.ComparedCluster(
            cluster.name,
            [o for o in found if o.context == cluster.context],
            list(_list_objects(rendered.tree[cluster.name], cluster.context)),
            cluster.version,
        )
        for cluster in inputs.topology.clusters
    ]
    differing = difference.find_differences(pairs, read_kubeconfig_text, notes)
    files.note_unused_objects(mesh.clusters, notes)
    pending = [
        Problem(
            Place(p.subject),
            f"{p.what} is pending; it holds back {marked_text(p.holds_back)}",
            _pending_fix(p),
            code=f"{p.kind}-pending",
        )
        for p in rendered.plan.pending
    ]
    warnings = (
        *_root_problems(mesh, directory),
        *_version_problems(mesh),
        *pending,
        *rendered.warnings,
    )
    return FirstRender(tuple(differing), warnings)


def _list_objects(folder: Folder, context: str) -> Iterator[DumpedObject]:
    """The objects that a cluster's folder of the tree applies."""
    for path, file in folder.items():
        # A kustomization lists the others, and is applied to no cluster; what is for people or for
        # a chart is no object.
        if path.endswith(".yaml") and not path.endswith("kustomization.yaml"):
            for document in load_documents(path, file.body):
                yield from unroll_objects(document, context)


def _version_problems(mesh: RunningMesh) -> list[Problem]:
    """A warning where nobody says which version of Istio runs, which turns the rules of versions
    on.
    """
    main = next(
        (
            c.istiod_install
            for c in mesh.clusters
            if c.istiod_install is not None and c.version is None
        ),
        None,
    )
    target = KINDS.get(main.kind) if main is not None else None
    if main is None or target is None or target.STATES_VERSION:
        return []
    what = (
        "states no version, and no Deployment of istiod is among the dumps; it is taken for the"
        " newest Istio"
    )
    return [
        Problem(
            main.resource.place,
            what,
            'state istio: {version: "1.X.Y"} in the topology; before 1.8 much is rendered'
            " otherwise",
            "istio-version",
            code="istio-version-unknown",
        )
    ]


def _pending_fix(pending: Pending) -> str:
    """How to get something that no dump has."""
    if pending.kind == "certificate":
        return f"dump its cacerts, and `{mesh_command(f'certs import {pending.subject} FILE')}`"
    return f"run: {marked_text(pending.command)}"


def _root_problems(mesh: RunningMesh, directory: str) -> list[Problem]:
    """A warning for clusters that do not trust each other yet."""
    roots = {
        c.name: b"".join(c.signing_ca.files["root-cert.pem"].split())
        for c in mesh.clusters
        if c.signing_ca is not None
    }
    if len(set(roots.values())) < 2:
        return []
    what = (
        f"holds the roots of {', '.join(sorted(roots))}, which are not the same: every cluster is"
        " to trust all of them, and signs as before"
    )
    fix = "docs/adopt.md tells how to go on from here to one root"
    return [
        Problem(
            Place(join_path(directory, "certs/root-cert.pem")),
            what,
            fix,
            "certs-one-root",
            code="roots-differ",
        )
    ]
