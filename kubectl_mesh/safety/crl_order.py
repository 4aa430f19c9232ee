"""The order in which clusters need CRLs: a proxy that checks CRLs refuses every chain with a CA
that has no CRL.
"""

from collections.abc import Iterable, Iterator, Sequence

from kubectl_mesh.observed.cluster_pairs import ClusterPair
from kubectl_mesh.observed.crls import has_crl_for_chain
from kubectl_mesh.safety.apply_steps import Constraint

_WHY = "a proxy that goes by CRLs takes nothing of a CA that it has no CRL of"


def find_crl_constraints(pairs: Sequence[ClusterPair]) -> Iterator[Constraint]:
    """The CRL of a new intermediate, or of its root, goes before what it signs; that of an old one
    stays until nothing of it is in use.
    """
    for pair in _changing_signers(pairs):
        if pair.before is None or pair.after is None:
            continue
        crl_receivers = _peers_lacking_crl(pairs, pair)
        if crl_receivers:
            yield Constraint(
                crl_receivers,
                frozenset((pair.name,)),
                f"the CRL of what {pair.name} is to sign with first, and minutes until the proxies"
                f" have it: {_WHY}",
            )
        waiting = frozenset(
            other.name
            for other in _existing_peers(pairs, pair)
            if other.after is not None
            and has_crl_for_chain(other.after.cacerts, pair.after.cacerts)
            and not has_crl_for_chain(other.after.cacerts, pair.before.cacerts)
        )
        if waiting:
            why = (
                f"{pair.name} first, and a day until its workloads have renewed, before the CRL of"
                f" what it signed with is gone: {_WHY}"
            )
            yield Constraint(frozenset((pair.name,)), waiting, why)


def list_crl_notes(pairs: Sequence[ClusterPair]) -> Iterator[str]:
    """What a cluster that comes has to wait for, stage by stage: its peers in turn wait for its API
    server, and not for its certificates.
    """
    for pair in _changing_signers(pairs):
        if pair.before is None and (first := sorted(_peers_lacking_crl(pairs, pair))):
            yield (
                f"stage 1 of {', '.join(first)} before anything of {pair.name}, and minutes until"
                f" the proxies have it: {_WHY}"
            )


def _changing_signers(pairs: Sequence[ClusterPair]) -> Iterable[ClusterPair]:
    """The clusters whose signing chain changes."""
    return [
        p
        for p in pairs
        if p.after is not None
        and (
            p.before is None
            or (p.before.cacerts.intermediate_fingerprint, p.before.cacerts.chain)
            != _signing_chain(p)
        )
    ]


def _signing_chain(pair: ClusterPair) -> object:
    assert pair.after is not None
    return pair.after.cacerts.intermediate_fingerprint, pair.after.cacerts.chain


def _existing_peers(pairs: Sequence[ClusterPair], pair: ClusterPair) -> list[ClusterPair]:
    return [p for p in pairs if p.name != pair.name and p.before is not None]


def _peers_lacking_crl(pairs: Sequence[ClusterPair], pair: ClusterPair) -> frozenset[str]:
    """The clusters whose proxies get a CRL that they need for this one with the change, and not
    before it.
    """
    assert pair.after is not None
    new = pair.after.cacerts
    return frozenset(
        p.name
        for p in _existing_peers(pairs, pair)
        if p.before is not None
        and p.after is not None
        and not has_crl_for_chain(p.before.cacerts, new)
        and has_crl_for_chain(p.after.cacerts, new)
    )
