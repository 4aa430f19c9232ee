"""checks: every check with its stable id, and the findings of a run sorted under them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kubectl_mesh.credentials import claims
from kubectl_mesh.errors import Place, Problem
from kubectl_mesh.model import RENEW, FolderChange, Pki, Plan
from kubectl_mesh.plan import token_file
from kubectl_mesh.words import count, one_line

ERROR, WARNING = "error", "warning"


@dataclass(frozen=True, slots=True)
class Check:
    """A check: its id never changes its meaning; `severity` is that of its findings; `prevents` is what one would see in a cluster."""

    id: str
    category: str
    severity: str
    sentence: str
    prevents: str


CHECKS = (
    Check("topology-valid", "topology", ERROR, "topology.yaml says what it may say, and names add up", "a cluster left out, or joined under another name"),
    Check("base-valid", "topology", ERROR, "base.yaml is a control plane that Istio reads", "`unknown field` from istioctl, or a setting without effect"),
    Check("base-lost", "topology", WARNING, "no setting in base.yaml is replaced by the mesh", "a manual setting that is silently lost"),
    Check(
        "istio-version", "topology", ERROR, "Istio's version can do what the topology asks for", "a control plane that nothing reads, or that ignores a setting"
    ),
    Check("istio-known", "topology", WARNING, "the rules of Istio's version are known", "a rule of a newer Istio that nobody has looked at"),
    Check(
        "ambient",
        "topology",
        ERROR,
        "an ambient mesh asks for nothing that ambient cannot do",
        "ztunnel: `no healthy upstream`, for clusters that never find each other",
    ),
    Check("ambient-shared", "topology", WARNING, "an ambient mesh keeps to what is well tried", "a data plane that only its developers have seen"),
    Check(
        "namespace-equal",
        "topology",
        ERROR,
        "clusters that discover each other have Istio in the same namespace",
        "a peer's endpoints without a network: connections to pod addresses that nobody reaches",
    ),
    Check(
        "delivery-target",
        "topology",
        ERROR,
        "the delivery tool applies this kind of control plane",
        "`no matches for kind`, or an object in the cluster that nothing reads",
    ),
    Check("gateway-kind", "gateways", ERROR, "every east-west gateway is of a kind that something makes", "a network without a gateway"),
    Check(
        "base-identity",
        "topology",
        ERROR,
        "base.yaml gives no cluster another's identity",
        "istiod: `client claims to be in cluster`, or proxies on the wrong network",
    ),
    Check("base-reader", "topology", ERROR, "base.yaml leaves istiod what it needs to read the peers", "istiod: `Unauthorized`, and no endpoints of any peer"),
    Check("base-registry", "topology", ERROR, "base.yaml names registries as istiod takes them", "istiod: `invalid registry name`, and no meshNetworks at all"),
    Check(
        "trust-domain",
        "topology",
        ERROR,
        "no trust domain is left behind that workloads still have",
        "`RBAC: access denied`, or `SPIFFE` identities that no peer accepts",
    ),
    Check(
        "control-plane-address",
        "gateways",
        WARNING,
        "where istiod is reached is stated by IP address, and for somebody",
        "pods without a sidecar: `failed calling webhook … connection refused`",
    ),
    Check(
        "credential-cost",
        "credentials",
        WARNING,
        "peers log in by tokens, which can be taken back",
        "a login that nobody can revoke, or that needs more than a Secret",
    ),
    Check(
        "credential-readable",
        "credentials",
        ERROR,
        "every file of a credential holds what it should",
        "istiod: `Unauthorized`, and no endpoints of the cluster",
    ),
    Check("token-expired", "credentials", ERROR, "no token has expired", "istiod: `Unauthorized`, and no endpoints of the cluster"),
    Check(
        "token-expiring",
        "credentials",
        WARNING,
        "no token expires soon; within the time of --fail-within it is an error",
        "a cluster that vanishes from the mesh on the day its token expires",
    ),
    Check(
        "token-old",
        "credentials",
        ERROR,
        "no token that says when it was made is older than --token-age allows, where that is given",
        "a token that was copied years ago, by who knows whom",
    ),
    Check("address-pending", "gateways", WARNING, "every istiod that serves other clusters has a known address", "clusters without a control plane"),
    Check(
        "secret-change",
        "tree",
        WARNING,
        "no remote secret changes for an istiod that may lose the cluster by that",
        "`no healthy upstream` for a cluster that is there, until istiod restarts (Istio's issue 61043)",
    ),
    Check(
        "kubeconfig-context", "servers", ERROR, "every context is in the kubeconfig, or states its server", "a remote secret for a cluster that does not exist"
    ),
    Check(
        "server-reachable",
        "servers",
        ERROR,
        "peers can reach every API server by https",
        "istiod: `failed to list … connection refused`, and no endpoints of the cluster",
    ),
    Check("server-ca", "servers", ERROR, "every API server has a CA that peers verify it by", "istiod: `x509: certificate signed by unknown authority`"),
    Check("server-unique", "servers", WARNING, "no two clusters have the same API server", "one cluster's endpoints counted twice"),
    Check("token-readable", "credentials", ERROR, "every token file holds a token", "istiod: `Unauthorized`, and no endpoints of the cluster"),
    Check("token-unique", "credentials", WARNING, "every cluster has a token of its own", "istiod: `Unauthorized` from the one whose token it is not"),
    Check("token-pending", "credentials", WARNING, "every token is there", "a cluster that its peers do not discover"),
    Check("next-token-pending", "credentials", WARNING, "no rotation waits for its next token", "an old token that stays for years, since nobody went on"),
    Check(
        "token-order",
        "credentials",
        ERROR,
        "no token goes in the same render in which its peers move to another",
        "istiod of a cluster that applies late: `Unauthorized`, and no endpoints of the cluster",
    ),
    Check("server-pending", "servers", WARNING, "every API server is known", "a cluster that its peers do not discover"),
    Check("gateway-pending", "gateways", WARNING, "every network has the address of a gateway", "no traffic into the network"),
    Check("gateway-address", "gateways", WARNING, "every gateway is given as Istio's version takes it", "a gateway that is looked up once and never again"),
    Check("certs-readable", "certificates", ERROR, "istiod can read every key and certificate", "istiod does not start: `failed to create an istiod CA`"),
    Check("certs-complete", "certificates", ERROR, "no part of a certificate is missing", "istiod does not start: `incomplete signing CA bundle`"),
    Check("certs-pair", "certificates", ERROR, "every certificate belongs to its key", "istiod does not start: `private key does not match public key`"),
    Check("certs-ca", "certificates", ERROR, "every certificate is a CA", "istiod does not start, or proxies: `CERTIFICATE_VERIFY_FAILED`"),
    Check("certs-chain", "certificates", ERROR, "every intermediate leads to the root", "proxies: `TLSV1_ALERT_UNKNOWN_CA`"),
    Check("certs-one-root", "certificates", ERROR, "all clusters share one root", "proxies of different clusters: `TLSV1_ALERT_UNKNOWN_CA`"),
    Check("certs-own", "certificates", WARNING, "every cluster has an intermediate of its own", "one cluster's key opens another's identity"),
    Check("certs-expired", "certificates", ERROR, "every certificate is valid today", "proxies: `CERTIFICATE_VERIFY_FAILED: certificate has expired`"),
    Check(
        "certs-expiring",
        "certificates",
        WARNING,
        "no certificate expires soon; within the time of --fail-within it is an error",
        "an outage on the day it expires",
    ),
    Check(
        "certs-key-type",
        "certificates",
        WARNING,
        "Istio's version can sign with every key",
        "workloads get no certificate: `requested SignatureAlgorithm does not match private key type`",
    ),
    Check(
        "certs-names",
        "certificates",
        WARNING,
        "no certificate has name constraints that nobody has judged",
        "proxies: `CERTIFICATE_VERIFY_FAILED: permitted subtree violation`",
    ),
    Check("crl-readable", "certificates", ERROR, "istiod can read certs/ca-crl.pem", "istiod: `failed to parse CRL`, and no change of cacerts is taken"),
    Check(
        "crl-complete",
        "certificates",
        ERROR,
        "every CA of the mesh has a CRL, where something is or was revoked",
        "istiod: `missing CRL signed by certificates`; proxies: `unable to get certificate CRL`",
    ),
    Check("crl-expired", "certificates", ERROR, "no CRL is past its nextUpdate", "proxies: `CRL has expired`, and no connection at all"),
    Check(
        "crl-expiring",
        "certificates",
        WARNING,
        "no CRL is about to pass its nextUpdate; within the time of --fail-within it is an error",
        "an outage of the whole mesh on that day",
    ),
    Check("crl-read", "certificates", WARNING, "every proxy goes by what is revoked", "a lost cluster that some clusters go on trusting"),
    Check("private-mode", "certificates", WARNING, "nobody else can read private files", "a key that others have"),
    Check("tree-current", "tree", ERROR, "the rendered tree is what a render would make", "clusters that run what no review has seen"),
    Check("tree-edited", "tree", ERROR, "no file of the tree was edited by hand", "an edit that the next render undoes"),
    Check("tree-withdrawn", "tree", ERROR, "no remote secret in use would go for want of a token or a server", "a cluster that its peers suddenly do not see"),
    Check(
        "sealed-current",
        "tree",
        ERROR,
        "everything that is sealed is what it should be, or can be sealed anew here",
        "a cluster that keeps an old key or token, since nobody here has the new one",
    ),
    Check(
        "sealed-proven",
        "tree",
        WARNING,
        "the seal key is there where keys and tokens are, so that what is sealed can be compared with them",
        "a cluster that keeps an old key or token, and nobody is told",
    ),
    Check(
        "recipient-shared",
        "tree",
        WARNING,
        "no cluster's recipient or controller opens the secrets of another",
        "who breaks into one cluster has the CA key of another, from git",
    ),
    Check(
        "sealing-certificate",
        "tree",
        ERROR,
        "what is sealed is sealed for a controller that runs",
        "`no key could decrypt secret`, and an istiod that waits for cacerts",
    ),
    Check("sealing-expiring", "tree", WARNING, "no controller's certificate is about to expire", "a render that has to wait for a new certificate"),
    Check("certificate-pending", "certificates", WARNING, "every intermediate that others sign is there", "a cluster that is not rendered"),
    Check("sealing-pending", "tree", WARNING, "the certificate of every Sealed Secrets controller is there", "a cluster that is not rendered"),
    Check("tree-foreign", "tree", WARNING, "nothing but kubectl mesh's files is in the tree", "a file that one believes to be rendered"),
    Check(
        "git-ignored",
        "git",
        ERROR,
        "no private key or token can get into a commit unless the topology says so",
        "a key that everyone has who has the repository",
    ),
    Check(
        "git-tracked",
        "git",
        ERROR,
        "no file that git tracks holds a key or a login in clear, but for a tree of the store plain",
        "a key that everyone has who has the repository, now and later, for git forgets nothing",
    ),
)
IDS = {check.id for check in CHECKS}


@dataclass(frozen=True, slots=True)
class Result:
    """A check with what it found; `skipped` where an earlier problem kept it from being asked."""

    check: Check
    status: str
    """ok, warning, error or skipped"""
    findings: tuple[Problem, ...]


def results(errors: Iterable[Problem], warnings: Iterable[Problem], skipped: frozenset[str]) -> tuple[Result, ...]:
    """Sorts findings under their checks; a problem without an id is one of the topology. `skipped` names categories, or ids."""
    found: dict[str, list[tuple[str, Problem]]] = {}
    for severity, problems in ((ERROR, errors), (WARNING, warnings)):
        for problem in problems:
            found.setdefault(problem.id or "topology-valid", []).append((severity, problem))
    sorted_results = []
    for check in CHECKS:
        mine = found.get(check.id, [])
        severities = {severity for severity, _ in mine}
        status = next((s for s in (ERROR, WARNING) if s in severities), "skipped" if {check.category, check.id} & skipped else "ok")
        sorted_results.append(Result(check, status, tuple(sorted(problem for _, problem in mine))))
    return tuple(sorted_results)


def pending_findings(plan: Plan, broken: frozenset[tuple[str, str]]) -> list[Problem]:
    """What is pending, as findings; but not what is there and wrong."""
    document = plan.topology.document
    found = []
    for p in plan.pending:
        where = document.place("networks", p.subject) if p.kind == "gateway" else plan.members[p.subject].cluster.place
        known_wrong = (p.kind, p.subject) in broken or (p.kind == "token" and ("server", p.subject) in broken)
        if not known_wrong:
            found.append(Problem(where, f"{p.what} is not known, which holds back {p.holds_back}", f"run: {p.command}", f"{p.kind}-pending"))
    return found


def expiry_findings(pki: Pki, now: datetime, within: timedelta) -> list[Problem]:
    """Certificates that expire within a time."""
    found = [("root-cert.pem", c) for c in pki.roots]
    found += [(f"intermediate-{name}/ca-cert.pem", i.certificate) for name, i in pki.intermediates.items()]
    late = [] if pki.crl is None or pki.crl.until - now > within else [pki.crl.until]
    fix = "sign it anew with `kubectl mesh certs crl`, render and apply"
    return [Problem(Place("certs/ca-crl.pem"), f"is valid until {u:%Y-%m-%d}, for {(u - now).days} days", fix, "crl-expiring") for u in late] + [
        Problem(Place(f"certs/{name}"), f"expires on {c.not_after:%Y-%m-%d}, in {(c.not_after - now).days} days", RENEW, "certs-expiring")
        for name, c in found
        if c.not_after - now <= within
    ]


def token_findings(plan: Plan, now: datetime, within: timedelta | None, age: timedelta | None = None) -> tuple[list[Problem], list[Problem]]:
    """Tokens that have expired, or do within a time (without one: 30 days, as a warning), or are older than `age`: errors and warnings.

    One that never expires and says no date, as Kubernetes puts them into Secrets, is no finding.
    """
    errors: list[Problem] = []
    warnings: list[Problem] = []
    for member in plan.members.values():
        for peer, login in sorted(member.logins.items()):
            if peer in member.absent:
                continue
            text = login.get("token")
            said = claims(text) if isinstance(text, str) else None
            if said is None:
                continue
            where = Place(token_file(member.cluster, peer))
            fix = f"have a new one made, put it into {where.file} and render"
            if age is not None and said.issued is not None and now - said.issued > age:
                what = f"was made on {said.issued:%Y-%m-%d}, {(now - said.issued).days} days ago"
                errors.append(Problem(where, what, fix, "token-old"))
            if said.expires is None:
                continue
            left = said.expires - now
            if left <= timedelta():
                errors.append(Problem(where, f"expired on {said.expires:%Y-%m-%d}", fix, "token-expired"))
            elif left <= (within if within is not None else timedelta(days=30)):
                what = f"expires on {said.expires:%Y-%m-%d}, in {left.days} days"
                (errors if within is not None else warnings).append(Problem(where, what, fix, "token-expiring"))
    return errors, warnings


def tree_findings(changes: Sequence[FolderChange], made: bool, out: str, strangers: Sequence[str]) -> tuple[list[Problem], list[Problem]]:
    """What differs between the tree and a render: errors and warnings."""
    errors: list[Problem] = []
    warnings: list[Problem] = []
    if made:
        errors.append(Problem(Place("certs"), "certificates are missing that a render would make", "run `kubectl mesh render`", "tree-current"))
    for change in changes:
        base = f"{out}/{change.name}"
        edited = [c for c in change.changes if c.edited]
        errors += [
            Problem(
                Place(f"{base}/{c.path}"),
                "was deleted by hand" if c.action == "create" else "was edited by hand",
                "run `kubectl mesh render`, which makes it anew",
                "tree-edited",
            )
            for c in edited
        ]
        if change.action == "create":
            errors.append(Problem(Place(base), "is not rendered yet", "run `kubectl mesh render`", "tree-current"))
        elif change.action == "remove":
            errors.append(Problem(Place(base), "belongs to no cluster of the topology", "run `kubectl mesh render`, which removes it", "tree-current"))
        else:
            differs = [c.path for c in change.changes if c.action in ("create", "update", "remove") and not c.edited]
            if change.repaired:
                errors.append(Problem(Place(f"{base}/mesh.lock"), "cannot be read", "run `kubectl mesh render`, which makes it anew", "tree-current"))
            elif differs and not (edited and differs == ["mesh.lock"]):
                some = differs[0] + (f" and {len(differs) - 1} more" if len(differs) > 1 else "")
                errors.append(Problem(Place(base), f"is not what a render would make: {some} would change", "run `kubectl mesh render`", "tree-current"))
            loose = [c.path for c in change.changes if c.action == "tighten"]
            warnings += [
                Problem(Place(f"{base}/{path}"), "holds a secret, but others may read it", "run `kubectl mesh render`", "private-mode") for path in loose
            ]
        warnings += [
            Problem(Place(f"{base}/{one_line(path)}"), "is not of kubectl mesh's making", "move it elsewhere", "tree-foreign") for path in change.foreign
        ]
    warnings += [Problem(Place(f"{out}/{one_line(name)}"), "is not of kubectl mesh's making", "move it elsewhere", "tree-foreign") for name in strangers]
    return errors, warnings


def text(found: Sequence[Result], marks: tuple[str, str, str, str]) -> str:
    """The results for people; `marks` are those of ok, warning, error and skipped."""
    mark = dict(zip(("ok", "warning", "error", "skipped"), marks, strict=True))
    lines: list[str] = []
    category = ""
    for result in sorted(found, key=lambda r: _CATEGORIES.index(r.check.category)):
        if result.check.category != category:
            category = result.check.category
            lines += [*([""] if lines else []), category]
        if not result.findings:
            lines.append(f"  {mark[result.status]} {result.check.id}: {result.check.sentence}")
        for finding in result.findings:
            lines.append(f"  {mark[result.status]} {result.check.id}: " + str(finding).replace("\n", "\n    "))
    errors = sum(len(r.findings) for r in found if r.status == "error")
    warnings = sum(len(r.findings) for r in found if r.status == "warning")
    skipped = sum(r.status == "skipped" for r in found)
    ending = f"{count(errors, 'error')}, {count(warnings, 'warning')}"
    return "\n".join([*lines, "", ending + (f", {count(skipped, 'check')} skipped: not there yet, or for the errors above" if skipped else "")]) + "\n"


_CATEGORIES = list(dict.fromkeys(check.category for check in CHECKS))


def value(found: Sequence[Result]) -> dict[str, object]:
    """The results for programs; the schema is `report/check`."""
    return {
        "ok": all(r.status != "error" for r in found),
        "checks": [
            {
                "id": r.check.id,
                "category": r.check.category,
                "status": r.status,
                "sentence": r.check.sentence,
                "findings": [
                    {"file": p.where.file, "line": p.where.line, "column": p.where.column, "path": p.where.path, "what": p.what, "fix": p.fix}
                    for p in r.findings
                ],
            }
            for r in found
        ],
    }
