"""Flux: for each cluster the repository of the tree, and a Kustomization per stage, each waiting
for the one before (kustomize.toolkit.fluxcd.io/v1).
"""

from collections.abc import Collection, Iterator, Sequence

from kubectl_mesh.delivery.delivery import Delivery, EncryptedResources
from kubectl_mesh.delivery.removal import (
    LAST,
    Installation,
    PlaneRemoval,
    Tool,
    kubectl_command,
)
from kubectl_mesh.model import STAGES, Member, Plan
from kubectl_mesh.model.commands import cluster_command
from kubectl_mesh.model.git_url import flux_url
from kubectl_mesh.stores import STORES
from kubectl_mesh.stores.store import Health
from kubectl_mesh.topology.kinds import TOOL_FACTS
from kubectl_mesh.yaml_io.manifest import document_text

SOURCE = "mesh"
IDENTITY = "sops-age"
"""The Secret with the age identity of a cluster, beside the Kustomizations."""
KUSTOMIZATIONS = "kustomizations.kustomize.toolkit.fluxcd.io"
SOURCES = "gitrepositories.source.toolkit.fluxcd.io"
CERTIFICATE = Health("cert-manager.io/v1", "Certificate", "Ready")
"""What makes `cacerts` where cert-manager is the issuer."""


def kustomization_name(stage: str) -> str:
    """The Kustomization that applies a stage."""
    return f"mesh-{stage}"


class Flux(Delivery):
    """Flux, which runs in every cluster."""

    NAME = "flux"
    TITLE = TOOL_FACTS[NAME].title
    DIRECTORY = "_flux"
    NAMESPACE = "flux-system"
    NAMESPACE_FILE = "gitrepository.yaml"
    RECONCILES = True
    DECRYPTS = True
    KEEP = ("kustomize.toolkit.fluxcd.io/prune", "disabled")

    def list_objects(self, plan: Plan, *, hub: bool) -> dict[str, str]:
        """The objects by path, a folder per cluster."""
        made: dict[str, str] = {}
        repository = document_text(self._repository(plan))
        for name, member in plan.members.items():
            made[f"{name}/gitrepository.yaml"] = repository
            before = ""
            for stage in member.stages:
                made[f"{name}/{stage}.yaml"] = document_text(
                    self._kustomization(plan, member, stage, before)
                )
                before = stage
            made[f"{name}/kustomization.yaml"] = document_text(
                {
                    "apiVersion": "kustomize.config.k8s.io/v1beta1",
                    "kind": "Kustomization",
                    "resources": [
                        "gitrepository.yaml",
                        *(f"{stage}.yaml" for stage in member.stages),
                    ],
                }
            )
        return made

    def list_encrypted(self, paths: Sequence[str]) -> EncryptedResources:
        """Flux decrypts what is listed."""
        return EncryptedResources(listed=tuple(paths))

    def _repository(self, plan: Plan) -> dict[str, object]:
        delivery = plan.topology.delivery
        return {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "GitRepository",
            "metadata": {"name": SOURCE, "namespace": self.objects_namespace(plan)},
            "spec": {
                "interval": "1m",
                "ref": {"branch": delivery.revision or "main"},
                **({"secretRef": {"name": delivery.secret}} if delivery.secret is not None else {}),
                "url": flux_url(delivery.repo or ""),
            },
        }

    def _kustomization(
        self, plan: Plan, member: Member, stage: str, before: str
    ) -> dict[str, object]:
        """The Kustomization of a stage, which waits for the one before."""
        topology = plan.topology
        # Each cluster has an identity of its own in that Secret.
        decryption = {"provider": "sops", "secretRef": {"name": IDENTITY}}
        is_encrypted = STORES[topology.store].NEEDS_DECRYPTION
        return {
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
            "kind": "Kustomization",
            "metadata": {
                "name": kustomization_name(stage),
                "namespace": self.objects_namespace(plan),
            },
            "spec": {
                **({"decryption": decryption} if is_encrypted else {}),
                **({"dependsOn": [{"name": kustomization_name(before)}]} if before else {}),
                **(_health(plan, member) if stage == STAGES[0] else {}),
                "interval": "10m",
                "path": f"./{topology.delivery.path}/{member.cluster.name}/{stage}",
                "prune": True,
                "retryInterval": "1m",
                "sourceRef": {"kind": "GitRepository", "name": SOURCE},
                "timeout": "5m",
                "wait": True,
            },
        }

    def first_apply_lines(self, plan: Plan, out: str, created: Collection[str]) -> list[str]:
        """The repository of each new cluster, shown for the first one."""
        names = sorted(
            path.partition("/")[0] for path in created if path.endswith(f"/{self.NAMESPACE_FILE}")
        )
        if not names:
            return []
        cluster = plan.members[names[0]].cluster
        apply = cluster_command(cluster, "apply", "-k", f"{out}/{self.DIRECTORY}/{names[0]}")
        more = f"; and the same for {len(names) - 1} more" if len(names) > 1 else ""
        return [
            f"once, for Flux to read the repository (docs/flux.md has what it needs): {apply}{more}"
        ]

    def removal_commands(
        self, cluster: Installation, tool: Tool, plane: PlaneRemoval, *, whole: bool
    ) -> Iterator[tuple[str, str]]:
        """The source first: without it nothing is applied again. A Kustomization that is deleted
        deletes what it applied.
        """
        delete = ("-n", tool.namespace, "delete")
        trust, control_plane, mesh = (kustomization_name(stage) for stage in STAGES)
        yield "stop", kubectl_command(cluster.context, *delete, SOURCES, SOURCE, *LAST)
        yield "stop", kubectl_command(cluster.context, *delete, KUSTOMIZATIONS, mesh, *LAST)
        for text in plane.commands:
            yield "control-plane", text
        last = (KUSTOMIZATIONS, control_plane, trust, *LAST)
        yield "stop", kubectl_command(cluster.context, *delete, *last)


def _health(plan: Plan, member: Member) -> dict[str, object]:
    """When `cacerts` is there, where something in the cluster makes it.

    To kstatus, by which Flux waits otherwise, an object without a condition that it knows is done
    as soon as it is applied (kubernetes-sigs/cli-utils: pkg/kstatus/status/status.go), and istiod
    would start without its intermediate.
    """
    topology = plan.topology
    health = STORES[topology.store].HEALTH if topology.has_intermediate_files else None
    if topology.issuer_kind.creates_cacerts:
        health = CERTIFICATE
    if health is None or member.primary is not None or member.lacks_intermediate:
        return {}
    there = (
        f"has(status.conditions) && status.conditions.exists(c, c.type == '{health.condition}' &&"
        " c.status == 'True')"
    )
    return {
        "healthCheckExprs": [
            {"apiVersion": health.api_version, "current": there, "kind": health.kind}
        ]
    }
