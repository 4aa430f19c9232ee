"""Flux: for each cluster the repository of the tree, and a Kustomization per stage, each waiting
for the one before (kustomize.toolkit.fluxcd.io/v1).
"""

from kubectl_mesh.delivery.teardown import FLUX, NAMESPACES, kustomization_name
from kubectl_mesh.model import STAGES, Member, Plan
from kubectl_mesh.model.git_url import flux_url
from kubectl_mesh.yaml_io.manifest import document

DIRECTORY = "_flux"
SOURCE = "mesh"
IDENTITY = "sops-age"
"""The Secret with the age identity of a cluster, beside the Kustomizations."""

MAKERS = {
    "cert-manager": ("cert-manager.io/v1", "Certificate", "Ready"),
    "external": ("external-secrets.io/v1", "ExternalSecret", "Ready"),
    "sealed": ("bitnami.com/v1alpha1", "SealedSecret", "Synced"),
}
"""By issuer or store what makes `cacerts` in the cluster, and the condition that says it is there.
"""


def files(plan: Plan, *, hub: bool) -> dict[str, str]:
    """The objects by path, a folder per cluster."""
    delivery = plan.topology.delivery
    namespace = delivery.namespace or NAMESPACES[FLUX]
    made: dict[str, str] = {}
    repository = document(
        {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "GitRepository",
            "metadata": {"name": SOURCE, "namespace": namespace},
            "spec": {
                "interval": "1m",
                "ref": {"branch": delivery.revision or "main"},
                **({"secretRef": {"name": delivery.secret}} if delivery.secret is not None else {}),
                "url": flux_url(delivery.repo or ""),
            },
        }
    )
    # Each cluster has an identity of its own in that Secret.
    decryption = (
        {"decryption": {"provider": "sops", "secretRef": {"name": IDENTITY}}}
        if plan.topology.store == "sops"
        else {}
    )
    for name, member in plan.members.items():
        made[f"{name}/gitrepository.yaml"] = repository
        before: list[dict[str, str]] = []
        for stage in member.stages:
            made[f"{name}/{stage}.yaml"] = document(
                {
                    "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
                    "kind": "Kustomization",
                    "metadata": {"name": kustomization_name(stage), "namespace": namespace},
                    "spec": {
                        **decryption,
                        **({"dependsOn": before} if before else {}),
                        **(_health(plan, member) if stage == STAGES[0] else {}),
                        "interval": "10m",
                        "path": f"./{delivery.path}/{name}/{stage}",
                        "prune": True,
                        "retryInterval": "1m",
                        "sourceRef": {"kind": "GitRepository", "name": SOURCE},
                        "timeout": "5m",
                        "wait": True,
                    },
                }
            )
            before = [{"name": kustomization_name(stage)}]
        made[f"{name}/kustomization.yaml"] = document(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": ["gitrepository.yaml", *(f"{stage}.yaml" for stage in member.stages)],
            }
        )
    return made


def _health(plan: Plan, member: Member) -> dict[str, object]:
    """When `cacerts` is there, where something in the cluster makes it.

    To kstatus, by which Flux waits otherwise, an object without a condition that it knows is done
    as soon as it is applied (kubernetes-sigs/cli-utils: pkg/kstatus/status/status.go), and istiod
    would start without its intermediate.
    """
    topology = plan.topology
    maker = (
        topology.issuer
        if topology.issuer in MAKERS
        else topology.store
        if topology.own_intermediates
        else ""
    )
    if maker not in MAKERS or member.primary is not None or member.held:
        return {}
    version, kind, condition = MAKERS[maker]
    there = (
        f"has(status.conditions) && status.conditions.exists(c, c.type == '{condition}' && c.status"
        " == 'True')"
    )
    return {"healthCheckExprs": [{"apiVersion": version, "current": there, "kind": kind}]}
