"""What each step of a rotation asks of the clusters, and the way back from it; text for people."""

from kubectl_mesh.text import mesh_command

_ABORT = mesh_command("certs rotate-root abort")

DESCRIPTIONS = {
    "trust-both": "every cluster is to trust the old root and the new one; the old one signs",
    "sign-new": "the new root signs; both are trusted",
    "drop-old": "only the new root is trusted, and the old one is gone",
    "sign-old": "on the way back: the old root signs again; both are trusted",
    "drop-new": "on the way back: only the old root is trusted, and the new one is gone",
}
"""What a step asks of the clusters."""
ROLLBACKS = {
    "trust-both": (
        f"`{_ABORT}`: the new root goes; nothing was signed by it, so nothing has to be waited for"
    ),
    "sign-new": (
        f"`{_ABORT}`: the old root signs again, as soon as the render is"
        " applied; then the new one goes by the same steps"
    ),
    "drop-old": (
        "none: the old root is gone; it comes back by a rotation of its own, with another key"
    ),
    "sign-old": "none: this is the way back",
    "drop-new": "none: this is the way back; a new rotation can begin once it is done",
}
"""The way back from a step."""
UNION_DESCRIPTIONS = {
    "trust-both": (
        "every cluster is to trust the one root and the old ones of all; each signs as before"
    ),
    "sign-new": "the one root signs in every cluster; all are trusted",
    "drop-old": "only the one root is trusted, and the old ones are gone",
    "sign-old": "on the way back: each cluster signs as before again; all are trusted",
    "drop-new": "on the way back: only the old roots are trusted, and the one is gone",
}
"""The same where running clusters come under one root."""
UNION_ROLLBACKS = {
    "trust-both": (
        f"`{_ABORT}`: each goes on with what it signs with; the root that nobody signs with goes"
    ),
    "sign-new": (
        f"`{_ABORT}`: what each signed with before comes back from"
        " certs/archive, and signs once the render is applied"
    ),
    "drop-old": "none: the old roots are gone; they come back by a rotation of their own",
    "sign-old": "none: this is the way back",
    "drop-new": "none: this is the way back",
}


def describe_step(step: str, *, union: bool) -> str:
    """What a step asks of the clusters."""
    return (UNION_DESCRIPTIONS if union else DESCRIPTIONS)[step]


def describe_rollback(step: str, *, union: bool) -> str:
    """The way back from a step."""
    return (UNION_ROLLBACKS if union else ROLLBACKS)[step]
