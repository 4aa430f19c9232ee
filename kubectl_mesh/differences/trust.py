"""Intermediates, roots, and who opens what is sealed."""

from collections.abc import Iterator
from dataclasses import replace

from kubectl_mesh.differences.comparison import (
    TreePair,
    build_change,
    build_effect,
    find_implied_changes,
)
from kubectl_mesh.differences.fields import difference_count_text
from kubectl_mesh.differences.fields import list_details as differing
from kubectl_mesh.differences.rules import RULE_NAMES
from kubectl_mesh.differences.values import Detail, Effect, Fact
from kubectl_mesh.model import CACERTS_PATH, Certificate
from kubectl_mesh.observed.cluster_pairs import ClusterPair
from kubectl_mesh.observed.mesh_state import Cacerts
from kubectl_mesh.safety.roots import LOCAL_ROOT, find_issuer_change, unsafe_reason
from kubectl_mesh.text import count_text

MADE_BY_RENDER = "made by the render"


def list_trust_facts(both: TreePair, pair: ClusterPair) -> Iterator[Fact]:
    """What becomes of the trust of a cluster that stays."""
    if pair.before is None or pair.after is None:
        return
    name, old, new = pair.name, pair.before.cacerts, pair.after.cacerts
    yield from _metadata_facts(pair)
    if old == new:
        return
    if old.store == new.store:
        yield from _other_file_facts(name, old, new)
    yield from _store_facts(name, old, new)
    yield from _recipient_facts(name, old, new)
    yield from _intermediate_facts(both, name, old, new)
    ambient = any(c.component == "ztunnel" for c in pair.after.control_plane)
    yield from _root_facts(both, name, old, new, ambient=ambient)
    found = tuple(differing(old.issuer, new.issuer))
    if found and old.store == new.store:
        yield build_change(
            name,
            "issuer",
            "how cacerts is made",
            difference_count_text(found),
            new.file,
            build_effect("object"),
            details=found,
        )


def _other_file_facts(name: str, old: Cacerts, new: Cacerts) -> Iterator[Fact]:
    """What differs of the files in `cacerts` that are no certificates of istiod."""
    names = sorted(
        n
        for n in {*old.other_keys, *new.other_keys}
        if old.other_keys.get(n) != new.other_keys.get(n)
    )
    if not names:
        return
    what = "; ".join(
        f"{n} is added"
        if n not in old.other_keys
        else f"{n} is removed"
        if n not in new.other_keys
        else f"{n} changes"
        for n in names
    )
    subject = "what stands in cacerts beside the certificates"
    yield build_change(name, "object", subject, what, new.file, build_effect("cacerts"))


def _store_facts(name: str, old: Cacerts, new: Cacerts) -> Iterator[Fact]:
    """That another store holds `cacerts`, or another kind of object."""
    if old.store != new.store:
        rule = f"store-{new.store}"
        yield build_change(
            name,
            "store",
            "the store of secrets",
            f"{old.store} -> {new.store}",
            new.file,
            build_effect(rule if rule in RULE_NAMES else "store"),
            details=(Detail("store", old.store, new.store),),
        )
    elif old.kind != new.kind:
        what = f"is a {new.kind or 'nothing'}, and was a {old.kind or 'nothing'}"
        yield build_change(name, "store", "cacerts", what, new.file, build_effect("store"))


def _metadata_facts(pair: ClusterPair) -> Iterator[Fact]:
    """What is said of the object that holds `cacerts`, labels and annotations, and not what it
    holds.
    """
    assert pair.before is not None
    assert pair.after is not None
    one, other = (
        [o for o in c.objects if o.file == f"{c.name}/{CACERTS_PATH}"]
        for c in (pair.before, pair.after)
    )
    if one and other and one[0].kind == other[0].kind and one[0].kind in ("Secret", "SealedSecret"):
        found = tuple(differing(one[0].fields, other[0].fields, find_implied_changes(pair)))
        if found:
            yield build_change(
                pair.name,
                "object",
                f"{other[0].kind} cacerts",
                difference_count_text(found),
                other[0].file,
                build_effect("secret-metadata"),
                details=found,
            )


