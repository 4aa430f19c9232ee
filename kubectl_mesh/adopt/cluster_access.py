"""The server, the login and the peers of each cluster."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kubectl_mesh.adopt.evidence import Notes
from kubectl_mesh.adopt.running_mesh import RunningCluster
from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.observed.dumped_objects import DumpedObject, decode_secret
from kubectl_mesh.observed.dumped_remote_secrets import DumpedRemoteSecret
from kubectl_mesh.observed.faults import Fault
from kubectl_mesh.observed.kubeconfigs import Login, parse_context_login
from kubectl_mesh.observed.remote_secrets import ACCOUNT_ANNOTATION, SERVICE_ACCOUNT_TYPE


def find_login(
    cluster: RunningCluster,
    running: Sequence[RunningCluster],
    configs: Sequence[DumpedObject],
    notes: Notes,
) -> None:
    """How a cluster is reached and logged in to: as the others hold it, else as its own token and a
    kubeconfig say.
    """
    remote_secrets = [
        r
        for other in running
        for r in other.remote_secrets
        if r.cluster_id == cluster.name and other is not cluster
    ]
    _note_disagreement(cluster, remote_secrets, notes)
    own_token = _find_reader_token(cluster, notes)
    own_ca = own_token[1] if own_token is not None else None
    kubeconfig_login = _find_kubeconfig_login(cluster, configs, notes)
    if remote_secrets:
        login = remote_secrets[0].login
        same_server = kubeconfig_login is not None and kubeconfig_login.server == login.server
        ca = kubeconfig_login.ca if kubeconfig_login is not None and same_server else own_ca
        cluster.login = replace(login, ca=login.ca or ca)
    elif kubeconfig_login is not None:
        user = {"token": own_token[0]} if own_token is not None else {}
        cluster.login = replace(kubeconfig_login, ca=kubeconfig_login.ca or own_ca, user=user)
    elif own_token is not None:
        cluster.login = Login("", own_ca, None, {"token": own_token[0]})


def _note_disagreement(
    cluster: RunningCluster, remote_secrets: Sequence[DumpedRemoteSecret], notes: Notes
) -> None:
    """Notes in what the remote secrets of one cluster are not the same."""
    for what, of in _LOGIN_ASPECTS.items():
        values = list({repr(of(r.login)): r for r in remote_secrets}.values())
        if len(values) > 1:
            where, other = values[0].resource.place, values[1]
            text = (
                f"{what} of {cluster.name} is another here than in {other.resource.place}, which"
                f" {other.holder} holds"
            )
            notes.problems.append(
                Problem(
                    where,
                    text,
                    "bring the remote secrets to one state, or leave the one that is out of date"
                    " out of the dumps",
                    code="remote-secrets-differ",
                )
            )


def _find_kubeconfig_login(
    cluster: RunningCluster, configs: Sequence[DumpedObject], notes: Notes
) -> Login | None:
    """The login of the first kubeconfig that has the context of a cluster."""
    logins: list[Login] = []
    for config in configs:
        found = parse_context_login(config.value, cluster.context)
        if isinstance(found, Fault):
            notes.add_unused(config, f"its context {cluster.context} {found}")
        elif found is not None:
            logins.append(found)
    return next(iter(logins), None)


_LOGIN_ASPECTS: dict[str, Any] = {
    "the server": lambda login: (login.server, login.tls_server_name),
    "the CA": lambda login: login.ca,
    "the login": lambda login: sorted(login.user.items(), key=str),
}


def _find_reader_token(cluster: RunningCluster, notes: Notes) -> tuple[str, bytes | None] | None:
    """The token of the reader that Kubernetes filled in, and the CA beside it."""
    for found in cluster.objects:
        account = found.metadata_strings("annotations").get(ACCOUNT_ANNOTATION, "")
        if (
            found.kind == "Secret"
            and found.value.get("type") == SERVICE_ACCOUNT_TYPE
            and account.startswith("istio-reader")
        ):
            try:
                data = decode_secret(found)
            except MeshError as error:
                notes.problems += error.problems
                continue
            if data.get("token"):
                return data["token"].decode("latin-1"), data.get("ca.crt")
    return None


def find_peers(running: Sequence[RunningCluster]) -> None:
    """Sets the peers of each cluster.

    A cluster without remote secrets, for which no other cluster has one, does not join the mesh if
    others do. A cluster that only lacks remote secrets may not have been dumped completely.
    """
    held_names = {c.context: {r.cluster_id for r in c.remote_secrets} - {c.name} for c in running}
    known = {name for names in held_names.values() for name in names}
    for cluster in running:
        cluster.is_joined = not known or cluster.name in known or bool(held_names[cluster.context])
    names = {c.name: c.context for c in running if c.is_joined}
    for cluster in running:
        others = [name for name in names if name != cluster.name]
        if held_names[cluster.context] and held_names[cluster.context] != set(others):
            cluster.peers = tuple(
                names[name] for name in others if name in held_names[cluster.context]
            )
