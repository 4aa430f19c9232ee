"""The accounts with which peers read a cluster, the files of their tokens, and the commands that
fetch the tokens.
"""

import posixpath
import shlex

from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model import Cluster
from kubectl_mesh.model.commands import cluster_command

SHARED_READER = ""
"""The peer of a login that all peers share."""


def reader_account(cluster: Cluster, peer: str = SHARED_READER) -> str:
    """The service account with which a peer reads a cluster."""
    return cluster.reader_account if peer == SHARED_READER else f"{cluster.reader_account}-{peer}"


def reader_secret(
    cluster: Cluster, peer: str = SHARED_READER, generation: int | None = None
) -> str:
    """The Secret with the token of a reader: istioctl's name for it, for later generations with
    their number.
    """
    number = generation or cluster.token_generation
    return f"{reader_account(cluster, peer)}-istio-remote-secret-token" + (
        "" if number == 1 else f"-g{number}"
    )


def token_file(cluster: Cluster, peer: str = SHARED_READER, generation: int | None = None) -> str:
    """The file with the token of a reader. The names of clusters and the generations cannot
    collide.
    """
    number = generation or cluster.token_generation
    return (
        cluster.token_file if peer == SHARED_READER else f"credentials/{cluster.name}.{peer}.token"
    ) + ("" if number == 1 else f".g{number}")


def login_file_names(cluster: Cluster, peer: str = SHARED_READER) -> str:
    """The names of the files with the secrets of a login, for messages."""
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
    """The command that fetches the token of a reader into its file, which only its owner can
    read.
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
