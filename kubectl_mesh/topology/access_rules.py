"""Rules for the access of peers to a cluster: servers, files, accounts, tokens."""

from collections.abc import Iterator

from kubectl_mesh.errors import Problem
from kubectl_mesh.model.address import is_loopback, url_fault
from kubectl_mesh.text import mesh_command, value_text
from kubectl_mesh.topology.names import is_inside_directory, is_not_file_name
from kubectl_mesh.topology.stated_topology import Path, StatedTopology

FILE_KEYS = {
    "tokenFile",
    "idTokenFile",
    "refreshTokenFile",
    "clientSecretFile",
    "certificateFile",
    "keyFile",
}
"""The keys of a credential that name a file."""


def file_problems(topology: StatedTopology) -> Iterator[Problem]:
    """Files that are not in the working directory."""
    for context, entry in topology.contexts.items():
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
                yield from _file_name_problems(
                    topology,
                    path,
                    named[key],
                    "the token itself" if key != "certificateFile" else "the certificate itself",
                )
        authority = entry.get("certificateAuthority")
        place = topology.document.field_place("contexts", context, "certificateAuthority")
        if not isinstance(authority, str) or "-----BEGIN" in authority:
            continue
        if is_not_file_name(authority):
            yield Problem(
                place,
                "is neither a PEM certificate nor a name of a file",
                "give the certificate with its BEGIN and END lines, or name a PEM file",
                code="not-certificate-or-file",
            )
        elif not is_inside_directory(authority):
            yield Problem(
                place,
                f"{value_text(authority)} is not in the working directory",
                "a render reads nothing else; give a path below it",
                code="file-outside-directory",
            )


def _file_name_problems(
    topology: StatedTopology, path: Path, name: object, content: str
) -> Iterator[Problem]:
    place = topology.document.field_place(*path)
    if isinstance(name, str) and is_not_file_name(name):
        thing = "the token" if content == "the token itself" else "it"
        yield Problem(
            place,
            f"is no name of a file; it may be {content}",
            f"put {thing} into a file, and name that",
            code="not-file-name",
        )
    elif isinstance(name, str) and not is_inside_directory(name):
        yield Problem(
            place,
            f"{value_text(name)} is not in the working directory",
            "a render reads nothing else; give a path below it",
            code="file-outside-directory",
        )


def server_problems(topology: StatedTopology) -> Iterator[Problem]:
    """Invalid server URLs; adds warnings for servers that peers may not reach."""
    for context, entry in topology.contexts.items():
        server = entry.get("server")
        if not isinstance(server, str):
            continue
        place = topology.document.field_place("contexts", context, "server")
        fault = url_fault(server)
        if fault:
            yield Problem(place, fault, code="server-invalid")
        elif is_loopback(server):
            topology.warnings.append(
                Problem(
                    place,
                    f"{server} is a loopback address: it leads every peer to itself",
                    id="server-reachable",
                    code="server-loopback",
                )
            )
        elif server.startswith("http:"):
            topology.warnings.append(
                Problem(
                    place,
                    f"{server} is plain http: tokens travel in clear",
                    id="server-reachable",
                    code="server-plain-http",
                )
            )


def reader_problems(topology: StatedTopology) -> Iterator[Problem]:
    """Credentials for all peers together with `readers: perPeer`."""
    if topology.value.get("readers") != "perPeer":
        return
    for context, entry in topology.contexts.items():
        credential = entry.get("credential")
        for way in credential if isinstance(credential, dict) else ():
            where = topology.document.field_place("contexts", context, "credential", way)
            yield Problem(
                where,
                "is one login for all peers, and readers: perPeer asks for one each",
                "remove one of the two",
                code="one-login-for-all-peers",
            )


def token_generation_problems(topology: StatedTopology) -> Iterator[Problem]:
    """Token generations of clusters without tokens, and equal generations."""
    for context, entry in topology.contexts.items():
        tokens, credential = entry.get("tokens"), entry.get("credential")
        if not isinstance(tokens, dict):
            continue
        if isinstance(credential, dict) and "tokenFile" not in credential:
            what = (
                "is for a cluster that the peers log in to by a token, not by"
                f" {next(iter(credential), 'nothing')}"
            )
            yield Problem(
                topology.document.field_place("contexts", context, "tokens"),
                what,
                "remove one of the two",
                code="login-without-token",
            )
        if tokens.get("beside") is not None and tokens["beside"] == tokens.get("generation", 1):
            what = "is the generation of the first token too"
            yield Problem(
                topology.document.field_place("contexts", context, "tokens", "beside"),
                what,
                f"remove it, or begin with `{mesh_command('tokens rotate')}`",
                code="generation-repeated",
            )
