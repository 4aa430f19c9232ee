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

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kubectl_mesh.delivery import TOOLS
from kubectl_mesh.delivery.removal import (
    HUB,
    TIMEOUT,
    Installation,
    Tool,
    cascade_commands,
    finalizer_command,
    kubectl_command,
)
from kubectl_mesh.model import Cluster, Topology
from kubectl_mesh.stores import STORES
from kubectl_mesh.targets import KINDS, OLD
from kubectl_mesh.targets.uninstall import (
    COMPONENT,
    ISTIOCTL,
    ROLES,
    WEBHOOKS,
    revision_webhooks_command,
)

OWN = "app.kubernetes.io/managed-by=kubectl-mesh"


@dataclass(frozen=True, slots=True)
class Holder:
    """A cluster that stays, and the remote secret by which it reads one that leaves."""

    name: str
    context: str
    namespace: str
    secret: str
    controller: str = ""
    """The resource that would create the secret again; empty: nothing would."""


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
    controller = STORES[topology.store].remote_secret_controller(other)
    return Holder(
        cluster.name, cluster.context, cluster.namespace, secret_name(other.name), controller
    )


def secret_name(name: str) -> str:
    """The name of the remote secret of a cluster."""
    return f"istio-remote-secret-{name}"


def list_commands(
    leaving: Sequence[Installation], holders: Sequence[Holder], tool: Tool, *, whole: bool
) -> list[Command]:
    """The commands that take Istio off clusters; `whole`: no other cluster of the mesh stays. Every
    list can be run again.
    """
    commands = [
        Command(holder.name, delete_remote_secret_command(holder, tool), "forget")
        for holder in holders
    ]
    # A cluster without a control plane of its own goes before the one that serves it.
    for number, cluster in enumerate(sorted(leaving, key=lambda c: (not c.served, c.name))):
        if number == 0 and whole:
            commands += [
                Command(cluster.name, text, "stop")
                for text in TOOLS[tool.name].first_removal_commands(tool)
            ]
        commands += [
            Command(cluster.name, text, phase)
            for phase, text in _cluster_commands(cluster, tool, whole=whole)
        ]
    return commands


def _cluster_commands(
    cluster: Installation, tool: Tool, *, whole: bool
) -> Iterator[tuple[str, str]]:
    """The commands for one cluster, each with its phase."""
    target = KINDS.get(cluster.kind)
    plane = (target or KINDS[OLD]).plane_removal(cluster)
    yield from TOOLS[tool.name].removal_commands(cluster, tool, plane, whole=whole)
    webhooks = (
        target.webhook_commands(cluster)
        if target is not None
        else (revision_webhooks_command(cluster),)
    )
    for text in webhooks:
        yield "cluster-scoped", text
    context = cluster.context
    roles = kubectl_command(context, "delete", ROLES, "-l", OWN, "--ignore-not-found")
    yield "cluster-scoped", roles
    last = ("--wait", "--ignore-not-found", TIMEOUT)
    yield "namespace", kubectl_command(context, "delete", "namespace", cluster.namespace, *last)


def list_definitions(leaving: Sequence[Installation]) -> list[Command]:
    """The commands that delete Istio's custom resource definitions, and every object of theirs with
    them.
    """
    found = []
    for cluster in leaving:
        get = kubectl_command(cluster.context, "get", "customresourcedefinitions", "-o", "name")
        delete = kubectl_command(cluster.context, "delete", "--ignore-not-found", TIMEOUT)
        found.append(
            Command(
                cluster.name,
                f"{get} | sed -n '/[.]istio[.]io$/p' | xargs -r {delete}",
                "definitions",
            )
        )
    return found


def delete_remote_secret_command(holder: Holder, tool: Tool) -> str:
    """The command by which a cluster forgets a peer, or waits until its tool has deleted the remote
    secret.
    """
    place = (holder.context, "-n", holder.namespace)
    delivery = TOOLS[tool.name]
    if delivery.RECONCILES:
        wait = ("wait", "--for=delete", f"secret/{holder.secret}", TIMEOUT)
        return f"{kubectl_command(*place, *wait)}  # {delivery.TITLE} deletes it"
    kinds = f"{holder.controller},secrets" if holder.controller else "secret"
    return kubectl_command(*place, "delete", kinds, holder.secret, "--ignore-not-found")


def object_delete_commands(
    context: str, kind: str, group: str, version: str, namespace: str, name: str
) -> list[str]:
    """The commands that delete one object of the tree, and what it installed."""
    if kind == "Application" and group == "argoproj.io":
        return list(cascade_commands(["kubectl", f"--context={context}"], namespace, [name]))
    words = [
        *(("-n", namespace) if namespace else ()),
        "delete",
        f"{kind.lower()}.{version}.{group}" if group else kind.lower(),
        name,
        "--ignore-not-found",
    ]
    return [kubectl_command(context, *words)]


def release_delete_commands(context: str, revision: str) -> list[str]:
    """The commands that delete one istiod that istioctl installed, as `istioctl uninstall
    --revision` does; what revisions share stays.
    """
    label = f"{COMPONENT}=Pilot,istio.io/rev={revision or 'default'}"
    namespaced = ",".join((*ISTIOCTL, "horizontalpodautoscalers"))
    return [
        kubectl_command(
            context,
            "delete",
            namespaced,
            "--all-namespaces",
            "-l",
            label,
            "--ignore-not-found",
            TIMEOUT,
        ),
        kubectl_command(
            context, "delete", f"{WEBHOOKS},{ROLES}", "-l", label, "--ignore-not-found"
        ),
    ]


def set_finalizer_command(tool: Tool, names: Sequence[str]) -> str:
    """The command after which Argo CD deletes what these Applications installed together with
    them.
    """
    return finalizer_command(["kubectl"], tool.namespace, names) + f"{HUB}; before you merge"
