"""The checks of the `cacerts` in a tree: one root, its own intermediate, a chain, a key that fits,
dates.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import timedelta

from kubectl_mesh.checks.asked import RENDER, Asked
from kubectl_mesh.checks.result import ERROR, WARNING, Check
from kubectl_mesh.errors import Problem
from kubectl_mesh.observed.values import Cacerts
from kubectl_mesh.pki.issue import judge_bundle

_ANEW = "Render, which puts what is in certs/ back; and find out who put the other there."
CHECKS = (
    Check(
        "tree-readable",
        "tree",
        ERROR,
        "everything in the tree can be read",
        "`error converting YAML to JSON` from kubectl, Argo CD or Flux, and nothing of the"
        " directory is applied",
        "Render, which makes the file anew.",
    ),
    Check(
        "tree-complete",
        "tree",
        ERROR,
        "every rendered cacerts has key, certificate, chain and root",
        "istiod does not start: `incomplete signing CA bundle`",
        "Render, which makes the file anew.",
    ),
    Check(
        "tree-root",
        "tree",
        ERROR,
        "the rendered cacerts of all clusters hold the same root, that of certs/",
        "proxies of different clusters: `TLSV1_ALERT_UNKNOWN_CA`",
        _ANEW,
    ),
    Check(
        "tree-own",
        "tree",
        ERROR,
        "every rendered cacerts holds the intermediate of its own cluster",
        "one cluster signs as another: `cacerts` of two clusters are exchanged, and what is revoked"
        " for one is revoked for the other",
        _ANEW,
    ),
    Check(
        "tree-chain",
        "tree",
        ERROR,
        "every rendered intermediate leads to the root beside it, by the chain beside it",
        "istiod does not start: `x509: certificate signed by unknown authority`, or proxies:"
        " `CERTIFICATE_VERIFY_FAILED`",
        _ANEW,
    ),
    Check(
        "tree-pair",
        "tree",
        ERROR,
        "every rendered intermediate belongs to the key beside it",
        "istiod does not start: `private key does not match public key`",
        _ANEW,
    ),
    Check(
        "tree-ca",
        "tree",
        ERROR,
        "every rendered intermediate and root is a CA that istiod and Envoy accept",
        "istiod does not start: `certificate is not authorized to sign other certificates`",
        _ANEW,
    ),
    Check(
        "tree-expired",
        "tree",
        ERROR,
        "every certificate in the tree is valid today",
        "istiod does not start, or proxies: `CERTIFICATE_VERIFY_FAILED: certificate has expired`",
        "Where certs/ has a newer one, render; else move the intermediate's folder away first. Then"
        " review and apply.",
    ),
    Check(
        "tree-expiring",
        "tree",
        WARNING,
        "no certificate in the tree expires soon; within the time of --fail-within it is an error",
        "an outage on the day it expires",
        "Where certs/ has a newer one, render; else move the intermediate's folder away first. Then"
        " review and apply.",
    ),
)


def cacerts_findings(asked: Asked) -> tuple[list[Problem], list[Problem]]:
    """What is wrong with the trust of the clusters: errors and warnings. One fault is told once, by
    its cause.
    """
    errors: list[Problem] = []
    warnings: list[Problem] = []
    for problem in asked.view.problems:
        file, missing = problem.where.file, problem.what.endswith(".pem is missing")
        errors.append(
            asked.problem(
                file,
                problem.what,
                "tree-complete" if missing else "tree-readable",
                path=problem.where.path,
                fix=RENDER,
            )
        )
    unread = {p.where.file for p in asked.view.problems}
    trusts = {
        name: c.trust
        for name, c in asked.view.clusters.items()
        if name in asked.peers and c.trust.store == "plain" and c.trust.file not in unread
    }
    roots = asked.roots if asked.roots is not None else _most(trusts.values())
    for name, trust in trusts.items():
        found = list(_wrong(asked, name, trust, roots))
        errors += found
        if not found:
            soon = _soon(asked, name, trust)
            (errors if asked.within is not None else warnings).extend(soon)
    return errors, warnings


def _most(trusts: Iterable[Cacerts]) -> frozenset[str] | None:
    """The root that most clusters have, where the one of certs/ is not at hand."""
    counted = Counter(frozenset(t.root_fingerprints) for t in trusts)
    return min(counted, key=lambda r: (-counted[r], sorted(r))) if counted else None


def _wrong(
    asked: Asked, name: str, trust: Cacerts, roots: frozenset[str] | None
) -> Iterator[Problem]:
    own = frozenset(trust.root_fingerprints)
    if roots is not None and own != roots and _unrendered(asked, name, trust, roots):
        what = (
            "does not have the roots of certs/ yet: a step of `certs rotate-root` or `certs"
            " import-root` is not rendered"
        )
        yield asked.problem(
            trust.file,
            what,
            "tree-current",
            path='data."root-cert.pem"',
            fix="run `kubectl mesh render`, review and apply it",
        )
        return
    if roots is not None and own != roots:
        than = "the one in certs/root-cert.pem" if asked.roots is not None else "most clusters"
        what = f"holds another root than {than}: {_short(own)}, not {_short(roots)}"
        yield asked.problem(
            trust.file, what, "tree-root", path='data."root-cert.pem"', fix=_root_fix(asked)
        )
        return
    other = _whose(asked, name, trust)
    if other is not None:
        what = f'holds the intermediate of "{other}"'
        yield asked.problem(trust.file, what, "tree-own", path='data."ca-cert.pem"')
        return
    if trust.pair is False:
        yield asked.problem(
            trust.file,
            "holds a key that does not belong to its certificate",
            "tree-pair",
            path='data."ca-key.pem"',
        )
    for problem in judge_bundle(trust.files, asked.now):
        check = {"certs-expired": "tree-expired", "certs-ca": "tree-ca"}.get(
            problem.id, "tree-chain"
        )
        yield asked.problem(
            trust.file,
            problem.what,
            check,
            path=f'data."{problem.where.file}"',
            fix=_expired_fix(asked, name, trust, check),
        )


def _unrendered(asked: Asked, name: str, trust: Cacerts, roots: frozenset[str]) -> bool:
    """Whether the roots of a cluster are those of the step before: as they were rendered, and part
    or whole of those in certs/.
    """
    own = frozenset(trust.root_fingerprints)
    rendered = (
        asked.roots is not None
        and trust.file not in asked.by_hand
        and asked.view.clusters[name].lock is not None
    )
    return rendered and bool(own) and (own < roots or own > roots)


def _root_fix(asked: Asked) -> str:
    if asked.roots is None:
        return "find out which root is right; then render where certs/ is"
    return (
        "find out who changed it. Then run `kubectl mesh render`, which puts the root of certs/"
        " into the tree, and apply all clusters"
    )


def _expired_fix(asked: Asked, name: str, trust: Cacerts, check: str) -> str:
    if check != "tree-expired":
        return RENDER
    newer = asked.intermediates.get(name) not in (None, trust.intermediate_fingerprint)
    return (
        "run `kubectl mesh render`, which puts the one of certs/ in its place, and apply"
        if newer
        else f"move certs/intermediate-{name} away, render and apply: that makes a new one"
    )


def _whose(asked: Asked, name: str, trust: Cacerts) -> str | None:
    """The other cluster whose intermediate this is."""
    return next(
        (
            n
            for n, fingerprint in asked.intermediates.items()
            if n != name and fingerprint == trust.intermediate_fingerprint
        ),
        None,
    ) or next(
        (
            n
            for n in asked.peers
            if n != name
            and trust.intermediate is not None
            and f"L=intermediate-{n}" in trust.intermediate.subject.split(", ")
            and name not in asked.intermediates
        ),
        None,
    )


def _soon(asked: Asked, name: str, trust: Cacerts) -> list[Problem]:
    """Certificates of the tree that end within the time that was asked for, else soon; those that
    are in certs/ too are told of there.
    """
    found = [(c, "root-cert.pem") for c in trust.roots if c.fingerprint not in (asked.roots or ())]
    if trust.intermediate is not None and trust.intermediate.fingerprint != asked.intermediates.get(
        name
    ):
        found.append((trust.intermediate, "ca-cert.pem"))
    fix = "where certs/ has a newer one, run `kubectl mesh render`; else renew it there first"
    problems = []
    for certificate, file in found:
        left = certificate.not_after - asked.now
        if left <= (
            asked.within
            if asked.within is not None
            else min(timedelta(days=30), (certificate.not_after - certificate.not_before) / 10)
        ):
            what = f"expires on {certificate.not_after:%Y-%m-%d}, in {left.days} days"
            problems.append(
                asked.problem(trust.file, what, "tree-expiring", path=f'data."{file}"', fix=fix)
            )
    return problems


def _short(fingerprints: frozenset[str]) -> str:
    return " and ".join(f"sha256 {f[:12]}…" for f in sorted(fingerprints)) or "none"
