"""render: a `Plan`, its `Pki` and a target become a `Tree`, each directory with the lock that lists it.

A cluster's directory has three stages, each a kustomization: what it trusts, its control plane (the target's affair), the mesh.
"""

import hashlib
from collections.abc import Iterator, Mapping
from types import ModuleType

from kubectl_mesh import delivery
from kubectl_mesh.manifest import Manifests
from kubectl_mesh.model import BUNDLE, LOCK, STAGES, Document, File, Folder, Member, Pki, Plan, Tree
from kubectl_mesh.render import gateways, lock, reader, remotes, trust
from kubectl_mesh.render.stage import Stage


def render(plan: Plan, base: Mapping[str, Document], pki: Pki, target: ModuleType, manifests: Manifests, only: frozenset[str] | None = None) -> Tree:
    """Every file of every cluster, or of those in `only`, and of the mesh as a whole; texts that clusters share are one object."""
    made: dict[tuple[str, bool], File] = {}

    def folder(texts: Mapping[str, tuple[str, bool]]) -> dict[str, File]:
        files = {}
        for path in sorted(texts):
            text = texts[path]
            if text not in made:
                body = text[0].encode()
                made[text] = File(body, text[1], hashlib.sha256(body).hexdigest())
            files[path] = made[text]
        return files

    def locked(files: dict[str, File], body: bytes) -> Folder:
        files[LOCK] = File(body, private=False, digest=hashlib.sha256(body).hexdigest())
        return files

    lines = lock.sources(plan)
    tree: dict[str, Folder] = {}
    for member, texts in _clusters(plan, base, pki, target, manifests, only):
        files = folder(texts)
        tree[member.cluster.name] = locked(files, lock.of_cluster(plan, member, pki, target.KIND, files, lines))
    for name, shared in _shared(plan, target, manifests):
        files = folder(shared)
        tree[name] = locked(files, lock.of_all(name, plan, target.KIND, files, lines))
    return tree


def _clusters(
    plan: Plan, base: Mapping[str, Document], pki: Pki, target: ModuleType, manifests: Manifests, only: frozenset[str] | None
) -> Iterator[tuple[Member, dict[str, tuple[str, bool]]]]:
    """For each cluster its files: path -> text, and whether it is secret."""
    control_plane = target.control_plane(plan, base)
    secrets = remotes.Remotes(plan, manifests)
    legacy = not target.traits(plan.topology).labels
    for name, member in plan.members.items():
        if only is not None and name not in only:
            continue
        stages = [Stage(), Stage(), Stage()]
        trust.add(stages[0], plan, member, pki, manifests)
        if not member.waits:
            for file, text in control_plane(member):
                stages[1].add(file, text)
            gateways.add(stages[2], plan, member, manifests, legacy=legacy)
            reader.add(stages[2], plan, member, manifests, legacy=legacy)
            secrets.add(stages[2], member)
        files: dict[str, tuple[str, bool]] = {}
        applied = []
        for stage, into in zip(STAGES, stages, strict=True):
            files |= {f"{stage}/{file}": text for file, text in into.files.items()}
            if into.resources and not (stage == STAGES[1] and not target.APPLIED):
                files[f"{stage}/kustomization.yaml"] = (manifests.once("kustomization.yaml", resources=tuple(into.resources)), False)
                # What is for the cluster of Argo CD has no place in the whole of another.
                if not (stage == STAGES[1] and target.HUB and plan.topology.delivery.tool == "argocd"):
                    applied.append(stage)
        files["kustomization.yaml"] = (manifests.render("kustomization.yaml", resources=tuple(applied)), False)
        yield member, files


def _shared(plan: Plan, target: ModuleType, manifests: Manifests) -> Iterator[tuple[str, dict[str, tuple[str, bool]]]]:
    """The directories that belong to the mesh as a whole."""
    if plan.topology.bundled:
        yield BUNDLE, remotes.bundle(plan, manifests)
    tool = delivery.module(plan.topology.delivery.tool)
    if tool is not None:
        yield tool.DIRECTORY, {path: (text, False) for path, text in tool.files(plan, hub=target.HUB).items()}
