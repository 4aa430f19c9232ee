"""What the commands that uninstall control planes have in common."""

from kubectl_mesh.delivery.removal import LAST, Installation, kubectl_command

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
"""The kinds of namespaced objects that istioctl installs."""
WEBHOOKS = "mutatingwebhookconfigurations,validatingwebhookconfigurations"
ROLES = "clusterrolebindings,clusterroles"
COMPONENT = "operator.istio.io/component"
"""The label of everything that istioctl installs."""


def release_names(cluster: Installation) -> list[str]:
    """The names of all Helm releases that a cluster may have, what uses istiod first."""
    istiods = [f"istiod-{revision}" if revision else "istiod" for revision in cluster.revisions]
    nodes = [
        name
        for part, name in (("ztunnel", "ztunnel"), ("cni", "istio-cni"))
        if part in cluster.parts
    ]
    return ["istio-eastwestgateway", *nodes, *istiods, "istio-base"]


def revision_webhooks_command(cluster: Installation) -> str:
    """The command that deletes the webhooks of all revisions of a cluster."""
    revisions = ",".join(revision or "default" for revision in cluster.revisions)
    label = f"istio.io/rev in ({revisions})"
    return kubectl_command(cluster.context, "delete", WEBHOOKS, "-l", label, "--ignore-not-found")


def component_commands(cluster: Installation) -> tuple[str, ...]:
    """The commands that delete the cluster-scoped objects of istioctl."""
    return tuple(
        kubectl_command(cluster.context, "delete", kinds, "-l", COMPONENT, "--ignore-not-found")
        for kinds in (WEBHOOKS, ROLES)
    )


def components_command(cluster: Installation) -> str:
    """The command that deletes the namespaced objects of istioctl."""
    namespaced = ",".join((*ISTIOCTL, "horizontalpodautoscalers"))
    words = ("--all-namespaces", "-l", COMPONENT, "--cascade=foreground", *LAST)
    return kubectl_command(cluster.context, "delete", namespaced, *words)
