"""The working directory read into values: topology, base.yaml, kubeconfig, certificates, tokens."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from kubectl_mesh import stores
from kubectl_mesh.credentials import kubeconfig as kubeconfigs
from kubectl_mesh.credentials import logins as login_files
from kubectl_mesh.credentials.accounts import token_command, token_file
from kubectl_mesh.errors import MeshError, Place, Problem, refuse
from kubectl_mesh.fs.folders import join
from kubectl_mesh.fs.read import read_inside, read_with_mode
from kubectl_mesh.model import Cluster, Document, Json, Server, Topology
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations import base_file, sealing_certificates
from kubectl_mesh.pki import rotation
from kubectl_mesh.plan import peers_of
from kubectl_mesh.targets.target import Target
from kubectl_mesh.workdir.certs_folder import CertsFolder, mode_problems, read_certs
from kubectl_mesh.workdir.kubeconfig_file import read_mesh_kubeconfig
from kubectl_mesh.workdir.places import located
from kubectl_mesh.workdir.topology_file import read_topology
from kubectl_mesh.x509.layout import SEAL_KEY

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that a render reads."""

    directory: str
    topology: Topology
    base: Mapping[str, Document]
    """The documents of base.yaml by what they customise."""
    target: Target
    servers: Mapping[str, Server]
    logins: Mapping[tuple[str, str], Mapping[str, Json]] = field(repr=False)
    """The `user` of a kubeconfig by cluster and peer; the peer "" stands for all."""
    kept: Mapping[str, bytes] = field(repr=False)
    """The files below `certs/`."""
    folders: tuple[str, ...]
    """The intermediates that are there, those of clusters outside the topology too."""
    leftovers: bool
    """A killed run left something unfinished in `certs/`."""
    loose: tuple[Problem, ...]
    """Private files that others may read, and tokens that stand twice."""
    broken: frozenset[tuple[str, str]] = frozenset()
    """What is known to be wrong, so that it is not told as pending too: its kind, and the cluster's
    name.
    """
    secret_kubeconfig: bool = False
    """There is a kubeconfig.yaml, and it holds credentials."""
    sealing: Mapping[str, Any] = field(default_factory=dict)
    """The certificates of the Sealed Secrets controllers, by cluster."""
    only: frozenset[str] | None = None
    """The clusters to render, where not all."""
    coming: Mapping[tuple[str, str], str] = field(default_factory=dict, repr=False)
    """The next tokens that are here, by cluster and peer, where peers are to move to another."""
    archived: tuple[str, ...] = ()
    """What lies in `certs/archive/`."""
    unasked: frozenset[str] = frozenset()
    """The checks that nobody could make, for base.yaml is wrong."""
    borrowed: tuple[str, ...] = ()
    """The clusters whose server or CA only kubeconfig.yaml has."""
    others: Mapping[str, bytes] = field(default_factory=dict)
    """The certificates of the intermediates of clusters that are not to be rendered."""
    machine: Machine = field(kw_only=True, repr=False)


