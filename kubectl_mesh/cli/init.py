"""`kubectl mesh init`"""

import os
import shlex
from typing import TYPE_CHECKING

import click

from kubectl_mesh.cli import clock, common
from kubectl_mesh.errors import Place, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kubectl_mesh.credentials.kubeconfig import Entry
    from kubectl_mesh.model import Topology

ISSUERS = ("local", "csr")
"""Those that need no more than their name; the others are written into topology.yaml."""
KINDS = ("Istio", "IstioOperator", "Application", "HelmRelease", "IstioControlPlane")

_FLAGS = {"mesh_id": "--mesh-id", "organization": "--organization"}

HEAD = """\
# Which clusters form the mesh. `kubectl mesh schema` prints the schema of this file, \
REFERENCE.md explains every key.
"""
NO_CONTEXTS = """\
# Add clusters with `kubectl mesh add CONTEXT --network NETWORK`.
contexts: {}
"""


@click.command(name="init")
@common.directory
@click.option(
    "--mesh-id", envvar="MESH_ID", metavar="NAME", help="The name of the mesh.  [env: MESH_ID]"
)
@click.option(
    "--organization",
    envvar="ORG_NAME",
    metavar="NAME",
    help="O= of every certificate.  [env: ORG_NAME; default: the mesh's name]",
)
@click.option(
    "--control-plane",
    type=click.Choice(KINDS),
    default=KINDS[0],
    metavar="KIND",
    help="The kind of base.yaml.",
    show_default=True,
)
@click.option(
    "--issuer",
    type=click.Choice(ISSUERS),
    default=ISSUERS[0],
    metavar="WHO",
    help="Who makes the intermediates: local or csr.",
    show_default=True,
)
@click.option(
    "--context",
    "contexts",
    multiple=True,
    metavar="CTX=NETWORK",
    help="A cluster and its network; may be given again.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(),
    metavar="FILE",
    help="The kubeconfig of the contexts.  [default: KUBECONFIG, else ~/.kube/config]",
)
@common.output
def command(
    directory: str,
    mesh_id: str | None,
    organization: str | None,
    control_plane: str,
    issuer: str,
    contexts: tuple[str, ...],
    kubeconfig: str | None,
    output: str,
) -> None:
    """Make a working directory: .gitignore, topology.yaml, base.yaml, the CAs of the clusters, the
    mesh's root certificate.

    Existing files are kept. An existing topology.yaml gets the mesh_id and the organization that it
    lacks; values that contradict it are an error. It gets the servers that it lacks, and clusters/
    the CAs, from the kubeconfig (first of all kubeconfig.yaml in the working directory); comments
    and order stay.
    """
    from kubectl_mesh import targets
    from kubectl_mesh.cli import existing
    from kubectl_mesh.errors import MeshError, refuse
    from kubectl_mesh.fs.durable import make_folder
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.fs.locking import locked
    from kubectl_mesh.fs.owned_files import write_certificates
    from kubectl_mesh.operations import base_file, build, private_files
    from kubectl_mesh.targets.control_plane import judge_base
    from kubectl_mesh.topology import validate
    from kubectl_mesh.workdir.base_file import read_base
    from kubectl_mesh.workdir.git_ignore import (
        GITIGNORE_FILE,
        MADE_FIRST,
        let_through,
        write_gitignore,
    )
    from kubectl_mesh.workdir.places import BASE, TOPOLOGY
    from kubectl_mesh.yaml_io import assets
    from kubectl_mesh.yaml_io.read import load
    from kubectl_mesh.yaml_io.write import dump

    path = join(directory, TOPOLOGY)
    there = os.path.lexists(path)
    new: dict[str, bytes] = {}
    final: dict[str, bytes] = {}
    sources = existing.named_sources(
        click.get_current_context(), ("mesh_id", "organization", "control_plane")
    )
    asked = existing.Asked(mesh_id, organization, issuer, contexts, sources)
    before = completed = b""
    if there:
        topology, before, completed = existing.complete_topology(directory, asked)
        if completed != before:
            private_files.check_regular(path)
        key_type, days = topology.key_type, topology.root_days
    else:
        if mesh_id is None:
            raise click.UsageError(
                "the mesh needs a name: --mesh-id NAME, or MESH_ID in the environment",
                click.get_current_context(),
            )
        entries, authorities = _entries(contexts, kubeconfig)
        if conflicts := list(existing.root_problems(directory, {}, asked)):
            raise MeshError(conflicts)
        head: dict[str, object] = {
            "mesh_id": mesh_id,
            **({"organization": organization} if organization not in (None, mesh_id) else {}),
        }
        head |= {"certificates": {"issuer": issuer}} if issuer != "local" else {}
        body = HEAD + dump(head) + (dump({"contexts": entries}) if entries else NO_CONTEXTS)
        trial = (
            body
            if entries
            else HEAD + dump(head) + dump({"contexts": {"none": {"network": "none"}}})
        )
        try:
            topology = validate(load(path, trial.encode()), assets.schema("topology.schema.json"))
        except MeshError as error:
            raise MeshError(
                Problem(
                    Place(_FLAGS.get(p.where.path, "--context"), path=p.where.path),
                    p.what,
                    _fix(p, entries),
                )
                for p in error.problems
            ) from None
        final[TOPOLOGY] = body.encode()
        for cluster in topology.clusters:
            if cluster.context in authorities:
                new[f"clusters/{cluster.name}.crt"] = authorities[cluster.context]
        key_type, days = None, topology.root_days
    if os.path.lexists(join(directory, BASE)):
        target = judge_base(read_base(directory), topology).target
        if sources["control_plane"] and control_plane != target.KIND:
            fix = (
                "leave --control-plane out; or move base.yaml away, to have one of kind"
                f" {control_plane} written"
            )
            raise refuse(
                join(directory, BASE),
                f"is of kind {target.KIND}, and --control-plane asks for {control_plane}",
                fix,
            )
    else:
        if there and not sources["control_plane"]:
            # A tree that was rendered without base.yaml keeps its kind.
            control_plane = (
                base_file.rendered_kind(topology, join(directory, "out")) or control_plane
            )
        target = targets.KINDS[control_plane]
    new[BASE] = target.STARTER.encode()
    make_folder(directory)
    with locked(directory):
        ignore = join(directory, GITIGNORE_FILE)
        done: list[tuple[str, str]] = [("keep", TOPOLOGY)] if there else []
        done.append(("create" if write_gitignore(directory) else "keep", GITIGNORE_FILE))
        if bare := let_through(directory, MADE_FIRST, ignore, os.environ):
            raise MeshError(bare)
        _add(directory, new, done)
        if there:
            done[:1] = _fill(directory, path, before, completed, topology, kubeconfig)
        if topology.issuer == "local":
            pki = build.root(
                directory, topology.organization, key_type or target.KEY_TYPE, days, clock.now()
            )
            if pki.new:
                write_certificates(join(directory, "certs"), pki.new)
            done += [
                ("create" if name in pki.new else "keep", f"certs/{name}")
                for name in ("root-key.pem", "root-cert.pem")
            ]
        make_folder(join(directory, "credentials"), 0o700)
        # Last: without it, every command says what to do; with it and without base.yaml, the mesh
        # would be one of Istio 1.4.
        last: list[tuple[str, str]] = []
        _add(directory, final, last)
        done[1:1] = last
    if output == "json":
        common.put_json(
            {"directory": directory, "files": [{"path": p, "action": a} for a, p in done]}
        )
    else:
        common.put_text("".join(f"{action:7} {join(directory, name)}\n" for action, name in done))
        if there and ("create", BASE) in done:
            common.say(
                f"note: base.yaml is new, and of kind {target.KIND}; without it a render is for"
                f" Istio 1.4 (kind {targets.OLD})"
            )
        empty = not there and not contexts
        common.say(f"next: kubectl mesh {'add CONTEXT --network NETWORK' if empty else 'render'}")