def build_issuer_change(old: Cacerts, new: Cacerts) -> Fact | None:
    """That the root is another issuer's from now on, where only the clusters know one of the
    two.
    """
    found = find_issuer_change(old, new)
    if found is None:
        return None
    before, after = found
    rule = (
        "roots-here"
        if after == LOCAL_ROOT
        else "roots-elsewhere"
        if before == LOCAL_ROOT
        else "roots-between"
    )
    return build_change(
        "",
        "roots",
        "the roots",
        f"are those of {after} from now on, and were those of {before}",
        new.file,
        build_effect(rule),
    )


def _recipient_facts(name: str, old: Cacerts, new: Cacerts) -> Iterator[Fact]:
    come, gone = (
        sorted(set(new.recipients) - set(old.recipients)),
        sorted(set(old.recipients) - set(new.recipients)),
    )
    if old.store != new.store:
        return
    if come or gone:
        parts = [
            *([f"{count_text(len(come), 'recipient')} added"] if come else []),
            *([f"{count_text(len(gone), 'recipient')} removed"] if gone else []),
        ]
        effects = [
            *([build_effect("recipients-added")] if come else []),
            *([build_effect("recipients-removed")] if gone else []),
        ]
        details = (
            *(Detail("recipient", None, r) for r in come),
            *(Detail("recipient", r, None) for r in gone),
        )
        yield build_change(
            name,
            "recipients",
            "who opens the secrets",
            ", ".join(parts),
            new.file,
            *effects,
            details=details,
        )
    if old.sealed_for != new.sealed_for:
        details = (Detail("sealed for", old.sealed_for, new.sealed_for),)
        what = "another controller, or another key of it"
        yield build_change(
            name,
            "recipients",
            "who opens the secrets",
            what,
            new.file,
            build_effect("secret-resealed"),
            details=details,
        )


def _certificate_fields(certificate: Certificate | None, fingerprint: str | None) -> dict[str, str]:
    if certificate is None:
        return {} if fingerprint is None else {"fingerprint": fingerprint}
    return {
        "serial": certificate.serial,
        "not after": f"{certificate.not_after:%Y-%m-%dT%H:%M:%SZ}",
        "fingerprint": certificate.fingerprint,
        "subject": certificate.subject,
        "key": certificate.key_type,
    }


def _intermediate_facts(both: TreePair, name: str, old: Cacerts, new: Cacerts) -> Iterator[Fact]:
    before, after = old.intermediate_fingerprint, new.intermediate_fingerprint
    subject = f"intermediate of {name}"
    if before == after:
        same = _same_intermediate(old, new)
        if same is not None:
            yield build_change(
                name, "intermediate", subject, same[0], new.file, build_effect(same[1])
            )
    elif before is None:
        rule = build_effect("intermediate-first")
        yield build_change(name, "intermediate", subject, "is there now", new.file, rule)
    elif after is None:
        rule = build_effect("intermediate-gone")
        yield build_change(
            name, "intermediate", subject, "is no longer in the tree", new.file, rule
        )
    else:
        yield _new_intermediate(both, name, old, new)


def _same_intermediate(old: Cacerts, new: Cacerts) -> tuple[str, str] | None:
    """What changes of an intermediate whose certificate is the same, and its rule."""
    if old.key is not None and new.key is not None and old.key != new.key:
        what = "its key is another one, the certificate the same: the two do not belong together"
        return what, "intermediate"
    if _is_resealed(old, new):
        what = (
            "is sealed anew"
            if old.sealed_for == new.sealed_for
            else "is sealed for another controller"
        )
        return f"{what}; the certificate is the same", "secret-resealed"
    if old.chain and new.chain and old.chain != new.chain:
        return "the chain beside it changes", "intermediate"
    return None


