"""rollout: what running clusters do with certificates that change, by version, and the commands
that help them; text for people.
"""

import shlex
from collections.abc import Iterator, Sequence

from kubectl_mesh.delivery import delivery_of
from kubectl_mesh.delivery.delivery import Delivery
from kubectl_mesh.errors import Problem
from kubectl_mesh.istio import versions
from kubectl_mesh.model import STAGES, Cluster, FolderChange, Plan
from kubectl_mesh.model.commands import cluster_command
from kubectl_mesh.stores import store_of
from kubectl_mesh.targets import OLD
from kubectl_mesh.targets.istiooperator import EAST_WEST, IstioOperator
from kubectl_mesh.text import mesh_command


def oldest_minor(cluster: Cluster, kind: str) -> int:
    """The oldest minor of Istio that runs in a cluster."""
    return (
        versions.OLDEST_MINOR
        if kind == OLD
        else min(versions.minor_version(r.version) for r in cluster.releases)
    )


def restart_istiod_command(cluster: Cluster, kind: str) -> str:
    """The command that restarts what signs in a cluster."""
    what = (
        ("deployment", "istio-citadel")
        if oldest_minor(cluster, kind) < versions.SINCE_ISTIOD
        else ("deployment", "-l", "app=istiod")
    )
    return cluster_command(cluster, "-n", cluster.namespace, "rollout", "restart", *what)


def renewal_lines(clusters: Sequence[Cluster], kind: str) -> Iterator[str]:
    """What clusters do with new intermediates under the root that they trust already."""
    groups: dict[str, list[Cluster]] = {}
    for cluster in clusters:
        number = oldest_minor(cluster, kind)
        does = (
            "reload"
            if number >= versions.SINCE_RELOAD
            else "citadel"
            if number < versions.SINCE_ISTIOD
            else "restart"
        )
        groups.setdefault(does, []).append(cluster)
    for does, members in sorted(groups.items()):
        names = ", ".join(c.name for c in members)
        if does == "reload":
            yield f"{names}: istiod reads it by itself, about a minute after it is applied"
        else:
            what = (
                "Citadel reads it when it starts"
                if does == "citadel"
                else f"istiod reads it when it starts (by itself from 1.{versions.SINCE_RELOAD} on)"
            )
            yield f"{names}: {what}; once it is applied, run"
            yield from (f"  {restart_istiod_command(cluster, kind)}" for cluster in members)
    if groups:
        yield (
            "Workloads keep the certificates that they have until these are due; old and new ones"
            " lead to roots that all trust."
        )


MANUAL_STORE_STEP = (
    f"and put it into the store: `{mesh_command('certs export --to FOLDER')}` writes what belongs"
    " there"
)
"""The manual step if an external store holds the CA material."""


_PENDING_UNTIL_APPLIED = ("token", "next-token", "address", "gateway")
"""What is pending until a cluster has what is rendered."""


def next_step_text(plan: Plan, changes: Sequence[FolderChange], out: str, kind: str) -> str:
    """What comes after a render that changed something; `kind` is that of base.yaml."""
    kinds = {p.kind for p in plan.pending}
    if kinds and not kinds & {*_PENDING_UNTIL_APPLIED}:
        return f"next: get what is pending by the commands above, then {mesh_command('render')}"
    after = (
        _advance_command(sorted({p.subject for p in plan.pending}))
        if kinds == {"next-token"}
        else mesh_command("render")
    )
    return _apply_text(plan, changes, out, kind) + (
        f"\nthen: get what is pending by the commands above, and {after}" if kinds else ""
    )


def _advance_command(names: Sequence[str]) -> str:
    return mesh_command(f"tokens rotate {names[0]} advance") + (
        f"; and the same for {len(names) - 1} more" if len(names) > 1 else ""
    )


def _apply_text(plan: Plan, changes: Sequence[FolderChange], out: str, kind: str) -> str:
    delivery = delivery_of(plan.topology)
    if delivery.RECONCILES:
        return _push_text(delivery, plan, changes, out)
    there = [
        c
        for c in changes
        if c.action not in ("identical", "remove", "tighten") and c.name in plan.members
    ]
    if store_of(plan.topology).NEEDS_DECRYPTION or not there:
        return (
            f"next: review {out}, and apply it as docs/{'stores' if there else 'kubectl'}.md tells"
        )
    # What is new starts by its CA; what was there takes all at once.
    created = [c for c in there if c.action == "create"]
    change = (created or there)[0]
    member = plan.members[change.name]
    more = f"; and the same for {len(there) - 1} more" if len(there) > 1 else ""
    first = cluster_command(
        member.cluster, "apply", "-k", f"{out}/{change.name}" + (f"/{STAGES[0]}" if created else "")
    )
    steps = _istioctl_commands(member.cluster, change, f"{out}/{change.name}", kind)
    if not steps:
        stages = (
            f", then {' and '.join(member.stages[1:])} (docs/kubectl.md)"
            if created and member.stages[1:]
            else ""
        )
        return f"next: review {out}, and apply it: {first}{stages}{more}"
    if created:
        steps = [
            first,
            *steps,
            *(
                cluster_command(member.cluster, "apply", "-k", f"{out}/{change.name}/{stage}")
                for stage in member.stages[2:]
            ),
        ]
    else:
        steps.append(first)
    return f"next: review {out}, and apply it, as here for {change.name}{more}:\n" + "\n".join(
        f"  {step}" for step in steps
    )


