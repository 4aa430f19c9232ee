"""Where things may be: folders that a tree may not share, links, and what git must never have."""

import os
import shlex
from collections.abc import Mapping, Sequence

from kubectl_mesh.credentials import leaks
from kubectl_mesh.credentials.accounts import login_file_names, token_file
from kubectl_mesh.credentials.logins import credential_files
from kubectl_mesh.errors import MeshError, Place, Problem, refuse
from kubectl_mesh.fs.durable import STAGE_PREFIX
from kubectl_mesh.fs.folders import join_path, read_regular_file
from kubectl_mesh.operations.checked_inputs import CheckedInputs
from kubectl_mesh.stores import store_of
from kubectl_mesh.text import mesh_command, single_line, work_path
from kubectl_mesh.topology.peers import list_peers
from kubectl_mesh.workdir import git_ignore
from kubectl_mesh.workdir.git_ignore import GITIGNORE_FILE, find_work_tree, write_gitignore
from kubectl_mesh.workdir.places import KUBECONFIG_FILE
from kubectl_mesh.x509.layout import (
    NEXT_ROOT_KEY,
    ROOT_CERT,
    ROOT_KEY,
    SEAL_KEY,
    intermediate_folder,
)

SHORTEST_SECRET = 8
"""Shorter secrets can occur anywhere by chance, and are not searched for."""


def check_folders(directory: str, out: str | None) -> None:
    """Refuses a missing working directory, and a tree that would contain it or its inputs."""
    if not os.path.isdir(directory):
        raise refuse(
            directory or "-C",
            "is no folder",
            "name the working directory with -C",
            code="working-directory-missing",
        )
    if out is None:
        return
    if not out:
        raise refuse(
            "--out", "names no folder", "name the folder that the tree goes to", code="out-empty"
        )
    if os.path.lexists(out) and not os.path.isdir(out):
        raise refuse(out, "is a file; --out names a folder", "name another", code="out-is-file")
    working_directory, tree = os.path.realpath(directory), os.path.realpath(out)
    reserved = [
        os.path.join(working_directory, name) for name in ("certs", "clusters", "credentials")
    ]
    if os.path.commonpath([working_directory, tree]) == tree or any(
        os.path.commonpath([path, tree]) == path for path in reserved
    ):
        raise refuse(
            out,
            "holds the working directory, or what it is made of; the tree needs a folder of"
            " its own",
            "name another with --out",
            code="out-holds-working-directory",
        )


def check_regular(path: str) -> None:
    """Refuses to edit what is reached through a link."""
    if os.path.islink(path):
        raise refuse(
            path,
            "is a symbolic link, and kubectl mesh writes through none",
            "put the file itself there",
            code="symbolic-link",
        )


ARCHIVED_PRIVATE_FILES = (
    "certs/archive/intermediate/ca-key.pem",
    "certs/archive/root/root-key.pem",
    ".kubectl-mesh-certs/root-key.pem",
)
"""Sample paths of private files in the archive, and of those that an interrupted exchange of
`certs/` leaves.
"""


def list_private_files(inputs: CheckedInputs, more: Sequence[str] = ()) -> list[str]:
    """The files of a working directory that git must never have, one that a killed run may leave
    among them; and `more` that are about to be written.
    """
    clusters = inputs.topology.clusters
    found = [
        f"certs/{ROOT_KEY}",
        *([f"certs/{SEAL_KEY}"] if store_of(inputs.topology).ENCRYPTS else []),
        *(f"certs/{intermediate_folder(c.name)}/ca-key.pem" for c in clusters),
        *_list_credentials(inputs),
        *(ARCHIVED_PRIVATE_FILES if inputs.archive_names else ()),
        *([f"certs/{NEXT_ROOT_KEY}"] if NEXT_ROOT_KEY in inputs.certs_files else []),
        *more,
    ]
    return [
        *found,
        f"certs/{STAGE_PREFIX}-{ROOT_KEY}",
        *([KUBECONFIG_FILE] if inputs.has_secret_kubeconfig else []),
    ]


def _list_credentials(inputs: CheckedInputs) -> list[str]:
    """Where logins are, or would be."""
    topology = inputs.topology
    found = [
        name
        for c in topology.clusters
        for name, private in credential_files(c.credential).values()
        if private
    ]
    if topology.reader_per_peer:
        peers = list_peers(topology)
        return found + [
            token_file(c, peer, n)
            for c in topology.clusters
            for peer in peers
            if c.name in peers[peer]
            for n in c.token_generations
        ]
    return found + [
        token_file(c, generation=n) for c in topology.clusters for n in c.token_generations
    ]


def unignored_problems(inputs: CheckedInputs, more: Sequence[str] = ()) -> list[Problem]:
    """Private files that git would take into a commit."""
    return git_ignore.unignored_file_problems(
        inputs.directory,
        list_private_files(inputs, more),
        join_path(inputs.directory, ".gitignore"),
        inputs.machine.environment,
    )


def ignore_private_files(inputs: CheckedInputs, more: Sequence[str] = ()) -> str:
    """Keeps private files out of git before they are written, or refuses; `more` are files that do
    not exist yet. Returns a note for the user; empty if nothing had to be done.
    """
    note = write_missing_gitignore(inputs)
    if bare := unignored_problems(inputs, more):
        raise MeshError(bare)
    return note


