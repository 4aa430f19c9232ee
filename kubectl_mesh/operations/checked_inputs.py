"""The inputs of a mesh, checked against each other: what a plan, certificates and a tree are made
from.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubectl_mesh.credentials.accounts import token_command, token_file
from kubectl_mesh.credentials.api_servers import Servers, find_servers, has_credentials
from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model import Cluster, Document, Json, Server, Topology
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations import base_file
from kubectl_mesh.pki import rotation
from kubectl_mesh.stores import sealed, store_of
from kubectl_mesh.targets.control_plane import ControlPlane, check_base
from kubectl_mesh.targets.target import Target
from kubectl_mesh.topology.peers import list_login_holders
from kubectl_mesh.workdir.certs_folder import CertsFolder
from kubectl_mesh.workdir.credential_files import Credentials
from kubectl_mesh.workdir.files import with_check_id
from kubectl_mesh.workdir.inputs import Inputs, is_server_from_kubeconfig, read_inputs
from kubectl_mesh.workdir.places import relocate_problems, sealing_certificate_file
from kubectl_mesh.workdir.topology_file import read_topology


@dataclass(frozen=True, slots=True)
class CheckedInputs:
    """Everything that a render takes from the working directory."""

    directory: str
    topology: Topology
    base: Mapping[str, Document]
    """The documents of base.yaml by what they customise."""
    target: Target
    servers: Mapping[str, Server]
    logins: Mapping[tuple[str, str], Mapping[str, Json]] = field(repr=False)
    """The `user` of a kubeconfig by cluster and peer; the peer "" means all peers."""
    certs: CertsFolder
    """What is in `certs/`."""
    warnings: tuple[Problem, ...]
    """Warnings: private files that others may read, and tokens that several clusters share."""
    broken_inputs: frozenset[tuple[str, str]] = frozenset()
    """What is known to be wrong, so that it is not reported as pending too: its kind, and the
    cluster's name.
    """
    has_secret_kubeconfig: bool = False
    """There is a kubeconfig.yaml, and it holds credentials."""
    sealing: Mapping[str, Any] = field(default_factory=dict)
    """The certificates of the Sealed Secrets controllers, by cluster."""
    selected_clusters: frozenset[str] | None = None
    """The clusters to render, where not all."""
    next_tokens: Mapping[tuple[str, str], str] = field(default_factory=dict, repr=False)
    """The existing next tokens during a token rotation, by cluster and peer."""
    has_known_kind: bool = True
    """base.yaml is a control plane of a known kind, or does not exist."""
    has_known_fields: bool = True
    """The fields of base.yaml are those of its kind."""
    kubeconfig_only_clusters: tuple[str, ...] = ()
    """The clusters whose server or CA only kubeconfig.yaml has."""
    unselected_ca_certs: Mapping[str, bytes] = field(default_factory=dict)
    """The certificates of the intermediates of clusters that are not to be rendered."""
    problems: tuple[Problem, ...] = ()
    """What is wrong with the files; the values are what could be read all the same."""
    machine: Machine = field(kw_only=True, repr=False)

    @property
    def certs_files(self) -> Mapping[str, bytes]:
        """The files below `certs/`."""
        return self.certs.files

    @property
    def intermediates_on_disk(self) -> tuple[str, ...]:
        """The intermediates that exist, those of clusters outside the topology too."""
        return self.certs.intermediate_folders

    @property
    def has_interrupted_run(self) -> bool:
        """A killed run left something unfinished in `certs/`."""
        return self.certs.was_interrupted

    @property
    def archive_names(self) -> tuple[str, ...]:
        """What is in `certs/archive/`."""
        return self.certs.archive_names


def load_inputs(
    directory: str,
    kubeconfig: str | None,
    machine: Machine,
    topology: Topology | None = None,
    *,
    out: str | None = None,
    unapplied: frozenset[str] = frozenset(),
) -> CheckedInputs:
    """Reads and checks a working directory; raises a `MeshError` with every problem of every file,
    once the topology itself is right.

    `kubeconfig` names another one than that of the working directory. The tree in `out` says
    whether base.yaml is lost, except for the clusters in `unapplied`.
    """
    topology = topology if topology is not None else read_topology(directory)
    folder = out if out is not None else join_path(directory, "out")
    inputs = check_directory(directory, kubeconfig, machine, topology, folder, unapplied)
    if inputs.problems:
        raise MeshError(inputs.problems)
    return inputs


def check_directory(
    directory: str,
    kubeconfig: str | None,
    machine: Machine,
    topology: Topology,
    out: str,
    unapplied: frozenset[str] = frozenset(),
) -> CheckedInputs:
    """As `load_inputs`, with what is wrong in `problems`; raises a `MeshError` only if nothing can
    be known because of it.
    """
    if problems := base_file.lost_base_problems(directory, topology, out, unapplied):
        # Whatever else is wrong rests on another control plane than the one that runs.
        raise MeshError(problems)
    return check_inputs(read_inputs(directory, topology, kubeconfig), machine)


def check_inputs(inputs: Inputs, machine: Machine) -> CheckedInputs:
    """Checks what was read of a working directory; problems as in `check_directory`."""
    if inputs.server_cas.problems:
        raise MeshError(inputs.server_cas.problems)
    control_plane = check_base(inputs.base, inputs.topology)
    topology = control_plane.topology or inputs.topology
    store_problems = list(store_of(topology).topology_problems(topology))
    servers = find_servers(topology, inputs.kubeconfig.document, inputs.server_cas.bodies)
    sealing = _check_sealing(inputs, machine)
    problems = (
        *control_plane.problems,
        *_target_problems(control_plane),
        *store_problems,
        *_server_problems(inputs, topology, servers),
        *inputs.credentials.problems,
        *sealing.problems,
        *inputs.certs_problems,
        *_rotation_problems(inputs),
    )
    if store_problems:
        raise MeshError(problems)
    config, certs = inputs.kubeconfig, inputs.certs
    return CheckedInputs(
        inputs.directory,
        topology,
        control_plane.base,
        control_plane.target,
        servers.servers,
        inputs.credentials.logins,
        certs,
        (
            *control_plane.warnings,
            *inputs.credentials.warnings,
            *_shared_token_problems(inputs.directory, topology, inputs.credentials),
            *sealing.warnings,
            *certs.warnings,
        ),
        _broken_inputs(inputs, topology, servers),
        config.is_default and config.document is not None and has_credentials(config.document),
        sealing.certificates,
        next_tokens=inputs.credentials.next_tokens,
        has_known_kind=control_plane.has_known_kind,
        has_known_fields=control_plane.has_known_fields,
        kubeconfig_only_clusters=_kubeconfig_only_clusters(inputs, topology, servers),
        problems=problems,
        machine=machine,
    )


def _target_problems(control_plane: ControlPlane) -> Iterator[Problem]:
    """What of the topology the target cannot do; unknown while base.yaml is not a control plane."""
    if control_plane.topology is not None:
        yield from control_plane.target.topology_problems(control_plane.topology)


def _broken_inputs(
    inputs: Inputs, topology: Topology, servers: Servers
) -> frozenset[tuple[str, str]]:
    """What is known to be wrong, by its kind and the cluster's name."""
    tokens = {("token", name) for name in inputs.credentials.broken_clusters}
    if inputs.kubeconfig.problems or servers.problems:
        names = [c.name for c in topology.clusters if c.server is None]
    else:
        names = list(servers.faults)
    return frozenset(tokens | {("server", name) for name in names})


