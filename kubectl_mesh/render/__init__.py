"""render: a `Plan`, its `Pki` and a target become a `Tree`, each directory with the lock that lists
it.

A cluster's directory has three stages, each a kustomization: what it trusts, its control plane (the
target's affair), the mesh.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from kubectl_mesh import delivery
from kubectl_mesh.model import (
    BUNDLE,
    LOCK,
    STAGES,
    Document,
    File,
    Folder,
    Member,
    Pki,
    Plan,
    Secret,
    Tree,
)
from kubectl_mesh.render import alerts, gateways, lock, reader, remotes, trust
from kubectl_mesh.render.stage import Stage
from kubectl_mesh.targets.target import Target
from kubectl_mesh.tree.lock_file import LockFile, dump_lock
from kubectl_mesh.yaml_io.manifest import Manifests


class Store(Protocol):
    """What puts secrets into the tree: see `kubectl_mesh.stores`."""

    private: bool
    """Whether its files may be read by their owner only."""

    def file(self, directory: str, path: str, secret: Secret) -> tuple[bytes, str | None]: ...
    def head(self, directory: str) -> dict[str, object]: ...
    def beside(self, directory: str) -> dict[str, str]: ...


Texts = Mapping[str, str | Secret]
"""The files of a directory before they are in the tree, by path."""


def render(
    plan: Plan,
    base: Mapping[str, Document],
    pki: Pki,
    target: Target,
    manifests: Manifests,
    store: Store,
    only: frozenset[str] | None = None,
) -> Tree:
    """Every file of every cluster, or of those in `only`, and of the mesh as a whole; texts that
    clusters share are one object.
    """
    made: dict[tuple[bytes, bool], File] = {}

    def folder(directory: str, texts: Texts) -> tuple[dict[str, File], dict[str, str]]:
        files, sealed = {}, {}
        if any(isinstance(text, Secret) for text in texts.values()):
            texts = {**texts, **store.beside(directory)}
        for path in sorted(texts):
            text = texts[path]
            if isinstance(text, Secret):
                body, made_from = store.file(directory, path, text)
                if made_from is not None:
                    sealed[path] = made_from
            else:
                body = text.encode()
            key = (body, isinstance(text, Secret) and store.private)
            if key not in made:
                made[key] = File(*key, hashlib.sha256(body).hexdigest())
            files[path] = made[key]
        return files, sealed

    def locked(files: dict[str, File], made_from: LockFile) -> Folder:
        body = dump_lock(made_from)
        files[LOCK] = File(body, private=False, digest=hashlib.sha256(body).hexdigest())
        return files

    known = lock.sources(plan)
    tree: dict[str, Folder] = {}
    for member, texts in _clusters(plan, base, pki, target, manifests, only):
        name = member.cluster.name
        files, sealed = folder(name, texts)
        head = store.head(name) if sealed else {}
        tree[name] = locked(
            files, lock.of_cluster(plan, member, pki, target.KIND, files, known, head, sealed)
        )
    for name, shared in _shared(plan, target, manifests):
        files, sealed = folder(name, shared)
        head = store.head(name) if sealed else {}
        tree[name] = locked(files, lock.of_all(name, plan, target.KIND, files, known, head, sealed))
    return tree


def _clusters(
    plan: Plan,
    base: Mapping[str, Document],
    pki: Pki,
    target: Target,
    manifests: Manifests,
    only: frozenset[str] | None,
) -> Iterator[tuple[Member, dict[str, str | Secret]]]:
    """For each cluster its files."""
    control_plane = target.control_plane(plan, base)
    secrets = remotes.Remotes(plan, manifests)
    legacy = not target.traits(plan.topology).labels
    members = {
        name: member for name, member in plan.members.items() if only is None or name in only
    }
    planes = {
        name: tuple(control_plane(member)) for name, member in members.items() if not member.waits
    }
    for name, member in members.items():
        stages = [Stage(), Stage(), Stage()]
        if not member.waits:
            for file, text in planes[name]:
                stages[1].add(file, text)
            gateways.add(stages[2], plan, member, manifests, legacy=legacy)
            reader.add(stages[2], plan, member, manifests, legacy=legacy)
            secrets.add(stages[2], member)
            if plan.topology.alerts is not None:
                alerts.add(stages[2], plan, plan.topology.alerts, member, pki, manifests)
        accounts = target.component_accounts(base, plan.topology, member.cluster)
        trust.add(stages[0], plan, member, pki, manifests, accounts)
        files: dict[str, str | Secret] = {}
        applied = []
        for stage, into in zip(STAGES, stages, strict=True):
            files |= {f"{stage}/{file}": text for file, text in into.files.items()}
            if into.resources and not (stage == STAGES[1] and not target.APPLIED):
                listed = kustomization(plan, into.resources, into.files, manifests)
                files |= {f"{stage}/{file}": text for file, text in listed.items()}
                # What is for the cluster of Argo CD has no place in the whole of another.
                if listed and not (
                    stage == STAGES[1] and target.HUB and plan.topology.delivery.tool == "argocd"
                ):
                    applied.append(stage)
        sealed = plan.topology.store == "sops" and any(
            isinstance(text, Secret) for text in files.values()
        )
        # kubectl cannot decrypt cacerts, and an istiod that starts without it signs by itself:
        # nothing brings all stages at once.
        if not (sealed and plan.topology.delivery.tool == "kubectl"):
            files["kustomization.yaml"] = manifests.render(
                "kustomization.yaml", resources=tuple(applied), generators=()
            )
        yield member, files


def kustomization(
    plan: Plan, resources: Iterable[str], files: Texts, manifests: Manifests
) -> dict[str, str]:
    """What lists the files of a folder. What SOPS encrypted is for whom can decrypt: Flux itself,
    KSOPS in Argo CD; kubectl cannot.
    """
    hidden = (
        [path for path in resources if isinstance(files.get(path), Secret)]
        if plan.topology.store == "sops"
        else []
    )
    # Those of a stage without remote secrets are the same in most clusters.
    text = (
        manifests.once
        if any(path.startswith("remote-secrets/") for path in files)
        else manifests.render
    )
    if not hidden or plan.topology.delivery.tool == "flux":
        return {
            "kustomization.yaml": text(
                "kustomization.yaml", resources=tuple(resources), generators=()
            )
        }
    left = tuple(path for path in resources if path not in hidden)
    made = {}
    if plan.topology.delivery.tool == "argocd":
        made[".ksops.yaml"] = text("ksops.yaml", files=tuple(f"./{path}" for path in hidden))
    return (
        {
            "kustomization.yaml": text(
                "kustomization.yaml", resources=left, generators=tuple(made)
            ),
            **made,
        }
        if left or made
        else {}
    )


def _shared(
    plan: Plan, target: Target, manifests: Manifests
) -> Iterator[tuple[str, dict[str, str | Secret]]]:
    """The directories that belong to the mesh as a whole."""
    if plan.topology.bundled:
        found = remotes.bundle(plan, manifests)
        yield BUNDLE, {**found, **(kustomization(plan, found, found, manifests) if found else {})}
    tool = delivery.module(plan.topology.delivery.tool)
    if tool is not None:
        yield tool.DIRECTORY, dict(tool.files(plan, hub=target.HUB))
