"""Rules for how the peers reach a cluster and log in: servers, files, accounts, tokens."""

from collections.abc import Iterator

from kubectl_mesh.errors import Problem
from kubectl_mesh.model.address import is_loopback, url_fault
from kubectl_mesh.text import mesh_command, value_text
from kubectl_mesh.topology.given import Given, Path
from kubectl_mesh.topology.names import inside, no_name

FILE_KEYS = {
    "tokenFile",
    "idTokenFile",
    "refreshTokenFile",
    "clientSecretFile",
    "certificateFile",
    "keyFile",
}
"""The keys of a credential that name a file."""


def files(given: Given) -> Iterator[Problem]:
    """What a render reads lies in the working directory."""
    for context, entry in given.contexts.items():
        credential = entry.get("credential")
        for way, value in (credential if isinstance(credential, dict) else {}).items():
            named = (
                {"tokenFile": value}
                if way == "tokenFile"
                else value
                if isinstance(value, dict)
                else {}
            )
            for key in FILE_KEYS & named.keys():
                path = ("contexts", context, "credential", way, *((key,) if key != way else ()))
                yield from _file(
                    given,
                    path,
                    named[key],
                    "the token itself" if key != "certificateFile" else "the certificate itself",
                )
        authority = entry.get("certificateAuthority")
        place = given.document.field_place("contexts", context, "certificateAuthority")
        if not isinstance(authority, str) or "-----BEGIN" in authority:
            continue
        if no_name(authority):
            yield Problem(
                place,
                "is neither a PEM certificate nor a name of a file",
                "give the certificate with its BEGIN and END lines, or name a PEM file",
                code="not-certificate-or-file",
            )
        elif not inside(authority):
            yield Problem(
                place,
                f"{value_text(authority)} is not in the working directory",
                "a render reads nothing else; give a path below it",
                code="file-outside-directory",
            )


def _file(given: Given, path: Path, name: object, content: str) -> Iterator[Problem]:
    place = given.document.field_place(*path)
    if isinstance(name, str) and no_name(name):
        thing = "the token" if content == "the token itself" else "it"
        yield Problem(
            place,
            f"is no name of a file; it may be {content}",
            f"put {thing} into a file, and name that",
            code="not-file-name",
        )
    elif isinstance(name, str) and not inside(name):
        yield Problem(
            place,
            f"{value_text(name)} is not in the working directory",
            "a render reads nothing else; give a path below it",
            code="file-outside-directory",
        )


def servers(given: Given) -> Iterator[Problem]:
    """A server that is stated is a URL; one that peers may not reach is warned of."""
    for context, entry in given.contexts.items():
        server = entry.get("server")
        if not isinstance(server, str):
            continue
        place = given.document.field_place("contexts", context, "server")
        fault = url_fault(server)
        if fault:
            yield Problem(place, fault, code="server-invalid")
        elif is_loopback(server):
            given.warnings.append(
                Problem(
                    place,
                    f"{server} is a loopback address: it leads every peer to itself",
                    id="server-reachable",
                    code="server-loopback",
                )
            )
        elif server.startswith("http:"):
            given.warnings.append(
                Problem(
                    place,
                    f"{server} is plain http: tokens travel in clear",
                    id="server-reachable",
                    code="server-plain-http",
                )
            )


def readers(given: Given) -> Iterator[Problem]:
    """Accounts for single peers log in by tokens, each in a file of its own."""
    if given.value.get("readers") != "perPeer":
        return
    for context, entry in given.contexts.items():
        credential = entry.get("credential")
        for way in credential if isinstance(credential, dict) else ():
            where = given.document.field_place("contexts", context, "credential", way)
            yield Problem(
                where,
                "is one login for all peers, and readers: perPeer asks for one each",
                "remove one of the two",
                code="one-login-for-all-peers",
            )


def tokens(given: Given) -> Iterator[Problem]:
    """Generations are those of a token that Kubernetes makes, and two of them differ."""
    for context, entry in given.contexts.items():
        tokens, credential = entry.get("tokens"), entry.get("credential")
        if not isinstance(tokens, dict):
            continue
        if isinstance(credential, dict) and "tokenFile" not in credential:
            what = (
                "is for a cluster that the peers log in to by a token, not by"
                f" {next(iter(credential), 'nothing')}"
            )
            yield Problem(
                given.document.field_place("contexts", context, "tokens"),
                what,
                "remove one of the two",
                code="login-without-token",
            )
        if tokens.get("beside") is not None and tokens["beside"] == tokens.get("generation", 1):
            what = "is the generation of the first token too"
            yield Problem(
                given.document.field_place("contexts", context, "tokens", "beside"),
                what,
                f"remove it, or begin with `{mesh_command('tokens rotate')}`",
                code="generation-repeated",
            )
