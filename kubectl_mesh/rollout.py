"""rollout: what running clusters do with certificates that change, by version, and the commands that help them; text for people."""

import shlex
from collections.abc import Iterator, Sequence

from kubectl_mesh import versions
from kubectl_mesh.errors import Problem
from kubectl_mesh.model import STAGES, Cluster, FolderChange, Plan
from kubectl_mesh.plan import kubectl

OLD = "IstioControlPlane"
"""The kind of base.yaml whose clusters run Istio 1.4, Citadel among it."""


def minor(cluster: Cluster, kind: str) -> int:
    """The oldest minor of Istio that runs in a cluster."""
    return versions.OLDEST if kind == OLD else min(versions.minor(r.version) for r in cluster.releases)


def restart_istiod(cluster: Cluster, kind: str) -> str:
    """The command that restarts what signs in a cluster."""
    what = ("deployment", "istio-citadel") if minor(cluster, kind) < versions.ISTIOD else ("deployment", "-l", "app=istiod")
    return kubectl(cluster, "-n", cluster.namespace, "rollout", "restart", *what)


def renewed(clusters: Sequence[Cluster], kind: str) -> Iterator[str]:
    """What clusters do with new intermediates under the root that they trust already."""
    groups: dict[str, list[Cluster]] = {}
    for cluster in clusters:
        number = minor(cluster, kind)
        does = "reload" if number >= versions.RELOAD else "citadel" if number < versions.ISTIOD else "restart"
        groups.setdefault(does, []).append(cluster)
    for does, members in sorted(groups.items()):
        names = ", ".join(c.name for c in members)
        if does == "reload":
            yield f"{names}: istiod reads it by itself, about a minute after it is applied"
        else:
            what = "Citadel reads it when it starts" if does == "citadel" else f"istiod reads it when it starts (by itself from 1.{versions.RELOAD} on)"
            yield f"{names}: {what}; once it is applied, run"
            yield from (f"  {restart_istiod(cluster, kind)}" for cluster in members)
    if groups:
        yield "Workloads keep the certificates that they have until these are due; old and new ones lead to roots that all trust."


BY_HAND = "and put it into the store: `kubectl mesh certs export --to FOLDER` writes what belongs there"
"""What is to be done where a store of the user's holds the CA material."""


_APPLIED = ("token", "next-token", "address", "gateway")
"""What is pending until a cluster has what is rendered."""


def apply(plan: Plan, changes: Sequence[FolderChange], out: str) -> str:
    """What comes after a render that changed something."""
    kinds = {p.kind for p in plan.pending}
    if kinds and not kinds & {*_APPLIED}:
        return "next: get what is pending by the commands above, then kubectl mesh render"
    after = _advance(sorted({p.subject for p in plan.pending})) if kinds == {"next-token"} else "kubectl mesh render"
    return _review(plan, changes, out) + (f"\nthen: get what is pending by the commands above, and {after}" if kinds else "")


def _advance(names: Sequence[str]) -> str:
    return f"kubectl mesh tokens rotate {names[0]} advance" + (f"; and the same for {len(names) - 1} more" if len(names) > 1 else "")


def _review(plan: Plan, changes: Sequence[FolderChange], out: str) -> str:
    tool = {"argocd": "Argo CD", "flux": "Flux"}.get(plan.topology.delivery.tool)
    if tool is not None:
        return f"next: review {out}, commit and push it; {tool} applies it"
    there = [c.name for c in changes if c.action not in ("identical", "remove", "tighten") and c.name in plan.members]
    if plan.topology.store == "sops" or not there:
        return f"next: review {out}, and apply it as docs/{'stores' if there else 'kubectl'}.md tells"
    # What is new starts by its CA; what was there takes all at once.
    created = [c.name for c in changes if c.action == "create" and c.name in plan.members]
    name = (created or there)[0]
    member = plan.members[name]
    first = kubectl(member.cluster, "apply", "-k", f"{out}/{name}" + (f"/{STAGES[0]}" if created else ""))
    stages = f", then {' and '.join(member.stages[1:])} (docs/kubectl.md)" if created and member.stages[1:] else ""
    return f"next: review {out}, and apply it: {first}{stages}{f'; and the same for {len(there) - 1} more' if len(there) > 1 else ''}"


# The rotation of a root; what its steps mean is in `barriers`