def _kubeconfig_only_clusters(
    inputs: Inputs, topology: Topology, servers: Servers
) -> tuple[str, ...]:
    """The clusters whose server or CA only kubeconfig.yaml has."""
    if not inputs.kubeconfig.is_default:
        return ()
    return tuple(
        c.name
        for c in topology.clusters
        if c.name in servers.servers and is_server_from_kubeconfig(c, inputs.server_cas.bodies)
    )


def _server_problems(inputs: Inputs, topology: Topology, servers: Servers) -> Iterator[Problem]:
    """What is wrong with the API servers, and with the kubeconfig that names them."""
    config = inputs.kubeconfig
    yield from config.problems
    yield from with_check_id(servers.problems, "kubeconfig-context")
    if config.document is not None and config.document.problems:
        yield from _later_server_problems(topology, config.document, inputs.server_cas.bodies)
    faults = [p for problems in servers.faults.values() for p in problems]
    yield from relocate_problems(
        inputs.directory, faults, (c.certificate_authority for c in topology.clusters)
    )


def _later_server_problems(
    topology: Topology, config: Document, server_cas: Mapping[str, bytes]
) -> tuple[Problem, ...]:
    """What is wrong with a kubeconfig that repeats keys: that it does, and what the later values
    are.
    """
    problems = list(config.problems)
    for variant in config.variants:
        servers = find_servers(topology, variant, server_cas)
        problems += servers.problems
        problems += [
            p for faults in servers.faults.values() for p in faults if p.id != "kubeconfig-context"
        ]
    return with_check_id(problems, "kubeconfig-context")


