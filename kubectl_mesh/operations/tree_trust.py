"""What the rendered tree says of roots and signers, on disk and in the last commit."""

import os
from collections.abc import Iterable, Mapping

from kubectl_mesh.fs.read import read_file
from kubectl_mesh.model import MESH_LOCK
from kubectl_mesh.model.trust import Trust
from kubectl_mesh.observed.lazy_state import open_tree
from kubectl_mesh.safety.roots import trusts_of_state
from kubectl_mesh.workdir.git_ignore import read_committed_files


def read_tree_trusts(out: str, names: Iterable[str]) -> dict[str, Trust]:
    """By cluster, the roots and the signer of its tree on disk."""
    return _trusts_of_locks(
        {name: read_file(os.path.join(out, name, MESH_LOCK), "lock") for name in names}
    )


def read_commit_trusts(
    out: str, names: Iterable[str], environment: Mapping[str, str]
) -> dict[str, Trust]:
    """By cluster, the roots and the signer of its tree in the last commit; nothing where it has
    none.
    """
    bodies = (
        read_committed_files(out, [f"{name}/{MESH_LOCK}" for name in names], environment)
        if os.path.isdir(out)
        else {}
    )
    return _trusts_of_locks({path.rpartition("/")[0]: body for path, body in bodies.items()})


def _trusts_of_locks(bodies: Mapping[str, bytes | None]) -> dict[str, Trust]:
    return trusts_of_state(
        open_tree({name: {MESH_LOCK: body} for name, body in bodies.items()}), bodies
    )