def _new_intermediate(both: TreePair, name: str, old: Cacerts, new: Cacerts) -> Fact:
    """That a cluster has another intermediate."""
    one = _certificate_fields(old.intermediate, old.intermediate_fingerprint)
    other = _certificate_fields(new.intermediate, new.intermediate_fingerprint)
    if name in both.generated_intermediates:
        other = dict.fromkeys(("serial", "not after", "fingerprint"), MADE_BY_RENDER)
    found = [
        Detail(path, one.get(path), other.get(path))
        for path in {**one, **other}
        if one.get(path) != other.get(path) and path in other
    ]
    what = "is a new one"
    if None not in (old.signer, new.signer) and old.signer != new.signer:
        what += ", signed by another root"
        is_made = name in both.generated_intermediates and new.signer not in old.root_fingerprints
        found.append(Detail("root", old.signer, MADE_BY_RENDER if is_made else new.signer))
    # With other roots, what istiod does is told there.
    effects = (
        (build_effect("intermediate"),)
        if set(old.root_fingerprints) == set(new.root_fingerprints)
        else ()
    )
    subject = f"intermediate of {name}"
    return build_change(
        name, "intermediate", subject, what, new.file, *effects, details=tuple(found)
    )


def _is_resealed(old: Cacerts, new: Cacerts) -> bool:
    """Whether only the ciphertext changed, and not its recipients, roots or CRLs, which other facts
    report.
    """
    if (
        old.ciphertext is None
        or new.ciphertext is None
        or old.ciphertext == new.ciphertext
        or old.store != new.store
    ):
        return False
    return (
        old.recipients == new.recipients
        and old.root_fingerprints == new.root_fingerprints
        and old.other_keys == new.other_keys
    )


def _root_facts(
    both: TreePair, name: str, old: Cacerts, new: Cacerts, *, ambient: bool
) -> Iterator[Fact]:
    before, after = set(old.root_fingerprints), set(new.root_fingerprints)
    if not before or not after:
        if (there := build_issuer_change(old, new)) is not None:
            yield replace(there, cluster=name)
        return
    effects: list[Effect] = [
        build_effect("roots"),
        *([build_effect("roots-ambient")] if ambient else []),
        *([build_effect("roots-shrunk")] if before > after else []),
    ]
    if before == after:
        if old.root_pem is not None and new.root_pem is not None and old.root_pem != new.root_pem:
            yield build_change(
                name,
                "roots",
                "the roots",
                "stand in another order, or are written otherwise",
                new.file,
                build_effect("roots-text"),
            )
        return
    come, gone = (
        [f for f in new.root_fingerprints if f not in before],
        [f for f in old.root_fingerprints if f not in after],
    )
    if unsafe_reason(old.trust, new.trust) is not None:
        effects.insert(0, build_effect("roots-exchanged"))
    what = (
        f"grow by {len(come)}"
        if not gone
        else (
            f"shrink by {len(gone)}"
            if not come
            else f"are exchanged: {len(gone)} out, {len(come)} in"
        )
    )
    known = {c.fingerprint: c for c in (*old.roots, *new.roots)}
    found = [
        Detail(
            "root",
            None,
            MADE_BY_RENDER if "" in both.generated_intermediates else _root_text(known, f),
        )
        for f in come
    ]
    found += [Detail("root", _root_text(known, f), None) for f in gone]
    yield build_change(name, "roots", "the roots", what, new.file, *effects, details=tuple(found))


def _root_text(known: dict[str, Certificate], fingerprint: str) -> str:
    if fingerprint not in known:
        return f"SHA-256 {fingerprint}"
    root = known[fingerprint]
    return (
        f"{root.subject}, serial {root.serial}, not after {root.not_after:%Y-%m-%d}, SHA-256"
        f" {fingerprint}"
    )
