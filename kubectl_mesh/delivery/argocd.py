"""Argo CD: an Application per cluster and stage, in waves below one per cluster, and one above them
all (argoproj.io/v1alpha1).

Argo CD waits for a wave only where it knows the health of what is in it; for Applications, and for
an Istio of Sail, that has to be configured (docs/operator-manual/health.md). What waits is the
Application of one cluster: a cluster that cannot be reached holds back no other. The one above has
a single wave, and Argo CD does not wait for the last wave (gitops-engine/pkg/sync/sync_context.go).
"""

from collections.abc import Iterable

from kubectl_mesh.delivery.teardown import ARGOCD, NAMESPACES, mesh_name, parent_name, stage_name
from kubectl_mesh.model import Member, Plan
from kubectl_mesh.yaml_io.manifest import document

DIRECTORY = "_argocd"
APPLICATIONS = "applications"
CLUSTERS = "clusters"
HERE = {"server": "https://kubernetes.default.svc"}
"""The cluster that Argo CD itself runs in."""


def files(plan: Plan, *, hub: bool) -> dict[str, str]:
    """The objects by path; `hub`: the objects of stage 2 are for the cluster that Argo CD runs
    in.
    """
    made: dict[str, str] = {}
    above = {
        "destination": {**HERE, "namespace": _namespace(plan)},
        "syncPolicy": {"automated": {"prune": True, "selfHeal": True}},
    }
    for name, member in plan.members.items():
        folder = f"{CLUSTERS}/{name}"
        made[f"{APPLICATIONS}/{parent_name(name)}.yaml"] = document(
            _application(plan, parent_name(name), f"{DIRECTORY}/{folder}", {}, above)
        )
        for wave, stage in enumerate(member.stages, start=1):
            made[f"{folder}/{stage}.yaml"] = document(
                _stage(plan, member, stage, wave, here=hub and stage == "2-control-plane")
            )
        made[f"{folder}/kustomization.yaml"] = _kustomization(
            f"{stage}.yaml" for stage in member.stages
        )
    made[f"{APPLICATIONS}/kustomization.yaml"] = _kustomization(
        f"{parent_name(name)}.yaml" for name in plan.members
    )
    made["mesh.yaml"] = document(
        _application(
            plan, mesh_name(plan.topology.mesh_id), f"{DIRECTORY}/{APPLICATIONS}", {}, above
        )
    )
    return made


def _kustomization(resources: Iterable[str]) -> str:
    return document(
        {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": list(resources),
        }
    )


def _namespace(plan: Plan) -> str:
    return plan.topology.delivery.namespace or NAMESPACES[ARGOCD]


def _application(
    plan: Plan, name: str, path: str, annotations: dict[str, str], spec: dict[str, object]
) -> dict[str, object]:
    delivery = plan.topology.delivery
    source = {
        "path": f"{delivery.path}/{path}",
        "repoURL": delivery.repo,
        "targetRevision": delivery.revision or "main",
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            **({"annotations": annotations} if annotations else {}),
            "name": name,
            "namespace": _namespace(plan),
        },
        "spec": dict(sorted({**spec, "project": delivery.project, "source": source}.items())),
    }


def _stage(plan: Plan, member: Member, stage: str, wave: int, *, here: bool) -> dict[str, object]:
    cluster = member.cluster
    # What a stage needs comes with the one before it: the kinds of a control plane, so that a dry
    # run of the whole would fail.
    policy: dict[str, object] = {
        "automated": {"prune": True, "selfHeal": True},
        "retry": {"backoff": {"duration": "10s", "factor": 2, "maxDuration": "5m"}, "limit": 10},
        "syncOptions": ["SkipDryRunOnMissingResource=true"],
    }
    destination = (
        {**HERE, "namespace": _namespace(plan)}
        if here
        else {"name": cluster.name, "namespace": cluster.namespace}
    )
    annotations = {"argocd.argoproj.io/sync-wave": str(wave)}
    name = stage_name(cluster.name, stage)
    return _application(
        plan,
        name,
        f"{cluster.name}/{stage}",
        annotations,
        {"destination": destination, "syncPolicy": policy},
    )
