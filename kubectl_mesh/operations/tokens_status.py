"""Shows where the rotation of each token is, and how old the tokens are."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kubectl_mesh.credentials import token_rotation
from kubectl_mesh.credentials.accounts import token_file
from kubectl_mesh.credentials.logins import Claims, parse_claims
from kubectl_mesh.credentials.tokens import TOKEN_CHECKS
from kubectl_mesh.errors import Problem
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model import Cluster, Expiry
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations import private_files
from kubectl_mesh.operations.build import RenderedMesh
from kubectl_mesh.operations.checked_inputs import load_inputs
from kubectl_mesh.operations.paths import Paths
from kubectl_mesh.operations.token_tree import (
    build_tree,
    list_differing_folders,
    select_concerned_folders,
)
from kubectl_mesh.pki.expiries import list_expiries
from kubectl_mesh.stores import store_of
from kubectl_mesh.topology.selection import select_clusters


@dataclass(frozen=True, slots=True)
class TokenState:
    """A token of a cluster."""

    peer: str
    """The cluster that logs in with it; empty if it is for all peers."""
    generation: int
    state: str
    """`used`, `next` or `to go`."""
    file: str | None
    """Its path in the working directory; None if it is in a store of the user's."""
    is_here: bool
    claims: Claims | None
    """What it says of itself; None if it cannot be read."""


@dataclass(frozen=True, slots=True)
class ClusterTokens:
    """The tokens of a cluster, and the step of their rotation."""

    cluster: Cluster
    step: str
    is_stale: bool
    """Whether the tree is not as a render would create it now."""
    tokens: tuple[TokenState, ...]


@dataclass(frozen=True, slots=True)
class TokensStatus:
    """The tokens of a mesh, or of some clusters of it."""

    clusters: tuple[ClusterTokens, ...]
    warnings: tuple[Problem, ...]
    now: datetime


def read_tokens_status(paths: Paths, clusters: Sequence[str], machine: Machine) -> TokensStatus:
    """The state of these clusters, by name or context, or of all."""
    rendered, only = _build_mesh(paths, clusters, machine)
    names = list_differing_folders(rendered, paths.tree)
    return TokensStatus(
        tuple(
            ClusterTokens(
                c,
                token_rotation.rotation_step(c),
                bool(select_concerned_folders(rendered, c, names)),
                tuple(_list_tokens(rendered, c)),
            )
            for c in rendered.inputs.topology.clusters
            if only is None or c.name in only
        ),
        tuple(w for w in rendered.warnings if w.id in TOKEN_CHECKS),
        machine.now,
    )


def list_token_dates(
    paths: Paths, clusters: Sequence[str], machine: Machine
) -> tuple[str, list[Expiry]]:
    """The name of the mesh, and when the tokens of these clusters, or of all, expire."""
    rendered, only = _build_mesh(paths, clusters, machine)
    found = list_expiries(rendered.plan, rendered.pki)
    expiring = [d for d in found if d.kind == "token" and (only is None or d.subject in only)]
    return rendered.plan.topology.mesh_id, expiring


def _build_mesh(
    paths: Paths, clusters: Sequence[str], machine: Machine
) -> tuple[RenderedMesh, frozenset[str] | None]:
    """The mesh as a render would create it now, and the names of the clusters that were asked for;
    None for all.
    """
    private_files.check_folders(paths.directory, paths.out)
    inputs = load_inputs(paths.directory, paths.kubeconfig, machine)
    only = select_clusters(inputs.topology, clusters) if clusters else None
    return build_tree(inputs, paths.tree), only


def _list_tokens(rendered: RenderedMesh, cluster: Cluster) -> list[TokenState]:
    """The tokens by which peers log in to a cluster, by peer and generation."""
    member = rendered.plan.members[cluster.name]
    if not member.readers or cluster.credential.kind != "tokenFile":
        return []
    peers = member.readers if rendered.plan.topology.reader_per_peer else ("",)
    return [
        _read_token(rendered, cluster, peer, generation)
        for peer in peers
        for generation in cluster.token_generations
    ]


def _read_token(rendered: RenderedMesh, cluster: Cluster, peer: str, generation: int) -> TokenState:
    """The token of a generation."""
    inputs = rendered.inputs
    state, token = "to go", None
    if generation == cluster.next_generation:
        state, token = "next", inputs.next_tokens.get((cluster.name, peer))
    if generation == cluster.token_generation:
        login = inputs.logins.get((cluster.name, peer), {}).get("token")
        state, token = "used", login if isinstance(login, str) else None
    is_external = store_of(rendered.plan.topology).OUTSIDE
    file = None if is_external else token_file(cluster, peer, generation)
    return TokenState(
        peer,
        generation,
        state,
        file,
        token is not None
        or (file is not None and os.path.isfile(join_path(inputs.directory, file))),
        parse_claims(token) if token is not None else None,
    )
