"""What a cluster trusts and what signs there, and whether a running mesh can go from one such state
to another without a cut.
"""

from collections.abc import Iterator, Mapping

from kubectl_mesh.model.trust import Trust


def root_change(before: Trust, after: Trust) -> str | None:
    """Why a cluster cannot go from one to the other without a cut, as a sentence about its tree;
    None where it can.

    istiod takes another bundle only where one holds the other, up to Istio 1.29 as a text within a
    text; whatever else it ignores (istio: pilot/pkg/bootstrap/istio_ca.go, handleEvent).
    """
    if before.roots == after.roots:
        return None
    if set(before.roots) == set(after.roots):
        return (
            "has the same roots in another order, which istiod up to 1.29 takes for another bundle"
            " and ignores"
        )
    if not (_within(before.roots, after.roots) or _within(after.roots, before.roots)):
        return (
            "trusts other roots, and what would be rendered neither holds them all nor is a part of"
            " them; istiod ignores such a change, or cuts traffic"
        )
    if before.signer and after.signer and before.signer != after.signer:
        return (
            "would get another bundle of roots and another root that signs in one render; each"
            " needs its own"
        )
    return None


def _within(few: tuple[str, ...], many: tuple[str, ...]) -> bool:
    return any(many[i : i + len(few)] == few for i in range(len(many) - len(few) + 1))


def mesh_change(
    before: Mapping[str, Trust], after: Mapping[str, Trust]
) -> Iterator[tuple[str, str]]:
    """The clusters that cannot go where a render leads, each with why; `before` are all trees that
    are there, `after` those that are rendered.
    """
    known = {name: trust for name, trust in before.items() if trust.roots}
    for name, new in sorted(after.items()):
        old = known.get(name)
        if not new.roots:
            continue
        why = root_change(old, new) if old is not None else None
        if why is not None:
            yield name, why
            continue
        others = sorted(other for other in known if other != name)
        blind = [other for other in others if new.signer and new.signer not in known[other].roots]
        if blind and (old is None or old.signer != new.signer):
            yield (
                name,
                f"would be signed by a root that the tree of {_some(blind)} does not trust yet",
            )
            continue
        lost = [
            other
            for other in others
            if known[other].signer and known[other].signer not in new.roots
        ]
        if lost and (old is None or not set(old.roots) <= set(new.roots)):
            yield (
                name,
                f"would no longer trust the root by which the tree of {_some(lost)} is signed",
            )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