def clear_tree_problems(inputs: CheckedInputs, out: str) -> list[Problem]:
    """A tree in clear that git would take into a commit, though the topology does not say so."""
    topology = inputs.topology
    if not store_of(topology).private or topology.has_stated_store:
        return []
    return git_ignore.unignored_tree_problems(
        out,
        [f"{c.name}/1-trust/cacerts.yaml" for c in topology.clusters],
        inputs.machine.environment,
    )


def kubeconfig_only_problems(inputs: CheckedInputs) -> list[Problem]:
    """Servers that only kubeconfig.yaml has, in a git work tree that does not take that file: a
    clone could not render.
    """
    directory = inputs.directory or "."
    if (
        not inputs.kubeconfig_only_clusters
        or git_ignore.find_work_tree(directory) is None
        or git_ignore.list_unignored_files(directory, [KUBECONFIG_FILE], inputs.machine.environment)
    ):
        return []
    names = ", ".join(inputs.kubeconfig_only_clusters[:3]) + (
        f" and {len(inputs.kubeconfig_only_clusters) - 3} more"
        if len(inputs.kubeconfig_only_clusters) > 3
        else ""
    )
    where = "" if inputs.directory in (".", "") else f" -C {shlex.quote(inputs.directory)}"
    what = (
        f"is ignored by git, and nothing else has the server and the CA of {names}: a clone of this"
        " repository cannot render, nor `render --check`"
    )
    return [
        Problem(
            Place(join_path(inputs.directory, KUBECONFIG_FILE)),
            what,
            f"copy them into topology.yaml and clusters/: {mesh_command(f'init{where}')}",
            "server-borrowed",
            code="server-only-in-kubeconfig",
        )
    ]


def tracked_secret_problems(inputs: CheckedInputs, out: str) -> list[Problem]:
    """Problems about plaintext keys and logins in files that git tracks, in the working directory
    and the tree; a tree with a plaintext store is exempt.
    """
    known = _known_secrets(inputs)
    # A token that is a JWT is a sign already.
    others = [secret for secret in known if not secret.startswith(b"eyJ")]
    signs = [
        *leaks.SECRET_MARKERS,
        *(text for secret in others for text in leaks.secret_encodings(secret)),
    ]
    plain = os.path.realpath(out) if store_of(inputs.topology).private else None
    problems: list[Problem] = []
    for place in _work_trees(inputs, out):
        paths = git_ignore.search_tracked_files(place, signs, inputs.machine.environment)
        if paths is None:
            problems.append(
                Problem(
                    Place(place),
                    "lies in a git work tree, and git does not tell what it tracks there",
                    "see what `git status` says",
                    "git-tracked",
                    code="git-does-not-answer",
                )
            )
        for path in paths or ():
            above = os.path.realpath(os.path.dirname(join_path(place, path)))
            if plain is not None and os.path.commonpath([above, plain]) == plain:
                continue
            if fault := _tracked_problem(place, path, known):
                problems.append(fault)
    return problems


def _work_trees(inputs: CheckedInputs, out: str) -> list[str]:
    """The folders below which git may track secrets: the working directory, and the tree if it is
    outside of that or of its repository.
    """
    place = inputs.directory or "."
    if not os.path.isdir(out):
        return [place]
    top = os.path.realpath(place)
    is_outside = os.path.commonpath([os.path.realpath(out), top]) != top
    if is_outside or git_ignore.find_work_tree(out) != git_ignore.find_work_tree(place):
        return [place, out]
    return [place]


def _tracked_problem(place: str, path: str, known: Mapping[bytes, str]) -> Problem | None:
    """Which secrets a file that git tracks holds; `known` are those of the working directory."""
    body = read_regular_file(join_path(place, path))
    what = leaks.find_secrets(body[0], known) if body is not None else ()
    if not what:
        return None
    return Problem(
        Place(join_path(place, single_line(path))),
        f"is tracked by git, and holds {' and '.join(what)}",
        "take it for known to all who have the repository, and have a new one made;"
        f" then `git rm --cached -- {shlex.quote(path)}`",
        "git-tracked",
        code="secret-tracked",
    )


def _known_secrets(inputs: CheckedInputs) -> dict[bytes, str]:
    """The tokens that are here, and the seal key, each with where it is."""
    clusters = {c.name: c for c in inputs.topology.clusters}
    found = {}
    if SEAL_KEY in inputs.certs_files:
        found[inputs.certs_files[SEAL_KEY].strip()] = f"what is in {work_path(f'certs/{SEAL_KEY}')}"
    for (name, peer), login in sorted(inputs.logins.items()):
        token = login.get("token")
        if isinstance(token, str):
            found[token.encode()] = f"what is in {login_file_names(clusters[name], peer)}"
    return {secret: name for secret, name in found.items() if len(secret) >= SHORTEST_SECRET}


def write_missing_gitignore(inputs: CheckedInputs) -> str:
    """Writes a missing .gitignore before the first secret; returns a note about it."""
    path = join_path(inputs.directory, GITIGNORE_FILE)
    is_wanted = (
        os.path.lexists(path)
        or ROOT_CERT not in inputs.certs_files
        or find_work_tree(inputs.directory) is not None
    )
    wrote = is_wanted and write_gitignore(inputs.directory, list_private_files(inputs))
    return f"wrote {path}, which keeps keys and tokens out of git" if wrote else ""
