"""Argo CD: an Application per cluster and stage, in waves, and one above them all (argoproj.io/v1alpha1, docs/operator-manual/cluster-bootstrapping.md).

Argo CD waits for a wave only where it can tell the health of what is in it; for Applications, and for an Istio of Sail, that has to be configured
(docs/operator-manual/health.md).
"""

from kubectl_mesh.manifest import document
from kubectl_mesh.model import Member, Plan

DIRECTORY = "_argocd"
APPLICATIONS = "applications"
NAMESPACE = "argocd"
HERE = {"server": "https://kubernetes.default.svc"}
"""The cluster that Argo CD itself runs in."""


def files(plan: Plan, *, hub: bool) -> dict[str, str]:
    """The objects by path; `hub`: the objects of stage 2 are for the cluster that Argo CD runs in."""
    made: dict[str, str] = {}
    for member in plan.members.values():
        for wave, stage in enumerate(member.stages, start=1):
            name = f"{member.cluster.name}-{stage}"
            made[f"{APPLICATIONS}/{name}.yaml"] = document(_stage(plan, member, stage, wave, here=hub and stage == "2-control-plane"))
    resources = [path.removeprefix(f"{APPLICATIONS}/") for path in made]
    made[f"{APPLICATIONS}/kustomization.yaml"] = document(
        {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": resources},
    )
    topology = plan.topology
    own = {"destination": {**HERE, "namespace": _namespace(plan)}, "syncPolicy": {"automated": {"prune": True, "selfHeal": True}}}
    made["mesh.yaml"] = document(_application(plan, f"mesh-{topology.mesh_id}", f"{DIRECTORY}/{APPLICATIONS}", {}, own))
    return made


def _namespace(plan: Plan) -> str:
    return plan.topology.delivery.namespace or NAMESPACE


def _application(plan: Plan, name: str, path: str, annotations: dict[str, str], spec: dict[str, object]) -> dict[str, object]:
    delivery = plan.topology.delivery
    source = {"path": f"{delivery.path}/{path}", "repoURL": delivery.repo, "targetRevision": delivery.revision or "main"}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {**({"annotations": annotations} if annotations else {}), "name": name, "namespace": _namespace(plan)},
        "spec": dict(sorted({**spec, "project": delivery.project, "source": source}.items())),
    }


def _stage(plan: Plan, member: Member, stage: str, wave: int, *, here: bool) -> dict[str, object]:
    cluster = member.cluster
    # What a stage needs comes with the one before it: the kinds of a control plane, so that a dry run of the whole would fail.
    policy: dict[str, object] = {
        "automated": {"prune": True, "selfHeal": True},
        "retry": {"backoff": {"duration": "10s", "factor": 2, "maxDuration": "5m"}, "limit": 10},
        "syncOptions": ["SkipDryRunOnMissingResource=true"],
    }
    destination = {**HERE, "namespace": _namespace(plan)} if here else {"name": cluster.name, "namespace": cluster.namespace}
    annotations = {"argocd.argoproj.io/sync-wave": str(wave)}
    name = f"{cluster.name}-{stage}"
    return _application(plan, name, f"{cluster.name}/{stage}", annotations, {"destination": destination, "syncPolicy": policy})
