"""Argo CD: an Application per cluster and stage, in waves below one per cluster, and one above them
all (argoproj.io/v1alpha1).

Argo CD waits for a wave only where it knows the health of what is in it; for Applications, and for
an Istio of Sail, that has to be configured (docs/operator-manual/health.md). What waits is the
Application of one cluster: a cluster that cannot be reached holds back no other. The one above has
a single wave, and Argo CD does not wait for the last wave (gitops-engine/pkg/sync/sync_context.go).
"""

import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence

from kubectl_mesh.delivery.delivery import Delivery, EncryptedResources
from kubectl_mesh.delivery.removal import (
    APPLICATIONS,
    HUB,
    LAST,
    TIMEOUT,
    Installation,
    PlaneRemoval,
    Tool,
    cascade_commands,
    finalizer_command,
    hub_command,
)
from kubectl_mesh.model import STAGES, Member, Plan
from kubectl_mesh.topology.kinds import TOOL_FACTS
from kubectl_mesh.yaml_io.manifest import document_text

FOLDER = "applications"
CLUSTERS = "clusters"
HERE = {"server": "https://kubernetes.default.svc"}
"""The cluster that Argo CD itself runs in."""


def stage_name(name: str, stage: str) -> str:
    """The Application that applies a stage of a cluster."""
    return f"{name}-{stage}"


def parent_name(name: str) -> str:
    """The Application above the stages of a cluster."""
    return f"{name}-stages"


def mesh_name(mesh: str) -> str:
    """The Application above all clusters."""
    return f"mesh-{mesh}"