def _push_text(delivery: Delivery, plan: Plan, changes: Sequence[FolderChange], out: str) -> str:
    created = {
        f.path
        for c in changes
        if c.name == delivery.DIRECTORY
        for f in c.changes
        if f.action == "create"
    }
    return "\n".join(
        (
            *delivery.first_apply_lines(plan, out, created),
            f"next: review {out}, commit and push it; {delivery.TITLE} applies it",
        )
    )


def _istioctl_commands(cluster: Cluster, change: FolderChange, folder: str, kind: str) -> list[str]:
    """The commands that apply what changes of a control plane which nothing in a cluster reads; the
    control plane before its gateway.
    """
    if kind not in (OLD, IstioOperator.KIND):
        return []
    verb = (
        ("manifest", "apply")
        if oldest_minor(cluster, kind) <= versions.SINCE_ISTIOD
        else ("install", "-y")
    )
    files = [
        f.path
        for f in change.changes
        if f.action in ("create", "update")
        and f.path.startswith(f"{STAGES[1]}/")
        and not f.path.endswith("kustomization.yaml")
    ]
    files.sort(key=lambda path: (path.endswith(f"/{EAST_WEST}.yaml"), path))
    return [
        shlex.join(["istioctl", f"--context={cluster.context}", *verb, "-f", f"{folder}/{path}"])
        for path in files
    ]


# The rotation of a root; what its steps mean is in `rotation_steps`


def one_root_problems(clusters: Sequence[Cluster]) -> list[Problem]:
    """The clusters whose istiod gives the proxies one root of a bundle only (Istio's issue 55793),
    or may.
    """
    return [
        Problem(
            c.place,
            f"runs Istio {r.version}, and 1.25.1 gives the proxies one root of a bundle only"
            " (Istio's issue 55793)",
            "bring it to another release first; 1.25.0 and 1.25.2 are"
            + (", and state which of 1.25 it is" if r.version == "1.25" else ""),
            "istio-version",
            code="istio-hands-out-one-root",
        )
        for c in clusters
        for r in c.releases
        if versions.has_fault(r.version, "one-root")
    ]


def find_clusters_to_restart(
    clusters: Sequence[Cluster], kind: str, *, ambient: bool
) -> list[Cluster]:
    """The clusters that take another bundle of roots only when something restarts."""
    return [c for c in clusters if ambient or oldest_minor(c, kind) < versions.SINCE_ROOTS]


def hours_text(seconds: float) -> str:
    """A time to wait, in whole hours: never less."""
    return f"{-int(-seconds // 3600)}h"


def restart_commands(
    step: str, clusters: Sequence[Cluster], kind: str, *, ambient: bool
) -> Iterator[str]:
    """What has to be restarted in each cluster once a step is applied there, in this order."""
    for cluster in find_clusters_to_restart(clusters, kind, ambient=ambient):
        number = oldest_minor(cluster, kind)
        if number < versions.SINCE_ROOTS:
            yield restart_istiod_command(cluster, kind)
            signs = "citadel" if number < versions.SINCE_ISTIOD else "istiod"
            yield cluster_command(
                cluster,
                "-n",
                cluster.namespace,
                "rollout",
                "status",
                "deployment",
                *(["istio-citadel"] if signs == "citadel" else ["-l", "app=istiod"]),
            )
        if number < versions.SINCE_ISTIOD and step.startswith("sign"):
            yield cluster_command(
                cluster,
                "delete",
                "secret",
                "--all-namespaces",
                "--field-selector",
                "type=istio.io/key-and-cert",
            )
        if ambient:
            yield cluster_command(
                cluster, "-n", cluster.namespace, "rollout", "restart", "daemonset", "ztunnel"
            )


