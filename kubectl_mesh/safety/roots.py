"""roots: the one rule about roots. What can be changed in one step, while some clusters have the
old bundle and some the new one.

It has two parts, and a change has to pass both: `sets`, what is trusted and who signs, where that
is not known too; and `order`, the text of the bundles, and the clusters that lag, by what the locks
tell. Render, check, diff and rotations ask here.
"""

from collections.abc import Mapping
from dataclasses import replace

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model.trust import Trust
from kubectl_mesh.safety.root_exchange import ID, refused
from kubectl_mesh.safety.root_order import mesh_change

FIX = (
    "change roots step by step with `kubectl mesh certs rotate-root`, which keeps the old text as"
    " it is and in one piece; or put certs/ back"
)
"""What to do where the order of the text, or of the clusters, is at fault."""


def unsafe(where: str, before: Mapping[str, Trust], after: Mapping[str, Trust]) -> Problem | None:
    """What is wrong with a change of roots over all clusters, by either part; None where each may
    apply it when it likes. `where` is the file to be told.
    """
    problem = refused(where, before, after)
    if problem is not None:
        return problem
    cut = list(mesh_change(_with_signers(before), _with_signers(after)))
    if not cut:
        return None
    what = "; ".join(f"{name} {why}" for name, why in cut[:3]) + (
        f"; and {len(cut) - 3} more" if len(cut) > 3 else ""
    )
    return Problem(Place(where), what, FIX, ID)


def _with_signers(trusts: Mapping[str, Trust]) -> dict[str, Trust]:
    return {name: replace(trust, signer=trust.known_signer) for name, trust in trusts.items()}
