"""`init` where topology.yaml exists: what it adds to the file, and what contradicts it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from click.core import ParameterSource

from kubectl_mesh.errors import MeshError, Place, Problem
from kubectl_mesh.fs.folders import join
from kubectl_mesh.fs.read import read_inside
from kubectl_mesh.model import Document, Topology
from kubectl_mesh.text import shown
from kubectl_mesh.workdir.places import TOPOLOGY
from kubectl_mesh.workdir.topology_file import read_topology, valid_topology
from kubectl_mesh.yaml_io.read import load

_ROOT = "certs/root-cert.pem"
_REPLACE = "`kubectl mesh certs rotate-root begin`"


@dataclass(frozen=True, slots=True)
class Asked:
    """What an `init` asks for, each value with the option or the variable that states it."""

    mesh_id: str | None
    organization: str | None
    issuer: str
    contexts: tuple[str, ...]
    sources: Mapping[str, str]


def complete_topology(directory: str, asked: Asked) -> tuple[Topology, bytes, bytes]:
    """The topology with the values that it lacks, its text before, and its text with them.

    Raises a `MeshError` with every value that contradicts the file or the root, next to everything
    that is wrong with the file itself.
    """
    from kubectl_mesh.yaml_io import edit

    path = join(directory, TOPOLOGY)
    source = read_inside(directory, TOPOLOGY, "topology") or b""
    document = load(path, source, lenient=True)
    if not isinstance(document.value, dict) or document.problems:
        return read_topology(directory, empty=True), source, source
    problems = [
        *_stated_problems(document, asked, has_root=_root(directory) is not None),
        *root_problems(directory, document.value, asked),
    ]
    missing: dict[str, str] = {}
    if asked.mesh_id is not None and "mesh_id" not in document.value:
        missing["mesh_id"] = asked.mesh_id
    # Without an organization, O= is the mesh's name.
    if (
        asked.organization not in (None, document.value.get("mesh_id", asked.mesh_id))
        and "organization" not in document.value
    ):
        missing["organization"] = str(asked.organization)
    body = source.decode()
    try:
        if missing:
            body = edit.fill(body, missing, lambda text: load(path, text.encode()).value, path)
        topology = valid_topology(load(path, body.encode()), empty=True)
    except MeshError as error:
        flags = {key: asked.sources[key] for key in missing}
        raise MeshError(
            [
                *problems,
                *(
                    replace(p, where=Place(flags[p.where.path])) if p.where.path in flags else p
                    for p in error.problems
                ),
            ]
        ) from None
    if problems:
        raise MeshError(problems)
    return topology, source, body.encode()


def _stated_problems(document: Document, asked: Asked, *, has_root: bool) -> Iterator[Problem]:
    """The values of topology.yaml that are others than what was asked for."""
    value: Any = document.value
    for key in ("mesh_id", "organization"):
        wanted = getattr(asked, key)
        if wanted is not None and value.get(key) not in (None, wanted):
            what = f"is {shown(value[key])}, and {asked.sources[key]} asks for {shown(wanted)}"
            fix = f"{_without(asked.sources[key])}, or write {key}: {wanted}"
            if key == "organization" and has_root:
                fix += f" and replace the root: {_REPLACE}"
            yield Problem(document.place(key), what, fix)
    certificates = value.get("certificates")
    issuer = certificates.get("issuer", "local") if isinstance(certificates, dict) else "local"
    if asked.issuer not in ("local", issuer):
        what = f"is {shown(issuer)}, and --issuer asks for {shown(asked.issuer)}"
        yield Problem(
            document.place("certificates", "issuer"),
            what,
            f"leave --issuer out, or write certificates: {{issuer: {asked.issuer}}}",
        )
    contexts = value.get("contexts")
    for given in asked.contexts:
        context, _, network = given.rpartition("=")
        entry = contexts.get(context) if isinstance(contexts, dict) else None
        if entry is None:
            what = f"topology.yaml exists and does not have the context {shown(context or given)}"
            yield Problem(
                Place("--context"),
                what,
                "leave it out here, and add it: `kubectl mesh add CONTEXT --network NETWORK`",
            )
        elif isinstance(entry, dict) and entry.get("network") != network:
            what = f"is {shown(entry.get('network'))}, and --context asks for {shown(network)}"
            yield Problem(
                document.place("contexts", context, "network"),
                what,
                f"leave --context out, or write network: {network}",
            )


def root_problems(directory: str, value: Mapping[str, Any], asked: Asked) -> Iterator[Problem]:
    """A root whose O= is another than what was asked for, where topology.yaml does not state
    one.
    """
    if asked.organization is None or value.get("organization") is not None:
        return
    body = _root(directory)
    if body is None:
        return
    from kubectl_mesh.pki.inuse import organization

    try:
        found = organization(body)
    except MeshError:
        return  # what is wrong with the root is reported where it is checked
    if found not in (None, asked.organization):
        what = f"has O={found}, and {asked.sources['organization']} asks for O={asked.organization}"
        fix = (
            f"{_without(asked.sources['organization'])}: all certificates then have O={found}; or"
            f" write organization: {asked.organization} in topology.yaml and replace the root:"
            f" {_REPLACE}"
        )
        yield Problem(Place(join(directory, _ROOT)), what, fix)


def _root(directory: str) -> bytes | None:
    return read_inside(directory, _ROOT, "certificates")


def _without(source: str) -> str:
    return f"leave {source} out" if source.startswith("-") else f"unset {source}"


def named_sources(ctx: Any, names: Sequence[str]) -> dict[str, str]:
    """How each value was stated: by its option, or by its variable in the environment; empty for a
    default.
    """
    options = {p.name: p for p in ctx.command.params}
    by = {name: ctx.get_parameter_source(name) for name in names}
    by_variable, by_default = ParameterSource.ENVIRONMENT, (None, ParameterSource.DEFAULT)
    return {
        n: (
            ""
            if by[n] in by_default
            else options[n].envvar
            if by[n] == by_variable
            else options[n].opts[0]
        )
        for n in names
    }