class ArgoCd(Delivery):
    """Argo CD, which runs in a cluster of its own for all."""

    NAME = "argocd"
    TITLE = TOOL_FACTS[NAME].title
    DIRECTORY = "_argocd"
    NAMESPACE = "argocd"
    NAMESPACE_FILE = "mesh.yaml"
    RECONCILES = True
    CENTRAL = True
    DECRYPTS = True
    NEEDS_FINALIZER = True
    KEEP = ("argocd.argoproj.io/sync-options", "Prune=false,Delete=false")

    def list_objects(self, plan: Plan, *, hub: bool) -> dict[str, str]:
        """The objects by path; `hub`: the objects of stage 2 are for the cluster that Argo CD runs
        in.
        """
        made: dict[str, str] = {}
        above = {
            "destination": {**HERE, "namespace": self.objects_namespace(plan)},
            "syncPolicy": {"automated": {"prune": True, "selfHeal": True}},
        }
        for name, member in plan.members.items():
            folder = f"{CLUSTERS}/{name}"
            made[f"{FOLDER}/{parent_name(name)}.yaml"] = document_text(
                self._application(plan, parent_name(name), f"{self.DIRECTORY}/{folder}", above)
            )
            for wave, stage in enumerate(member.stages, start=1):
                here = hub and stage == STAGES[1]
                made[f"{folder}/{stage}.yaml"] = document_text(
                    self._stage(plan, member, stage, wave, here=here)
                )
            made[f"{folder}/kustomization.yaml"] = _kustomization(
                f"{stage}.yaml" for stage in member.stages
            )
        made[f"{FOLDER}/kustomization.yaml"] = _kustomization(
            f"{parent_name(name)}.yaml" for name in plan.members
        )
        name = mesh_name(plan.topology.mesh_id)
        made["mesh.yaml"] = document_text(
            self._application(plan, name, f"{self.DIRECTORY}/{FOLDER}", above)
        )
        return made

    def list_encrypted(self, paths: Sequence[str]) -> EncryptedResources:
        """KSOPS decrypts them."""
        return EncryptedResources(
            generator=".ksops.yaml", files=tuple(f"./{path}" for path in paths)
        )

    def _application(
        self, plan: Plan, name: str, path: str, spec: dict[str, object], wave: int | None = None
    ) -> dict[str, object]:
        delivery = plan.topology.delivery
        source = {
            "path": f"{delivery.path}/{path}",
            "repoURL": delivery.repo,
            "targetRevision": delivery.revision or "main",
        }
        annotations = {"argocd.argoproj.io/sync-wave": str(wave)} if wave is not None else {}
        return {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {
                **({"annotations": annotations} if annotations else {}),
                "name": name,
                "namespace": self.objects_namespace(plan),
            },
            "spec": dict(sorted({**spec, "project": delivery.project, "source": source}.items())),
        }

    def _stage(
        self, plan: Plan, member: Member, stage: str, wave: int, *, here: bool
    ) -> dict[str, object]:
        cluster = member.cluster
        # What a stage needs comes with the one before it: the kinds of a control plane, so that a
        # dry run of the whole would fail.
        policy: dict[str, object] = {
            "automated": {"prune": True, "selfHeal": True},
            "retry": {
                "backoff": {"duration": "10s", "factor": 2, "maxDuration": "5m"},
                "limit": 10,
            },
            "syncOptions": ["SkipDryRunOnMissingResource=true"],
        }
        destination = (
            {**HERE, "namespace": self.objects_namespace(plan)}
            if here
            else {"name": cluster.name, "namespace": cluster.namespace}
        )
        return self._application(
            plan,
            stage_name(cluster.name, stage),
            f"{cluster.name}/{stage}",
            {"destination": destination, "syncPolicy": policy},
            wave,
        )

    def first_apply_lines(self, plan: Plan, out: str, created: Collection[str]) -> list[str]:
        """The Application above all clusters."""
        if self.NAMESPACE_FILE not in created:
            return []
        file = f"{out}/{self.DIRECTORY}/{self.NAMESPACE_FILE}"
        apply = shlex.join(["kubectl", "apply", "-f", file])
        what = "once, for Argo CD to read the repository (docs/argocd.md has what it needs):"
        return [f"{what} {apply}{HUB}"]

    def first_removal_commands(self, tool: Tool) -> Iterator[str]:
        """The Application above all clusters goes first."""
        yield hub_command(tool, "delete", APPLICATIONS, mesh_name(tool.mesh), *LAST)

    def removal_commands(
        self, cluster: Installation, tool: Tool, plane: PlaneRemoval, *, whole: bool
    ) -> Iterator[tuple[str, str]]:
        """From top to bottom, so that no Application creates another again; each stage with what it
        applied, the last stage first.
        """
        parent = parent_name(cluster.name)
        trust, control_plane, mesh = (stage_name(cluster.name, stage) for stage in STAGES)
        if whole:
            yield "stop", hub_command(tool, "delete", APPLICATIONS, parent, *LAST)
        else:
            why = f"; it deletes this once the tree without {cluster.name} is merged"
            wait = ("wait", "--for=delete", f"{APPLICATIONS}/{parent}", TIMEOUT)
            yield "stop", hub_command(tool, *wait) + why
        for text in cascade_commands(["kubectl"], tool.namespace, [mesh]):
            yield "control-plane", text + HUB
        if plane.applications:
            # The finalizers before the Application above goes: nothing of a chart may be left
            # without its Application.
            finalizers = finalizer_command(["kubectl"], tool.namespace, plane.applications)
            yield "control-plane", finalizers + HUB
            yield "stop", hub_command(tool, "delete", APPLICATIONS, control_plane, *LAST)
            delete = hub_command(tool, "delete", APPLICATIONS, *plane.applications, *LAST)
            yield "control-plane", delete
        else:
            for text in cascade_commands(["kubectl"], tool.namespace, [control_plane]):
                yield "control-plane", text + HUB
            for text in plane.commands:
                yield "control-plane", text
        yield "stop", hub_command(tool, "delete", APPLICATIONS, trust, *LAST)


def _kustomization(resources: Iterable[str]) -> str:
    return document_text(
        {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": list(resources),
        }
    )