def gather(
    directory: str,
    kubeconfig: str | None,
    machine: Machine,
    found: list[Problem] | None = None,
    topology: Topology | None = None,
    *,
    out: str | None = None,
    unapplied: frozenset[str] = frozenset(),
) -> Inputs:
    """Reads a working directory; every problem of every file at once, once the topology itself is
    right.

    With a list in `found` the problems go there, and what could be read is given all the same. The
    tree in `out` says whether base.yaml is lost, but for the clusters in `unapplied`.
    """
    topology = topology if topology is not None else read_topology(directory)
    problems: list[Problem] = []
    loose: list[Problem] = []

    def tried(read: Callable[[], T], otherwise: T, check: str) -> T:
        try:
            return read()
        except MeshError as error:
            problems.extend(
                p if p.id else replace(p, id=check) for p in located(directory, error.problems)
            )
            return otherwise

    if lost := base_file.lost(
        directory, topology, out if out is not None else join(directory, "out"), unapplied
    ):
        # Whatever else there is to say rests on another control plane than the one that runs.
        raise MeshError(lost)
    control_plane = base_file.gather(directory, topology)
    base, target, topology = (
        control_plane.base,
        control_plane.target,
        control_plane.topology or topology,
    )
    problems += control_plane.problems
    loose += control_plane.warnings
    if control_plane.topology is not None:  # else nobody knows what is to read it
        problems += target.problems(topology)
    unfit = list(stores.problems(topology))
    problems += unfit
    nothing: tuple[dict[str, Server], dict[str, tuple[Problem, ...]]] = ({}, {})
    config = tried(lambda: read_mesh_kubeconfig(directory, kubeconfig), None, "kubeconfig-context")
    authorities = _authorities(directory, topology)

    def of_servers(faults: Mapping[str, tuple[Problem, ...]]) -> list[Problem]:
        return list(
            located(
                directory,
                [p for found in faults.values() for p in found],
                (c.authority for c in topology.clusters),
            )
        )

    unread = len(problems)
    known, faults = tried(
        lambda: kubeconfigs.servers(topology, config, authorities), nothing, "kubeconfig-context"
    )
    is_unread = (
        any(p.id == "kubeconfig-context" for p in problems[:unread]) or len(problems) > unread
    )
    if config is not None and config.problems:
        problems += _later_server_problems(topology, config, authorities)
    secret_kubeconfig = (
        config is not None and kubeconfig is None and kubeconfigs.credentials(config)
    )
    problems += of_servers(faults)
    logins: dict[tuple[str, str], Mapping[str, Json]] = {}
    coming: dict[tuple[str, str], str] = {}
    broken = {
        ("server", name)
        for name in (
            (c.name for c in topology.clusters if c.server is None) if is_unread else faults
        )
    }
    readers: dict[str, tuple[str, str, str, str]] = {}
    for cluster, peer in _readers(topology):
        name = token_file(cluster, peer)
        path = join(directory, name)
        command = token_command(cluster, directory, peer)
        before = len(problems)
        if cluster.credential.way == "tokenFile":
            token = tried(
                lambda name=name, command=command: _token(  # type: ignore[misc]
                    directory, name, command, loose
                ),
                None,
                "token-readable",
            )
            if token is not None:
                logins[cluster.name, peer] = {"token": token}
                *other, first, fetch = readers.setdefault(
                    token, (cluster.name, peer, path, command)
                )
                if other != [cluster.name, peer]:
                    what, fix = (
                        f"holds the same token as {first}, and it can be either that is wrong",
                        f"fetch both again: {fetch}; {command}",
                    )
                    if path == first:
                        what, fix = (
                            f'is the token file of "{other[0]}" and of "{cluster.name}"',
                            "give each a file of its own",
                        )
                    loose.append(Problem(Place(path), what, fix, "token-unique"))
            if cluster.coming is not None:
                name = token_file(cluster, peer, cluster.coming)
                command = token_command(cluster, directory, peer, cluster.coming)
                token = tried(
                    lambda name=name, command=command: _token(  # type: ignore[misc]
                        directory, name, command, loose
                    ),
                    None,
                    "token-readable",
                )
                if token is not None:
                    coming[cluster.name, peer] = token
        else:
            login = tried(
                lambda cluster=cluster: _login(directory, cluster, loose),  # type: ignore[misc]
                None,
                "credential-readable",
            )
            if login is not None:
                logins[cluster.name, peer] = login
        if len(problems) > before:
            broken.add(("token", cluster.name))
    no_sealing: dict[str, Any] = {}
    sealing = tried(
        lambda: sealing_certificates.certificates(directory, topology, machine.now, loose),
        no_sealing,
        "sealing-certificate",
    )
    certs = tried(
        lambda: read_certs(directory, [c.name for c in topology.clusters]),
        CertsFolder(),
        "certs-readable",
    )
    loose += certs.warnings
    if not {"rotation.json", "next-root-key.pem"}.isdisjoint(certs.files):
        tried(lambda: rotation.judge(certs.files, topology.issuer), None, "certs-readable")
    if found is not None and not unfit:
        found += problems
    elif problems:
        raise MeshError(problems)
    return Inputs(
        directory,
        topology,
        base,
        target,
        known,
        logins,
        certs.files,
        certs.intermediates,
        certs.was_interrupted,
        tuple(loose),
        frozenset(broken),
        secret_kubeconfig,
        sealing,
        coming=coming,
        archived=certs.archive,
        machine=machine,
        unasked=control_plane.unasked,
        borrowed=(
            ()
            if kubeconfig is not None
            else tuple(
                c.name for c in topology.clusters if c.name in known and is_borrowed(c, authorities)
            )
        ),
    )


def ca_file(inputs: Inputs, cluster: Cluster) -> str | None:
    """The file with the CA of a cluster's API server; None if it is in the topology or in a
    kubeconfig.
    """
    if cluster.authority is not None:
        return (
            None if "-----BEGIN" in cluster.authority else join(inputs.directory, cluster.authority)
        )
    path = join(inputs.directory, f"clusters/{cluster.name}.crt")
    return path if cluster.server is not None and os.path.isfile(path) else None


