"""teardown: what stops, is deleted and is waited for when Istio leaves clusters, in order; every
command that prints such a list takes it from here.

What reconciles stops first, or everything comes back. Then the control plane goes, while what
uninstalls it still runs; then webhooks and other cluster-scoped objects, because a webhook without
an istiod blocks new pods; last the namespace. Custom resource definitions hold other people's
objects: they are in a list of their own.

Sources: Argo CD's docs/user-guide/app_deletion.md and controller/appcontroller.go (a cascade
deletes neither CRDs nor what says `Delete=false`); Flux's kustomization_controller.go (a
Kustomization that is deleted prunes by its inventory; without its source it applies nothing) and
helmrelease_controller.go (one that is deleted uninstalls its release); Sail's controllers (an Istio
owns its IstioRevisions, whose finalizer uninstalls istiod); Istio's operator/pkg/uninstall/prune.go
(`istioctl uninstall --purge` deletes CRDs too, so it is not used here).
"""

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kubectl_mesh.model import STAGES, Cluster, Topology

HUB = "  # where Argo CD runs"
"""What marks a command for the cluster of Argo CD, whose context is not known here."""
TIMEOUT = "--timeout=10m"
ARGOCD, FLUX = "argocd", "flux"
TOOLS = {ARGOCD: "Argo CD", FLUX: "Flux"}
"""The tools that delete by themselves what leaves the tree, as people call them."""
DIRECTORIES = {"_argocd": ARGOCD, "_flux": FLUX}
"""The tools by the directory of their objects."""
NAMESPACES = {ARGOCD: "argocd", FLUX: "flux-system"}
KUSTOMIZATIONS = "kustomizations.kustomize.toolkit.fluxcd.io"
APPLICATIONS = "applications.argoproj.io"
FINALIZER = json.dumps(
    {"metadata": {"finalizers": ["resources-finalizer.argocd.argoproj.io"]}}, separators=(",", ":")
)
"""By it Argo CD deletes what an Application installed before the Application itself."""
CONTROLLERS = {
    "sealed": "sealedsecrets.bitnami.com",
    "external": "externalsecrets.external-secrets.io",
}
"""By store what would create a Secret again, which goes with it."""
ISTIOCTL = (
    "deployments",
    "daemonsets",
    "services",
    "configmaps",
    "secrets",
    "serviceaccounts",
    "rolebindings",
    "roles",
    "poddisruptionbudgets",
)
WEBHOOKS = "mutatingwebhookconfigurations,validatingwebhookconfigurations"
ROLES = "clusterrolebindings,clusterroles"
COMPONENT = "operator.istio.io/component"
"""The label of everything that istioctl installs."""
OWN = "app.kubernetes.io/managed-by=kubectl-mesh"


@dataclass(frozen=True, slots=True)
class Tool:
    """What applies the tree: `kubectl`, `argocd` or `flux`, the namespace of its objects, and the
    mesh that they are named after.
    """

    name: str = "kubectl"
    namespace: str = ""
    mesh: str = ""


@dataclass(frozen=True, slots=True)
class Installation:
    """A cluster as far as its removal needs it; the revision "" is the default one."""

    name: str
    context: str
    namespace: str
    kind: str
    """The kind of base.yaml."""
    revisions: tuple[str, ...] = ("",)
    parts: tuple[str, ...] = ()
    """What the tree installs on its nodes: `cni`, `ztunnel`."""
    served: bool = False
    """It has no control plane of its own."""
    alerts: str = ""
    """The namespace of its alerts, where that is not Istio's."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A cluster that stays, and the remote secret by which it reads one that leaves."""

    name: str
    context: str
    namespace: str
    secret: str
    store: str = "plain"


