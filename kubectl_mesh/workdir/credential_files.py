"""credentials/: the tokens and other credential files of peers."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from kubectl_mesh.credentials.accounts import token_command, token_file
from kubectl_mesh.credentials.logins import (
    build_login,
    credential_files,
    login_problems,
    parse_token,
    token_problems,
)
from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model import Cluster, Json, Topology
from kubectl_mesh.topology.peers import list_login_holders
from kubectl_mesh.workdir.files import mode_problems, read_work_file
from kubectl_mesh.x509.layout import SEAL_KEY

LoginKey = tuple[str, str]
"""A login: the cluster, and the peer that uses it."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The logins that are here."""

    logins: Mapping[LoginKey, Mapping[str, Json]] = field(default_factory=dict, repr=False)
    """The `user` of a kubeconfig by cluster and peer; the peer "" stands for all."""
    next_tokens: Mapping[LoginKey, str] = field(default_factory=dict, repr=False)
    """The tokens of the next generation, by cluster and peer."""
    broken_clusters: frozenset[str] = frozenset()
    """The clusters with a file that is wrong."""
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    """Private files that others may read."""


@dataclass(frozen=True, slots=True)
class _Login:
    user: Mapping[str, Json] | None = field(default=None, repr=False)
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def read_credentials(directory: str, topology: Topology) -> Credentials:
    """Reads the logins that a topology names."""
    logins: dict[LoginKey, Mapping[str, Json]] = {}
    next_tokens: dict[LoginKey, str] = {}
    broken: set[str] = set()
    problems: list[Problem] = []
    warnings: list[Problem] = []
    for cluster, peer in list_login_holders(topology):
        read = [_read_login(directory, cluster, peer)]
        if read[0].user is not None:
            logins[cluster.name, peer] = read[0].user
        if cluster.credential.kind == "tokenFile" and cluster.next_generation is not None:
            read.append(_read_token(directory, cluster, peer, cluster.next_generation))
            if read[1].user is not None:
                next_tokens[cluster.name, peer] = str(read[1].user["token"])
        for one in read:
            problems += one.problems
            warnings += one.warnings
            if one.problems:
                broken.add(cluster.name)
    return Credentials(logins, next_tokens, frozenset(broken), tuple(problems), tuple(warnings))


def _read_token(directory: str, cluster: Cluster, peer: str, generation: int) -> _Login:
    name = token_file(cluster, peer, generation)
    command = token_command(cluster, directory, peer, generation)
    file = read_work_file(directory, name, "credential", "token-readable")
    if file.body is None:
        return _Login(problems=file.problems)
    if _is_key_of_mesh(directory, name):
        problem = Problem(
            Place(file.path),
            "is a private file of the mesh's certificates, not a token",
            f"name the file of the token; {command} writes it",
            "token-readable",
            code="token-file-is-a-key",
        )
        return _Login(problems=(problem,))
    warnings = tuple(mode_problems(file.path, file.mode))
    problems = tuple(token_problems(file.path, file.body, command))
    user = None if problems else {"token": parse_token(file.body)}
    return _Login(user, problems, warnings)


def _is_key_of_mesh(directory: str, name: str) -> bool:
    """Whether a file is a private key below `certs/`."""
    certs = os.path.realpath(os.path.join(directory, "certs"))
    folder, last = os.path.split(os.path.realpath(os.path.join(directory, name)))
    return f"{folder}{os.sep}".startswith(f"{certs}{os.sep}") and (
        last == SEAL_KEY or last.endswith("-key.pem")
    )


def _read_login(directory: str, cluster: Cluster, peer: str) -> _Login:
    """The `user` in the files of a credential, None if one of them is missing."""
    if cluster.credential.kind == "tokenFile":
        return _read_token(directory, cluster, peer, cluster.token_generation)
    bodies: dict[str, bytes] = {}
    warnings: list[Problem] = []
    for key, (name, is_private) in credential_files(cluster.credential).items():
        kind = "credential" if is_private else "certificates"
        file = read_work_file(directory, name, kind, "credential-readable")
        if file.body is None:
            return _Login(None, file.problems, tuple(warnings))
        if is_private:
            warnings += mode_problems(file.path, file.mode)
        bodies[key] = file.body
    problems = login_problems(cluster.credential, bodies, lambda name: join_path(directory, name))
    user = None if problems else build_login(cluster.credential, bodies)
    return _Login(user, tuple(problems), tuple(warnings))