_PROXY_FILTER = (
    "jq -r '.items[] | select(any(.spec | .containers[], .initContainers[]?;"
    r""" .name=="istio-proxy")).metadata | "\(.name).\(.namespace)"'"""
)
"""Every pod with a proxy in it, by its container: gateways do not have the label
`security.istio.io/tlsMode`, which injection gives to workloads.
"""
_FINGERPRINT_FUNCTION = (
    'fingerprints() { awk \'/BEGIN CERTIFICATE/ { pem = "" } { pem = pem $0 "\\n" }',
    (
        '    /END CERTIFICATE/ { openssl = "openssl x509 -noout -fingerprint -sha256"; printf "%s",'
        " pem | openssl; close(openssl) }' \\"
    ),
    "  | sed 's/.*=//; s/://g' | tr A-F a-f; }",
)
"""A shell function that prints the SHA-256 fingerprint of every certificate in a PEM text, as
`certs status` shows it.

Bytes cannot be compared: istiod flattens cert-chain.pem and appends all of root-cert.pem to it; the
agent sorts the roots, merges those of `meshConfig.caCertificates` into them and drops the last
newline (Istio's security/pkg/server/ca/server.go and security/pkg/nodeagent/cache/secretcache.go).
"""


def rollout_check_lines(
    step: str,
    clusters: Sequence[Cluster],
    kind: str,
    certs: str,
    *,
    removed_roots: Sequence[str],
    ambient: bool,
) -> Iterator[str]:
    """Shell functions, and a call per cluster, that name every workload which does not have a step
    yet.

    `gone` are the fingerprints of the roots that no workload may trust any more at the step.
    """
    if ambient:
        # ztunnel gets its roots with each certificate, so a new certificate proves new roots.
        for cluster in clusters:
            yield shlex.join(
                ["istioctl", f"--context={cluster.context}", "ztunnel-config", "certificates"]
            )
        return
    certs, signs = shlex.quote(certs), step.startswith("sign")
    file = f"{certs}/intermediate-$2/ca-cert.pem" if signs else f"{certs}/root-cert.pem"
    yield from _FINGERPRINT_FUNCTION
    # Without a certificate to look for, silence would look like the answer.
    yield (
        f"seen() {{ want=$(fingerprints < {file});"
        f""" [ -n "$want" ] || {{ echo "$1: no certificate in" {file}; return 1; }}"""
    )
    is_citadel = any(oldest_minor(c, kind) < versions.SINCE_ISTIOD for c in clusters)
    yield from _secret_loop_lines(signs=signs) if is_citadel else _proxy_loop_lines(signs=signs)
    lacks = """[ -n "$(echo "$want" | grep -vxF "$have")" ]"""
    if removed_roots:
        lacks += (
            f""" || echo "$have" | grep -qxF {" ".join(f"-e {mark}" for mark in removed_roots)}"""
        )
    yield f"""    if {lacks}; then echo "$1 $w: not yet"; fi; done; }}"""
    for cluster in clusters:
        yield (
            f"seen {shlex.quote(cluster.context)}"
            f" {(cluster.primary or cluster.name) if signs else cluster.name}"
        )


def _secret_loop_lines(*, signs: bool) -> Iterator[str]:
    """The head of a loop over the certificates that Citadel made: `w` is one, `have` what it has of
    the signer or of the roots.
    """
    part = "cert-chain.pem" if signs else "root-cert.pem"
    listed = "'go-template={{range .items}}{{.metadata.namespace}}/{{.metadata.name}} {{end}}'"
    value = f"'go-template={{{{index .data \"{part}\" | base64decode}}}}'"
    yield (
        "  for w in $(kubectl --context=$1 get secret -A --field-selector"
        f" type=istio.io/key-and-cert -o {listed}); do"
    )
    yield (
        f"    have=$(kubectl --context=$1 -n ${{w%/*}} get secret ${{w#*/}} -o {value} |"
        " fingerprints)"
    )


def _proxy_loop_lines(*, signs: bool) -> Iterator[str]:
    """The head of a loop over the proxies: `w` is one, `have` what it has of the signer or of the
    roots.
    """
    name = "default" if signs else "ROOTCA"
    field = ".tlsCertificate.certificateChain" if signs else ".validationContext.trustedCa"
    yield (
        "  for w in $(kubectl --context=$1 get pods -A --field-selector=status.phase=Running -o"
        " json \\"
    )
    yield f"      | {_PROXY_FILTER}); do"
    yield "    have=$(istioctl --context=$1 proxy-config secret $w -o json \\"
    yield (
        "      | jq -r '.dynamicActiveSecrets[] |"
        f' select(.name=="{name}").secret{field}.inlineBytes\' | base64 -d | fingerprints)'
    )