@dataclass(frozen=True, slots=True)
class Command:
    """A command, the cluster that it is for, and the part of the list that it belongs to."""

    cluster: str
    text: str
    phase: str
    """`forget`, `stop`, `control-plane`, `cluster-scoped`, `namespace` or `definitions`."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """What leaves the tree but is in the clusters: the commands that delete it, those to run before
    the change is merged, and who deletes by itself.
    """

    commands: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    tool: str = ""
    """Argo CD or Flux; empty where nothing deletes by itself."""
    deletes: bool = False
    """The tool has something to delete."""


def tool_of(topology: Topology) -> Tool:
    """What applies the tree of a topology."""
    delivery = topology.delivery
    return Tool(
        delivery.tool, delivery.namespace or NAMESPACES.get(delivery.tool, ""), topology.mesh_id
    )


def installation_of(
    cluster: Cluster, topology: Topology, kind: str, parts: Iterable[str]
) -> Installation:
    """A cluster of the topology, whose base.yaml is of this kind and installs these parts on the
    nodes.
    """
    alerts = topology.alerts.namespace if topology.alerts is not None else None
    return Installation(
        cluster.name,
        cluster.context,
        cluster.namespace,
        kind,
        tuple(sorted({r.revision or "" for r in cluster.releases})),
        tuple(sorted(parts)),
        served=cluster.primary is not None,
        alerts=alerts if alerts is not None and alerts != cluster.namespace else "",
    )


def holder_of(cluster: Cluster, other: Cluster, topology: Topology) -> Holder:
    """A cluster of the topology that reads another."""
    store = (
        topology.store
        if topology.store in CONTROLLERS
        and not (topology.store == "external" and other.credential.way == "exec")
        else "plain"
    )
    return Holder(cluster.name, cluster.context, cluster.namespace, secret_name(other.name), store)


def secret_name(name: str) -> str:
    """The name of the remote secret of a cluster."""
    return f"istio-remote-secret-{name}"


def parent_name(name: str) -> str:
    """The Application of Argo CD above the stages of a cluster."""
    return f"{name}-stages"


def mesh_name(mesh: str) -> str:
    """The Application of Argo CD above all clusters."""
    return f"mesh-{mesh}"


def stage_name(name: str, stage: str) -> str:
    """The Application of Argo CD that applies a stage of a cluster."""
    return f"{name}-{stage}"


def kustomization_name(stage: str) -> str:
    """The Kustomization of Flux that applies a stage."""
    return f"mesh-{stage}"


def release_names(cluster: Installation) -> list[str]:
    """The names of all Helm releases that a cluster may have, what uses istiod first."""
    istiods = [f"istiod-{revision}" if revision else "istiod" for revision in cluster.revisions]
    nodes = [
        name
        for part, name in (("ztunnel", "ztunnel"), ("cni", "istio-cni"))
        if part in cluster.parts
    ]
    return ["istio-eastwestgateway", *nodes, *istiods, "istio-base"]


def list_commands(
    leaving: Sequence[Installation], holders: Sequence[Holder], tool: Tool, *, whole: bool
) -> list[Command]:
    """The commands that take Istio off clusters; `whole`: no other cluster of the mesh stays. Every
    list can be run again.
    """
    commands = [Command(holder.name, forget_peer(holder, tool), "forget") for holder in holders]
    # A cluster without a control plane of its own goes before the one that serves it.
    for number, cluster in enumerate(sorted(leaving, key=lambda c: (not c.served, c.name))):
        if number == 0 and whole and tool.name == ARGOCD:
            commands.append(
                Command(
                    cluster.name,
                    _hub(
                        tool,
                        "delete",
                        APPLICATIONS,
                        mesh_name(tool.mesh),
                        "--ignore-not-found",
                        TIMEOUT,
                    ),
                    "stop",
                )
            )
        commands += [
            Command(cluster.name, text, phase)
            for phase, text in _cluster_commands(cluster, tool, whole=whole)
        ]
    return commands


def list_definitions(leaving: Sequence[Installation]) -> list[Command]:
    """The commands that delete Istio's custom resource definitions, and every object of theirs with
    them.
    """
    found = []
    for cluster in leaving:
        get = _kubectl(cluster.context, "get", "customresourcedefinitions", "-o", "name")
        delete = _kubectl(cluster.context, "delete", "--ignore-not-found", TIMEOUT)
        found.append(
            Command(
                cluster.name,
                f"{get} | sed -n '/[.]istio[.]io$/p' | xargs -r {delete}",
                "definitions",
            )
        )
    return found


def forget_peer(holder: Holder, tool: Tool) -> str:
    """The command by which a cluster forgets a peer, or waits until its tool has deleted the remote
    secret.
    """
    if tool.name in TOOLS:
        wait = ("wait", "--for=delete", f"secret/{holder.secret}", TIMEOUT)
        return (
            _kubectl(holder.context, "-n", holder.namespace, *wait)
            + f"  # {TOOLS[tool.name]} deletes it"
        )
    kinds = f"{CONTROLLERS[holder.store]},secrets" if holder.store in CONTROLLERS else "secret"
    return _kubectl(
        holder.context, "-n", holder.namespace, "delete", kinds, holder.secret, "--ignore-not-found"
    )


def delete_object(
    context: str, kind: str, group: str, version: str, namespace: str, name: str
) -> list[str]:
    """The commands that delete one object of the tree, and what it installed."""
    if kind == "Application" and group == "argoproj.io":
        return list(_cascade(["kubectl", f"--context={context}"], namespace, [name]))
    words = [
        *(("-n", namespace) if namespace else ()),
        "delete",
        f"{kind.lower()}.{version}.{group}" if group else kind.lower(),
        name,
        "--ignore-not-found",
    ]
    return [_kubectl(context, *words)]


def delete_release(context: str, revision: str) -> list[str]:
    """The commands that delete one istiod that istioctl installed, as `istioctl uninstall
    --revision` does; what revisions share stays.
    """
    label = f"{COMPONENT}=Pilot,istio.io/rev={revision or 'default'}"
    namespaced = ",".join((*ISTIOCTL, "horizontalpodautoscalers"))
    return [
        _kubectl(
            context,
            "delete",
            namespaced,
            "--all-namespaces",
            "-l",
            label,
            "--ignore-not-found",
            TIMEOUT,
        ),
        _kubectl(context, "delete", f"{WEBHOOKS},{ROLES}", "-l", label, "--ignore-not-found"),
    ]


def set_finalizer(tool: Tool, names: Sequence[str]) -> str:
    """The command after which Argo CD deletes what these Applications installed together with
    them.
    """
    return _add_finalizer(["kubectl"], tool.namespace, names) + f"{HUB}; before you merge"


def _kubectl(context: str, *words: str) -> str:
    return shlex.join(["kubectl", f"--context={context}", *words])


def _hub(tool: Tool, *words: str) -> str:
    return shlex.join(["kubectl", "-n", tool.namespace, *words]) + HUB


def _add_finalizer(kubectl: Sequence[str], namespace: str, names: Sequence[str]) -> str:
    """Sets Argo CD's finalizer on those of the Applications that exist."""
    get = shlex.join(
        [*kubectl, "-n", namespace, "get", APPLICATIONS, *names, "--ignore-not-found", "-o", "name"]
    )
    patch = shlex.join([*kubectl, "-n", namespace, "patch", "--type=merge", "-p", FINALIZER])
    return f"{get} | xargs -r {patch}"


