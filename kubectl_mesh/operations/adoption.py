"""What `adopt` does with the objects of a mesh: the files that they make, judged before any is
written, and the comparison with what runs.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from kubectl_mesh import targets
from kubectl_mesh.adopt import basedoc, clusters, difference, files
from kubectl_mesh.adopt.evidence import Notes
from kubectl_mesh.adopt.running import Given, Mesh
from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.fs import owned_files
from kubectl_mesh.fs.durable import make_folder
from kubectl_mesh.fs.folders import join
from kubectl_mesh.fs.locking import locked
from kubectl_mesh.fs.read import read_inside
from kubectl_mesh.model import Document, Pending, Topology
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.observed.objects import Found, objects
from kubectl_mesh.operations import base_file, build, working_directory
from kubectl_mesh.pki import inuse
from kubectl_mesh.pki.union import together
from kubectl_mesh.stores import Plain
from kubectl_mesh.text import path_text
from kubectl_mesh.topology import validate
from kubectl_mesh.topology.names import name_of
from kubectl_mesh.workdir.git_ignore import GITIGNORE_FILE, let_through, write_gitignore
from kubectl_mesh.workdir.places import BASE, TOPOLOGY
from kubectl_mesh.x509.layout import ROOT_CERT
from kubectl_mesh.yaml_io import assets
from kubectl_mesh.yaml_io.read import load, load_all
from kubectl_mesh.yaml_io.write import dump

_TRIES = 50


@lru_cache(maxsize=4096)
def read(body: bytes) -> Document:
    """A kubeconfig, every scalar a text; the remote secret for a cluster is the same in all that
    hold it, and is read once.
    """
    return load("kubeconfig", body, typed=False)


def parse(body: bytes) -> Document:
    """What else stands in an object as text."""
    return load("text", body)


def made(
    found: Sequence[Found],
    mesh_id: str | None,
    networks: Mapping[str, str],
    wanted: str | None,
    directory: str,
    now: datetime,
    notes: Notes,
) -> tuple[Mesh, dict[str, bytes], dict[str, bytes]]:
    """The mesh, and the files of its working directory: those that all may read, and the private
    ones. What does not fit goes to the notes.
    """
    mesh = clusters.mesh(found, read, parse, name_of, Given(mesh_id, networks), notes)
    kind = files.kind_of(mesh, wanted, notes)
    certificates, stated, organization = _certificates(mesh, directory, now, notes)
    value, named = files.topology(mesh, kind, stated, organization, name_of, notes)
    if notes.problems:
        return mesh, {}, {}
    text = files.TOPOLOGY_HEAD + dump(value)
    path = join(directory, TOPOLOGY)
    try:
        topology = validate(load(path, text.encode()), assets.schema("topology.schema.json"))
    except MeshError as error:
        notes.problems += [_explained(p, mesh) for p in error.problems]
        return mesh, {}, {}
    common = {c.version for c in mesh.clusters}
    base = _base(
        basedoc.base(mesh, kind, next(iter(common)) if len(common) == 1 else None),
        kind,
        topology,
        directory,
        mesh,
        notes,
    )
    if notes.problems:
        return mesh, {}, {}
    public = {
        TOPOLOGY: text.encode(),
        BASE: base.encode(),
        **{n: b for n, b in named.items() if not n.startswith("credentials/")},
    }
    return (
        mesh,
        public,
        {**{n: b for n, b in named.items() if n.startswith("credentials/")}, **certificates},
    )


def _explained(problem: Problem, mesh: Mesh) -> Problem:
    """A problem of a topology that is not written yet, with the dump that it comes from."""
    path = problem.where.path
    for cluster in mesh.clusters:
        if path.startswith(path_text(("contexts", cluster.context))):
            return replace(
                problem, where=cluster.objects[0].place, what=f"makes {path}, which {problem.what}"
            )
    if path == "mesh_id":
        said = [e.place for c in mesh.clusters for e in c.said.get("mesh_id", ())]
        return replace(
            problem,
            where=said[0] if said else Place("--mesh-id"),
            what=f"names the mesh: {problem.what}",
            fix="--mesh-id NAME gives it another",
        )
    return replace(problem, where=Place("the topology that they make", path=path))


def _certificates(
    mesh: Mesh, directory: str, now: datetime, notes: Notes
) -> tuple[dict[str, bytes], dict[str, Any], str | None]:
    """The files of `certs/`, what the topology says of certificates, and the organization in the
    root.
    """
    held = {
        c.name: c.authority for c in mesh.clusters if c.authority is not None and c.primary is None
    }
    issuers = {a.issuer for a in held.values()}
    if len(issuers) == 1 and (issuer := next(iter(issuers))) is not None:
        return (
            {},
            {
                "issuer": "cert-manager",
                "issuerRef": dict(zip(("name", "kind", "group"), issuer, strict=True)),
            },
            None,
        )
    if len(issuers) > 1 and any(issuers):
        first = next(a for a in held.values() if a.issuer is not None)
        what = (
            "was made by cert-manager, and not as those of the other clusters: a topology has one"
            " issuer"
        )
        notes.problems.append(
            Problem(
                first.found.place,
                what,
                "have cert-manager make all of them, with an issuer of the same name, or none",
            )
        )
        return {}, {}, None
    made: dict[str, bytes] = {}
    kept: dict[str, bytes] = {}
    try:
        roots = {str(a.found.place): a.files["root-cert.pem"] for a in held.values()}
        whole = together(roots) if roots else b""
    except MeshError as error:
        notes.problems += error.problems
        return {}, {}, None
    there = read_inside(directory, f"certs/{ROOT_CERT}", "certificates")
    if there is not None and whole and there.split() != whole.split():
        what = (
            "is there and is kept, and is another root than that of the clusters in"
            f" {next(iter(roots))}"
        )
        notes.problems.append(
            Problem(
                Place(join(directory, f"certs/{ROOT_CERT}")),
                what,
                "adopt into an empty directory",
            )
        )
        return {}, {}, None
    if whole:
        made[ROOT_CERT] = kept[ROOT_CERT] = whole
    for name, authority in held.items():
        try:
            made |= inuse.take(
                name, list(held), str(authority.found.place), authority.files, kept, now
            )
        except MeshError as error:
            notes.problems += error.problems
    own = any(a.own for a in held.values())
    return (
        {f"certs/{path}": body for path, body in made.items()},
        {"issuer": "csr"},
        inuse.organization(whole) if whole and not own else None,
    )


def _base(
    parts: dict[str, dict[str, Any]],
    kind: str,
    topology: Topology,
    directory: str,
    mesh: Mesh,
    notes: Notes,
) -> str:
    """base.yaml; what its schema refuses is left out, and told."""
    target = targets.module(kind)
    if not parts:
        return str(target.STARTER)
    path = join(directory, BASE)
    mains = [c.main for c in mesh.clusters if c.main is not None]
    for _ in range(_TRIES):
        text = basedoc.base_text(parts)
        found = base_file.judged(load_all(path, text.encode()), topology)
        if not found.problems:
            return text
        dropped = [_dropped(parts, p, found.base, mains[0].found, notes) for p in found.problems]
        if not any(dropped):
            notes.problems += found.problems
            return ""
    notes.problems += found.problems
    return ""


def _dropped(
    parts: dict[str, dict[str, Any]],
    problem: Problem,
    base: Mapping[str, Document],
    source: Found,
    notes: Notes,
) -> bool:
    """Takes what a problem of base.yaml is about out of its documents."""
    for name, document in zip(parts, base.values(), strict=False):
        for path, (line, column) in document.marks.items():
            if (
                path
                and (line, column) == (problem.where.line, problem.where.column)
                and path_text(path) == problem.where.path
            ):
                parts[name] = _without(parts[name], path)
                notes.dropped[problem.where.path] = problem.what
                notes.leave(source, problem.what, f"{source}, {problem.where.path}")
                return True
    return False


def _without(value: Any, path: tuple[str | int, ...]) -> Any:
    """A value without what stands at a path, and without the mappings that are empty then."""
    if isinstance(value, dict):
        inner = _without(value[path[0]], path[1:]) if len(path) > 1 else None
        kept = inner is not None and inner != {}
        return {k: inner if k == path[0] else v for k, v in value.items() if k != path[0] or kept}
    if isinstance(value, list) and isinstance(path[0], int):
        inner = _without(value[path[0]], path[1:]) if len(path) > 1 else None
        return [
            inner if i == path[0] else v
            for i, v in enumerate(value)
            if i != path[0] or inner is not None
        ]
    return value


def write(
    directory: str,
    public: Mapping[str, bytes],
    private: Mapping[str, bytes],
    environment: Mapping[str, str],
) -> list[tuple[str, str]]:
    """Writes what is not there; gives for each path what was done."""
    done: list[tuple[str, str]] = []

    def add(name: str, body: bytes, *, hidden: bool = False) -> None:
        there = os.path.lexists(os.path.join(directory, name))
        if not there:
            owned_files.add_files(directory, {name: body}, private=hidden)
        done.append(("keep" if there else "create", name))

    make_folder(directory)
    with locked(directory):
        done.append(("create" if write_gitignore(directory) else "keep", GITIGNORE_FILE))
        secret = [n for n in private if not n.startswith("certs/") or n.endswith("key.pem")]
        if bare := let_through(
            directory,
            [*secret, "certs/root-key.pem"],
            join(directory, GITIGNORE_FILE),
            environment,
        ):
            raise MeshError(bare)
        certs = {n.removeprefix("certs/"): b for n, b in private.items() if n.startswith("certs/")}
        # A folder is taken over whole or not at all.
        folders = {
            p.partition("/")[0]
            for p in certs
            if os.path.lexists(os.path.join(directory, "certs", p.partition("/")[0]))
        }
        fresh = {p: b for p, b in certs.items() if p.partition("/")[0] not in folders}
        if certs:
            owned_files.write_certificates(os.path.join(directory, "certs"), fresh)
        for name, body in private.items():
            if not name.startswith("certs/"):
                add(name, body, hidden=True)
        done += [("create" if p in fresh else "keep", f"certs/{p}") for p in sorted(certs)]
        # The topology comes last: while it is not there, nothing is rendered of what is not
        # complete.
        for name, body in sorted(public.items(), key=lambda item: item[0] == TOPOLOGY):
            add(name, body)
        make_folder(os.path.join(directory, "credentials"), 0o700)
    return sorted(done, key=lambda item: (item[1] != ".gitignore", "/" in item[1], item[1]))


def compared(
    directory: str, machine: Machine, mesh: Mesh, found: Sequence[Found], notes: Notes
) -> tuple[list[difference.Difference], list[Problem]]:
    """What the first render of the directory would change of what runs, and the warnings of that
    render.
    """
    inputs = working_directory.gather(directory, None, machine)
    rendered = build.make(
        inputs, machine.now, join(directory, "out"), store=Plain(), throwaway=True
    )
    pairs = []
    for cluster in inputs.topology.clusters:
        folder = rendered.tree[cluster.name]
        # A kustomization lists the others, and is applied to no cluster; what is for people or for
        # a chart is no object.
        manifests = [
            (path, file.body)
            for path, file in folder.items()
            if path.endswith(".yaml") and not path.endswith("kustomization.yaml")
        ]
        made_here = [
            o
            for path, body in manifests
            for d in load_all(path, body)
            for o in objects(d, cluster.context)
        ]
        pairs.append(
            difference.Cluster(
                cluster.name,
                [o for o in found if o.context == cluster.context],
                made_here,
                cluster.version,
            )
        )
    differing = difference.differences(pairs, read, notes)
    files.other_objects(mesh.clusters, notes)
    pending = [
        Problem(Place(p.subject), f"{p.what} is pending; it holds back {p.holds_back}", _gets(p))
        for p in rendered.plan.pending
    ]
    return differing, [*_apart(mesh, directory), *_unversioned(mesh), *pending, *rendered.warnings]


def _unversioned(mesh: Mesh) -> list[Problem]:
    """A warning where nobody says which version of Istio runs, which turns the rules of versions
    on.
    """
    main = next((c.main for c in mesh.clusters if c.main is not None and c.version is None), None)
    if main is None or main.kind != "IstioOperator":
        return []
    what = (
        "states no version, and no Deployment of istiod is among the dumps; it is taken for the"
        " newest Istio"
    )
    return [
        Problem(
            main.found.place,
            what,
            'state istio: {version: "1.X.Y"} in the topology; before 1.8 much is rendered'
            " otherwise",
            "istio-version",
        )
    ]


def _gets(pending: Pending) -> str:
    """What gets something that no dump has."""
    known = pending.kind == "certificate"
    return (
        f"dump its cacerts, and `kubectl mesh certs import {pending.subject} FILE`"
        if known
        else f"run: {pending.command}"
    )


def _apart(mesh: Mesh, directory: str) -> list[Problem]:
    """A warning for clusters that do not trust each other yet."""
    roots = {
        c.name: b"".join(c.authority.files["root-cert.pem"].split())
        for c in mesh.clusters
        if c.authority is not None
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
            Place(join(directory, "certs/root-cert.pem")),
            what,
            fix,
            "certs-one-root",
        )
    ]
