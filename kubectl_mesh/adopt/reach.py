"""How each cluster is reached and logged in to, and whom it discovers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kubectl_mesh.adopt.evidence import Notes
from kubectl_mesh.adopt.running import Running
from kubectl_mesh.errors import MeshError, Problem
from kubectl_mesh.observed.faults import Fault
from kubectl_mesh.observed.kubeconfigs import Login, login_of_context
from kubectl_mesh.observed.objects import PlacedObject, secret_data
from kubectl_mesh.observed.remote_dumps import Remote
from kubectl_mesh.observed.remotes import ACCOUNT_ANNOTATION, SERVICE_ACCOUNT_TYPE


def find_login(
    cluster: Running, running: Sequence[Running], configs: Sequence[PlacedObject], notes: Notes
) -> None:
    """How a cluster is reached and logged in to: as the others hold it, else as its own token and a
    kubeconfig say.
    """
    held = [
        r
        for other in running
        for r in other.remotes
        if r.key == cluster.name and other is not cluster
    ]
    _note_disagreement(cluster, held, notes)
    own = _own_token(cluster, notes)
    own_ca = own[1] if own is not None else None
    kube = _login_of_kubeconfigs(cluster, configs, notes)
    if held:
        best = held[0].login
        same_server = kube is not None and kube.server == best.server
        ca = kube.ca if kube is not None and same_server else own_ca
        cluster.login = replace(best, ca=best.ca or ca)
    elif kube is not None:
        user = {"token": own[0]} if own is not None else {}
        cluster.login = replace(kube, ca=kube.ca or own_ca, user=user)
    elif own is not None:
        cluster.login = Login("", own_ca, None, {"token": own[0]})


def _note_disagreement(cluster: Running, held: Sequence[Remote], notes: Notes) -> None:
    """Notes in what the remote secrets of one cluster are not the same."""
    for what, of in _ASPECTS.items():
        values = list({repr(of(r.login)): r for r in held}.values())
        if len(values) > 1:
            where, other = values[0].found.place, values[1]
            text = (
                f"{what} of {cluster.name} is another here than in {other.found.place}, which"
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


def _login_of_kubeconfigs(
    cluster: Running, configs: Sequence[PlacedObject], notes: Notes
) -> Login | None:
    """The login of the first kubeconfig that has the context of a cluster."""
    logins: list[Login] = []
    for config in configs:
        found = login_of_context(config.value, cluster.context)
        if isinstance(found, Fault):
            notes.leave(config, f"its context {cluster.context} {found}")
        elif found is not None:
            logins.append(found)
    return next(iter(logins), None)


_ASPECTS: dict[str, Any] = {
    "the server": lambda login: (login.server, login.tls_server_name),
    "the CA": lambda login: login.ca,
    "the login": lambda login: sorted(login.user.items(), key=str),
}


def _own_token(cluster: Running, notes: Notes) -> tuple[str, bytes | None] | None:
    """The token of the reader that Kubernetes filled in, and the CA beside it."""
    for found in cluster.objects:
        account = found.words("annotations").get(ACCOUNT_ANNOTATION, "")
        if (
            found.kind == "Secret"
            and found.value.get("type") == SERVICE_ACCOUNT_TYPE
            and account.startswith("istio-reader")
        ):
            try:
                held = secret_data(found)
            except MeshError as error:
                notes.problems += error.problems
                continue
            if held.get("token"):
                return held["token"].decode("latin-1"), held.get("ca.crt")
    return None


def find_peers(running: Sequence[Running]) -> None:
    """Whom each cluster discovers.

    Who holds none of the others and is held by none, while they hold each other, keeps out of the
    mesh. Who holds none but is held may only not have been dumped.
    """
    held = {c.context: {r.key for r in c.remotes} - {c.name} for c in running}
    known = {name for names in held.values() for name in names}
    for cluster in running:
        cluster.joined = not known or cluster.name in known or bool(held[cluster.context])
    names = {c.name: c.context for c in running if c.joined}
    for cluster in running:
        others = [name for name in names if name != cluster.name]
        if held[cluster.context] and held[cluster.context] != set(others):
            cluster.peers = tuple(names[name] for name in others if name in held[cluster.context])