def one_root(clusters: Sequence[Cluster]) -> list[Problem]:
    """The clusters whose istiod gives the proxies one root of a bundle only (Istio's issue 55793), or may."""
    return [
        Problem(
            c.place,
            f"runs Istio {r.version}, and 1.25.1 gives the proxies one root of a bundle only (Istio's issue 55793)",
            "bring it to another release first; 1.25.0 and 1.25.2 are" + (", and state which of 1.25 it is" if r.version == "1.25" else ""),
            "istio-version",
        )
        for c in clusters
        for r in c.releases
        if versions.has_fault(r.version, "one-root")
    ]


def by_restart(clusters: Sequence[Cluster], kind: str, *, ambient: bool) -> list[Cluster]:
    """The clusters that take another bundle of roots only when something restarts."""
    return [c for c in clusters if ambient or minor(c, kind) < versions.ROOTS]


def hours(seconds: float) -> str:
    """A time to wait, in whole hours: never less."""
    return f"{-int(-seconds // 3600)}h"


def restarts(step: str, clusters: Sequence[Cluster], kind: str, *, ambient: bool) -> Iterator[str]:
    """What has to be restarted in each cluster once a step is applied there, in this order."""
    for cluster in by_restart(clusters, kind, ambient=ambient):
        number = minor(cluster, kind)
        if number < versions.ROOTS:
            yield restart_istiod(cluster, kind)
            signs = "citadel" if number < versions.ISTIOD else "istiod"
            yield kubectl(
                cluster, "-n", cluster.namespace, "rollout", "status", "deployment", *(["istio-citadel"] if signs == "citadel" else ["-l", "app=istiod"])
            )
        if number < versions.ISTIOD and step.startswith("sign"):
            yield kubectl(cluster, "delete", "secret", "--all-namespaces", "--field-selector", "type=istio.io/key-and-cert")
        if ambient:
            yield kubectl(cluster, "-n", cluster.namespace, "rollout", "restart", "daemonset", "ztunnel")


_PROXIES = r"""jq -r '.items[] | select(any(.spec | .containers[], .initContainers[]?; .name=="istio-proxy")).metadata | "\(.name).\(.namespace)"'"""
"""Every pod with a proxy in it, by its container: gateways do not have the label `security.istio.io/tlsMode`, which injection gives to workloads."""


def seen(step: str, clusters: Sequence[Cluster], kind: str, certs: str, *, ambient: bool) -> Iterator[str]:
    """A shell function, and a call of it per cluster, that names every workload which does not have a step yet."""
    if ambient:
        # ztunnel gets its roots with each certificate, so a new certificate proves new roots.
        for cluster in clusters:
            yield shlex.join(["istioctl", f"--context={cluster.context}", "ztunnel-config", "certificates"])
        return
    certs = shlex.quote(certs)
    old = any(minor(c, kind) < versions.ISTIOD for c in clusters)
    if old:
        part, file = ("cert-chain.pem", f"{certs}/intermediate-$2/cert-chain.pem") if step.startswith("sign") else ("root-cert.pem", f"{certs}/root-cert.pem")
        skip = " | sed 1,/-END/d" if step.startswith("sign") else ""
        listed = "'go-template={{range .items}}{{.metadata.namespace}}/{{.metadata.name}} {{end}}'"
        yield f"seen() {{ for s in $(kubectl --context=$1 get secret -A --field-selector type=istio.io/key-and-cert -o {listed}); do"
        value = f"'go-template={{{{index .data \"{part}\" | base64decode}}}}'"
        yield f'  kubectl --context=$1 -n ${{s%/*}} get secret ${{s#*/}} -o {value}{skip} | diff -q - {file} > /dev/null || echo "$1 $s: not yet"; done; }}'
    else:
        select, file, skip = ("ROOTCA", f"{certs}/root-cert.pem", "")
        field = ".secret.validationContext.trustedCa.inlineBytes"
        if step.startswith("sign"):
            select, file, skip = "default", f"{certs}/intermediate-$2/cert-chain.pem", " | sed 1,/-END/d"
            field = ".secret.tlsCertificate.certificateChain.inlineBytes"
        yield "seen() { for p in $(kubectl --context=$1 get pods -A --field-selector=status.phase=Running -o json \\"
        yield f"    | {_PROXIES}); do"
        yield f"  istioctl --context=$1 proxy-config secret $p -o json | jq -r '.dynamicActiveSecrets[] | select(.name==\"{select}\"){field}' \\"
        yield f'    | base64 -d{skip} | diff -q - {file} > /dev/null || echo "$1 $p: not yet"; done; }}'
    for cluster in clusters:
        yield f"seen {shlex.quote(cluster.context)} {(cluster.primary or cluster.name) if step.startswith('sign') else cluster.name}"