def _cascade(kubectl: Sequence[str], namespace: str, names: Sequence[str]) -> Iterator[str]:
    """Deletes Applications with what they installed."""
    yield _add_finalizer(kubectl, namespace, names)
    yield shlex.join(
        [*kubectl, "-n", namespace, "delete", APPLICATIONS, *names, "--ignore-not-found", TIMEOUT]
    )


def _cluster_commands(
    cluster: Installation, tool: Tool, *, whole: bool
) -> Iterator[tuple[str, str]]:
    """The commands for one cluster, each with its phase."""
    context, namespace = cluster.context, cluster.namespace
    if tool.name == ARGOCD:
        yield from _argocd(cluster, tool, whole=whole)
    elif tool.name == FLUX:
        yield from _flux(cluster, tool)
    else:
        if cluster.alerts:
            rule = (
                "-n",
                cluster.alerts,
                "delete",
                "prometheusrules.monitoring.coreos.com",
                "kubectl-mesh-expiry",
                "--ignore-not-found",
            )
            yield "control-plane", _kubectl(context, *rule)
        for text in _control_plane(cluster):
            yield "control-plane", text
    if cluster.kind in ("IstioOperator", "IstioControlPlane"):
        for kinds in (WEBHOOKS, ROLES):
            yield (
                "cluster-scoped",
                _kubectl(context, "delete", kinds, "-l", COMPONENT, "--ignore-not-found"),
            )
    else:
        label = (
            f"istio.io/rev in ({','.join(revision or 'default' for revision in cluster.revisions)})"
        )
        yield (
            "cluster-scoped",
            _kubectl(context, "delete", WEBHOOKS, "-l", label, "--ignore-not-found"),
        )
    if cluster.kind == "IstioControlPlane":
        # Galley creates it, and gives it no label.
        yield (
            "cluster-scoped",
            _kubectl(
                context,
                "delete",
                "validatingwebhookconfigurations",
                "istio-galley",
                "--ignore-not-found",
            ),
        )
    yield "cluster-scoped", _kubectl(context, "delete", ROLES, "-l", OWN, "--ignore-not-found")
    yield (
        "namespace",
        _kubectl(
            context, "delete", "namespace", namespace, "--wait", "--ignore-not-found", TIMEOUT
        ),
    )