def _shared_token_problems(
    directory: str, topology: Topology, credentials: Credentials
) -> Iterator[Problem]:
    """Warnings about one token for several logins: each cluster has tokens of its own."""
    seen: dict[str, tuple[Cluster, str]] = {}
    for cluster, peer in list_login_holders(topology):
        token = credentials.logins.get((cluster.name, peer), {}).get("token")
        if cluster.credential.kind != "tokenFile" or not isinstance(token, str):
            continue
        first, first_peer = seen.setdefault(token, (cluster, peer))
        if (first.name, first_peer) == (cluster.name, peer):
            continue
        path = join_path(directory, token_file(cluster, peer))
        other = join_path(directory, token_file(first, first_peer))
        what, fix = (
            f"holds the same token as {other}, and it can be either that is wrong",
            (
                f"fetch both again: {token_command(first, directory, first_peer)};"
                f" {token_command(cluster, directory, peer)}"
            ),
        )
        if path == other:
            what, fix = (
                f'is the token file of "{first.name}" and of "{cluster.name}"',
                "give each a file of its own",
            )
        yield Problem(Place(path), what, fix, "token-unique", code="token-shared")


@dataclass(frozen=True, slots=True)
class _Sealing:
    certificates: Mapping[str, Any] = field(default_factory=dict)
    """The certificates of the Sealed Secrets controllers, by cluster; none if one is wrong."""
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def _check_sealing(inputs: Inputs, machine: Machine) -> _Sealing:
    certificates: dict[str, Any] = {}
    problems = list(inputs.sealing_certificates.problems)
    warnings: list[Problem] = []
    for cluster in inputs.topology.clusters:
        name = sealing_certificate_file(cluster.name)
        body = inputs.sealing_certificates.bodies.get(name)
        if body is None:
            continue
        command = sealed.fetch_certificate_command(cluster, inputs.directory)
        try:
            certificates[cluster.name], more = sealed.load_certificate(
                name, body, machine.now, command
            )
            warnings += relocate_problems(inputs.directory, more)
        except MeshError as error:
            problems += relocate_problems(
                inputs.directory, with_check_id(error.problems, "sealing-certificate")
            )
    return _Sealing({} if problems else certificates, tuple(problems), tuple(warnings))


def _rotation_problems(inputs: Inputs) -> tuple[Problem, ...]:
    """What is wrong with a rotation of the root that is on."""
    files = inputs.certs.files
    if {"rotation.json", "next-root-key.pem"}.isdisjoint(files):
        return ()
    try:
        rotation.check_state(files, inputs.topology.issuer)
    except MeshError as error:
        return relocate_problems(inputs.directory, with_check_id(error.problems, "certs-readable"))
    return ()
