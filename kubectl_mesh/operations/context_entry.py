"""A context of a kubeconfig as an entry of the topology."""

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from kubectl_mesh.credentials.api_servers import KubeconfigContext, usable_ca
from kubectl_mesh.errors import MeshError, Place, Problem, refuse
from kubectl_mesh.text import did_you_mean

Warn = Callable[[Iterable[Problem]], None]
"""Reports warnings at once, because what follows may fail."""


@dataclass(frozen=True, slots=True)
class ContextEntry:
    """What a kubeconfig has about a context."""

    keys: Mapping[str, object] = field(default_factory=dict)
    """The keys `server` and `tlsServerName` of the topology."""
    authority: bytes | None = None
    """The CA of the API server, PEM."""


def copy_entry(
    context: str, known: Mapping[str, KubeconfigContext], place: str, used: Iterable[str], fix: str
) -> ContextEntry:
    """The server and the CA of a context.

    `place` is the flag or argument that names the context, `used` are the contexts of the topology,
    and `fix` is what to do if peers cannot use the server or the CA.
    """
    if context not in known:
        hint = did_you_mean(context, set(known) - set(used)) or did_you_mean(context, known)
        raise refuse(
            place,
            f'no such context in the kubeconfig: "{context}"{hint}',
            "name a context of it",
            code="context-unknown",
        )
    entry = known[context]
    try:
        authority = usable_ca(entry, context, Place(place, path=context), entry.place.file)
    except MeshError as error:
        raise MeshError(replace(p, fix=fix) for p in error.problems) from None
    name = {"tlsServerName": entry.tls_server_name} if entry.tls_server_name else {}
    return ContextEntry({"server": entry.server, **name}, authority)


def kubeconfig_problem(contexts: Iterable[str]) -> Problem:
    """Says that servers and CAs of contexts stay unknown, because there is no kubeconfig."""
    return Problem(
        Place("kubeconfig"),
        f"there is none, so server and CA stay unknown: {', '.join(contexts)}",
        "name one with --kubeconfig, or set KUBECONFIG",
        code="kubeconfig-missing",
    )


def rename_fix(context: str) -> str:
    """What to do if the context of another cluster has the same name."""
    return (
        "if it is the context of another cluster, rename that one: `kubectl config rename-context"
        f" {shlex.quote(context)} NEW --kubeconfig FILE`"
    )
