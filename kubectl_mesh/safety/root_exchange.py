"""What is trusted and who signs: whether two states of a cluster, and those of several, can be side
by side in a mesh.
"""

from collections.abc import Mapping

from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model.trust import Trust
from kubectl_mesh.text import count

ID = "root-exchange"
FIX = (
    "take three steps, each rendered, reviewed, committed and applied in every cluster before the"
    " next; `kubectl mesh certs rotate-root` takes them:\n  1. trust both: append the new root to"
    " certs/root-cert.pem behind the old one, and keep the intermediates\n  2. sign with the new:"
    " put the new root's key into certs/root-key.pem, move the folders certs/intermediate-* away,"
    " and render\n  3. drop the old: a day after that is applied everywhere, take the old root out"
    " of certs/root-cert.pem"
)


def exchange(before: Trust, after: Trust) -> str | None:
    """Why two states of one cluster cannot be side by side in a mesh; None where they can.

    While the change is under way, every proxy that has the old bundle meets certificates that the
    new signer made, and the other way round.
    """
    if not before.roots or not after.roots or before.is_unchanged(after):
        return None
    one, other = frozenset(before.roots), frozenset(after.roots)
    if not (one <= other or other <= one):
        who = "who has the old ones trusts nobody who has the new ones"
        return (
            f"the roots are exchanged in one step: {who}, and istiod ignores a bundle that neither"
            " holds its own nor is held by it"
        )
    old, new = before.known_signer, after.known_signer
    if before.intermediate is not None and before.intermediate == after.intermediate:
        old = new = old or new
    if new is not None and new not in before.roots:
        return "the intermediate is signed by a root that nobody trusts yet"
    if old is not None and old not in after.roots:
        return "a root is dropped by which certificates in use are signed"
    if (old is None or new is None) and one != other and before.intermediate != after.intermediate:
        return (
            "the roots change together with the intermediate, and nothing here tells which root"
            " signed the old one"
        )
    return None


def refused(where: str, before: Mapping[str, Trust], after: Mapping[str, Trust]) -> Problem | None:
    """What is wrong with a change of roots, over all clusters; None where each may apply it when it
    likes.

    `where` is the file to be told. Clusters of `before` that are not in `after` stay as they are.
    """
    found: dict[str, list[str]] = {}
    for name in sorted({*before, *after}):
        reasons = [exchange(before[name], after[name])] if name in before and name in after else []
        if name in after and name not in before:
            # A new cluster meets those that are there already.
            reasons += [
                why
                for other in before.values()
                if (why := _stranger(other, after[name])) is not None
            ][:1]
        elif name in after and not reasons[0]:
            new = after[name].known_signer
            behind = sorted(
                n
                for n, other in before.items()
                if other.roots and new is not None and new not in other.roots
            )
            if behind and not after[name].is_unchanged(before.get(name)):
                reasons = [
                    (
                        "the intermediate is signed by a root that is not trusted yet in"
                        f" {', '.join(behind)}"
                    )
                ]
        for why in filter(None, reasons):
            found.setdefault(why, []).append(name)
    if not found:
        return None
    what = "; ".join(
        f"{why} (in {count(len(names), 'cluster')}:"
        f" {', '.join(names[:3])}{' …' if len(names) > 3 else ''})"
        for why, names in found.items()
    )
    return Problem(Place(where), what, FIX, ID)


def _stranger(there: Trust, new: Trust) -> str | None:
    """Why a new cluster cannot join one that is there."""
    signer = new.known_signer
    if there.roots and signer is not None and signer not in there.roots:
        return (
            "a new cluster has an intermediate that is signed by a root that the others do not"
            " trust yet"
        )
    return None
