"""As whom peers read a cluster, where their tokens lie, and the commands that fetch them."""

import posixpath
import shlex

from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model import Cluster
from kubectl_mesh.model.commands import cluster_command

SHARED_READER = ""
"""The peer for whom a login is that all peers share."""


def reader_account(cluster: Cluster, peer: str = SHARED_READER) -> str:
    """The account as which a peer reads a cluster."""
    return cluster.reader_account if peer == SHARED_READER else f"{cluster.reader_account}-{peer}"


def reader_secret(
    cluster: Cluster, peer: str = SHARED_READER, generation: int | None = None
) -> str:
    """The Secret that Kubernetes fills with the reader's token; the name that istioctl gives it, a
    later generation's number behind it.
    """
    number = generation or cluster.token_generation
    return f"{reader_account(cluster, peer)}-istio-remote-secret-token" + (
        "" if number == 1 else f"-g{number}"
    )


def token_file(cluster: Cluster, peer: str = SHARED_READER, generation: int | None = None) -> str:
    """The file with the token by which a peer reads a cluster; no name of a cluster makes one
    generation's the file of another.
    """
    number = generation or cluster.token_generation
    return (
        cluster.token_file if peer == SHARED_READER else f"credentials/{cluster.name}.{peer}.token"
    ) + ("" if number == 1 else f".g{number}")


def login_file_names(cluster: Cluster, peer: str = SHARED_READER) -> str:
    """The file that holds what is secret of a login, for messages."""
    if cluster.credential.kind == "tokenFile":
        return token_file(cluster, peer)
    names = [
        str(name)
        for key, name in sorted(cluster.credential.settings.items())
        if key.endswith("File")
    ]
    return " and ".join(names) or f"the credential of {cluster.name}"


def token_command(
    cluster: Cluster, directory: str, peer: str = SHARED_READER, generation: int | None = None
) -> str:
    """The command that fetches the token of a cluster's reader into its file, readable by nobody
    else.
    """
    secret = reader_secret(cluster, peer, generation)
    get = cluster_command(
        cluster,
        "-n",
        cluster.namespace,
        "get",
        "secret",
        secret,
        "-o",
        "go-template={{.data.token | base64decode}}",
    )
    path = join_path(directory, token_file(cluster, peer, generation))
    folder = posixpath.dirname(path)
    make = f"mkdir -p {shlex.quote(folder)}; " if folder else ""
    return f"(umask 077; {make}{get} > {shlex.quote(path)})"
