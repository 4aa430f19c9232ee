"""What the verbs of `certs` share: the working directory that they read, and keys kept out of
git.
"""

from collections.abc import Iterable, Sequence

from kubectl_mesh.errors import MeshError, attach_notes, refuse
from kubectl_mesh.fs.folders import join_path
from kubectl_mesh.model import Topology
from kubectl_mesh.model.machine import Machine
from kubectl_mesh.operations.checked_inputs import CheckedInputs, load_inputs
from kubectl_mesh.pki.profile import CertificateProfile
from kubectl_mesh.workdir.git_ignore import (
    FIRST_PRIVATE_FILES,
    GITIGNORE_FILE,
    unignored_file_problems,
    write_gitignore,
)
from kubectl_mesh.workdir.places import TOPOLOGY_FILE


def gather_own_certificates(directory: str, machine: Machine) -> CheckedInputs:
    """The working directory of a mesh whose certificates are in it."""
    inputs = load_inputs(directory, None, machine)
    if not inputs.topology.has_intermediate_files:
        raise refuse(
            join_path(directory, TOPOLOGY_FILE),
            f"says issuer: {inputs.topology.issuer}, which makes and renews the certificates in the"
            " clusters",
            "renew them there",
            code="certificates-made-in-clusters",
        )
    return inputs


def gather_for_requests(directory: str, machine: Machine) -> CheckedInputs:
    """The working directory of a mesh whose intermediates are signed elsewhere."""
    inputs = load_inputs(directory, None, machine)
    if not inputs.topology.issuer_kind.takes_requests:
        raise refuse(
            join_path(directory, TOPOLOGY_FILE),
            f"says issuer: {inputs.topology.issuer}; requests are for intermediates that somebody"
            " else signs",
            "write `certificates: {issuer: csr}`",
            code="issuer-not-csr",
        )
    return inputs


def refuse_served_clusters(topology: Topology, names: Iterable[str]) -> None:
    """Refuses clusters in which the istiod of another cluster signs."""
    served = sorted(c.name for c in topology.clusters if c.name in names and c.primary is not None)
    if served:
        raise refuse(
            "NAME",
            f"{', '.join(served)} has no intermediate: another cluster's istiod signs there",
            "leave it out",
            code="cluster-without-intermediate",
        )


def build_profile(
    inputs: CheckedInputs, clusters: Iterable[str] | None = None, *, quick: bool = False
) -> CertificateProfile:
    """The profile of new intermediates of these clusters, by default of all. `quick` selects the
    fastest key type.
    """
    topology = inputs.topology
    names = (
        {c.name for c in topology.clusters if c.primary is None}
        if clusters is None
        else set(clusters)
    )
    return CertificateProfile(
        topology.organization,
        "ec-p256" if quick else topology.key_type or inputs.target.KEY_TYPE,
        topology.root_days,
        topology.intermediate_days,
        {c.name: c.namespace for c in topology.clusters if c.name in names},
        is_organization_stated=topology.has_stated_organization,
    )


def keep_keys_out(directory: str, machine: Machine, more: Sequence[str] = ()) -> tuple[str, ...]:
    """Keeps the keys that are about to be written out of git, or refuses to write them; `more` are
    others than one that signs. Returns what was done for it.
    """
    ignore = join_path(directory, GITIGNORE_FILE)
    wrote = write_gitignore(directory)
    notes = (f"wrote {ignore}, which keeps keys and tokens out of git",) if wrote else ()
    with attach_notes(notes):
        if bare := unignored_file_problems(
            directory, [*FIRST_PRIVATE_FILES, *more], ignore, machine.environment
        ):
            raise MeshError(bare)
    return notes