def _control_plane(cluster: Installation) -> Iterator[str]:
    """The commands that uninstall a control plane while what installed it runs, and wait for
    that.
    """
    context, namespace = cluster.context, cluster.namespace
    last = ("--ignore-not-found", TIMEOUT)
    if cluster.kind == "Istio":
        if "ztunnel" in cluster.parts:
            yield _kubectl(context, "delete", "ztunnels.sailoperator.io", "default", *last)
        # The Istio itself has no finalizer: what it owns does.
        names = [revision or "default" for revision in cluster.revisions]
        yield _kubectl(
            context, "delete", "istios.sailoperator.io", *names, "--cascade=foreground", *last
        )
        if "cni" in cluster.parts:
            yield _kubectl(context, "delete", "istiocnis.sailoperator.io", "default", *last)
    elif cluster.kind == "HelmRelease":
        yield _kubectl(
            context,
            "-n",
            namespace,
            "delete",
            "helmreleases.helm.toolkit.fluxcd.io",
            *release_names(cluster),
            *last,
        )
    elif cluster.kind == "Application":
        names = [stage_name(cluster.name, release) for release in release_names(cluster)]
        yield from _cascade(["kubectl", f"--context={context}"], NAMESPACES[ARGOCD], names)
    elif cluster.kind == "IstioOperator":
        namespaced = ",".join((*ISTIOCTL, "horizontalpodautoscalers"))
        yield _kubectl(
            context,
            "delete",
            namespaced,
            "--all-namespaces",
            "-l",
            COMPONENT,
            "--cascade=foreground",
            *last,
        )
    else:
        # Only where an operator was installed its kind is known.
        crd = _kubectl(
            context,
            "get",
            "customresourcedefinitions",
            "istiocontrolplanes.install.istio.io",
            "--ignore-not-found",
            "-o",
            "name",
        )
        delete = _kubectl(
            context,
            "-n",
            "istio-operator",
            "delete",
            "istiocontrolplanes.install.istio.io",
            "default",
            *last,
        )
        yield f'if [ -n "$({crd})" ]; then {delete}; fi'
        # While Galley and the injector run, they create their webhooks again.
        yield _kubectl(
            context,
            "-n",
            namespace,
            "delete",
            "deployments",
            "istio-galley",
            "istio-sidecar-injector",
            "--cascade=foreground",
            *last,
        )


def _argocd(cluster: Installation, tool: Tool, *, whole: bool) -> Iterator[tuple[str, str]]:
    """From top to bottom, so that no Application creates another again; each stage with what it
    applied, the last stage first.
    """
    parent = parent_name(cluster.name)
    trust, plane, mesh = (stage_name(cluster.name, stage) for stage in STAGES)
    last = ("--ignore-not-found", TIMEOUT)
    if whole:
        yield "stop", _hub(tool, "delete", APPLICATIONS, parent, *last)
    else:
        why = f"; it deletes this once the tree without {cluster.name} is merged"
        yield "stop", _hub(tool, "wait", "--for=delete", f"{APPLICATIONS}/{parent}", TIMEOUT) + why
    charts = [stage_name(cluster.name, release) for release in release_names(cluster)]
    for text in _cascade(["kubectl"], tool.namespace, [mesh]):
        yield "control-plane", text + HUB
    if cluster.kind == "Application":
        # The finalizers before the Application above goes: nothing of a chart may be left without
        # its Application.
        yield "control-plane", _add_finalizer(["kubectl"], tool.namespace, charts) + HUB
        yield "stop", _hub(tool, "delete", APPLICATIONS, plane, *last)
        yield "control-plane", _hub(tool, "delete", APPLICATIONS, *charts, *last)
    else:
        for text in _cascade(["kubectl"], tool.namespace, [plane]):
            yield "control-plane", text + HUB
        for text in _control_plane(cluster):
            yield "control-plane", text
    yield "stop", _hub(tool, "delete", APPLICATIONS, trust, *last)


def _flux(cluster: Installation, tool: Tool) -> Iterator[tuple[str, str]]:
    """The source first: without it nothing is applied again. A Kustomization that is deleted
    deletes what it applied.
    """
    context, last = cluster.context, ("--ignore-not-found", TIMEOUT)
    trust, plane, mesh = (kustomization_name(stage) for stage in STAGES)
    yield (
        "stop",
        _kubectl(
            context,
            "-n",
            tool.namespace,
            "delete",
            "gitrepositories.source.toolkit.fluxcd.io",
            "mesh",
            *last,
        ),
    )
    yield "stop", _kubectl(context, "-n", tool.namespace, "delete", KUSTOMIZATIONS, mesh, *last)
    for text in _control_plane(cluster):
        yield "control-plane", text
    yield (
        "stop",
        _kubectl(context, "-n", tool.namespace, "delete", KUSTOMIZATIONS, plane, trust, *last),
    )
