"""The states of remote secrets on disk compared with the inputs, in the categories of the old
tool.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.model import BUNDLE_FOLDER, MESH_LOCK, REMOTE_SECRETS_PREFIX, Member, Plan, Server
from kubectl_mesh.observed import TreeReader
from kubectl_mesh.observed.mesh_state import RemoteSecret
from kubectl_mesh.observed.tree_parser import digest_value
from kubectl_mesh.observed.tree_sources import read_tree_files
from kubectl_mesh.stores import STORES


@dataclass(frozen=True, slots=True)
class SecretState:
    """The state of a remote secret, its explanation, and the server in the file on disk."""

    state: str
    detail: str | None = None
    server: str | None = None


SecretsByDirectory = Mapping[str, Sequence[str]]
"""The clusters whose remote secrets are requested, by directory."""
StatesByDirectory = Mapping[tuple[str, str], SecretState]
"""By directory and cluster."""


def secret_path(directory: str, peer: str) -> str:
    """The path of a remote secret in its directory."""
    return f"{peer}.yaml" if directory == BUNDLE_FOLDER else f"{REMOTE_SECRETS_PREFIX}{peer}.yaml"


def read_secret_states(
    out: str, plan: Plan, wanted: SecretsByDirectory, now: datetime, *, rendered: bool
) -> StatesByDirectory:
    """The states of remote secrets that exist on disk. `rendered`: a render would change the files;
    else they were not compared.
    """
    found: dict[tuple[str, str], SecretState] = {}
    for directory, peers in wanted.items():
        secrets, problems = _read_files(out, directory, peers)
        own: dict[str, list[RemoteSecret]] = {}
        for secret in secrets:
            own.setdefault(secret.file, []).append(secret)
        for peer in peers:
            path = f"{directory}/{secret_path(directory, peer)}"
            faults = [p for p in problems if p.where.file == path]
            found[directory, peer] = _judge_secret(
                own.get(path, ()), faults, plan.members[peer], directory, now, rendered=rendered
            )
    return found


def _read_files(
    out: str, directory: str, peers: Sequence[str]
) -> tuple[Sequence[RemoteSecret], list[Problem]]:
    """The remote secrets of a directory, and the problems of their files."""
    secrets: list[RemoteSecret] = []
    problems: list[Problem] = []
    paths = [secret_path(directory, peer) for peer in peers]
    # All files at once; one by one where something cannot be read.
    for group in (paths, *([path] for path in paths)):
        try:
            view = TreeReader(foreign=True).read_state(
                read_tree_files(out, {directory: {*group, MESH_LOCK}})
            )
        except MeshError as error:
            if len(group) == 1:
                place = Place(f"{directory}/{group[0]}")
                problems += [replace(p, where=place, fix="") for p in error.problems]
            continue
        holder = view.clusters.get(directory) or view.shared_directories.get(directory)
        secrets += holder.remote_secrets if holder is not None else ()
        problems += view.problems
        if group is paths:
            break
    return secrets, problems


def _judge_secret(
    secrets: Sequence[RemoteSecret],
    faults: Sequence[Problem],
    other: Member,
    directory: str,
    now: datetime,
    *,
    rendered: bool,
) -> SecretState:
    """The first fault of a file, in the order in which istiod would notice it."""
    name = other.cluster.name
    own = next((s for s in secrets if s.peer == name), None)
    if faults:
        return SecretState("unreadable", faults[0].what, own.server if own is not None else None)
    if own is None:
        keys = ", ".join(sorted(s.peer for s in secrets))
        return (
            SecretState("wrong data key", f"{keys}, not {name}")
            if keys
            else SecretState("unreadable", "does not contain a kubeconfig")
        )
    if own.server is None and STORES[own.store].SHOWS_KUBECONFIGS:
        return SecretState("no server", "the kubeconfig in it has no server")
    server, login = other.server, other.peer_login("" if directory == BUNDLE_FOLDER else directory)
    if server is not None and own.server is not None:
        state = _judge_server(own, own.server, server)
        if state is not None:
            return state
    if own.expires is not None and own.expires <= now:
        return SecretState("expired token", f"since {own.expires:%Y-%m-%d}", own.server)
    if (
        own.login_digest is not None
        and login is not None
        and own.login_digest != digest_value(dict(login))
    ):
        return SecretState(
            "other token" if own.login_kind == "token" and "token" in login else "other login",
            "another than the one in the inputs",
            own.server,
        )
    return SecretState("out of date" if rendered else "not compared", None, own.server)


def _judge_server(secret: RemoteSecret, url: str, server: Server) -> SecretState | None:
    """The first difference between the server in a remote secret and that of the inputs."""
    if url != server.url:
        return SecretState("wrong server", f"{url} ({server.url} in the inputs)", url)
    if secret.ca_digest != hashlib.sha256(server.ca).hexdigest():
        return SecretState("wrong CA", "another CA than the one in the inputs", url)
    if secret.tls_server_name != server.tls_server_name:
        detail = (
            f"tls-server-name {secret.tls_server_name or 'missing'}"
            f" ({server.tls_server_name or 'none'}"
            " in the inputs)"
        )
        return SecretState("wrong server name", detail, url)
    return None