def _add(directory: str, files: dict[str, bytes], done: list[tuple[str, str]]) -> None:
    from kubectl_mesh.fs.owned_files import add_files

    for name, body in files.items():
        if os.path.lexists(os.path.join(directory, name)):
            done.append(("keep", name))
        else:
            add_files(directory, {name: body})
            done.append(("create", name))


def _fill(
    directory: str,
    path: str,
    before: bytes,
    completed: bytes,
    topology: "Topology",
    kubeconfig: str | None,
) -> list[tuple[str, str]]:
    """Writes a completed topology with the servers and CAs that it lacks, from a kubeconfig; what
    cannot be used stays as it is, and is reported.
    """
    from kubectl_mesh.credentials.kubeconfig import ca_fault, usable_ca
    from kubectl_mesh.errors import MeshError
    from kubectl_mesh.fs.folders import join
    from kubectl_mesh.fs.owned_files import add_files, replace_file
    from kubectl_mesh.fs.read import read_inside
    from kubectl_mesh.workdir.inputs import is_borrowed
    from kubectl_mesh.workdir.kubeconfig_file import kubeconfig_entries
    from kubectl_mesh.workdir.places import KUBECONFIG, TOPOLOGY
    from kubectl_mesh.workdir.topology_file import has_no_clusters
    from kubectl_mesh.yaml_io import edit
    from kubectl_mesh.yaml_io.read import load

    own = join(directory, KUBECONFIG)
    known = (
        {}
        if has_no_clusters(directory)
        else kubeconfig_entries(kubeconfig or (own if os.path.lexists(own) else None), os.environ)
        or {}
    )
    text = completed.decode()
    authorities: dict[str, bytes] = {}
    problems: list[Problem] = []
    read = lambda body: load(path, body.encode()).value  # noqa: E731
    for cluster in topology.clusters:
        entry = known.get(cluster.context)
        crt = f"clusters/{cluster.name}.crt"
        there = read_inside(directory, crt, "certificates")
        if entry is None or not is_borrowed(cluster, {} if there is None else {crt: there}):
            continue
        try:
            if cluster.server is not None and (
                entry.ca is None or entry.insecure or ca_fault(entry.ca)
            ):
                continue
            ca = (
                entry.ca
                if cluster.server is not None
                else usable_ca(entry, cluster.context, cluster.place, entry.place.file)
            )
            if cluster.authority is None and there is not None and there != ca:
                what = (
                    f"is not the CA that {entry.place.file} has for {cluster.context}; its server"
                    " was not copied"
                )
                raise MeshError(
                    [
                        Problem(
                            Place(join(directory, crt)),
                            what,
                            "remove the wrong one",
                            "server-ca",
                        )
                    ]
                )
            if cluster.server is None:
                tls = (
                    {"tlsServerName": entry.tls_server_name}
                    if entry.tls_server_name and not cluster.tls_server_name
                    else {}
                )
                text = edit.add(text, cluster.context, {"server": entry.server, **tls}, read, path)
            if cluster.authority is None and there is None and ca is not None:
                authorities[crt] = ca
        except MeshError as error:
            problems += error.problems
    common.warn(problems)
    for name, body in authorities.items():
        add_files(directory, {name: body})
    if text.encode() != before:
        replace_file(path, before, text.encode())
    return [
        ("keep" if text.encode() == before else "update", TOPOLOGY),
        *(("create", name) for name in authorities),
    ]