def _ca_place(inputs: Inputs, cluster: Cluster) -> Place:
    """Where the CA of a cluster's API server is stated."""
    file = ca_file(inputs, cluster)
    if file is not None:
        return Place(file)
    return inputs.topology.document.place(
        "contexts",
        cluster.context,
        *(("certificateAuthority",) if cluster.authority is not None else ()),
    )


def server_cas(inputs: Inputs) -> list[tuple[str, bytes, Place]]:
    """The CA of every API server: its cluster, the PEM, and its place."""
    return [
        (c.name, inputs.servers[c.name].ca, _ca_place(inputs, c))
        for c in inputs.topology.clusters
        if c.name in inputs.servers
    ]


def server_ca_dates(directory: str, topology: Topology) -> dict[str, tuple[datetime, datetime]]:
    """The validity of the CA of every API server that is known; what is wrong with one, `check`
    reports.
    """
    try:
        config = read_mesh_kubeconfig(directory, None)
        known = kubeconfigs.servers(topology, config, _authorities(directory, topology))[0]
    except MeshError:
        return {}
    found = {name: kubeconfigs.ca_dates(server.ca) for name, server in known.items()}
    return {name: validity for name, validity in found.items() if validity is not None}


def is_borrowed(cluster: Cluster, authorities: Mapping[str, bytes]) -> bool:
    """Whether the server or the CA of a cluster is stated neither in the topology nor in
    `clusters/`.
    """
    return cluster.server is None or (
        cluster.authority is None and f"clusters/{cluster.name}.crt" not in authorities
    )


def _readers(topology: Topology) -> list[tuple[Cluster, str]]:
    """Whose login is wanted, and for whom; the peer "" stands for all."""
    if not topology.reader_per_peer:
        return [(cluster, "") for cluster in topology.clusters if cluster.joined]
    peers = peers_of(topology)
    return [
        (cluster, peer)
        for cluster in topology.clusters
        for peer in peers
        if cluster.name in peers[peer]
    ]


def _login(directory: str, cluster: Cluster, loose: list[Problem]) -> Mapping[str, Json] | None:
    bodies: dict[str, bytes] = {}
    for key, (name, private) in login_files.files(cluster.credential).items():
        found = read_with_mode(directory, name, "credential" if private else "certificates")
        if found is None:
            return None
        if private:
            loose.extend(mode_problems(join(directory, name), found[1]))
        bodies[key] = found[0]
    return login_files.login(cluster.credential, bodies, lambda name: join(directory, name))


def _later_server_problems(
    topology: Topology, config: Document, authorities: Mapping[str, bytes]
) -> list[Problem]:
    """What is wrong with a kubeconfig in which keys stand twice: that they do, and what the later
    values are.
    """
    found = list(config.problems)
    for variant in config.variants:
        try:
            faults = kubeconfigs.servers(topology, variant, authorities)[1]
        except MeshError as error:
            found += error.problems
        else:
            found += [
                p for problems in faults.values() for p in problems if p.id != "kubeconfig-context"
            ]
    return [p if p.id else replace(p, id="kubeconfig-context") for p in found]


def _authorities(directory: str, topology: Topology) -> dict[str, bytes]:
    found = {}
    for cluster in topology.clusters:
        names = [f"clusters/{cluster.name}.crt"]
        if cluster.authority is not None and "-----BEGIN" not in cluster.authority:
            names.append(cluster.authority)
        for name in names:
            body = read_inside(directory, name, "certificates")
            if body is not None:
                found[name] = body
    return found


def _token(directory: str, name: str, command: str, loose: list[Problem]) -> str | None:
    found = read_with_mode(directory, name, "credential")
    if found is None:
        return None
    path = join(directory, name)

    certs = os.path.realpath(os.path.join(directory, "certs"))
    folder, last = os.path.split(os.path.realpath(os.path.join(directory, name)))
    if f"{folder}{os.sep}".startswith(f"{certs}{os.sep}") and (
        last == SEAL_KEY or last.endswith("-key.pem")
    ):
        raise refuse(
            path,
            "is a private file of the mesh's certificates, not a token",
            f"name the file of the token; {command} writes it",
        )
    loose.extend(mode_problems(path, found[1]))
    return login_files.token(path, found[0], command)
