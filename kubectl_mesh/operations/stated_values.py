"""The values of a topology that flags and variables of the environment state."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model import Document
from kubectl_mesh.model.issuers import DEFAULT_ISSUER
from kubectl_mesh.pki.intermediate_import import root_organization
from kubectl_mesh.text import mesh_command, value_text
from kubectl_mesh.workdir.certs_folder import read_root_certificates

_ROOT = "certs/root-cert.pem"


@dataclass(frozen=True, slots=True)
class StatedValues:
    """The values for the topology of a working directory."""

    directory: str
    mesh_id: str | None
    organization: str | None
    issuer: str
    contexts: tuple[str, ...]
    """`CTX=NETWORK`."""
    sources: Mapping[str, str]
    """The flag or variable that states `mesh_id`, `organization` and `control_plane`; empty for a
    default.
    """


def contradiction_problems(document: Document, stated: StatedValues) -> Iterator[Problem]:
    """The values of a topology.yaml that differ from those that were stated."""
    value: Any = document.value
    has_root = read_root_certificates(stated.directory) is not None
    for key, wanted in (("mesh_id", stated.mesh_id), ("organization", stated.organization)):
        if wanted is not None and value.get(key) not in (None, wanted):
            source = stated.sources[key]
            what = f"is {value_text(value[key])}, and {source} asks for {value_text(wanted)}"
            fix = f"{_omit_fix(source)}, or write {key}: {wanted}"
            if key == "organization" and has_root:
                fix += f" and replace the root: {_replace_command()}"
            code = f"{key.replace('_', '-')}-differs"
            yield Problem(document.field_place(key), what, fix, code=code)
    certificates = value.get("certificates")
    issuer: object = DEFAULT_ISSUER
    if isinstance(certificates, dict):
        issuer = certificates.get("issuer", DEFAULT_ISSUER)
    if stated.issuer not in (DEFAULT_ISSUER, issuer):
        yield Problem(
            document.field_place("certificates", "issuer"),
            f"is {value_text(issuer)}, and --issuer asks for {value_text(stated.issuer)}",
            f"leave --issuer out, or write certificates: {{issuer: {stated.issuer}}}",
            code="issuer-differs",
        )
    yield from _context_problems(document, stated)
    yield from root_problems(stated, value)


def _context_problems(document: Document, stated: StatedValues) -> Iterator[Problem]:
    """The contexts that topology.yaml does not have, or has on another network."""
    value: Any = document.value
    contexts = value.get("contexts")
    for given in stated.contexts:
        context, _, network = given.rpartition("=")
        entry = contexts.get(context) if isinstance(contexts, dict) else None
        if entry is None:
            add = mesh_command("add CONTEXT --network NETWORK")
            yield Problem(
                Place("--context"),
                (
                    "topology.yaml exists and does not have the context"
                    f" {value_text(context or given)}"
                ),
                f"leave it out here, and add it: `{add}`",
                code="context-unknown",
            )
        elif isinstance(entry, dict) and entry.get("network") != network:
            yield Problem(
                document.field_place("contexts", context, "network"),
                (
                    f"is {value_text(entry.get('network'))}, and --context asks for"
                    f" {value_text(network)}"
                ),
                f"leave --context out, or write network: {network}",
                code="network-differs",
            )


def root_problems(stated: StatedValues, value: Mapping[str, Any]) -> Iterator[Problem]:
    """A root whose organization is not the stated one, where topology.yaml, of this value, has
    none.
    """
    if stated.organization is None or value.get("organization") is not None:
        return
    body = read_root_certificates(stated.directory)
    if body is None:
        return
    try:
        found = root_organization(body)
    except MeshError:
        return  # what is wrong with the root is reported where it is checked
    if found not in (None, stated.organization):
        source = stated.sources["organization"]
        yield Problem(
            Place(join_path(stated.directory, _ROOT)),
            f"has O={found}, and {source} asks for O={stated.organization}",
            f"{_omit_fix(source)}: all certificates then have O={found}; or write organization:"
            f" {stated.organization} in topology.yaml and replace the root: {_replace_command()}",
            code="root-organization-differs",
        )


def _omit_fix(source: str) -> str:
    return f"leave {source} out" if source.startswith("-") else f"unset {source}"


def _replace_command() -> str:
    return f"`{mesh_command('certs rotate-root begin')}`"