def _entries(
    contexts: tuple[str, ...], kubeconfig: str | None
) -> tuple[dict[str, dict[str, object]], dict[str, bytes]]:
    """The topology's entries and the CAs for the contexts that were named; everything that is wrong
    with them at once.
    """
    from kubectl_mesh.errors import MeshError, refuse
    from kubectl_mesh.workdir.kubeconfig_file import kubeconfig_entries

    entries: dict[str, dict[str, object]] = {}
    authorities: dict[str, bytes] = {}
    problems: list[Problem] = []
    known = kubeconfig_entries(kubeconfig, os.environ) if contexts else {}
    if known is None:
        no_kubeconfig(contexts)
    for given in contexts:
        context, equals, network = given.rpartition("=")
        try:
            if not equals or not context or not network:
                raise refuse(
                    "--context",
                    f'"{given}" is not CTX=NETWORK',
                    "write the context's name, =, and the name of its network",
                )
            if context in entries:
                raise refuse(
                    "--context",
                    f'"{context}" is given twice',
                    f"give it once; {other_cluster(context)}",
                )
            entry, ca = from_kubeconfig(context, known, "--context", set(entries))
        except MeshError as error:
            problems += error.problems
            continue
        entries[context] = {"network": network, **entry}
        if ca is not None:
            authorities[context] = ca
    if problems:
        raise MeshError(problems)
    return entries, authorities


def _fix(problem: Problem, entries: "Mapping[str, Mapping[str, object]]") -> str:
    """What to do about a problem of the topology; `init` takes no cluster's name, `add` does."""
    from kubectl_mesh.text import path_text

    context = next((c for c in entries if path_text(("contexts", c)) == problem.where.path), None)
    if context is None or not problem.fix.startswith("state a clusterName"):
        return problem.fix
    words = shlex.join(["add", context, "--network", str(entries[context]["network"])])
    return (
        f"leave it out here, and then `kubectl mesh {words} --cluster-name NAME`: lower-case"
        " letters, digits and `-`, at most 63"
    )


def no_kubeconfig(contexts: tuple[str, ...]) -> None:
    """Says that servers and CAs stay unknown."""
    names = ", ".join(given.rpartition("=")[0] or given for given in contexts)
    common.warn(
        [
            Problem(
                Place("kubeconfig"),
                f"there is none, so server and CA stay unknown: {names}",
                "name one with --kubeconfig, or set KUBECONFIG",
            )
        ]
    )


def other_cluster(context: str) -> str:
    """What to do where the context of another cluster has the same name."""
    return (
        "if it is the context of another cluster, rename that one: `kubectl config rename-context"
        f" {shlex.quote(context)} NEW --kubeconfig FILE`"
    )


def from_kubeconfig(
    context: str, known: "dict[str, Entry] | None", where: str, used: set[str]
) -> tuple[dict[str, object], bytes | None]:
    """The server and the CA of a context, as a topology holds them; nothing where there is no
    kubeconfig at all.
    """
    from kubectl_mesh.credentials.kubeconfig import usable_ca
    from kubectl_mesh.errors import MeshError, refuse
    from kubectl_mesh.text import near

    if known is None:
        return {}, None
    if context not in known:
        raise refuse(
            where,
            "no such context in the kubeconfig:"
            f' "{context}"{near(context, set(known) - used) or near(context, known)}',
            "name a context of it",
        )
    entry = known[context]
    other = (
        f"leave it out here, and then `kubectl mesh add {context} --network NETWORK --server URL"
        " --ca FILE`"
    )
    try:
        ca = usable_ca(entry, context, Place(where, path=context), entry.place.file)
    except MeshError as error:
        raise MeshError(
            Problem(
                p.where,
                p.what,
                other if where == "--context" else "give --server URL (and --ca FILE)",
                p.id,
            )
            for p in error.problems
        ) from None
    found: dict[str, object] = {"server": entry.server}
    if entry.tls_server_name:
        found["tlsServerName"] = entry.tls_server_name
    return found, ca
